//! Refresh tokens: rotation, reuse detection, idle timeout, and maximum lifetime.

use std::sync::Mutex;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    test_server::{Session, TestServer, wait_until},
    test_stores::query_value,
};

async fn rotate(server: &TestServer, session: &Session) -> Session {
    let response = server.refresh(&session.refresh_token).await;
    response.is(200, "");
    assert_eq!(response.header("cache-control"), "no-store");
    Session::of(&response)
}

/// Asserts that both replicas reject all tokens of these sessions.
async fn assert_revoked(replicas: [&TestServer; 2], sessions: &[&Session]) {
    for replica in replicas {
        for session in sessions {
            assert_eq!(
                replica.verify(&session.access_token).await,
                (401, "token_revoked".into())
            );
            let response = replica.refresh(&session.refresh_token).await;
            assert_eq!(response.status, 401, "{}", response.string());
        }
    }
}

#[tokio::test]
async fn refresh_returns_new_pair_of_the_same_session() {
    let server = TestServer::shared().await;
    let previous = server.sign_up("john").await;
    let current = rotate(&server, &previous).await;
    let (before, after) = (previous.claims(), current.claims());
    for claim in [
        "sub",
        "sid",
        "session_exp",
        "auth_time",
        "scope",
        "generation",
        "client_id",
    ] {
        assert_eq!(before[claim], after[claim], "{claim}");
    }
    assert_ne!(before["jti"], after["jti"]);
    assert_ne!(previous.refresh_token, current.refresh_token);
    assert_eq!(server.verify(&current.access_token).await.0, 204);
    assert_eq!(
        server.verify(&previous.access_token).await.0,
        204,
        "a refresh doesn't revoke the previous access token"
    );
}

