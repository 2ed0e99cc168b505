//! `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers): which limits a
//! request counts against, and what is left of them.

use poem::http::{HeaderName, HeaderValue};
use serde_json::{Value, json};

use super::notes::Notes;
use crate::gateway::{Allowance, Standing};

const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Has the answer tell how the limits stand, where any was looked at.
pub fn tell(allowance: &Allowance, notes: &Notes) {
    let standings = allowance.standings();
    for (name, fields) in [
        (POLICY, list(&standings, policy)),
        (LIMIT, list(&standings, left)),
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
fn list(standings: &[Standing], item: impl Fn(&Standing) -> Option<String>) -> String {
    standings
        .iter()
        .filter_map(item)
        .collect::<Vec<_>>()
        .join(", ")
}

/// `q`: how many; `w`: in how many seconds.
fn policy(Standing { name, limit, .. }: &Standing) -> Option<String> {
    Some(format!(
        "\"{name}\";q={};w={}",
        limit.burst(),
        limit.period().as_secs()
    ))
}

/// `r`: what is left; `t`: in how many seconds all of it will be there again.
fn left(Standing { name, left, .. }: &Standing) -> Option<String> {
    left.map(|left| format!("\"{name}\";r={};t={}", left.tries, left.reset))
}

/// Documents them for an operation with limits.
pub fn document(response: &mut Value) {
    let field = |description, example| {
        json!({
            "description": description,
            "schema": { "type": "string", "example": example },
        })
    };
    response["headers"]["RateLimit-Policy"] = field(
        "The limits that count: `q` tries in `w` seconds.",
        "\"sign_in\";q=10;w=900",
    );
    response["headers"]["RateLimit"] = field(
        "What is left of them: `r` tries now, all of them in `t` seconds.",
        "\"sign_in\";r=9;t=90",
    );
}
