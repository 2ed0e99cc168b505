//! PostgreSQL killed, standing still, cut off. What needs no row goes on.

use std::time::Duration;

use latchkey_dev::Stack;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Call, DEFAULTS, POSTGRES_LIMIT, in_time, nothing_changed, protected, refused_within, signed_in,
    works_again,
};
use crate::{
    proxy::{Line, Proxy},
    test_server::{PASSWORD, Session, TestServer, until},
    test_stores::{Held, ask, own_stack},
};

/// A PostgreSQL of the test's own, with a gateway.
async fn own() -> (Stack, TestServer) {
    own_with(&DEFAULTS).await
}

async fn own_with(changes: &[(&str, &str)]) -> (Stack, TestServer) {
    let (stack, url) = own_stack();
    let server = TestServer::with(&[changes, &[("DATABASE_URL", &url)]].concat()).await;
    (stack, server)
}

/// Protected operations that read or write rows.
fn rows() -> Vec<Call> {
    // A wrong code is found wrong without a row.
    let without = ["/auth/verify", "/user/email/confirm", "/revocations"];
    protected()
        .into_iter()
        .filter(|(_, path, _)| !without.contains(path))
        .collect()
}

/// What needs no token and a row.
async fn strangers_are_told(server: &TestServer, john: &Session) {
    let name = john.claim("username");
    let (login, signup, logout) = tokio::join!(
        server.log_in(&name, PASSWORD),
        server.post("/signup", json!({"username": "mary", "password": PASSWORD})),
        server.log_out(&john.access_token),
    );
    for response in [login, signup, logout] {
        response.is(503, "unavailable");
        assert!(!response.header("retry-after").is_empty());
        assert!(
            !response.text("detail").contains("is saved"),
            "nothing was made: {}",
            response.body
        );
    }
}

async fn what_needs_no_row_goes_on(server: &TestServer, john: &mut Session) {
    until("it is verified", || async {
        server.verify(&john.access_token).await.0 == 204
    })
    .await;
    let refreshed = in_time(|| server.refresh(&john.refresh_token)).await;
    *john = Session::of(refreshed.is(200, ""));
    for path in ["/health/live", "/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    until("it is ready", || async {
        let ready = server.get("/health/ready").await;
        assert!(
            ready.status == 200 || ready.text("redis") == "down",
            "of PostgreSQL alone it is: {}",
            ready.body
        );
        ready.status == 200
    })
    .await;
}

#[tokio::test]
async fn postgres_is_killed_and_comes_back() {
    let (mut stack, server) = own().await;
    let mut john = signed_in(&server).await;
    stack.postgres.kill();
    refused_within(POSTGRES_LIMIT, &server, &john, &rows()).await;
    what_needs_no_row_goes_on(&server, &mut john).await;
    strangers_are_told(&server, &john).await;
    stack.postgres.start_again().expect("it can be started");
    works_again(&server, &john).await;
    nothing_changed(&server, &john).await;
}

#[tokio::test]
async fn postgres_stands_still_and_goes_on() {
    let (stack, server) = own().await;
    let mut john = signed_in(&server).await;
    stack.postgres.pause();
    refused_within(POSTGRES_LIMIT, &server, &john, &rows()).await;
    what_needs_no_row_goes_on(&server, &mut john).await;
    strangers_are_told(&server, &john).await;
    stack.postgres.resume();
    works_again(&server, &john).await;
}

/// The denylist comes first here; the record is made up for by whoever shows a token of the session
/// next.
#[tokio::test]
async fn a_thief_gains_nothing_while_postgres_stands_still() {
    let (stack, server) = own_with(&[
        ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
        ("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s"),
    ])
    .await;
    let (replica, used) = (server.replica().await, server.sign_up("john").await);
    let (other, new) = (
        server.sign_in("john").await,
        Session::of(&server.refresh(&used.refresh_token).await),
    );
    stack.postgres.pause();
    server
        .refresh(&used.refresh_token)
        .await
        .is(503, "unavailable");
    assert_eq!(
        replica.verify(&new.access_token).await,
        (401, "token_revoked".into())
    );
    stack.postgres.resume();
    let refresh = || replica.refresh(&used.refresh_token);
    until("PostgreSQL responds", || async {
        refresh().await.status != 503
    })
    .await;
    refresh().await.is(401, "invalid_refresh_token");
    replica
        .refresh(&new.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        ask(
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
async fn two_hundred_at_once_are_all_answered_while_postgres_stands_still() {
    let (stack, server) = own().await;
    let john = signed_in(&server).await;
    stack.postgres.pause();
    // In a queue before four connections they would take 100 seconds.
    let crowd = vec![(Method::GET, "/items", Value::Null); 200];
    refused_within(Duration::from_secs(8), &server, &john, &crowd).await;
    assert_eq!(server.get("/health/live").await.status, 200);
    stack.postgres.resume();
    works_again(&server, &john).await;
}

#[tokio::test]
async fn the_line_to_postgres_is_cut_and_mended() {
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::start().await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let server = server
        .replica_with(&[DEFAULTS.as_slice(), &[("DATABASE_URL", &url)]].concat())
        .await;
    let mut john = signed_in(&server).await;
    proxy.set(Line::Cut);
    refused_within(POSTGRES_LIMIT, &server, &john, &rows()).await;
    what_needs_no_row_goes_on(&server, &mut john).await;
    proxy.set(Line::Open);
    works_again(&server, &john).await;
    nothing_changed(&server, &john).await;
    let item = server.create_item(&john, "a").await;
    item.is(201, "");
    let listed = server
        .with_token(Method::GET, "/items", &john.access_token, Value::Null)
        .await;
    assert_eq!(listed.body["data"][0]["id"], item.body["id"]);
}

/// The line is half open: the server waits for the rest of a transaction, and nobody is there any
/// more.
#[tokio::test]
async fn rows_of_a_transaction_whose_line_is_lost_are_let_go() {
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::with(&DEFAULTS).await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let lost = server.replica_with(&[("DATABASE_URL", &url)]).await;
    let john = signed_in(&server).await;
    let held = Held::rows(&server, "select from sessions where revoked_at is null").await;
    let lose = async {
        held.until_somebody_waits().await;
        proxy.set(Line::Lost);
        // Now the rows are the transaction's, which hears of it no more.
        held.release().await;
    };
    let (response, ()) = tokio::join!(lost.log_out(&john.access_token), lose);
    response.is(503, "unavailable");
    until("the other replica gets them", || async {
        server.log_out(&john.access_token).await.status == 204
    })
    .await;
    assert_eq!(
        server.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
}
