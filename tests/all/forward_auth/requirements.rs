//! The check: methods, paths, required roles and scopes, and identity headers.

use reqwest::Method;

use super::{assert_rejected, check_request, identity, verify};
use crate::{
    proxy::{ConnectionState, Proxy},
    raw_http::{self, exchange},
    test_server::{Session, TestServer},
    test_stores::execute,
};

const METHODS: [&str; 11] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "get",
];

/// Some proxies append the original path to the path of the check. Clients choose that path, and
/// proxies can interpret it differently, so it must not affect the check.
const PATH_SUFFIXES: [&str; 10] = [
    "/",
    "//",
    "/?role=admin",
    "/items/1?role=nonsense&role=twice&scope=%00",
    "//evil.example/",
    "/..;/",
    "/%2e%2e/%2e%2e/health/live",
    "/../../health/live",
    "/%00%ff%2f",
    "/a%",
];

fn raw_request(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n").into_bytes()
}

#[tokio::test]
async fn identity_headers_are_complete_and_encoded() {
    let server = TestServer::shared().await;
    let session = server.sign_up_with_email("john", "j%hn@example.com").await;
    let claims = session.claims();
    let text = |name: &str| claims[name].as_str().expect("text").to_owned();
    let (user_id, session_id, scope) = (text("sub"), text("sid"), text("scope"));
    let expected = |name: &str, verified: &str, roles: &str| {
        [
            &user_id,
            "john",
            name,
            // The address isn't verified.
            "",
            verified,
            roles,
            "",
            &scope,
            &session_id,
            "",
        ]
        .map(str::to_owned)
    };
    let response = verify(&server, &session, "").await;
    assert_eq!(
        identity(response.is(204, "")),
        expected("", "false", "user")
    );
    assert!(response.bytes.is_empty() && response.header("content-type").is_empty());
    assert_eq!(
        (response.header("cache-control"), response.header("vary")),
        ("no-store", "Authorization, Cookie")
    );

    execute(
        &server,
        "update users set name = ' Jöhn 100% {env.X}, ', email_verified = true",
    )
    .await;
    let session = server.sign_in("john").await;
    let encoded = identity(verify(&server, &session, "").await.is(204, ""));
    assert_eq!(
        encoded[2..5],
        [
            "%20J%C3%B6hn 100%25 {env.X},%20",
            "j%25hn@example.com",
            "true"
        ]
    );
}

