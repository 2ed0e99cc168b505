//! Tickets, and what they don't allow.

use reqwest::Method;
use serde_json::Value;

use super::{Browser, NAVIGATION, SHOP, WIKI, start};
use crate::{
    browser::aged,
    test_server::{ISSUER, PASSWORD, TestServer, claims},
    token_signer::{TokenSigner, with},
};

const EXPIRED: &str = "This sign-in link has expired, or your browser blocks cookies. Try again.";

/// Signs in, and returns the URL with the ticket, which the browser hasn't opened.
pub async fn callback_url(browser: &mut Browser<'_>, application: &str) -> String {
    let page = browser.open(&format!("{application}/dash?a=b")).await;
    let url = page.url.clone();
    if browser.cookie(ISSUER, "__Host-latchkey").is_none() {
        let state = url.split("state=").nth(1).expect("a state");
        let return_to = format!("{application}/dash?a=b");
        let form = [
            ("username", "john"),
            ("password", PASSWORD),
            ("return_to", return_to.as_str()),
            ("state", state),
        ];
        let sign_in = format!("{ISSUER}/sign-in");
        let response = browser
            .request(Method::POST, &sign_in, &NAVIGATION, &form)
            .await;
        let next = response.is(303, &[]).location().to_owned();
        let response = browser.request(Method::GET, &next, &NAVIGATION, &[]).await;
        return response.is(303, &[]).location().to_owned();
    }
    panic!("the browser is signed in already");
}

fn ticket_of(url: &str) -> &str {
    url.split_once("?ticket=").expect("a ticket").1
}

/// Signs a ticket with changed claims.
async fn changed(server: &TestServer, ticket: &str, name: &str, value: Value) -> String {
    let signer = TokenSigner::of(server).await;
    let header = with(&signer.header(), "typ", "latchkey-ticket+jwt".into());
    signer.sign_as(&header, &with(&claims(ticket), name, value).to_string())
}

#[tokio::test]
async fn ticket_contains_no_name_and_no_address() {
    let server = start().await;
    server.sign_up_with_email("jane", "jane@example.com").await;
    let mut browser = Browser::new(&[&server]);
    let url = callback_url(&mut browser, SHOP).await;
    let callback = format!("{SHOP}/.latchkey/callback?ticket=");
    assert!(url.starts_with(&callback), "{url}");
    let claims = claims(ticket_of(&url));
    for name in ["username", "email", "name"] {
        assert!(claims.get(name).is_none(), "{claims}");
    }
    assert_eq!(claims["aud"], format!("{SHOP}/.latchkey/"));
    assert_eq!(claims["path"], "/dash?a=b");
    let response = browser.request(Method::GET, &url, &NAVIGATION, &[]).await;
    assert_eq!(response.is(303, &[]).location(), format!("{SHOP}/dash?a=b"));
    assert_eq!(response.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let names = ["__Host-latchkey-app", "__Host-latchkey-nonce"];
    let mut set = response.set_cookies();
    set.sort_unstable();
    assert_eq!(set, names);
    // The same browser can present the ticket again.
    let again = browser.request(Method::GET, &url, &NAVIGATION, &[]).await;
    again.is(303, &[]);
}

#[tokio::test]
async fn ticket_is_rejected_elsewhere_later_and_after_sign_out() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    let url = callback_url(&mut browser, SHOP).await;
    let ticket = ticket_of(&url).to_owned();
    let mut other = Browser::new(&[&server]);
    open_callback(&mut other, SHOP, &ticket)
        .await
        .is(400, &[EXPIRED]);
    // Another browser with a nonce of its own.
    other.open(&format!("{SHOP}/")).await;
    open_callback(&mut other, SHOP, &ticket)
        .await
        .is(400, &[EXPIRED]);
    // The nonce of this browser at another application.
    let nonce = browser
        .cookie(SHOP, "__Host-latchkey-nonce")
        .expect("a nonce")
        .to_owned();
    browser.set_cookie(WIKI, "__Host-latchkey-nonce-8443", nonce);
    open_callback(&mut browser, WIKI, &ticket)
        .await
        .is(400, &[EXPIRED]);
    let now = claims(&ticket)["iat"].as_u64().expect("a time");
    for (name, value) in [
        ("exp", (now - 1).into()),
        ("iat", (now + 120).into()),
        ("iss", "https://other.example.com".into()),
        ("state", "x".into()),
        ("aud", format!("{WIKI}/.latchkey/").into()),
        ("generation", (-1).into()),
        ("unknown", "x".into()),
    ] {
        let forged = changed(&server, &ticket, name, value).await;
        open_callback(&mut browser, SHOP, &forged)
            .await
            .is(400, &[EXPIRED]);
    }
    let mut altered = ticket.clone();
    altered.replace_range(100..101, if &ticket[100..101] == "A" { "B" } else { "A" });
    open_callback(&mut browser, SHOP, &altered)
        .await
        .is(400, &[EXPIRED]);
    // At the issuer, and at an origin that is no application.
    let at_issuer = format!("{ISSUER}/.latchkey/callback?ticket={ticket}");
    browser_get(&mut browser, at_issuer).await.is(404, &[]);
    open_callback(&mut browser, "https://other.example.net", &ticket)
        .await
        .is(404, &[]);
    let page = browser.open(&format!("{ISSUER}/sign-out")).await;
    browser
        .submit(&page, &[])
        .await
        .is(200, &["You've been signed out."]);
    open_callback(&mut browser, SHOP, &ticket)
        .await
        .is(400, &[EXPIRED]);
}

