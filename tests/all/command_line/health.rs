//! `latchkey health` beside a server, and without one.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::text;
use crate::{
    loopback::own_address,
    program,
    proxy::{ConnectionState, Proxy},
    test_server::TestServer,
};

/// Runs the command with these bind addresses. Returns the exit code, the output, and the errors.
async fn health(
    listen: SocketAddr,
    metrics_listen: SocketAddr,
    arguments: &[&str],
) -> (i32, String, String) {
    let settings = [
        ("LATCHKEY_LISTEN", listen.to_string()),
        ("LATCHKEY_METRICS_LISTEN", metrics_listen.to_string()),
    ];
    let settings = settings.map(|(name, value)| (name.to_owned(), value));
    let arguments: Vec<String> = ["health"]
        .iter()
        .chain(arguments)
        .map(|&argument| argument.to_owned())
        .collect();
    let run = move || {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        program::run(&arguments, settings, "")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let code = output.status.code().expect("an exit code");
    (code, text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn ready_replica_is_reported_with_details() {
    let server = TestServer::start().await;
    let (listen, metrics) = (server.address, server.metrics);
    server.wait_until_ready().await;
    let details = "status        ready\npostgres      up\nredis         up\n";
    let (code, output, errors) = health(listen, metrics, &[]).await;
    assert_eq!((code, errors.as_str()), (0, ""), "{output}");
    assert!(output.starts_with(details), "{output}");
    // The details have the fields of the metrics listener.
    let (code, output, _) = health(listen, metrics, &["--output", "json"]).await;
    let printed: Value = serde_json::from_str(&output).expect("JSON");
    let reported = server.readiness().await.body;
    for field in ["status", "postgres", "redis"] {
        assert_eq!(printed[field], reported[field], "{field}: {printed}");
    }
    let fields = |value: &Value| {
        let fields = value.as_object().expect("an object");
        fields.keys().cloned().collect::<Vec<_>>()
    };
    assert_eq!((code, fields(&printed)), (0, fields(&reported)));
}

#[tokio::test]
async fn metrics_listener_is_optional() {
    let server = TestServer::start().await;
    server.wait_until_ready().await;
    let (code, output, errors) = health(server.address, own_address(), &[]).await;
    assert_eq!((code, output.as_str()), (0, "status  ready\n"));
    assert!(errors.starts_with("hint: no details from http://127.2."));
    // A listener on all addresses is reached at the loopback address.
    let all = SocketAddr::from(([0, 0, 0, 0], server.address.port()));
    let arguments = ["--output", "json"];
    let (code, output, _) = health(all, own_address(), &arguments).await;
    let printed: Value = serde_json::from_str(&output).expect("JSON");
    assert_eq!((code, printed), (0, json!({"status": "ready"})));
}

#[tokio::test]
async fn url_selects_another_replica_or_its_metrics_listener() {
    let server = TestServer::start().await;
    server.wait_until_ready().await;
    let run = async |url: &str| health(own_address(), own_address(), &["--url", url]).await;
    let (code, output, errors) = run(&format!("http://{}/", server.address)).await;
    assert_eq!((code, output.as_str()), (0, "status  ready\n"));
    assert_eq!(errors, "");
    let (code, output, _) = run(&format!("http://{}", server.metrics)).await;
    assert_eq!(code, 0);
    assert!(output.contains("\npostgres      up\n"), "{output}");
    let (code, output, errors) = run(&format!("http://{}/unknown", server.address)).await;
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(errors.contains("isn't a replica: it responded with 404"));
    for invalid in ["nowhere", "http://john:secret@127.0.0.1"] {
        assert_eq!(run(invalid).await.0, 2, "{invalid}");
    }
}

#[tokio::test]
async fn replica_without_stores_is_not_ready() {
    let fixture = TestServer::start().await;
    let redis = Proxy::to_redis().await;
    redis.set(ConnectionState::Cut);
    let settings = fixture.settings_with(&[("REDIS_URL", &redis.redis_url())]);
    let launch = || TestServer::launch(settings);
    let server = tokio::task::spawn_blocking(launch).await.expect("no panic");
    server.wait_for_log(&["store unavailable"]).await;
    let (code, output, _) = health(server.address, server.metrics, &[]).await;
    assert_eq!(code, 1, "{output}");
    assert!(output.starts_with("status        starting\n"), "{output}");
    let degraded = output.lines().find(|line| line.starts_with("degraded "));
    let degraded = degraded.expect("a degraded component");
    assert!(degraded.contains("redis since 20"), "{output}");
}

#[tokio::test]
async fn missing_replica_is_unreachable() {
    let address = own_address();
    let (code, output, errors) = health(address, own_address(), &[]).await;
    assert_eq!((code, output.as_str()), (3, ""), "{errors}");
    let error = format!("error: http://{address} can't be reached: ");
    assert!(errors.starts_with(&error), "{errors}");
    assert!(errors.contains("\nhint: start the replica"), "{errors}");
    let any_port = SocketAddr::from(([127, 0, 0, 1], 0));
    let (code, _, errors) = health(any_port, own_address(), &[]).await;
    assert_eq!(code, 2);
    assert!(errors.contains("--url http://127.0.0.1:PORT"), "{errors}");
    let output = program::run(&["health"], [("LATCHKEY_LISTEN", "nonsense")], "");
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("LATCHKEY_LISTEN: must be an IP address"));
}
