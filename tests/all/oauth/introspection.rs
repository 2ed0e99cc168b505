//! `POST /oauth/introspect`: an active token returns its claims, and any other token returns
//! nothing but `"active": false`.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{Client, Fixture, assert_oauth_error};
use crate::{
    browser::open,
    test_stores::execute,
    token_signer::{TokenSigner, with, without},
};

#[tokio::test]
async fn active_token_returns_its_claims() {
    let fixture = Fixture::new().await;
    let claims = fixture.session.claims();
    let response = fixture
        .client
        .introspect(&fixture.server, &fixture.session.access_token)
        .await;
    let mut expected = json!({"active": true, "token_type": "Bearer"});
    let names = [
        "scope",
        "client_id",
        "username",
        "exp",
        "iat",
        "nbf",
        "sub",
        "aud",
        "iss",
        "jti",
        "sid",
        "roles",
    ];
    names
        .into_iter()
        .for_each(|name| expected[name] = claims[name].clone());
    assert_eq!(response, expected);
    let token = fixture.client.token(&fixture.server).await;
    let response = fixture.client.introspect(&fixture.server, &token).await;
    assert_eq!(
        (&response["sub"], &response["client_id"]),
        (&json!(fixture.client.id), &json!(fixture.client.id))
    );
    assert_eq!(
        (response.get("sid"), response.get("username")),
        (None, None)
    );
    let (id, personal) = fixture.create_personal_token("items:read").await;
    let response = fixture.client.introspect(&fixture.server, &personal).await;
    assert_eq!(
        (&response["jti"], &response["scope"], &response["sub"]),
        (&json!(id), &json!("items:read"), &claims["sub"])
    );
    assert!(
        fixture
            .is_active(&open(&fixture.server, "john").await)
            .await
    );
    // Tokens of other clients are active, and the hint is ignored.
    let other = Client::register(&fixture.server, &fixture.admin, "items:read").await;
    assert!(fixture.is_active(&other.token(&fixture.server).await).await);
    for hint in ["access_token", "refresh_token", "something"] {
        let form = fixture.client.form(&[
            ("token", &fixture.session.access_token),
            ("token_type_hint", hint),
        ]);
        assert_eq!(
            fixture
                .server
                .form("/oauth/introspect", &form)
                .await
                .is(200, "")
                .body["active"],
            true
        );
    }
}

/// Creates inactive tokens, each with its reason.
async fn create_inactive_tokens(fixture: &Fixture) -> Vec<(&'static str, String)> {
    let (server, admin) = (&fixture.server, &fixture.admin.access_token);
    let (signer, claims) = (TokenSigner::of(server).await, fixture.session.claims());
    let now = claims["iat"].as_u64().expect("seconds");
    let signed_out = server.sign_in("john").await;
    server.sign_out(&signed_out.access_token).await.is(204, "");
    let revoked = server.sign_in("john").await.access_token;
    server
        .form("/oauth/revoke", &[("token", &revoked)])
        .await
        .is(200, "");
    let (id, deleted) = fixture.create_personal_token("items:read").await;
    let path = format!("/user/tokens/{id}");
    server
        .with_token(
            Method::DELETE,
            &path,
            &fixture.session.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    let (id, expired) = fixture.create_personal_token("items:read").await;
    execute(
        server,
        &format!("update personal_access_tokens set expires_at = now() where id = '{id}'"),
    )
    .await;
    let (rotated_client, deleted_client) = (
        Client::register(server, &fixture.admin, "items:read").await,
        Client::register(server, &fixture.admin, "items:read").await,
    );
    let of_rotated_client = rotated_client.token(server).await;
    let of_deleted_client = deleted_client.token(server).await;
    let path = format!("/clients/{}/rotate", rotated_client.id);
    server
        .with_token(Method::POST, &path, admin, Value::Null)
        .await
        .is(200, "");
    server
        .with_token(
            Method::DELETE,
            &format!("/clients/{}", deleted_client.id),
            admin,
            Value::Null,
        )
        .await
        .is(204, "");
    let body =
        json!({"name": "b", "scope": "items:read", "audience": "https://billing.example.com"});
    let for_other_audience = Client::register_with(server, &fixture.admin, body)
        .await
        .token(server)
        .await;
    vec![
        ("an audience of another client", for_other_audience),
        ("garbage", "garbage".into()),
        ("three invalid parts", "a.b.c".into()),
        ("a refresh token", fixture.session.refresh_token.clone()),
        ("expired", signer.sign(&with(&claims, "exp", json!(now)))),
        (
            "not yet valid",
            signer.sign(&with(&claims, "nbf", json!(now + 3600))),
        ),
        (
            "another issuer",
            signer.sign(&with(&claims, "iss", json!("https://other.example.com"))),
        ),
        (
            "a missing session claim",
            signer.sign(&without(&claims, "session_exp")),
        ),
        ("another key", signer.with_unrelated_key().sign(&claims)),
        (
            "another type",
            signer.sign_as(
                &with(&signer.header(), "typ", json!("JWT")),
                &claims.to_string(),
            ),
        ),
        ("a revoked session", signed_out.access_token),
        ("a revoked access token", revoked),
        ("a deleted personal access token", deleted),
        ("an expired personal access token", expired),
        (
            "an invalid personal access token",
            format!("lkp_{}", "A".repeat(70)),
        ),
        ("a client secret", fixture.client.secret.clone()),
        ("a client with a rotated secret", of_rotated_client),
        ("a deleted client", of_deleted_client),
    ]
}

#[tokio::test]
async fn inactive_token_returns_no_other_field() {
    let fixture = Fixture::new().await;
    for (reason, token) in create_inactive_tokens(&fixture).await {
        assert!(!fixture.is_active(&token).await, "{reason}");
    }
    let personal = fixture.create_personal_token("items:read").await.1;
    let tokens = [
        fixture.session.access_token.clone(),
        open(&fixture.server, "john").await,
        personal,
    ];
    for token in &tokens {
        assert!(fixture.is_active(token).await);
    }
    let path = fixture.session.user_path();
    let disabled = json!({"disabled": true});
    fixture
        .server
        .with_token(Method::PATCH, &path, &fixture.admin.access_token, disabled)
        .await
        .is(200, "");
    for token in &tokens {
        assert!(
            !fixture.is_active(token).await,
            "a token of a disabled user"
        );
    }
}

#[tokio::test]
async fn introspection_requires_client_authentication() {
    let fixture = Fixture::new().await;
    let form = format!("token={}", fixture.session.access_token);
    let introspect = |parameters: &str| {
        fixture.form_request("/oauth/introspect", &format!("{form}{parameters}"))
    };
    let bearer = format!("Bearer {}", fixture.admin.access_token);
    let cases = [
        (introspect(""), 401, "invalid_client"),
        (introspect("&client_id=latchkey"), 401, "invalid_client"),
        (
            introspect(&format!(
                "&client_id={}&client_secret=wrong",
                fixture.client.id
            )),
            401,
            "invalid_client",
        ),
        (
            introspect("").header(header::AUTHORIZATION, bearer),
            401,
            "invalid_client",
        ),
        (
            fixture.form_request("/oauth/introspect", ""),
            400,
            "invalid_request",
        ),
        (
            fixture.form_request("/oauth/introspect", "token="),
            400,
            "invalid_request",
        ),
        (introspect(&format!("&{form}")), 400, "invalid_request"),
    ];
    for (request, status, error) in cases {
        assert_oauth_error(
            &fixture.server.send(request).await,
            status,
            error,
            "introspection",
        );
    }
}
