//! The question itself.

use reqwest::Method;
use serde_json::json;

use super::{ask, identity, is_refused, verify};
use crate::{
    proxy::{Line, Proxy},
    raw_http::{self, exchange},
    test_server::{Session, TestServer},
    test_stores::execute,
};

const METHODS: [&str; 11] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "QUERY", "get",
];

/// Below the path stands what some proxies append; clients write it, and nobody need read it as we
/// would.
const BELOW: [&str; 10] = [
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

fn raw(method: &str, path: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{fields}\r\n").into_bytes()
}

#[tokio::test]
async fn every_header_is_there_and_fits_a_header() {
    let server = TestServer::shared().await;
    let session = server.sign_up_with_email("john", "j%hn@example.com").await;
    let claims = session.claims();
    let text = |name: &str| claims[name].as_str().expect("text").to_owned();
    let (user, sid, scope) = (text("sub"), text("sid"), text("scope"));
    let told = |name: &str, verified: &str, roles: &str| {
        [
            &user,
            "john",
            name,
            "j%25hn@example.com",
            verified,
            roles,
            &scope,
            &sid,
            "",
        ]
        .map(str::to_owned)
    };
    let response = verify(&server, &session, "").await;
    assert_eq!(identity(response.is(204, "")), told("", "false", "user"));
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
        (encoded[2].as_str(), encoded[4].as_str()),
        ("%20J%C3%B6hn 100%25 {env.X},%20", "true")
    );
}

#[tokio::test]
async fn every_method_is_answered_alike() {
    let server = TestServer::shared().await;
    let token = format!(
        "authorization: Bearer {}\r\n",
        server.sign_up("john").await.access_token
    );
    for method in METHODS {
        for path in ["/auth/verify", "/auth/verify/items"] {
            let (good, bad) = (raw(method, path, &token), raw(method, path, ""));
            assert_eq!(
                raw_http::status(&exchange(server.address, &good).await),
                204,
                "{method} {path}"
            );
            let refused = exchange(server.address, &bad).await;
            assert_eq!(raw_http::status(&refused), 401, "{method} {path}");
            assert!(refused.contains("x-auth-user: \r\n"), "{refused}");
        }
    }
    let elsewhere = [
        ("GET", "/auth/verified", 404),
        ("GET", "/auth", 404),
        ("GET", "/auth/verify%2f", 404),
    ];
    for (method, path, status) in elsewhere {
        assert_eq!(
            raw_http::status(&exchange(server.address, &raw(method, path, &token)).await),
            status,
            "{path}"
        );
    }
}

#[tokio::test]
async fn what_stands_below_the_path_decides_nothing() {
    let server = TestServer::shared().await;
    let token = format!(
        "authorization: Bearer {}\r\n",
        server.sign_up("john").await.access_token
    );
    for below in BELOW {
        let path = format!("/auth/verify{below}");
        assert_eq!(
            raw_http::status(&exchange(server.address, &raw("GET", &path, &token)).await),
            204,
            "{path}"
        );
        assert_eq!(
            raw_http::status(&exchange(server.address, &raw("GET", &path, "")).await),
            401,
            "{path}"
        );
    }
    let long = format!("/auth/verify/{}", "a".repeat(20_000));
    assert_eq!(
        raw_http::status(&exchange(server.address, &raw("GET", &long, &token)).await),
        204
    );
}

#[tokio::test]
async fn a_body_is_not_waited_for() {
    let server = TestServer::shared().await;
    let token = server.sign_up("john").await.access_token;
    let fields = format!(
        "authorization: Bearer {token}\r\ncontent-type: text/html\r\ncontent-length: 1000000000\r\n"
    );
    let response = exchange(server.address, &raw("POST", "/auth/verify", &fields)).await;
    assert_eq!(raw_http::status(&response), 204, "{response}");
}

/// A good token in all cases but where it says so.
#[tokio::test]
async fn a_demand_is_met_or_the_answer_is_no() {
    let server = TestServer::shared().await;
    let (admin, user) = (server.admin("root").await, server.sign_up("john").await);
    for (query, of_admin, of_user) in [
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
        for (session, code) in [(&admin, of_admin), (&user, of_user)] {
            let response = verify(&server, session, query).await;
            match code {
                "" => assert!(!identity(response.is(204, ""))[0].is_empty(), "{query}"),
                code => is_refused(&response, 403, code),
            }
        }
    }
    let response = verify(&server, &user, "?scope=items:read+admin").await;
    assert_eq!(
        response.header("www-authenticate"),
        "Bearer realm=\"latchkey\", error=\"insufficient_scope\", scope=\"items:read admin\""
    );
}

