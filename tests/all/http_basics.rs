//! Tests of the HTTP behavior that all operations share: errors, methods, request IDs, security
//! headers, CORS, client IP addresses, and legacy paths.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    test_server::{self, PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::execute,
};

async fn send(
    server: &TestServer,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> TestResponse {
    let request = server.request(method.parse().expect("an HTTP method"), path);
    server
        .send(headers.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        }))
        .await
}

/// Asserts that the status, the fields, the media type, and the request ID of an error agree.
fn assert_error_response(response: &TestResponse, status: u16, code: &str) {
    response.is(status, code);
    assert_eq!(response.header("content-type"), "application/problem+json");
    assert_eq!(
        (&response.body["status"], response.text("type")),
        (
            &json!(status),
            format!("{}/problems/{code}", test_server::ISSUER)
        )
    );
    assert_eq!(response.text("request_id"), response.header("x-request-id"));
    assert!(!response.text("title").is_empty() && !response.text("detail").is_empty());
}

#[tokio::test]
async fn unknown_path_returns_404() {
    let server = TestServer::start().await;
    let paths = [
        "/nope",
        "/items/a/b",
        "/login/x",
        "//login",
        "/user//",
        "/docs/a/b",
        "/problems/a/b",
        "/%00",
        "/%ff",
        "/.env",
        "/metrics",
        "/metrics/",
        "/User",
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE", "PATCH"] {
            assert_error_response(&send(&server, method, path, &[]).await, 404, "not_found");
        }
    }
    for path in ["/problems/nope", "/docs/nope"] {
        assert_error_response(&send(&server, "GET", path, &[]).await, 404, "not_found");
    }
}

#[tokio::test]
async fn unsupported_method_returns_405_with_allow_header() {
    let server = TestServer::shared().await;
    for (method, path, allow) in [
        ("GET", "/login", "POST"),
        ("DELETE", "/login", "POST"),
        ("OPTIONS", "/login", "POST"),
        ("PUT", "/items", "POST, GET, HEAD"),
        ("POST", "/items/x", "GET, PUT, PATCH, DELETE, HEAD"),
        ("POST", "/user", "GET, PATCH, DELETE, HEAD"),
        ("TRACE", "/user", "GET, PATCH, DELETE, HEAD"),
        ("PROPFIND", "/user", "GET, PATCH, DELETE, HEAD"),
        ("POST", "/", "GET, HEAD"),
        ("POST", "/docs", "GET, HEAD"),
        ("DELETE", "/health/live", "GET, HEAD"),
        ("GET", "/refresh-token", "POST"),
    ] {
        let response = send(&server, method, path, &[]).await;
        assert_error_response(&response, 405, "method_not_allowed");
        assert_eq!(response.header("allow"), allow, "{method} {path}");
    }
}

#[tokio::test]
async fn unacceptable_media_type_returns_406() {
    let server = TestServer::shared().await;
    let token = format!("Bearer {}", server.sign_up("john").await.access_token);
    for (method, path) in [
        ("POST", "/login"),
        ("GET", "/user"),
        ("GET", "/items"),
        ("DELETE", "/user"),
        ("POST", "/signup"),
        ("POST", "/oauth/token"),
        ("POST", "/oauth/revoke"),
        ("POST", "/oauth/introspect"),
    ] {
        for accept in ["text/html", "application/json;q=0", "image/*, text/plain"] {
            let response = send(
                &server,
                method,
                path,
                &[("accept", accept), ("authorization", &token)],
            )
            .await;
            assert_error_response(&response, 406, "not_acceptable");
        }
    }
    for accept in [
        "*/*",
        "application/*",
        "text/html, application/json;q=0.5",
        "application/problem+json",
    ] {
        send(
            &server,
            "GET",
            "/user",
            &[("accept", accept), ("authorization", &token)],
        )
        .await
        .is(200, "");
    }
    send(&server, "GET", "/", &[("accept", "image/png")])
        .await
        .is(200, "");
}

#[tokio::test]
async fn head_matches_get_without_body() {
    let server = TestServer::shared().await;
    let token = format!("Bearer {}", server.sign_up("john").await.access_token);
    let paths = [
        "/",
        "/docs",
        "/openapi.json",
        "/problems",
        "/problems/busy",
        "/health/live",
        "/health/ready",
        "/user",
        "/items",
        "/dashboard",
        "/auth/verify",
    ];
    for path in paths {
        let headers = [("authorization", token.as_str())];
        let (get, head) = (
            send(&server, "GET", path, &headers).await,
            send(&server, "HEAD", path, &headers).await,
        );
        assert_eq!(
            (head.status, head.header("content-type")),
            (get.status, get.header("content-type")),
            "{path}"
        );
        assert!(head.status < 300 && head.bytes.is_empty(), "{path}");
    }
    for (path, status) in [("/user", 401), ("/nope", 404), ("/login", 405)] {
        let head = send(&server, "HEAD", path, &[]).await;
        assert_eq!((head.status, head.bytes.len()), (status, 0), "{path}");
    }
}

