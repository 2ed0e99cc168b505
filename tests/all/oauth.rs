//! The OAuth endpoints: tokens are issued, introspected, and revoked, directly and by third-party
//! client libraries.

mod documented; // errors in the OpenAPI document
mod introspection; // active and inactive tokens
mod issue; // errors of RFC 6749, and issued tokens
mod outage; // unavailable stores
mod revoke; // revocation by the holder or the client
mod standard; // Authlib and oauth4webapi

use latchkey_domain::opaque_token::{OpaqueToken, OpaqueTokenKind};
use reqwest::{Method, RequestBuilder};
use secrecy::{ExposeSecret, SecretBox};
use serde_json::{Value, json};

use crate::{
    personal_access_tokens,
    test_server::{Session, TestResponse, TestServer},
};

pub const FORM: &str = "application/x-www-form-urlencoded";

/// A registered OAuth client.
pub struct Client {
    pub id: String,
    pub secret: String,
}

impl Client {
    /// Registers a client with these scopes and the default audience.
    pub async fn register(server: &TestServer, admin: &Session, scope: &str) -> Client {
        Client::register_with(server, admin, json!({"name": "billing", "scope": scope})).await
    }

    pub async fn register_with(server: &TestServer, admin: &Session, body: Value) -> Client {
        let created = server
            .with_token(Method::POST, "/clients", &admin.access_token, body)
            .await;
        Client {
            id: created.is(201, "").text("client_id"),
            secret: created.text("client_secret"),
        }
    }

    /// Returns a form with client authentication and these parameters.
    pub fn form<'a>(&'a self, parameters: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        [
            &[
                ("client_id", self.id.as_str()),
                ("client_secret", self.secret.as_str()),
            ],
            parameters,
        ]
        .concat()
    }

    /// Requests a token with these further parameters.
    pub async fn request_token(
        &self,
        server: &TestServer,
        parameters: &[(&str, &str)],
    ) -> TestResponse {
        let form = self.form(&[&[("grant_type", "client_credentials")], parameters].concat());
        server.form("/oauth/token", &form).await
    }

    /// Requests a token and returns it.
    pub async fn token(&self, server: &TestServer) -> String {
        self.request_token(server, &[])
            .await
            .is(200, "")
            .text("access_token")
    }

    pub async fn introspect(&self, server: &TestServer, token: &str) -> Value {
        let response = server
            .form("/oauth/introspect", &self.form(&[("token", token)]))
            .await;
        assert_eq!(response.is(200, "").header("cache-control"), "no-store");
        response.body
    }
}

/// A user, an administrator, and an OAuth client.
pub struct Fixture {
    pub server: TestServer,
    pub admin: Session,
    pub session: Session,
    pub client: Client,
}

impl Fixture {
    pub async fn new() -> Fixture {
        Fixture::of(TestServer::shared().await).await
    }

    pub async fn of(server: TestServer) -> Fixture {
        let (admin, user) = (server.admin("root").await, server.sign_up("john").await);
        let client = Client::register(&server, &admin, "items:read user:read").await;
        Fixture {
            server,
            admin,
            session: user,
            client,
        }
    }

    /// Returns whether a token is active. For an inactive token, there are no other fields.
    pub async fn is_active(&self, token: &str) -> bool {
        let body = self.client.introspect(&self.server, token).await;
        let is_active = body["active"].as_bool().expect("a boolean");
        assert!(is_active || body == json!({"active": false}), "{body}");
        is_active
    }

    /// Creates a request with this form, without encoding it.
    pub fn form_request(&self, path: &str, form: &str) -> RequestBuilder {
        self.server
            .request(Method::POST, path)
            .header("content-type", FORM)
            .body(form.to_owned())
    }

    /// Creates a personal access token of the user. Returns its ID and its text.
    pub async fn create_personal_token(&self, scope: &str) -> (String, String) {
        personal_access_tokens::make(&self.server, &self.session, scope).await
    }
}

/// Creates a well-formed token with this ID that was never issued.
pub fn forged(purpose: OpaqueTokenKind, id: &str) -> String {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("random bytes");
    let id = id.parse().expect("an ID");
    OpaqueToken::new(purpose, id, SecretBox::new(Box::new(secret)))
        .text()
        .expose_secret()
        .to_owned()
}

/// Checks a token with the required scope `items:read`. Without a required scope, client tokens are
/// rejected.
pub async fn check(server: &TestServer, token: &str) -> (u16, String) {
    server
        .verify_at("/auth/verify?scope=items:read", token)
        .await
}

/// Asserts an error response of RFC 6749 section 5.2.
#[track_caller]
pub fn assert_oauth_error(response: &TestResponse, status: u16, error: &str, context: &str) {
    let context = format!("{context}: {}", response.string());
    assert_eq!(
        (response.status, response.body["error"].as_str()),
        (status, Some(error)),
        "{context}"
    );
    let fields = response.body.as_object().expect("an object");
    assert!(
        fields.len() == 2 && fields["error_description"].is_string(),
        "{context}"
    );
    assert!(
        response
            .header("content-type")
            .starts_with("application/json"),
        "{context}"
    );
    assert_eq!(response.header("cache-control"), "no-store", "{context}");
    let challenge = if status == 401 {
        "Basic realm=\"latchkey\""
    } else {
        ""
    };
    assert_eq!(response.header("www-authenticate"), challenge, "{context}");
    assert_eq!(
        !response.header("retry-after").is_empty(),
        [429, 503].contains(&status),
        "{context}"
    );
}