/// Were it none, everybody would pass.
#[tokio::test]
async fn a_misspelt_demand_is_a_refusal() {
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
        is_refused(
            &verify(&server, &admin, query).await,
            400,
            "invalid_request",
        );
        is_refused(
            &server.send(ask(&server, query)).await,
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
async fn every_refusal_empties_what_a_client_claims() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let planted = |token: &str| {
        let request = super::IDENTITY
            .iter()
            .fold(ask(&server, ""), |request, name| {
                request.header(*name, "planted")
            });
        if token.is_empty() {
            request
        } else {
            request.header("authorization", token)
        }
    };
    let good = format!("Bearer {}", session.access_token);
    assert!(
        !identity(server.send(planted(&good)).await.is(204, "")).contains(&"planted".to_owned())
    );
    is_refused(&server.send(planted("")).await, 401, "unauthenticated");
    is_refused(
        &server.send(planted("Bearer nonsense")).await,
        401,
        "invalid_token",
    );
    is_refused(
        &server
            .send(planted(&good).header("authorization", "Basic Og=="))
            .await,
        400,
        "invalid_request",
    );
    server.log_out(&session.access_token).await.is(204, "");
    is_refused(&server.send(planted(&good)).await, 401, "token_revoked");
}

#[tokio::test]
async fn stores_that_are_down_are_a_refusal() {
    let redis = Proxy::to_redis().await;
    let postgres = Proxy::to_postgres().await;
    let sound = TestServer::start().await;
    let session = sound.sign_up("john").await;
    let (database, store) = (
        postgres.postgres_url(sound.setting("DATABASE_URL")),
        redis.redis_url(),
    );
    let server = sound
        .replica_with(&[
            ("DATABASE_URL", &database),
            ("REDIS_URL", &store),
            ("LATCHKEY_LEASE", "0s"),
        ])
        .await;
    verify(&server, &session, "").await.is(204, "");
    redis.set(Line::Cut);
    postgres.set(Line::Cut);
    is_refused(&verify(&server, &session, "").await, 503, "unavailable");
}

/// Browsers ask it of an application; answered here, it would let everybody pass.
#[tokio::test]
async fn no_permission_for_other_origins_is_taken_for_a_pass() {
    let origin = "https://app.example.com";
    let server = TestServer::with(&[("LATCHKEY_CORS_ORIGINS", origin)]).await;
    let session = server.sign_up("john").await;
    for path in ["/auth/verify", "/auth/verify/", "/auth/verify/items"] {
        let requested = || {
            let request = server
                .request(Method::OPTIONS, path)
                .header("origin", origin);
            request
                .header("access-control-request-method", "GET")
                .header("accept", "text/nothing")
        };
        let refused = server.send(requested()).await;
        is_refused(&refused, 401, "unauthenticated");
        assert!(
            !refused
                .headers
                .keys()
                .any(|name| name.as_str().starts_with("access-control")),
            "{path}"
        );
        server
            .send(requested().bearer_auth(&session.access_token))
            .await
            .is(204, "");
    }
}

/// What is not a matter of the check goes on as it does elsewhere.
#[tokio::test]
async fn it_is_counted_as_one_operation_and_named_in_the_document() {
    let server = TestServer::start().await;
    let Session { access_token, .. } = server.sign_up("john").await;
    for method in ["GET", "PROPFIND"] {
        let fields = format!("authorization: Bearer {access_token}\r\n");
        assert_eq!(
            raw_http::status(
                &exchange(server.address, &raw(method, "/auth/verify/x", &fields)).await
            ),
            204
        );
    }
    let page = reqwest::get(format!("http://{}/metrics", server.metrics))
        .await
        .expect("it responds");
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
                headers.keys().any(|known| known.eq_ignore_ascii_case(name)),
                "{status} {name}"
            );
        }
    }
    let parameters: Vec<_> = operation["parameters"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(parameters, [&json!("role"), &json!("scope")]);
}
