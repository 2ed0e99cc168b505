//! The signed identity, as an upstream checks it.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::RequestBuilder;
use serde_json::Value;

use super::{ask, identity};
use crate::{
    test_server::{Session, TestServer},
    token_signer::TokenSigner,
};

const ON: (&str, &str) = ("LATCHKEY_IDENTITY_ASSERTIONS", "yes");

fn about(server: &TestServer, session: &Session, host: &str) -> RequestBuilder {
    by_balancer(server, session, host).header("x-forwarded-method", "GET")
}

/// Who hands on what anybody asks, and says of no original request what it was.
fn by_balancer(server: &TestServer, session: &Session, host: &str) -> RequestBuilder {
    let request = ask(server, "").bearer_auth(&session.access_token);
    request
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", host)
}

async fn assertion(request: RequestBuilder, server: &TestServer) -> String {
    identity(server.send(request).await.is(204, ""))[8].clone()
}

/// Header and claims, if the gateway's key signed them.
fn open(forge: &TokenSigner, token: &str) -> (Value, Value) {
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).expect("base64url");
    let key = UnparsedPublicKey::new(&ED25519, forge.public());
    key.verify(message.as_bytes(), &decode(signature))
        .expect("it is signed");
    let (header, claims) = message.split_once('.').expect("three parts");
    let read = |part: &str| serde_json::from_slice(&decode(part)).expect("JSON");
    (read(header), read(claims))
}

#[tokio::test]
async fn it_is_for_one_upstream_and_for_a_minute() {
    let server = TestServer::with(&[ON]).await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    let forge = TokenSigner::of(&server).await;
    let token = assertion(about(&server, &session, "App.example.com:443"), &server).await;
    let (header, said) = open(&forge, &token);
    assert_eq!(
        (header["typ"].as_str(), header["kid"].as_str()),
        (Some("JWT"), Some(forge.kid.as_str()))
    );
    assert_eq!(
        (said["iss"].as_str(), said["aud"].as_str()),
        (
            Some("https://auth.example.com"),
            Some("https://app.example.com")
        )
    );
    let claims = session.claims();
    for same in [
        "sub",
        "sid",
        "client_id",
        "scope",
        "roles",
        "username",
        "email",
        "email_verified",
    ] {
        assert_eq!(said[same], claims[same], "{same}");
    }
    let (from, to) = (
        said["iat"].as_u64().expect("seconds"),
        said["exp"].as_u64().expect("seconds"),
    );
    assert!(to > from && to - from <= 60, "{said}");
    let other = assertion(about(&server, &session, "other.example.com"), &server).await;
    assert_eq!(open(&forge, &other).1["aud"], "https://other.example.com");
    let jane = server.sign_up("jane").await;
    let hers = assertion(about(&server, &jane, "app.example.com"), &server).await;
    assert_eq!(open(&forge, &hers).1["sub"], jane.claims()["sub"]);
}

/// Most of a hundred questions fall into one half of a life, and all of them into two.
#[tokio::test]
async fn it_is_not_signed_for_every_request() {
    let server = TestServer::with(&[ON]).await;
    let session = server.sign_up("john").await;
    let mut seen = std::collections::HashSet::new();
    for _ in 0..100 {
        seen.insert(assertion(about(&server, &session, "app.example.com"), &server).await);
    }
    assert!(
        (1..=3).contains(&seen.len()) && !seen.contains(""),
        "{}",
        seen.len()
    );
}

#[tokio::test]
async fn without_a_setting_a_host_or_a_trusted_proxy_there_is_none() {
    let off = TestServer::start().await;
    let session = off.sign_up("john").await;
    assert_eq!(
        assertion(about(&off, &session, "app.example.com"), &off).await,
        ""
    );
    let on = off.replica_with(&[ON]).await;
    assert_ne!(
        assertion(about(&on, &session, "app.example.com"), &on).await,
        ""
    );
    assert_eq!(
        assertion(ask(&on, "").bearer_auth(&session.access_token), &on).await,
        ""
    );
    assert_eq!(
        assertion(by_balancer(&on, &session, "app.example.com"), &on).await,
        ""
    );
    for bad in [
        "",
        "evil.example, app.example.com",
        "app.example.com/",
        "a@app.example.com",
    ] {
        assert_eq!(assertion(about(&on, &session, bad), &on).await, "", "{bad}");
    }
    let twice = about(&on, &session, "app.example.com").header("x-forwarded-host", "evil.example");
    assert_eq!(assertion(twice, &on).await, "");
    let strict = off
        .replica_with(&[ON, ("LATCHKEY_TRUSTED_PROXIES", "none")])
        .await;
    assert_eq!(
        assertion(about(&strict, &session, "app.example.com"), &strict).await,
        ""
    );
}

/// Also where both are for the same audience.
#[tokio::test]
async fn it_is_no_access_token() {
    let server = TestServer::with(&[ON, ("LATCHKEY_AUDIENCE", "https://app.example.com")]).await;
    let session = server.sign_up("john").await;
    let token = assertion(about(&server, &session, "app.example.com"), &server).await;
    let (header, said) = open(&TokenSigner::of(&server).await, &token);
    assert_eq!(
        (said["aud"].as_str(), header["typ"].as_str()),
        (Some("https://app.example.com"), Some("JWT"))
    );
    assert_eq!(server.verify(&token).await, (401, "invalid_token".into()));
    let by_cookie = ask(&server, "").header("cookie", format!("__Host-latchkey={token}"));
    server
        .send(by_cookie.header("x-forwarded-method", "GET"))
        .await
        .is(401, "invalid_token");
    let (header, _) = open(&TokenSigner::of(&server).await, &session.access_token);
    assert_eq!(
        header["typ"], "at+jwt",
        "and the other way round whoever wants a JWT gets none"
    );
}
