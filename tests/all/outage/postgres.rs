//! PostgreSQL is killed, paused, or unreachable. Operations that need no rows still work.

use std::time::Duration;

use latchkey_dev::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Call, DEFAULT_TIMEOUTS, POSTGRES_RESPONSE_LIMIT, assert_unavailable_within, assert_unchanged,
    protected_calls, retry_timeouts, sign_up_admin, wait_until_recovered,
};
use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::{RowLock, execute, own_stack, query_value},
};

/// Starts a server with its own PostgreSQL.
async fn start() -> (Stack, TestServer) {
    start_with(&DEFAULT_TIMEOUTS).await
}

async fn start_with(changes: &[(&str, &str)]) -> (Stack, TestServer) {
    let (stack, url) = own_stack();
    let server = TestServer::with(&[changes, &[("DATABASE_URL", &url)]].concat()).await;
    (stack, server)
}

/// Returns the protected operations that need rows.
fn calls_with_rows() -> Vec<Call> {
    // An incorrect code is rejected without a row.
    let without_rows = ["/auth/verify", "/user/email/confirm", "/revocations"];
    protected_calls()
        .into_iter()
        .filter(|(_, path, _)| !without_rows.contains(path))
        .collect()
}

/// Asserts that sign-in, sign-up, and sign-out return 503, because they need rows.
async fn assert_sign_in_is_unavailable(server: &TestServer, session: &Session) {
    let name = session.claim("username");
    let (login, signup, logout) = tokio::join!(
        server.try_sign_in(&name, PASSWORD),
        server.post("/signup", json!({"username": "mary", "password": PASSWORD})),
        server.sign_out(&session.access_token),
    );
    for response in [login, signup, logout] {
        response.is(503, "unavailable");
        assert!(!response.header("retry-after").is_empty());
        assert!(
            !response.text("detail").contains("is saved"),
            "nothing is saved: {}",
            response.body
        );
    }
}

/// Asserts that checks, refreshes, and health checks work, because they need no rows.
async fn assert_works_without_rows(server: &TestServer, session: &mut Session) {
    wait_until("the check succeeds", || async {
        server.verify(&session.access_token).await.0 == 204
    })
    .await;
    let refreshed = retry_timeouts(|| server.refresh(&session.refresh_token)).await;
    *session = Session::of(refreshed.is(200, ""));
    for path in ["/health/live", "/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    wait_until("the replica is ready", || async {
        let ready = server.readiness().await;
        assert!(
            ready.status == 200 || ready.text("redis") == "down",
            "an outage of PostgreSQL alone does not affect readiness: {}",
            ready.body
        );
        ready.status == 200
    })
    .await;
}

/// Reads succeed while the disk is full.
#[tokio::test]
async fn full_disk_is_reported() {
    let server = TestServer::start().await;
    server.sign_up("john").await;
    let reject_inserts = "create function reject() returns trigger language plpgsql as
        $$ begin raise exception 'could not extend file' using errcode = 'disk_full'; end $$;
        create trigger reject before insert on users for each row execute function reject()";
    execute(&server, reject_inserts).await;
    let body = json!({"username": "jane", "password": PASSWORD});
    server.post("/signup", body).await.is(503, "unavailable");
    let readiness = server.readiness().await;
    assert_eq!(readiness.status, 200);
    let degraded = readiness.body["degraded"].to_string();
    assert!(degraded.contains("The disk is full"), "{degraded}");
}

#[tokio::test]
async fn server_recovers_after_postgres_is_killed() {
    let (mut stack, server) = start().await;
    let mut session = sign_up_admin(&server).await;
    stack.postgres.kill();
    assert_unavailable_within(
        POSTGRES_RESPONSE_LIMIT,
        &server,
        &session,
        &calls_with_rows(),
    )
    .await;
    assert_works_without_rows(&server, &mut session).await;
    assert_sign_in_is_unavailable(&server, &session).await;
    stack.postgres.restart().expect("PostgreSQL starts");
    wait_until_recovered(&server, &session).await;
    assert_unchanged(&server, &session).await;
}

