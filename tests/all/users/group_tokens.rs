//! The groups of users in tokens and identity headers, on every replica.

use deadpool_redis::redis::{self, FromRedisValue, aio::MultiplexedConnection};
use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    browser::{NAME, open},
    oauth::Client,
    personal_access_tokens,
    test_server::{Session, TestServer, claims, race_rounds},
    test_stores::{connect_redis, execute, query_value, redis_prefix},
};

async fn set_groups(fixture: &Fixture, path: &str, groups: &[&str]) {
    let response = fixture.patch(path, json!({"groups": groups})).await;
    assert_eq!(response.is(200, "").body["groups"], json!(groups));
}

/// Sends a check, and returns the status and the groups of the response.
async fn check(server: &TestServer, token: &str, query: &str) -> (u16, String) {
    let path = format!("/auth/verify{query}");
    let response = server.with_token(Method::GET, &path, token, Value::Null);
    let response = response.await;
    (response.status, response.header("x-auth-groups").to_owned())
}

async fn run<T: FromRedisValue>(redis: &mut MultiplexedConnection, command: &[&str]) -> T {
    let mut request = redis::cmd(command[0]);
    request.arg(&command[1..]);
    request.query_async(redis).await.expect("a valid command")
}

async fn refresh(server: &TestServer, session: &Session) -> Session {
    Session::of(server.refresh(&session.refresh_token).await.is(200, ""))
}

#[tokio::test]
async fn every_kind_of_user_token_contains_groups() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    for name in ["audit", "finance"] {
        fixture.create_group(name).await.is(201, "");
    }
    let (path, without_groups) = fixture.sign_up("john").await;
    assert!(without_groups.claims().get("groups").is_none());
    let none = check(server, &without_groups.access_token, "").await;
    assert_eq!(none, (204, String::new()));
    set_groups(&fixture, &path, &["audit", "finance"]).await;

    let session = server.sign_in("john").await;
    let refreshed = refresh(server, &session).await;
    let cookie = open(server, "john").await;
    for claims in [session.claims(), refreshed.claims(), claims(&cookie)] {
        assert_eq!(claims["groups"], json!(["audit", "finance"]));
    }
    let (_, personal) = personal_access_tokens::make(server, &session, "user:read").await;
    let client = Client::register(server, &fixture.admin, "items:read").await;
    let audience = session.claim("aud");
    let resource_server = json!({"name": "rs", "scope": "items:read", "audience": audience});
    let resource_server = Client::register_with(server, &fixture.admin, resource_server).await;
    let expected = (204, "audit,finance".to_owned());
    for token in [&session.access_token, &personal] {
        assert_eq!(check(server, token, "").await, expected);
        let introspected = resource_server.introspect(server, token).await;
        assert_eq!(introspected["groups"], json!(["audit", "finance"]));
    }
    let request = server
        .request(Method::GET, "/auth/verify")
        .header("cookie", format!("{NAME}={cookie}"))
        .header("x-forwarded-method", "GET");
    let checked = server.send(request).await;
    assert_eq!(checked.header("x-auth-groups"), expected.1);

    let token = client.token(server).await;
    assert!(claims(&token).get("groups").is_none());
    let introspected = resource_server.introspect(server, &token).await;
    assert!(introspected.get("groups").is_none(), "{introspected}");
    let checked = check(server, &token, "?scope=items:read").await;
    assert_eq!(checked, (204, String::new()));
    let with_group = check(server, &token, "?scope=items:read&group=audit").await;
    assert_eq!(with_group, (403, String::new()));
}

#[tokio::test]
async fn check_requires_one_of_the_groups() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    for name in ["audit", "finance"] {
        fixture.create_group(name).await.is(201, "");
    }
    let (path, _) = fixture.sign_up("john").await;
    set_groups(&fixture, &path, &["finance"]).await;
    let john = server.sign_in("john").await;
    let user = server.sign_up("mary").await;
    for (query, john_status, mary_status) in [
        ("?group=finance", 204, 403),
        ("?group=audit%20finance", 204, 403),
        ("?group=finance+audit", 204, 403),
        ("?group=audit", 403, 403),
        ("?group=unknown", 403, 403),
        ("?group=financ", 403, 403),
        ("?group=finance&role=user&scope=items:read", 204, 403),
        ("?group=finance&role=admin", 403, 403),
        ("?group=finance&scope=admin", 403, 403),
        ("?group=", 400, 400),
        ("?group", 400, 400),
        ("?group=%20", 400, 400),
        ("?group=finance%20", 400, 400),
        ("?group=finance,audit", 400, 400),
        ("?group=Finance", 400, 400),
        ("?group=finance&group=audit", 400, 400),
        ("?groups=finance", 400, 400),
    ] {
        let expected = [(&john, john_status), (&user, mary_status)];
        for (session, status) in expected {
            let path = format!("/auth/verify{query}");
            let token = &session.access_token;
            let response = server
                .with_token(Method::GET, &path, token, Value::Null)
                .await;
            let code = match status {
                204 => "",
                400 => "invalid_request",
                _forbidden if query.contains("scope=admin") => "insufficient_scope",
                _forbidden => "forbidden",
            };
            response.is(status, code);
        }
    }
    let path = "/auth/verify?group=audit";
    let rejected = server.with_token(Method::GET, path, &john.access_token, Value::Null);
    assert_eq!(
        rejected.await.is(403, "forbidden").text("detail"),
        "This application allows only members of a required group. Ask an administrator to add \
         the user to the group. OAuth clients can't be members."
    );
}

