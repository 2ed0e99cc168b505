//! The browser's cookie.

mod driver; // a real browser, driven through the WebDriver protocol
mod forgery; // requests that another site may have caused
mod real; // what a real browser makes of it
mod recovering; // a new password, set on the page for it
mod signing_in; // the cookie itself, and what counts as one
mod signing_out; // what ends it, and that nothing else does
mod sliding; // signed anew while it is used
mod swagger; // Swagger UI, used as a person uses it

use reqwest::{Method, RequestBuilder, header};
use serde_json::{Value, json};

use crate::{
    forge::{Forge, with},
    gateway::{Answer, Gateway, PASSWORD, claims},
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
    fn of(answer: &Answer) -> Option<SetCookie> {
        let mut fields = answer.headers.get_all("set-cookie").iter();
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
fn bare(gateway: &Gateway, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    gateway
        .request(method.clone(), path)
        .header(header::COOKIE, format!("{NAME}={cookie}"))
        .header("x-forwarded-method", method.as_str())
}

/// What a page of the gateway's own origin sends.
fn page(gateway: &Gateway, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    bare(gateway, method, path, cookie)
        .header("x-latchkey-request", "1")
        .header("sec-fetch-site", "same-origin")
}

async fn by_cookie(gateway: &Gateway, method: Method, path: &str, cookie: &str) -> Answer {
    gateway.send(page(gateway, method, path, cookie)).await
}

async fn get(gateway: &Gateway, path: &str, cookie: &str) -> Answer {
    by_cookie(gateway, Method::GET, path, cookie).await
}

/// Whether the check lets this cookie pass: a status, and a code where it does not.
async fn verify(gateway: &Gateway, cookie: &str) -> (u16, String) {
    let answer = get(gateway, "/auth/verify", cookie).await;
    (answer.status, answer.code())
}

/// `POST /session` as a page sends it.
fn opening(gateway: &Gateway, username: &str, password: &str) -> RequestBuilder {
    let body = json!({"username": username, "password": password});
    gateway
        .request(Method::POST, "/session")
        .header("x-latchkey-request", "1")
        .json(&body)
}

/// Signs in; the value of the cookie.
pub async fn open(gateway: &Gateway, username: &str) -> String {
    let answer = gateway.send(opening(gateway, username, PASSWORD)).await;
    SetCookie::of(answer.is(200, "")).expect("a cookie").value
}

/// A gateway, and john's cookie there.
async fn john() -> (Gateway, String) {
    john_with(&[]).await
}

async fn john_with(settings: &[(&str, &str)]) -> (Gateway, String) {
    let gateway = Gateway::with(settings).await;
    gateway.sign_up("john").await;
    let cookie = open(&gateway, "john").await;
    (gateway, cookie)
}

/// The same cookie as it would be, had it been signed so many seconds ago.
pub async fn aged(gateway: &Gateway, cookie: &str, seconds: u64) -> String {
    let mut claims = claims(cookie);
    for time in ["iat", "nbf", "exp"] {
        claims[time] = json!(claims[time].as_u64().expect("seconds") - seconds);
    }
    claims["jti"] = json!(uuid::Uuid::new_v4());
    Forge::of(gateway).await.sign(&claims)
}

/// The same cookie with another claim.
async fn altered(gateway: &Gateway, cookie: &str, claim: &str, value: Value) -> String {
    Forge::of(gateway)
        .await
        .sign(&with(&claims(cookie), claim, value))
}
