//! The listener: malformed requests, slow clients, startup, and graceful shutdown.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{
    metrics,
    raw_http::{self, exchange},
    test_server::{PASSWORD, TestServer, wait_until},
    test_stores::RowLock,
};

#[tokio::test]
async fn malformed_requests_do_not_stop_the_server() {
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
    let malformed: [&[u8]; 12] = [
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
    for bytes in malformed {
        let response = exchange(server.address, bytes).await;
        let excerpt = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).into_owned();
        assert!(
            [0, 400, 431, 505].contains(&raw_http::status(&response)),
            "{excerpt}: {response}"
        );
        assert_eq!(
            server.verify(&session.access_token).await.0,
            204,
            "after {excerpt}"
        );
    }
}

#[tokio::test]
async fn slow_clients_do_not_delay_others() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let mut slow = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(server.address)
            .await
            .expect("the server listens");
        let head: &[u8] = if number % 2 == 0 {
            b"GET /user HTTP/1.1\r\nhost: "
        } else {
            b"POST /login HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\n\
              content-length: 50\r\n\r\n{"
        };
        stream.write_all(head).await.expect("the server reads");
        slow.push(stream);
    }
    for _ in 0..20 {
        assert_eq!(server.verify(&session.access_token).await.0, 204);
    }
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    let mut completed = slow.swap_remove(0);
    completed
        .write_all(b"a\r\nconnection: close\r\n\r\n")
        .await
        .expect("the server reads");
    let mut response = String::new();
    completed
        .read_to_string(&mut response)
        .await
        .expect("the server responds");
    assert_eq!(
        raw_http::status(&response),
        401,
        "a slow request gets a response"
    );
}

