//! Tests of the management of OAuth clients: registration, updates, secret rotation, and deletion.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    leaks,
    oauth::{Client, Fixture, assert_oauth_error, check},
    test_server::{Session, TestResponse, TestServer},
    test_stores::query_value,
};

#[tokio::test]
async fn client_management_requires_administrator() {
    let fixture = Fixture::new().await;
    let client = format!("/clients/{}", fixture.client.id);
    let rotate = format!("{client}/rotate");
    let operations = [
        (Method::POST, "/clients", json!({"name": "x", "scope": ""})),
        (Method::GET, "/clients", Value::Null),
        (Method::GET, &client, Value::Null),
        (Method::PATCH, &client, json!({"scope": "admin"})),
        (Method::POST, &rotate, Value::Null),
        (Method::DELETE, &client, Value::Null),
    ];
    // A client token with the scope `admin` doesn't suffice either.
    let admin_client = Client::register(&fixture.server, &fixture.admin, "admin user:write").await;
    let before = query_value(
        &fixture.server,
        "select string_agg(oauth_clients::text, ' ' order by id) from oauth_clients",
    )
    .await;
    let tokens = [
        fixture.session.access_token.clone(),
        admin_client.token(&fixture.server).await,
    ];
    for (method, path, body) in operations {
        for token in &tokens {
            let response = fixture
                .server
                .with_token(method.clone(), path, token, body.clone())
                .await;
            response.is(403, "forbidden");
        }
        fixture
            .server
            .send(fixture.server.request(method, path).json(&body))
            .await
            .is(401, "unauthenticated");
    }
    assert_eq!(
        query_value(
            &fixture.server,
            "select string_agg(oauth_clients::text, ' ' order by id) from oauth_clients"
        )
        .await,
        before
    );
}

#[tokio::test]
async fn client_secret_is_returned_only_at_registration() {
    let fixture = Fixture::new().await;
    let admin = &fixture.admin.access_token;
    let registration = json!({
        "name": "billing",
        "scope": "items:read",
        "audience": "https://a.example https://b.example",
    });
    let registered = fixture
        .server
        .with_token(Method::POST, "/clients", admin, registration)
        .await;
    let (id, secret) = (
        registered.is(201, "").text("client_id"),
        registered.text("client_secret"),
    );
    let path = format!("/clients/{id}");
    assert_eq!(
        (
            registered.header("location"),
            registered.header("cache-control")
        ),
        (path.as_str(), "no-store")
    );
    assert!(secret.starts_with("lks_") && secret.len() == 74);
    let fetched = fixture
        .server
        .with_token(Method::GET, &path, admin, Value::Null)
        .await;
    assert_eq!(fetched.is(200, "").body, registered.body["client"]);
    assert_eq!(
        fetched.body["audiences"],
        json!(["https://a.example", "https://b.example"])
    );
    let listed = fixture
        .server
        .with_token(Method::GET, "/clients", admin, Value::Null)
        .await;
    assert_eq!(
        listed.is(200, "").body["data"][1],
        fetched.body,
        "the newest client is last"
    );
    for response in [fetched, listed] {
        assert!(!response.string().contains("lks_") && !response.string().contains("hash"));
    }
    assert_eq!(
        query_value(
            &fixture.server,
            "select count(*) from audit_events where event = 'oauth_client_created'"
        )
        .await,
        "2"
    );
    for path in [
        "/clients/018f0000-0000-7000-8000-000000000000",
        "/clients/x",
    ] {
        fixture
            .server
            .with_token(Method::GET, path, admin, Value::Null)
            .await
            .is(404, "not_found");
    }
}

#[tokio::test]
async fn invalid_registration_is_rejected() {
    let fixture = Fixture::new().await;
    let eleven_audiences = "a ".repeat(11);
    let invalid = [
        (json!({"scope": "items:read"}), "name"),
        (json!({"name": "x"}), "scope"),
        (json!({"name": "x", "scope": "items:delete"}), "scope"),
        (json!({"name": "x\ny", "scope": ""}), "name"),
        (
            json!({"name": "x", "scope": "", "audience": " "}),
            "audience",
        ),
        (
            json!({"name": "x", "scope": "", "audience": eleven_audiences}),
            "audience",
        ),
        (
            json!({"name": "x", "scope": "", "client_secret": "lks_mine"}),
            "client_secret",
        ),
        (
            json!({"name": "x", "scope": "", "id": fixture.client.id}),
            "id",
        ),
    ];
    for (body, field) in invalid {
        let response = fixture
            .server
            .with_token(Method::POST, "/clients", &fixture.admin.access_token, body)
            .await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            field
        );
    }
    assert_eq!(
        query_value(&fixture.server, "select count(*) from oauth_clients").await,
        "1"
    );
}

