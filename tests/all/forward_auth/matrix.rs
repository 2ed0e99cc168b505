//! Every case × every proxy: only authorized requests reach the application, and only with the
//! identity headers of the server. `./dev test forward_auth::matrix -- --nocapture` prints the
//! table of `deploy/README.md`.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    IDENTITY,
    application::{Application, ReceivedRequest},
    cases::{self, Case, Credential, Outcome},
    half_open::{CheckForwarder, CheckTarget},
    identity,
    proxies::ProxyKind,
    verify,
};
use crate::{
    browser::{NAME, aged, open},
    deployed::Proxy,
    raw_http,
    test_server::{Session, TestServer, wait_until},
    test_stores::execute,
    token_signer::{TokenSigner, with},
};

const PROXY_KINDS: [ProxyKind; 3] = [ProxyKind::Nginx, ProxyKind::Caddy, ProxyKind::HaProxy];

/// Exceeds the timeout of every proxy for the check.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(30);

/// A proxy, with the server and the application behind it.
pub struct Site {
    pub kind: ProxyKind,
    pub server: TestServer,
    forwarder: CheckForwarder,
    pub application: Application,
    pub proxy: Proxy,
    credentials: Vec<(Credential, String)>,
    /// The expected identity headers, by bearer token and by cookie.
    by_bearer: [String; 10],
    by_cookie: [String; 10],
}

/// The response of the proxy, and the requests that the application received.
pub struct CaseResult {
    status: u16,
    response: String,
    received: Vec<ReceivedRequest>,
}

impl Site {
    pub async fn new(kind: ProxyKind) -> Site {
        let server = TestServer::start().await;
        let (forwarder, application) =
            tokio::join!(CheckForwarder::start(server.address), Application::start());
        let proxy = kind.start(forwarder.address, application.address).await;
        server.sign_up_with_email("john", "john@example.com").await;
        execute(
            &server,
            "update users set name = 'Jöhn {env.HOME} $host %[src]', email_verified = true",
        )
        .await;
        let (active, revoked, cookie) = (
            server.sign_in("john").await,
            server.sign_in("john").await,
            open(&server, "john").await,
        );
        server.sign_out(&revoked.access_token).await.is(204, "");
        let by_bearer = identity(verify(&server, &active, "").await.is(204, ""));
        // A session cookie is also accepted as a bearer token.
        let browser = Session {
            access_token: cookie.clone(),
            refresh_token: String::new(),
        };
        let by_cookie = identity(verify(&server, &browser, "").await.is(204, ""));
        let credentials = credentials(&server, &active, &revoked, &cookie).await;
        Site {
            kind,
            server,
            forwarder,
            application,
            proxy,
            credentials,
            by_bearer,
            by_cookie,
        }
    }

    pub async fn send(&self, case: &Case) -> CaseResult {
        let (_, credential) = self
            .credentials
            .iter()
            .find(|(kind, _)| *kind == case.credential)
            .expect("a credential of this kind");
        let (status, response) = exchange(&self.proxy, case, &case.bytes(credential)).await;
        CaseResult {
            status,
            response,
            received: self.application.take_requests(),
        }
    }

    /// Sends the request, asserts its outcome, and returns the cell of the table.
    async fn check(&self, case: &Case) -> String {
        if let Some(target) = &case.check_target {
            self.forwarder.redirect_to(target.clone());
        }
        let result = self.send(case).await;
        if case.check_target.is_some() {
            self.forwarder
                .redirect_to(CheckTarget::Server(self.server.address));
        }
        let context = format!(
            "{:?}: {} → {} {:?}",
            self.kind, case.name, result.response, result.received
        );
        assert!(result.received.len() <= 1, "{context}");
        match (result.received.first(), case.outcome) {
            (Some(received), Outcome::Passes | Outcome::MayPass) => {
                self.assert_identity(received, case, &context)
            }
            (Some(received), Outcome::WithoutIdentity) => assert_no_identity(received, &context),
            (Some(_), Outcome::Rejected(_) | Outcome::Blocked) => {
                panic!("the request must not pass: {context}")
            }
            (None, Outcome::Passes) => panic!("the request must pass: {context}"),
            (None, Outcome::Rejected(status)) => assert_eq!(result.status, status, "{context}"),
            (None, Outcome::MayPass | Outcome::WithoutIdentity | Outcome::Blocked) => {
                assert!(is_blocked(&result), "{context}")
            }
        }
        if result.received.is_empty() {
            status_text(result.status)
        } else {
            "passes".to_owned()
        }
    }

