//! The browser's cookie.

mod cookie_renewal; // signed anew while it is used
mod driver; // a real browser, driven through the WebDriver protocol
mod forgery; // requests that another site may have caused
mod password_reset; // a new password, set on the page for it
mod real; // what a real browser makes of it
mod sign_in; // the cookie itself, and what counts as one
mod sign_out; // what ends it, and that nothing else does
mod swagger; // Swagger UI, used as a person uses it

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, TestResponse, TestServer, claims},
    token_signer::{TokenSigner, with},
};

/// The name of the cookie, unless its domain is set.
pub const NAME: &str = "__Host-latchkey";

/// The cookie that an answer sets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct SetCookie {
    name: String,
    value: String,
    /// All that follows the value, in its order.
    attributes: Vec<String>,
}

impl SetCookie {
    fn of(response: &TestResponse) -> Option<SetCookie> {
        let mut fields = response.headers.get_all("set-cookie").iter();
        let field = fields.next()?.to_str().expect("text").to_owned();
        assert!(fields.next().is_none(), "one cookie at most");
        assert!(
            field.len() < 4096,
            "browsers drop what is longer: {}",
            field.len()
        );
        let mut parts = field.split("; ").map(str::to_owned);
        let (name, value) = parts.next().and_then(|pair| {
            pair.split_once('=')
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
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

    fn clears(&self) -> bool {
        self.value.is_empty() && self.attribute("Max-Age") == Some("0")
    }
}

/// A request with this cookie and nothing else that a page would send; a proxy that asks about it
/// would say the method.
fn bare(server: &TestServer, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    server
        .request(method.clone(), path)
        .header(header::COOKIE, format!("{NAME}={cookie}"))
        .header("x-forwarded-method", method.as_str())
}

/// What a page of the gateway's own origin sends.
fn page(server: &TestServer, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    bare(server, method, path, cookie)
        .header("x-latchkey-request", "1")
        .header("sec-fetch-site", "same-origin")
}

async fn by_cookie(server: &TestServer, method: Method, path: &str, cookie: &str) -> TestResponse {
    server.send(page(server, method, path, cookie)).await
}

async fn get(server: &TestServer, path: &str, cookie: &str) -> TestResponse {
    by_cookie(server, Method::GET, path, cookie).await
}

/// Whether the check lets this cookie pass: a status, and a code where it does not.
async fn verify(server: &TestServer, cookie: &str) -> (u16, String) {
    let response = get(server, "/auth/verify", cookie).await;
    (response.status, response.code())
}

/// `POST /session` as a page sends it.
fn opening(server: &TestServer, username: &str, password: &str) -> RequestBuilder {
    let body = json!({"username": username, "password": password});
    server
        .request(Method::POST, "/session")
        .header("x-latchkey-request", "1")
        .json(&body)
}

/// Signs in; the value of the cookie.
pub async fn open(server: &TestServer, username: &str) -> String {
    let response = server.send(opening(server, username, PASSWORD)).await;
    SetCookie::of(response.is(200, "")).expect("a cookie").value
}

/// A gateway, and john's cookie there.
async fn john() -> (TestServer, String) {
    john_with(&[]).await
}

async fn john_with(settings: &[(&str, &str)]) -> (TestServer, String) {
    let server = TestServer::with(settings).await;
    server.sign_up("john").await;
    let cookie = open(&server, "john").await;
    (server, cookie)
}

/// The same cookie as it would be, had it been signed so many seconds ago.
pub async fn aged(server: &TestServer, cookie: &str, seconds: u64) -> String {
    let mut claims = claims(cookie);
    for time in ["iat", "nbf", "exp"] {
        claims[time] = json!(claims[time].as_u64().expect("seconds") - seconds);
    }
    claims["jti"] = json!(uuid::Uuid::new_v4());
    TokenSigner::of(server).await.sign(&claims)
}

/// The same cookie with another claim.
async fn altered(server: &TestServer, cookie: &str, claim: &str, value: Value) -> String {
    TokenSigner::of(server)
        .await
        .sign(&with(&claims(cookie), claim, value))
}
