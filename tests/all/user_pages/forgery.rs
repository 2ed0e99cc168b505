//! Forms that pages of other sites send, and malformed forms.

use reqwest::{Method, header};

use super::{Browser, Page};
use crate::{
    test_server::{ISSUER, PASSWORD, TestServer},
    test_stores::query_value,
};

const FORM: &str = "application/x-www-form-urlencoded";

/// Sends a form with these headers about its origin.
async fn send(
    browser: &mut Browser<'_>,
    path: &str,
    headers: &[(&str, &str)],
    content_type: &str,
    body: &str,
) -> Page {
    let request = headers.iter().fold(
        browser.request(Method::POST, path),
        |request, (name, value)| request.header(*name, *value),
    );
    let request = request
        .header(header::CONTENT_TYPE, content_type)
        .body(body.to_owned());
    browser.send(request).await
}

#[tokio::test]
async fn forms_of_other_sites_are_blocked() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("john", PASSWORD).await;
    let cookie = browser.session_cookie().expect("a cookie").to_owned();
    let sessions = "select count(*) from sessions where revoked_at is null";
    let before = query_value(&server, sessions).await;
    let sign_in = format!("username=john&password={PASSWORD}");
    for (path, body) in [("/sign-in", sign_in.as_str()), ("/sign-out", "")] {
        for headers in [
            &[
                ("sec-fetch-site", "cross-site"),
                ("origin", "https://evil.example"),
            ][..],
            &[
                ("sec-fetch-site", "same-site"),
                ("origin", "https://app.example.com"),
            ],
            &[("sec-fetch-site", "none")],
            &[
                ("sec-fetch-site", "same-origin"),
                ("sec-fetch-site", "same-origin"),
            ],
            &[("sec-fetch-site", "cross-site"), ("origin", ISSUER)],
            &[("origin", "https://evil.example")],
            &[("origin", "null")],
            &[("origin", ISSUER), ("origin", ISSUER)],
            &[],
        ] {
            let page = send(&mut browser, path, headers, FORM, body).await;
            let text = "This request was blocked because it came from another site.";
            page.is(403, &[text]);
        }
    }
    assert_eq!(browser.session_cookie(), Some(cookie.as_str()));
    assert_eq!(query_value(&server, sessions).await, before);
    // A browser without Fetch Metadata.
    let page = send(&mut browser, "/sign-out", &[("origin", ISSUER)], FORM, "").await;
    page.is(200, &[]);
}

/// No form of another site has an effect on an account.
#[tokio::test]
async fn account_forms_of_other_sites_are_blocked() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("john", PASSWORD).await;
    let state = "select string_agg(u::text, '') || (select count(*) from sessions where revoked_at \
        is null) || (select count(*) from personal_access_tokens) from users u";
    let before = query_value(&server, state).await;
    let password = format!("current_password={PASSWORD}&new_password=correct horse 7");
    for (path, body) in [
        ("/account", "username=other&name=x"),
        ("/account/security", password.as_str()),
        ("/account/email", "code=00000-00000"),
        ("/account/sessions", "others=yes"),
        (
            "/account/tokens",
            "token=018f0000-0000-7000-8000-000000000000",
        ),
        ("/account/tokens/new", "name=x&days=1&user:read=yes"),
        ("/account/delete", ""),
        ("/verify-email", "resend=yes"),
    ] {
        for headers in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site"), ("origin", ISSUER)],
            &[("origin", "https://evil.example")],
            &[],
        ] {
            let page = send(&mut browser, path, headers, FORM, body).await;
            page.is(403, &["it came from another site."]);
        }
    }
    assert_eq!(query_value(&server, state).await, before);
}

#[tokio::test]
async fn malformed_forms_are_rejected() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let mut browser = Browser::new(&server);
    let own = [("sec-fetch-site", "same-origin")];
    let valid = format!("username=john&password={PASSWORD}");
    for (content_type, body, status) in [
        ("application/json", "{}", 415),
        ("text/plain", valid.as_str(), 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
        ("", valid.as_str(), 415),
        (FORM, &format!("{valid}&username=mary"), 400),
        (FORM, &format!("{valid}&admin=yes"), 400),
        (FORM, &format!("{valid}&{}", "x".repeat(70_000)), 413),
    ] {
        let page = send(&mut browser, "/sign-in", &own, content_type, body).await;
        page.is(status, &["<!doctype html>"]);
        assert_eq!(browser.session_cookie(), None, "{content_type}");
    }
    let request = browser.request(Method::PUT, "/sign-in");
    let response = browser.send(request).await;
    assert_eq!(
        (response.status, &response.headers["allow"]),
        (405, &"GET, POST, HEAD".parse().unwrap())
    );
}
