//! What ends a cookie: the session behind it, everywhere; and that nothing but its end clears it.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{NAME, SetCookie, aged, altered, by_cookie, claims, get, john, open, page, verify};
use crate::{
    proxy::{Line, Proxy},
    test_server::{PASSWORD, TestResponse, TestServer, until},
    test_stores::ask,
};

fn cleared(response: &TestResponse) -> bool {
    SetCookie::of(response).is_some_and(|cookie| cookie.clears() && cookie.name == NAME)
}

async fn is_over(replicas: [&TestServer; 2], cookie: &str) {
    for replica in replicas {
        assert_eq!(verify(replica, cookie).await, (401, "token_revoked".into()));
        get(replica, "/session", cookie)
            .await
            .is(401, "unauthenticated");
        assert_eq!(
            replica.verify(cookie).await,
            (401, "token_revoked".into()),
            "as a bearer token too"
        );
    }
}

#[tokio::test]
async fn signing_out_ends_the_session_everywhere_and_clears_the_cookie() {
    let (server, other) = john().await;
    let replica = server.replica().await;
    for (method, path) in [
        (Method::DELETE, "/session"),
        (Method::POST, "/logout"),
        (Method::POST, "/logout?scope=session"),
        (Method::POST, "/logout?scope=all"),
    ] {
        let cookie = open(&server, "john").await;
        assert_eq!(verify(&replica, &cookie).await.0, 204);
        let response = by_cookie(&server, method, path, &cookie).await;
        assert!(cleared(response.is(204, "")), "{path}");
        is_over([&replica, &server], &cookie).await;
        assert_eq!(
            verify(&replica, &other).await.0 == 204,
            !path.ends_with("all"),
            "{path}"
        );
    }
}

/// A host beside this one may have planted one of them: that must not keep anybody signed in.
#[tokio::test]
async fn of_two_cookies_both_end() {
    let (server, first) = john().await;
    let second = open(&server, "john").await;
    let both = page(&server, Method::DELETE, "/session", &first)
        .header(header::COOKIE, format!("{NAME}={second}"));
    assert!(cleared(server.send(both).await.is(204, "")));
    is_over([&server, &server], &first).await;
    is_over([&server, &server], &second).await;
}

#[tokio::test]
async fn signing_out_others_keeps_the_cookie() {
    let (server, cookie) = john().await;
    let (replica, other) = (server.replica().await, open(&server, "john").await);
    let response = by_cookie(&server, Method::POST, "/logout?scope=others", &cookie).await;
    assert_eq!(SetCookie::of(response.is(204, "")), None);
    is_over([&replica, &server], &other).await;
    assert_eq!(verify(&replica, &cookie).await.0, 204);
}

#[tokio::test]
async fn any_cookie_of_ours_signs_out_and_any_other_is_cleared() {
    let (server, cookie) = john().await;
    let replica = server.replica().await;
    let expired = aged(&server, &cookie, 600).await;
    assert_eq!(
        verify(&server, &expired).await,
        (401, "token_expired".into())
    );
    assert!(cleared(
        by_cookie(&server, Method::DELETE, "/session", &expired)
            .await
            .is(204, "")
    ));
    is_over([&replica, &server], &cookie).await;
    for again in [&cookie, &expired] {
        assert!(cleared(
            by_cookie(&replica, Method::DELETE, "/session", again)
                .await
                .is(204, "")
        ));
    }

    let living = open(&server, "john").await;
    let foreign = altered(&server, &living, "aud", json!("https://elsewhere.example")).await;
    for garbage in ["", "garbage", &format!("{living}A"), &foreign] {
        assert!(
            cleared(
                by_cookie(&server, Method::DELETE, "/session", garbage)
                    .await
                    .is(204, "")
            ),
            "{garbage}"
        );
    }
    let nothing = server
        .request(Method::DELETE, "/session")
        .header("x-latchkey-request", "1");
    assert!(cleared(server.send(nothing).await.is(204, "")));
    assert_eq!(
        verify(&replica, &living).await.0,
        204,
        "nobody else was signed out"
    );
}

