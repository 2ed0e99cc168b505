//! Tests of personal access tokens.

mod caching; // stored data, and the token cache during outages
mod limits; // number, lifetime, and permission to create

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{execute, query_value},
};

/// Sends the request to create a token.
pub async fn request_token(server: &TestServer, token: &str, body: Value) -> TestResponse {
    server
        .with_token(Method::POST, "/user/tokens", token, body)
        .await
}

/// Creates a token with these scopes and returns its ID and the token.
pub async fn make(server: &TestServer, owner: &Session, scope: &str) -> (String, String) {
    let response = request_token(
        server,
        &owner.access_token,
        json!({"name": "job", "scope": scope}),
    )
    .await;
    (response.is(201, "").text("id"), response.text("token"))
}

pub async fn revoke_token(server: &TestServer, token: &str, id: &str) -> TestResponse {
    server
        .with_token(
            Method::DELETE,
            &format!("/user/tokens/{id}"),
            token,
            Value::Null,
        )
        .await
}

pub async fn get_with_token(server: &TestServer, token: &str, path: &str) -> TestResponse {
    server
        .with_token(Method::GET, path, token, Value::Null)
        .await
}

#[tokio::test]
async fn token_is_returned_once_and_limited_to_its_scopes() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let body = json!({"name": "backup job", "scope": "items:read user:read"});
    let created = request_token(&server, &user.access_token, body).await;
    let token = created.is(201, "").text("token");
    assert_eq!(
        (created.header("cache-control"), created.text("scope")),
        ("no-store", "user:read items:read".into())
    );
    get_with_token(&server, &token, "/items").await.is(200, "");
    let list = async || get_with_token(&server, &token, "/user/tokens").await;
    wait_until("the list contains the last use", || async {
        list().await.body["data"][0]["last_used_at"].is_string()
    })
    .await;
    let listed = list().await;
    let mut expected = created.body.clone();
    expected.as_object_mut().expect("an object").remove("token");
    expected["last_used_at"] = listed.is(200, "").body["data"][0]["last_used_at"].clone();
    assert_eq!(
        listed.body["data"],
        json!([expected]),
        "the list omits the token itself"
    );
    // Forward authentication returns the same identity as for an access token.
    let verified = get_with_token(&server, &token, "/auth/verify").await;
    assert_eq!(
        verified.is(204, "").header("x-auth-user"),
        user.claim("sub")
    );
    for (path, body) in [
        ("/items", json!({"name": "Book"})),
        ("/logout?scope=all", Value::Null),
    ] {
        let response = server.with_token(Method::POST, path, &token, body).await;
        assert_eq!(response.status, 403, "{path}: {}", response.string());
    }
    let response = server
        .with_token(Method::PATCH, "/user", &token, json!({"name": "Changed"}))
        .await;
    assert!(
        response
            .is(403, "insufficient_scope")
            .header("www-authenticate")
            .contains("scope=\"user:write\"")
    );
    assert_eq!(
        query_value(&server, "select count(*) from items").await,
        "0"
    );
    assert_eq!(server.verify(&user.access_token).await.0, 204);
}

/// A token has a prefix for secret scanners and a checksum. The server accepts only the exact text.
#[tokio::test]
async fn modified_token_is_rejected() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    let (_, other) = make(&server, &user, "user:read").await;
    assert!(
        token.starts_with("lkp_") && token.len() == 74,
        "{}",
        token.len()
    );
    assert!(
        token
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
    );
    // The token is in the token cache, so that the cache is tested as well.
    assert_eq!(server.verify(&token).await.0, 204);
    let modified_tokens = [
        token[4..].to_owned(),
        token.replace("lkp_", "lks_"),
        token.replace("lkp_", "LKP_"),
        format!("{token}A"),
        format!("{token}="),
        token[..73].to_owned(),
        format!("{}{}", &token[..40], &other[40..]),
        format!("{}{}", &token[..20], &other[20..]),
        format!("{token},{other}"),
        "lkp_".to_owned(),
        format!("lkp_{}", "A".repeat(8000)),
    ];
    for modified in modified_tokens {
        assert_eq!(
            server.verify(&modified).await,
            (401, "invalid_token".into()),
            "{modified}"
        );
    }
    assert_eq!(server.verify(&token).await.0, 204);
}

/// A token that the server accepted as a cookie would be renewed without limit.
#[tokio::test]
async fn token_is_rejected_as_cookie_and_as_refresh_token() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read user:write items:read").await;
    for (path, status, code) in [
        ("/user", 401, "invalid_token"),
        ("/items", 401, "invalid_token"),
        ("/session", 401, "unauthenticated"),
    ] {
        let request = server
            .request(Method::GET, path)
            .header("cookie", format!("__Host-latchkey={token}"));
        let response = server.send(request).await;
        assert_eq!(response.is(status, code).header("set-cookie"), "", "{path}");
    }
    server
        .refresh(&token)
        .await
        .is(401, "invalid_refresh_token");
    server.sign_out(&token).await.is(401, "invalid_token");
    assert_eq!(server.verify(&token).await.0, 204, "the token stays valid");
}