/// Asserts that a replica rejects the token and the secret of a client.
async fn assert_revoked(replica: &TestServer, client: &Client, token: &str) {
    assert_eq!(check(replica, token).await, (401, "token_revoked".into()));
    let response = client.request_token(replica, &[]).await;
    assert_oauth_error(&response, 401, "invalid_client", "token request");
    let response = replica
        .form("/oauth/introspect", &client.form(&[("token", token)]))
        .await;
    assert_oauth_error(&response, 401, "invalid_client", "introspection");
    let response = replica
        .form("/oauth/revoke", &client.form(&[("token", token)]))
        .await;
    assert_oauth_error(&response, 401, "invalid_client", "revocation");
}

#[tokio::test]
async fn secret_rotation_revokes_old_secret_and_tokens() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let token = fixture.client.token(&replica).await;
    for server in [&fixture.server, &replica] {
        assert_eq!(check(server, &token).await.0, 204);
    }
    let path = format!("/clients/{}/rotate", fixture.client.id);
    let response = fixture
        .server
        .with_token(
            Method::POST,
            &path,
            &fixture.admin.access_token,
            Value::Null,
        )
        .await;
    let rotated_client = Client {
        id: response.is(200, "").text("client_id"),
        secret: response.text("client_secret"),
    };
    assert_eq!(rotated_client.id, fixture.client.id);
    for server in [&fixture.server, &replica] {
        assert_revoked(server, &fixture.client, &token).await;
        assert_eq!(
            check(server, &rotated_client.token(server).await).await.0,
            204
        );
        assert_eq!(
            rotated_client.introspect(server, &token).await,
            json!({"active": false})
        );
    }
}

async fn update(fixture: &Fixture, body: Value) -> TestResponse {
    let path = format!("/clients/{}", fixture.client.id);
    fixture
        .server
        .with_token(Method::PATCH, &path, &fixture.admin.access_token, body)
        .await
}

/// The reasons of the events about updates of clients, in their order.
async fn updates(fixture: &Fixture) -> String {
    let query = "select coalesce(string_agg(coalesce(reason, '-'), ' ' order by id), '') \
        from audit_events where event = 'oauth_client_updated' and actor = 'admin'";
    query_value(&fixture.server, query).await
}

#[tokio::test]
async fn removed_scope_or_audience_revokes_tokens_and_keeps_secret() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let audience = fixture.session.claims()["aud"].clone();
    let audience = audience.as_str().expect("one audience");
    let both = format!("{audience} https://billing.example.com");
    update(&fixture, json!({ "audience": both }))
        .await
        .is(200, "");
    for (removal, revocations) in [
        (json!({"scope": "items:read"}), 1),
        (json!({ "audience": audience }), 2),
    ] {
        let token = fixture.client.token(&replica).await;
        for server in [&fixture.server, &replica] {
            assert_eq!(check(server, &token).await.0, 204);
        }
        let response = update(&fixture, removal.clone()).await;
        let (field, value) = removal
            .as_object()
            .expect("fields")
            .iter()
            .next()
            .expect("one");
        let stored = match field.as_str() {
            "scope" => response.is(200, "").body["scope"].clone(),
            _audience => response.is(200, "").body["audiences"][0].clone(),
        };
        assert_eq!(stored, *value);
        for server in [&fixture.server, &replica] {
            assert_eq!(
                check(server, &token).await,
                (401, "token_revoked".into()),
                "{removal}"
            );
            // The secret is still valid.
            let token = fixture.client.token(server).await;
            assert_eq!(check(server, &token).await.0, 204, "{removal}");
        }
        let reasons = vec!["client_updated"; revocations].join(" ");
        assert_eq!(updates(&fixture).await, format!("- {reasons}"));
    }
    let parameters = [("scope", "items:read user:read")];
    let response = fixture.client.request_token(&replica, &parameters).await;
    assert_oauth_error(&response, 400, "invalid_scope", "a removed scope");
    let parameters = [("resource", "https://billing.example.com")];
    let response = fixture.client.request_token(&replica, &parameters).await;
    assert_oauth_error(&response, 400, "invalid_target", "a removed audience");
}

