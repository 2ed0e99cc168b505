//! Pagination and search of users.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    test_server::PASSWORD,
    test_stores::{connect, execute},
};

fn usernames(page: &Value) -> Vec<String> {
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
async fn pages_list_every_user_once_oldest_first() {
    let fixture = Fixture::new().await;
    let mut created = vec!["root".to_owned()];
    for number in 0..7 {
        let name = format!("user{number}");
        fixture
            .create(json!({"username": name, "password": PASSWORD}))
            .await
            .is(201, "");
        created.push(name);
    }
    let (mut seen, mut path) = (Vec::new(), "/users?limit=3".to_owned());
    loop {
        let page = fixture.get(&path).await;
        seen.extend(usernames(&page.is(200, "").body));
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/users?limit=3&after={next}");
    }
    assert_eq!(seen, created);
    for query in [
        "limit=0",
        "limit=101",
        "after=x",
        "search=%00",
        "limit=1&limit=2",
    ] {
        fixture
            .get(&format!("/users?{query}"))
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
async fn search_matches_name_and_email_prefixes() {
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
        // Pattern characters have no special meaning.
        ("%25", &[]),
        ("joh_", &[]),
        ("j%2A", &[]),
        ("j%C3%B6hn", &[]),
        ("", &["root", "John.Doe", "johnny", "mary"]),
    ];
    for (search, expected) in cases {
        let page = fixture.get(&format!("/users?search={search}")).await;
        assert_eq!(usernames(&page.is(200, "").body), expected, "{search}");
    }
    let first = fixture.get("/users?search=john&limit=2").await;
    let rest = fixture
        .get(&format!(
            "/users?search=john&limit=2&after={}",
            first.text("next")
        ))
        .await;
    assert_eq!(
        (usernames(&first.body), usernames(&rest.body)),
        (
            vec!["John.Doe".into(), "johnny".into()],
            vec!["mary".into()]
        )
    );
    assert_eq!(rest.body["next"], Value::Null);
}

#[tokio::test]
async fn search_uses_unique_indexes() {
    let fixture = Fixture::new().await;
    let insert_users = "insert into users (id, username, email, password_hash) \
        select gen_random_uuid(), 'u' || n, 'e' || n || '@example.com', 'x' \
        from generate_series(1, 20000) n; analyze users";
    execute(&fixture.server, insert_users).await;
    let search = include_str!("../../../sql/queries/search_users.sql");
    let search: String = search
        .lines()
        .filter(|line| !line.starts_with("--"))
        .collect::<Vec<_>>()
        .join("\n");
    let database = connect(fixture.server.setting("DATABASE_URL")).await;
    let prepare = format!(
        "set plan_cache_mode = force_custom_plan; prepare search (uuid, bigint, text, text) as {search}"
    );
    database
        .batch_execute(&prepare)
        .await
        .expect("a valid statement");
    let explain =
        "explain execute search ('00000000-0000-0000-0000-000000000000', 20, 'u1999', null)";
    let plan = database.simple_query(explain).await.expect("a plan");
    let plan = format!("{plan:?}");
    assert!(
        plan.contains("users_username_key") && plan.contains("users_email_key"),
        "{plan}"
    );
}

#[tokio::test]
async fn admin_lists_sessions_of_a_user() {
    let fixture = Fixture::new().await;
    let (path, first) = fixture.sign_up("john").await;
    let second = fixture.server.sign_in("john").await;
    let revoked = fixture.server.sign_in("john").await;
    fixture
        .server
        .sign_out(&revoked.access_token)
        .await
        .is(204, "");
    let session_id = |session: &crate::test_server::Session| session.claims()["sid"].clone();
    let page = fixture.get(&format!("{path}/sessions?limit=1")).await;
    assert_eq!(page.is(200, "").body["data"][0]["id"], session_id(&first));
    assert_eq!(page.body["data"][0]["current"], false);
    let next_page = fixture
        .get(&format!("{path}/sessions?after={}", page.text("next")))
        .await;
    assert_eq!(
        (
            next_page.body["data"].as_array().map(Vec::len),
            &next_page.body["data"][0]["id"]
        ),
        (Some(1), &session_id(&second))
    );
    // The administrator has two sessions: from the sign-up and from the sign-in.
    let admin_sessions = fixture
        .get(&format!("{}/sessions", fixture.admin.user_path()))
        .await;
    let current: Vec<_> = admin_sessions.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| item["current"].clone())
        .collect();
    assert_eq!(current, [false, true]);
}

#[tokio::test]
async fn concurrent_creations_of_a_username_succeed_once() {
    let fixture = Fixture::new().await;
    let create = || fixture.create(json!({"username": "john", "password": PASSWORD}));
    let responses = join_all((0..8).map(|_| create())).await;
    let created = responses
        .iter()
        .filter(|response| response.status == 201)
        .count();
    assert!(
        created == 1
            && responses
                .iter()
                .all(|response| response.status == 201 || response.code() == "username_taken")
    );
}
