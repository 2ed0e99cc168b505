//! Every case × every proxy: the application is reached only when it should be, and sees our
//! identity alone. `./dev test forward_auth::matrix -- --nocapture` prints the table of
//! `deploy/README.md`.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{
    IDENTITY,
    application::{Application, Arrived},
    cases::{self, Case, Credential, Outcome},
    half_open::{End, Line},
    identity,
    proxies::Kind,
    verify,
};
use crate::{
    browser::{NAME, aged, open},
    deployed::Proxy,
    raw_http,
    test_server::{Session, TestServer, until},
    test_stores::execute,
    token_signer::{TokenSigner, with},
};

const KINDS: [Kind; 3] = [Kind::Nginx, Kind::Caddy, Kind::HaProxy];

/// Nothing takes longer, however long the check takes.
const LIMIT: Duration = Duration::from_secs(30);

/// A proxy between its clients, a gateway and an application.
struct Site {
    kind: Kind,
    server: TestServer,
    line: Line,
    application: Application,
    proxy: Proxy,
    credentials: Vec<(Credential, String)>,
    /// What the application must be told, by bearer token and by cookie.
    by_bearer: [String; 9],
    by_cookie: [String; 9],
}

/// What came of a request.
struct Result {
    status: u16,
    response: String,
    arrived: Vec<Arrived>,
}

impl Site {
    pub async fn new(kind: Kind) -> Site {
        let server = TestServer::start().await;
        let (line, application) = tokio::join!(Line::to(server.address), Application::start());
        let proxy = kind.start(line.address, application.address).await;
        server.sign_up_with_email("john", "john@example.com").await;
        execute(
            &server,
            "update users set name = 'Jöhn {env.HOME} $host %[src]', email_verified = true",
        )
        .await;
        let (good, gone, cookie) = (
            server.sign_in("john").await,
            server.sign_in("john").await,
            open(&server, "john").await,
        );
        server.log_out(&gone.access_token).await.is(204, "");
        let by_bearer = identity(verify(&server, &good, "").await.is(204, ""));
        // As a bearer token it says the same as by cookie.
        let browser = Session {
            access_token: cookie.clone(),
            refresh_token: String::new(),
        };
        let by_cookie = identity(verify(&server, &browser, "").await.is(204, ""));
        let credentials = credentials(&server, &good, &gone, &cookie).await;
        Site {
            kind,
            server,
            line,
            application,
            proxy,
            credentials,
            by_bearer,
            by_cookie,
        }
    }

    pub async fn send(&self, case: &Case) -> Result {
        let (_, credential) = self
            .credentials
            .iter()
            .find(|(kind, _)| *kind == case.credential)
            .expect("it is known");
        let (status, response) = exchange(&self.proxy, case, &case.bytes(credential)).await;
        Result {
            status,
            response,
            arrived: self.application.take(),
        }
    }

    /// Sends it, judges what came of it, and says so in a word.
    async fn check(&self, case: &Case) -> String {
        if let Some(end) = &case.end {
            self.line.lead_to(end.clone());
        }
        let result = self.send(case).await;
        if case.end.is_some() {
            self.line.lead_to(End::TestServer(self.server.address));
        }
        let what = format!(
            "{:?}: {} → {} {:?}",
            self.kind, case.name, result.response, result.arrived
        );
        assert!(result.arrived.len() <= 1, "{what}");
        match (result.arrived.first(), case.outcome) {
            (Some(arrived), Outcome::Reaches | Outcome::MayReach) => {
                self.is_ours(arrived, case, &what)
            }
            (Some(arrived), Outcome::AtMostAsNobody) => is_nobodys(arrived, &what),
            (Some(_), Outcome::Refused(_) | Outcome::NeverReaches) => {
                panic!("it must not pass: {what}")
            }
            (None, Outcome::Reaches) => panic!("it must pass: {what}"),
            (None, Outcome::Refused(status)) => assert_eq!(result.status, status, "{what}"),
            (None, Outcome::MayReach | Outcome::AtMostAsNobody | Outcome::NeverReaches) => {
                assert!(is_refusal(&result), "{what}")
            }
        }
        if result.arrived.is_empty() {
            shown(result.status)
        } else {
            "passes".to_owned()
        }
    }

    /// All of the caller's identity, and nothing that might be taken for another.
    #[track_caller]
    fn is_ours(&self, arrived: &Arrived, case: &Case, what: &str) {
        let by_cookie = matches!(case.credential, Credential::Cookie | Credential::OldCookie);
        let ours = if by_cookie {
            &self.by_cookie
        } else {
            &self.by_bearer
        };
        let said = said(arrived, what);
        for (name, value) in IDENTITY.iter().zip(ours) {
            let value = if value.is_empty() {
                None
            } else {
                Some(value.as_str())
            };
            assert_eq!(
                said.get(*name).copied().filter(|value| !value.is_empty()),
                value,
                "{name}: {what}"
            );
        }
    }
}

