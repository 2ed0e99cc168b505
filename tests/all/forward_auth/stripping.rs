//! Cookies of the server never reach the application behind a proxy, which could act as the user
//! with them.

use futures_util::future::join_all;
use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, RngSeed, TestRunner},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{matrix::Site, proxies::ProxyKind};
use crate::{
    browser::{NAME, open},
    test_server::TestServer,
};

/// The number of generated fields per proxy; `LATCHKEY_COOKIE_FIELDS` changes it.
const FIELDS: usize = 300;

fn number_of_fields() -> usize {
    std::env::var("LATCHKEY_COOKIE_FIELDS")
        .map_or(FIELDS, |number| number.parse().expect("a number"))
}

const PROXY_KINDS: [ProxyKind; 5] = [
    ProxyKind::Nginx,
    ProxyKind::Caddy,
    ProxyKind::HaProxy,
    ProxyKind::Traefik,
    ProxyKind::Envoy,
];

/// Runs a test on all proxies concurrently.
async fn on_every_proxy(test: impl AsyncFn(Site)) {
    join_all(PROXY_KINDS.map(async |kind| test(Site::new(kind).await).await)).await;
}

/// Sends requests over one connection, each with these `Cookie` fields. Returns the fields that the
/// application has received.
async fn exchange(site: &Site, requests: &[Vec<String>], token: &str) -> Vec<Vec<String>> {
    let mut received = Vec::new();
    let mut stream = TcpStream::connect(site.proxy.address)
        .await
        .expect("a connection");
    for fields in requests {
        let mut request =
            format!("GET / HTTP/1.1\r\nhost: app.example.com\r\nauthorization: Bearer {token}\r\n");
        for field in fields {
            request += &format!("cookie: {field}\r\n");
        }
        stream
            .write_all(format!("{request}\r\n").as_bytes())
            .await
            .expect("an open connection");
        let response = read_response(&mut stream).await;
        assert!(
            response.starts_with("HTTP/1.1 200"),
            "{fields:?}: {response}"
        );
        let requests = site.application.take_requests();
        let [request] = requests.as_slice() else {
            panic!("one request: {requests:?}");
        };
        let cookies = request.header_values("cookie");
        received.push(cookies.into_iter().map(str::to_owned).collect());
        if response.to_lowercase().contains("\r\nconnection: close") {
            stream = TcpStream::connect(site.proxy.address)
                .await
                .expect("a connection");
        }
    }
    received
}

/// Reads a response with `Content-Length` or chunks.
async fn read_response(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = stream.read(&mut buffer).await.expect("an open connection");
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert_ne!(count, 0, "{text}");
            continue;
        };
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>().expect("a length"))
        });
        let is_complete = match length {
            Some(length) => body.len() >= length,
            None => body.ends_with("0\r\n\r\n"),
        };
        if is_complete || count == 0 {
            return text.into_owned();
        }
    }
}

/// Returns the pairs of `Cookie` fields.
fn pairs(fields: &[String]) -> Vec<&str> {
    fields
        .iter()
        .flat_map(|field| field.split(';'))
        .map(str::trim)
        .filter(|pair| !pair.is_empty())
        .collect()
}

/// Whether the name of the cookie begins like those of the server. Without `=`, a cookie has no
/// name.
fn is_of_server(pair: &str) -> bool {
    let prefixes = ["__Host-latchkey", "__Secure-latchkey"];
    pair.contains('=') && prefixes.iter().any(|prefix| pair.starts_with(prefix))
}

