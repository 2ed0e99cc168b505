//! The listener: broken and slow clients, and how a replica ends.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    metrics,
    raw_http::{self, exchange},
    test_server::{PASSWORD, TestServer, until},
    test_stores::Held,
};

#[tokio::test]
async fn what_is_no_request_does_not_kill_it() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let long = format!(
        "GET / HTTP/1.1\r\nhost: a\r\nx-long: {}\r\n\r\n",
        "x".repeat(100_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: a\r\n{}\r\n",
        "x-many: x\r\n".repeat(1_000)
    );
    let bad: [&[u8]; 12] = [
        b"GARBAGE\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n",
        b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in bad {
        let response = exchange(server.address, bytes).await;
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(
            [0, 400, 431, 505].contains(&raw_http::status(&response)),
            "{shown}: {response}"
        );
        assert_eq!(
            server.verify(&session.access_token).await.0,
            204,
            "after {shown}"
        );
    }
}

#[tokio::test]
async fn slow_clients_hold_up_nobody_else() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("it listens");
        let part: &[u8] = if number % 2 == 0 {
            b"GET /user HTTP/1.1\r\nhost: "
        } else {
            b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
              content-length: 50\r\n\r\n{"
        };
        stream.write_all(part).await.expect("it reads");
        slow.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(server.verify(&session.access_token).await.0, 204);
    }
    server.log_in("john", PASSWORD).await.is(200, "");
    let mut patient = slow.swap_remove(0);
    patient
        .write_all(b"a\r\nconnection: close\r\n\r\n")
        .await
        .expect("it reads");
    let mut response = String::new();
    patient
        .read_to_string(&mut response)
        .await
        .expect("it responds");
    assert_eq!(
        raw_http::status(&response),
        401,
        "one that was slow, but came"
    );
}

/// Closed in the middle, a proxy would take the gateway for broken, and read no answer.
#[tokio::test]
async fn whoever_is_refused_before_the_body_was_read_gets_the_answer() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let authorization = format!("authorization: Bearer {}\r\n", session.access_token);
    for (line, fields, length, status) in [
        ("PUT /items/x", "", 60_000, 401),
        ("PUT /items/x", "", 5_000_000, 401),
        ("POST /items", authorization.as_str(), 5_000_000, 413),
        ("POST /user", authorization.as_str(), 5_000_000, 405),
    ] {
        let head = format!(
            "{line} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
             {fields}content-length: {length}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("it listens");
        stream.write_all(head.as_bytes()).await.expect("it reads");
        stream
            .write_all(&vec![b' '; length])
            .await
            .expect("it reads all of it");
        // The next one on the same connection is nobody else's.
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .expect("it reads");
        let mut responses = String::new();
        stream
            .read_to_string(&mut responses)
            .await
            .expect("it responds");
        assert_eq!(
            raw_http::status(&responses),
            status,
            "{line}, {length}: {responses}"
        );
        assert!(
            responses.contains("HTTP/1.1 200 OK"),
            "{line}, {length}: {responses}"
        );
    }
}

#[tokio::test]
async fn whoever_is_refused_and_sends_no_more_is_cut_off() {
    // It reads until the gateway closes.
    let server = TestServer::start().await;
    let part = b"PUT /items/x HTTP/1.1\r\nhost: a\r\n\
        content-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    let response = exchange(server.address, part).await;
    assert!(
        raw_http::status(&response) == 401 && response.contains("\"unauthenticated\""),
        "{response}"
    );
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let server = TestServer::start().await;
    let part = b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
        content-length: 50\r\n\r\n{\"username\"";
    let response = exchange(server.address, part).await;
    assert!(
        raw_http::status(&response) == 400 && response.contains("\"invalid_request\""),
        "{response}"
    );
}

#[tokio::test]
async fn requests_of_one_connection_are_answered_in_order() {
    let server = TestServer::start().await;
    let three = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n\
        GET /nope HTTP/1.1\r\nhost: a\r\n\r\n\
        GET /user HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let responses = exchange(server.address, three.as_bytes()).await;
    let statuses: Vec<_> = responses
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|response| &response[..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "401"], "{responses}");
}

