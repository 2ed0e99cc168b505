//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): the rate limits of a
//! request, and the remaining quota.

use poem::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::{
    app::origin::request_limits::{LimitStatus, RequestLimits},
    http::context::response_headers::DeferredHeaders,
};

const POLICY_HEADER: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT_HEADER: HeaderName = HeaderName::from_static("ratelimit");

/// Adds `RateLimit` headers if a limit was consulted.
pub fn write_rate_limit_headers(request_limits: &RequestLimits, headers: &DeferredHeaders) {
    let statuses = request_limits.statuses();
    for (name, list) in [
        (POLICY_HEADER, format_list(&statuses, format_policy)),
        (LIMIT_HEADER, format_list(&statuses, format_remaining)),
    ] {
        if !list.is_empty() {
            headers.set(
                name,
                HeaderValue::try_from(list).expect("names and numbers are ASCII"),
            );
        }
    }
}

/// Formats a structured-field list (RFC 9651 section 3.1).
fn format_list(statuses: &[LimitStatus], item: impl Fn(&LimitStatus) -> Option<String>) -> String {
    statuses
        .iter()
        .filter_map(item)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `q`: quota in attempts; `w`: window in seconds.
fn format_policy(LimitStatus { name, limit, .. }: &LimitStatus) -> Option<String> {
    Some(format!(
        "\"{name}\";q={};w={}",
        limit.burst(),
        limit.period().as_secs()
    ))
}

/// `r`: remaining attempts; `t`: seconds until the full quota is available.
fn format_remaining(LimitStatus { name, left, .. }: &LimitStatus) -> Option<String> {
    left.map(|left| format!("\"{name}\";r={};t={}", left.attempts, left.reset))
}

/// Returns the limit that callers of an operation exceed first: name, attempts, and seconds.
fn first_limit(operation: &str) -> (&'static str, u64, u64) {
    match operation {
        "signUp" | "updateCurrentUser" => ("sign_up", 50, 3600),
        "requestPasswordReset" | "requestEmailVerification" | "exportCurrentUser" => {
            ("reset_request", 20, 3600)
        }
        "verifyEmail" | "resetPassword" | "confirmSignUp" => ("sign_in_network", 100, 600),
        "refreshTokens" | "issueToken" => ("refresh_failures", 100, 600),
        "signIn" | "createBrowserSession" | "changePassword" | "requestEmailChange" => {
            ("sign_in", 10, 900)
        }
        // The document is generated at each start, so every test would fail.
        other => panic!("the first rate limit of {other} is unknown"),
    }
}

/// Documents the headers for a response of an operation with rate limits.
pub fn document(response: &mut Value, operation: &str, status: &str) {
    let (name, burst, period) = first_limit(operation);
    let (remaining, reset) = if status == "429" {
        (0, period)
    } else {
        (burst - 1, period / burst)
    };
    let header = |description, example: String| {
        json!({
            "description": description,
            "schema": { "type": "string", "example": example },
        })
    };
    response["headers"]["RateLimit-Policy"] = header(
        "Rate limits of the request: `q` attempts in `w` seconds.",
        format!("\"{name}\";q={burst};w={period}"),
    );
    response["headers"]["RateLimit"] = header(
        "Remaining quota: `r` attempts now, all attempts after `t` seconds.",
        format!("\"{name}\";r={remaining};t={reset}"),
    );
    if status == "429" {
        response["headers"]["Retry-After"]["schema"]["example"] = json!(42);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SETTINGS;

    #[test]
    fn documented_limits_are_the_defaults() {
        for operation in [
            "signUp",
            "requestPasswordReset",
            "verifyEmail",
            "refreshTokens",
            "signIn",
        ] {
            let (name, burst, period) = first_limit(operation);
            let variable = format!("LATCHKEY_LIMIT_{}", name.to_uppercase());
            let setting = SETTINGS.iter().find(|found| found.variable == variable);
            let period = match period % 3600 {
                0 => format!("{}h", period / 3600),
                _minutes => format!("{}m", period / 60),
            };
            let default = setting.expect("a setting").default;
            assert_eq!(
                default,
                Some(format!("{burst}/{period}").as_str()),
                "{name}"
            );
        }
    }
}
