//! `/metrics` on its separate listener.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{Session, TestServer, wait_until},
};

/// Returns the metrics of a replica.
pub async fn page(server: &TestServer) -> String {
    let response = reqwest::get(format!("http://{}/metrics", server.metrics))
        .await
        .expect("the server listens");
    assert_eq!(
        (
            response.status().as_u16(),
            &response.headers()["content-type"] == "text/plain; version=0.0.4"
        ),
        (200, true)
    );
    response.text().await.expect("text")
}

/// Returns the value of a series, or 0 if the series does not exist.
pub async fn value(server: &TestServer, series: &str) -> f64 {
    let page = page(server).await;
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.map_or(0.0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn metrics_are_not_on_the_public_listener() {
    let server = TestServer::start().await;
    for path in ["/metrics", "/metrics/"] {
        server.get(path).await.is(404, "not_found");
    }
    for path in [
        "/",
        "/login",
        "/health/live",
        "/health/ready/x",
        "/metrics/x",
    ] {
        let response = reqwest::get(format!("http://{}{path}", server.metrics))
            .await
            .expect("the server listens");
        assert_eq!(response.status(), 404, "{path}");
    }
    assert!(
        page(&server)
            .await
            .contains("# HELP latchkey_http_request_duration_seconds ")
    );
}

#[tokio::test]
async fn requests_are_counted_by_operation_and_status() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    server
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server
        .post("/login", json!({}))
        .await
        .is(400, "invalid_request");
    for path in ["/items/1", "/items/2", "/nope/1", "/nope/2"] {
        server
            .with_token(Method::GET, path, &session.access_token, Value::Null)
            .await
            .is(404, "not_found");
    }
    for (operation, status, count) in [
        ("signUp", 201, 1.0),
        ("signIn", 401, 1.0),
        ("signIn", 400, 1.0),
        ("getItem", 404, 2.0),
        ("none", 404, 2.0),
    ] {
        let series = format!(
            "latchkey_http_request_duration_seconds_count{{operation=\"{operation}\",status=\"{status}\"}}"
        );
        assert_eq!(value(&server, &series).await, count, "{series}");
    }
    let page = page(&server).await;
    assert!(page.contains(
        "latchkey_http_request_duration_seconds_bucket{operation=\"signUp\",status=\"201\",le=\"+Inf\"} 1"
    ));
    assert!(
        !page.contains("/items") && !page.contains("nope"),
        "paths are not labels"
    );
}

#[tokio::test]
async fn session_events_are_counted() {
    let server = TestServer::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s")]).await;
    let first = server.sign_up("john").await;
    let second = server.sign_in("john").await;
    server
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server
        .try_sign_in("unknown", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server.refresh(&first.refresh_token).await.is(200, "");
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    server
        .refresh("garbage")
        .await
        .is(401, "invalid_refresh_token");
    let third = Session::of(&server.refresh(&second.refresh_token).await);
    server.sign_out(&third.access_token).await.is(204, "");
    let deleted_user = server.sign_up("jane").await;
    server
        .with_token(
            Method::DELETE,
            "/user",
            &deleted_user.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    for (series, count) in [
        ("latchkey_sign_ins_total{outcome=\"success\"}", 1.0),
        ("latchkey_sign_ins_total{outcome=\"failure\"}", 2.0),
        ("latchkey_refreshes_total{outcome=\"success\"}", 2.0),
        ("latchkey_refreshes_total{outcome=\"reused\"}", 1.0),
        ("latchkey_refreshes_total{outcome=\"failure\"}", 1.0),
        ("latchkey_revocations_total{kind=\"session\"}", 2.0),
        ("latchkey_revocations_total{kind=\"user\"}", 1.0),
        // Two sign-ups and three sign-ins.
        ("latchkey_hash_wait_seconds_count", 5.0),
    ] {
        assert_eq!(value(&server, series).await, count, "{series}");
    }
}

#[tokio::test]
async fn audit_events_are_counted_from_zero() {
    let server = TestServer::start().await;
    let series = |event, outcome| {
        format!("latchkey_audit_events_total{{event=\"{event}\",outcome=\"{outcome}\"}}")
    };
    let reused = series("refresh_token_reused", "failure");
    assert!(page(&server).await.contains(&format!("\n{reused} 0\n")));
    server.sign_up("john").await;
    server.sign_up("jane").await;
    assert_eq!(value(&server, &series("sign_up", "success")).await, 2.0);
    assert_eq!(value(&server, &reused).await, 0.0);
}

#[tokio::test]
async fn build_and_process_are_described() {
    let server = TestServer::start().await;
    let build = format!("latchkey_build_info{{version=\"{}\"}}", latchkey::VERSION);
    assert_eq!(value(&server, &build).await, 1.0);
    if cfg!(target_os = "linux") {
        assert!(value(&server, "process_resident_memory_bytes").await > 1e6);
        assert!(value(&server, "process_cpu_seconds_total").await > 0.0);
        let open = value(&server, "process_open_fds").await;
        assert!(open > 3.0 && open < value(&server, "process_max_fds").await);
        assert!(value(&server, "process_threads").await > 1.0);
        let age = time::OffsetDateTime::now_utc().unix_timestamp() as f64
            - value(&server, "process_start_time_seconds").await;
        assert!((-2.0..600.0).contains(&age), "{age}");
    }
    server.sign_up("john").await;
    let page = page(&server).await;
    let names_of = |kind: &'static str| {
        page.lines().filter_map(move |line| {
            line.strip_prefix("# ")?
                .strip_prefix(kind)?
                .split(' ')
                .nth(1)
        })
    };
    for name in names_of("TYPE") {
        assert_eq!(
            names_of("HELP").filter(|help| *help == name).count(),
            1,
            "{name}"
        );
    }
}

#[tokio::test]
async fn stores_and_connections_are_measured() {
    let proxy = Proxy::to_redis().await;
    let server = TestServer::with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let (postgres, redis) = (
        "latchkey_store_up{store=\"postgres\"}",
        "latchkey_store_up{store=\"redis\"}",
    );
    wait_until("both stores are up", || async {
        value(&server, postgres).await == 1.0 && value(&server, redis).await == 1.0
    })
    .await;
    // The gauges are updated one after another, and this is the last one.
    wait_until("all gauges are updated", || async {
        page(&server).await.contains("\nlatchkey_hash_queue 0")
    })
    .await;
    assert!(value(&server, "latchkey_postgres_connections{state=\"open\"}").await >= 1.0);
    assert!(
        page(&server)
            .await
            .contains("latchkey_postgres_connections{state=\"used\"}")
    );
    proxy.set(ConnectionState::Cut);
    wait_until("Redis is down", || async {
        value(&server, redis).await == 0.0
    })
    .await;
    assert_eq!(value(&server, postgres).await, 1.0);
    proxy.set(ConnectionState::Open);
    wait_until("Redis is up again", || async {
        value(&server, redis).await == 1.0
    })
    .await;
}
