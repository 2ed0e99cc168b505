//! The OAuth face: what is issued, looked at and taken back, by us and by clients that nobody here
//! wrote.

mod introspection; // anything that is not good is exactly that
mod issue; // every refusal of RFC 6749, and what is granted
mod outage; // a store that is down never makes a token good
mod revoke; // each kind, by whoever has it, and by nobody else
mod standard; // Authlib and oauth4webapi

use latchkey_domain::opaque_token::{OpaqueToken, OpaqueTokenKind};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::{
    personal_access_tokens,
    test_server::{Session, TestResponse, TestServer},
};

pub const FORM: &str = "application/x-www-form-urlencoded";

/// A registered client.
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl Client {
    /// A client with these scopes, for whom tokens of people are for.
    pub async fn register(server: &TestServer, admin: &Session, scope: &str) -> Client {
        Client::register_as(server, admin, json!({"name": "billing", "scope": scope})).await
    }

    pub async fn register_as(server: &TestServer, admin: &Session, body: Value) -> Client {
        let made = server
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
    pub async fn ask(&self, server: &TestServer, more: &[(&str, &str)]) -> TestResponse {
        let form = self.form(&[&[("grant_type", "client_credentials")], more].concat());
        server.form("/oauth/token", &form).await
    }

    /// A token of it.
    pub async fn token(&self, server: &TestServer) -> String {
        self.ask(server, &[]).await.is(200, "").text("access_token")
    }

    /// What it is told of a token.
    pub async fn introspect(&self, server: &TestServer, token: &str) -> Value {
        let response = server
            .form("/oauth/introspect", &self.form(&[("token", token)]))
            .await;
        assert_eq!(response.is(200, "").header("cache-control"), "no-store");
        response.body
    }
}

/// John, an administrator and a client.
pub struct Fixture {
    pub server: TestServer,
    pub admin: Session,
    pub john: Session,
    pub client: Client,
}

impl Fixture {
    pub async fn new() -> Fixture {
        Fixture::of(TestServer::shared().await).await
    }

    pub async fn of(server: TestServer) -> Fixture {
        let (admin, john) = (server.admin("root").await, server.sign_up("john").await);
        let client = Client::register(&server, &admin, "items:read user:read").await;
        Fixture {
            server,
            admin,
            john,
            client,
        }
    }

    /// Whether a token is told to be good.
    pub async fn is_active(&self, token: &str) -> bool {
        let told = self.client.introspect(&self.server, token).await;
        let active = told["active"].as_bool().expect("it is told");
        assert!(active || told == json!({"active": false}), "{told}");
        active
    }

    /// A request with a form as it is.
    pub fn raw(&self, path: &str, form: &str) -> RequestBuilder {
        self.server
            .request(Method::POST, path)
            .header("content-type", FORM)
            .body(form.to_owned())
    }

    /// A personal access token of John's: its id and its text.
    pub async fn personal(&self, scope: &str) -> (String, String) {
        personal_access_tokens::make(&self.server, &self.john, scope).await
    }
}

/// A token with this id that is right in form, and that nobody was given.
pub fn forged(purpose: OpaqueTokenKind, id: &str) -> String {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("there is randomness");
    let id = id.parse().expect("an id");
    OpaqueToken::new(purpose, id, Zeroizing::new(secret))
        .text()
        .to_string()
}

/// What the check says of a token, where `items:read` is demanded: without a demand no client
/// passes.
pub async fn check(server: &TestServer, token: &str) -> (u16, String) {
    server
        .verify_at("/auth/verify?scope=items:read", token)
        .await
}

/// Asserts a refusal as RFC 6749 section 5.2 has it.
#[track_caller]
pub fn is_refusal(response: &TestResponse, status: u16, error: &str, what: &str) {
    let what = format!("{what}: {}", response.string());
    assert_eq!(
        (response.status, response.body["error"].as_str()),
        (status, Some(error)),
        "{what}"
    );
    let members = response.body.as_object().expect("an object");
    assert!(
        members.len() == 2 && members["error_description"].is_string(),
        "{what}"
    );
    assert!(
        response
            .header("content-type")
            .starts_with("application/json"),
        "{what}"
    );
    assert_eq!(response.header("cache-control"), "no-store", "{what}");
    let challenge = if status == 401 {
        "Basic realm=\"latchkey\""
    } else {
        ""
    };
    assert_eq!(response.header("www-authenticate"), challenge, "{what}");
    assert_eq!(
        !response.header("retry-after").is_empty(),
        [429, 503].contains(&status),
        "{what}"
    );
}