/// A sign-in that waits for its row.
#[tokio::test]
async fn what_runs_when_it_is_stopped_is_answered() {
    let mut server = TestServer::start().await;
    server.sign_up("john").await;
    let held = Held::rows(&server, "select from users").await;
    let login = server
        .request(Method::POST, "/login")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let sign_in = tokio::spawn(login.send());
    held.until_somebody_waits().await;
    server.terminate();
    until("nobody new is let in", || async {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    held.release().await;
    let response = sign_in.await.expect("no panic").expect("it is answered");
    assert_eq!(response.status(), 200);
    assert!(response.json::<Value>().await.expect("JSON")["access_token"].is_string());
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn before_it_stops_balancers_are_told_and_others_still_served() {
    let mut server = TestServer::with(&[("LATCHKEY_DRAIN_DELAY", "15s")]).await;
    let session = server.sign_up("john").await;
    server.terminate();
    until("it is not ready", || async {
        server.get("/health/ready").await.status == 503
    })
    .await;
    let ready = server.get("/health/ready").await;
    assert_eq!(
        (ready.status, ready.text("status")),
        (503, "draining".into())
    );
    server.get("/health/live").await.is(200, "");
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    server.log_in("john", PASSWORD).await.is(200, "");
    TcpStream::connect(server.address)
        .await
        .expect("new connections are taken meanwhile");
    assert_eq!(server.wait(), Some(0));
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// A proxy that looks at no health takes a replica for well as soon as it listens. The start is
/// held up where it waits for others that migrate.
#[tokio::test]
async fn whoever_comes_while_it_starts_waits_a_moment() {
    let before = TestServer::start().await;
    let session = before.sign_up("john").await;
    let held = Held::rows(&before, "select from settings").await;
    let settings = before.settings();
    let replica = tokio::task::spawn_blocking(|| TestServer::launch(settings))
        .await
        .expect("it listens");
    held.until_somebody_waits().await;
    assert_eq!(
        replica.get("/health/ready").await.status,
        503,
        "health is told at once"
    );
    let body = json!({"name": "Book"});
    let create = replica.with_token(Method::POST, "/items", &session.access_token, body);
    let (created, ()) = tokio::join!(create, held.release());
    created.is(201, "");
}

/// A connection of a proxy, which is kept.
async fn kept(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    stream.write_all(LIVE).await.expect("it reads");
    let mut head = vec![0; 1024];
    let count = stream.read(&mut head).await.expect("it responds");
    let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && !head.contains("connection: close"),
        "{head}"
    );
    stream
}

/// Whether it has waited for connections until they were cut.
fn waited_in_vain(server: &TestServer) -> bool {
    let cut = "drain timeout: aborted in-flight requests";
    assert!(
        include_str!("../../src/http/server.rs").contains(cut),
        "or it says something else"
    );
    server.has_logged(&[cut])
}

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

/// The next answer is the last one, and says so.
async fn ends_with_an_answer(mut stream: TcpStream) {
    stream.write_all(LIVE).await.expect("it is not closed");
    let mut response = String::new();
    stream.read_to_string(&mut response).await.expect("it ends");
    let response = response.to_lowercase();
    assert!(
        response.starts_with("http/1.1 200") && response.contains("connection: close"),
        "{response}"
    );
}

/// Whatever a proxy sends in that moment is answered: also on connections that it kept, and after
/// nobody new is let in.
#[tokio::test]
async fn while_it_stops_connections_end_with_an_answer_and_never_before() {
    let mut server = TestServer::with(&[("LATCHKEY_DRAIN_DELAY", "10s")]).await;
    let (first, second) = (kept(&server).await, kept(&server).await);
    server.terminate();
    until("it is not ready", || async {
        server.get("/health/ready").await.status == 503
    })
    .await;
    ends_with_an_answer(first).await;
    until("nobody new is let in", || async {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    ends_with_an_answer(second).await;
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn an_idle_connection_does_not_keep_it_from_stopping() {
    let mut server = TestServer::start().await;
    let mut idle = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    idle.write_all(LIVE).await.expect("it reads");
    let mut some = [0; 12];
    idle.read_exact(&mut some).await.expect("it responds");
    assert_eq!(&some, b"HTTP/1.1 200");
    assert_eq!(server.stop(), Some(0));
    assert!(!waited_in_vain(&server), "it waited for an idle connection");
}

/// The logout waits for its row until nobody is connected any more: all that keeps the process is
/// the story itself.
#[tokio::test]
async fn a_logout_whose_caller_hung_up_is_finished_before_it_stops() {
    let mut server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let held = Held::rows(&server, "select from sessions").await;
    let mut caller = TcpStream::connect(server.address)
        .await
        .expect("it listens");
    let token = &session.access_token;
    let logout =
        format!("POST /logout HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    caller.write_all(logout.as_bytes()).await.expect("it reads");
    held.until_somebody_waits().await;
    drop(caller);
    server.terminate();
    let connected = || metrics::value(&server, "latchkey_http_connections{listener=\"public\"}");
    until("nobody is connected", || async { connected().await == 0.0 }).await;
    held.release().await;
    assert_eq!(server.wait(), Some(0));
    assert_eq!(replica.verify(token).await, (401, "token_revoked".into()));
    replica
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn clients_that_never_said_a_word_do_not_keep_it_from_stopping() {
    let mut server = TestServer::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(
            TcpStream::connect(server.address)
                .await
                .expect("it listens"),
        );
    }
    let connected = || metrics::value(&server, "latchkey_http_connections{listener=\"public\"}");
    until("all are let in", || async { connected().await >= 200.0 }).await;
    assert_eq!(server.stop(), Some(0));
    assert!(!waited_in_vain(&server), "it waited for silent clients");
}