/// If the server closed the connection early, a proxy would discard the response and consider the
/// server broken.
#[tokio::test]
async fn response_before_the_body_is_read_is_delivered() {
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
            .expect("the server listens");
        stream
            .write_all(head.as_bytes())
            .await
            .expect("the server reads");
        stream
            .write_all(&vec![b' '; length])
            .await
            .expect("the server reads the whole body");
        // The rest of the body is not parsed as the next request on the connection.
        stream
            .write_all(b"GET /health/live HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .expect("the server reads");
        let mut responses = String::new();
        stream
            .read_to_string(&mut responses)
            .await
            .expect("the server responds");
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
async fn rejected_client_that_stops_sending_is_disconnected() {
    let server = TestServer::start().await;
    let part = b"PUT /items/x HTTP/1.1\r\nhost: a\r\n\
        content-type: application/json\r\ncontent-length: 50\r\n\r\n{";
    // `exchange` reads until the server closes the connection.
    let response = exchange(server.address, part).await;
    assert!(
        raw_http::status(&response) == 401 && response.contains("\"unauthenticated\""),
        "{response}"
    );
}

#[tokio::test]
async fn incomplete_body_is_rejected_after_a_timeout() {
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
async fn pipelined_requests_get_responses_in_order() {
    let server = TestServer::start().await;
    let requests = "GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n\
        GET /nope HTTP/1.1\r\nhost: a\r\n\r\n\
        GET /user HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let responses = exchange(server.address, requests.as_bytes()).await;
    let statuses: Vec<_> = responses
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|response| &response[..3])
        .collect();
    assert_eq!(statuses, ["200", "404", "401"], "{responses}");
}

/// The sign-in waits for a locked row during the shutdown.
#[tokio::test]
async fn requests_in_flight_complete_during_shutdown() {
    let mut server = TestServer::start().await;
    server.sign_up("john").await;
    let lock = RowLock::rows(&server, "select from users").await;
    let request = server
        .request(Method::POST, "/login")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let sign_in = tokio::spawn(request.send());
    lock.wait_until_blocked().await;
    server.terminate();
    wait_until("new connections fail", || async {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    lock.release().await;
    let response = sign_in.await.expect("no panic").expect("a response");
    assert_eq!(response.status(), 200);
    assert!(response.json::<Value>().await.expect("JSON")["access_token"].is_string());
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn draining_replica_is_not_ready_and_serves_requests() {
    let mut server = TestServer::with(&[("LATCHKEY_DRAIN_DELAY", "15s")]).await;
    let session = server.sign_up("john").await;
    server.terminate();
    wait_until("the replica is not ready", || async {
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
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    TcpStream::connect(server.address)
        .await
        .expect("new connections are accepted while draining");
    assert_eq!(server.wait(), Some(0));
    assert!(TcpStream::connect(server.address).await.is_err());
}

/// A proxy without health checks uses a replica as soon as it listens. The lock delays the startup.
#[tokio::test]
async fn requests_during_startup_wait() {
    let running = TestServer::start().await;
    let session = running.sign_up("john").await;
    let lock = RowLock::rows(&running, "select from settings").await;
    let settings = running.settings();
    let replica = tokio::task::spawn_blocking(|| TestServer::launch(settings))
        .await
        .expect("no panic");
    lock.wait_until_blocked().await;
    assert_eq!(
        replica.get("/health/ready").await.status,
        503,
        "health checks do not wait"
    );
    let body = json!({"name": "Book"});
    let create = replica.with_token(Method::POST, "/items", &session.access_token, body);
    let (created, ()) = tokio::join!(create, lock.release());
    created.is(201, "");
}

/// Opens a persistent connection, as a proxy does.
async fn open_connection(server: &TestServer) -> TcpStream {
    let mut stream = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    stream.write_all(LIVE).await.expect("the server reads");
    let mut head = vec![0; 1024];
    let count = stream.read(&mut head).await.expect("the server responds");
    let head = String::from_utf8_lossy(&head[..count]).to_lowercase();
    assert!(
        head.starts_with("http/1.1 200") && !head.contains("connection: close"),
        "{head}"
    );
    stream
}

/// Returns whether the server aborted connections after the drain timeout.
fn has_aborted_connections(server: &TestServer) -> bool {
    let message = "drain timeout: aborted in-flight requests";
    assert!(
        include_str!("../../src/http/server.rs").contains(message),
        "the server logs this message"
    );
    server.has_logged(&[message])
}

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n";

/// Asserts that the next response is the last one and contains `Connection: close`.
async fn assert_closes_after_response(mut stream: TcpStream) {
    stream.write_all(LIVE).await.expect("an open connection");
    let mut response = String::new();
    stream
        .read_to_string(&mut response)
        .await
        .expect("a closed connection");
    let response = response.to_lowercase();
    assert!(
        response.starts_with("http/1.1 200") && response.contains("connection: close"),
        "{response}"
    );
}

/// Requests on persistent connections get a response, even after the listener is closed.
#[tokio::test]
async fn draining_connections_close_after_a_response() {
    let mut server = TestServer::with(&[("LATCHKEY_DRAIN_DELAY", "10s")]).await;
    let (first, second) = (
        open_connection(&server).await,
        open_connection(&server).await,
    );
    server.terminate();
    wait_until("the replica is not ready", || async {
        server.get("/health/ready").await.status == 503
    })
    .await;
    assert_closes_after_response(first).await;
    wait_until("new connections fail", || async {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    assert_closes_after_response(second).await;
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn idle_connection_does_not_delay_shutdown() {
    let mut server = TestServer::start().await;
    let mut idle = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    idle.write_all(LIVE).await.expect("the server reads");
    let mut status_line = [0; 12];
    idle.read_exact(&mut status_line)
        .await
        .expect("the server responds");
    assert_eq!(&status_line, b"HTTP/1.1 200");
    assert_eq!(server.stop(), Some(0));
    assert!(
        !has_aborted_connections(&server),
        "the idle connection is closed"
    );
}

/// The sign-out waits for a locked row until all clients are disconnected, so that only its
/// detached task delays the exit.
#[tokio::test]
async fn sign_out_of_disconnected_client_completes_before_exit() {
    let mut server = TestServer::start().await;
    let (replica, session) = (server.replica().await, server.sign_up("john").await);
    let lock = RowLock::rows(&server, "select from sessions").await;
    let mut client = TcpStream::connect(server.address)
        .await
        .expect("the server listens");
    let token = &session.access_token;
    let request =
        format!("POST /logout HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n");
    client
        .write_all(request.as_bytes())
        .await
        .expect("the server reads");
    lock.wait_until_blocked().await;
    drop(client);
    server.terminate();
    let count_connections =
        || metrics::value(&server, "latchkey_http_connections{listener=\"public\"}");
    wait_until("no client is connected", || async {
        count_connections().await == 0.0
    })
    .await;
    lock.release().await;
    assert_eq!(server.wait(), Some(0));
    assert_eq!(replica.verify(token).await, (401, "token_revoked".into()));
    replica
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}

#[tokio::test]
async fn silent_clients_do_not_delay_shutdown() {
    let mut server = TestServer::start().await;
    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(
            TcpStream::connect(server.address)
                .await
                .expect("the server listens"),
        );
    }
    let count_connections =
        || metrics::value(&server, "latchkey_http_connections{listener=\"public\"}");
    wait_until("all clients are connected", || async {
        count_connections().await >= 200.0
    })
    .await;
    assert_eq!(server.stop(), Some(0));
    assert!(
        !has_aborted_connections(&server),
        "the silent connections are closed"
    );
}
