//! Where an application cookie is accepted.

use reqwest::Method;
use serde_json::{Value, json};

use super::{Browser, NAVIGATION, SHOP, WIKI, start};
use crate::{
    test_server::{TestServer, claims},
    token_signer::{TokenSigner, with},
};

const NAME: &str = "__Host-latchkey-app";

async fn application_token(server: &TestServer) -> String {
    let mut browser = Browser::new(&[server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    browser.cookie(SHOP, NAME).expect("a cookie").to_owned()
}

/// Signs an application token again with changed times.
pub async fn aged(server: &TestServer, token: &str, seconds: u64) -> String {
    let mut claims = claims(token);
    for time in ["iat", "nbf", "exp"] {
        claims[time] = json!(claims[time].as_u64().expect("a time") - seconds);
    }
    claims["jti"] = json!(uuid::Uuid::new_v4());
    let signer = TokenSigner::of(server).await;
    let header = with(&signer.header(), "typ", "latchkey-app+jwt".into());
    signer.sign_as(&header, &claims.to_string())
}

/// The operations of the API, with their methods and paths.
fn operations() -> Vec<(Method, String)> {
    let document: Value =
        serde_json::from_str(include_str!("../../../openapi/latchkey.json")).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let methods = |(path, operations): (&String, &Value)| {
        let methods = operations.as_object().expect("operations").keys();
        let path = path.replace("{", "").replace("}", "");
        methods
            .filter_map(|method| method.to_uppercase().parse().ok())
            .map(|method| (method, path.clone()))
            .collect::<Vec<_>>()
    };
    paths.iter().flat_map(methods).collect()
}

/// The token is cached after an accepted check, and still nothing else accepts it.
#[tokio::test]
async fn api_rejects_application_cookie() {
    let server = start().await;
    let token = application_token(&server).await;
    for is_cached in [false, true] {
        if is_cached {
            let mut browser = Browser::new(&[&server]);
            browser.set_cookie(SHOP, NAME, token.clone());
            browser
                .open(&format!("{SHOP}/"))
                .await
                .is(200, &["for john"]);
        }
        for (method, path) in operations() {
            let is_public = |status: u16| ![200, 201, 202, 204].contains(&status);
            let request = server
                .request(method.clone(), &path)
                .header("x-latchkey-request", "1")
                .header("sec-fetch-site", "same-origin");
            let without = server.send(request.try_clone().expect("no body")).await;
            for credential in [
                request.try_clone().expect("no body").bearer_auth(&token),
                request
                    .try_clone()
                    .expect("no body")
                    .header("cookie", format!("__Host-latchkey={token}")),
                request
                    .try_clone()
                    .expect("no body")
                    .header("cookie", format!("{NAME}={token}")),
            ] {
                let with = server.send(credential).await;
                assert!(
                    is_public(with.status) || with.status == without.status,
                    "{method} {path}: {} → {}",
                    without.status,
                    with.status
                );
            }
        }
        let bearer = server.request(Method::GET, "/user").bearer_auth(&token);
        server.send(bearer).await.is(401, "invalid_token");
    }
}

#[tokio::test]
async fn only_checks_of_its_application_accept_the_cookie() {
    let server = start().await;
    let token = application_token(&server).await;
    let check = |fields: &[(&str, &str)]| {
        let request = server.request(Method::GET, "/auth/verify");
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        server.send(request)
    };
    let cookie = format!("{NAME}={token}");
    let other_port = format!("{NAME}-8443={token}");
    let shop = [
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "shop.example.net"),
    ];
    let with = |fields: &[(&'static str, &'static str)], cookie: &str| {
        let fields = fields.to_vec();
        let cookie = cookie.to_owned();
        let check = &check;
        async move {
            let mut fields: Vec<(&str, &str)> = fields;
            fields.push(("cookie", &cookie));
            check(&fields).await
        }
    };
    with(&shop, &cookie).await.is(204, "");
    with(
        &[shop.as_slice(), &[("sec-fetch-mode", "cors")]].concat(),
        &cookie,
    )
    .await
    .is(204, "");
    // Without the proxy's fields, at another application, or with another scheme or host.
    let at = |scheme, host| {
        vec![
            ("x-forwarded-method", "GET"),
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", host),
        ]
    };
    for (fields, cookie) in [
        (vec![], &cookie),
        (vec![("x-forwarded-method", "GET")], &cookie),
        (at("http", "shop.example.net"), &cookie),
        (at("https", "shop.example.net."), &cookie),
        (at("https", "shop.example.net:8443"), &other_port),
        (at("https", "wiki.example.org:8443"), &other_port),
        (at("https", "auth.example.com"), &cookie),
    ] {
        let response = with(&fields, cookie).await;
        assert_eq!(response.status, 401, "{fields:?}");
    }
    // A request that changes something requires the origin of the application.
    for (origin, status) in [
        (None, 403),
        (Some("https://evil.example"), 403),
        (Some("https://wiki.example.org:8443"), 403),
        (Some(SHOP), 204),
    ] {
        let mut fields = vec![
            ("x-forwarded-method", "POST"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "shop.example.net"),
            ("cookie", cookie.as_str()),
        ];
        fields.extend(origin.map(|origin| ("origin", origin)));
        assert_eq!(check(&fields).await.status, status, "{origin:?}");
    }
}

/// A service that introspects tokens of any audience must not accept it.
#[tokio::test]
async fn introspection_and_revocation_ignore_application_tokens() {
    let server = start().await;
    let token = application_token(&server).await;
    let admin = server.admin("admin").await;
    let body = json!({
        "name": "introspection",
        "scope": "items:read",
        "audience": "https://auth.example.com https://shop.example.net",
    });
    let request = server
        .request(Method::POST, "/clients")
        .bearer_auth(&admin.access_token)
        .json(&body);
    let client = server.send(request).await;
    client.is(201, "");
    let (id, secret) = (client.text("client_id"), client.text("client_secret"));
    let mut browser = Browser::new(&[&server]);
    browser.set_cookie(SHOP, NAME, token.clone());
    browser
        .open(&format!("{SHOP}/"))
        .await
        .is(200, &["for john"]);
    let post = |path: &str| {
        let request = server.request(Method::POST, path);
        let form = [("token", token.as_str())];
        server.send(request.basic_auth(&id, Some(&secret)).form(&form))
    };
    let introspected = post("/oauth/introspect").await;
    introspected.is(200, "");
    assert_eq!(introspected.body, json!({"active": false}));
    post("/oauth/revoke").await.is(200, "");
    browser
        .open(&format!("{SHOP}/"))
        .await
        .is(200, &["for john"]);
}

#[tokio::test]
async fn bearer_token_takes_precedence() {
    let server = start().await;
    let token = application_token(&server).await;
    let jane = server.sign_up("jane").await;
    for (authorization, username) in [(None, "john"), (Some(&jane.access_token), "jane")] {
        let mut browser = Browser::new(&[&server]);
        browser.set_cookie(SHOP, NAME, token.clone());
        let field = authorization.map(|token| format!("Bearer {token}"));
        let fields: Vec<(&str, &str)> = field
            .iter()
            .map(|field| ("authorization", field.as_str()))
            .collect();
        let response = browser
            .request(Method::GET, &format!("{SHOP}/"), &fields, &[])
            .await;
        response.is(200, &[&format!("for {username}")]);
    }
}

/// An application cookie is renewed from a quarter of its lifetime on, and never set otherwise.
#[tokio::test]
async fn use_renews_the_cookie() {
    let server = start().await;
    let token = application_token(&server).await;
    for (age, is_renewed) in [(0, false), (800, false), (1_000, true), (3_500, true)] {
        let mut browser = Browser::new(&[&server]);
        browser.set_cookie(SHOP, NAME, aged(&server, &token, age).await);
        let response = browser.fetch(&format!("{SHOP}/")).await;
        response.is(200, &["for john"]);
        let expected: &[&str] = if is_renewed { &[NAME] } else { &[] };
        assert_eq!(response.set_cookies(), expected, "{age}");
        if is_renewed {
            let renewed = claims(browser.cookie(SHOP, NAME).expect("a cookie"));
            let old = claims(&token);
            for name in ["sid", "aud", "client_id", "auth_time", "session_exp"] {
                assert_eq!(renewed[name], old[name], "{name}");
            }
            browser
                .open(&format!("{SHOP}/"))
                .await
                .is(200, &["for john"]);
        }
    }
    let mut browser = Browser::new(&[&server]);
    browser.set_cookie(SHOP, NAME, aged(&server, &token, 3_601).await);
    let expired = browser
        .request(Method::GET, &format!("{SHOP}/"), &NAVIGATION, &[])
        .await;
    assert!(
        expired
            .is(302, &[])
            .location()
            .contains("/sign-in?return_to=")
    );
    assert!(browser.cookie(WIKI, NAME).is_none());
}