#[tokio::test]
async fn other_updates_revoke_no_token() {
    let fixture = Fixture::new().await;
    let token = fixture.client.token(&fixture.server).await;
    let audience = fixture.session.claim("aud");
    for (body, field, expected) in [
        (json!({"name": "invoices"}), "name", json!("invoices")),
        (
            json!({"scope": "user:read items:read items:write"}),
            "scope",
            json!("user:read items:read items:write"),
        ),
        (
            json!({"audience": format!("https://a.example {audience}")}),
            "audiences",
            json!(["https://a.example", audience]),
        ),
    ] {
        let response = update(&fixture, body).await;
        assert_eq!(response.is(200, "").body[field], expected);
    }
    assert_eq!(check(&fixture.server, &token).await.0, 204);
    assert_eq!(updates(&fixture).await, "- - -");
    // The same values are no change.
    for same in [json!({}), json!({"name": "invoices"})] {
        update(&fixture, same).await.is(200, "");
    }
    assert_eq!(updates(&fixture).await, "- - -");
    let path = format!("/clients/{}", fixture.client.id);
    let admin = &fixture.admin.access_token;
    let fetched = fixture
        .server
        .with_token(Method::GET, &path, admin, Value::Null)
        .await;
    assert_eq!(fetched.is(200, "").body["name"], "invoices");
    for (invalid, field) in [
        (json!({"name": ""}), "name"),
        (json!({"scope": "items:delete"}), "scope"),
        (json!({"audience": " "}), "audience"),
        (json!({"client_secret": "lks_mine"}), "client_secret"),
    ] {
        let response = update(&fixture, invalid).await;
        let errors = &response.is(400, "invalid_request").body["errors"];
        assert_eq!(errors[0]["field"], field);
    }
    let unknown = "/clients/018f0000-0000-7000-8000-000000000000";
    let response = fixture
        .server
        .with_token(Method::PATCH, unknown, admin, json!({"name": "x"}))
        .await;
    response.is(404, "not_found");
}

#[tokio::test]
async fn client_deletion_revokes_tokens_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let token = fixture.client.token(&fixture.server).await;
    assert_eq!(check(&replica, &token).await.0, 204);
    let path = format!("/clients/{}", fixture.client.id);
    let delete = async || {
        fixture
            .server
            .with_token(
                Method::DELETE,
                &path,
                &fixture.admin.access_token,
                Value::Null,
            )
            .await
    };
    // The deletion is idempotent.
    for _ in 0..2 {
        delete().await.is(204, "");
        for server in [&fixture.server, &replica] {
            assert_revoked(server, &fixture.client, &token).await;
        }
    }
    let response = replica
        .with_token(Method::GET, &path, &fixture.admin.access_token, Value::Null)
        .await;
    response.is(404, "not_found");
    assert_eq!(
        query_value(
            &fixture.server,
            "select count(*) from audit_events where event = 'oauth_client_deleted'"
        )
        .await,
        "1"
    );
    let unknown = "/clients/018f0000-0000-7000-8000-000000000000";
    let response = fixture
        .server
        .with_token(
            Method::DELETE,
            unknown,
            &fixture.admin.access_token,
            Value::Null,
        )
        .await;
    response.is(404, "not_found");
}

/// A client isn't a user, so operations on user data reject its token. Forward authentication
/// returns the client ID.
#[tokio::test]
async fn client_token_has_no_user_and_no_session() {
    let fixture = Fixture::new().await;
    let all_scopes = "user:read user:write items:read items:write admin revocations:read";
    let client = Client::register(&fixture.server, &fixture.admin, all_scopes).await;
    let token = client.token(&fixture.server).await;
    let verified = fixture
        .server
        .with_token(
            Method::GET,
            "/auth/verify?scope=items:read",
            &token,
            Value::Null,
        )
        .await;
    assert_eq!(verified.is(204, "").header("x-auth-user"), client.id);
    // Without a required scope, forward authentication accepts only users.
    assert_eq!(
        fixture.server.verify(&token).await,
        (403, "forbidden".into())
    );
    assert_eq!(
        (
            verified.header("x-auth-session"),
            verified.header("x-auth-username")
        ),
        ("", "")
    );
    let claims = Session {
        access_token: token.clone(),
        refresh_token: String::new(),
    }
    .claims();
    for user_claim in ["sid", "auth_time", "session_exp", "username", "email"] {
        assert_eq!(claims.get(user_claim), None, "{user_claim}");
    }
    assert_eq!(
        (&claims["roles"], &claims["client_id"]),
        (&json!([]), &claims["sub"])
    );
    for path in [
        "/user",
        "/items",
        "/users",
        "/sessions",
        "/dashboard",
        "/user/tokens",
        "/user/audit",
    ] {
        fixture
            .server
            .with_token(Method::GET, path, &token, Value::Null)
            .await
            .is(403, "forbidden");
    }
    // The token doesn't belong to a session, so it can't sign out or serve as a cookie.
    fixture
        .server
        .sign_out(&token)
        .await
        .is(401, "invalid_token");
    let cookie = format!("__Host-latchkey={token}");
    let cookie_request = fixture
        .server
        .request(Method::GET, "/user")
        .header("cookie", cookie);
    fixture
        .server
        .send(cookie_request)
        .await
        .is(401, "invalid_token");
}

#[tokio::test]
async fn only_hash_of_client_secret_is_stored() {
    let fixture = Fixture::new().await;
    let token = fixture.client.token(&fixture.server).await;
    fixture.client.introspect(&fixture.server, &token).await;
    let wrong_secret = Client {
        id: fixture.client.id.clone(),
        secret: format!("{}A", fixture.client.secret),
    };
    wrong_secret.request_token(&fixture.server, &[]).await;
    leaks::assert_only_hash_is_stored(&fixture.server, &fixture.client.secret).await;
}
