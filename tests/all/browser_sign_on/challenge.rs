//! Which requests of a signed-out browser lead to the sign-in page.

use reqwest::{Method, redirect::Policy};

use super::{APPLICATIONS, Browser, NAVIGATION, SHOP, WIKI, start};
use crate::{
    browser::NAME,
    test_server::{ISSUER, TestServer},
};

const NONCE: &str = "__Host-latchkey-nonce";

type Fields = &'static [(&'static str, &'static str)];

/// Requests that get 401 without a redirect and without a cookie.
const NO_NAVIGATION: [(&str, Fields); 9] = [
    (
        "GET",
        &[
            ("sec-fetch-mode", "cors"),
            ("sec-fetch-dest", "empty"),
            ("accept", "text/html"),
        ],
    ),
    (
        "GET",
        &[
            ("x-requested-with", "XMLHttpRequest"),
            ("accept", "text/html"),
        ],
    ),
    (
        "GET",
        &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")],
    ),
    (
        "GET",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "iframe"),
            ("accept", "text/html"),
        ],
    ),
    (
        "GET",
        &[
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
            ("sec-purpose", "prefetch"),
            ("accept", "text/html"),
        ],
    ),
    ("GET", &[("accept", "*/*")]),
    ("HEAD", &[]),
    ("PUT", &NAVIGATION),
    (
        "POST",
        &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
    ),
];

#[tokio::test]
async fn only_navigations_lead_to_sign_in() {
    let server = start().await;
    let client = reqwest::Client::builder().redirect(Policy::none());
    let client = client.build().expect("an HTTP client");
    for path in ["/auth/page", "/auth/verify"] {
        let check = |method: &str, uri: &str, fields: &[(&str, &str)]| {
            let request = client
                .get(server.url(path))
                .header("x-forwarded-method", method)
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", "shop.example.net")
                .header("x-forwarded-uri", uri);
            let request = fields.iter().fold(request, |request, (name, value)| {
                request.header(*name, *value)
            });
            async { request.send().await.expect("the server responds") }
        };
        for (method, fields) in NO_NAVIGATION {
            let response = check(method, "/", fields).await;
            assert_eq!(response.status(), 401, "{path} {method} {fields:?}");
            assert!(
                !response.headers().contains_key("location"),
                "{path} {method} {fields:?}"
            );
            assert!(!response.headers().contains_key("set-cookie"));
        }
        let long = format!("/{}", "a".repeat(2_048));
        for (uri, returned) in [
            ("/dash?a=%C3%A4&b", "%2Fdash%3Fa%3D%25C3%25A4%26b"),
            ("//evil.example/", "%2F"),
            ("http://evil.example/", "%2F"),
            (&long, "%2F"),
        ] {
            let response = check("GET", uri, &NAVIGATION).await;
            assert_eq!(
                response.status().as_u16(),
                if path == "/auth/page" { 302 } else { 401 }
            );
            let header = |name: &str| response.headers()[name].to_str().expect("ASCII");
            let location = header("location");
            let expected = format!(
                "{ISSUER}/sign-in?return_to=https%3A%2F%2Fshop.example.net{returned}&state="
            );
            assert!(location.starts_with(&expected), "{uri}: {location}");
            let cookie = header("set-cookie");
            assert!(cookie.starts_with(&format!("{NONCE}=")), "{cookie}");
            assert!(cookie.ends_with("; Path=/; Max-Age=900; Secure; HttpOnly; SameSite=Lax"));
            assert!(header("vary").contains("Sec-Fetch-Mode"));
            assert_eq!(header("x-auth-user"), "");
        }
    }
}

/// Tabs that open at the same time share the nonce, so that each of them can finish.
#[tokio::test]
async fn tabs_share_a_nonce() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    let mut pages = Vec::new();
    for number in 0..6 {
        pages.push(browser.open(&format!("{SHOP}/{number}")).await);
    }
    let fields = [
        ("username", "john"),
        ("password", crate::test_server::PASSWORD),
    ];
    for (number, page) in pages.iter().enumerate().take(2) {
        let opened = browser.submit(page, &fields).await;
        opened.is(200, &[&format!("{SHOP}/{number} for john")]);
    }
}

