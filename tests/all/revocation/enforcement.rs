//! Tests of the wait for enforcement: a revocation completes when all replicas have acknowledged
//! it, or after the drain period.

use std::time::Instant;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{LONG, LONG_LEASE, LogAccess, count_enforced, wait_for_check_source};
use crate::test_server::{TestServer, wait_until};

const REVOKED: (u16, &str) = (401, "token_revoked");

async fn is_rejected(server: &TestServer, token: &str) -> bool {
    let (status, code) = server.verify(token).await;
    (status, code.as_str()) == REVOKED
}

#[tokio::test]
async fn acknowledged_revocation_does_not_wait_for_leases() {
    let server = TestServer::with(&[LONG]).await;
    let replicas = [server.replica().await, server.replica().await];
    for replica in &replicas {
        wait_for_check_source(replica, "memory").await;
    }
    for number in 0..10 {
        let session = server.sign_up(&format!("john{number}")).await;
        server.sign_out(&session.access_token).await.is(204, "");
        for replica in [&server, &replicas[0], &replicas[1]] {
            assert!(is_rejected(replica, &session.access_token).await);
        }
    }
    assert_eq!(
        (
            count_enforced(&server, "acknowledged").await,
            count_enforced(&server, "waited").await
        ),
        (10.0, 0.0)
    );
}

/// A killed replica acknowledges nothing, so the server waits until its lease has expired.
#[tokio::test]
async fn killed_replica_delays_revocation_and_is_reaped() {
    let server = TestServer::with(&[LONG]).await;
    let mut replica = server.replica().await;
    for replica in [&server, &replica] {
        wait_for_check_source(replica, "memory").await;
    }
    let (session, log) = (server.sign_up("john").await, LogAccess::of(&server).await);
    let (began, before) = (Instant::now(), log.member_states().await);
    let have_renewed = || async {
        log.member_states()
            .await
            .iter()
            .all(|state| !before.contains(state))
    };
    wait_until("both replicas have renewed", have_renewed).await;
    replica.kill();
    assert_eq!(log.members().await.len(), 2);
    server.sign_out(&session.access_token).await.is(204, "");
    assert!(
        began.elapsed() >= LONG_LEASE,
        "the killed replica could have accepted the token: {:?}",
        began.elapsed()
    );
    // If the last renewal was long ago, the replica was reaped before the drain period ended, and
    // the remaining members acknowledged the revocation.
    let (waited, acknowledged) = (
        count_enforced(&server, "waited").await,
        count_enforced(&server, "acknowledged").await,
    );
    let is_reaped = log.members().await.len() == 1;
    assert!(
        (waited, acknowledged) == (1.0, 0.0)
            || (waited, acknowledged, is_reaped) == (0.0, 1.0, true)
    );
    wait_until("the killed replica is reaped", || async {
        log.members().await.len() == 1
    })
    .await;
    server.wait_for_log(&["reaped unreachable member"]).await;
}

#[tokio::test]
async fn paused_replica_rejects_revoked_token_after_resume() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    wait_for_check_source(&replica, "memory").await;
    let (revoked, valid) = (server.sign_up("john").await, server.sign_up("jane").await);
    assert_eq!(replica.verify(&revoked.access_token).await.0, 204);
    replica.pause();
    server.sign_out(&revoked.access_token).await.is(204, "");
    replica.resume();
    assert!(
        is_rejected(&replica, &revoked.access_token).await,
        "the first check after the pause"
    );
    assert_eq!(replica.verify(&valid.access_token).await.0, 204);
    wait_for_check_source(&replica, "memory").await;
}

#[tokio::test]
async fn respond_async_returns_after_publication() {
    let server = TestServer::with(&[LONG]).await;
    let mut replica = server.replica().await;
    wait_for_check_source(&replica, "memory").await;
    let admin = server.admin("admin").await;
    let (own, second) = (server.sign_up("john").await, server.sign_in("john").await);
    let (other_user, third) = (server.sign_up("jane").await, server.sign_in("john").await);
    let session_id = third.claim("sid");
    let user_id = other_user.claim("sub");
    // The killed replica acknowledges nothing, so a request without the header would wait.
    replica.kill();
    for (method, path, token, revoked) in [
        (
            Method::DELETE,
            format!("/sessions/{session_id}"),
            &own.access_token,
            &third,
        ),
        (
            Method::POST,
            "/logout?scope=others".to_owned(),
            &own.access_token,
            &second,
        ),
        (Method::POST, "/logout".to_owned(), &own.access_token, &own),
        (
            Method::POST,
            format!("/users/{user_id}/revoke"),
            &admin.access_token,
            &other_user,
        ),
    ] {
        let request = server
            .request(method, &path)
            .bearer_auth(token)
            .header("prefer", "respond-async");
        let response = server.send(request).await;
        assert_eq!(
            (
                response.is(202, "").header("preference-applied"),
                response.string().as_str()
            ),
            ("respond-async", "")
        );
        wait_until("the revocation is enforced", || async {
            is_rejected(&server, &revoked.access_token).await
        })
        .await;
    }
    assert_eq!(
        count_enforced(&server, "waited").await,
        0.0,
        "no request has waited"
    );
}

#[tokio::test]
async fn concurrent_sign_outs_are_enforced_immediately() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    wait_for_check_source(&replica, "memory").await;
    let sessions = join_all((0..20).map(|number| {
        let server = &server;
        async move { server.sign_up(&format!("john{number}")).await }
    }));
    let sessions = sessions.await;
    let results = join_all(sessions.iter().enumerate().map(async |(number, session)| {
        let (local, remote) = if number % 2 == 0 {
            (&server, &replica)
        } else {
            (&replica, &server)
        };
        local.sign_out(&session.access_token).await.is(204, "");
        is_rejected(remote, &session.access_token).await
            && is_rejected(local, &session.access_token).await
    }));
    assert!(results.await.into_iter().all(|rejected| rejected));
}

#[tokio::test]
async fn one_request_revokes_all_other_sessions() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let other_sessions = join_all((0..10).map(|_| server.sign_in("john"))).await;
    server
        .with_token(
            Method::POST,
            "/logout?scope=others",
            &session.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    for other in &other_sessions {
        assert!(is_rejected(&server, &other.access_token).await);
    }
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    let body = json!({"refresh_token": session.refresh_token});
    server.post("/logout", body).await.is(204, "");
    assert!(is_rejected(&server, &session.access_token).await);
}
