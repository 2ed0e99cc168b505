//! What a revocation waits for: every replica, or the longest lease; and who need not wait.

use std::time::Instant;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Behind, LONG, LONG_LEASE, effects, until_checks_are_by};
use crate::test_server::{TestServer, until};

const REFUSED: (u16, &str) = (401, "token_revoked");

async fn is_refused(server: &TestServer, token: &str) -> bool {
    let (status, code) = server.verify(token).await;
    (status, code.as_str()) == REFUSED
}

#[tokio::test]
async fn the_replicas_say_that_they_know_and_nobody_waits_for_a_lease() {
    let server = TestServer::with(&[LONG]).await;
    let replicas = [server.replica().await, server.replica().await];
    for replica in &replicas {
        until_checks_are_by(replica, "memory").await;
    }
    for number in 0..10 {
        let john = server.sign_up(&format!("john{number}")).await;
        server.log_out(&john.access_token).await.is(204, "");
        for replica in [&server, &replicas[0], &replicas[1]] {
            assert!(is_refused(replica, &john.access_token).await);
        }
    }
    assert_eq!(
        (
            effects(&server, "acknowledged").await,
            effects(&server, "waited").await
        ),
        (10.0, 0.0)
    );
}

/// It was killed, so it can say nothing, and its lease is over only when it is over.
#[tokio::test]
async fn a_replica_that_died_is_waited_for_until_its_lease_is_over_and_then_forgotten() {
    let server = TestServer::with(&[LONG]).await;
    let mut replica = server.replica().await;
    for replica in [&server, &replica] {
        until_checks_are_by(replica, "memory").await;
    }
    let (john, behind) = (server.sign_up("john").await, Behind::of(&server).await);
    let (began, before) = (Instant::now(), behind.states().await);
    let have_renewed = || async {
        behind
            .states()
            .await
            .iter()
            .all(|state| !before.contains(state))
    };
    until("both have renewed", have_renewed).await;
    replica.kill();
    assert_eq!(behind.members().await.len(), 2);
    server.log_out(&john.access_token).await.is(204, "");
    assert!(
        began.elapsed() >= LONG_LEASE,
        "until then it might have let John in: {:?}",
        began.elapsed()
    );
    // Or, if its last renewal was long ago by then, until it was forgotten.
    let (waited, acknowledged) = (
        effects(&server, "waited").await,
        effects(&server, "acknowledged").await,
    );
    let forgotten = behind.members().await.len() == 1;
    assert!(
        (waited, acknowledged) == (1.0, 0.0)
            || (waited, acknowledged, forgotten) == (0.0, 1.0, true)
    );
    until("it is forgotten", || async {
        behind.members().await.len() == 1
    })
    .await;
    server.until_logged(&["reaped unreachable member"]).await;
}

#[tokio::test]
async fn a_replica_that_stood_still_accepts_nothing_that_ended_meanwhile() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    until_checks_are_by(&replica, "memory").await;
    let (john, jane) = (server.sign_up("john").await, server.sign_up("jane").await);
    assert_eq!(replica.verify(&john.access_token).await.0, 204);
    replica.pause();
    server.log_out(&john.access_token).await.is(204, "");
    replica.resume();
    assert!(
        is_refused(&replica, &john.access_token).await,
        "the very first check"
    );
    assert_eq!(replica.verify(&jane.access_token).await.0, 204);
    until_checks_are_by(&replica, "memory").await;
}

#[tokio::test]
async fn who_need_not_wait_is_answered_when_it_is_published() {
    let server = TestServer::with(&[LONG]).await;
    let mut replica = server.replica().await;
    until_checks_are_by(&replica, "memory").await;
    let admin = server.admin("admin").await;
    let (john, page) = (server.sign_up("john").await, server.sign_in("john").await);
    let (jane, jack) = (server.sign_up("jane").await, server.sign_in("john").await);
    let sid = jack.claim("sid");
    let id = jane.claim("sub");
    // It can say nothing, so that whoever waits would wait for its lease.
    replica.kill();
    for (method, path, token, ended) in [
        (
            Method::DELETE,
            format!("/sessions/{sid}"),
            &john.access_token,
            &jack,
        ),
        (
            Method::POST,
            "/logout?scope=others".to_owned(),
            &john.access_token,
            &page,
        ),
        (
            Method::POST,
            "/logout".to_owned(),
            &john.access_token,
            &john,
        ),
        (
            Method::POST,
            format!("/users/{id}/revoke"),
            &admin.access_token,
            &jane,
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
        until("it is enforced", || async {
            is_refused(&server, &ended.access_token).await
        })
        .await;
    }
    assert_eq!(effects(&server, "waited").await, 0.0, "nobody has waited");
}

#[tokio::test]
async fn many_that_end_at_once_are_all_refused_at_once() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    until_checks_are_by(&replica, "memory").await;
    let sessions = join_all((0..20).map(|number| {
        let server = &server;
        async move { server.sign_up(&format!("john{number}")).await }
    }));
    let sessions = sessions.await;
    let ends = join_all(sessions.iter().enumerate().map(async |(number, session)| {
        let (here, there) = if number % 2 == 0 {
            (&server, &replica)
        } else {
            (&replica, &server)
        };
        here.log_out(&session.access_token).await.is(204, "");
        is_refused(there, &session.access_token).await
            && is_refused(here, &session.access_token).await
    }));
    assert!(ends.await.into_iter().all(|refused| refused));
}

#[tokio::test]
async fn an_account_with_many_sessions_ends_with_one_answer() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let others = join_all((0..10).map(|_| server.sign_in("john"))).await;
    server
        .with_token(
            Method::POST,
            "/logout?scope=others",
            &john.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    for other in &others {
        assert!(is_refused(&server, &other.access_token).await);
    }
    assert_eq!(server.verify(&john.access_token).await.0, 204);
    let body = json!({"refresh_token": john.refresh_token});
    server.post("/logout", body).await.is(204, "");
    assert!(is_refused(&server, &john.access_token).await);
}
