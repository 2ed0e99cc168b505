//! Identity assertions, verified like an application does.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::RequestBuilder;
use serde_json::Value;

use super::{check_request, identity};
use crate::{
    test_server::{Session, TestServer},
    test_stores::execute,
    token_signer::TokenSigner,
};

const ASSERTIONS_ENABLED: (&str, &str) = ("LATCHKEY_IDENTITY_ASSERTIONS", "yes");

/// A check for a host, with the method of the original request.
fn forwarded_request(server: &TestServer, session: &Session, host: &str) -> RequestBuilder {
    balanced_request(server, session, host).header("x-forwarded-method", "GET")
}

/// A check as a load balancer forwards it, without the method of an original request.
fn balanced_request(server: &TestServer, session: &Session, host: &str) -> RequestBuilder {
    let request = check_request(server, "").bearer_auth(&session.access_token);
    request
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", host)
}

async fn assertion(request: RequestBuilder, server: &TestServer) -> String {
    identity(server.send(request).await.is(204, ""))[9].clone()
}

/// Verifies the signature with the server's key, and returns header and claims.
fn verify_assertion(signer: &TokenSigner, token: &str) -> (Value, Value) {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let key = UnparsedPublicKey::new(&ED25519, signer.public());
    key.verify(message.as_bytes(), &decode(signature))
        .expect("a valid signature");
    let (header, claims) = message.split_once('.').expect("three parts");
    let parse = |part: &str| serde_json::from_slice(&decode(part)).expect("JSON");
    (parse(header), parse(claims))
}

#[tokio::test]
async fn assertion_is_for_one_application_and_one_minute() {
    let server = TestServer::with(&[ASSERTIONS_ENABLED]).await;
    server.sign_up_with_email("john", "john@example.com").await;
    execute(&server, "update users set email_verified = true").await;
    let session = server.sign_in("john").await;
    let signer = TokenSigner::of(&server).await;
    let token = assertion(
        forwarded_request(&server, &session, "App.example.com:443"),
        &server,
    )
    .await;
    let (header, claims) = verify_assertion(&signer, &token);
    assert_eq!(
        (header["typ"].as_str(), header["kid"].as_str()),
        (Some("JWT"), Some(signer.kid.as_str()))
    );
    assert_eq!(
        (claims["iss"].as_str(), claims["aud"].as_str()),
        (
            Some("https://auth.example.com"),
            Some("https://app.example.com")
        )
    );
    let token_claims = session.claims();
    for claim in [
        "sub",
        "sid",
        "client_id",
        "scope",
        "roles",
        "username",
        "email",
        "email_verified",
    ] {
        assert_eq!(claims[claim], token_claims[claim], "{claim}");
    }
    let (issued_at, expires_at) = (
        claims["iat"].as_u64().expect("seconds"),
        claims["exp"].as_u64().expect("seconds"),
    );
    assert!(
        expires_at > issued_at && expires_at - issued_at <= 60,
        "{claims}"
    );
    let assertion_for_other_host = assertion(
        forwarded_request(&server, &session, "other.example.com"),
        &server,
    )
    .await;
    assert_eq!(
        verify_assertion(&signer, &assertion_for_other_host).1["aud"],
        "https://other.example.com"
    );
    let other_user = server.sign_up("jane").await;
    let other_assertion = assertion(
        forwarded_request(&server, &other_user, "app.example.com"),
        &server,
    )
    .await;
    assert_eq!(
        verify_assertion(&signer, &other_assertion).1["sub"],
        other_user.claims()["sub"]
    );
}

/// An assertion is reused for half of its lifetime, so 100 checks need few signatures.
#[tokio::test]
async fn assertion_is_reused() {
    let server = TestServer::with(&[ASSERTIONS_ENABLED]).await;
    let session = server.sign_up("john").await;
    let mut assertions = std::collections::HashSet::new();
    for _ in 0..100 {
        assertions.insert(
            assertion(
                forwarded_request(&server, &session, "app.example.com"),
                &server,
            )
            .await,
        );
    }
    assert!(
        (1..=3).contains(&assertions.len()) && !assertions.contains(""),
        "{}",
        assertions.len()
    );
}

