//! Tests every protected operation with every kind of invalid credential.
//!
//! The OpenAPI document lists the operations, so that the tests cover new ones automatically.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    contract::{operations, with_example},
    test_server::{Session, TestResponse, TestServer, wait_until},
    test_stores::query_value,
    token_signer::{TokenSigner, with},
};

/// The values of the `Authorization` headers of a request, and the expected error.
pub struct Case {
    name: String,
    authorization: Vec<String>,
    status: u16,
    code: &'static str,
}

fn case(name: impl Into<String>, authorization: &[&str], status: u16, code: &'static str) -> Case {
    Case {
        name: name.into(),
        authorization: authorization
            .iter()
            .map(|value| (*value).to_owned())
            .collect(),
        status,
        code,
    }
}

/// Returns a case for a token that this server didn't issue, or issued for another audience.
pub fn invalid(name: impl Into<String>, token: &str) -> Case {
    case(name, &[&format!("Bearer {token}")], 401, "invalid_token")
}

/// Returns the operations that require authentication and accept a bearer token.
fn protected_operations(id: &str) -> Vec<(Method, String, &'static Value)> {
    let is_protected = |operation: &Value| {
        operation["security"].as_array().is_some_and(|schemes| {
            schemes
                .iter()
                .all(|scheme| scheme.as_object().is_some_and(|scheme| !scheme.is_empty()))
                && schemes
                    .iter()
                    .any(|scheme| scheme.get("password").is_some())
        })
    };
    operations(id)
        .into_iter()
        .filter(|(_, _, operation)| is_protected(operation))
        .collect()
}

/// A server with a signed-in user and an item, which rejected requests must not change.
pub struct Fixture {
    pub server: TestServer,
    pub session: Session,
    item: String,
}

impl Fixture {
    pub async fn new() -> Fixture {
        let server = TestServer::shared().await;
        let session = server.sign_up("john").await;
        let response = server.create_item(&session, "Book").await;
        Fixture {
            item: response.is(201, "").text("id"),
            server,
            session,
        }
    }

    /// Asserts that each protected operation rejects each case and changes nothing.
    pub async fn check(&self, cases: &[Case]) {
        let before = self.fingerprint().await;
        let operations = protected_operations(&self.item);
        assert!(
            operations.len() >= 11,
            "protected operations in the OpenAPI document"
        );
        for (method, path, operation) in &operations {
            for case in cases {
                let response = self
                    .send(method, path, operation, &case.authorization)
                    .await;
                let context = format!("{} at {method} {path}: {}", case.name, response.string());
                assert_eq!(
                    (response.status, response.code().as_str()),
                    (case.status, case.code),
                    "{context}"
                );
                assert_eq!(
                    response.header("www-authenticate"),
                    challenge(case.code),
                    "{context}"
                );
                assert_eq!(response.header("x-auth-user"), "", "{context}");
            }
        }
        assert_eq!(
            self.fingerprint().await,
            before,
            "rejected requests change nothing"
        );
        assert_eq!(self.server.verify(&self.session.access_token).await.0, 204);
    }

    /// Sends the example body of the OpenAPI document, so that only the credential is invalid.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        operation: &Value,
        authorization: &[String],
    ) -> TestResponse {
        let request = self.server.request(method.clone(), path);
        let request = authorization.iter().fold(request, |request, value| {
            request.header(header::AUTHORIZATION, value)
        });
        self.server.send(with_example(request, operation)).await
    }

    async fn fingerprint(&self) -> String {
        let users = "select coalesce(string_agg(u::text, ';' order by id), '') from users u";
        let items = "select coalesce(string_agg(i::text, ';' order by id), '') from items i";
        let sessions = "select coalesce(string_agg(s::text, ';' order by id), '') from sessions s";
        query_value(
            &self.server,
            &format!(
                "select ({users}) || ({items}) || ({sessions}) \
                 || (select count(*) from email_outbox) \
                 || (select count(*) from revocations) || ' ' \
                 || (select count(*) from audit_events where outcome = 'success')"
            ),
        )
        .await
    }
}

