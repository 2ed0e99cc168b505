//! The OAuth face: what is issued, looked at and taken back, by us and by clients that nobody here
//! wrote.

mod introspecting; // anything that is not good is exactly that
mod issuing; // every refusal of RFC 6749, and what is granted
mod outage; // a store that is down never makes a token good
mod revoking; // each kind, by whoever has it, and by nobody else
mod standard; // Authlib and oauth4webapi

use latchkey_domain::opaque_token::{OpaqueToken, Purpose};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    gateway::{Answer, Gateway, Session},
    personal_tokens,
};

pub const FORM: &str = "application/x-www-form-urlencoded";

/// A registered client.
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl Client {
    /// A client with these scopes, for whom tokens of people are for.
    pub async fn register(gateway: &Gateway, admin: &Session, scope: &str) -> Client {
        Client::register_as(gateway, admin, json!({"name": "billing", "scope": scope})).await
    }

    pub async fn register_as(gateway: &Gateway, admin: &Session, body: Value) -> Client {
        let made = gateway
            .with_token(Method::POST, "/clients", &admin.access_token, body)
            .await;
        Client {
            id: made.is(201, "").text("client_id"),
            secret: made.text("client_secret"),
        }
    }

    /// A request that proves by its form who sends it.
    pub fn form<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [
            &[
                ("client_id", self.id.as_str()),
                ("client_secret", self.secret.as_str()),
            ],
            more,
        ]
        .concat()
    }

    /// What is answered when it asks for a token.
    pub async fn ask(&self, gateway: &Gateway, more: &[(&str, &str)]) -> Answer {
        let form = self.form(&[&[("grant_type", "client_credentials")], more].concat());
        gateway.form("/oauth/token", &form).await
    }

    /// A token of it.
    pub async fn token(&self, gateway: &Gateway) -> String {
        self.ask(gateway, &[])
            .await
            .is(200, "")
            .text("access_token")
    }

    /// What it is told of a token.
    pub async fn introspect(&self, gateway: &Gateway, token: &str) -> Value {
        let answer = gateway
            .form("/oauth/introspect", &self.form(&[("token", token)]))
            .await;
        assert_eq!(answer.is(200, "").header("cache-control"), "no-store");
        answer.body
    }
}

/// John, an administrator and a client.
pub struct Scene {
    pub gateway: Gateway,
    pub admin: Session,
    pub john: Session,
    pub client: Client,
}

impl Scene {
    pub async fn new() -> Scene {
        Scene::of(Gateway::shared().await).await
    }

    pub async fn of(gateway: Gateway) -> Scene {
        let (admin, john) = (gateway.admin("root").await, gateway.sign_up("john").await);
        let client = Client::register(&gateway, &admin, "items:read user:read").await;
        Scene {
            gateway,
            admin,
            john,
            client,
        }
    }

    /// Whether a token is told to be good.
    pub async fn is_active(&self, token: &str) -> bool {
        let told = self.client.introspect(&self.gateway, token).await;
        let active = told["active"].as_bool().expect("it is told");
        assert!(active || told == json!({"active": false}), "{told}");
        active
    }

    /// A request with a form as it is.
    pub fn raw(&self, path: &str, form: &str) -> RequestBuilder {
        self.gateway
            .request(Method::POST, path)
            .header("content-type", FORM)
            .body(form.to_owned())
    }

    /// A personal access token of John's: its id and its text.
    pub async fn personal(&self, scope: &str) -> (String, String) {
        personal_tokens::make(&self.gateway, &self.john, scope).await
    }
}

/// A token with this id that is right in form, and that nobody was given.
pub fn forged(purpose: Purpose, id: &str) -> String {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("there is randomness");
    let id = id.parse().expect("an id");
    OpaqueToken::new(purpose, id, Zeroizing::new(secret))
        .text()
        .to_string()
}

/// What the check says of a token, where `items:read` is demanded: without a demand no client
/// passes.
pub async fn check(gateway: &Gateway, token: &str) -> (u16, String) {
    gateway
        .verify_at("/auth/verify?scope=items:read", token)
        .await
}

/// Asserts a refusal as RFC 6749 section 5.2 has it.
#[track_caller]
pub fn is_refusal(answer: &Answer, status: u16, error: &str, what: &str) {
    let what = format!("{what}: {}", answer.string());
    assert_eq!(
        (answer.status, answer.body["error"].as_str()),
        (status, Some(error)),
        "{what}"
    );
    let members = answer.body.as_object().expect("an object");
    assert!(
        members.len() == 2 && members["error_description"].is_string(),
        "{what}"
    );
    assert!(
        answer
            .header("content-type")
            .starts_with("application/json"),
        "{what}"
    );
    assert_eq!(answer.header("cache-control"), "no-store", "{what}");
    let challenge = if status == 401 {
        "Basic realm=\"latchkey\""
    } else {
        ""
    };
    assert_eq!(answer.header("www-authenticate"), challenge, "{what}");
    assert_eq!(
        !answer.header("retry-after").is_empty(),
        [429, 503].contains(&status),
        "{what}"
    );
}
