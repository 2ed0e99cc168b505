//! `POST /oauth/introspect`: what is good is told, and anything else is exactly `{"active":
//! false}`.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{Client, Fixture, is_refusal};
use crate::{
    browser::open,
    test_stores::execute,
    token_signer::{TokenSigner, with, without},
};

#[tokio::test]
async fn what_is_good_is_told_with_all_that_it_says() {
    let fixture = Fixture::new().await;
    let claims = fixture.john.claims();
    let told = fixture
        .client
        .introspect(&fixture.server, &fixture.john.access_token)
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
    assert_eq!(told, expected);
    let token = fixture.client.token(&fixture.server).await;
    let told = fixture.client.introspect(&fixture.server, &token).await;
    assert_eq!(
        (&told["sub"], &told["client_id"]),
        (&json!(fixture.client.id), &json!(fixture.client.id))
    );
    assert_eq!((told.get("sid"), told.get("username")), (None, None));
    let (id, personal) = fixture.personal("items:read").await;
    let told = fixture.client.introspect(&fixture.server, &personal).await;
    assert_eq!(
        (&told["jti"], &told["scope"], &told["sub"]),
        (&json!(id), &json!("items:read"), &claims["sub"])
    );
    assert!(
        fixture
            .is_active(&open(&fixture.server, "john").await)
            .await
    );
    // Another client's, and whatever a hint says.
    let other = Client::register(&fixture.server, &fixture.admin, "items:read").await;
    assert!(fixture.is_active(&other.token(&fixture.server).await).await);
    for hint in ["access_token", "refresh_token", "something"] {
        let form = fixture.client.form(&[
            ("token", &fixture.john.access_token),
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

/// Tokens that are not good, each for another reason.
async fn bad(fixture: &Fixture) -> Vec<(&'static str, String)> {
    let (server, admin) = (&fixture.server, &fixture.admin.access_token);
    let (forge, claims) = (TokenSigner::of(server).await, fixture.john.claims());
    let now = claims["iat"].as_u64().expect("seconds");
    let signed_out = server.sign_in("john").await;
    server.log_out(&signed_out.access_token).await.is(204, "");
    let given_back = server.sign_in("john").await.access_token;
    server
        .form("/oauth/revoke", &[("token", &given_back)])
        .await
        .is(200, "");
    let (id, deleted) = fixture.personal("items:read").await;
    let path = format!("/user/tokens/{id}");
    server
        .with_token(
            Method::DELETE,
            &path,
            &fixture.john.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    let (id, over) = fixture.personal("items:read").await;
    execute(
        server,
        &format!("update personal_access_tokens set expires_at = now() where id = '{id}'"),
    )
    .await;
    let (rotated, gone) = (
        Client::register(server, &fixture.admin, "items:read").await,
        Client::register(server, &fixture.admin, "items:read").await,
    );
    let (of_rotated, of_gone) = (rotated.token(server).await, gone.token(server).await);
    let path = format!("/clients/{}/rotate", rotated.id);
    server
        .with_token(Method::POST, &path, admin, Value::Null)
        .await
        .is(200, "");
    server
        .with_token(
            Method::DELETE,
            &format!("/clients/{}", gone.id),
            admin,
            Value::Null,
        )
        .await
        .is(204, "");
    let body =
        json!({"name": "b", "scope": "items:read", "audience": "https://billing.example.com"});
    let of_others = Client::register_as(server, &fixture.admin, body)
        .await
        .token(server)
        .await;
    vec![
        ("for another audience, of which it is not", of_others),
        ("garbage", "garbage".into()),
        ("three parts of nothing", "a.b.c".into()),
        ("a refresh token", fixture.john.refresh_token.clone()),
        ("expired", forge.sign(&with(&claims, "exp", json!(now)))),
        (
            "not yet",
            forge.sign(&with(&claims, "nbf", json!(now + 3600))),
        ),
        (
            "another issuer",
            forge.sign(&with(&claims, "iss", json!("https://other.example.com"))),
        ),
        (
            "half a session",
            forge.sign(&without(&claims, "session_exp")),
        ),
        ("another key", forge.stranger().sign(&claims)),
        (
            "another type",
            forge.sign_as(
                &with(&forge.header(), "typ", json!("JWT")),
                &claims.to_string(),
            ),
        ),
        ("of a session that ended", signed_out.access_token),
        ("given back", given_back),
        ("a personal one that was deleted", deleted),
        ("a personal one that is over", over),
        (
            "a personal one that is none",
            format!("lkp_{}", "A".repeat(70)),
        ),
        ("a client's secret", fixture.client.secret.clone()),
        ("of a client with another secret", of_rotated),
        ("of a client that is gone", of_gone),
    ]
}

#[tokio::test]
async fn what_is_not_good_is_told_as_nothing_but_that() {
    let fixture = Fixture::new().await;
    for (name, token) in bad(&fixture).await {
        assert!(!fixture.is_active(&token).await, "{name}");
    }
    let personal = fixture.personal("items:read").await.1;
    let tokens = [
        fixture.john.access_token.clone(),
        open(&fixture.server, "john").await,
        personal,
    ];
    for token in &tokens {
        assert!(fixture.is_active(token).await);
    }
    let path = fixture.john.user_path();
    let disabled = json!({"disabled": true});
    fixture
        .server
        .with_token(Method::PATCH, &path, &fixture.admin.access_token, disabled)
        .await
        .is(200, "");
    for token in &tokens {
        assert!(
            !fixture.is_active(token).await,
            "of somebody who is disabled"
        );
    }
}

#[tokio::test]
async fn only_registered_clients_may_look() {
    let fixture = Fixture::new().await;
    let form = format!("token={}", fixture.john.access_token);
    let ask = |more: &str| fixture.raw("/oauth/introspect", &format!("{form}{more}"));
    let bearer = format!("Bearer {}", fixture.admin.access_token);
    let refused = [
        (ask(""), 401, "invalid_client"),
        (ask("&client_id=latchkey"), 401, "invalid_client"),
        (
            ask(&format!(
                "&client_id={}&client_secret=wrong",
                fixture.client.id
            )),
            401,
            "invalid_client",
        ),
        (
            ask("").header(header::AUTHORIZATION, bearer),
            401,
            "invalid_client",
        ),
        (fixture.raw("/oauth/introspect", ""), 400, "invalid_request"),
        (
            fixture.raw("/oauth/introspect", "token="),
            400,
            "invalid_request",
        ),
        (ask(&format!("&{form}")), 400, "invalid_request"),
    ];
    for (request, status, error) in refused {
        is_refusal(
            &fixture.server.send(request).await,
            status,
            error,
            "introspection",
        );
    }
}
