//! Tests of the log: it identifies requests, contains no credentials, and never blocks requests.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
};

use futures_util::future::join_all;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    loopback::own_address,
    test_server::{PASSWORD, Session, TestServer, binary, change, settings, wait_until},
    test_stores::{STACK, fresh_database},
};

#[tokio::test]
async fn log_events_contain_request_id_and_trace_id() {
    let server = TestServer::start().await;
    let trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
    let send_with_ids = |request: reqwest::RequestBuilder, id: &str| {
        let request = request
            .header("x-request-id", id)
            .header("traceparent", format!("00-{trace_id}-00f067aa0ba902b7-01"));
        server.send(request)
    };
    let body = json!({"username": "john", "password": PASSWORD});
    let session = Session::of(
        &send_with_ids(
            server.request(Method::POST, "/signup").json(&body),
            "id-signup",
        )
        .await,
    );
    send_with_ids(
        server.request(Method::POST, "/login").json(&body),
        "id-login",
    )
    .await
    .is(200, "");
    send_with_ids(
        server
            .request(Method::POST, "/logout")
            .bearer_auth(&session.access_token),
        "id-logout",
    )
    .await
    .is(204, "");
    for (event, id) in [
        ("sign_up", "id-signup"),
        ("sign_in", "id-login"),
        ("sign_out", "id-logout"),
    ] {
        server.wait_for_log(&[&format!("\"{event}\""), id]).await;
        let log = server.log();
        let mut events = log
            .iter()
            .map(|line| serde_json::from_str::<Value>(line).expect("a log line in JSON"));
        let entry = events
            .find(|entry| entry["event"] == event)
            .expect("a log entry for the event");
        assert_eq!(
            (&entry["span"]["request_id"], &entry["span"]["trace_id"]),
            (&json!(id), &json!(trace_id)),
            "{entry}"
        );
        assert!(
            entry["timestamp"]
                .as_str()
                .is_some_and(|time| time.ends_with('Z')),
            "{entry}"
        );
    }
}

/// The level `trace` includes the log of the store drivers.
#[tokio::test]
async fn trace_log_contains_no_credential() {
    let server = TestServer::with(&[
        ("LATCHKEY_LOG", "trace"),
        ("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let second = Session::of(
        &server
            .form("/login", &[("username", "john"), ("password", PASSWORD)])
            .await,
    );
    let third = Session::of(&server.refresh(&second.refresh_token).await);
    server
        .try_sign_in("john", "a-wrong-secret")
        .await
        .is(401, "invalid_credentials");
    server
        .refresh(&second.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    let change = json!({"current_password": PASSWORD, "new_password": "another secret 456"});
    server
        .with_token(
            Method::POST,
            "/user/password",
            &session.access_token,
            change,
        )
        .await
        .is(204, "");
    server.sign_out(&session.access_token).await.is(204, "");
    server.wait_for_log(&["\"event\":\"sign_out\""]).await;
    let log = server.log().join("\n");
    assert!(
        log.contains("sign_in_failed") && log.contains("request completed"),
        "the log is enabled"
    );
    let secrets = [
        PASSWORD,
        "a-wrong-secret",
        "another secret 456",
        "$argon2id",
        "lkr_",
        server.setting("LATCHKEY_SECRET"),
    ];
    for secret in secrets
        .into_iter()
        .chain([&session, &second, &third].map(|session| session.access_token.as_str()))
    {
        let line = log.lines().find(|line| line.contains(secret));
        assert!(line.is_none(), "{secret} in {line:?}");
    }
}

#[tokio::test]
async fn client_input_cannot_inject_log_lines() {
    let server = TestServer::start().await;
    let headers = [
        ("user-agent", "a\u{1b}[31m \"event\":\"x\""),
        ("x-request-id", "x\" event=\"forged"),
    ];
    let sign_in = server
        .request(Method::POST, "/login")
        .json(&json!({"username": "a\\n{\"event\":\"forged\"}", "password": "x"}));
    let request = headers.iter().fold(sign_in, |request, (name, value)| {
        request.header(
            *name,
            header::HeaderValue::from_bytes(value.as_bytes())
                .unwrap_or(header::HeaderValue::from_static("x")),
        )
    });
    server.send(request).await.is(401, "invalid_credentials");
    for line in server.log() {
        let event: Value = serde_json::from_str(&line).expect("a log line in JSON");
        assert_ne!(event["event"], "forged");
    }
}

/// A server whose standard output is a pipe that nothing reads.
struct UnreadServer {
    child: std::process::Child,
    address: SocketAddr,
    metrics: SocketAddr,
}

impl UnreadServer {
    async fn start() -> UnreadServer {
        let (address, metrics) = (own_address(), own_address());
        let settings = change(
            settings(&fresh_database().await, &STACK.redis_url(), "unread"),
            &[
                ("LATCHKEY_LISTEN", &address.to_string()),
                ("LATCHKEY_METRICS_LISTEN", &metrics.to_string()),
                ("LATCHKEY_LOG", "trace"),
            ],
        );
        let mut command = Command::new(binary());
        command
            .arg("serve")
            .env_clear()
            .envs(settings)
            .current_dir(std::env::temp_dir())
            .stdout(Stdio::piped());
        let child = latchkey_dev::spawn(command, rustix::process::Signal::KILL);
        UnreadServer {
            child: child.expect("the binary starts"),
            address,
            metrics,
        }
    }

    async fn get(&self, address: SocketAddr, path: &str) -> Option<(u16, String)> {
        let response = reqwest::get(format!("http://{address}{path}")).await.ok()?;
        Some((response.status().as_u16(), response.text().await.ok()?))
    }
}

#[tokio::test]
async fn unread_standard_output_stops_no_request() {
    let mut server = UnreadServer::start().await;
    wait_until("the server is ready", || async {
        let ready = server.get(server.address, "/health/ready").await;
        ready.is_some_and(|(status, _)| status == 200)
    })
    .await;
    // The pipe and the queue are full when lines are dropped.
    wait_until("lines are dropped", || async {
        let requests = (0..100).map(|_| server.get(server.address, "/user"));
        for response in join_all(requests).await {
            assert_eq!(response.expect("a response").0, 401);
        }
        let metrics = server.get(server.metrics, "/metrics").await;
        let dropped = "\nlatchkey_log_lines_dropped_total ";
        let (_, page) = metrics.expect("the metrics");
        let (_, value) = page.split_once(dropped).expect("the metric");
        !value.starts_with("0\n")
    })
    .await;
    let pid = rustix::process::Pid::from_child(&server.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("a child process");
    let mut status = None;
    wait_until("the server exits", || {
        status = server.child.try_wait().expect("a child process");
        std::future::ready(status.is_some())
    })
    .await;
    assert_eq!(status.expect("an exit status").code(), Some(0));
}

#[tokio::test]
async fn filter_selects_security_events() {
    // Their target doesn't depend on the module that logs them. The tests need "listening".
    let filter = "off,latchkey=info,latchkey::app=off,latchkey::postgres=off,audit=info";
    let server = TestServer::with(&[("LATCHKEY_LOG", filter)]).await;
    server.sign_up("john").await;
    server.wait_for_log(&["\"event\":\"sign_up\""]).await;
    let others = ["connected to store"];
    assert!(!server.has_logged(&others), "{:?}", server.log());
}
