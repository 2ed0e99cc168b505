//! Pages of accounts, and searching them.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    test_server::PASSWORD,
    test_stores::{connect, execute},
};

fn names(page: &Value) -> Vec<String> {
    let users = page["data"].as_array().expect("a list").iter();
    users
        .map(|user| {
            user["username"]
                .as_str()
                .or(user["email"].as_str())
                .expect("a name")
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn pages_show_everybody_once_the_oldest_first() {
    let fixture = Fixture::new().await;
    let mut made = vec!["root".to_owned()];
    for number in 0..7 {
        let name = format!("user{number}");
        fixture
            .create(json!({"username": name, "password": PASSWORD}))
            .await
            .is(201, "");
        made.push(name);
    }
    let (mut seen, mut path) = (Vec::new(), "/users?limit=3".to_owned());
    loop {
        let page = fixture.get(&path).await;
        seen.extend(names(&page.is(200, "").body));
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/users?limit=3&after={next}");
    }
    assert_eq!(seen, made);
    for bad in [
        "limit=0",
        "limit=101",
        "after=x",
        "search=%00",
        "limit=1&limit=2",
    ] {
        fixture
            .get(&format!("/users?{bad}"))
            .await
            .is(400, "invalid_request");
    }
    let long = "a".repeat(255);
    assert_eq!(
        fixture
            .get(&format!("/users?search={long}"))
            .await
            .is(400, "invalid_request")
            .body["errors"][0]["field"],
        "search"
    );
}

#[tokio::test]
async fn searching_finds_beginnings_of_names_and_addresses_in_any_case() {
    let fixture = Fixture::new().await;
    for (username, email) in [
        ("John.Doe", "jd@example.com"),
        ("johnny", "x@john.org"),
        ("mary", "JOHN@example.com"),
    ] {
        fixture
            .create(json!({"username": username, "email": email, "password": PASSWORD}))
            .await
            .is(201, "");
    }
    let cases: [(&str, &[&str]); 12] = [
        ("john", &["John.Doe", "johnny", "mary"]),
        ("JOHN", &["John.Doe", "johnny", "mary"]),
        ("john.", &["John.Doe"]),
        ("john@", &["mary"]),
        ("jd@example.com", &["John.Doe"]),
        ("%20john.doe%20", &["John.Doe"]),
        ("ohn", &[]),
        // What patterns mean elsewhere is text here.
        ("%25", &[]),
        ("joh_", &[]),
        ("j%2A", &[]),
        ("j%C3%B6hn", &[]),
        ("", &["root", "John.Doe", "johnny", "mary"]),
    ];
    for (search, expected) in cases {
        let page = fixture.get(&format!("/users?search={search}")).await;
        assert_eq!(names(&page.is(200, "").body), expected, "{search}");
    }
    let first = fixture.get("/users?search=john&limit=2").await;
    let rest = fixture
        .get(&format!(
            "/users?search=john&limit=2&after={}",
            first.text("next")
        ))
        .await;
    assert_eq!(
        (names(&first.body), names(&rest.body)),
        (
            vec!["John.Doe".into(), "johnny".into()],
            vec!["mary".into()]
        )
    );
    assert_eq!(rest.body["next"], Value::Null);
}

#[tokio::test]
async fn searching_uses_the_unique_indexes() {
    let fixture = Fixture::new().await;
    let many = "insert into users (id, username, email, password_hash) \
        select gen_random_uuid(), 'u' || n, 'e' || n || '@example.com', 'x' \
        from generate_series(1, 20000) n; analyze users";
    execute(&fixture.server, many).await;
    let search = include_str!("../../../sql/queries/search_users.sql");
    let search: String = search
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    let database = connect(fixture.server.setting("DATABASE_URL")).await;
    let prepare = format!(
        "set plan_cache_mode = force_custom_plan; prepare search (uuid, bigint, text) as {search}"
    );
    database
        .batch_execute(&prepare)
        .await
        .expect("the statement is right");
    let explain = "explain execute search ('00000000-0000-0000-0000-000000000000', 20, 'u1999')";
    let plan = database.simple_query(explain).await.expect("a plan");
    let plan = format!("{plan:?}");
    assert!(
        plan.contains("users_username_key") && plan.contains("users_email_key"),
        "{plan}"
    );
}

#[tokio::test]
async fn sessions_of_a_user_are_listed_like_ones_own() {
    let fixture = Fixture::new().await;
    let (path, first) = fixture.somebody("john").await;
    let second = fixture.server.sign_in("john").await;
    let ended = fixture.server.sign_in("john").await;
    fixture
        .server
        .log_out(&ended.access_token)
        .await
        .is(204, "");
    let sid = |session: &crate::test_server::Session| session.claims()["sid"].clone();
    let page = fixture.get(&format!("{path}/sessions?limit=1")).await;
    assert_eq!(page.is(200, "").body["data"][0]["id"], sid(&first));
    assert_eq!(page.body["data"][0]["current"], false);
    let rest = fixture
        .get(&format!("{path}/sessions?after={}", page.text("next")))
        .await;
    assert_eq!(
        (
            rest.body["data"].as_array().map(Vec::len),
            &rest.body["data"][0]["id"]
        ),
        (Some(1), &sid(&second))
    );
    // Two of the administrator's own: signing up, and signing in.
    let own = fixture
        .get(&format!("{}/sessions", fixture.admin.user_path()))
        .await;
    let current: Vec<_> = own.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["current"].clone())
        .collect();
    assert_eq!(current, [false, true]);
}

/// Whoever looks sees the truth, whatever happens at the same time.
#[tokio::test]
async fn of_many_who_make_one_name_one_does() {
    let fixture = Fixture::new().await;
    let make = || fixture.create(json!({"username": "john", "password": PASSWORD}));
    let responses = join_all((0..8).map(|_| make())).await;
    let made = responses
        .iter()
        .filter(|response| response.status == 201)
        .count();
    assert!(
        made == 1
            && responses
                .iter()
                .all(|response| response.status == 201 || response.code() == "username_taken")
    );
}
