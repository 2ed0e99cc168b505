//! The pages `/sign-in`, `/sign-out`, and `/account`.

use reqwest::Method;

use super::Browser;
use crate::{
    browser::NAME,
    proxy::{ConnectionState, Proxy},
    test_server::{ISSUER, PASSWORD, TestServer},
    test_stores::{execute, fresh_database},
};

const SIGNED_IN: &str = "/sign-in?signed_in=1";

#[tokio::test]
async fn user_signs_in_and_out() {
    let server = TestServer::shared().await;
    let replica = server.replica().await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&server);
    browser.get("/").await.is(200, &["href=\"/sign-in\""]);
    let page = browser.get("/sign-in").await;
    page.is(200, &["<h1>Sign in</h1>", "Forgot your password?"]);
    // White space around a name is ignored.
    let fields = [("username", " john "), ("password", PASSWORD)];
    browser.post("/sign-in", &fields).await.leads_to(SIGNED_IN);
    browser.get(SIGNED_IN).await.leads_to("/account");
    browser.get("/account").await.is(200, &["john"]);
    browser.get("/sign-in").await.leads_to("/account");
    browser.get("/").await.leads_to("/account");

    let cookie = browser.session_cookie().expect("a cookie").to_owned();
    browser
        .get("/sign-out")
        .await
        .is(200, &["<button>Sign out"]);
    assert!(browser.session_cookie().is_some(), "GET changes nothing");
    let signed_out = browser.post("/sign-out", &[]).await;
    signed_out.is(200, &["You&#39;ve been signed out."]);
    assert_eq!(browser.session_cookie(), None);
    for server in [&server, &replica] {
        let request = server
            .request(Method::GET, "/session")
            .header("cookie", format!("{NAME}={cookie}"));
        server.send(request).await.is(401, "unauthenticated");
    }
    browser
        .get("/account")
        .await
        .leads_to(&format!("/sign-in?return_to={}", encoded("/account")));
}

/// Returns the URL of a page as a value in a query.
fn encoded(path: &str) -> String {
    let url = format!("{ISSUER}{path}");
    url.replace(':', "%3A").replace('/', "%2F")
}

#[tokio::test]
async fn sign_in_returns_to_page_of_server_only() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let page = format!("{ISSUER}/account/sessions?a=b");
    for (return_to, location, is_rejected) in [
        (page.as_str(), "/account/sessions?a=b", false),
        ("https://evil.example/account", "/account", true),
        ("//evil.example", "/account", true),
        ("/account", "/account", true),
        ("javascript://auth.example.com/account", "/account", true),
    ] {
        let mut browser = Browser::new(&server);
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("return_to", return_to)
            .finish();
        let form = browser.get(&format!("/sign-in?{query}")).await;
        let note = "We can&#39;t return you to the page you came from.";
        assert_eq!(form.text.contains(note), is_rejected, "{return_to}");
        let fields = [
            ("username", "john"),
            ("password", PASSWORD),
            // A page of an attacker can't send the form, but its link can open the page.
            ("return_to", return_to),
        ];
        let response = browser.post("/sign-in", &fields).await;
        let next = response.location().to_owned();
        browser.get(&next).await.leads_to(location);
    }
}

#[tokio::test]
async fn failed_sign_in_shows_form_again() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    server.sign_up("disabled").await;
    let disable = "update users set disabled = true where username = 'disabled'";
    execute(&server, disable).await;
    let mut browser = Browser::new(&server);
    let long = "x".repeat(2_000);
    for (username, password) in [
        ("john", "not the password"),
        ("unknown", PASSWORD),
        ("disabled", PASSWORD),
        (long.as_str(), PASSWORD),
        ("john", long.as_str()),
        ("a\u{0}b", PASSWORD),
    ] {
        let fields = [("username", username), ("password", password)];
        let page = browser.post("/sign-in", &fields).await;
        page.is(
            422,
            &[
                "<title>Error: Sign in · Latchkey</title>",
                "role=\"alert\" tabindex=\"-1\" autofocus",
                "Incorrect username or password.",
            ],
        );
        assert!(!page.text.contains(password), "the password isn't repeated");
        assert_eq!(browser.session_cookie(), None);
    }
    let fields = [("username", "<b>john\"</b>"), ("password", "")];
    let page = browser.post("/sign-in", &fields).await;
    page.is(
        422,
        &[
            "Enter a value.",
            "<a href=\"#password\">",
            "aria-describedby=\"password-error\"",
            "id=\"password-error\"",
        ],
    );
    assert_eq!(page.value("username"), "&#60;b&#62;john&#34;&#60;/b&#62;");
}

#[tokio::test]
async fn rate_limited_sign_in_says_when_to_try_again() {
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_IN", "1/1h"),
    ])
    .await;
    let mut browser = Browser::new(&server);
    let fields = [("username", "john"), ("password", "wrong password")];
    browser.post("/sign-in", &fields).await.is(422, &[]);
    let page = browser.post("/sign-in", &fields).await;
    page.is(429, &["Too many attempts. Try again in 60 minutes."]);
    assert!(page.headers.contains_key("retry-after"));
}

/// The previous session of the browser ends, also that of another user, so that the next user of
/// this browser doesn't continue as the first one.
#[tokio::test]
async fn second_sign_in_ends_previous_session() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    server.sign_up("mary").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("john", PASSWORD).await;
    let previous = browser.session_cookie().expect("a cookie").to_owned();
    browser.sign_in("mary", PASSWORD).await;
    let request = server
        .request(Method::GET, "/session")
        .header("cookie", format!("{NAME}={previous}"));
    server.send(request).await.is(401, "unauthenticated");
    browser.get("/account").await.is(200, &["mary"]);
}

/// Without a cookie after a successful sign-in, another redirect would be a loop.
#[tokio::test]
async fn browser_without_cookies_gets_an_explanation() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&server);
    let fields = [("username", "john"), ("password", PASSWORD)];
    let response = browser.post("/sign-in", &fields).await;
    let location = response.leads_to(SIGNED_IN).location().to_owned();
    let mut without_cookies = Browser::new(&server);
    without_cookies
        .get(&location)
        .await
        .is(200, &["Your browser didn&#39;t store the cookie."]);
}

#[tokio::test]
async fn unavailable_store_is_explained_and_keeps_the_cookie() {
    let proxy = Proxy::to_postgres().await;
    let url = proxy.postgres_url(&fresh_database().await);
    let changes = [
        ("DATABASE_URL", url.as_str()),
        ("LATCHKEY_DATABASE_TIMEOUT", "1s"),
    ];
    let server = TestServer::with(&changes).await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("john", PASSWORD).await;
    proxy.set(ConnectionState::Cut);
    let mut other = Browser::new(&server);
    let fields = [("username", "john"), ("password", PASSWORD)];
    let page = other.post("/sign-in", &fields).await;
    page.is(
        503,
        &["We can&#39;t sign you in right now. Your password wasn&#39;t checked."],
    );
    assert!(page.headers.contains_key("retry-after"));
    let page = browser.get("/account").await;
    page.is(503, &["Try again in a few seconds."]);
    let page = browser.post("/sign-out", &[]).await;
    page.is(503, &["We couldn&#39;t sign you out. Try again."]);
    assert!(browser.session_cookie().is_some(), "the cookie stays");
}
