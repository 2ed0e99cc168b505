//! Tests of the number and the lifetime of personal access tokens, and of the permission to create
//! them.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{get_with_token, make, request_token};
use crate::{
    browser::{NAME, open},
    test_server::{PASSWORD, Session, TestServer},
    test_stores::{execute, query_value},
};

const MAX_TOKENS_PER_USER: usize = 50;

async fn count(server: &TestServer) -> String {
    query_value(server, "select count(*) from personal_access_tokens").await
}

#[tokio::test]
async fn token_scopes_cannot_exceed_scopes_of_request() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let form = [
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", "user:write items:read"),
    ];
    let restricted = Session::of(server.form("/login", &form).await.is(200, ""));
    for (session, scope) in [
        (&user, "admin"),
        (&user, "items:read admin"),
        (&user, "revocations:read"),
        (&user, "items:delete"),
        (&user, ""),
        (&user, " "),
        (&restricted, "items:write"),
        (&restricted, "items:read user:read"),
    ] {
        let response = request_token(
            &server,
            &session.access_token,
            json!({"name": "job", "scope": scope}),
        )
        .await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            "scope",
            "{scope}"
        );
    }
    assert_eq!(count(&server).await, "0");
    make(&server, &restricted, "items:read user:write").await;
}

#[tokio::test]
async fn invalid_request_is_rejected() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let expiring_in = |year: &str| {
        json!({
            "name": "job",
            "scope": "user:read",
            "expires_at": format!("{year}-01-01T00:00:00Z"),
        })
    };
    for (body, field) in [
        (json!({"scope": "user:read"}), "name"),
        (json!({"name": "", "scope": "user:read"}), "name"),
        (json!({"name": "a\u{202e}b", "scope": "user:read"}), "name"),
        (json!({"name": "job"}), "scope"),
        (expiring_in("2020"), "expires_at"),
        (expiring_in("2999"), "expires_at"),
        (expiring_in("soon"), "expires_at"),
        (
            json!({"name": "job", "scope": "user:read", "token": "lkp_mine"}),
            "token",
        ),
        (
            json!({"name": "job", "scope": "user:read", "user_id": "x"}),
            "user_id",
        ),
    ] {
        let response = request_token(&server, &user.access_token, body).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            field
        );
    }
    assert_eq!(count(&server).await, "0");
}

/// A token can outlive the session, so its creation requires a recent sign-in with the password and
/// rejects other personal access tokens.
#[tokio::test]
async fn creation_requires_recent_sign_in_with_password() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    let (_, personal) = make(&server, &user, "user:read user:write").await;
    let body = json!({"name": "job", "scope": "user:read"});
    request_token(&server, &personal, body.clone())
        .await
        .is(403, "forbidden");
    let signer = crate::token_signer::TokenSigner::of(&server).await;
    let mut claims = user.claims();
    claims["auth_time"] = json!(claims["auth_time"].as_u64().expect("a timestamp") - 301);
    request_token(&server, &signer.sign(&claims), body.clone())
        .await
        .is(403, "reauthentication_required");
    assert_eq!(count(&server).await, "1");
    // A browser session can create a token with the CSRF header.
    let cookie = format!("{NAME}={}", open(&server, "john").await);
    let browser_request = || {
        server
            .request(Method::POST, "/user/tokens")
            .header("cookie", &cookie)
            .json(&body)
    };
    server.send(browser_request()).await.is(403, "csrf");
    server
        .send(browser_request().header("x-latchkey-request", "1"))
        .await
        .is(201, "");
}

/// Concurrent requests can't exceed the limit, and expired tokens don't count.
#[tokio::test]
async fn user_has_at_most_fifty_tokens() {
    let server = TestServer::with(&[("LATCHKEY_DATABASE_CONNECTIONS", "24")]).await;
    let (user, other_user) = (server.sign_up("john").await, server.sign_up("mary").await);
    let body = json!({"name": "job", "scope": "user:read"});
    let create = |_| request_token(&server, &user.access_token, body.clone());
    let responses = join_all((0..MAX_TOKENS_PER_USER + 10).map(create)).await;
    let rejected: Vec<_> = responses
        .iter()
        .filter(|response| response.status != 201)
        .collect();
    assert_eq!(
        (rejected.len(), count(&server).await),
        (10, MAX_TOKENS_PER_USER.to_string())
    );
    for response in rejected {
        assert!(
            response
                .is(400, "invalid_request")
                .text("detail")
                .contains("50")
        );
    }
    request_token(&server, &other_user.access_token, body.clone())
        .await
        .is(201, "");
    let page = get_with_token(&server, &user.access_token, "/user/tokens?limit=30").await;
    let after = page.is(200, "").text("next");
    let last_page = get_with_token(
        &server,
        &user.access_token,
        &format!("/user/tokens?limit=30&after={after}"),
    )
    .await;
    assert_eq!(
        last_page.is(200, "").body["data"].as_array().map(Vec::len),
        Some(20)
    );
    assert_eq!(last_page.body["next"], Value::Null);
    execute(
        &server,
        "update personal_access_tokens set expires_at = now() \
         where id = (select min(id::text)::uuid from personal_access_tokens)",
    )
    .await;
    request_token(&server, &user.access_token, body.clone())
        .await
        .is(201, "");
    request_token(&server, &user.access_token, body)
        .await
        .is(400, "invalid_request");
}

/// Covers the time between the commit of a revocation and its publication.
#[tokio::test]
async fn revoked_session_creates_no_token() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let revoke = "update sessions set revoked_at = now(), revoked_reason = 'revoked'";
    execute(&server, revoke).await;
    let body = json!({"name": "job", "scope": "user:read"});
    request_token(&server, &user.access_token, body.clone())
        .await
        .is(401, "token_revoked");
    let fill = format!(
        "insert into personal_access_tokens \
             (id, user_id, generation, name, secret_hash, scope, expires_at) \
         select gen_random_uuid(), id, generation, 'job', sha256('x'), 'user:read', \
             now() + interval '1 day' \
         from users, generate_series(1, {MAX_TOKENS_PER_USER})"
    );
    execute(&server, &fill).await;
    request_token(&server, &user.access_token, body)
        .await
        .is(401, "token_revoked");
}

#[tokio::test]
async fn expired_token_is_rejected() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let user = server.sign_up("john").await;
    let response = request_token(
        &server,
        &user.access_token,
        json!({"name": "job", "scope": "user:read"}),
    )
    .await;
    let days = "select round(extract(epoch from expires_at - created_at) / 86400) \
         from personal_access_tokens";
    assert_eq!(
        query_value(&server, days).await,
        "90",
        "the default lifetime"
    );
    let token = response.is(201, "").text("token");
    assert_eq!(server.verify(&token).await.0, 204);
    execute(
        &server,
        "update personal_access_tokens set expires_at = now()",
    )
    .await;
    // The replica hasn't cached the token, so it reads the expiration from PostgreSQL.
    assert_eq!(replica.verify(&token).await, (401, "token_expired".into()));
    assert_eq!(
        get_with_token(&server, &user.access_token, "/user/tokens")
            .await
            .is(200, "")
            .body["data"],
        json!([])
    );
    // Another replica caches the token and finds the expiration in the cached claims.
    execute(
        &server,
        "update personal_access_tokens set expires_at = now() + interval '2 seconds'",
    )
    .await;
    let third = server.replica().await;
    crate::test_server::wait_until("the token expires", || async {
        let result = third.verify(&token).await;
        assert!(result.0 == 204 || result.1 == "token_expired", "{result:?}");
        result.0 == 401
    })
    .await;
}