/// Everything that an application might read as identity: each name once, as we write it.
#[track_caller]
fn said<'a>(arrived: &'a Arrived, what: &str) -> BTreeMap<&'a str, &'a str> {
    let mut said = BTreeMap::new();
    for (name, value) in &arrived.fields {
        // Where names become variables, as in CGI, whatever is no letter is the same.
        let plain: String = name
            .trim()
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        if !plain.starts_with("x-auth-") {
            assert!(
                !value.contains("planted") || name == "x-other",
                "{name}: {what}"
            );
            continue;
        }
        assert!(IDENTITY.contains(&name.as_str()), "{name:?}: {what}");
        assert_eq!(
            said.insert(name.as_str(), value.as_str()),
            None,
            "{name} twice: {what}"
        );
    }
    let hops = arrived.all("connection").join(",").to_lowercase();
    assert!(
        !hops.contains("x-auth"),
        "the next hop would drop them: {what}"
    );
    said
}

#[track_caller]
fn is_nobodys(arrived: &Arrived, what: &str) {
    assert!(
        said(arrived, what).values().all(|value| value.is_empty()),
        "{what}"
    );
}

/// Nothing of the application came back. To what is no HTTP some proxies answer by hanging up, and
/// Caddy answers an empty 200 for hosts that it does not know.
fn is_refusal(result: &Result) -> bool {
    result.arrived.is_empty() && !result.response.contains("x-reached")
}

fn shown(status: u16) -> String {
    if status == 0 {
        "no response".to_owned()
    } else {
        status.to_string()
    }
}

async fn credentials(
    server: &TestServer,
    good: &Session,
    gone: &Session,
    cookie: &str,
) -> Vec<(Credential, String)> {
    let forge = TokenSigner::of(server).await;
    let claims = good.claims();
    let expired = forge.sign(&with(
        &claims,
        "exp",
        json!(claims["iat"].as_u64().expect("seconds") - 1),
    ));
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let jar = |cookie: &str| format!("Cookie: theme=dark; {NAME}={cookie}\r\n");
    vec![
        (Credential::Nothing, String::new()),
        (Credential::Bearer, bearer(&good.access_token)),
        (Credential::Nonsense, bearer("nonsense")),
        (Credential::Expired, bearer(&expired)),
        (Credential::Revoked, bearer(&gone.access_token)),
        (Credential::Cookie, jar(cookie)),
        (Credential::OldCookie, jar(&aged(server, cookie, 200).await)),
    ]
}

/// Sends the bytes, and reads an answer: to the end of its head and of its body, whatever becomes
/// of the connection.
async fn exchange(proxy: &Proxy, case: &Case, bytes: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(proxy.address).await.expect("it listens");
    let (mut reads, mut writes) = stream.split();
    let mut response = Vec::new();
    let read = async {
        let mut piece = vec![0; 64 * 1024];
        while !is_whole(&response, case) {
            match reads.read(&mut piece).await {
                Ok(count @ 1..) => response.extend(&piece[..count]),
                _ended => break,
            }
        }
    };
    // It may refuse before it has read everything.
    let write = async {
        let _ = writes.write_all(bytes).await;
        std::future::pending::<()>().await;
    };
    let talk = async {
        tokio::select! { () = read => {}, () = write => {} }
    };
    tokio::time::timeout(LIMIT, talk)
        .await
        .unwrap_or_else(|_| panic!("no response in time: {}", case.name));
    let response = String::from_utf8_lossy(&response).to_lowercase();
    (raw_http::status(&response), response)
}

fn is_whole(response: &[u8], case: &Case) -> bool {
    let Some(end) = response.windows(4).position(|window| window == b"\r\n\r\n") else {
        return false;
    };
    let head = String::from_utf8_lossy(&response[..end]).to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    case.method == "HEAD" || length.is_some_and(|length: usize| response.len() >= end + 4 + length)
}

/// On every proxy at once.
async fn everywhere<T>(work: impl AsyncFn(Site) -> T) -> Vec<T> {
    join_all(KINDS.map(async |kind| work(Site::new(kind).await).await)).await
}