#[tokio::test]
async fn assertion_requires_setting_host_and_trusted_proxy() {
    let disabled = TestServer::start().await;
    let session = disabled.sign_up("john").await;
    assert_eq!(
        assertion(
            forwarded_request(&disabled, &session, "app.example.com"),
            &disabled
        )
        .await,
        ""
    );
    let enabled = disabled.replica_with(&[ASSERTIONS_ENABLED]).await;
    assert_ne!(
        assertion(
            forwarded_request(&enabled, &session, "app.example.com"),
            &enabled
        )
        .await,
        ""
    );
    assert_eq!(
        assertion(
            check_request(&enabled, "").bearer_auth(&session.access_token),
            &enabled
        )
        .await,
        ""
    );
    assert_eq!(
        assertion(
            balanced_request(&enabled, &session, "app.example.com"),
            &enabled
        )
        .await,
        ""
    );
    for host in [
        "",
        "app.example.com,",
        "app.example.com/",
        "a@app.example.com",
    ] {
        assert_eq!(
            assertion(forwarded_request(&enabled, &session, host), &enabled).await,
            "",
            "{host}"
        );
    }
    let two_hosts = forwarded_request(&enabled, &session, "app.example.com")
        .header("x-forwarded-host", "evil.example");
    enabled.send(two_hosts).await.is(400, "invalid_request");
    let without_trusted_proxy = disabled
        .replica_with(&[ASSERTIONS_ENABLED, ("LATCHKEY_TRUSTED_PROXIES", "none")])
        .await;
    assert_eq!(
        assertion(
            forwarded_request(&without_trusted_proxy, &session, "app.example.com"),
            &without_trusted_proxy
        )
        .await,
        ""
    );
}

/// An access token and an assertion with the same audience must stay distinguishable.
#[tokio::test]
async fn assertion_is_not_accepted_as_access_token() {
    let server = TestServer::with(&[
        ASSERTIONS_ENABLED,
        ("LATCHKEY_AUDIENCE", "https://app.example.com"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let token = assertion(
        forwarded_request(&server, &session, "app.example.com"),
        &server,
    )
    .await;
    let (header, claims) = verify_assertion(&TokenSigner::of(&server).await, &token);
    assert_eq!(
        (claims["aud"].as_str(), header["typ"].as_str()),
        (Some("https://app.example.com"), Some("JWT"))
    );
    assert_eq!(server.verify(&token).await, (401, "invalid_token".into()));
    let by_cookie = check_request(&server, "").header("cookie", format!("__Host-latchkey={token}"));
    server
        .send(by_cookie.header("x-forwarded-method", "GET"))
        .await
        .is(401, "invalid_token");
    let (header, _) = verify_assertion(&TokenSigner::of(&server).await, &session.access_token);
    assert_eq!(
        header["typ"], "at+jwt",
        "an access token isn't accepted as an assertion"
    );
}

/// An application that ignores `email_verified` must not trust an address that any user can enter.
#[tokio::test]
async fn unverified_email_is_not_asserted() {
    let server = TestServer::with(&[ASSERTIONS_ENABLED]).await;
    let email = "john@example.com";
    let unverified = server.sign_up_with_email("john", email).await;
    execute(&server, "update users set email_verified = true").await;
    let verified = server.sign_in("john").await;
    let signer = TokenSigner::of(&server).await;
    for (session, address, is_verified) in [(&unverified, "", "false"), (&verified, email, "true")]
    {
        // The token contains the address in both cases, with `email_verified`.
        assert_eq!(session.claims()["email"], email);
        let request = || forwarded_request(&server, session, "app.example.com");
        let response = server.send(request()).await;
        assert_eq!(response.header("x-auth-email"), address);
        assert_eq!(response.header("x-auth-email-verified"), is_verified);
        let (_, claims) = verify_assertion(&signer, &assertion(request(), &server).await);
        assert_eq!(claims["email"].as_str().unwrap_or_default(), address);
    }
}
