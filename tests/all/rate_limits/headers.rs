//! What answers, metrics and the log say of limits.

use reqwest::Method;
use serde_json::json;

use super::{HOME, THERE, WRONG, count_of, log_in_from, post_from, throttled};
use crate::{
    contract::operations,
    test_server::{PASSWORD, TestServer},
};

const POLICY: &str = "\"sign_in\";q=2;w=60, \"sign_in_network\";q=10;w=600";

#[tokio::test]
async fn answers_tell_the_limits_and_what_is_left_of_them() {
    let limits = [
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1m"),
        ("LATCHKEY_LIMIT_SIGN_IN_NETWORK", "10/10m"),
    ];
    let server = throttled(&limits).await;
    let signed_up = post_from(
        &server,
        HOME,
        "/signup",
        json!({"username": "john", "password": PASSWORD}),
    )
    .await;
    assert_eq!(
        signed_up.is(201, "").header("ratelimit-policy"),
        "\"sign_up\";q=50;w=3600"
    );
    assert_eq!(signed_up.header("ratelimit"), "\"sign_up\";r=49;t=72");
    let wrong = log_in_from(&server, HOME, "john", WRONG).await;
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
    let right = log_in_from(&server, THERE, "john", PASSWORD).await;
    assert_eq!(right.is(200, "").header("ratelimit-policy"), POLICY);
    assert_eq!(
        right.header("ratelimit"),
        "\"sign_in\";r=2;t=0, \"sign_in_network\";r=10;t=0"
    );
    let refreshed = post_from(
        &server,
        HOME,
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
        "it was not looked at"
    );
    let failed = post_from(
        &server,
        HOME,
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
async fn a_refusal_says_when_to_come_back_and_is_counted() {
    let server = throttled(&[("LATCHKEY_LIMIT_SIGN_IN", "1/1d")]).await;
    log_in_from(&server, HOME, "john", WRONG)
        .await
        .is(401, "invalid_credentials");
    let refused = log_in_from(&server, HOME, "john", WRONG).await;
    let wait: u64 = refused
        .is(429, "too_many_requests")
        .header("retry-after")
        .parse()
        .expect("seconds");
    assert!(
        refused
            .header("ratelimit")
            .starts_with(&format!("\"sign_in\";r=0;t={wait}, ")),
        "{refused:?}"
    );
    assert_eq!(count_of(&server, "sign_in", "allowed").await, 1.0);
    assert_eq!(count_of(&server, "sign_in", "rejected").await, 1.0);
    assert_eq!(count_of(&server, "sign_in_network", "rejected").await, 0.0);
    let told = server
        .log()
        .into_iter()
        .filter(|line| line.contains("\"event\":\"rate_limited\""))
        .collect::<Vec<_>>();
    assert!(
        told.len() == 1 && told[0].contains("\"reason\":\"sign_in\""),
        "{told:?}"
    );
}

#[tokio::test]
async fn without_throttles_nobody_is_stopped_and_the_operator_is_warned() {
    let (off, on) = (
        TestServer::with(&[("LATCHKEY_LIMIT_SIGN_IN", "1/1d")]).await,
        throttled(&[]).await,
    );
    for _ in 0..4 {
        let response = off.log_in("john", WRONG).await;
        assert!(
            !response
                .is(401, "invalid_credentials")
                .headers
                .contains_key("ratelimit-policy")
        );
    }
    let warned = |server: &TestServer| server.has_logged(&["LATCHKEY_RATE_LIMITS is off"]);
    assert_eq!((warned(&off), warned(&on)), (true, false));
}

#[test]
fn operations_with_limits_document_them() {
    let throttled = [
        (Method::POST, "/signup"),
        (Method::POST, "/login"),
        (Method::POST, "/refresh"),
        (Method::POST, "/user/password"),
        (Method::POST, "/user/email"),
        (Method::POST, "/user/email/confirm"),
        (Method::POST, "/password/forgot"),
        (Method::POST, "/password/reset"),
    ];
    for (method, path, operation) in operations("x") {
        let documented = operation["responses"]["429"]["headers"]["RateLimit"].is_object();
        let expected = throttled
            .iter()
            .any(|(known, at)| (known, *at) == (&method, path.as_str()));
        assert!(documented || !expected, "{method} {path}");
        assert!(
            operation["responses"]["429"].is_null() || documented,
            "{method} {path}"
        );
    }
}