    /// Asserts that the request has the caller's identity headers and no similar ones.
    #[track_caller]
    fn assert_identity(&self, received: &ReceivedRequest, case: &Case, context: &str) {
        let by_cookie = matches!(
            case.credential,
            Credential::Cookie | Credential::CookieDueForRenewal
        );
        let expected = if by_cookie {
            &self.by_cookie
        } else {
            &self.by_bearer
        };
        let headers = identity_headers(received, context);
        for (name, value) in IDENTITY.iter().zip(expected) {
            let value = if value.is_empty() {
                None
            } else {
                Some(value.as_str())
            };
            assert_eq!(
                headers
                    .get(*name)
                    .copied()
                    .filter(|value| !value.is_empty()),
                value,
                "{name}: {context}"
            );
        }
    }
}

/// Returns the identity headers. Asserts that no similar name is present, and no name twice.
#[track_caller]
fn identity_headers<'a>(
    received: &'a ReceivedRequest,
    context: &str,
) -> BTreeMap<&'a str, &'a str> {
    let mut headers = BTreeMap::new();
    for (name, value) in &received.fields {
        // CGI maps all characters except letters and digits to `_`, so such names collide.
        let plain: String = name
            .trim()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        if !plain.starts_with("x-auth-") {
            assert!(
                !value.contains("planted") || name == "x-other",
                "{name}: {context}"
            );
            continue;
        }
        assert!(IDENTITY.contains(&name.as_str()), "{name:?}: {context}");
        assert_eq!(
            headers.insert(name.as_str(), value.as_str()),
            None,
            "{name} twice: {context}"
        );
    }
    let hops = received
        .header_values("connection")
        .join(",")
        .to_lowercase();
    assert!(
        !hops.contains("x-auth"),
        "the next hop would drop them: {context}"
    );
    headers
}

#[track_caller]
fn assert_no_identity(received: &ReceivedRequest, context: &str) {
    assert!(
        identity_headers(received, context)
            .values()
            .all(|value| value.is_empty()),
        "{context}"
    );
}

/// Whether the application wasn't reached. The status isn't checked: some proxies close the
/// connection on invalid HTTP, and Caddy returns an empty 200 for unknown hosts.
fn is_blocked(result: &CaseResult) -> bool {
    result.received.is_empty() && !result.response.contains("x-reached")
}

fn status_text(status: u16) -> String {
    if status == 0 {
        "no response".to_owned()
    } else {
        status.to_string()
    }
}

async fn credentials(
    server: &TestServer,
    active: &Session,
    revoked: &Session,
    cookie: &str,
) -> Vec<(Credential, String)> {
    let signer = TokenSigner::of(server).await;
    let claims = active.claims();
    let expired = signer.sign(&with(
        &claims,
        "exp",
        json!(claims["iat"].as_u64().expect("seconds") - 1),
    ));
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let cookie_header = |cookie: &str| format!("Cookie: theme=dark; {NAME}={cookie}\r\n");
    vec![
        (Credential::Nothing, String::new()),
        (Credential::Bearer, bearer(&active.access_token)),
        (Credential::Malformed, bearer("nonsense")),
        (Credential::Expired, bearer(&expired)),
        (Credential::Revoked, bearer(&revoked.access_token)),
        (Credential::Cookie, cookie_header(cookie)),
        (
            Credential::CookieDueForRenewal,
            cookie_header(&aged(server, cookie, 200).await),
        ),
    ]
}