#[tokio::test]
async fn the_slid_cookie_and_the_challenge_reach_the_client() {
    everywhere(async |site| {
        let slid = site.send(&cases::simple(Credential::OldCookie)).await;
        let ours = format!("set-cookie: {}=ey", NAME.to_lowercase());
        assert!(
            slid.status == 200 && slid.response.contains(&ours),
            "{:?}: {}",
            site.kind,
            slid.response
        );
        assert!(
            slid.response.contains("set-cookie: own=1"),
            "the application's own: {}",
            slid.response
        );
        assert!(
            slid.response.contains("cache-control: private, no-store"),
            "{:?}: {}",
            site.kind,
            slid.response
        );
        let plain = site.send(&cases::simple(Credential::Cookie)).await;
        assert_eq!(
            plain.response.matches("set-cookie").count(),
            1,
            "{:?}: {}",
            site.kind,
            plain.response
        );
        let refused = site.send(&cases::simple(Credential::Revoked)).await;
        let challenge = "www-authenticate: bearer realm=\"latchkey\", error=\"invalid_token\"";
        assert!(
            refused.status == 401 && refused.response.contains(challenge),
            "{:?}: {}",
            site.kind,
            refused.response
        );
        assert!(
            !refused.response.contains("set-cookie"),
            "{:?}: {}",
            site.kind,
            refused.response
        );
    })
    .await;
}

/// Otherwise nothing that opens one would work, however right it is.
#[tokio::test]
async fn a_web_socket_is_passed_on_as_one() {
    everywhere(async |site| {
        let result = site.send(&cases::web_socket()).await;
        let what = format!("{:?}: {} {:?}", site.kind, result.response, result.arrived);
        let arrived = result.arrived.first().expect(&what);
        let connection = arrived.all("connection").join(",").to_lowercase();
        assert_eq!(
            (
                connection.as_str(),
                arrived.all("upgrade").concat().as_str()
            ),
            ("upgrade", "websocket"),
            "{what}"
        );
    })
    .await;
}

#[tokio::test]
async fn no_other_protocol_is_opened() {
    everywhere(async |site| {
        let result = site.send(&cases::http2()).await;
        let what = format!("{:?}: {} {:?}", site.kind, result.response, result.arrived);
        let arrived = result.arrived.first().expect(&what);
        assert!(arrived.all("upgrade").is_empty(), "{what}");
        assert!(
            !arrived
                .all("connection")
                .join(",")
                .to_lowercase()
                .contains("upgrade"),
            "{what}"
        );
    })
    .await;
}

/// Set, not appended; and of the request itself the check gets neither path, nor query, nor body.
#[tokio::test]
async fn the_check_is_asked_what_it_must_know_and_no_more() {
    everywhere(async |site| {
        for case in cases::uploads() {
            site.line.lead_to(End::Says(
                "HTTP/1.1 204 No Content\r\nx-auth-user: john\r\n\r\n".into(),
            ));
            let result = site.send(&case).await;
            let what = format!("{:?}: {}: {}", site.kind, case.name, result.response);
            let arrived = result.arrived.first().expect(&what);
            assert!(
                arrived.body.len() == 300_000 && arrived.body.iter().all(|byte| *byte == b'x'),
                "{what}"
            );
            let requested = site.line.take();
            assert_eq!(requested.len(), 1, "{what} {requested:?}");
            assert_eq!(requested[0].line, "GET /auth/verify HTTP/1.1", "{what}");
            for (name, value) in [
                ("method", "POST"),
                ("host", "app.example.com"),
                ("proto", "http"),
                ("for", "127.0.0.1"),
            ] {
                assert_eq!(
                    requested[0].all(&format!("x-forwarded-{name}")),
                    [value],
                    "{what} {:?}",
                    requested[0]
                );
            }
            assert_eq!(
                requested[0].all("x-original-method").concat()
                    + &requested[0].all("forwarded").concat(),
                "",
                "{what}"
            );
            assert_eq!(requested[0].all("authorization").len(), 1, "{what}");
            assert!(
                requested[0].body.is_empty() && requested[0].all("transfer-encoding").is_empty(),
                "{what} {:?}",
                requested[0]
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_stands_still_or_is_gone_lets_nothing_pass() {
    everywhere(async |mut site| {
        let case = cases::simple(Credential::Bearer);
        assert_eq!(site.check(&case).await, "passes");
        site.server.pause();
        // A signal takes a moment to reach every thread.
        until("it stands still", async || {
            site.send(&case).await.arrived.is_empty()
        })
        .await;
        for _ in 0..2 {
            let result = site.send(&case).await;
            assert!(is_refusal(&result), "{:?}: {}", site.kind, result.response);
        }
        site.server.resume();
        let again = async || site.send(&case).await.status == 200;
        until("it passes again", again).await;
        site.server.kill();
        let result = site.send(&case).await;
        assert!(is_refusal(&result), "{:?}: {}", site.kind, result.response);
    })
    .await;
}

#[tokio::test]
async fn the_application_is_reached_only_when_it_should_be_and_sees_only_our_identity() {
    let cases = cases::all();
    let columns = everywhere(async |site| {
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
