//! A cookie is signed anew while it is used. No test waits for that: a cookie of the past is signed
//! with the gateway's own key (`forge.rs`).

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{SetCookie, aged, altered, by_cookie, claims, get, john, john_with, open, verify};
use crate::{
    proxy::{Line, Proxy},
    test_server::{TestServer, until},
    test_stores::{ask, execute},
    token_signer::{TokenSigner, with},
};

/// The cookie that a request slides to.
async fn slid(server: &TestServer, cookie: &str) -> Option<String> {
    let response = get(server, "/user", cookie).await;
    SetCookie::of(response.is(200, "")).map(|cookie| cookie.value)
}

fn seconds(claims: &Value, name: &str) -> u64 {
    claims[name].as_u64().expect("seconds")
}

#[tokio::test]
async fn it_slides_once_a_quarter_of_its_life_has_passed() {
    let (server, cookie) = john().await;
    assert_eq!(slid(&server, &cookie).await, None);
    assert_eq!(
        slid(&server, &aged(&server, &cookie, 100).await).await,
        None
    );
    let old = aged(&server, &cookie, 150).await;
    for path in [
        "/user",
        "/auth/verify",
        "/session",
        "/items",
        "/items/nope",
        "/dashboard",
    ] {
        let response = get(&server, path, &old).await;
        let next =
            SetCookie::of(&response).unwrap_or_else(|| panic!("{path}: {}", response.string()));
        let (before, after) = (claims(&old), claims(&next.value));
        assert_eq!(seconds(&after, "exp"), seconds(&after, "iat") + 600);
        assert!(seconds(&after, "exp") >= seconds(&before, "exp") + 150);
        for same in [
            "sub",
            "sid",
            "generation",
            "auth_time",
            "session_exp",
            "client_id",
            "scope",
            "roles",
            "username",
            "iss",
            "aud",
        ] {
            assert_eq!(before[same], after[same], "{same}");
        }
        assert_ne!(before["jti"], after["jti"]);
        let max_age: u64 = next
            .attribute("Max-Age")
            .and_then(|seconds| seconds.parse().ok())
            .expect("seconds");
        assert!((500..=600).contains(&max_age), "{max_age}");
        assert_eq!(
            (
                verify(&server, &next.value).await.0,
                verify(&server, &old).await.0
            ),
            (204, 204)
        );
    }
}

#[tokio::test]
async fn the_state_tells_the_end_of_the_cookie_that_it_hands_out() {
    let (server, cookie) = john().await;
    let response = get(&server, "/session", &aged(&server, &cookie, 300).await).await;
    let next = SetCookie::of(response.is(200, ""))
        .expect("it slides")
        .value;
    assert_eq!(
        get(&server, "/session", &next).await.text("expires_at"),
        response.text("expires_at")
    );
}

/// A client that never takes it costs no signature per request, and many requests at once share
/// one.
#[tokio::test]
async fn a_slide_is_remembered() {
    let (server, cookie) = john().await;
    let old = aged(&server, &cookie, 200).await;
    let all = join_all((0..32).map(|_| slid(&server, &old))).await;
    let first = all[0].clone().expect("it slides");
    assert!(
        all.iter().all(|next| next.as_ref() == Some(&first)),
        "one cookie, one slide"
    );
    assert_eq!(slid(&server, &old).await.as_ref(), Some(&first));
    let other = aged(&server, &open(&server, "john").await, 200).await;
    assert_ne!(slid(&server, &other).await.as_ref(), Some(&first));
    // Later in its life it slides again, or a lost answer would shorten the next.
    let mut later = claims(&old);
    for time in ["iat", "nbf", "exp"] {
        later[time] = json!(seconds(&later, time) - 150);
    }
    let later = TokenSigner::of(&server).await.sign(&later);
    assert_ne!(slid(&server, &later).await.expect("it slides"), first);
}

#[tokio::test]
async fn another_replica_takes_it_and_slides_it_further() {
    let (server, cookie) = john().await;
    let replica = server.replica().await;
    let next = slid(&server, &aged(&server, &cookie, 200).await)
        .await
        .expect("it slides");
    assert_eq!(verify(&replica, &next).await.0, 204);
    let further = slid(&replica, &aged(&server, &next, 200).await)
        .await
        .expect("it slides");
    by_cookie(&server, Method::DELETE, "/session", &further)
        .await
        .is(204, "");
    for dead in [&cookie, &next, &further] {
        for replica in [&server, &replica] {
            assert_eq!(verify(replica, dead).await, (401, "token_revoked".into()));
        }
    }
}

#[tokio::test]
async fn no_slide_moves_the_end_of_the_session() {
    let (server, cookie) = john().await;
    let old = aged(&server, &cookie, 200).await;
    let end = seconds(&claims(&old), "exp") + 20;
    let near = altered(&server, &old, "session_exp", json!(end)).await;
    let last = slid(&server, &near).await.expect("it slides");
    assert_eq!(
        (
            seconds(&claims(&last), "exp"),
            seconds(&claims(&last), "session_exp")
        ),
        (end, end)
    );
    assert_eq!(
        slid(&server, &aged(&server, &last, 350).await)
            .await
            .map(|cookie| seconds(&claims(&cookie), "exp")),
        Some(end)
    );
    let forge = TokenSigner::of(&server).await;
    let over = with(&claims(&old), "session_exp", claims(&old)["exp"].clone());
    assert_eq!(
        slid(&server, &forge.sign(&over)).await,
        None,
        "it lives as long as it may"
    );
}

