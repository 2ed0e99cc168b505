//! The pages for users, with requests that a browser sends without scripts.

mod account; // the pages below `/account`
mod appearance; // accessibility and layout in a real browser
mod email_links;
mod forgery; // forms of other sites
mod password_reset;
mod real_browser;
mod sign_in;
mod sign_up;

use reqwest::{Method, header, redirect::Policy};

use crate::{
    browser::NAME,
    test_server::{ISSUER, TestServer},
};

/// A browser without scripts: it stores cookies, and follows no redirect by itself.
pub struct Browser<'a> {
    server: &'a TestServer,
    client: reqwest::Client,
    /// The cookies by name.
    cookies: Vec<(String, String)>,
}

/// A response to a browser.
pub struct Page {
    pub status: u16,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Page {
    /// Returns the path and the query of a redirect to this server.
    pub fn location(&self) -> &str {
        let location = self.headers.get(header::LOCATION).expect("a redirect");
        let location = location.to_str().expect("ASCII");
        location.strip_prefix(ISSUER).unwrap_or(location)
    }

    /// Asserts a page with this status that contains the texts.
    #[track_caller]
    pub fn is(&self, status: u16, texts: &[&str]) -> &Page {
        assert_eq!(self.status, status, "{}", self.text);
        for text in texts {
            assert!(self.text.contains(text), "no {text:?} in {}", self.text);
        }
        self
    }

    /// Asserts a redirect to this path.
    #[track_caller]
    pub fn leads_to(&self, path: &str) -> &Page {
        assert_eq!(self.status, 303, "{}", self.text);
        assert_eq!(self.location(), path);
        self
    }

    /// Asserts the headers of every page, and content that obeys its policy.
    #[track_caller]
    pub fn has_strict_headers(&self, path: &str) {
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("referrer-policy", "same-origin"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(self.headers[name], value, "{path}: {name}");
        }
        let policy = self.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'; style-src 'self';"));
        assert!(!policy.contains("unsafe"), "{policy}");
        for inline in [
            " style=",
            "<style",
            " onclick=",
            " onsubmit=",
            "javascript:",
        ] {
            assert!(!self.text.contains(inline), "{path}: {inline}");
        }
    }

    /// Returns the value of an input field.
    pub fn value(&self, name: &str) -> &str {
        let field = format!("name=\"{name}\"");
        let input = self.text.split('<').find(|tag| tag.contains(&field));
        let input = input.unwrap_or_else(|| panic!("no field {name} in {}", self.text));
        let value = input.split_once("value=\"").map_or("", |(_, rest)| rest);
        value.split('"').next().unwrap_or_default()
    }
}

impl<'a> Browser<'a> {
    pub fn new(server: &'a TestServer) -> Browser<'a> {
        Browser::with_agent(server, "")
    }

    /// A browser that sends this `User-Agent`.
    pub fn with_agent(server: &'a TestServer, agent: &str) -> Browser<'a> {
        let client = reqwest::Client::builder().redirect(Policy::none());
        let client = match agent {
            "" => client,
            agent => client.user_agent(agent),
        };
        Browser {
            server,
            client: client.build().expect("an HTTP client"),
            cookies: Vec::new(),
        }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request.header("sec-fetch-site", "none")).await
    }

    pub async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let request = self
            .request(Method::POST, path)
            .header("sec-fetch-site", "same-origin")
            .header(header::ORIGIN, ISSUER)
            .form(fields);
        self.send(request).await
    }

    /// Builds a request with the cookies, without the headers about its origin.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let cookies: Vec<_> = self
            .cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = self
            .client
            .request(method, self.server.url(path))
            .header(header::ACCEPT, "text/html,*/*;q=0.8")
            .header("sec-fetch-mode", "navigate")
            .header("sec-fetch-dest", "document");
        if cookies.is_empty() {
            request
        } else {
            request.header(header::COOKIE, cookies.join("; "))
        }
    }

    pub async fn send(&mut self, request: reqwest::RequestBuilder) -> Page {
        let response = request.send().await.expect("the server responds");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(header::SET_COOKIE) {
            self.store(cookie.to_str().expect("ASCII"));
        }
        let text = response.text().await.expect("text");
        Page {
            status,
            headers,
            text,
        }
    }

