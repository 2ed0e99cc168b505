//! Batching: concurrent callers share a statement, and each gets its own result.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
};

use futures_util::future::join_all;
use regex::Regex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{Session, TestResponse, TestServer, wait_until},
    test_stores::{RowLock, connect, execute, fresh_database, query_value},
};

/// Number of batch connections: the maximum number of concurrent batched statements.
const BATCH_CONNECTIONS: usize = 4;

/// Enough connections for the blocked statements, and a timeout above the duration of every lock.
const SETTINGS: [(&str, &str); 2] = [
    ("LATCHKEY_DATABASE_CONNECTIONS", "24"),
    ("LATCHKEY_DATABASE_TIMEOUT", "30s"),
];

async fn create(server: &TestServer, session: &Session, name: String) -> TestResponse {
    server
        .with_token(
            Method::POST,
            "/items",
            &session.access_token,
            json!({"name": name}),
        )
        .await
}

fn assert_all(responses: &[TestResponse], status: u16, code: &str) {
    for response in responses {
        response.is(status, code);
    }
}

async fn get(server: &TestServer, session: &Session, path: &str) -> TestResponse {
    server
        .with_token(Method::GET, path, &session.access_token, Value::Null)
        .await
}

async fn sign_up_users(server: &TestServer, count: usize) -> Vec<Session> {
    join_all((0..count).map(async |number| server.sign_up(&format!("user{number}")).await)).await
}

/// Runs an action while blocked creates of one user occupy every batch connection. The action must
/// release the lock. Returns the responses of the creates.
async fn with_occupied_connections(
    server: &TestServer,
    user: &Session,
    action: impl AsyncFnOnce(RowLock),
) -> Vec<TestResponse> {
    let lock = RowLock::rows(server, "select from users where username = 'john'").await;
    let creates = join_all(
        (0..BATCH_CONNECTIONS).map(|number| create(server, user, format!("Blocked {number}"))),
    );
    let action = async {
        wait_until("all batch connections are occupied", || async {
            lock.waiting().await >= BATCH_CONNECTIONS
        })
        .await;
        action(lock).await;
    };
    tokio::join!(creates, action).0
}

#[tokio::test]
async fn concurrent_callers_get_their_own_results() {
    let server = TestServer::with(&SETTINGS).await;
    let users = sign_up_users(&server, 5).await;
    let requests = join_all(
        (0..20)
            .flat_map(|round| users.iter().enumerate().map(move |user| (round, user)))
            .map(async |(round, (number, session))| {
                let name = format!("{round} of {number}");
                let created = create(&server, session, name.clone()).await;
                assert_eq!(created.is(201, "").text("name"), name);
                let path = created.header("location").to_owned();
                let other_user = &users[(number + 1) % users.len()];
                let (read, user, missing, foreign) = tokio::join!(
                    get(&server, session, &path),
                    get(&server, session, "/user"),
                    get(
                        &server,
                        session,
                        "/items/018f0000-0000-7000-8000-000000000000"
                    ),
                    get(&server, other_user, &path),
                );
                assert_eq!(read.is(200, "").body, created.body);
                assert_eq!(user.is(200, "").text("username"), format!("user{number}"));
                missing.is(404, "not_found");
                foreign.is(404, "not_found");
            }),
    );
    requests.await;
    assert_eq!(
        query_value(&server, "select count(*) from items").await,
        "100"
    );
}

/// Rows of one statement have the same transaction ID (`xmin`).
#[tokio::test]
async fn creates_share_statement_when_connections_are_busy() {
    let server = TestServer::with(&SETTINGS).await;
    let (blocked_user, users) = (
        server.sign_up("john").await,
        sign_up_users(&server, 3).await,
    );
    let is_shared = || async {
        let creates =
            join_all((0..12).map(|number| create(&server, &users[number % 3], number.to_string())));
        let action = async |lock: RowLock| {
            let release = async {
                // The concurrent creates are queued before the row is released, or at the latest
                // when the blocked statements time out.
                tokio::task::yield_now().await;
                lock.release().await;
            };
            let (created, ()) = tokio::join!(creates, release);
            assert_all(&created, 201, "");
        };
        assert_all(
            &with_occupied_connections(&server, &blocked_user, action).await,
            201,
            "",
        );
        let query = "select exists (select from items group by xmin::text \
            having count(distinct user_id) > 1)";
        query_value(&server, query).await == "true"
    };
    wait_until("two users share a statement", is_shared).await;
}

/// If a user is deleted between check and insert, only the rows of this user fail.
#[tokio::test]
async fn batched_create_fails_only_for_deleted_user() {
    let server = TestServer::with(&SETTINGS).await;
    let (blocked_user, remaining_user, deleted_user) = (
        server.sign_up("john").await,
        server.sign_up("jane").await,
        server.sign_up("deleted").await,
    );
    execute(&server, "delete from users where username = 'deleted'").await;
    let responses = std::cell::RefCell::new(HashMap::<bool, Vec<TestResponse>>::new());
    let action = async |lock: RowLock| {
        let creates = join_all((0..16).map(async |number: usize| {
            let is_deleted = number.is_multiple_of(4);
            (
                is_deleted,
                create(
                    &server,
                    if is_deleted {
                        &deleted_user
                    } else {
                        &remaining_user
                    },
                    number.to_string(),
                )
                .await,
            )
        }));
        let (created, ()) = tokio::join!(creates, lock.release());
        created.into_iter().for_each(|(is_deleted, response)| {
            responses
                .borrow_mut()
                .entry(is_deleted)
                .or_default()
                .push(response)
        });
    };
    assert_all(
        &with_occupied_connections(&server, &blocked_user, action).await,
        201,
        "",
    );
    let responses = responses.into_inner();
    assert_all(&responses[&true], 401, "token_revoked");
    assert_all(&responses[&false], 201, "");
    assert_eq!(
        query_value(&server, "select count(*) from items").await,
        (12 + BATCH_CONNECTIONS).to_string()
    );
}