/// Returns the expected `WWW-Authenticate` header.
///
/// RFC 6750, section 3: it contains no error code if the request has no credential.
fn challenge(code: &str) -> &'static str {
    match code {
        "unauthenticated" => "Bearer realm=\"latchkey\"",
        "invalid_token" => {
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token is invalid\""
        }
        "token_expired" => {
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token has expired\""
        }
        "token_revoked" => {
            "Bearer realm=\"latchkey\", error=\"invalid_token\", \
             error_description=\"The access token has been revoked\""
        }
        _other => "",
    }
}

#[tokio::test]
async fn every_protected_operation_accepts_valid_token() {
    let fixture = Fixture::new().await;
    for (method, path, operation) in protected_operations(&fixture.item) {
        // A deletion would revoke the token or remove the item, which later operations need.
        if method != Method::DELETE {
            let response = fixture
                .send(
                    &method,
                    &path,
                    operation,
                    &[format!("Bearer {}", fixture.session.access_token)],
                )
                .await;
            // These errors occur after the authentication.
            let allowed_errors = [
                "incorrect_password",
                "invalid_code",
                "email_disabled",
                "forbidden",
            ];
            assert!(
                response.status < 300 || allowed_errors.contains(&response.code().as_str()),
                "{method} {path}: {}",
                response.string()
            );
        }
    }
}

#[tokio::test]
async fn missing_or_ambiguous_credential_is_rejected() {
    let fixture = Fixture::new().await;
    let token = &fixture.session.access_token;
    let bearer = format!("Bearer {token}");
    fixture
        .check(&[
            case("no credential", &[], 401, "unauthenticated"),
            case(
                "basic",
                &["Basic am9objpzZWNyZXQxMjM="],
                401,
                "unauthenticated",
            ),
            case(
                "another scheme with a valid token",
                &[&format!("DPoP {token}")],
                401,
                "unauthenticated",
            ),
            case("no scheme", &[token], 401, "unauthenticated"),
            case("the scheme alone", &["Bearer"], 401, "unauthenticated"),
            // RFC 6750, section 3.1: two credentials in one request are an `invalid_request`.
            case("two tokens", &[&bearer, &bearer], 400, "invalid_request"),
            case(
                "basic and bearer",
                &["Basic Og==", &bearer],
                400,
                "invalid_request",
            ),
        ])
        .await;
}

#[tokio::test]
async fn malformed_token_is_rejected() {
    let fixture = Fixture::new().await;
    let valid = &fixture.session.access_token;
    let (message, signature) = valid.rsplit_once('.').expect("three parts");
    let (head, payload) = message.split_once('.').expect("three parts");
    let json = format!(
        "{{\"payload\":\"{payload}\",\"signatures\":\
         [{{\"protected\":\"{head}\",\"signature\":\"{signature}\"}}]}}"
    );
    let malformed = [
        ("a word", "garbage".to_owned()),
        ("dots", "...".to_owned()),
        ("two parts", message.to_owned()),
        ("an empty signature", format!("{message}.")),
        ("a shorter signature", valid[..valid.len() - 1].to_owned()),
        ("a longer signature", format!("{valid}A")),
        ("padding", format!("{valid}==")),
        ("a fourth part", format!("{valid}.{signature}")),
        (
            "another payload",
            format!("{head}.{}.{signature}", &payload[..payload.len() - 4]),
        ),
        ("a space inside", format!("{head}. {payload}.{signature}")),
        ("a list of two tokens", format!("{valid},{valid}")),
        ("a very long token", format!("{valid}{}", "A".repeat(8000))),
        ("JSON serialization", json),
        ("a refresh token", fixture.session.refresh_token.clone()),
    ];
    let cases: Vec<_> = malformed
        .iter()
        .map(|(name, token)| invalid(*name, token))
        .collect();
    fixture.check(&cases).await;
}

