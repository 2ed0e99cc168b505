//! Rate limits in responses, metrics, and the log.

use reqwest::Method;
use serde_json::json;

use super::{
    ATTACKER_IP, USER_IP, WRONG_PASSWORD, decision_count, post_from, rate_limited_server,
    sign_in_from,
};
use crate::{
    contract::operations,
    test_server::{PASSWORD, TestServer},
};

const POLICY: &str = "\"sign_in\";q=2;w=60, \"sign_in_network\";q=10;w=600";

#[tokio::test]
async fn responses_report_limits_and_remaining_quota() {
    let limits = [
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1m"),
        ("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "10/10m"),
    ];
    let server = rate_limited_server(&limits).await;
    let signed_up = post_from(
        &server,
        USER_IP,
        "/signup",
        json!({"username": "john", "password": PASSWORD}),
    )
    .await;
    assert_eq!(
        signed_up.is(201, "").header("ratelimit-policy"),
        "\"sign_up\";q=50;w=3600"
    );
    assert_eq!(signed_up.header("ratelimit"), "\"sign_up\";r=49;t=72");
    let wrong = sign_in_from(&server, USER_IP, "john", WRONG_PASSWORD).await;
    assert_eq!(
        wrong
            .is(401, "invalid_credentials")
            .header("ratelimit-policy"),
        POLICY
    );
    assert_eq!(
        wrong.header("ratelimit"),
        "\"sign_in\";r=1;t=30, \"sign_in_network\";r=9;t=60"
    );
    let right = sign_in_from(&server, ATTACKER_IP, "john", PASSWORD).await;
    assert_eq!(right.is(200, "").header("ratelimit-policy"), POLICY);
    assert_eq!(
        right.header("ratelimit"),
        "\"sign_in\";r=2;t=0, \"sign_in_network\";r=10;t=0"
    );
    let refreshed = post_from(
        &server,
        USER_IP,
        "/refresh",
        json!({"refresh_token": right.text("refresh_token")}),
    )
    .await;
    assert_eq!(
        refreshed.is(200, "").header("ratelimit-policy"),
        "\"refresh_failures\";q=100;w=600"
    );
    assert!(
        !refreshed.headers.contains_key("ratelimit"),
        "the limit wasn't consulted"
    );
    let failed = post_from(
        &server,
        USER_IP,
        "/refresh",
        json!({"refresh_token": "garbage"}),
    )
    .await;
    assert_eq!(
        failed.is(401, "invalid_refresh_token").header("ratelimit"),
        "\"refresh_failures\";r=99;t=6"
    );
}

#[tokio::test]
async fn limited_response_reports_wait_and_is_counted() {
    let server = rate_limited_server(&[("LATCHKEY_LIMIT_SIGN_IN", "1/1d")]).await;
    sign_in_from(&server, USER_IP, "john", WRONG_PASSWORD)
        .await
        .is(401, "invalid_credentials");
    let limited = sign_in_from(&server, USER_IP, "john", WRONG_PASSWORD).await;
    let retry_after: u64 = limited
        .is(429, "too_many_requests")
        .header("retry-after")
        .parse()
        .expect("seconds");
    assert!(
        limited
            .header("ratelimit")
            .starts_with(&format!("\"sign_in\";r=0;t={retry_after}, ")),
        "{limited:?}"
    );
    assert_eq!(decision_count(&server, "sign_in", "allowed").await, 1.0);
    assert_eq!(decision_count(&server, "sign_in", "rejected").await, 1.0);
    assert_eq!(
        decision_count(&server, "sign_in_network", "rejected").await,
        0.0
    );
    let event = "\"event\":\"rate_limited\"";
    server.wait_for_log(&[event]).await;
    let events = server
        .log()
        .into_iter()
        .filter(|line| line.contains(event))
        .collect::<Vec<_>>();
    assert!(
        events.len() == 1 && events[0].contains("\"reason\":\"sign_in\""),
        "{events:?}"
    );
}

#[tokio::test]
async fn disabled_limits_allow_requests_and_log_warning() {
    let (unlimited, limited) = (
        TestServer::with(&[("LATCHKEY_LIMIT_SIGN_IN", "1/1d")]).await,
        rate_limited_server(&[]).await,
    );
    for _ in 0..4 {
        let response = unlimited.try_sign_in("john", WRONG_PASSWORD).await;
        assert!(
            !response
                .is(401, "invalid_credentials")
                .headers
                .contains_key("ratelimit-policy")
        );
    }
    let warning = ["LATCHKEY_RATE_LIMITS is off"];
    unlimited.wait_for_log(&warning).await;
    assert!(!limited.has_logged(&warning));
}

#[test]
fn operations_with_limits_document_them() {
    let limited_operations = [
        (Method::POST, "/signup"),
        (Method::POST, "/signup/confirm"),
        (Method::POST, "/login"),
        (Method::POST, "/refresh"),
        (Method::POST, "/user/password"),
        (Method::POST, "/user/email"),
        (Method::POST, "/user/email/verification"),
        (Method::POST, "/user/email/confirm"),
        (Method::POST, "/password/forgot"),
        (Method::POST, "/password/reset"),
    ];
    for (method, path, operation) in operations("x") {
        let is_documented = operation["responses"]["429"]["headers"]["RateLimit"].is_object();
        let is_limited = limited_operations
            .iter()
            .any(|(limited_method, limited_path)| {
                (limited_method, *limited_path) == (&method, path.as_str())
            });
        assert!(is_documented || !is_limited, "{method} {path}");
        assert!(
            operation["responses"]["429"].is_null() || is_documented,
            "{method} {path}"
        );
    }
}
