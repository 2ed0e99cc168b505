//! Callers who ask at the same moment share a statement, and nothing else.

use std::collections::HashMap;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    proxy::{Line, Proxy},
    test_server::{Session, TestResponse, TestServer, until},
    test_stores::{Held, ask, connect, execute, fresh_database},
};

/// As many creates as can be on their way at the same moment.
const LANES: usize = 4;

/// Enough for those that wait for a row, and a time that no lock of these tests reaches.
const SETTINGS: [(&str, &str); 2] = [
    ("LATCHKEY_DATABASE_CONNECTIONS", "24"),
    ("LATCHKEY_DATABASE_TIMEOUT", "30s"),
];

async fn create(server: &TestServer, owner: &Session, name: String) -> TestResponse {
    server
        .with_token(
            Method::POST,
            "/items",
            &owner.access_token,
            json!({"name": name}),
        )
        .await
}

/// Asserts that all of them are like this.
fn are(responses: &[TestResponse], status: u16, code: &str) {
    for response in responses {
        response.is(status, code);
    }
}

async fn get(server: &TestServer, owner: &Session, path: &str) -> TestResponse {
    server
        .with_token(Method::GET, path, &owner.access_token, Value::Null)
        .await
}

/// So many people.
async fn crowd(server: &TestServer, count: usize) -> Vec<Session> {
    join_all((0..count).map(async |number| server.sign_up(&format!("user{number}")).await)).await
}

/// John, who may do nothing for the moment, has taken every lane.
async fn john_takes_the_lanes(
    server: &TestServer,
    john: &Session,
    story: impl AsyncFnOnce(Held),
) -> Vec<TestResponse> {
    let held = Held::rows(server, "select from users where username = 'john'").await;
    let creates =
        join_all((0..LANES).map(|number| create(server, john, format!("John's {number}"))));
    let story = async {
        until("the lanes are taken", || async {
            held.waiting().await >= LANES
        })
        .await;
        story(held).await;
    };
    tokio::join!(creates, story).0
}

#[tokio::test]
async fn everybody_gets_their_own() {
    let server = TestServer::with(&SETTINGS).await;
    let people = crowd(&server, 5).await;
    let round = join_all(
        (0..20)
            .flat_map(|round| people.iter().enumerate().map(move |person| (round, person)))
            .map(async |(round, (number, person))| {
                let name = format!("{round} of {number}");
                let made = create(&server, person, name.clone()).await;
                assert_eq!(made.is(201, "").text("name"), name);
                let path = made.header("location").to_owned();
                let others = &people[(number + 1) % people.len()];
                let (read, user, missing, foreign) = tokio::join!(
                    get(&server, person, &path),
                    get(&server, person, "/user"),
                    get(
                        &server,
                        person,
                        "/items/018f0000-0000-7000-8000-000000000000"
                    ),
                    get(&server, others, &path),
                );
                assert_eq!(read.is(200, "").body, made.body);
                assert_eq!(user.is(200, "").text("username"), format!("user{number}"));
                missing.is(404, "not_found");
                foreign.is(404, "not_found");
            }),
    );
    round.await;
    assert_eq!(ask(&server, "select count(*) from items").await, "100");
}

/// Of one statement all rows have one transaction.
#[tokio::test]
async fn who_creates_while_all_lanes_are_taken_shares_a_statement() {
    let server = TestServer::with(&SETTINGS).await;
    let (john, people) = (server.sign_up("john").await, crowd(&server, 3).await);
    let shared = || async {
        let creates = join_all(
            (0..12).map(|number| create(&server, &people[number % 3], number.to_string())),
        );
        let story = async |held: Held| {
            let release = async {
                // Neighbours are on their way when John's row is free again, at the latest when his
                // time is up.
                tokio::task::yield_now().await;
                held.release().await;
            };
            let (made, ()) = tokio::join!(creates, release);
            are(&made, 201, "");
        };
        are(&john_takes_the_lanes(&server, &john, story).await, 201, "");
        let shared = "select exists (select from items group by xmin::text \
            having count(distinct user_id) > 1)";
        ask(&server, shared).await == "true"
    };
    until("somebody shared a statement with somebody else", shared).await;
}