#[tokio::test]
async fn change_of_groups_takes_effect_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    fixture.create_group("finance").await.is(201, "");
    let (path, first) = fixture.sign_up("john").await;
    let second = replica.sign_in("john").await;
    let (_, personal) = personal_access_tokens::make(&replica, &second, "user:read").await;
    assert_eq!(replica.verify(&personal).await.0, 204);
    set_groups(&fixture, &path, &["finance"]).await;
    for session in [&first, &second] {
        replica.rejects(session).await;
        fixture.server.rejects(session).await;
    }
    assert_eq!(replica.verify(&personal).await.0, 401);
    let session = replica.sign_in("john").await;
    assert_eq!(session.claims()["groups"], json!(["finance"]));
    let events = "select string_agg(concat_ws(' ', event, outcome, actor, reason), ',') \
        from audit_events where event = 'groups_changed'";
    let expected = "groups_changed success admin group_change";
    assert_eq!(query_value(&replica, events).await, expected);

    // The same groups revoke nothing.
    set_groups(&fixture, &path, &["finance"]).await;
    assert_eq!(replica.verify(&session.access_token).await.0, 204);
    assert_eq!(query_value(&replica, events).await, expected);
}

/// After the response to a change, no token with the previous groups is accepted, although the user
/// signs in and refreshes on two replicas meanwhile.
#[tokio::test]
async fn no_token_with_previous_groups_survives_a_race() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for name in ["audit", "finance"] {
        fixture.create_group(name).await.is(201, "");
    }
    let (path, _) = fixture.sign_up("john").await;
    for round in 0..race_rounds(25) {
        let group = ["audit", "finance"][round % 2];
        let sessions = [
            fixture.server.sign_in("john").await,
            replica.sign_in("john").await,
        ];
        let groups = [group];
        let sign_in = async |server: &TestServer| {
            let response = server
                .try_sign_in("john", crate::test_server::PASSWORD)
                .await;
            (response.status == 200).then(|| Session::of(&response))
        };
        let rotate = async |server: &TestServer, session: &Session| {
            let response = server.refresh(&session.refresh_token).await;
            (response.status == 200).then(|| Session::of(&response))
        };
        let results = tokio::join!(
            set_groups(&fixture, &path, &groups),
            sign_in(&fixture.server),
            sign_in(&replica),
            rotate(&replica, &sessions[0]),
            rotate(&fixture.server, &sessions[1]),
        );
        let issued = [results.1, results.2, results.3, results.4];
        for session in issued.into_iter().flatten().chain(sessions) {
            for server in [&fixture.server, &replica] {
                let (status, groups) = check(server, &session.access_token, "").await;
                assert!(
                    status == 401 || (status, groups.as_str()) == (204, group),
                    "round {round}: {status} {groups} instead of {group}"
                );
            }
            let next = replica.refresh(&session.refresh_token).await;
            if next.status == 200 {
                assert_eq!(Session::of(&next).claims()["groups"], json!([group]));
            }
        }
    }
}

/// A replica of a version without groups stores an identity without them, under the same or a
/// larger version.
#[tokio::test]
async fn identity_without_groups_in_redis_is_read_again() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    fixture.create_group("finance").await.is(201, "");
    let (path, _) = fixture.sign_up("john").await;
    set_groups(&fixture, &path, &["finance"]).await;
    let mut session = server.sign_in("john").await;
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let prefix = redis_prefix(server).await;
    let key = format!("{prefix}:{{{}}}:user", session.claim("sub"));
    for is_newer in [false, true] {
        let identity: String = run(&mut redis, &["HGET", &key, "identity"]).await;
        let mut identity: Value = serde_json::from_str(&identity).expect("JSON");
        let fields = identity.as_object_mut().expect("an object");
        assert_eq!(fields.remove("groups"), Some(json!(["finance"])));
        if is_newer {
            let rename = "update users set name = 'John', identity_version = identity_version + 1";
            execute(server, &format!("{rename} where username = 'john'")).await;
            let version = identity["version"].as_i64().expect("a version") + 1;
            identity["version"] = json!(version);
            identity["name"] = json!("John");
        }
        let (version, text) = (identity["version"].to_string(), identity.to_string());
        // The republish worker might have stored the groups of this version meanwhile, which the
        // script of an older version wouldn't replace. So all fields are written at once.
        let older = if is_newer { "1" } else { "0" };
        let fields = [
            "identity_version",
            &version,
            "identity",
            &text,
            "groups_version",
            older,
        ];
        run::<i64>(&mut redis, &[&["HSET", key.as_str()], &fields[..]].concat()).await;
        session = refresh(server, &session).await;
        assert_eq!(session.claims()["groups"], json!(["finance"]), "{is_newer}");
        // The next refresh needs no query.
        let stored: String = run(&mut redis, &["HGET", &key, "identity"]).await;
        assert!(stored.contains("finance"), "{stored}");
        session = refresh(server, &session).await;
        assert_eq!(session.claims()["groups"], json!(["finance"]), "{is_newer}");
    }
    // An identity without groups never gives more groups than PostgreSQL contains.
    set_groups(&fixture, &path, &[]).await;
    let session = server.sign_in("john").await;
    run::<i64>(&mut redis, &["HDEL", &key, "groups_version"]).await;
    let session = refresh(server, &session).await;
    assert!(session.claims().get("groups").is_none());
}
