//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): the rate limits of a
//! request, and the remaining quota.

use poem::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::{
    app::{LimitStatus, RequestLimits},
    http::middleware::response_headers::DeferredHeaders,
};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Adds `RateLimit` headers if a limit was consulted.
pub fn write_rate_limit_headers(request_limits: &RequestLimits, notes: &DeferredHeaders) {
    let statuses = request_limits.statuses();
    for (name, fields) in [
        (POLICY, list(&statuses, policy)),
        (LIMIT, list(&statuses, left)),
    ] {
        if !fields.is_empty() {
            notes.set(
                name,
                HeaderValue::try_from(fields).expect("names and numbers are plain text"),
            );
        }
    }
}

/// A list of structured fields (RFC 9651 section 3.1).
fn list(statuses: &[LimitStatus], item: impl Fn(&LimitStatus) -> Option<String>) -> String {
    statuses
        .iter()
        .filter_map(item)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `q`: how many; `w`: in how many seconds.
fn policy(LimitStatus { name, limit, .. }: &LimitStatus) -> Option<String> {
    Some(format!(
        "\"{name}\";q={};w={}",
        limit.burst(),
        limit.period().as_secs()
    ))
}

/// `r`: what is left; `t`: in how many seconds all of it will be there again.
fn left(LimitStatus { name, left, .. }: &LimitStatus) -> Option<String> {
    left.map(|left| format!("\"{name}\";r={};t={}", left.attempts, left.reset))
}

/// The limit that callers of an operation meet first: its name, attempts, and seconds.
fn limit_of(operation: &str) -> (&'static str, u64, u64) {
    match operation {
        "signUp" | "updateCurrentUser" => ("sign_up", 50, 3600),
        "requestPasswordReset" => ("reset_request", 20, 3600),
        "verifyEmail" | "resetPassword" => ("sign_in_network", 100, 600),
        "refreshTokens" | "issueToken" | "revokeToken" | "introspectToken" => {
            ("refresh_failures", 100, 600)
        }
        _sign_in => ("sign_in", 10, 900),
    }
}

/// Documents them for a response of an operation with limits.
pub fn document(response: &mut Value, operation: &str, status: &str) {
    let (name, burst, period) = limit_of(operation);
    let (left, reset) = if status == "429" {
        (0, period)
    } else {
        (burst - 1, period / burst)
    };
    let field = |description, example: String| {
        json!({
            "description": description,
            "schema": { "type": "string", "example": example },
        })
    };
    response["headers"]["RateLimit-Policy"] = field(
        "Rate limits of the request: `q` attempts in `w` seconds.",
        format!("\"{name}\";q={burst};w={period}"),
    );
    response["headers"]["RateLimit"] = field(
        "Remaining quota: `r` attempts now, all attempts after `t` seconds.",
        format!("\"{name}\";r={left};t={reset}"),
    );
    if status == "429" {
        response["headers"]["Retry-After"]["schema"]["example"] = json!(42);
    }
}