async fn open_callback(
    browser: &mut Browser<'_>,
    application: &str,
    ticket: &str,
) -> super::Response {
    browser_get(
        browser,
        format!("{application}/.latchkey/callback?ticket={ticket}"),
    )
    .await
}

async fn browser_get(browser: &mut Browser<'_>, url: String) -> super::Response {
    browser.request(Method::GET, &url, &NAVIGATION, &[]).await
}

/// A ticket authenticates nothing but the callback.
#[tokio::test]
async fn ticket_is_no_credential() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    let url = callback_url(&mut browser, SHOP).await;
    let ticket = ticket_of(&url);
    for path in ["/user", "/auth/verify"] {
        let request = server.request(Method::GET, path).bearer_auth(ticket);
        server.send(request).await.is(401, "invalid_token");
    }
    let request = server
        .request(Method::GET, "/session")
        .header("cookie", format!("__Host-latchkey={ticket}"));
    server.send(request).await.is(401, "unauthenticated");
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    for path in [
        "",
        "callbacks",
        "callback/x",
        "sign-out/x",
        "sign-in",
        "..%2fuser",
    ] {
        let url = format!("{SHOP}/.latchkey/{path}");
        browser_get(&mut browser, url).await.is(404, &[]);
    }
    for path in ["callback", "sign-out"] {
        let url = format!("{SHOP}/.latchkey/{path}");
        let post = browser.request(Method::POST, &url, &NAVIGATION, &[]).await;
        post.is(404, &[]);
    }
}

/// The refusals of `return_to` in the flow of the pages.
#[tokio::test]
async fn ticket_is_issued_for_applications_only() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    let state = "a".repeat(43);
    for target in [
        "https://shop.example.net.evil.com/",
        "https://evil.example/",
        "https://shop.example.net@evil.com/",
        "https://shop.example.net:8443/",
        "https://wiki.example.org/",
        "http://shop.example.net/",
        "https://shop.example.net./",
        "https://shop.example.net%2eevil.com/",
        "//shop.example.net/",
        "https:shop.example.net",
        "https://shop.example.net/.latchkey/callback",
        "https://shop.example.net/%2elatchkey/sign-out",
        "javascript://shop.example.net/%0aalert(1)",
    ] {
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", target)
            .append_pair("state", &state)
            .finish();
        let response = browser_get(&mut browser, format!("{ISSUER}/sign-in?{query}")).await;
        assert_eq!(
            response.is(303, &[]).location(),
            format!("{ISSUER}/account"),
            "{target}"
        );
    }
    // Without a state, the application starts the sign-in again.
    let url = format!("{ISSUER}/sign-in?return_to=https%3A%2F%2Fshop.example.net%2Fdash");
    let response = browser_get(&mut browser, url).await;
    assert_eq!(response.is(303, &[]).location(), format!("{SHOP}/dash"));
}

/// An old session cookie that isn't expired issues a ticket with its own time of sign-in.
#[tokio::test]
async fn application_token_has_time_of_sign_in() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    let session = browser
        .cookie(ISSUER, "__Host-latchkey")
        .expect("a cookie")
        .to_owned();
    browser.set_cookie(ISSUER, "__Host-latchkey", aged(&server, &session, 60).await);
    browser
        .open(&format!("{WIKI}/"))
        .await
        .is(200, &["for john"]);
    let token = browser
        .cookie(WIKI, "__Host-latchkey-app-8443")
        .expect("a cookie");
    let (application, session) = (claims(token), claims(&session));
    for name in [
        "sid",
        "sub",
        "auth_time",
        "session_exp",
        "generation",
        "scope",
    ] {
        assert_eq!(application[name], session[name], "{name}");
    }
    assert_eq!(application["client_id"], "latchkey-app");
    let lifetime = application["exp"].as_u64().zip(application["iat"].as_u64());
    assert_eq!(lifetime.map(|(exp, iat)| exp - iat), Some(3_600));
}
