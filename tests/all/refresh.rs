//! Refreshing: rotation, reuse, and the two ends of a session.

use std::sync::Mutex;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    test_server::{Session, TestServer, until},
    test_stores::ask,
};

async fn refreshed(server: &TestServer, session: &Session) -> Session {
    let response = server.refresh(&session.refresh_token).await;
    response.is(200, "");
    assert_eq!(response.header("cache-control"), "no-store");
    Session::of(&response)
}

/// No token of the session works on any of these replicas.
async fn is_dead(replicas: [&TestServer; 2], sessions: &[&Session]) {
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
async fn a_refresh_gives_a_new_pair_of_the_same_session() {
    let server = TestServer::shared().await;
    let old = server.sign_up("john").await;
    let new = refreshed(&server, &old).await;
    let (before, after) = (old.claims(), new.claims());
    for same in [
        "sub",
        "sid",
        "session_exp",
        "auth_time",
        "scope",
        "generation",
        "client_id",
    ] {
        assert_eq!(before[same], after[same], "{same}");
    }
    assert_ne!(before["jti"], after["jti"]);
    assert_ne!(old.refresh_token, new.refresh_token);
    assert_eq!(server.verify(&new.access_token).await.0, 204);
    assert_eq!(
        server.verify(&old.access_token).await.0,
        204,
        "a refresh takes nothing back"
    );
}

#[tokio::test]
async fn a_used_refresh_token_ends_its_session_everywhere() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let other = server.sign_in("john").await;
    let second = refreshed(&server, &first).await;
    let third = refreshed(&replica, &second).await;
    replica
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    server
        .refresh(&third.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    is_dead([&replica, &server], &[&first, &second, &third]).await;
    assert_eq!(
        ask(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "refresh_token_reused"
    );
    assert_eq!(
        replica.verify(&other.access_token).await.0,
        204,
        "other sessions live"
    );
    refreshed(&replica, &other).await;
}

#[tokio::test]
async fn what_is_no_refresh_token_is_refused_and_ends_nothing() {
    let server = TestServer::shared().await;
    let (session, strange) = (
        server.sign_up("john").await,
        TestServer::shared().await.sign_up("john").await,
    );
    let good = &session.refresh_token;
    let flip = |at: usize| {
        let with = if &good[at..=at] == "A" { "B" } else { "A" };
        format!("{}{with}{}", &good[..at], &good[at + 1..])
    };
    let mut bad = vec![
        "x".to_owned(),
        "lkr_".to_owned(),
        good[4..].to_owned(),
        good.to_uppercase(),
        format!("{good}A"),
        format!("{good}="),
        format!(" {good}"),
        format!("{good}\n"),
        good[..good.len() - 1].to_owned(),
        session.access_token.clone(),
        strange.refresh_token,
    ];
    bad.extend([5, 24, 30, 50, 56, 60, 80, good.len() - 2].map(flip));
    for token in bad {
        server
            .refresh(&token)
            .await
            .is(401, "invalid_refresh_token");
    }
    refreshed(&server, &session).await;
}

#[tokio::test]
async fn a_session_that_is_not_refreshed_ends_and_one_that_is_goes_on() {
    let server = TestServer::with(&[("LATCHKEY_SESSION_IDLE_TIMEOUT", "8s")]).await;
    let (idle, busy) = (
        server.sign_up("john").await,
        Mutex::new(server.sign_in("john").await),
    );
    let began = idle.claims()["iat"].as_u64().expect("seconds");
    until("the idle one is over", || async {
        let current = busy.lock().expect("one task").clone();
        let next = refreshed(&server, &current).await;
        let now = next.claims()["iat"].as_u64().expect("seconds");
        *busy.lock().expect("one task") = next;
        now > began + 9
    })
    .await;
    server
        .refresh(&idle.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        server.verify(&idle.access_token).await.0,
        204,
        "until its own end"
    );
}

#[tokio::test]
async fn the_absolute_end_never_moves() {
    let server = TestServer::with(&[
        ("LATCHKEY_SESSION_MAX_LIFETIME", "4s"),
        ("LATCHKEY_SESSION_IDLE_TIMEOUT", "4s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let end = session.claims()["session_exp"].as_u64().expect("seconds");
    assert_eq!(
        session.claims()["exp"],
        end,
        "an access token does not outlive its session"
    );
    let newest = Mutex::new(session);
    until("the session is over", || async {
        let current = newest.lock().expect("one task").clone();
        let response = server.refresh(&current.refresh_token).await;
        if response.status == 200 {
            let next = Session::of(&response);
            assert_eq!(
                (&next.claims()["session_exp"], &next.claims()["exp"]),
                (&json!(end), &json!(end))
            );
            assert!(response.body["refresh_expires_in"].as_u64() <= Some(4));
            *newest.lock().expect("one task") = next;
            return false;
        }
        response.is(401, "invalid_refresh_token");
        true
    })
    .await;
    let last = newest.lock().expect("one task").clone();
    assert_eq!(
        server.verify(&last.access_token).await,
        (401, "token_expired".into())
    );
    assert!(last.claims()["iat"].as_u64() < Some(end));
}

/// Tabs that wake up together, or an answer that was lost: nobody is signed out by them.
#[tokio::test]
async fn of_64_at_once_with_one_token_all_get_the_same_child() {
    let first = TestServer::start().await;
    let replicas = [&first, &first.replica().await, &first.replica().await];
    for name in ["john", "jane", "joe"] {
        let session = first.sign_up(name).await;
        let tries = (0..64).map(|number| replicas[number % 3].refresh(&session.refresh_token));
        let pairs: Vec<_> = join_all(tries)
            .await
            .iter()
            .map(|response| Session::of(response.is(200, "")))
            .collect();
        assert!(
            pairs
                .iter()
                .all(|pair| pair.refresh_token == pairs[0].refresh_token),
            "one child"
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
        refreshed(replicas[2], &pairs[63]).await;
    }
}

#[tokio::test]
async fn of_64_at_once_without_a_grace_one_gets_a_pair_and_the_session_ends() {
    let server = TestServer::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s")]).await;
    let replica = server.replica().await;
    let session = server.sign_up("john").await;
    let tries = (0..64).map(|number| {
        if number % 2 == 0 { &server } else { &replica }.refresh(&session.refresh_token)
    });
    let responses = join_all(tries).await;
    let pairs: Vec<_> = responses
        .iter()
        .filter(|response| response.status == 200)
        .map(Session::of)
        .collect();
    assert_eq!(pairs.len(), 1);
    let refused = responses.iter().filter(|response| response.status != 200);
    refused.for_each(|response| {
        assert!(
            ["refresh_token_reused", "invalid_refresh_token"].contains(&response.code().as_str()),
            "{response:?}"
        )
    });
    is_dead([&server, &replica], &[&session, &pairs[0]]).await;
}

#[tokio::test]
async fn the_grandparent_ends_the_session_inside_the_window_too() {
    let server = TestServer::start().await;
    let (replica, first) = (server.replica().await, server.sign_up("john").await);
    let second = refreshed(&server, &first).await;
    let third = refreshed(&replica, &second).await;
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    is_dead([&server, &replica], &[&first, &second, &third]).await;
}

#[tokio::test]
async fn the_parent_ends_the_session_after_the_window() {
    let server = TestServer::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "5s")]).await;
    let first = server.sign_up("john").await;
    let second = refreshed(&server, &first).await;
    refreshed(&server, &first).await;
    let reused =
        || async { server.refresh(&first.refresh_token).await.code() == "refresh_token_reused" };
    until("the window is over", reused).await;
    is_dead([&server, &server], &[&first, &second]).await;
}

/// Two tabs that woke up with the same token: each refreshes when it expires, at the same moment,
/// and keeps its own answer.
#[tokio::test]
async fn two_tabs_with_240_refreshes_never_sign_each_other_out() {
    let server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let (mut left, mut right) = (session.clone(), session);
    for round in 0..120 {
        let homes = if round % 3 == 0 {
            (&server, &server)
        } else {
            (&server, &replica)
        };
        (left, right) = tokio::join!(refreshed(homes.0, &left), refreshed(homes.1, &right));
        assert_eq!(left.refresh_token, right.refresh_token);
    }
    assert_eq!(
        ask(
            &server,
            "select count(*)::text from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
}

#[tokio::test]
async fn twenty_refreshes_in_a_row_over_two_replicas_work() {
    let server = TestServer::start().await;
    let (replica, mut session) = (server.replica().await, server.sign_up("john").await);
    let mut seen = vec![session.refresh_token.clone()];
    for round in 0..20 {
        session = refreshed(if round % 2 == 0 { &server } else { &replica }, &session).await;
        assert!(!seen.contains(&session.refresh_token));
        seen.push(session.refresh_token.clone());
    }
    let user = replica
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    user.is(200, "");
    server
        .refresh(&seen[10])
        .await
        .is(401, "refresh_token_reused");
    is_dead([&server, &replica], &[&session]).await;
}
