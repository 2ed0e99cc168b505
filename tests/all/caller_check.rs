//! Every protected operation × every bad credential. The operations come from the document, so that
//! none is forgotten.

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    contract::{operations, with_example},
    test_server::{Session, TestResponse, TestServer, until},
    test_stores::ask,
    token_signer::{TokenSigner, with},
};

/// One credential, and what must be answered to it.
pub struct Case {
    name: String,
    fields: Vec<String>,
    status: u16,
    code: &'static str,
}

fn case(name: impl Into<String>, fields: &[&str], status: u16, code: &'static str) -> Case {
    Case {
        name: name.into(),
        fields: fields.iter().map(|field| (*field).to_owned()).collect(),
        status,
        code,
    }
}

/// A token that is none of ours, or not for this place.
pub fn invalid(name: impl Into<String>, token: &str) -> Case {
    case(name, &[&format!("Bearer {token}")], 401, "invalid_token")
}

/// The operations that want a caller, and take a bearer token.
fn protected(id: &str) -> Vec<(Method, String, &'static Value)> {
    let wants_caller = |operation: &Value| {
        operation["security"].as_array().is_some_and(|ways| {
            ways.iter()
                .all(|way| way.as_object().is_some_and(|way| !way.is_empty()))
                && ways.iter().any(|way| way.get("password").is_some())
        })
    };
    operations(id)
        .into_iter()
        .filter(|(_, _, operation)| wants_caller(operation))
        .collect()
}

/// Somebody with an item; everything that a refused request must leave alone.
pub struct Fixture {
    pub server: TestServer,
    pub session: Session,
    item: String,
}

impl Fixture {
    pub async fn new() -> Fixture {
        let server = TestServer::shared().await;
        let session = server.sign_up("john").await;
        let made = server.create_item(&session, "Book").await;
        Fixture {
            item: made.is(201, "").text("id"),
            server,
            session,
        }
    }

    /// Sends each case to each protected operation, which must refuse it and do nothing.
    pub async fn check(&self, cases: &[Case]) {
        let before = self.fingerprint().await;
        let operations = protected(&self.item);
        assert!(
            operations.len() >= 11,
            "the document lists what is protected"
        );
        for (method, path, operation) in &operations {
            for case in cases {
                let response = self.send(method, path, operation, &case.fields).await;
                let what = format!("{} at {method} {path}: {}", case.name, response.string());
                assert_eq!(
                    (response.status, response.code().as_str()),
                    (case.status, case.code),
                    "{what}"
                );
                assert_eq!(
                    response.header("www-authenticate"),
                    challenge(case.code),
                    "{what}"
                );
                assert_eq!(response.header("x-auth-user"), "", "{what}");
            }
        }
        assert_eq!(
            self.fingerprint().await,
            before,
            "no refused request did anything"
        );
        assert_eq!(self.server.verify(&self.session.access_token).await.0, 204);
    }

    /// With the body that the document gives as an example, so that the credential alone is wrong.
    async fn send(
        &self,
        method: &Method,
        path: &str,
        operation: &Value,
        fields: &[String],
    ) -> TestResponse {
        let request = self.server.request(method.clone(), path);
        let request = fields.iter().fold(request, |request, field| {
            request.header(header::AUTHORIZATION, field)
        });
        self.server.send(with_example(request, operation)).await
    }