    fn store(&mut self, cookie: &str) {
        assert!(
            cookie.contains("; Path=/; Max-Age=")
                && cookie.ends_with("; Secure; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        let (pair, _) = cookie.split_once(';').expect("attributes");
        let (name, value) = pair.split_once('=').expect("a value");
        self.cookies.retain(|(other, _)| other != name);
        if !cookie.contains("Max-Age=0;") {
            self.cookies.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Returns the value of the session cookie.
    pub fn session_cookie(&self) -> Option<&str> {
        let cookie = self.cookies.iter().find(|(name, _)| name == NAME);
        cookie.map(|(_, value)| value.as_str())
    }

    /// Replaces the session cookie.
    pub fn set_session_cookie(&mut self, value: String) {
        self.cookies.retain(|(name, _)| name != NAME);
        self.cookies.push((NAME.to_owned(), value));
    }

    /// Signs in, and follows the redirects.
    pub async fn sign_in(&mut self, username: &str, password: &str) {
        let fields = [("username", username), ("password", password)];
        let response = self.post("/sign-in", &fields).await;
        assert_eq!(response.status, 303, "{}", response.text);
        let location = response.location().to_owned();
        self.get(&location).await.leads_to("/account");
    }
}

/// Every page, with its headers.
#[tokio::test]
async fn pages_have_strict_headers() {
    let server = TestServer::shared().await;
    let mut browser = Browser::new(&server);
    for path in [
        "/",
        "/sign-in",
        "/sign-out",
        "/sign-up",
        "/forgot",
        "/reset-password",
        "/problems",
        "/problems/busy",
        "/nothing",
    ] {
        let page = browser.get(path).await;
        let status = if path == "/nothing" { 404 } else { 200 };
        page.is(
            status,
            &["<!doctype html>", "<html lang=\"en\" dir=\"ltr\">"],
        );
        page.has_strict_headers(path);
    }
}

#[tokio::test]
async fn assets_are_small_and_immutable() {
    let server = TestServer::shared().await;
    let mut browser = Browser::new(&server);
    let page = browser.get("/sign-in").await;
    let links: Vec<&str> = page
        .text
        .split('"')
        .filter(|part| part.starts_with("/assets/"))
        .collect();
    assert_eq!(links.len(), 3, "{links:?}");
    for link in links {
        let asset = browser.get(link).await;
        let limit = if link.ends_with("js") || link.ends_with("css") {
            8_192
        } else {
            1_024
        };
        assert!(asset.text.len() < limit, "{link}");
        assert_eq!(
            asset.headers["cache-control"],
            "public, max-age=31536000, immutable"
        );
    }
    browser.get("/assets/style-0.css").await.is(404, &[]);
    let robots = browser.get("/robots.txt").await;
    assert_eq!(robots.text, "User-agent: *\nDisallow: /\n");
}

/// Clients of the API get the same errors as before.
#[tokio::test]
async fn only_browsers_get_errors_as_pages() {
    let server = TestServer::shared().await;
    server.get("/nothing").await.is(404, "not_found");
    server.get("/login").await.is(405, "method_not_allowed");
    let mut browser = Browser::new(&server);
    browser.get("/nothing").await.is(404, &["Page not found"]);
    browser.get("/login").await.leads_to("/sign-in");
    browser.get("/signup").await.leads_to("/sign-up");
    browser.get("/logout").await.leads_to("/sign-out");
    browser
        .get("/sign-in?return_to=a&return_to=b")
        .await
        .is(400, &["Invalid request", "<!doctype html>"]);
    // A script of a page isn't a navigation.
    let request = server.request(Method::GET, "/nothing");
    let request = request.header(header::ACCEPT, "text/html");
    let response = server.send(request.header("sec-fetch-dest", "empty")).await;
    response.is(404, "not_found");
}

#[tokio::test]
async fn pages_for_users_can_be_removed() {
    let server = TestServer::with(&[("LATCHKEY_WEB", "off")]).await;
    let mut browser = Browser::new(&server);
    for path in [
        "/sign-in",
        "/sign-up",
        "/forgot",
        "/account",
        "/account/security",
        "/sign-out",
        "/.well-known/change-password",
    ] {
        browser.get(path).await.is(404, &["Page not found"]);
    }
    browser.get("/login").await.is(405, &[]);
    let home = browser.get("/").await;
    assert!(!home.is(200, &["/docs"]).text.contains("/sign-in"));
}

#[tokio::test]
async fn settings_change_name_theme_and_help_link() {
    let theme = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(theme.path(), ":root { --accent: #067; }").expect("a file");
    let server = TestServer::with(&[
        ("LATCHKEY_BRAND", "Example & Sons"),
        ("LATCHKEY_HELP_URL", "https://help.example.com/"),
        ("LATCHKEY_THEME", theme.path().to_str().unwrap()),
        ("LATCHKEY_ISSUER", "https://example.com/auth"),
    ])
    .await;
    let mut browser = Browser::new(&server);
    let page = browser.get("/sign-in").await;
    page.is(
        200,
        &[
            "<title>Sign in · Example &#38; Sons</title>",
            "<a href=\"https://help.example.com/\">Help</a>",
            "action=\"/auth/sign-in\"",
            "href=\"/auth/forgot\"",
        ],
    );
    let theme = page
        .text
        .split('"')
        .find_map(|link| link.strip_prefix("/auth/assets/theme"));
    let path = format!("/assets/theme{}", theme.expect("a link to the theme"));
    browser.get(&path).await.is(200, &["@layer theme", "#067"]);
}