/// With a session that is shorter than the cookie's idle time.
#[tokio::test]
async fn a_cookie_never_outlives_its_session() {
    let (_, cookie) = john_with(&[
        ("LATCHKEY_SESSION_MAX_LIFETIME", "60s"),
        ("LATCHKEY_SESSION_IDLE_TIMEOUT", "60s"),
    ])
    .await;
    let claims = claims(&cookie);
    assert_eq!(seconds(&claims, "exp"), seconds(&claims, "iat") + 60);
    assert_eq!(claims["exp"], claims["session_exp"]);
}

#[tokio::test]
async fn silence_ends_it() {
    let (server, cookie) = john_with(&[("LATCHKEY_COOKIE_IDLE_TIMEOUT", "2s")]).await;
    // Nobody takes what is handed out meanwhile.
    until("its time has come", || async {
        verify(&server, &cookie).await == (401, "token_expired".into())
    })
    .await;
    get(&server, "/session", &cookie)
        .await
        .is(401, "unauthenticated");
}

#[tokio::test]
async fn the_next_cookie_says_who_the_user_is_by_now() {
    let (server, cookie) = john().await;
    let change = json!({"username": "johnny", "name": "Johnny Döe"});
    let renamed = super::page(&server, Method::PATCH, "/user", &cookie).json(&change);
    server.send(renamed).await.is(200, "");
    execute(
        &server,
        "update users set role = 'admin', email = 'j@example.com', email_verified = true",
    )
    .await;
    let next = claims(
        &slid(&server, &aged(&server, &cookie, 200).await)
            .await
            .expect("it slides"),
    );
    let said = [
        &next["username"],
        &next["name"],
        &next["roles"],
        &next["email"],
        &next["email_verified"],
    ];
    assert_eq!(
        said,
        [
            &json!("johnny"),
            &json!("Johnny Döe"),
            &json!(["user"]),
            &json!("j@example.com"),
            &json!(true)
        ]
    );
}

/// What took them back is in the record and on its way: until it has come the cookie passes, and
/// lives no longer.
#[tokio::test]
async fn who_was_taken_back_gets_no_further_cookie() {
    for taken in [
        "update users set disabled = true",
        "update users set generation = generation + 1",
        "delete from users",
    ] {
        let (server, cookie) = john().await;
        let old = aged(&server, &cookie, 200).await;
        execute(&server, taken).await;
        let response = get(&server, "/auth/verify", &old).await;
        assert_eq!(SetCookie::of(response.is(204, "")), None, "{taken}");
    }
}

#[tokio::test]
async fn a_slide_is_recorded() {
    let (server, cookie) = john().await;
    let long_ago =
        "update sessions set last_used_at = now() - interval '9 minutes', ip_address = '192.0.2.1'";
    execute(&server, long_ago).await;
    slid(&server, &aged(&server, &cookie, 200).await)
        .await
        .expect("it slides");
    let seen = "select host(ip_address) from sessions where client_id = 'latchkey-browser' \
        and last_used_at > now() - interval '1 minute'";
    until("it is recorded", || async {
        ask(&server, &format!("coalesce(({seen}), '')")).await == "127.0.0.1"
    })
    .await;
    assert_eq!(
        ask(&server, "select max(rotation_counter) from sessions").await,
        "0"
    );
}

/// A session that has ended in the record, and of which Redis knows nothing: whoever slides it has
/// it published.
#[tokio::test]
async fn an_ending_that_redis_does_not_know_ends_a_cookie_that_slides() {
    let (server, cookie) = john().await;
    execute(
        &server,
        "update sessions set revoked_at = now(), revoked_reason = 'sign_out'",
    )
    .await;
    let next = slid(&server, &aged(&server, &cookie, 200).await)
        .await
        .expect("nobody knows yet");
    until("it is published", || async {
        verify(&server, &next).await == (401, "token_revoked".into())
    })
    .await;
}

#[tokio::test]
async fn with_postgres_down_it_slides_on_what_it_says() {
    let (server, cookie) = john().await;
    let proxy = Proxy::to_postgres().await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let cut = server.replica_with(&[("DATABASE_URL", &url)]).await;
    execute(
        &server,
        "update sessions set last_used_at = now() - interval '9 minutes'",
    )
    .await;
    execute(&server, "update users set name = 'Somebody else'").await;
    proxy.set(Line::Cut);
    let old = aged(&server, &cookie, 200).await;
    let response = get(&cut, "/auth/verify", &old).await;
    let next = SetCookie::of(response.is(204, ""))
        .expect("it slides")
        .value;
    assert_eq!(claims(&next)["name"], Value::Null);
    assert_eq!(verify(&server, &next).await.0, 204);
    let state = get(&cut, "/session", &next).await;
    assert_eq!(SetCookie::of(state.is(503, "unavailable")), None);
    proxy.set(Line::Open);
    let recorded = "select exists (select from sessions where client_id = 'latchkey-browser' \
                    and last_used_at > now() - interval '1 minute')";
    until("it is recorded when PostgreSQL is back", || async {
        ask(&server, recorded).await == "true"
    })
    .await;
}