#[tokio::test]
async fn all_methods_get_the_same_result() {
    let server = TestServer::shared().await;
    let token = format!(
        "authorization: Bearer {}\r\n",
        server.sign_up("john").await.access_token
    );
    for method in METHODS {
        for path in ["/auth/verify", "/auth/verify/items"] {
            let (authorized, unauthorized) = (
                raw_request(method, path, &token),
                raw_request(method, path, ""),
            );
            assert_eq!(
                raw_http::status(&exchange(server.address, &authorized).await),
                204,
                "{method} {path}"
            );
            let rejection = exchange(server.address, &unauthorized).await;
            assert_eq!(raw_http::status(&rejection), 401, "{method} {path}");
            assert!(rejection.contains("x-auth-user: \r\n"), "{rejection}");
        }
    }
    let other_paths = [
        ("GET", "/auth/verified", 404),
        ("GET", "/auth", 404),
        ("GET", "/auth/verify%2f", 404),
    ];
    for (method, path, status) in other_paths {
        assert_eq!(
            raw_http::status(&exchange(server.address, &raw_request(method, path, &token)).await),
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn path_suffix_does_not_affect_the_check() {
    let server = TestServer::shared().await;
    let token = format!(
        "authorization: Bearer {}\r\n",
        server.sign_up("john").await.access_token
    );
    for suffix in PATH_SUFFIXES {
        let path = format!("/auth/verify{suffix}");
        assert_eq!(
            raw_http::status(&exchange(server.address, &raw_request("GET", &path, &token)).await),
            204,
            "{path}"
        );
        assert_eq!(
            raw_http::status(&exchange(server.address, &raw_request("GET", &path, "")).await),
            401,
            "{path}"
        );
    }
    let long = format!("/auth/verify/{}", "a".repeat(20_000));
    assert_eq!(
        raw_http::status(&exchange(server.address, &raw_request("GET", &long, &token)).await),
        204
    );
}

#[tokio::test]
async fn check_does_not_wait_for_the_body() {
    let server = TestServer::shared().await;
    let token = server.sign_up("john").await.access_token;
    let fields = format!(
        "authorization: Bearer {token}\r\ncontent-type: text/html\r\ncontent-length: 1000000000\r\n"
    );
    let response = exchange(
        server.address,
        &raw_request("POST", "/auth/verify", &fields),
    )
    .await;
    assert_eq!(raw_http::status(&response), 204, "{response}");
}

/// Queries with the expected error codes of an administrator and a user. `""` passes.
#[tokio::test]
async fn missing_role_or_scope_is_rejected() {
    let server = TestServer::shared().await;
    let (admin, user) = (server.admin("root").await, server.sign_up("john").await);
    for (query, admin_error, user_error) in [
        ("", "", ""),
        ("?", "", ""),
        ("?role=admin", "", "forbidden"),
        ("?role=user", "forbidden", ""),
        ("?scope=items:read", "", ""),
        ("?scope=items:read%20items:write", "", ""),
        ("?scope=items%3Aread+items%3Awrite", "", ""),
        ("?scope=items:read+admin", "", "insufficient_scope"),
        ("?scope=admin&role=admin", "", "forbidden"),
        (
            "?scope=revocations:read",
            "insufficient_scope",
            "insufficient_scope",
        ),
    ] {
        for (session, code) in [(&admin, admin_error), (&user, user_error)] {
            let response = verify(&server, session, query).await;
            match code {
                "" => assert!(!identity(response.is(204, ""))[0].is_empty(), "{query}"),
                code => assert_rejected(&response, 403, code),
            }
        }
    }
    let response = verify(&server, &user, "?scope=items:read+admin").await;
    assert_eq!(
        response.header("www-authenticate"),
        "Bearer realm=\"latchkey\", error=\"insufficient_scope\", scope=\"items:read admin\""
    );
}

/// If a malformed requirement were ignored, every user would pass.
#[tokio::test]
async fn malformed_requirement_is_rejected() {
    let server = TestServer::shared().await;
    let admin = server.admin("root").await;
    for query in [
        "?role=",
        "?role",
        "?role=Admin",
        "?role=admin%20",
        "?role=admin,user",
        "?role=root",
        "?Role=admin",
        "?roles=admin",
        "?role=admin&role=admin",
        "?role=user&%72ole=admin",
        "?role=admin;scope=admin",
        "?scope=",
        "?scope=items",
        "?scope=items:read,items:write",
        "?scope=admin&scope=admin",
        "?x=1",
        "?role=admin&x=1",
    ] {
        assert_rejected(
            &verify(&server, &admin, query).await,
            400,
            "invalid_request",
        );
        assert_rejected(
            &server.send(check_request(&server, query)).await,
            400,
            "invalid_request",
        );
    }
    let response = verify(&server, &admin, "?hunter2zqx=1").await;
    assert_eq!(
        response.is(400, "invalid_request").body["errors"][0]["field"],
        "hunter2zqx"
    );
}

#[tokio::test]
async fn rejection_clears_spoofed_identity_headers() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let spoofed_request = |token: &str| {
        let request = super::IDENTITY
            .iter()
            .fold(check_request(&server, ""), |request, name| {
                request.header(*name, "planted")
            });
        if token.is_empty() {
            request
        } else {
            request.header("authorization", token)
        }
    };
    let authorization = format!("Bearer {}", session.access_token);
    assert!(
        !identity(
            server
                .send(spoofed_request(&authorization))
                .await
                .is(204, "")
        )
        .contains(&"planted".to_owned())
    );
    assert_rejected(
        &server.send(spoofed_request("")).await,
        401,
        "unauthenticated",
    );
    assert_rejected(
        &server.send(spoofed_request("Bearer nonsense")).await,
        401,
        "invalid_token",
    );
    assert_rejected(
        &server
            .send(spoofed_request(&authorization).header("authorization", "Basic Og=="))
            .await,
        400,
        "invalid_request",
    );
    server.sign_out(&session.access_token).await.is(204, "");
    assert_rejected(
        &server.send(spoofed_request(&authorization)).await,
        401,
        "token_revoked",
    );
}

#[tokio::test]
async fn check_is_rejected_while_stores_are_down() {
    let redis = Proxy::to_redis().await;
    let postgres = Proxy::to_postgres().await;
    let healthy_server = TestServer::start().await;
    let session = healthy_server.sign_up("john").await;
    let (postgres_url, redis_url) = (
        postgres.postgres_url(healthy_server.setting("DATABASE_URL")),
        redis.redis_url(),
    );
    let server = healthy_server
        .replica_with(&[
            ("DATABASE_URL", &postgres_url),
            ("REDIS_URL", &redis_url),
            ("LATCHKEY_LEASE", "0s"),
        ])
        .await;
    verify(&server, &session, "").await.is(204, "");
    redis.set(ConnectionState::Cut);
    postgres.set(ConnectionState::Cut);
    assert_rejected(&verify(&server, &session, "").await, 503, "unavailable");
}

/// The preflight is for the application. A 204 of the server would let every preflight pass.
#[tokio::test]
async fn cors_preflight_does_not_pass_the_check() {
    let origin = "https://app.example.com";
    let server = TestServer::with(&[("LATCHKEY_CORS_ORIGINS", origin)]).await;
    let session = server.sign_up("john").await;
    for path in ["/auth/verify", "/auth/verify/", "/auth/verify/items"] {
        let preflight = || {
            let request = server
                .request(Method::OPTIONS, path)
                .header("origin", origin);
            request
                .header("access-control-request-method", "GET")
                .header("accept", "text/nothing")
        };
        let rejection = server.send(preflight()).await;
        assert_rejected(&rejection, 401, "unauthenticated");
        assert!(
            !rejection
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control")),
            "{path}"
        );
        server
            .send(preflight().bearer_auth(&session.access_token))
            .await
            .is(204, "");
    }
}

#[tokio::test]
async fn check_is_one_operation_in_metrics_and_document() {
    let server = TestServer::start().await;
    let Session { access_token, .. } = server.sign_up("john").await;
    for method in ["GET", "PROPFIND"] {
        let fields = format!("authorization: Bearer {access_token}\r\n");
        assert_eq!(
            raw_http::status(
                &exchange(
                    server.address,
                    &raw_request(method, "/auth/verify/x", &fields)
                )
                .await
            ),
            204
        );
    }
    let page = reqwest::get(format!("http://{}/metrics", server.metrics))
        .await
        .expect("the server responds");
    let page = page.text().await.expect("text");
    let counted = "latchkey_http_request_duration_seconds_count{operation=\"verifyRequest\",status=\"204\"} 2";
    assert!(page.contains(counted), "{page}");
    let operation = &crate::contract::DOCUMENT["paths"]["/auth/verify"]["get"];
    for status in ["204", "400", "401", "403", "503"] {
        for name in super::IDENTITY {
            let headers = operation["responses"][status]["headers"]
                .as_object()
                .expect("headers");
            assert!(
                headers
                    .keys()
                    .any(|header| header.eq_ignore_ascii_case(name)),
                "{status} {name}"
            );
        }
    }
    let parameters: Vec<_> = operation["parameters"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|parameter| &parameter["name"])
        .collect();
    assert_eq!(parameters, ["role", "scope", "group", "cookies"]);
}

/// The tests run Traefik only with cookies.
#[test]
fn traefik_replaces_all_identity_headers_and_removes_other_spellings() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/traefik.yml");
    let file = std::fs::read_to_string(path).expect(path).to_lowercase();
    for name in super::IDENTITY {
        assert!(file.contains(&format!("- {name}\n")), "{name}");
        let other = name.replace('-', "_");
        assert!(file.contains(&format!("{other}: \"\"\n")), "{other}");
    }
}
