//! Tests of the session cookie and of the pages for browsers.

mod cookie_renewal; // sliding expiration
pub mod driver; // a real browser, controlled over the WebDriver protocol
mod forgery; // cross-site requests
mod names; // the base name of all cookies
mod password_reset; // the page `/forgot`
mod real; // the cookie in a real browser
mod several_cookies; // several session cookies in one request
mod sign_in; // issue and acceptance of the cookie
mod sign_out; // revocation and removal of the cookie
mod swagger; // Swagger UI in a real browser

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, TestResponse, TestServer, claims},
    token_signer::{TokenSigner, with},
};

/// The name of the session cookie of a server without `LATCHKEY_COOKIE_DOMAIN`.
pub const NAME: &str = "__Host-latchkey";

/// The `Set-Cookie` header of a response.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SetCookie {
    name: String,
    value: String,
    /// The attributes after the value, in order.
    attributes: Vec<String>,
}

impl SetCookie {
    fn from_response(response: &TestResponse) -> Option<SetCookie> {
        let mut fields = response.headers.get_all("set-cookie").iter();
        let field = fields.next()?.to_str().expect("ASCII").to_owned();
        assert!(fields.next().is_none(), "at most one cookie");
        assert!(
            field.len() < 4096,
            "browsers drop longer cookies: {}",
            field.len()
        );
        let mut parts = field.split("; ").map(str::to_owned);
        let (name, value) = parts.next().and_then(|pair| {
            pair.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        })?;
        Some(SetCookie {
            name,
            value,
            attributes: parts.collect(),
        })
    }

    fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find_map(|attribute| attribute.strip_prefix(name)?.strip_prefix('='))
    }

    fn is_removal(&self) -> bool {
        self.value.is_empty() && self.attribute("Max-Age") == Some("0")
    }
}

/// Builds a request with only the cookie, as a browser sends it without a script.
///
/// `X-Forwarded-Method` contains the method, so that the request also suits `/auth/verify`.
fn cookie_request(server: &TestServer, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    server
        .request(method.clone(), path)
        .header(header::COOKIE, format!("{NAME}={cookie}"))
        .header("x-forwarded-method", method.as_str())
}

/// Builds a request as a script of the server's own origin sends it.
fn page_request(server: &TestServer, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    cookie_request(server, method, path, cookie)
        .header("x-latchkey-request", "1")
        .header("sec-fetch-site", "same-origin")
}

async fn send_page_request(
    server: &TestServer,
    method: Method,
    path: &str,
    cookie: &str,
) -> TestResponse {
    server
        .send(page_request(server, method, path, cookie))
        .await
}

async fn get_with_cookie(server: &TestServer, path: &str, cookie: &str) -> TestResponse {
    send_page_request(server, Method::GET, path, cookie).await
}

/// Checks the cookie at `/auth/verify`; returns the status and, on rejection, the error code.
async fn verify_cookie(server: &TestServer, cookie: &str) -> (u16, String) {
    let response = get_with_cookie(server, "/auth/verify", cookie).await;
    (response.status, response.code())
}

/// Builds `POST /session` as a page sends it.
fn sign_in_request(server: &TestServer, username: &str, password: &str) -> RequestBuilder {
    let body = json!({"username": username, "password": password});
    server
        .request(Method::POST, "/session")
        .header("x-latchkey-request", "1")
        .json(&body)
}

/// Signs in and returns the value of the cookie.
pub async fn open(server: &TestServer, username: &str) -> String {
    let response = server
        .send(sign_in_request(server, username, PASSWORD))
        .await;
    SetCookie::from_response(response.is(200, ""))
        .expect("a cookie")
        .value
}

/// Starts a server and returns it with the cookie of a signed-in user.
async fn start_signed_in() -> (TestServer, String) {
    start_signed_in_with(&[]).await
}

async fn start_signed_in_with(settings: &[(&str, &str)]) -> (TestServer, String) {
    let server = TestServer::with(settings).await;
    server.sign_up("john").await;
    let cookie = open(&server, "john").await;
    (server, cookie)
}

/// Returns the cookie as if the server had signed it this many seconds earlier.
pub async fn aged(server: &TestServer, cookie: &str, seconds: u64) -> String {
    let mut claims = claims(cookie);
    for time in ["iat", "nbf", "exp"] {
        claims[time] = json!(claims[time].as_u64().expect("a timestamp") - seconds);
    }
    claims["jti"] = json!(uuid::Uuid::new_v4());
    TokenSigner::of(server).await.sign(&claims)
}

/// Returns the cookie with another value of one claim, signed with the server's key.
async fn replace_claim(server: &TestServer, cookie: &str, claim: &str, value: Value) -> String {
    TokenSigner::of(server)
        .await
        .sign(&with(&claims(cookie), claim, value))
}
