//! Tests of browser sign-out: it revokes the session on every replica and removes the cookie.
//!
//! No other response removes the cookie.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{
    NAME, SetCookie, aged, claims, get_with_cookie, open, page_request, replace_claim,
    send_page_request, start_signed_in, verify_cookie,
};
use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, TestResponse, TestServer, wait_until},
    test_stores::query_value,
};

fn removes_cookie(response: &TestResponse) -> bool {
    SetCookie::from_response(response)
        .is_some_and(|cookie| cookie.is_removal() && cookie.name == NAME)
}

async fn assert_revoked(replicas: [&TestServer; 2], cookie: &str) {
    for replica in replicas {
        assert_eq!(
            verify_cookie(replica, cookie).await,
            (401, "token_revoked".into())
        );
        get_with_cookie(replica, "/session", cookie)
            .await
            .is(401, "unauthenticated");
        assert_eq!(
            replica.verify(cookie).await,
            (401, "token_revoked".into()),
            "the cookie is also revoked as a bearer token"
        );
    }
}

#[tokio::test]
async fn sign_out_revokes_session_and_removes_cookie() {
    let (server, other_cookie) = start_signed_in().await;
    let replica = server.replica().await;
    for (method, path) in [
        (Method::DELETE, "/session"),
        (Method::POST, "/logout"),
        (Method::POST, "/logout?scope=session"),
        (Method::POST, "/logout?scope=all"),
    ] {
        let cookie = open(&server, "john").await;
        assert_eq!(verify_cookie(&replica, &cookie).await.0, 204);
        let response = send_page_request(&server, method, path, &cookie).await;
        assert!(removes_cookie(response.is(204, "")), "{path}");
        assert_revoked([&replica, &server], &cookie).await;
        assert_eq!(
            verify_cookie(&replica, &other_cookie).await.0 == 204,
            !path.ends_with("all"),
            "{path}"
        );
    }
}

/// A sibling host can plant a second cookie, which must not prevent the sign-out.
#[tokio::test]
async fn sign_out_with_two_cookies_revokes_both_sessions() {
    let (server, first) = start_signed_in().await;
    let second = open(&server, "john").await;
    let both = page_request(&server, Method::DELETE, "/session", &first)
        .header(header::COOKIE, format!("{NAME}={second}"));
    assert!(removes_cookie(server.send(both).await.is(204, "")));
    assert_revoked([&server, &server], &first).await;
    assert_revoked([&server, &server], &second).await;
}

#[tokio::test]
async fn sign_out_of_other_sessions_keeps_cookie() {
    let (server, cookie) = start_signed_in().await;
    let (replica, other_cookie) = (server.replica().await, open(&server, "john").await);
    let response = send_page_request(&server, Method::POST, "/logout?scope=others", &cookie).await;
    assert_eq!(SetCookie::from_response(response.is(204, "")), None);
    assert_revoked([&replica, &server], &other_cookie).await;
    assert_eq!(verify_cookie(&replica, &cookie).await.0, 204);
}

#[tokio::test]
async fn sign_out_accepts_expired_and_removes_invalid_cookie() {
    let (server, cookie) = start_signed_in().await;
    let replica = server.replica().await;
    let expired = aged(&server, &cookie, 600).await;
    assert_eq!(
        verify_cookie(&server, &expired).await,
        (401, "token_expired".into())
    );
    assert!(removes_cookie(
        send_page_request(&server, Method::DELETE, "/session", &expired)
            .await
            .is(204, "")
    ));
    assert_revoked([&replica, &server], &cookie).await;
    for revoked in [&cookie, &expired] {
        assert!(removes_cookie(
            send_page_request(&replica, Method::DELETE, "/session", revoked)
                .await
                .is(204, "")
        ));
    }

    let active = open(&server, "john").await;
    let foreign = replace_claim(&server, &active, "aud", json!("https://elsewhere.example")).await;
    for invalid in ["", "garbage", &format!("{active}A"), &foreign] {
        assert!(
            removes_cookie(
                send_page_request(&server, Method::DELETE, "/session", invalid)
                    .await
                    .is(204, "")
            ),
            "{invalid}"
        );
    }
    let without_cookie = server
        .request(Method::DELETE, "/session")
        .header("x-latchkey-request", "1");
    assert!(removes_cookie(
        server.send(without_cookie).await.is(204, "")
    ));
    assert_eq!(
        verify_cookie(&replica, &active).await.0,
        204,
        "no other session was revoked"
    );
}