/// The row of an account that is gone between check and insert fails, and only that.
#[tokio::test]
async fn of_those_who_create_at_once_only_who_is_gone_is_refused() {
    let server = TestServer::with(&SETTINGS).await;
    let (john, jane, gone) = (
        server.sign_up("john").await,
        server.sign_up("jane").await,
        server.sign_up("gone").await,
    );
    execute(&server, "delete from users where username = 'gone'").await;
    let responses = std::cell::RefCell::new(HashMap::<bool, Vec<TestResponse>>::new());
    let story = async |held: Held| {
        let creates = join_all((0..16).map(async |number: usize| {
            let is_gone = number.is_multiple_of(4);
            (
                is_gone,
                create(
                    &server,
                    if is_gone { &gone } else { &jane },
                    number.to_string(),
                )
                .await,
            )
        }));
        let (made, ()) = tokio::join!(creates, held.release());
        made.into_iter().for_each(|(is_gone, response)| {
            responses
                .borrow_mut()
                .entry(is_gone)
                .or_default()
                .push(response)
        });
    };
    are(&john_takes_the_lanes(&server, &john, story).await, 201, "");
    let responses = responses.into_inner();
    are(&responses[&true], 401, "token_revoked");
    are(&responses[&false], 201, "");
    assert_eq!(
        ask(&server, "select count(*) from items").await,
        (12 + LANES).to_string()
    );
}

/// Who needs a row that somebody holds waits for it, and nobody else does.
#[tokio::test]
async fn a_row_that_is_held_delays_its_owner_only() {
    let server = TestServer::with(&SETTINGS).await;
    let (john, jane) = (server.sign_up("john").await, server.sign_up("jane").await);
    let story = async |held: Held| {
        let made = join_all((0..8).map(|number| create(&server, &jane, number.to_string()))).await;
        are(&made, 201, "");
        until("John waits still", || async {
            held.waiting().await == LANES
        })
        .await;
        assert_eq!(
            get(&server, &john, "/user")
                .await
                .is(200, "")
                .text("username"),
            "john"
        );
        held.release().await;
    };
    are(&john_takes_the_lanes(&server, &john, story).await, 201, "");
    assert_eq!(
        get(&server, &john, "/items").await.body["data"]
            .as_array()
            .map(Vec::len),
        Some(LANES)
    );
}

#[tokio::test]
async fn who_hangs_up_takes_no_lane_along() {
    let server = TestServer::with(&SETTINGS).await;
    let (john, jane) = (server.sign_up("john").await, server.sign_up("jane").await);
    for round in 0..3 {
        let held = Held::rows(&server, "select from users where username = 'john'").await;
        let creates = join_all((0..20).map(async |number| {
            let owner = if number < LANES { &john } else { &jane };
            create(&server, owner, format!("{round}, {number}")).await
        }));
        let taken = until("the lanes are taken", || async {
            held.waiting().await >= LANES
        });
        tokio::select! {
            _ = creates => panic!("John's row is held"),
            () = taken => {}
        }
        // All of them are gone now.
        let (made, ()) = tokio::join!(create(&server, &jane, "And on".into()), held.release());
        made.is(201, "");
    }
    let made = join_all((0..20).map(|number| create(&server, &john, number.to_string()))).await;
    are(&made, 201, "");
}

#[tokio::test]
async fn the_line_is_cut_while_many_ask() {
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::start().await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let server = server.replica_with(&[("DATABASE_URL", &url)]).await;
    let jane = server.sign_up("jane").await;
    proxy.set(Line::Held);
    let requested = join_all((0..30).map(async |number: usize| {
        match number % 3 {
            0 => create(&server, &jane, number.to_string()).await,
            1 => get(&server, &jane, "/user").await,
            _ => {
                get(
                    &server,
                    &jane,
                    "/items/018f0000-0000-7000-8000-000000000000",
                )
                .await
            }
        }
    }));
    let cut = async {
        tokio::task::yield_now().await;
        proxy.set(Line::Cut);
    };
    let (responses, ()) = tokio::join!(requested, cut);
    are(&responses, 503, "unavailable");
    proxy.set(Line::Open);
    until("it works again", || async {
        create(&server, &jane, "Book".into()).await.status == 201
    })
    .await;
    assert_eq!(
        get(&server, &jane, "/items").await.is(200, "").body["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

/// What many callers ask must not cost more with every row there is: PostgreSQL can look all of it
/// up by keys, and nothing of it only by reading a table to its end.
#[tokio::test]
async fn what_callers_share_is_looked_up_by_keys() {
    let database = connect(&fresh_database().await).await;
    // As lanes have it.
    let settings = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; \
        set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off";
    database.batch_execute(settings).await.expect("settings");
    for name in ["find_users", "find_items", "find_revoked_tokens"] {
        let path = format!("{}/sql/queries/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        let sql = std::fs::read_to_string(path).expect("the statement is there");
        let nothing = vec![
            "null";
            database
                .prepare(&sql)
                .await
                .expect("a statement")
                .params()
                .len()
        ]
        .join(", ");
        let explain = format!("prepare {name} as {sql}; explain execute {name} ({nothing})");
        let plan = database.simple_query(&explain).await.expect("a plan");
        let plan = format!("{plan:?}");
        assert!(
            plan.contains("Index") && !plan.contains("Seq Scan"),
            "{name}: {plan}"
        );
    }
}