#[tokio::test]
async fn beside_a_bearer_token_that_one_signs_out() {
    let (server, cookie) = john().await;
    let session = server.sign_in("john").await;
    let response = server
        .send(page(&server, Method::POST, "/logout", &cookie).bearer_auth(&session.access_token))
        .await;
    assert_eq!(SetCookie::of(response.is(204, "")), None);
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
    assert_eq!(verify(&server, &cookie).await.0, 204);
    // The browser's own way out is the cookie's, whatever else is sent.
    let both =
        page(&server, Method::DELETE, "/session", &cookie).bearer_auth(&session.access_token);
    assert!(cleared(server.send(both).await.is(204, "")));
    assert_eq!(
        verify(&server, &cookie).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn a_refresh_token_beside_the_cookie_signs_out_both() {
    let (server, cookie) = john().await;
    let session = server.sign_in("john").await;
    let body = json!({"refresh_token": session.refresh_token});
    let response = server
        .send(page(&server, Method::POST, "/logout", &cookie).json(&body))
        .await;
    assert!(cleared(response.is(204, "")));
    assert_eq!(
        verify(&server, &cookie).await,
        (401, "token_revoked".into())
    );
    server
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn what_ends_the_callers_own_session_clears_its_cookie() {
    let (server, cookie) = john().await;
    let other = open(&server, "john").await;
    let path = |cookie: &str| {
        format!(
            "/sessions/{}",
            claims(cookie)["sid"].as_str().expect("a sid")
        )
    };
    let response = by_cookie(&server, Method::DELETE, &path(&other), &cookie).await;
    assert_eq!(SetCookie::of(response.is(204, "")), None);
    assert_eq!(verify(&server, &other).await, (401, "token_revoked".into()));
    let session = server.sign_in("john").await;
    let foreign = page(
        &server,
        Method::DELETE,
        &path(&session.access_token),
        &cookie,
    )
    .bearer_auth(&session.access_token);
    assert_eq!(
        SetCookie::of(server.send(foreign).await.is(204, "")),
        None,
        "the cookie is not what was shown"
    );
    assert!(cleared(
        by_cookie(&server, Method::DELETE, &path(&cookie), &cookie)
            .await
            .is(204, "")
    ));
    assert_eq!(
        verify(&server, &cookie).await,
        (401, "token_revoked".into())
    );

    let last = aged(&server, &open(&server, "john").await, 200).await;
    let response = by_cookie(&server, Method::DELETE, "/user", &last).await;
    assert!(
        cleared(response.is(204, "")),
        "and not slid, though it was time for it"
    );
    assert_eq!(ask(&server, "select count(*) from users").await, "0");
}

#[tokio::test]
async fn a_change_of_password_keeps_the_cookie_and_ends_the_others() {
    let (server, cookie) = john().await;
    let other = open(&server, "john").await;
    let body = json!({"current_password": PASSWORD, "new_password": "of my own choice 7"});
    let response = server
        .send(page(&server, Method::POST, "/user/password", &cookie).json(&body))
        .await;
    assert_eq!(SetCookie::of(response.is(204, "")), None);
    assert_eq!(
        (
            verify(&server, &cookie).await.0,
            verify(&server, &other).await.0
        ),
        (204, 401)
    );
}

/// Whatever is wrong with a request, its cookie stays.
#[tokio::test]
async fn no_refusal_clears_a_cookie() {
    let (server, cookie) = john().await;
    let send = |method, path: &'static str, body: Value| {
        let request = page(&server, method, path, &cookie);
        server.send(if body.is_null() {
            request
        } else {
            request.json(&body)
        })
    };
    let wrong = json!({"current_password": "wrong", "new_password": "of my own choice 7"});
    for (response, status) in [
        (send(Method::GET, "/nope", Value::Null).await, 404),
        (send(Method::GET, "/items?limit=0", Value::Null).await, 400),
        (send(Method::GET, "/items/nope", Value::Null).await, 404),
        (send(Method::PUT, "/user", json!({})).await, 405),
        (
            send(Method::PATCH, "/user", json!({"nonsense": 1})).await,
            400,
        ),
        (send(Method::POST, "/user/password", wrong).await, 403),
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
            (response.status, SetCookie::of(&response)),
            (status, None),
            "{}",
            response.string()
        );
    }
    assert_eq!(verify(&server, &cookie).await.0, 204);
}

/// Redis is away: whoever is signed in goes on, nothing is cleared, and a sign-out that could not
/// be told works by its repeat.
#[tokio::test]
async fn a_store_that_is_down_clears_no_cookie() {
    let proxy = Proxy::to_redis().await;
    let redis = proxy.redis_url();
    let server = TestServer::with(&[("REDIS_URL", &redis)]).await;
    server.sign_up("john").await;
    let cookie = open(&server, "john").await;
    proxy.set(Line::Cut);
    for (method, path, status, code) in [
        (Method::GET, "/session", 200, ""),
        (Method::GET, "/auth/verify", 204, ""),
        (Method::DELETE, "/session", 503, "unavailable"),
        (Method::POST, "/logout", 503, "unavailable"),
    ] {
        let response = by_cookie(&server, method, path, &cookie).await;
        assert_eq!(SetCookie::of(response.is(status, code)), None, "{path}");
    }
    assert_eq!(
        ask(
            &server,
            "select revoked_reason from sessions where client_id = 'latchkey-browser'"
        )
        .await,
        "sign_out"
    );
    proxy.set(Line::Open);
    until("Redis is told", || async {
        verify(&server, &cookie).await == (401, "token_revoked".into())
    })
    .await;
    assert!(cleared(
        by_cookie(&server, Method::DELETE, "/session", &cookie)
            .await
            .is(204, "")
    ));
}

#[tokio::test]
async fn a_page_that_need_not_wait_is_answered_and_loses_its_cookie() {
    let (server, cookie) = john().await;
    let request =
        page(&server, Method::DELETE, "/session", &cookie).header("prefer", "respond-async");
    let response = server.send(request).await;
    assert_eq!(
        response.is(202, "").header("preference-applied"),
        "respond-async"
    );
    assert!(cleared(&response));
    until("it is enforced", || async {
        verify(&server, &cookie).await == (401, "token_revoked".into())
    })
    .await;
}

#[tokio::test]
async fn a_cookie_in_a_url_or_another_field_is_none() {
    let (server, cookie) = john().await;
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