#[tokio::test]
async fn application_receives_only_its_own_cookies() {
    on_every_proxy(async |site| {
        let token = site.server.sign_in("john").await.access_token;
        let session = open(&site.server, "john").await;
        let own = format!("{NAME}={session}");
        let cases = [
            (vec![own.clone()], vec![]),
            (vec![format!("{own}; a=1")], vec!["a=1"]),
            (vec![format!("a=1; {own}")], vec!["a=1"]),
            (vec![format!("a=1; {own}; b=2")], vec!["a=1", "b=2"]),
            (vec![format!("a=1;{own};b=2")], vec!["a=1", "b=2"]),
            (
                vec![format!(
                    "a=1; {own}; {NAME}-note=x; __Secure-latchkey=y; b=2"
                )],
                vec!["a=1", "b=2"],
            ),
            (
                vec!["a=1; b=__Host-latchkey=x".into()],
                vec!["a=1", "b=__Host-latchkey=x"],
            ),
            (
                vec!["a=1; my__Host-latchkey=x".into()],
                vec!["a=1", "my__Host-latchkey=x"],
            ),
            // Cookies of a server with another `LATCHKEY_COOKIE_NAME`.
            (
                vec![
                    "__Host-latchkey_b2=x; a=1; __Secure-latchkey_b2=y; __Host-latchkey_b2-app=z"
                        .into(),
                ],
                vec!["a=1"],
            ),
            (vec!["a=1".into()], vec!["a=1"]),
            (vec![], vec![]),
        ];
        for (fields, expected) in cases {
            let received = exchange(&site, std::slice::from_ref(&fields), &token).await;
            assert_eq!(pairs(&received[0]), expected, "{:?}: {fields:?}", site.kind);
        }
        // With the cookie alone, the check still receives it.
        let eight = vec![vec![own; 8].join("; ")];
        let received = exchange(&site, &[eight], &token).await;
        assert!(
            pairs(&received[0]).is_empty(),
            "{:?}: {received:?}",
            site.kind
        );
    })
    .await;
}

fn cookie_field() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("__Host-latchkey".to_owned()),
        Just("__Secure-latchkey".to_owned()),
        Just("__Host-latchkey-app-8443".to_owned()),
        Just("__Host-latchkey_b2".to_owned()),
        Just("__Secure-latchkey_b2-note".to_owned()),
        Just("__host-latchkey".to_owned()),
        Just("__Host-latchkeyx".to_owned()),
        "[a-zA-Z_]{0,6}",
    ];
    let value = prop_oneof!["[ -:<-~]{0,12}", Just("__Host-latchkey=x".to_owned())];
    let pair = (
        name,
        prop_oneof![Just("="), Just(""), Just("=="), Just(" =")],
        value,
    )
        .prop_map(|(name, equals, value)| format!("{name}{equals}{value}"));
    let separator = prop_oneof![Just("; "), Just(";"), Just(" ; "), Just(";;"), Just(";\t")];
    proptest::collection::vec((pair, separator), 0..7).prop_map(|parts| {
        let text: String = parts
            .into_iter()
            .map(|(pair, separator)| format!("{pair}{separator}"))
            .collect();
        text.trim().to_owned()
    })
}

/// No cookie that the server reads reaches the application, and cookies of the application stay.
#[tokio::test]
async fn generated_cookies_of_the_server_are_removed() {
    let config = Config {
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let strategy = proptest::collection::vec(cookie_field(), 1..3);
    let requests: Vec<Vec<String>> = std::iter::repeat_with(|| {
        let tree = strategy.new_tree(&mut runner).expect("a value");
        tree.current()
    })
    .take(number_of_fields())
    .collect();
    let requests = &requests;
    on_every_proxy(async |site| {
        let token = site.server.sign_in("john").await.access_token;
        let received = exchange(&site, requests, &token).await;
        for (sent, received) in requests.iter().zip(&received) {
            let context = format!("{:?}: {sent:?} → {received:?}", site.kind);
            let left = pairs(received);
            assert!(!left.iter().any(|pair| is_of_server(pair)), "{context}");
            let of_application = pairs(sent);
            let is_kept = |pair: &&&str| !is_of_server(pair);
            let expected: Vec<_> = of_application.iter().filter(is_kept).copied().collect();
            // nginx removes all cookies if more than three of them are the server's.
            assert!(left == expected || left.is_empty(), "{context}");
        }
    })
    .await;
}

/// The server reads a cookie exactly if this test calls it one of the server.
#[tokio::test]
async fn server_accepts_no_other_names() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let session = open(&server, "john").await;
    for name in [
        "__host-latchkey",
        "x__Host-latchkey",
        "latchkey",
        "__Host-latchkey2",
        "__Host-latchkey_b2",
        "__Secure-latchkey",
    ] {
        let request = server
            .request(reqwest::Method::GET, "/session")
            .header("cookie", format!("{name}={session}"));
        server.send(request).await.is(401, "unauthenticated");
    }
}
