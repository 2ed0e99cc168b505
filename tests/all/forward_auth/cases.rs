//! What clients do to real proxies, and what must come of it.

use super::{IDENTITY, half_open::End};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential {
    Nothing,
    Bearer,
    Nonsense,
    Expired,
    Revoked,
    Cookie,
    /// A cookie that is to be signed anew.
    OldCookie,
}

/// What must come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The application gets it, with the caller's identity.
    Reaches,
    /// The same; or the proxy refuses it by itself, because it is odd.
    MayReach,
    /// The application gets it, and with it no identity at all; or the client a refusal.
    AtMostAsNobody,
    /// The client gets this status.
    Refused(u16),
    /// The application gets nothing.
    NeverReaches,
}

/// One request.
pub struct Case {
    pub name: String,
    pub credential: Credential,
    pub method: &'static str,
    pub target: String,
    /// As they go over the wire, each with its end of line.
    pub fields: String,
    pub body: Vec<u8>,
    /// Where the proxy's question leads.
    pub end: Option<End>,
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
            end: None,
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

    fn end(self, end: End) -> Case {
        Case {
            end: Some(end),
            ..self
        }
    }

    /// The bytes of the request.
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

/// Everything.
pub fn all() -> Vec<Case> {
    [
        credentials(),
        cookies(),
        spoofs(),
        methods(),
        paths(),
        sizes(),
        uploads(),
        failures(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn credentials() -> Vec<Case> {
    vec![
        Case::new("a valid token", Bearer, Reaches),
        Case::new("no token", Nothing, Refused(401)),
        Case::new("a malformed token", Nonsense, Refused(401)),
        Case::new("an expired token", Expired, Refused(401)),
        Case::new("a revoked token", Revoked, Refused(401)),
        Case::new("two tokens", Bearer, NeverReaches).field("Authorization: Bearer x"),
        Case::new("a valid token in the query", Nothing, Refused(401)).target("/?access_token=x"),
    ]
}

const OWN: &str = "Origin: http://app.example.com";
const EVIL: &str = "Origin: http://evil.example";

fn cookies() -> Vec<Case> {
    let post = |name: &str, outcome| {
        Case::new(name, Cookie, outcome)
            .method("POST")
            .field("Content-Length: 0")
    };
    vec![
        Case::new("a cookie", Cookie, Reaches),
        Case::new("a cookie due for renewal", OldCookie, Reaches),
        post("POST with a cookie, no Origin", Refused(403)),
        post("POST with a cookie, the application's Origin", Reaches).field(OWN),
        post("POST with a cookie, another Origin", Refused(403)).field(EVIL),
        post("POST with a cookie, `Origin: null`", Refused(403)).field("Origin: null"),
        post("POST with a cookie, two Origins", NeverReaches)
            .field(OWN)
            .field(EVIL),
        post("POST with a cookie, spoofed as GET", Refused(403)).field("X-Forwarded-Method: GET"),
        post("the same in X-Original-Method", Refused(403)).field("X-Original-Method: GET"),
        post("the method, named in Connection", NeverReaches)
            .field("X-Forwarded-Method: GET")
            .field("Connection: close, X-Forwarded-Method"),
        post("POST with a cookie, spoofed host", Refused(403))
            .field(EVIL)
            .field("X-Forwarded-Host: evil.example"),
        post("the spoofed host, named in Connection", NeverReaches)
            .field(EVIL)
            .field("X-Forwarded-Host: evil.example")
            .field("Connection: close, X-Forwarded-Host"),
        socket(
            "a WebSocket with a cookie, another Origin",
            EVIL,
            NeverReaches,
        ),
        web_socket(),
        http2(),
    ]
}

/// Another protocol would be a line to the application which nobody checks.
pub fn http2() -> Case {
    Case::new("an upgrade to HTTP/2", Bearer, Reaches)
        .field("Connection: Upgrade, HTTP2-Settings")
        .field("Upgrade: h2c")
        .field("HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")
}

/// One that may be opened.
pub fn web_socket() -> Case {
    socket(
        "a WebSocket with a cookie, the application's Origin",
        OWN,
        Reaches,
    )
}

fn socket(name: &str, origin: &str, outcome: Outcome) -> Case {
    Case::new(name, Cookie, outcome)
        .field("Connection: Upgrade")
        .field("Upgrade: websocket")
        .field("Sec-WebSocket-Version: 13")
        .field("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==")
        .field(origin)
}

/// All of the identity, written in some way.
fn planted(write: impl Fn(&str) -> String) -> String {
    IDENTITY.iter().map(|name| write(name) + "\r\n").collect()
}

fn capital(name: &str) -> String {
    name.split('-')
        .map(|word| word[..1].to_uppercase() + &word[1..])
        .collect::<Vec<_>>()
        .join("-")
}

fn spoofs() -> Vec<Case> {
    let plain = planted(|name| format!("{}: planted", capital(name)));
    let spoof = |name: &str, outcome, fields: &str| {
        let whose = |name: &str, credential, outcome| Case {
            fields: fields.to_owned(),
            ..Case::new(name, credential, outcome)
        };
        [
            whose(name, Bearer, outcome),
            whose(&format!("{name}, no token"), Nothing, NeverReaches),
        ]
    };
    let hop = IDENTITY.join(", ");
    let ways = [
        ("spoofed X-Auth-* headers", Reaches, plain.clone()),
        ("spoofed twice", Reaches, plain.repeat(2)),
        (
            "in lowercase",
            Reaches,
            planted(|name| format!("{name}: planted")),
        ),
        (
            "in uppercase",
            Reaches,
            planted(|name| format!("{}: planted", name.to_uppercase())),
        ),
        (
            "with underscores",
            MayReach,
            planted(|name| format!("{}: planted", capital(name).replace('-', "_"))),
        ),
        (
            "with one underscore",
            MayReach,
            planted(|name| format!("{}: planted", capital(name).replacen("h-", "h_", 1))),
        ),
        (
            "with dots",
            MayReach,
            planted(|name| format!("{}: planted", capital(name).replace('-', "."))),
        ),
        (
            "named in Connection",
            Reaches,
            format!("Connection: close, {hop}\r\n"),
        ),
        (
            "spoofed and named in Connection",
            Reaches,
            format!("{plain}Connection: close, {hop}\r\n"),
        ),
        (
            "named in a second Connection",
            MayReach,
            format!("{plain}Connection: close\r\nConnection: {hop}\r\n"),
        ),
        (
            "with a space before the colon",
            MayReach,
            planted(|name| format!("{} : planted", capital(name))),
        ),
        (
            "with a tab before the colon",
            MayReach,
            planted(|name| format!("{}\t: planted", capital(name))),
        ),
        (
            "folded",
            MayReach,
            planted(|name| format!("X-Other: a\r\n {}: planted", capital(name))),
        ),
        (
            "folded, with an empty line before",
            MayReach,
            planted(|name| format!("{}:\r\n planted", capital(name))),
        ),
        (
            "after a bare line feed",
            MayReach,
            planted(|name| format!("X-Other: a\n{}: planted", capital(name))),
        ),
        (
            "after a bare carriage return",
            MayReach,
            planted(|name| format!("X-Other: a\r{}: planted", capital(name))),
        ),
    ];
    let mut cases: Vec<_> = ways
        .iter()
        .flat_map(|(name, outcome, fields)| spoof(name, *outcome, fields))
        .collect();
    let trailers = planted(|name| format!("{}: planted", capital(name)));
    let chunked = Case::new("as trailers of a body", Bearer, MayReach)
        .method("POST")
        .field("Transfer-Encoding: chunked");
    cases.push(Case {
        body: format!("3\r\nabc\r\n0\r\n{trailers}\r\n").into_bytes(),
        ..chunked.field("Trailer: X-Auth-User")
    });
    let credential = |name, field| Case::new(name, Bearer, NeverReaches).field(field);
    cases.push(Case {
        outcome: MayReach,
        ..credential(
            "the token named in Connection",
            "Connection: close, Authorization",
        )
    });
    cases
}

/// What each does with a token, and that none passes without.
fn both(name: &str, with: Outcome, change: impl Fn(Case) -> Case) -> [Case; 2] {
    [
        change(Case::new(name, Bearer, with)),
        change(Case::new(
            format!("{name}, no token"),
            Nothing,
            NeverReaches,
        )),
    ]
}

fn methods() -> Vec<Case> {
    let known = [
        "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "QUERY",
    ];
    let mut cases: Vec<_> = known
        .iter()
        .flat_map(|method| both(method, Reaches, |case| bodiless(case, method)))
        .collect();
    for method in ["TRACE", "CONNECT", "get", "G-T"] {
        cases.extend(both(method, MayReach, |case| bodiless(case, method)));
    }
    let preflight = Case::new("a CORS preflight", Nothing, NeverReaches)
        .method("OPTIONS")
        .field(EVIL);
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

fn paths() -> Vec<Case> {
    let odd = [
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
    let mut cases: Vec<_> = odd
        .iter()
        .flat_map(|path| both(&format!("`{path}`"), MayReach, |case| case.target(*path)))
        .collect();
    cases.extend(both("a path of 7,000 bytes", MayReach, |case| {
        case.target(format!("/{}", "a".repeat(7000)))
    }));
    cases.extend(both("OPTIONS *", MayReach, |case| {
        case.method("OPTIONS").target("*")
    }));
    cases
}

fn sizes() -> Vec<Case> {
    let field = |bytes: usize| format!("X-Large: {}", "x".repeat(bytes));
    let mut cases = Vec::new();
    for bytes in [4_000, 30_000, 100_000] {
        cases.extend(both(
            &format!("a header of {bytes} bytes"),
            MayReach,
            |case| case.field(&field(bytes)),
        ));
    }
    cases.extend(both("300 headers", MayReach, |case| {
        (0..300).fold(case, |case, n| case.field(&format!("X-{n}: x")))
    }));
    cases
}

/// By bearer token, with 300,000 bytes to carry; and with all that a client might say of it in a
/// proxy's stead.
pub fn uploads() -> Vec<Case> {
    let upload = |name: &str, field: &str, body: Vec<u8>| {
        let case = Case {
            body,
            ..Case::new(name, Bearer, Reaches)
                .method("POST")
                .target("/a?role=admin")
                .field(field)
        };
        let claims = [
            "Method: GET",
            "Host: evil.example",
            "Proto: https",
            "For: 192.0.2.1",
        ];
        let case = claims.iter().fold(case, |case, claim| {
            case.field(&format!("X-Forwarded-{claim}"))
        });
        case.field("X-Original-Method: GET")
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

/// `GET /`.
pub fn simple(credential: Credential) -> Case {
    Case::new(format!("{credential:?}"), credential, MayReach)
}

/// With a good token, and a check that does not say that it is one.
fn failures() -> Vec<Case> {
    let says = |status: &str, rest: &str| {
        End::Says(format!(
            "HTTP/1.1 {status}\r\ncontent-length: 0\r\n{rest}\r\n"
        ))
    };
    let failure = |name: &str, end| Case::new(name, Bearer, NeverReaches).end(end);
    vec![
        failure("the check returns 500", says("500 Oops", "")),
        failure(
            "the check returns 503",
            says("503 Busy", "retry-after: 1\r\n"),
        ),
        failure("the check returns 400", says("400 Bad", "")),
        failure("the check returns 404", says("404 None", "")),
        failure("the check returns 429", says("429 Slow", "")),
        failure(
            "the check redirects",
            says("302 There", "location: http://evil.example/\r\n"),
        ),
        failure("the check returns 304", says("304 Same", "")),
        failure(
            "the check returns a malformed response",
            End::Says("220 mail ready\r\n\r\n".into()),
        ),
        failure(
            "the check returns a truncated response",
            End::Says("HTTP/1.1 204 No Co".into()),
        ),
        failure("the check closes the connection", End::Nowhere),
        Case {
            outcome: AtMostAsNobody,
            fields: planted(|name| format!("{name}: planted")),
            ..failure(
                "the check returns 204 without identity headers",
                End::Says("HTTP/1.1 204 No Content\r\n\r\n".into()),
            )
        },
    ]
}