#[tokio::test]
async fn valid_request_id_is_kept_and_invalid_one_replaced() {
    let server = TestServer::shared().await;
    for path in ["/health/live", "/nope", "/user", "/"] {
        assert_eq!(
            send(&server, "GET", path, &[("x-request-id", "abc-1.2_3")])
                .await
                .header("x-request-id"),
            "abc-1.2_3"
        );
        for invalid in [
            "",
            "a b",
            "a\"b",
            "a{b}",
            &"x".repeat(129),
            "a,b",
            "<script>",
        ] {
            let id = send(&server, "GET", path, &[("x-request-id", invalid)])
                .await
                .header("x-request-id")
                .to_owned();
            assert!(
                id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()),
                "{invalid}: {id}"
            );
        }
    }
    let (first, second) = (
        send(&server, "GET", "/", &[]).await,
        send(&server, "GET", "/", &[]).await,
    );
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
}

#[tokio::test]
async fn every_response_has_security_headers() {
    let server = TestServer::start().await;
    let token = format!("Bearer {}", server.sign_up("john").await.access_token);
    execute(&server, "alter table items rename to gone").await;
    let cases = [
        ("GET", "/", 200),
        ("GET", "/docs", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/problems", 200),
        ("GET", "/user", 200),
        ("GET", "/auth/verify", 204),
        ("GET", "/nope", 404),
        ("PUT", "/login", 405),
        ("POST", "/login", 415),
        ("GET", "/items?a=1&a=2", 400),
        ("GET", "/items", 500),
        ("HEAD", "/nope", 404),
    ];
    for (method, path, status) in cases {
        let response = send(&server, method, path, &[("authorization", &token)]).await;
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(
            response.header("x-content-type-options"),
            "nosniff",
            "{path}"
        );
        // A form of a page must report its origin.
        let is_page = response.header("content-type").starts_with("text/html") && path != "/docs";
        let policy = if is_page {
            "same-origin"
        } else {
            "no-referrer"
        };
        assert_eq!(response.header("referrer-policy"), policy, "{path}");
        let policy = response.header("content-security-policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert_eq!(
            response.header("strict-transport-security"),
            "max-age=31536000",
            "{path}"
        );
        assert!(
            !response.header("x-request-id").is_empty() && response.header("server").is_empty(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn http_issuer_sends_no_hsts_header() {
    let server = TestServer::with(&[("LATCHKEY_ISSUER", "http://127.0.0.1:8000")]).await;
    for path in ["/", "/nope", "/health/live"] {
        assert_eq!(
            server.get(path).await.header("strict-transport-security"),
            "",
            "{path}"
        );
    }
}

#[tokio::test]
async fn responses_with_tokens_or_user_data_are_not_cached() {
    let server = TestServer::shared().await;
    let sign_up = server
        .post("/signup", json!({"username": "john", "password": PASSWORD}))
        .await;
    let sign_in = server.try_sign_in("john", PASSWORD).await;
    let refresh = server.refresh(&Session::of(&sign_in).refresh_token).await;
    let mut responses = vec![
        sign_up,
        sign_in,
        refresh,
        server.try_sign_in("john", "wrong").await,
        server.get("/user").await,
    ];
    let token = Session::of(&responses[0]).access_token;
    for path in ["/user", "/dashboard", "/items", "/auth/verify"] {
        responses.push(
            server
                .with_token(Method::GET, path, &token, Value::Null)
                .await,
        );
    }
    assert!(
        responses
            .iter()
            .all(|response| response.header("cache-control") == "no-store"),
        "{responses:?}"
    );
}

#[tokio::test]
async fn internal_error_is_logged_and_hidden_from_client() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    execute(&server, "alter table items rename to gone").await;
    let request = server
        .request(Method::GET, "/items")
        .bearer_auth(&session.access_token);
    let response = server.send(request.header("x-request-id", "find-me")).await;
    assert_error_response(&response, 500, "internal");
    for detail in [
        "items\\\"",
        "relation",
        "select",
        "postgres",
        "tokio",
        "src/",
    ] {
        assert!(!response.string().contains(detail), "{}", response.string());
    }
    let find_line = || {
        server
            .log()
            .into_iter()
            .find(|line| line.contains("request failed"))
    };
    wait_until("the error is logged", || async { find_line().is_some() }).await;
    let line = find_line().expect("a log line");
    assert!(
        line.contains("find-me") && line.contains("relation"),
        "{line}"
    );
    assert_eq!(
        server.verify(&session.access_token).await.0,
        204,
        "the server still responds"
    );
}

#[tokio::test]
async fn cors_is_disabled_by_default() {
    let server = TestServer::shared().await;
    let preflight = [
        ("origin", "https://app.example.com"),
        ("access-control-request-method", "GET"),
    ];
    assert_error_response(
        &send(&server, "OPTIONS", "/user", &preflight).await,
        405,
        "method_not_allowed",
    );
    for path in ["/user", "/health/live", "/nope"] {
        let response = send(&server, "GET", path, &preflight).await;
        assert!(
            !response
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control")),
            "{:?}",
            response.headers
        );
    }
}

#[tokio::test]
async fn cors_allows_only_exact_origins() {
    let origins = "https://app.example.com, http://localhost:3000";
    let server = TestServer::with(&[("LATCHKEY_CORS_ORIGINS", origins)]).await;
    for origin in ["https://app.example.com", "http://localhost:3000"] {
        let preflight = send(
            &server,
            "OPTIONS",
            "/user",
            &[
                ("origin", origin),
                ("access-control-request-method", "PATCH"),
            ],
        )
        .await;
        assert_eq!(
            (
                preflight.status,
                preflight.header("access-control-allow-origin")
            ),
            (204, origin)
        );
        assert!(
            preflight
                .header("access-control-allow-methods")
                .contains("PATCH")
        );
        assert!(
            preflight
                .header("access-control-allow-headers")
                .contains("authorization")
        );
        for path in ["/user", "/nope", "/health/live"] {
            let response = send(&server, "GET", path, &[("origin", origin)]).await;
            let varies = response
                .headers
                .get_all("vary")
                .iter()
                .any(|field| field == "Origin");
            assert!(
                response.header("access-control-allow-origin") == origin && varies,
                "{path}"
            );
            assert_eq!(response.header("access-control-allow-credentials"), "");
        }
    }
    let unknown_origins = [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://APP.example.com",
        "null",
        "*",
    ];
    for origin in unknown_origins {
        for method in ["GET", "OPTIONS"] {
            let response = send(
                &server,
                method,
                "/user",
                &[("origin", origin), ("access-control-request-method", "GET")],
            )
            .await;
            assert_eq!(
                response.header("access-control-allow-origin"),
                "",
                "{origin}"
            );
            assert!(response.status >= 400, "{origin}");
        }
    }
}

/// Signs in with these `X-Forwarded-For` headers and returns the IP address of the session.
async fn recorded_ip_address(server: &TestServer, forwarded: &[&str]) -> String {
    let request = server
        .request(Method::POST, "/login")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let request = forwarded.iter().fold(request, |request, value| {
        request.header("x-forwarded-for", *value)
    });
    let session = Session::of(
        &server
            .send(
                request
                    .header("x-real-ip", "192.0.2.99")
                    .header("forwarded", "for=192.0.2.98"),
            )
            .await,
    );
    let dashboard = server
        .with_token(
            Method::GET,
            "/dashboard",
            &session.access_token,
            Value::Null,
        )
        .await;
    let sessions = dashboard.body["sessions"]
        .as_array()
        .expect("a list")
        .iter();
    sessions
        .filter(|session| session["current"] == true)
        .map(|session| {
            session["ip_address"]
                .as_str()
                .expect("an IP address")
                .to_owned()
        })
        .collect()
}

#[tokio::test]
async fn forwarded_ip_address_requires_trusted_proxy() {
    let without_proxies = TestServer::with(&[("LATCHKEY_TRUSTED_PROXIES", "none")]).await;
    without_proxies.sign_up("john").await;
    assert_eq!(
        recorded_ip_address(&without_proxies, &["203.0.113.9"]).await,
        "127.0.0.1"
    );
    let behind_proxies = without_proxies
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")])
        .await;
    assert_eq!(recorded_ip_address(&behind_proxies, &[]).await, "127.0.0.1");
    assert_eq!(
        recorded_ip_address(&behind_proxies, &["203.0.113.9"]).await,
        "203.0.113.9"
    );
    assert_eq!(
        recorded_ip_address(&behind_proxies, &["198.51.100.1, 203.0.113.9, 10.0.0.2"]).await,
        "203.0.113.9"
    );
    assert_eq!(
        recorded_ip_address(&behind_proxies, &["198.51.100.1", "203.0.113.9"]).await,
        "203.0.113.9"
    );
    assert_eq!(
        recorded_ip_address(&behind_proxies, &["2001:db8::7"]).await,
        "2001:db8::7"
    );
    assert_eq!(
        recorded_ip_address(&behind_proxies, &["203.0.113.9, nonsense"]).await,
        "127.0.0.1"
    );
    let other_proxies = without_proxies
        .replica_with(&[("LATCHKEY_TRUSTED_PROXIES", "10.0.0.0/8")])
        .await;
    assert_eq!(
        recorded_ip_address(&other_proxies, &["203.0.113.9"]).await,
        "127.0.0.1"
    );
}

#[tokio::test]
async fn legacy_paths_work_and_are_undocumented() {
    let server = TestServer::with(&[("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:9")]).await;
    let session = Session::of(
        server
            .post(
                "/register",
                json!({"username": "john", "password": PASSWORD}),
            )
            .await
            .is(201, ""),
    );
    let rotated = Session::of(
        server
            .post(
                "/refresh-token",
                json!({"refresh_token": session.refresh_token}),
            )
            .await
            .is(200, ""),
    );
    server
        .post(
            "/refresh_jwt/",
            json!({"refresh_token": rotated.refresh_token}),
        )
        .await
        .is(200, "");
    server
        .post("/send-mail", json!({"email": "john@example.com"}))
        .await
        .is(202, "");
    let document = server.get("/openapi.json").await.string();
    for path in ["/register", "/refresh-token", "/refresh_jwt", "/send-mail"] {
        assert!(!document.contains(path), "{path}");
    }
}
