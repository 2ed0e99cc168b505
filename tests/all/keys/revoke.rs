use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::{key_that_is, keys, kid, listed, published};
use crate::{
    explain::says,
    keys::fleet::Fleet,
    revocation::LONG,
    test_server::{PASSWORD, TestServer, until},
    test_stores::ask,
};

const REVOKED: (u16, &str) = (401, "token_revoked");

#[tokio::test]
async fn everything_that_a_key_signed_is_refused_everywhere_when_the_command_returns() {
    let fleet = Fleet::start(&[LONG]).await;
    let mut sessions = Vec::new();
    for (number, replica) in fleet.all().iter().enumerate() {
        sessions.push(replica.sign_up(&format!("john{number}")).await);
    }
    for replica in fleet.all() {
        for session in &sessions {
            assert_eq!(
                replica.verify(&session.access_token).await,
                (204, String::new())
            );
        }
    }
    let leaked = key_that_is(&fleet.any(), "current").await;
    let told = keys(&fleet.any(), &["revoke", &leaked, "--yes"])
        .await
        .well();
    // From here on not one is accepted, and nobody has to wait.
    for replica in fleet.all() {
        for session in &sessions {
            let (status, code) = replica.verify(&session.access_token).await;
            assert_eq!((status, code.as_str()), REVOKED);
            // Whoever has the key could sign anybody out.
            replica
                .log_out(&session.access_token)
                .await
                .is(401, "token_revoked");
        }
        let new = replica.sign_in("john0").await;
        assert_ne!(kid(&new.access_token), leaked);
        for other in fleet.all() {
            assert_eq!(other.verify(&new.access_token).await, (204, String::new()));
        }
        assert!(
            told.contains(&format!("{} signs now", kid(&new.access_token))),
            "{told}"
        );
    }
    for (replica, session) in fleet.all().iter().zip(&sessions) {
        replica.refresh(&session.refresh_token).await.is(200, "");
        until("it is not published", || async {
            !published(replica).await.contains(&leaked)
        })
        .await;
        replica
            .until_logged(&["signing key revoked", &leaked])
            .await;
    }
    says(
        fleet.any().settings(),
        &sessions[0].access_token,
        "Rejected: the signing key was revoked at 20",
    )
    .await;
    let events = "select string_agg(
            concat_ws(' ', event, outcome, actor, reason), ',' order by event)
        from audit_events where event like 'signing_key%'";
    let successor = key_that_is(&fleet.any(), "current").await;
    let expected = format!(
        "signing_key_revoked success operator {leaked},\
         signing_key_rotated success operator {successor}"
    );
    assert_eq!(ask(&fleet.any(), events).await, expected);
    // A repeat publishes again, and changes nothing.
    keys(&fleet.any(), &["revoke", &leaked, "--yes"])
        .await
        .well();
    assert_eq!(ask(&fleet.any(), events).await, expected);
    assert_eq!(key_that_is(&fleet.any(), "revoked").await, leaked);
    // A replica that comes later knows it from the record, also where Redis has forgotten.
    let later = fleet
        .any()
        .replica_with(&[("LATCHKEY_REDIS_PREFIX", "empty")])
        .await;
    later.verify(&sessions[0].access_token).await;
    assert!(!published(&later).await.contains(&leaked));
    assert_eq!(
        later.verify(&sessions[0].access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn the_next_key_signs_at_once_where_the_current_one_is_taken_back() {
    let server = TestServer::with(&[LONG]).await;
    server.sign_up("john").await;
    keys(&server, &["rotate"]).await.well();
    let (current, next) = (
        key_that_is(&server, "current").await,
        key_that_is(&server, "next").await,
    );
    let told = keys(&server, &["revoke", &current, "--yes"]).await.well();
    assert!(told.contains(&format!("{next} signs now")), "{told}");
    assert_eq!(kid(&server.sign_in("john").await.access_token), next);
    assert_eq!(listed(&server).await.len(), 2, "no further one was made");
}

/// What such a key has signed shows no session. What else is shown does, and a browser has nothing
/// more to lose.
#[tokio::test]
async fn whoever_signs_out_after_that_is_signed_out() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let by_page = |request: RequestBuilder| request.header("x-latchkey-request", "1");
    let sign_in = by_page(server.request(Method::POST, "/session"));
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
    keys(
        &server,
        &["revoke", &key_that_is(&server, "current").await, "--yes"],
    )
    .await
    .well();
    let out = by_page(server.request(Method::DELETE, "/session")).header("cookie", cookie);
    assert!(
        server
            .send(out)
            .await
            .is(204, "")
            .header("set-cookie")
            .contains("Max-Age=0")
    );
    let both = json!({"refresh_token": john.refresh_token});
    server
        .with_token(Method::POST, "/logout", &john.access_token, both)
        .await
        .is(204, "");
    server
        .refresh(&john.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn a_key_that_does_not_sign_is_taken_back_without_a_successor() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    keys(&server, &["rotate"]).await.well();
    let (current, next) = (
        key_that_is(&server, "current").await,
        key_that_is(&server, "next").await,
    );
    let told = keys(&server, &["revoke", &next, "--yes"]).await.well();
    assert!(!told.contains("signs now"), "{told}");
    assert_eq!(
        server.verify(&john.access_token).await,
        (204, String::new())
    );
    assert_eq!(kid(&server.sign_in("john").await.access_token), current);
    assert_eq!(key_that_is(&server, "current").await, current);
    // There is room for another next one.
    keys(&server, &["rotate"]).await.well();
}

#[tokio::test]
async fn what_is_asked_wrongly_is_refused_and_does_nothing() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let current = key_that_is(&server, "current").await;
    // Nobody can be asked here.
    keys(&server, &["revoke", &current])
        .await
        .refused(2, "--yes");
    keys(&server, &["revoke", "AAAAAAAAAAAAAAAA", "--yes"])
        .await
        .refused(1, "signing key not found");
    // As many ids, it begins with a hyphen.
    keys(&server, &["revoke", "-AAAAAAAAAAAAAAA", "--yes"])
        .await
        .refused(1, "signing key not found");
    keys(&server, &["revoke", "nonsense", "--yes"])
        .await
        .refused(2, "not a key ID");
    keys(&server, &["revoke"]).await.refused(2, "KID");
    assert_eq!(
        server.verify(&john.access_token).await,
        (204, String::new())
    );
    let response = server
        .with_token(Method::GET, "/user", &john.access_token, Value::Null)
        .await;
    response.is(200, "");
    assert_eq!(
        ask(
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
            keys(&server, arguments).await.well().len() > 200,
            "{arguments:?}"
        );
    }
}