#[tokio::test]
async fn server_recovers_after_postgres_is_paused() {
    let (stack, server) = start().await;
    let mut session = sign_up_admin(&server).await;
    stack.postgres.pause();
    assert_unavailable_within(
        POSTGRES_RESPONSE_LIMIT,
        &server,
        &session,
        &calls_with_rows(),
    )
    .await;
    assert_works_without_rows(&server, &mut session).await;
    assert_sign_in_is_unavailable(&server, &session).await;
    stack.postgres.resume();
    wait_until_recovered(&server, &session).await;
}

/// The revocation is published first. A later request with a token of the session writes it to
/// PostgreSQL.
#[tokio::test]
async fn reuse_revokes_session_while_postgres_is_paused() {
    let (stack, server) = start_with(&[
        ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
        ("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s"),
    ])
    .await;
    let (replica, reused) = (server.replica().await, server.sign_up("john").await);
    let (other, refreshed) = (
        server.sign_in("john").await,
        Session::of(&server.refresh(&reused.refresh_token).await),
    );
    stack.postgres.pause();
    server
        .refresh(&reused.refresh_token)
        .await
        .is(503, "unavailable");
    assert_eq!(
        replica.verify(&refreshed.access_token).await,
        (401, "token_revoked".into())
    );
    stack.postgres.resume();
    let refresh = || replica.refresh(&reused.refresh_token);
    wait_until("PostgreSQL responds", || async {
        refresh().await.status != 503
    })
    .await;
    refresh().await.is(401, "invalid_refresh_token");
    replica
        .refresh(&refreshed.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        query_value(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "refresh_token_reused"
    );
    let dashboard = replica
        .with_token(Method::GET, "/dashboard", &other.access_token, Value::Null)
        .await;
    let listed = dashboard.is(200, "").body["sessions"]
        .as_array()
        .expect("a list");
    assert_eq!(
        (listed.len(), &listed[0]["id"]),
        (1, &other.claims()["sid"])
    );
}

#[tokio::test]
async fn concurrent_requests_get_503_while_postgres_is_paused() {
    let (stack, server) = start().await;
    let session = sign_up_admin(&server).await;
    stack.postgres.pause();
    // In a queue for four connections, the requests would take 100 seconds.
    let calls = vec![(Method::GET, "/items", Value::Null); 200];
    assert_unavailable_within(Duration::from_secs(8), &server, &session, &calls).await;
    assert_eq!(server.get("/health/live").await.status, 200);
    stack.postgres.resume();
    wait_until_recovered(&server, &session).await;
}

#[tokio::test]
async fn server_recovers_after_postgres_is_unreachable() {
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::start().await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let server = server
        .replica_with(&[DEFAULT_TIMEOUTS.as_slice(), &[("DATABASE_URL", &url)]].concat())
        .await;
    let mut session = sign_up_admin(&server).await;
    proxy.set(ConnectionState::Cut);
    assert_unavailable_within(
        POSTGRES_RESPONSE_LIMIT,
        &server,
        &session,
        &calls_with_rows(),
    )
    .await;
    assert_works_without_rows(&server, &mut session).await;
    proxy.set(ConnectionState::Open);
    wait_until_recovered(&server, &session).await;
    assert_unchanged(&server, &session).await;
    let item = server.create_item(&session, "a").await;
    item.is(201, "");
    let listed = server
        .with_token(Method::GET, "/items", &session.access_token, Value::Null)
        .await;
    assert_eq!(listed.body["data"][0]["id"], item.body["id"]);
}

/// On a half-open connection, PostgreSQL waits for the rest of a transaction that never arrives.
#[tokio::test]
async fn rows_of_a_half_open_connection_are_unlocked() {
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::with(&DEFAULT_TIMEOUTS).await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let disconnected = server.replica_with(&[("DATABASE_URL", &url)]).await;
    let session = sign_up_admin(&server).await;
    let lock = RowLock::rows(&server, "select from sessions where revoked_at is null").await;
    let lose_connection = async {
        lock.wait_until_blocked().await;
        proxy.set(ConnectionState::Lost);
        // The transaction gets the locks, but its replica gets no response.
        lock.release().await;
    };
    let (response, ()) = tokio::join!(
        disconnected.sign_out(&session.access_token),
        lose_connection
    );
    response.is(503, "unavailable");
    wait_until("the other replica gets the locks", || async {
        server.sign_out(&session.access_token).await.status == 204
    })
    .await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
}