#[tokio::test]
async fn expired_token_is_rejected() {
    let fixture = Fixture::new().await;
    let (signer, claims) = (
        TokenSigner::of(&fixture.server).await,
        fixture.session.claims(),
    );
    let now = claims["iat"].as_u64().expect("a timestamp");
    let expired = |exp: u64| {
        case(
            format!("exp {exp}"),
            &[&format!(
                "Bearer {}",
                signer.sign(&with(&claims, "exp", json!(exp)))
            )],
            401,
            "token_expired",
        )
    };
    fixture
        .check(&[
            expired(now),
            expired(now - 1),
            expired(now - 86_400),
            expired(0),
        ])
        .await;
}

/// The server issued this token, so the test waits for the expiration.
#[tokio::test]
async fn token_is_valid_until_it_expires() {
    let server = TestServer::with(&[("LATCHKEY_ACCESS_LIFETIME", "2s")]).await;
    let session = server.sign_up("john").await;
    wait_until("the token expires", || async {
        let result = server.verify(&session.access_token).await;
        assert!(result.0 == 204 || result.1 == "token_expired", "{result:?}");
        result.0 == 401
    })
    .await;
    let user = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    user.is(401, "token_expired");
}

#[tokio::test]
async fn revoked_token_is_rejected() {
    let fixture = Fixture::new().await;
    let signed_out = fixture.server.sign_in("john").await;
    fixture
        .server
        .sign_out(&signed_out.access_token)
        .await
        .is(204, "");
    let deleted = fixture.server.sign_up("jane").await;
    fixture
        .server
        .with_token(Method::DELETE, "/user", &deleted.access_token, Value::Null)
        .await
        .is(204, "");
    let revoked = |name, session: &Session| {
        case(
            name,
            &[&format!("Bearer {}", session.access_token)],
            401,
            "token_revoked",
        )
    };
    fixture
        .check(&[
            revoked("revoked by sign-out", &signed_out),
            revoked("revoked by deletion of the user", &deleted),
        ])
        .await;
}

/// The other servers have another database, another issuer, or another audience.
#[tokio::test]
async fn token_of_other_server_is_rejected() {
    let fixture = Fixture::new().await;
    let other_server = TestServer::start().await.sign_up("john").await;
    let other_issuer = TestServer::with(&[("LATCHKEY_ISSUER", "https://other.example.com")])
        .await
        .sign_up("john")
        .await;
    let other_audience = fixture
        .server
        .replica_with(&[("LATCHKEY_AUDIENCE", "https://api.example.com")])
        .await;
    let other_audience_session = other_audience.sign_up("jane").await;
    assert_eq!(
        other_audience
            .verify(&other_audience_session.access_token)
            .await
            .0,
        204
    );
    assert_eq!(
        other_audience.verify(&fixture.session.access_token).await,
        (401, "invalid_token".into())
    );
    fixture
        .check(&[
            invalid("another server", &other_server.access_token),
            invalid("another issuer", &other_issuer.access_token),
            invalid("another audience", &other_audience_session.access_token),
        ])
        .await;
}

#[tokio::test]
async fn forward_auth_check_returns_only_identity_headers() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let claims = session.claims();
    for path in ["/auth/verify", "/auth/verify/"] {
        let response = server
            .with_token(Method::GET, path, &session.access_token, Value::Null)
            .await;
        assert!(response.is(204, "").bytes.is_empty());
        assert_eq!(
            (
                response.header("x-auth-user"),
                response.header("x-auth-session")
            ),
            (
                claims["sub"].as_str().expect("a user ID"),
                claims["sid"].as_str().expect("a session ID")
            )
        );
        assert_eq!(response.header("cache-control"), "no-store");
    }
    let image_request = server
        .request(Method::GET, "/auth/verify")
        .bearer_auth(&session.access_token)
        .header(header::ACCEPT, "image/png");
    server.send(image_request).await.is(204, "");
    let spoofed_request = server
        .request(Method::GET, "/auth/verify")
        .header("x-auth-user", "00000000-0000-0000-0000-000000000000");
    let response = server.send(spoofed_request).await;
    assert_eq!(
        response.is(401, "unauthenticated").header("x-auth-user"),
        ""
    );
}