/// The port is a part of the names, because cookies ignore ports.
#[tokio::test]
async fn ports_of_one_host_have_cookies_of_their_own() {
    let setting = (
        "LATCHKEY_APPLICATIONS",
        "https://shop.example.net,https://shop.example.net:8443",
    );
    let server = TestServer::with(&[setting]).await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    browser
        .open(&format!("{SHOP}:8443/"))
        .await
        .is(200, &["for john"]);
    browser
        .open(&format!("{SHOP}/"))
        .await
        .is(200, &["for john"]);
    assert!(browser.cookie(SHOP, "__Host-latchkey-app").is_some());
    let second = format!("{SHOP}:8443");
    assert!(
        browser
            .cookie(&second, "__Host-latchkey-app-8443")
            .is_some()
    );
}

#[tokio::test]
async fn form_of_signed_out_browser_is_kept() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    let url = format!("{SHOP}/order");
    let page = browser.request(Method::POST, &url, &NAVIGATION, &[]).await;
    page.is(
        401,
        &["Sign in in a new tab, then return here and submit the form again."],
    );
    assert!(page.set_cookies().is_empty());
    let policy = page.header("content-security-policy").expect("a policy");
    assert!(
        policy.starts_with("default-src 'none'; style-src 'sha256-"),
        "{policy}"
    );
}

/// A browser, or a proxy, that loses the application cookie sees a page, not a loop of redirects.
#[tokio::test]
async fn lost_cookie_shows_page() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    browser
        .cookies
        .retain(|(_, name, _)| name != "__Host-latchkey-app");
    let page = browser.open(&format!("{SHOP}/")).await;
    page.is(400, &["Sign-in couldn't be completed", "href=\"/\""]);
    server
        .wait_for_log(&[
            "the cookie of an application was lost",
            "https://shop.example.net",
        ])
        .await;
}

#[tokio::test]
async fn blocked_cookies_show_page() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    let page = browser.open(&format!("{SHOP}/")).await;
    browser.cookies.retain(|(origin, ..)| origin != SHOP);
    let fields = [
        ("username", "john"),
        ("password", crate::test_server::PASSWORD),
    ];
    let page = browser.submit(&page, &fields).await;
    page.is(
        400,
        &["This sign-in link has expired, or your browser blocks cookies. Try again."],
    );
}

/// The requirement of an unknown origin is unknown, so nothing passes once an application has one.
#[tokio::test]
async fn unknown_origin_is_denied_once_an_application_has_a_requirement() {
    let open = start().await;
    let setting = (
        "LATCHKEY_APPLICATIONS",
        "https://shop.example.net?role=admin",
    );
    let restricted = TestServer::with(&[setting]).await;
    restricted.sign_up("john").await;
    for (server, with_token, without) in [(&open, 204, 401), (&restricted, 403, 403)] {
        let token = server.sign_in("john").await.access_token;
        for host in [None, Some("other.example.net"), Some("shop.example.net.")] {
            for token in [None, Some(token.as_str())] {
                let request = server
                    .request(Method::GET, "/auth/verify")
                    .header("x-forwarded-method", "GET")
                    .header("x-forwarded-proto", "https");
                let request = host.into_iter().fold(request, |request, host| {
                    request.header("x-forwarded-host", host)
                });
                let request = match token {
                    Some(token) => request.bearer_auth(token),
                    None => NAVIGATION.iter().fold(request, |request, (name, value)| {
                        request.header(*name, *value)
                    }),
                };
                let response = server.send(request).await;
                let expected = if token.is_some() { with_token } else { without };
                assert_eq!(response.status, expected, "{host:?}");
                assert!(response.headers.get("location").is_none());
            }
        }
    }
}

#[tokio::test]
async fn user_without_access_sees_page() {
    let setting = (
        "LATCHKEY_APPLICATIONS",
        "https://shop.example.net?role=admin,https://wiki.example.org:8443",
    );
    let server = TestServer::with(&[setting]).await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&[&server]);
    let page = browser.sign_in(&format!("{SHOP}/"), "john").await;
    page.is(
        403,
        &["You don't have access to this application. Contact your administrator."],
    );
    let fetch = browser.fetch(&format!("{SHOP}/")).await;
    fetch.is(403, &["forbidden"]);
    browser
        .open(&format!("{WIKI}/"))
        .await
        .is(200, &["for john"]);
}

/// Without the pages, no browser is sent to them.
#[tokio::test]
async fn server_without_pages_redirects_nowhere() {
    let server = TestServer::with(&[APPLICATIONS, ("LATCHKEY_WEB", "off")]).await;
    let mut browser = Browser::new(&[&server]);
    let response = browser.open(&format!("{SHOP}/")).await;
    response.is(401, &["unauthenticated"]);
    let response = browser.open(&format!("{SHOP}/.latchkey/sign-out")).await;
    response.is(404, &[]);
    assert!(browser.cookie(ISSUER, NAME).is_none());
}
