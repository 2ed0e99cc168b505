//! Tests of sliding expiration: the server renews a cookie that is in use.
//!
//! The tests don't wait. They sign an older cookie with the server's own key instead.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{
    SetCookie, aged, claims, get_with_cookie, open, replace_claim, send_page_request,
    start_signed_in, start_signed_in_with, verify_cookie,
};
use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{TestServer, wait_until},
    test_stores::{execute, query_value},
    token_signer::{TokenSigner, with},
};

/// Sends a request and returns the renewed cookie of the response.
async fn renew(server: &TestServer, cookie: &str) -> Option<String> {
    let response = get_with_cookie(server, "/user", cookie).await;
    SetCookie::from_response(response.is(200, "")).map(|cookie| cookie.value)
}

fn timestamp(claims: &Value, name: &str) -> u64 {
    claims[name].as_u64().expect("a timestamp")
}

#[tokio::test]
async fn cookie_is_renewed_after_quarter_of_idle_timeout() {
    let (server, cookie) = start_signed_in().await;
    assert_eq!(renew(&server, &cookie).await, None);
    assert_eq!(
        renew(&server, &aged(&server, &cookie, 100).await).await,
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
        let response = get_with_cookie(&server, path, &old).await;
        let renewed = SetCookie::from_response(&response)
            .unwrap_or_else(|| panic!("{path}: {}", response.string()));
        let (before, after) = (claims(&old), claims(&renewed.value));
        assert_eq!(timestamp(&after, "exp"), timestamp(&after, "iat") + 600);
        assert!(timestamp(&after, "exp") >= timestamp(&before, "exp") + 150);
        for claim in [
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
            assert_eq!(before[claim], after[claim], "{claim}");
        }
        assert_ne!(before["jti"], after["jti"]);
        let max_age: u64 = renewed
            .attribute("Max-Age")
            .and_then(|seconds| seconds.parse().ok())
            .expect("seconds");
        let month = 30 * 86_400;
        assert!(
            (month - 700..=month).contains(&max_age),
            "the browser keeps it for the rest of the session: {max_age}"
        );
        assert_eq!(
            (
                verify_cookie(&server, &renewed.value).await.0,
                verify_cookie(&server, &old).await.0
            ),
            (204, 204)
        );
    }
}

#[tokio::test]
async fn session_state_contains_expiry_of_renewed_cookie() {
    let (server, cookie) = start_signed_in().await;
    let response = get_with_cookie(&server, "/session", &aged(&server, &cookie, 300).await).await;
    let renewed = SetCookie::from_response(response.is(200, ""))
        .expect("a renewed cookie")
        .value;
    assert_eq!(
        get_with_cookie(&server, "/session", &renewed)
            .await
            .text("expires_at"),
        response.text("expires_at")
    );
}

/// Concurrent requests share one signature, and so do later requests of a client that ignores the
/// renewed cookie.
#[tokio::test]
async fn repeated_renewals_return_same_cookie() {
    let (server, cookie) = start_signed_in().await;
    let old = aged(&server, &cookie, 200).await;
    let renewed = join_all((0..32).map(|_| renew(&server, &old))).await;
    let first = renewed[0].clone().expect("a renewed cookie");
    assert!(
        renewed.iter().all(|cookie| cookie.as_ref() == Some(&first)),
        "one renewal per cookie"
    );
    assert_eq!(renew(&server, &old).await.as_ref(), Some(&first));
    let other = aged(&server, &open(&server, "john").await, 200).await;
    assert_ne!(renew(&server, &other).await.as_ref(), Some(&first));
    // An older cookie is renewed again. Otherwise, after a lost response, the client would receive
    // a cookie with a shorter lifetime.
    let mut later = claims(&old);
    for time in ["iat", "nbf", "exp"] {
        later[time] = json!(timestamp(&later, time) - 150);
    }
    let later = TokenSigner::of(&server).await.sign(&later);
    assert_ne!(
        renew(&server, &later).await.expect("a renewed cookie"),
        first
    );
}

#[tokio::test]
async fn other_replica_accepts_and_renews_renewed_cookie() {
    let (server, cookie) = start_signed_in().await;
    let replica = server.replica().await;
    let renewed = renew(&server, &aged(&server, &cookie, 200).await)
        .await
        .expect("a renewed cookie");
    assert_eq!(verify_cookie(&replica, &renewed).await.0, 204);
    let renewed_again = renew(&replica, &aged(&server, &renewed, 200).await)
        .await
        .expect("a renewed cookie");
    send_page_request(&server, Method::DELETE, "/session", &renewed_again)
        .await
        .is(204, "");
    for revoked in [&cookie, &renewed, &renewed_again] {
        for replica in [&server, &replica] {
            assert_eq!(
                verify_cookie(replica, revoked).await,
                (401, "token_revoked".into())
            );
        }
    }
}

#[tokio::test]
async fn renewal_keeps_maximum_lifetime_of_session() {
    let (server, cookie) = start_signed_in().await;
    let old = aged(&server, &cookie, 200).await;
    let end = timestamp(&claims(&old), "exp") + 20;
    let near_end = replace_claim(&server, &old, "session_exp", json!(end)).await;
    let last = renew(&server, &near_end).await.expect("a renewed cookie");
    assert_eq!(
        (
            timestamp(&claims(&last), "exp"),
            timestamp(&claims(&last), "session_exp")
        ),
        (end, end)
    );
    assert_eq!(
        renew(&server, &aged(&server, &last, 350).await)
            .await
            .map(|cookie| timestamp(&claims(&cookie), "exp")),
        Some(end)
    );
    let signer = TokenSigner::of(&server).await;
    let longest = with(&claims(&old), "session_exp", claims(&old)["exp"].clone());
    assert_eq!(
        renew(&server, &signer.sign(&longest)).await,
        None,
        "the cookie already expires with its session"
    );
}

