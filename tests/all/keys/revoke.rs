//! Revocation of signing keys.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{kid, kid_in_state, listed_keys, published_kids, run_keys_command};
use crate::{
    explain::says,
    keys::fleet::Fleet,
    revocation::LONG,
    test_server::{PASSWORD, TestServer, wait_until},
    test_stores::query_value,
};

const REVOKED: (u16, &str) = (401, "token_revoked");

#[tokio::test]
async fn revoked_key_is_rejected_by_all_replicas() {
    let fleet = Fleet::start(&[LONG]).await;
    let mut sessions = Vec::new();
    for (number, replica) in fleet.replicas().iter().enumerate() {
        sessions.push(replica.sign_up(&format!("john{number}")).await);
    }
    for replica in fleet.replicas() {
        for session in &sessions {
            assert_eq!(
                replica.verify(&session.access_token).await,
                (204, String::new())
            );
        }
    }
    let leaked = kid_in_state(&fleet.next_replica(), "current").await;
    let output = run_keys_command(&fleet.next_replica(), &["revoke", &leaked, "--yes"])
        .await
        .well();
    // Every replica rejects the tokens as soon as the command has returned.
    for replica in fleet.replicas() {
        for session in &sessions {
            let (status, code) = replica.verify(&session.access_token).await;
            assert_eq!((status, code.as_str()), REVOKED);
            // Otherwise, an attacker with the leaked key could sign out every user.
            replica
                .sign_out(&session.access_token)
                .await
                .is(401, "token_revoked");
        }
        let new_session = replica.sign_in("john0").await;
        assert_ne!(kid(&new_session.access_token), leaked);
        for checked_replica in fleet.replicas() {
            assert_eq!(
                checked_replica.verify(&new_session.access_token).await,
                (204, String::new())
            );
        }
        assert!(
            output.contains(&format!("{} signs now", kid(&new_session.access_token))),
            "{output}"
        );
    }
    for (replica, session) in fleet.replicas().iter().zip(&sessions) {
        replica.refresh(&session.refresh_token).await.is(200, "");
        wait_until("the key is no longer published", || async {
            !published_kids(replica).await.contains(&leaked)
        })
        .await;
        replica
            .wait_for_log(&["signing key revoked", &leaked])
            .await;
    }
    says(
        fleet.next_replica().settings(),
        &sessions[0].access_token,
        "Rejected: the signing key was revoked at 20",
    )
    .await;
    let events = "select string_agg(
            concat_ws(' ', event, outcome, actor, reason), ',' order by event)
        from audit_events where event like 'signing_key%'";
    let successor = kid_in_state(&fleet.next_replica(), "current").await;
    let expected = format!(
        "signing_key_revoked success operator {leaked},\
         signing_key_rotated success operator {successor}"
    );
    assert_eq!(query_value(&fleet.next_replica(), events).await, expected);
    // A repeated command publishes the revocation again, and changes nothing.
    run_keys_command(&fleet.next_replica(), &["revoke", &leaked, "--yes"])
        .await
        .well();
    assert_eq!(query_value(&fleet.next_replica(), events).await, expected);
    assert_eq!(kid_in_state(&fleet.next_replica(), "revoked").await, leaked);
    // A new replica loads the revocation from PostgreSQL, even if Redis lost it.
    let new_replica = fleet
        .next_replica()
        .replica_with(&[("LATCHKEY_REDIS_PREFIX", "empty")])
        .await;
    new_replica.verify(&sessions[0].access_token).await;
    assert!(!published_kids(&new_replica).await.contains(&leaked));
    assert_eq!(
        new_replica.verify(&sessions[0].access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn next_key_signs_after_current_key_is_revoked() {
    let server = TestServer::with(&[LONG]).await;
    server.sign_up("john").await;
    run_keys_command(&server, &["rotate"]).await.well();
    let (current, next) = (
        kid_in_state(&server, "current").await,
        kid_in_state(&server, "next").await,
    );
    let output = run_keys_command(&server, &["revoke", &current, "--yes"])
        .await
        .well();
    assert!(output.contains(&format!("{next} signs now")), "{output}");
    assert_eq!(kid(&server.sign_in("john").await.access_token), next);
    assert_eq!(
        listed_keys(&server).await.len(),
        2,
        "no other key was created"
    );
}

/// A token of a revoked key identifies no session, but the refresh token in the request does.
/// Browser sign-out always clears the cookie.
#[tokio::test]
async fn sign_out_works_after_key_is_revoked() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let from_page = |request: RequestBuilder| request.header("x-latchkey-request", "1");
    let sign_in = from_page(server.request(Method::POST, "/session"));
    let response = server
        .send(sign_in.json(&json!({"username": "john", "password": PASSWORD})))
        .await;
    let cookie = response
        .is(200, "")
        .header("set-cookie")
        .split(';')
        .next()
        .expect("name and value")
        .to_owned();
    run_keys_command(
        &server,
        &["revoke", &kid_in_state(&server, "current").await, "--yes"],
    )
    .await
    .well();
    let sign_out = from_page(server.request(Method::DELETE, "/session")).header("cookie", cookie);
    assert!(
        server
            .send(sign_out)
            .await
            .is(204, "")
            .header("set-cookie")
            .contains("Max-Age=0")
    );
    let body = json!({"refresh_token": session.refresh_token});
    server
        .with_token(Method::POST, "/logout", &session.access_token, body)
        .await
        .is(204, "");
    server
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn revoking_next_key_creates_no_successor() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    run_keys_command(&server, &["rotate"]).await.well();
    let (current, next) = (
        kid_in_state(&server, "current").await,
        kid_in_state(&server, "next").await,
    );
    let output = run_keys_command(&server, &["revoke", &next, "--yes"])
        .await
        .well();
    assert!(!output.contains("signs now"), "{output}");
    assert_eq!(
        server.verify(&session.access_token).await,
        (204, String::new())
    );
    assert_eq!(kid(&server.sign_in("john").await.access_token), current);
    assert_eq!(kid_in_state(&server, "current").await, current);
    // Another next key can be created.
    run_keys_command(&server, &["rotate"]).await.well();
}

#[tokio::test]
async fn invalid_revoke_arguments_change_nothing() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let current = kid_in_state(&server, "current").await;
    // Without a terminal, the command can't prompt.
    run_keys_command(&server, &["revoke", &current])
        .await
        .expect_error(2, "--yes");
    run_keys_command(&server, &["revoke", "AAAAAAAAAAAAAAAA", "--yes"])
        .await
        .expect_error(1, "signing key not found");
    // A key ID can start with a hyphen.
    run_keys_command(&server, &["revoke", "-AAAAAAAAAAAAAAA", "--yes"])
        .await
        .expect_error(1, "signing key not found");
    run_keys_command(&server, &["revoke", "nonsense", "--yes"])
        .await
        .expect_error(2, "not a key ID");
    run_keys_command(&server, &["revoke"])
        .await
        .expect_error(2, "KID");
    assert_eq!(
        server.verify(&session.access_token).await,
        (204, String::new())
    );
    let response = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    response.is(200, "");
    assert_eq!(
        query_value(
            &server,
            "select count(*) from audit_events where event like 'signing_key%'"
        )
        .await,
        "0"
    );
    for arguments in [
        &["--help"][..],
        &["revoke", "--help"],
        &["rotate", "--help"],
        &["list", "--help"],
    ] {
        assert!(
            run_keys_command(&server, arguments).await.well().len() > 200,
            "{arguments:?}"
        );
    }
}
