//! Fields about the original request that a trusted proxy sends twice, or that contradict each
//! other. The client might have sent one of them, so every credential is rejected.

use reqwest::{Method, RequestBuilder, header};
use serde_json::json;

use super::{assert_rejected, check_request, identity};
use crate::{
    browser::{NAME, open},
    test_server::{Session, TestServer},
};

type Fields<'a> = &'a [(&'a str, &'a str)];

/// Fields, and the name of the field that the error contains.
const INVALID: &[(Fields, &str)] = &[
    (
        &[("x-forwarded-method", "GET"), ("x-forwarded-method", "GET")],
        "X-Forwarded-Method",
    ),
    (
        &[("x-original-method", "GET"), ("x-original-method", "")],
        "X-Original-Method",
    ),
    (
        &[("x-forwarded-method", "GET"), ("x-original-method", "POST")],
        "X-Forwarded-Method",
    ),
    (
        &[("x-forwarded-method", "POST"), ("x-original-method", "GET")],
        "X-Forwarded-Method",
    ),
    (
        &[
            ("x-forwarded-proto", "https"),
            ("x-forwarded-proto", "https"),
        ],
        "X-Forwarded-Proto",
    ),
    (
        &[
            ("x-forwarded-host", "app.example.com"),
            ("x-forwarded-host", "evil.example"),
        ],
        "X-Forwarded-Host",
    ),
    (
        &[("x-forwarded-uri", "/"), ("x-forwarded-uri", "/")],
        "X-Forwarded-Uri",
    ),
    (
        &[
            ("x-original-url", "https://app.example.com/"),
            ("x-original-url", "https://app.example.com/"),
        ],
        "X-Original-URL",
    ),
    (&[("x-original-url", "/a")], "X-Original-URL"),
    (
        &[
            ("x-original-url", "https://app.example.com/"),
            ("x-forwarded-proto", "http"),
        ],
        "X-Forwarded-Proto",
    ),
    (
        &[
            ("x-original-url", "https://app.example.com/"),
            ("x-forwarded-host", "evil.example"),
        ],
        "X-Forwarded-Host",
    ),
    (
        &[
            ("x-original-url", "https://app.example.com/"),
            ("x-forwarded-host", "app.example.com."),
        ],
        "X-Forwarded-Host",
    ),
    (
        &[
            ("x-original-url", "https://app.example.com/a"),
            ("x-forwarded-uri", "/b"),
        ],
        "X-Forwarded-Uri",
    ),
];

/// Fields of which each describes the same request, or that are no error because the client
/// chooses the path.
const VALID: &[Fields] = &[
    &[
        ("x-original-url", "WSS://APP.example.com:443/a"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example.com"),
        ("x-forwarded-uri", "/a"),
        ("x-original-method", "GET"),
    ],
    &[("x-original-url", "https://app.example.com//evil")],
    &[("x-forwarded-uri", "//evil.example")],
    &[("x-forwarded-uri", "http://evil.example")],
    &[("x-forwarded-proto", "nonsense")],
    &[("x-forwarded-host", "nonsense/")],
];

fn with_fields(request: RequestBuilder, fields: Fields) -> RequestBuilder {
    fields.iter().fold(request, |request, (name, value)| {
        request.header(*name, *value)
    })
}

/// Checks with a cookie, an access token, and a personal access token of the same user.
struct Credentials {
    cookie: String,
    session: Session,
    personal_access_token: String,
}

impl Credentials {
    async fn new(server: &TestServer) -> Credentials {
        let session = server.sign_up("john").await;
        let body = json!({"name": "check", "scope": "user:read"});
        let token = server
            .with_token(Method::POST, "/user/tokens", &session.access_token, body)
            .await;
        Credentials {
            cookie: open(server, "john").await,
            session,
            personal_access_token: token.is(201, "").text("token"),
        }
    }

    fn checks(&self, server: &TestServer) -> [RequestBuilder; 3] {
        [
            check_request(server, "").header(header::COOKIE, format!("{NAME}={}", self.cookie)),
            check_request(server, "").bearer_auth(&self.session.access_token),
            check_request(server, "").bearer_auth(&self.personal_access_token),
        ]
    }
}

#[tokio::test]
async fn repeated_or_contradictory_fields_reject_every_credential() {
    let server = TestServer::shared().await;
    let credentials = Credentials::new(&server).await;
    for (fields, field) in INVALID {
        for check in credentials.checks(&server) {
            let response = server.send(with_fields(check, fields)).await;
            assert_rejected(&response, 400, "invalid_request");
            assert_eq!(response.body["errors"][0]["field"], *field, "{fields:?}");
        }
        let without_credential = with_fields(check_request(&server, ""), fields);
        assert_rejected(
            &server.send(without_credential).await,
            400,
            "invalid_request",
        );
    }
}

#[tokio::test]
async fn consistent_fields_accept_every_credential() {
    let server = TestServer::shared().await;
    let credentials = Credentials::new(&server).await;
    for fields in VALID {
        for check in credentials.checks(&server) {
            let check = check.header("x-forwarded-method", "GET");
            let response = server.send(with_fields(check, fields)).await;
            assert_eq!(response.status, 204, "{fields:?} {}", response.string());
            assert_eq!(identity(&response)[1], "john");
        }
    }
    let long = format!("/{}", "a".repeat(9000));
    let check = check_request(&server, "").bearer_auth(&credentials.session.access_token);
    let check = check.header("x-forwarded-uri", long);
    server.send(check).await.is(204, "");
}

#[tokio::test]
async fn fields_of_untrusted_peer_are_no_error() {
    let server = TestServer::with(&[("LATCHKEY_TRUSTED_PROXIES", "10.0.0.0/8")]).await;
    let credentials = Credentials::new(&server).await;
    for (fields, _) in INVALID {
        let [by_cookie, by_token, by_personal_token] = credentials.checks(&server);
        let response = server.send(with_fields(by_cookie, fields)).await;
        assert_rejected(&response, 403, "csrf");
        for check in [by_token, by_personal_token] {
            let response = server.send(with_fields(check, fields)).await;
            assert_eq!(response.status, 204, "{fields:?} {}", response.string());
        }
    }
}