/// The maximum lifetime of the session is shorter than the idle timeout of the cookie.
#[tokio::test]
async fn cookie_expires_with_its_session() {
    let (_, cookie) = start_signed_in_with(&[
        ("LATCHKEY_SESSION_MAX_LIFETIME", "60s"),
        ("LATCHKEY_SESSION_IDLE_TIMEOUT", "60s"),
    ])
    .await;
    let claims = claims(&cookie);
    assert_eq!(timestamp(&claims, "exp"), timestamp(&claims, "iat") + 60);
    assert_eq!(claims["exp"], claims["session_exp"]);
}

#[tokio::test]
async fn unused_cookie_expires() {
    let (server, cookie) = start_signed_in_with(&[("LATCHKEY_COOKIE_IDLE_TIMEOUT", "2s")]).await;
    // The test ignores the renewed cookies of the responses.
    wait_until("the cookie has expired", || async {
        verify_cookie(&server, &cookie).await == (401, "token_expired".into())
    })
    .await;
    get_with_cookie(&server, "/session", &cookie)
        .await
        .is(401, "unauthenticated");
}

#[tokio::test]
async fn renewed_cookie_contains_current_identity() {
    let (server, cookie) = start_signed_in().await;
    let change = json!({"username": "johnny", "name": "Johnny Döe"});
    let renamed = super::page_request(&server, Method::PATCH, "/user", &cookie).json(&change);
    server.send(renamed).await.is(200, "");
    execute(
        &server,
        "update users set role = 'admin', email = 'j@example.com', email_verified = true",
    )
    .await;
    let renewed = claims(
        &renew(&server, &aged(&server, &cookie, 200).await)
            .await
            .expect("a renewed cookie"),
    );
    let identity = [
        &renewed["username"],
        &renewed["name"],
        &renewed["roles"],
        &renewed["email"],
        &renewed["email_verified"],
    ];
    assert_eq!(
        identity,
        [
            &json!("johnny"),
            &json!("Johnny Döe"),
            &json!(["user"]),
            &json!("j@example.com"),
            &json!(true)
        ]
    );
}

/// PostgreSQL contains the revocation, but the server hasn't published it. The cookie stays valid
/// until then, but its lifetime isn't extended.
#[tokio::test]
async fn revoked_user_gets_no_renewed_cookie() {
    for revocation in [
        "update users set disabled = true",
        "update users set generation = generation + 1",
        "delete from users",
    ] {
        let (server, cookie) = start_signed_in().await;
        let old = aged(&server, &cookie, 200).await;
        execute(&server, revocation).await;
        let response = get_with_cookie(&server, "/auth/verify", &old).await;
        assert_eq!(
            SetCookie::from_response(response.is(204, "")),
            None,
            "{revocation}"
        );
    }
}

#[tokio::test]
async fn renewal_updates_session_in_postgres() {
    let (server, cookie) = start_signed_in().await;
    let outdate =
        "update sessions set last_used_at = now() - interval '9 minutes', ip_address = '192.0.2.1'";
    execute(&server, outdate).await;
    renew(&server, &aged(&server, &cookie, 200).await)
        .await
        .expect("a renewed cookie");
    let ip_address = "select host(ip_address) from sessions where client_id = 'latchkey-browser' \
        and last_used_at > now() - interval '1 minute'";
    wait_until("the session row is updated", || async {
        query_value(&server, &format!("coalesce(({ip_address}), '')")).await == "127.0.0.1"
    })
    .await;
    assert_eq!(
        query_value(&server, "select max(rotation_counter) from sessions").await,
        "0"
    );
}

/// PostgreSQL contains a revocation that was never published. The write after a renewal detects
/// it and publishes it.
#[tokio::test]
async fn renewal_publishes_unpublished_revocation() {
    let (server, cookie) = start_signed_in().await;
    execute(
        &server,
        "update sessions set revoked_at = now(), revoked_reason = 'sign_out'",
    )
    .await;
    let renewed = renew(&server, &aged(&server, &cookie, 200).await)
        .await
        .expect("a renewed cookie before the publication");
    wait_until("the revocation is published", || async {
        verify_cookie(&server, &renewed).await == (401, "token_revoked".into())
    })
    .await;
}

#[tokio::test]
async fn postgres_outage_renews_cookie_with_old_identity() {
    let (server, cookie) = start_signed_in().await;
    let proxy = Proxy::to_postgres().await;
    let url = proxy.postgres_url(server.setting("DATABASE_URL"));
    let isolated = server.replica_with(&[("DATABASE_URL", &url)]).await;
    execute(
        &server,
        "update sessions set last_used_at = now() - interval '9 minutes'",
    )
    .await;
    execute(&server, "update users set name = 'Another name'").await;
    proxy.set(ConnectionState::Cut);
    let old = aged(&server, &cookie, 200).await;
    let response = get_with_cookie(&isolated, "/auth/verify", &old).await;
    let renewed = SetCookie::from_response(response.is(204, ""))
        .expect("a renewed cookie")
        .value;
    assert_eq!(claims(&renewed)["name"], Value::Null);
    assert_eq!(verify_cookie(&server, &renewed).await.0, 204);
    let state = get_with_cookie(&isolated, "/session", &renewed).await;
    assert_eq!(SetCookie::from_response(state.is(503, "unavailable")), None);
    proxy.set(ConnectionState::Open);
    let updated = "select exists (select from sessions where client_id = 'latchkey-browser' \
                    and last_used_at > now() - interval '1 minute')";
    wait_until("the session row is updated after the outage", || async {
        query_value(&server, updated).await == "true"
    })
    .await;
}