    async fn fingerprint(&self) -> String {
        let users = "select coalesce(string_agg(u::text, ';' order by id), '') from users u";
        let items = "select coalesce(string_agg(i::text, ';' order by id), '') from items i";
        let sessions = "select coalesce(string_agg(s::text, ';' order by id), '') from sessions s";
        ask(
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

/// RFC 6750 section 3: no error where nothing was sent.
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
async fn every_protected_operation_answers_a_good_token() {
    let fixture = Fixture::new().await;
    for (method, path, operation) in protected(&fixture.item) {
        // Deleting the account would take the token along, and the item is wanted to the end.
        if method != Method::DELETE {
            let response = fixture
                .send(
                    &method,
                    &path,
                    operation,
                    &[format!("Bearer {}", fixture.session.access_token)],
                )
                .await;
            // Those for administrators have a test of their own.
            let fine = [
                "incorrect_password",
                "invalid_code",
                "email_disabled",
                "forbidden",
            ];
            assert!(
                response.status < 300 || fine.contains(&response.code().as_str()),
                "{method} {path}: {}",
                response.string()
            );
        }
    }
}

#[tokio::test]
async fn without_a_token_nothing_passes() {
    let fixture = Fixture::new().await;
    let token = &fixture.session.access_token;
    let bearer = format!("Bearer {token}");
    fixture
        .check(&[
            case("nothing", &[], 401, "unauthenticated"),
            case(
                "basic",
                &["Basic am9objpzZWNyZXQxMjM="],
                401,
                "unauthenticated",
            ),
            case(
                "another scheme with our token",
                &[&format!("DPoP {token}")],
                401,
                "unauthenticated",
            ),
            case("no scheme", &[token], 401, "unauthenticated"),
            case("the scheme alone", &["Bearer"], 401, "unauthenticated"),
            // RFC 6750 section 3.1: more than one way to send a token is a bad request.
            case("twice", &[&bearer, &bearer], 400, "invalid_request"),
            case(
                "basic beside it",
                &["Basic Og==", &bearer],
                400,
                "invalid_request",
            ),
        ])
        .await;
}

#[tokio::test]
async fn what_is_no_token_does_not_pass() {
    let fixture = Fixture::new().await;
    let good = &fixture.session.access_token;
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (head, payload) = message.split_once('.').expect("three parts");
    let json = format!(
        "{{\"payload\":\"{payload}\",\"signatures\":\
         [{{\"protected\":\"{head}\",\"signature\":\"{signature}\"}}]}}"
    );
    let bad = [
        ("a word", "garbage".to_owned()),
        ("dots", "...".to_owned()),
        ("two parts", message.to_owned()),
        ("an empty signature", format!("{message}.")),
        ("a shorter one", good[..good.len() - 1].to_owned()),
        ("a longer one", format!("{good}A")),
        ("padding", format!("{good}==")),
        ("a fourth part", format!("{good}.{signature}")),
        (
            "another payload",
            format!("{head}.{}.{signature}", &payload[..payload.len() - 4]),
        ),
        ("a space within", format!("{head}. {payload}.{signature}")),
        ("two in one", format!("{good},{good}")),
        ("very long", format!("{good}{}", "A".repeat(8000))),
        ("JSON serialization", json),
        ("a refresh token", fixture.session.refresh_token.clone()),
    ];
    let cases: Vec<_> = bad
        .iter()
        .map(|(name, token)| invalid(*name, token))
        .collect();
    fixture.check(&cases).await;
}

#[tokio::test]
async fn an_expired_token_does_not_pass() {
    let fixture = Fixture::new().await;
    let (forge, claims) = (
        TokenSigner::of(&fixture.server).await,
        fixture.session.claims(),
    );
    let now = claims["iat"].as_u64().expect("seconds");
    let expired = |exp: u64| {
        case(
            format!("exp {exp}"),
            &[&format!(
                "Bearer {}",
                forge.sign(&with(&claims, "exp", json!(exp)))
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

/// The same with a token of the gateway's own, whose time has come.
#[tokio::test]
async fn a_token_passes_until_its_time_has_come() {
    let server = TestServer::with(&[("LATCHKEY_ACCESS_LIFETIME", "2s")]).await;
    let session = server.sign_up("john").await;
    until("it expires", || async {
        let verdict = server.verify(&session.access_token).await;
        assert!(
            verdict.0 == 204 || verdict.1 == "token_expired",
            "{verdict:?}"
        );
        verdict.0 == 401
    })
    .await;
    let user = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    user.is(401, "token_expired");
}

#[tokio::test]
async fn a_revoked_token_does_not_pass() {
    let fixture = Fixture::new().await;
    let out = fixture.server.sign_in("john").await;
    fixture.server.log_out(&out.access_token).await.is(204, "");
    let gone = fixture.server.sign_up("jane").await;
    fixture
        .server
        .with_token(Method::DELETE, "/user", &gone.access_token, Value::Null)
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
        .check(&[revoked("signed out", &out), revoked("deleted", &gone)])
        .await;
}

/// A gateway with a database of its own, one for another audience, and one with another secret.
#[tokio::test]
async fn a_token_of_another_gateway_does_not_pass() {
    let fixture = Fixture::new().await;
    let strange = TestServer::start().await.sign_up("john").await;
    let other_issuer = TestServer::with(&[("LATCHKEY_ISSUER", "https://other.example.com")])
        .await
        .sign_up("john")
        .await;
    let sibling = fixture
        .server
        .replica_with(&[("LATCHKEY_AUDIENCE", "https://api.example.com")])
        .await;
    let for_sibling = sibling.sign_up("jane").await;
    assert_eq!(sibling.verify(&for_sibling.access_token).await.0, 204);
    assert_eq!(
        sibling.verify(&fixture.session.access_token).await,
        (401, "invalid_token".into())
    );
    fixture
        .check(&[
            invalid("another server", &strange.access_token),
            invalid("another issuer", &other_issuer.access_token),
            invalid("another audience", &for_sibling.access_token),
        ])
        .await;
}

#[tokio::test]
async fn the_check_tells_who_it_is_and_nothing_else() {
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
                claims["sub"].as_str().expect("a user"),
                claims["sid"].as_str().expect("a session")
            )
        );
        assert_eq!(response.header("cache-control"), "no-store");
    }
    let image = server
        .request(Method::GET, "/auth/verify")
        .bearer_auth(&session.access_token)
        .header(header::ACCEPT, "image/png");
    server.send(image).await.is(204, "");
    let planted = server
        .request(Method::GET, "/auth/verify")
        .header("x-auth-user", "00000000-0000-0000-0000-000000000000");
    let refused = server.send(planted).await;
    assert_eq!(refused.is(401, "unauthenticated").header("x-auth-user"), "");
}
