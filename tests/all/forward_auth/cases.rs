//! Requests of clients to real proxies, and their expected outcomes.

use super::{IDENTITY, half_open::CheckTarget};

/// The credential of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Nothing,
    Bearer,
    Malformed,
    Expired,
    Revoked,
    Cookie,
    /// A cookie that is due for renewal.
    CookieDueForRenewal,
}

/// The expected outcome of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The application receives the request with the identity of the caller.
    Passes,
    /// Like `Passes`, or the proxy itself rejects the request because it is unusual.
    MayPass,
    /// The application receives the request without any identity, or the client receives an error.
    WithoutIdentity,
    /// The client receives this status.
    Rejected(u16),
    /// The application receives nothing.
    Blocked,
}

/// One request and its expected outcome.
pub struct Case {
    pub name: String,
    pub credential: Credential,
    pub method: &'static str,
    pub target: String,
    /// Header fields as they are sent, each with its line end.
    pub fields: String,
    pub body: Vec<u8>,
    /// The receiver of the proxy's check, if it isn't the server.
    pub check_target: Option<CheckTarget>,
    pub outcome: Outcome,
}

impl Case {
    fn new(name: impl Into<String>, credential: Credential, outcome: Outcome) -> Case {
        let (target, fields, body) = ("/".to_owned(), String::new(), Vec::new());
        Case {
            name: name.into(),
            credential,
            method: "GET",
            target,
            fields,
            body,
            check_target: None,
            outcome,
        }
    }

    fn method(self, method: &'static str) -> Case {
        Case { method, ..self }
    }

    fn target(self, target: impl Into<String>) -> Case {
        Case {
            target: target.into(),
            ..self
        }
    }

    fn field(self, field: &str) -> Case {
        Case {
            fields: self.fields + field + "\r\n",
            ..self
        }
    }

    fn check_target(self, target: CheckTarget) -> Case {
        Case {
            check_target: Some(target),
            ..self
        }
    }

    pub fn bytes(&self, credential: &str) -> Vec<u8> {
        let Case {
            method,
            target,
            fields,
            ..
        } = self;
        let connection = if fields.to_lowercase().contains("connection:") {
            ""
        } else {
            "Connection: close\r\n"
        };
        let head = format!(
            "{method} {target} HTTP/1.1\r\nHost: app.example.com\r\n\
             {connection}{credential}{fields}\r\n"
        );
        [head.as_bytes(), &self.body].concat()
    }
}

use Credential::*;
use Outcome::*;