#[tokio::test]
async fn revoked_token_is_rejected_on_every_replica() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let (user, other_user) = (server.sign_up("john").await, server.sign_up("mary").await);
    let (id, token) = make(&server, &user, "user:read").await;
    let (own_id, self_revoking) = make(&server, &user, "user:read user:write").await;
    // The token is in the token cache of the replica before the revocation.
    assert_eq!(replica.verify(&token).await.0, 204);
    revoke_token(&server, &other_user.access_token, &id)
        .await
        .is(404, "not_found");
    revoke_token(&server, &token, &id)
        .await
        .is(403, "insufficient_scope");
    assert_eq!(replica.verify(&token).await.0, 204);
    // The revocation is idempotent.
    for _ in 0..2 {
        revoke_token(&server, &user.access_token, &id)
            .await
            .is(204, "");
        for server in [&server, &replica] {
            assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
        }
    }
    // Another user can't find out that the token existed.
    revoke_token(&server, &other_user.access_token, &id)
        .await
        .is(404, "not_found");
    for unknown in ["018f0000-0000-7000-8000-000000000000", "x"] {
        revoke_token(&server, &user.access_token, unknown)
            .await
            .is(404, "not_found");
    }
    // A token can revoke itself.
    revoke_token(&server, &self_revoking, &own_id)
        .await
        .is(204, "");
    // The replica has never cached this token.
    assert_eq!(
        replica.verify(&self_revoking).await,
        (401, "invalid_token".into())
    );
    assert_eq!(
        query_value(&server, "select count(*) from personal_access_tokens").await,
        "0"
    );
    assert_eq!(
        query_value(
            &server,
            "select count(*) from audit_events where event = 'personal_access_token_revoked'"
        )
        .await,
        "2"
    );
}

/// A token has administrator permissions only with the scope `admin` and while its owner is an
/// administrator.
#[tokio::test]
async fn token_administers_only_while_owner_is_administrator() {
    let server = TestServer::shared().await;
    let (root, second) = (server.admin("root").await, server.admin("second").await);
    let (_, token) = make(&server, &root, "admin").await;
    let (_, without_admin) = make(&server, &root, "user:read").await;
    get_with_token(&server, &token, "/users").await.is(200, "");
    get_with_token(&server, &without_admin, "/users")
        .await
        .is(403, "forbidden");
    let path = root.user_path();
    // Administrators can't change their own user in the API for administrators.
    for (method, body) in [
        (Method::PATCH, json!({"password": "correct horse 9"})),
        (
            Method::PUT,
            json!({
                "username": "root",
                "email": null,
                "name": null,
                "role": "admin",
                "disabled": false,
            }),
        ),
        (Method::DELETE, Value::Null),
    ] {
        server
            .with_token(method, &path, &token, body)
            .await
            .is(403, "forbidden");
    }
    server.sign_in("root").await;
    let demotion = server
        .with_token(
            Method::PATCH,
            &path,
            &second.access_token,
            json!({"role": "user"}),
        )
        .await;
    demotion.is(200, "");
    for token in [token, without_admin] {
        get_with_token(&server, &token, "/users")
            .await
            .is(401, "token_revoked");
    }
    // Even if the database contains the scope `admin`, the token of another user has no effect.
    let user = server.sign_up("john").await;
    let (id, manipulated) = make(&server, &user, "user:read").await;
    execute(
        &server,
        &format!("update personal_access_tokens set scope = 'admin user:read' where id = '{id}'"),
    )
    .await;
    get_with_token(&server, &manipulated, "/users")
        .await
        .is(403, "forbidden");
}

/// A password change keeps personal access tokens valid, so that programs continue to work. Signing
/// out everywhere revokes them.
#[tokio::test]
async fn password_change_keeps_token_valid() {
    let server = TestServer::shared().await;
    let user = server.sign_up("john").await;
    let (_, token) = make(&server, &user, "user:read").await;
    let change = json!({"current_password": PASSWORD, "new_password": "another one 7"});
    server
        .with_token(Method::POST, "/user/password", &user.access_token, change)
        .await
        .is(204, "");
    get_with_token(&server, &token, "/user").await.is(200, "");
    server
        .with_token(
            Method::POST,
            "/logout?scope=all",
            &user.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    get_with_token(&server, &token, "/user")
        .await
        .is(401, "token_revoked");
}