#[tokio::test]
async fn logout_with_bearer_token_ignores_cookie() {
    let (server, cookie) = start_signed_in().await;
    let session = server.sign_in("john").await;
    let response = server
        .send(
            page_request(&server, Method::POST, "/logout", &cookie)
                .bearer_auth(&session.access_token),
        )
        .await;
    assert_eq!(SetCookie::from_response(response.is(204, "")), None);
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
    assert_eq!(verify_cookie(&server, &cookie).await.0, 204);
    // `DELETE /session` always revokes the session of the cookie.
    let both = page_request(&server, Method::DELETE, "/session", &cookie)
        .bearer_auth(&session.access_token);
    assert!(removes_cookie(server.send(both).await.is(204, "")));
    assert_eq!(
        verify_cookie(&server, &cookie).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn logout_with_refresh_token_and_cookie_revokes_both() {
    let (server, cookie) = start_signed_in().await;
    let session = server.sign_in("john").await;
    let body = json!({"refresh_token": session.refresh_token});
    let response = server
        .send(page_request(&server, Method::POST, "/logout", &cookie).json(&body))
        .await;
    assert!(removes_cookie(response.is(204, "")));
    assert_eq!(
        verify_cookie(&server, &cookie).await,
        (401, "token_revoked".into())
    );
    server
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn revoking_own_session_removes_cookie() {
    let (server, cookie) = start_signed_in().await;
    let other_cookie = open(&server, "john").await;
    let path = |cookie: &str| {
        format!(
            "/sessions/{}",
            claims(cookie)["sid"].as_str().expect("a session ID")
        )
    };
    let response = send_page_request(&server, Method::DELETE, &path(&other_cookie), &cookie).await;
    assert_eq!(SetCookie::from_response(response.is(204, "")), None);
    assert_eq!(
        verify_cookie(&server, &other_cookie).await,
        (401, "token_revoked".into())
    );
    let session = server.sign_in("john").await;
    let bearer_request = page_request(
        &server,
        Method::DELETE,
        &path(&session.access_token),
        &cookie,
    )
    .bearer_auth(&session.access_token);
    assert_eq!(
        SetCookie::from_response(server.send(bearer_request).await.is(204, "")),
        None,
        "the bearer token was used instead of the cookie"
    );
    assert!(removes_cookie(
        send_page_request(&server, Method::DELETE, &path(&cookie), &cookie)
            .await
            .is(204, "")
    ));
    assert_eq!(
        verify_cookie(&server, &cookie).await,
        (401, "token_revoked".into())
    );

    let last = aged(&server, &open(&server, "john").await, 200).await;
    let response = send_page_request(&server, Method::DELETE, "/user", &last).await;
    assert!(
        removes_cookie(response.is(204, "")),
        "the cookie is removed instead of renewed"
    );
    assert_eq!(
        query_value(&server, "select count(*) from users").await,
        "0"
    );
}

#[tokio::test]
async fn password_change_revokes_other_sessions_only() {
    let (server, cookie) = start_signed_in().await;
    let other_cookie = open(&server, "john").await;
    let body = json!({"current_password": PASSWORD, "new_password": "of my own choice 7"});
    let response = server
        .send(page_request(&server, Method::POST, "/user/password", &cookie).json(&body))
        .await;
    assert_eq!(SetCookie::from_response(response.is(204, "")), None);
    assert_eq!(
        (
            verify_cookie(&server, &cookie).await.0,
            verify_cookie(&server, &other_cookie).await.0
        ),
        (204, 401)
    );
}

/// An error of the request doesn't affect the session.
#[tokio::test]
async fn error_response_keeps_cookie() {
    let (server, cookie) = start_signed_in().await;
    let send = |method, path: &'static str, body: Value| {
        let request = page_request(&server, method, path, &cookie);
        server.send(if body.is_null() {
            request
        } else {
            request.json(&body)
        })
    };
    let wrong_password = json!({"current_password": "wrong", "new_password": "of my own choice 7"});
    for (response, status) in [
        (send(Method::GET, "/nope", Value::Null).await, 404),
        (send(Method::GET, "/items?limit=0", Value::Null).await, 400),
        (send(Method::GET, "/items/nope", Value::Null).await, 404),
        (send(Method::PUT, "/user", json!({})).await, 405),
        (
            send(Method::PATCH, "/user", json!({"nonsense": 1})).await,
            400,
        ),
        (
            send(Method::POST, "/user/password", wrong_password).await,
            403,
        ),
        (
            send(Method::POST, "/logout?scope=galaxy", Value::Null).await,
            400,
        ),
        (
            send(Method::POST, "/logout", json!({"refresh_token": "garbage"})).await,
            401,
        ),
        (
            send(
                Method::POST,
                "/refresh",
                json!({"refresh_token": "garbage"}),
            )
            .await,
            401,
        ),
        (
            send(
                Method::POST,
                "/session",
                json!({"username": "john", "password": "wrong"}),
            )
            .await,
            401,
        ),
        (
            send(Method::DELETE, "/sessions/nope", Value::Null).await,
            404,
        ),
    ] {
        assert_eq!(
            (response.status, SetCookie::from_response(&response)),
            (status, None),
            "{}",
            response.string()
        );
    }
    assert_eq!(verify_cookie(&server, &cookie).await.0, 204);
}

/// Without Redis, users stay signed in and no response removes the cookie. A sign-out returns 503
/// because the server can't publish it, and the client can repeat the request.
#[tokio::test]
async fn redis_outage_keeps_cookie() {
    let proxy = Proxy::to_redis().await;
    let redis = proxy.redis_url();
    let server = TestServer::with(&[("REDIS_URL", &redis)]).await;
    server.sign_up("john").await;
    let cookie = open(&server, "john").await;
    proxy.set(ConnectionState::Cut);
    for (method, path, status, code) in [
        (Method::GET, "/session", 200, ""),
        (Method::GET, "/auth/verify", 204, ""),
        (Method::DELETE, "/session", 503, "unavailable"),
        (Method::POST, "/logout", 503, "unavailable"),
    ] {
        let response = send_page_request(&server, method, path, &cookie).await;
        assert_eq!(
            SetCookie::from_response(response.is(status, code)),
            None,
            "{path}"
        );
    }
    assert_eq!(
        query_value(
            &server,
            "select revoked_reason from sessions where client_id = 'latchkey-browser'"
        )
        .await,
        "sign_out"
    );
    proxy.set(ConnectionState::Open);
    wait_until("a repeated sign-out succeeds", || async {
        let response = send_page_request(&server, Method::DELETE, "/session", &cookie).await;
        assert!(response.status == 503 || removes_cookie(response.is(204, "")));
        response.status == 204
    })
    .await;
    assert_eq!(
        verify_cookie(&server, &cookie).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn sign_out_with_respond_async_removes_cookie() {
    let (server, cookie) = start_signed_in().await;
    let request = page_request(&server, Method::DELETE, "/session", &cookie)
        .header("prefer", "respond-async");
    let response = server.send(request).await;
    assert_eq!(
        response.is(202, "").header("preference-applied"),
        "respond-async"
    );
    assert!(removes_cookie(&response));
    wait_until("the revocation is enforced", || async {
        verify_cookie(&server, &cookie).await == (401, "token_revoked".into())
    })
    .await;
}

#[tokio::test]
async fn cookie_in_url_or_other_header_is_ignored() {
    let (server, cookie) = start_signed_in().await;
    for request in [
        server.request(Method::GET, &format!("/user?{NAME}={cookie}")),
        server
            .request(Method::GET, "/user")
            .header("x-cookie", format!("{NAME}={cookie}")),
        server
            .request(Method::GET, "/user")
            .header(header::COOKIE, format!("__host-latchkey={cookie}")),
        server
            .request(Method::GET, "/user")
            .header(header::COOKIE, format!("latchkey={cookie}")),
    ] {
        server.send(request).await.is(401, "unauthenticated");
    }
}