/// Sends the bytes and reads one response, including its body, even if the connection stays open.
async fn exchange(proxy: &Proxy, case: &Case, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(proxy.address)
        .await
        .expect("the proxy listens");
    let (mut reader, mut writer) = stream.split();
    let mut response = Vec::new();
    let read = async {
        let mut buffer = vec![0; 64 * 1024];
        while !is_complete(&response, case) {
            match reader.read(&mut buffer).await {
                Ok(count @ 1..) => response.extend(&buffer[..count]),
                _closed => break,
            }
        }
    };
    // A proxy can respond before it has read the whole request.
    let write = async {
        let _ = writer.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let transfer = async {
        tokio::select! { () = read => {}, () = write => {} }
    };
    tokio::time::timeout(RESPONSE_TIMEOUT, transfer)
        .await
        .unwrap_or_else(|_| panic!("no response in time: {}", case.name));
    let response = String::from_utf8_lossy(&response).to_lowercase();
    (raw_http::status(&response), response)
}

fn is_complete(response: &[u8], case: &Case) -> bool {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&response[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    case.method == "HEAD" || length.is_some_and(|length: usize| response.len() >= end + 4 + length)
}

/// Runs a test on all proxies concurrently.
async fn on_every_proxy<T>(test: impl AsyncFn(Site) -> T) -> Vec<T> {
    join_all(PROXY_KINDS.map(async |kind| test(Site::new(kind).await).await)).await
}

#[tokio::test]
async fn renewed_cookie_and_challenge_reach_client() {
    on_every_proxy(async |site| {
        let renewed = site
            .send(&cases::get_case(Credential::CookieDueForRenewal))
            .await;
        let set_cookie = format!("set-cookie: {}=ey", NAME.to_lowercase());
        assert!(
            renewed.status == 200 && renewed.response.contains(&set_cookie),
            "{:?}: {}",
            site.kind,
            renewed.response
        );
        assert!(
            renewed.response.contains("set-cookie: own=1"),
            "the application's cookie: {}",
            renewed.response
        );
        assert!(
            renewed
                .response
                .contains("cache-control: private, no-store"),
            "{:?}: {}",
            site.kind,
            renewed.response
        );
        let unrenewed = site.send(&cases::get_case(Credential::Cookie)).await;
        assert_eq!(
            unrenewed.response.matches("set-cookie").count(),
            1,
            "{:?}: {}",
            site.kind,
            unrenewed.response
        );
        let rejected = site.send(&cases::get_case(Credential::Revoked)).await;
        let challenge = "www-authenticate: bearer realm=\"latchkey\", error=\"invalid_token\"";
        assert!(
            rejected.status == 401 && rejected.response.contains(challenge),
            "{:?}: {}",
            site.kind,
            rejected.response
        );
        assert!(
            !rejected.response.contains("set-cookie"),
            "{:?}: {}",
            site.kind,
            rejected.response
        );
    })
    .await;
}

/// The configurations must not break authorized WebSocket connections.
#[tokio::test]
async fn web_socket_upgrade_is_forwarded() {
    on_every_proxy(async |site| {
        let result = site.send(&cases::web_socket_case()).await;
        let context = format!("{:?}: {} {:?}", site.kind, result.response, result.received);
        let received = result.received.first().expect(&context);
        let connection = received
            .header_values("connection")
            .join(",")
            .to_lowercase();
        assert_eq!(
            (
                connection.as_str(),
                received.header_values("upgrade").concat().as_str()
            ),
            ("upgrade", "websocket"),
            "{context}"
        );
    })
    .await;
}

#[tokio::test]
async fn http2_upgrade_is_not_forwarded() {
    on_every_proxy(async |site| {
        let result = site.send(&cases::http2_upgrade_case()).await;
        let context = format!("{:?}: {} {:?}", site.kind, result.response, result.received);
        let received = result.received.first().expect(&context);
        assert!(received.header_values("upgrade").is_empty(), "{context}");
        assert!(
            !received
                .header_values("connection")
                .join(",")
                .to_lowercase()
                .contains("upgrade"),
            "{context}"
        );
    })
    .await;
}

/// Proxies overwrite forwarded headers, and don't send path, query, or body to the check.
#[tokio::test]
async fn check_receives_only_required_data() {
    on_every_proxy(async |site| {
        for case in cases::upload_cases() {
            site.forwarder.redirect_to(CheckTarget::Response(
                "HTTP/1.1 204 No Content\r\nx-auth-user: john\r\n\r\n".into(),
            ));
            let result = site.send(&case).await;
            let context = format!("{:?}: {}: {}", site.kind, case.name, result.response);
            let received = result.received.first().expect(&context);
            assert!(
                received.body.len() == 300_000 && received.body.iter().all(|byte| *byte == b'x'),
                "{context}"
            );
            let checks = site.forwarder.take_checks();
            assert_eq!(checks.len(), 1, "{context} {checks:?}");
            let path = match site.kind {
                ProxyKind::Caddy => "/auth/page",
                _other => "/auth/verify",
            };
            let request_line = format!("GET {path} HTTP/1.1");
            assert_eq!(checks[0].request_line, request_line, "{context}");
            for (name, value) in [
                ("method", "POST"),
                ("host", "app.example.com"),
                ("proto", "http"),
                ("for", "127.0.0.1"),
                ("uri", "/a?role=admin"),
            ] {
                assert_eq!(
                    checks[0].header_values(&format!("x-forwarded-{name}")),
                    [value],
                    "{context} {:?}",
                    checks[0]
                );
            }
            assert_eq!(
                ["x-original-method", "x-original-url", "forwarded"]
                    .map(|name| checks[0].header_values(name).concat())
                    .concat(),
                "",
                "{context}"
            );
            assert_eq!(
                checks[0].header_values("authorization").len(),
                1,
                "{context}"
            );
            assert!(
                checks[0].body.is_empty()
                    && checks[0].header_values("transfer-encoding").is_empty(),
                "{context} {:?}",
                checks[0]
            );
        }
    })
    .await;
}

#[tokio::test]
async fn unavailable_server_blocks_every_request() {
    on_every_proxy(async |mut site| {
        let case = cases::get_case(Credential::Bearer);
        assert_eq!(site.check(&case).await, "passes");
        site.server.pause();
        // The signal doesn't stop every thread at once.
        wait_until("the server is paused", async || {
            site.send(&case).await.received.is_empty()
        })
        .await;
        for _ in 0..2 {
            let result = site.send(&case).await;
            assert!(is_blocked(&result), "{:?}: {}", site.kind, result.response);
        }
        site.server.resume();
        let passes = async || site.send(&case).await.status == 200;
        wait_until("requests pass again", passes).await;
        site.server.kill();
        let result = site.send(&case).await;
        assert!(is_blocked(&result), "{:?}: {}", site.kind, result.response);
    })
    .await;
}

#[tokio::test]
async fn only_authorized_requests_reach_the_application() {
    let cases = cases::all_cases();
    let columns = on_every_proxy(async |site| {
        let mut column = Vec::new();
        for case in &cases {
            column.push(site.check(case).await);
        }
        column
    })
    .await;
    println!("| | nginx | Caddy | HAProxy |\n|---|---|---|---|");
    for (row, case) in cases.iter().enumerate() {
        let cells: Vec<_> = columns.iter().map(|column| column[row].as_str()).collect();
        println!(
            "| {} | {} |",
            case.name.replace('|', "\\|"),
            cells.join(" | ")
        );
    }
}
