//! The span of a request, which each log event of the request contains.

use std::borrow::Cow;

use poem::{Request, http::HeaderValue};

use crate::http::context::client_address::ClientAddress;

/// The longest path segment that the log contains, in bytes.
const MAX_LOGGED_SEGMENT: usize = 64;

/// Creates a span with the client's IP address, the method, the path without the query, the request
/// ID, and the trace ID (W3C Trace Context).
pub fn create(
    request: &Request,
    id: &HeaderValue,
    ClientAddress(client): ClientAddress,
) -> tracing::Span {
    let request_id = id.to_str().expect("request IDs are ASCII");
    let trace_id = request
        .headers()
        .get("traceparent")
        .and_then(|field| field.to_str().ok())
        .and_then(parse_trace_id);
    tracing::info_span!(
        "request",
        request_id,
        client_ip = %client,
        method = %request.method(),
        path = &*loggable_path(request.uri().path()),
        trace_id
    )
}

/// Replaces each long segment of a path by `-`, because a client might have put a token there. No
/// path of the API has such a segment.
fn loggable_path(path: &str) -> Cow<'_, str> {
    let is_loggable = |segment: &str| segment.len() <= MAX_LOGGED_SEGMENT;
    if path.split('/').all(is_loggable) {
        return Cow::Borrowed(path);
    }
    let segments: Vec<_> = path
        .split('/')
        .map(|segment| if is_loggable(segment) { segment } else { "-" })
        .collect();
    Cow::Owned(segments.join("/"))
}

fn parse_trace_id(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let is_lower_hex = |text: &str| {
        text.bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    let is_valid = version.len() == 2
        && trace.len() == 32
        && is_lower_hex(version)
        && is_lower_hex(trace)
        && trace.bytes().any(|b| b != b'0');
    is_valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_segments_of_a_path_are_not_logged() {
        let token = "x".repeat(MAX_LOGGED_SEGMENT + 1);
        assert_eq!(loggable_path(&format!("/items/{token}")), "/items/-");
        assert_eq!(loggable_path(&format!("/{token}/a")), "/-/a");
        let path = "/users/01a22ff5-bd7f-7716-835c-5f122db50f8e/sessions";
        assert_eq!(loggable_path(path), path);
    }

    #[test]
    fn invalid_traceparent_is_ignored() {
        assert_eq!(
            parse_trace_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
            Some("4bf92f3577b34da6a3ce929d0e0e4736")
        );
        for bad in [
            "",
            "00-x-y-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        ] {
            assert_eq!(parse_trace_id(bad), None);
        }
    }
}