/// A locked row blocks only the statements that need it, not the batches of other users.
#[tokio::test]
async fn locked_row_delays_only_its_owner() {
    let server = TestServer::with(&SETTINGS).await;
    let (blocked_user, other_user) = (server.sign_up("john").await, server.sign_up("jane").await);
    let action = async |lock: RowLock| {
        let created =
            join_all((0..8).map(|number| create(&server, &other_user, number.to_string()))).await;
        assert_all(&created, 201, "");
        wait_until("only the creates of the locked user wait", || async {
            lock.waiting().await == BATCH_CONNECTIONS
        })
        .await;
        assert_eq!(
            get(&server, &blocked_user, "/user")
                .await
                .is(200, "")
                .text("username"),
            "john"
        );
        lock.release().await;
    };
    assert_all(
        &with_occupied_connections(&server, &blocked_user, action).await,
        201,
        "",
    );
    assert_eq!(
        get(&server, &blocked_user, "/items").await.body["data"]
            .as_array()
            .map(Vec::len),
        Some(BATCH_CONNECTIONS)
    );
}

#[tokio::test]
async fn disconnected_callers_free_batch_connections() {
    let server = TestServer::with(&SETTINGS).await;
    let (blocked_user, other_user) = (server.sign_up("john").await, server.sign_up("jane").await);
    for round in 0..3 {
        let lock = RowLock::rows(&server, "select from users where username = 'john'").await;
        let creates = join_all((0..20).map(async |number| {
            let session = if number < BATCH_CONNECTIONS {
                &blocked_user
            } else {
                &other_user
            };
            create(&server, session, format!("{round}, {number}")).await
        }));
        let occupied = wait_until("all batch connections are occupied", || async {
            lock.waiting().await >= BATCH_CONNECTIONS
        });
        tokio::select! {
            _ = creates => panic!("the row is locked"),
            () = occupied => {}
        }
        // All callers have disconnected now.
        let (created, ()) =
            tokio::join!(create(&server, &other_user, "Next".into()), lock.release());
        created.is(201, "");
    }
    let created =
        join_all((0..20).map(|number| create(&server, &blocked_user, number.to_string()))).await;
    assert_all(&created, 201, "");
}

#[tokio::test]
async fn broken_database_connection_fails_all_waiting_callers() {
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::start().await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let server = server.replica_with(&[("DATABASE_URL", &url)]).await;
    let user = server.sign_up("jane").await;
    proxy.set(ConnectionState::Held);
    let requests = join_all((0..30).map(async |number: usize| {
        match number % 3 {
            0 => create(&server, &user, number.to_string()).await,
            1 => get(&server, &user, "/user").await,
            _ => {
                get(
                    &server,
                    &user,
                    "/items/018f0000-0000-7000-8000-000000000000",
                )
                .await
            }
        }
    }));
    let cut = async {
        tokio::task::yield_now().await;
        proxy.set(ConnectionState::Cut);
    };
    let (responses, ()) = tokio::join!(requests, cut);
    assert_all(&responses, 503, "unavailable");
    proxy.set(ConnectionState::Open);
    wait_until("the server works again", || async {
        create(&server, &user, "Book".into()).await.status == 201
    })
    .await;
    assert_eq!(
        get(&server, &user, "/items").await.is(200, "").body["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
}

/// The names of the statements that a batcher runs, read from the sources. A constant with a
/// statement has the name of its file.
fn batched_statements() -> BTreeSet<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/postgres");
    let batcher = Regex::new(r"build_batcher\(batch_pool, pool, (\w+)\)").expect("valid");
    let constant = Regex::new(r"[(\s]([A-Z]+(?:_[A-Z]+)+),").expect("valid");
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let source = fs::read_to_string(path).expect("text");
        let calls = source.matches("pools::build_batcher(").count();
        assert_eq!(batcher.find_iter(&source).count(), calls, "{source}");
        for name in batcher.captures_iter(&source) {
            let (_, body) = source
                .split_once(&format!("async fn {}(", &name[1]))
                .expect("the function of the batcher");
            let statement = constant.captures(body).expect("a statement");
            found.insert(statement[1].to_lowercase());
        }
    }
    found
}

/// The cost of a batched statement must not grow with the tables, so its plan must use indexes and
/// no sequential scan. An insert reads no table.
#[tokio::test]
async fn batched_statements_use_index_scans() {
    let database = connect(&fresh_database().await).await;
    // The planner settings of batch connections.
    let settings = "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; \
        set enable_bitmapscan = off; set enable_hashjoin = off; set enable_mergejoin = off";
    database.batch_execute(settings).await.expect("settings");
    let names = batched_statements();
    assert!(names.contains("insert_items"), "{names:?}");
    for name in &names {
        let path = format!("{}/sql/queries/{name}.sql", env!("CARGO_MANIFEST_DIR"));
        let sql = fs::read_to_string(path).expect("the statement exists");
        let nulls = vec![
            "null";
            database
                .prepare(&sql)
                .await
                .expect("a statement")
                .params()
                .len()
        ]
        .join(", ");
        let explain = format!("prepare {name} as {sql}; explain execute {name} ({nulls})");
        let plan = database.simple_query(&explain).await.expect("a plan");
        let plan = format!("{plan:?}");
        let is_insert = plan.contains("Insert on");
        assert!(
            (is_insert || plan.contains("Index")) && !plan.contains("Seq Scan"),
            "{name}: {plan}"
        );
    }
}