pub fn all_cases() -> Vec<Case> {
    [
        credential_cases(),
        cookie_cases(),
        spoofing_cases(),
        method_cases(),
        path_cases(),
        size_cases(),
        upload_cases(),
        failure_cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn credential_cases() -> Vec<Case> {
    vec![
        Case::new("a valid token", Bearer, Passes),
        Case::new("no token", Nothing, Rejected(401)),
        Case::new("a malformed token", Malformed, Rejected(401)),
        Case::new("an expired token", Expired, Rejected(401)),
        Case::new("a revoked token", Revoked, Rejected(401)),
        Case::new("two tokens", Bearer, Blocked).field("Authorization: Bearer x"),
        Case::new("a valid token in the query", Nothing, Rejected(401)).target("/?access_token=x"),
    ]
}

const APP_ORIGIN: &str = "Origin: http://app.example.com";
const EVIL_ORIGIN: &str = "Origin: http://evil.example";

fn cookie_cases() -> Vec<Case> {
    let post = |name: &str, outcome| {
        Case::new(name, Cookie, outcome)
            .method("POST")
            .field("Content-Length: 0")
    };
    vec![
        Case::new("a cookie", Cookie, Passes),
        Case::new("a cookie due for renewal", CookieDueForRenewal, Passes),
        post("POST with a cookie, no Origin", Rejected(403)),
        post("POST with a cookie, the application's Origin", Passes).field(APP_ORIGIN),
        post("POST with a cookie, another Origin", Rejected(403)).field(EVIL_ORIGIN),
        post("POST with a cookie, `Origin: null`", Rejected(403)).field("Origin: null"),
        post("POST with a cookie, two Origins", Blocked)
            .field(APP_ORIGIN)
            .field(EVIL_ORIGIN),
        post("POST with a cookie, spoofed as GET", Rejected(403)).field("X-Forwarded-Method: GET"),
        post("the same in X-Original-Method", Rejected(403)).field("X-Original-Method: GET"),
        post("the method, named in Connection", Blocked)
            .field("X-Forwarded-Method: GET")
            .field("Connection: close, X-Forwarded-Method"),
        post("POST with a cookie, spoofed host", Rejected(403))
            .field(EVIL_ORIGIN)
            .field("X-Forwarded-Host: evil.example"),
        post("the spoofed host, named in Connection", Blocked)
            .field(EVIL_ORIGIN)
            .field("X-Forwarded-Host: evil.example")
            .field("Connection: close, X-Forwarded-Host"),
        web_socket_upgrade(
            "a WebSocket with a cookie, another Origin",
            EVIL_ORIGIN,
            Blocked,
        ),
        web_socket_case(),
        http2_upgrade_case(),
    ]
}

/// Requests after a switch to another protocol would reach the application unchecked.
pub fn http2_upgrade_case() -> Case {
    Case::new("an upgrade to HTTP/2", Bearer, Passes)
        .field("Connection: Upgrade, HTTP2-Settings")
        .field("Upgrade: h2c")
        .field("HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
}

/// A WebSocket upgrade that the check allows.
pub fn web_socket_case() -> Case {
    web_socket_upgrade(
        "a WebSocket with a cookie, the application's Origin",
        APP_ORIGIN,
        Passes,
    )
}

fn web_socket_upgrade(name: &str, origin: &str, outcome: Outcome) -> Case {
    Case::new(name, Cookie, outcome)
        .field("Connection: Upgrade")
        .field("Upgrade: websocket")
        .field("Sec-WebSocket-Version: 13")
        .field("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        .field(origin)
}

/// All identity headers with a spoofed value, each written by this function.
fn spoofed_headers(write: impl Fn(&str) -> String) -> String {
    IDENTITY.iter().map(|name| write(name) + "\r\n").collect()
}

fn title_case(name: &str) -> String {
    name.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect::<Vec<_>>()
        .join("-")
}

fn spoofing_cases() -> Vec<Case> {
    let spoofed = spoofed_headers(|name| format!("{}: planted", title_case(name)));
    let spoof = |name: &str, outcome, fields: &str| {
        let case = |name: &str, credential, outcome| Case {
            fields: fields.to_owned(),
            ..Case::new(name, credential, outcome)
        };
        [
            case(name, Bearer, outcome),
            case(&format!("{name}, no token"), Nothing, Blocked),
        ]
    };
    let header_names = IDENTITY.join(", ");
    let variants = [
        ("spoofed X-Auth-* headers", Passes, spoofed.clone()),
        ("spoofed twice", Passes, spoofed.repeat(2)),
        (
            "in lowercase",
            Passes,
            spoofed_headers(|name| format!("{name}: planted")),
        ),
        (
            "in uppercase",
            Passes,
            spoofed_headers(|name| format!("{}: planted", name.to_uppercase())),
        ),
        (
            "with underscores",
            MayPass,
            spoofed_headers(|name| format!("{}: planted", title_case(name).replace('-', "_"))),
        ),
        (
            "with one underscore",
            MayPass,
            spoofed_headers(|name| {
                format!("{}: planted", title_case(name).replacen("h-", "h_", 1))
            }),
        ),
        (
            "with dots",
            MayPass,
            spoofed_headers(|name| format!("{}: planted", title_case(name).replace('-', "."))),
        ),
        (
            "named in Connection",
            Passes,
            format!("Connection: close, {header_names}\r\n"),
        ),
        (
            "spoofed and named in Connection",
            Passes,
            format!("{spoofed}Connection: close, {header_names}\r\n"),
        ),
        (
            "named in a second Connection",
            MayPass,
            format!("{spoofed}Connection: close\r\nConnection: {header_names}\r\n"),
        ),
        (
            "with a space before the colon",
            MayPass,
            spoofed_headers(|name| format!("{} : planted", title_case(name))),
        ),
        (
            "with a tab before the colon",
            MayPass,
            spoofed_headers(|name| format!("{}\t: planted", title_case(name))),
        ),
        (
            "folded",
            MayPass,
            spoofed_headers(|name| format!("X-Other: a\r\n {}: planted", title_case(name))),
        ),
        (
            "folded, with an empty line before",
            MayPass,
            spoofed_headers(|name| format!("{}:\r\n planted", title_case(name))),
        ),
        (
            "after a bare line feed",
            MayPass,
            spoofed_headers(|name| format!("X-Other: a\n{}: planted", title_case(name))),
        ),
        (
            "after a bare carriage return",
            MayPass,
            spoofed_headers(|name| format!("X-Other: a\r{}: planted", title_case(name))),
        ),
    ];
    let mut cases: Vec<_> = variants
        .iter()
        .flat_map(|(name, outcome, fields)| spoof(name, *outcome, fields))
        .collect();
    let trailers = spoofed_headers(|name| format!("{}: planted", title_case(name)));
    let chunked = Case::new("as trailers of a body", Bearer, MayPass)
        .method("POST")
        .field("Transfer-Encoding: chunked");
    cases.push(Case {
        body: format!("3\r\nabc\r\n0\r\n{trailers}\r\n").into_bytes(),
        ..chunked.field("Trailer: X-Auth-User")
    });
    let credential = |name, field| Case::new(name, Bearer, Blocked).field(field);
    cases.push(Case {
        outcome: MayPass,
        ..credential(
            "the token named in Connection",
            "Connection: close, Authorization",
        )
    });
    cases
}

/// Returns a request with a token, and the same request without one, which must not pass.
fn with_and_without_token(name: &str, with: Outcome, change: impl Fn(Case) -> Case) -> [Case; 2] {
    [
        change(Case::new(name, Bearer, with)),
        change(Case::new(format!("{name}, no token"), Nothing, Blocked)),
    ]
}

fn method_cases() -> Vec<Case> {
    let forwarded_methods = [
        "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY",
    ];
    let mut cases: Vec<_> = forwarded_methods
        .iter()
        .flat_map(|method| with_and_without_token(method, Passes, |case| bodiless(case, method)))
        .collect();
    for method in ["TRACE", "CONNECT", "get", "G-T"] {
        cases.extend(with_and_without_token(method, MayPass, |case| {
            bodiless(case, method)
        }));
    }
    let preflight = Case::new("a CORS preflight", Nothing, Blocked)
        .method("OPTIONS")
        .field(EVIL_ORIGIN);
    cases.push(preflight.field("Access-Control-Request-Method: DELETE"));
    cases
}

fn bodiless(case: Case, method: &'static str) -> Case {
    let case = case.method(method);
    if ["POST", "PUT", "PATCH", "QUERY"].contains(&method) {
        case.field("Content-Length: 0")
    } else {
        case
    }
}

fn path_cases() -> Vec<Case> {
    let unusual_paths = [
        "//",
        "//evil.example/",
        "/..;/admin",
        "/a/../admin",
        "/%2e%2e/admin",
        "/a%2fb",
        "/a%5cb",
        "/%00",
        "/%ff",
        "/a%",
        "/auth/verify",
        "/auth/verify/x",
        "/_latchkey",
        "/?role=admin&role=x&y=%",
        "http://app.example.com/x",
        "http://evil.example/x",
        "/a#b",
        "\\\\a",
    ];
    let mut cases: Vec<_> = unusual_paths
        .iter()
        .flat_map(|path| {
            with_and_without_token(&format!("`{path}`"), MayPass, |case| case.target(*path))
        })
        .collect();
    cases.extend(with_and_without_token(
        "a path of 7,000 bytes",
        MayPass,
        |case| case.target(format!("/{}", "a".repeat(7000))),
    ));
    cases.extend(with_and_without_token("OPTIONS *", MayPass, |case| {
        case.method("OPTIONS").target("*")
    }));
    cases
}

fn size_cases() -> Vec<Case> {
    let field = |bytes: usize| format!("X-Large: {}", "x".repeat(bytes));
    let mut cases = Vec::new();
    for bytes in [4_000, 30_000, 100_000] {
        cases.extend(with_and_without_token(
            &format!("a header of {bytes} bytes"),
            MayPass,
            |case| case.field(&field(bytes)),
        ));
    }
    cases.extend(with_and_without_token("300 headers", MayPass, |case| {
        (0..300).fold(case, |case, n| case.field(&format!("X-{n}: x")))
    }));
    cases
}

/// Uploads of 300,000 bytes with a bearer token, and with every forwarding header that a client
/// can spoof.
pub fn upload_cases() -> Vec<Case> {
    let upload = |name: &str, field: &str, body: Vec<u8>| {
        let case = Case {
            body,
            ..Case::new(name, Bearer, Passes)
                .method("POST")
                .target("/a?role=admin")
                .field(field)
        };
        let forwarding_headers = [
            "Method: GET",
            "Host: evil.example",
            "Proto: https",
            "For: 192.0.2.1",
            "Uri: /evil",
        ];
        let case = forwarding_headers.iter().fold(case, |case, header| {
            case.field(&format!("X-Forwarded-{header}"))
        });
        case.field("X-Original-Method: GET")
            .field("X-Original-URL: https://evil.example/evil")
            .field("Forwarded: for=192.0.2.1;host=evil.example;proto=https")
    };
    let chunk = [b"2710\r\n".as_slice(), &[b'x'; 10_000], b"\r\n"].concat();
    vec![
        upload(
            "a body of 300,000 bytes",
            "Content-Length: 300000",
            vec![b'x'; 300_000],
        ),
        upload(
            "the same in chunks",
            "Transfer-Encoding: chunked",
            [&chunk.repeat(30)[..], b"0\r\n\r\n"].concat(),
        ),
    ]
}

/// `GET /` with this credential.
pub fn get_case(credential: Credential) -> Case {
    Case::new(format!("{credential:?}"), credential, MayPass)
}

/// Requests with a valid token while the check fails.
fn failure_cases() -> Vec<Case> {
    let response = |status: &str, rest: &str| {
        CheckTarget::Response(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\n{rest}\r\n"
        ))
    };
    let failure = |name: &str, target| Case::new(name, Bearer, Blocked).check_target(target);
    vec![
        failure("the check returns 500", response("500 Oops", "")),
        failure(
            "the check returns 503",
            response("503 Busy", "retry-after: 1\r\n"),
        ),
        failure("the check returns 400", response("400 Bad", "")),
        failure("the check returns 404", response("404 None", "")),
        failure("the check returns 429", response("429 Slow", "")),
        failure(
            "the check redirects",
            response("302 There", "location: http://evil.example/\r\n"),
        ),
        failure("the check returns 304", response("304 Same", "")),
        failure(
            "the check returns a malformed response",
            CheckTarget::Response("220 mail ready\r\n\r\n".into()),
        ),
        failure(
            "the check returns a truncated response",
            CheckTarget::Response("HTTP/1.1 204 No Co".into()),
        ),
        failure("the check closes the connection", CheckTarget::Closed),
        Case {
            outcome: WithoutIdentity,
            fields: spoofed_headers(|name| format!("{name}: planted")),
            ..failure(
                "the check returns 204 without identity headers",
                CheckTarget::Response("HTTP/1.1 204 No Content\r\n\r\n".into()),
            )
        },
    ]
}