#[tokio::test]
async fn reused_refresh_token_revokes_session() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let other = server.sign_in("john").await;
    let second = rotate(&server, &first).await;
    let third = rotate(&replica, &second).await;
    replica
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    server
        .refresh(&third.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_revoked([&replica, &server], &[&first, &second, &third]).await;
    assert_eq!(
        query_value(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "refresh_token_reused"
    );
    assert_eq!(
        replica.verify(&other.access_token).await.0,
        204,
        "other sessions stay valid"
    );
    rotate(&replica, &other).await;
}

#[tokio::test]
async fn invalid_refresh_token_is_rejected_and_revokes_nothing() {
    let server = TestServer::shared().await;
    let (session, foreign) = (
        server.sign_up("john").await,
        TestServer::shared().await.sign_up("john").await,
    );
    let token = &session.refresh_token;
    let with_changed_character = |at: usize| {
        let character = if &token[at..=at] == "A" { "B" } else { "A" };
        format!("{}{character}{}", &token[..at], &token[at + 1..])
    };
    let mut invalid_tokens = vec![
        "x".to_owned(),
        "lkr_".to_owned(),
        token[4..].to_owned(),
        token.to_uppercase(),
        format!("{token}A"),
        format!("{token}="),
        format!(" {token}"),
        format!("{token}\n"),
        token[..token.len() - 1].to_owned(),
        session.access_token.clone(),
        foreign.refresh_token,
    ];
    invalid_tokens.extend([5, 24, 30, 50, 56, 60, 80, token.len() - 2].map(with_changed_character));
    for invalid_token in invalid_tokens {
        server
            .refresh(&invalid_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    rotate(&server, &session).await;
}

#[tokio::test]
async fn only_idle_session_expires_after_idle_timeout() {
    let server = TestServer::with(&[("LATCHKEY_SESSION_IDLE_TIMEOUT", "8s")]).await;
    let (idle_session, active_session) = (
        server.sign_up("john").await,
        Mutex::new(server.sign_in("john").await),
    );
    let started_at = idle_session.claims()["iat"].as_u64().expect("seconds");
    wait_until("the idle session is expired", || async {
        let current = active_session.lock().expect("one task").clone();
        let next = rotate(&server, &current).await;
        let now = next.claims()["iat"].as_u64().expect("seconds");
        *active_session.lock().expect("one task") = next;
        now > started_at + 9
    })
    .await;
    server
        .refresh(&idle_session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        server.verify(&idle_session.access_token).await.0,
        204,
        "the access token is valid until it expires"
    );
}

#[tokio::test]
async fn refresh_never_extends_maximum_lifetime() {
    let server = TestServer::with(&[
        ("LATCHKEY_SESSION_MAX_LIFETIME", "4s"),
        ("LATCHKEY_SESSION_IDLE_TIMEOUT", "4s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let expires_at = session.claims()["session_exp"].as_u64().expect("seconds");
    assert_eq!(
        session.claims()["exp"],
        expires_at,
        "an access token does not outlive its session"
    );
    let latest = Mutex::new(session);
    wait_until("the session is expired", || async {
        let current = latest.lock().expect("one task").clone();
        let response = server.refresh(&current.refresh_token).await;
        if response.status == 200 {
            let next = Session::of(&response);
            assert_eq!(
                (&next.claims()["session_exp"], &next.claims()["exp"]),
                (&json!(expires_at), &json!(expires_at))
            );
            assert!(response.body["refresh_expires_in"].as_u64() <= Some(4));
            *latest.lock().expect("one task") = next;
            return false;
        }
        response.is(401, "invalid_refresh_token");
        true
    })
    .await;
    let last = latest.lock().expect("one task").clone();
    assert_eq!(
        server.verify(&last.access_token).await,
        (401, "token_expired".into())
    );
    assert!(last.claims()["iat"].as_u64() < Some(expires_at));
}

/// Concurrent refreshes of browser tabs and lost responses must not revoke the session.
#[tokio::test]
async fn concurrent_refreshes_return_same_refresh_token() {
    let first = TestServer::start().await;
    let replicas = [&first, &first.replica().await, &first.replica().await];
    for name in ["john", "jane", "joe"] {
        let session = first.sign_up(name).await;
        let requests = (0..64).map(|number| replicas[number % 3].refresh(&session.refresh_token));
        let pairs: Vec<_> = join_all(requests)
            .await
            .iter()
            .map(|response| Session::of(response.is(200, "")))
            .collect();
        assert!(
            pairs
                .iter()
                .all(|pair| pair.refresh_token == pairs[0].refresh_token),
            "one refresh token"
        );
        for (number, pair) in pairs.iter().enumerate() {
            assert_eq!(
                replicas[(number + 1) % 3]
                    .verify(&pair.access_token)
                    .await
                    .0,
                204
            );
        }
        rotate(replicas[2], &pairs[63]).await;
    }
}

#[tokio::test]
async fn concurrent_refreshes_without_reuse_interval_revoke() {
    let server = TestServer::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s")]).await;
    let replica = server.replica().await;
    let session = server.sign_up("john").await;
    let requests = (0..64).map(|number| {
        if number % 2 == 0 { &server } else { &replica }.refresh(&session.refresh_token)
    });
    let responses = join_all(requests).await;
    let pairs: Vec<_> = responses
        .iter()
        .filter(|response| response.status == 200)
        .map(Session::of)
        .collect();
    assert_eq!(pairs.len(), 1);
    let rejected = responses.iter().filter(|response| response.status != 200);
    rejected.for_each(|response| {
        assert!(
            ["refresh_token_reused", "invalid_refresh_token"].contains(&response.code().as_str()),
            "{response:?}"
        )
    });
    assert_revoked([&server, &replica], &[&session, &pairs[0]]).await;
}

#[tokio::test]
async fn older_token_within_reuse_interval_revokes_session() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let second = rotate(&server, &first).await;
    let third = rotate(&replica, &second).await;
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    assert_revoked([&server, &replica], &[&first, &second, &third]).await;
}

#[tokio::test]
async fn previous_token_after_reuse_interval_revokes_session() {
    let server = TestServer::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "5s")]).await;
    let first = server.sign_up("john").await;
    let second = rotate(&server, &first).await;
    rotate(&server, &first).await;
    let is_reuse =
        || async { server.refresh(&first.refresh_token).await.code() == "refresh_token_reused" };
    wait_until("the reuse interval has passed", is_reuse).await;
    assert_revoked([&server, &server], &[&first, &second]).await;
}

/// Two tabs with the same token refresh concurrently, and each continues with its own response.
#[tokio::test]
async fn concurrent_tabs_keep_their_session() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let (mut first_tab, mut second_tab) = (session.clone(), session);
    for round in 0..120 {
        let servers = if round % 3 == 0 {
            (&server, &server)
        } else {
            (&server, &replica)
        };
        (first_tab, second_tab) = tokio::join!(
            rotate(servers.0, &first_tab),
            rotate(servers.1, &second_tab)
        );
        assert_eq!(first_tab.refresh_token, second_tab.refresh_token);
    }
    assert_eq!(
        query_value(
            &server,
            "select count(*)::text from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
}

#[tokio::test]
async fn sequential_refreshes_over_two_replicas_succeed() {
    let server = TestServer::start().await;
    let (replica, mut session) = (server.replica().await, server.sign_up("john").await);
    let mut tokens = vec![session.refresh_token.clone()];
    for round in 0..20 {
        session = rotate(if round % 2 == 0 { &server } else { &replica }, &session).await;
        assert!(!tokens.contains(&session.refresh_token));
        tokens.push(session.refresh_token.clone());
    }
    let user = replica
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    user.is(200, "");
    server
        .refresh(&tokens[10])
        .await
        .is(401, "refresh_token_reused");
    assert_revoked([&server, &replica], &[&session]).await;
}
