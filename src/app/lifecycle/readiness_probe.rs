//! Requests the readiness of a running replica, for `latchkey health`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::http_client::{FetchError, StatusCode, fetch};

/// The timeout of the request. It is short, because the response of a replica needs no I/O, and
/// orchestrators repeat the command every few seconds.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The path of the readiness, on the public and on the metrics listener.
const PATH: &str = "/health/ready";

/// The response of a replica. Only the metrics listener responds with more than the status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedReadiness {
    /// `starting`, `ready`, `draining`, or `down`.
    pub status: String,
    /// The details for operators.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub details: Option<ReportedDetails>,
}

/// The details for operators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedDetails {
    /// Whether PostgreSQL responds: `up` or `down`.
    pub postgres: String,
    /// Whether Redis responds: `up` or `down`.
    pub redis: String,
    /// The source of revocation checks.
    pub check_source: String,
    /// Each impaired component.
    pub degraded: Vec<ReportedImpairment>,
}

/// An impaired component of a replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedImpairment {
    /// The component.
    pub component: String,
    /// The cause.
    pub reason: String,
    /// The time since which it is impaired.
    pub since: String,
    /// The fix.
    pub action: String,
}

/// The reason for which a replica doesn't report its readiness.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadinessProbeError {
    /// It can't be reached, or doesn't respond.
    #[error("{0}")]
    Unreachable(String),
    /// It isn't a replica.
    #[error("it responded with {0} and without a readiness")]
    Unexpected(StatusCode),
}

/// Requests the readiness of the replica at a base URL. Returns it, and whether the replica accepts
/// traffic.
///
/// # Errors
/// If the replica can't be reached, or if the response isn't that of a replica.
pub async fn probe_readiness(
    base_url: &str,
) -> Result<(ReportedReadiness, bool), ReadinessProbeError> {
    let url = format!("{}{PATH}", base_url.trim_end_matches('/'));
    match fetch(&url, TIMEOUT).await {
        Ok((status, body)) => parse(status, &body),
        Err(FetchError::Untrusted(reason) | FetchError::Unreachable(reason)) => {
            Err(ReadinessProbeError::Unreachable(reason))
        }
    }
}

fn parse(
    status: StatusCode,
    body: &[u8],
) -> Result<(ReportedReadiness, bool), ReadinessProbeError> {
    let is_ready = status == StatusCode::OK;
    Some(body)
        .filter(|_| is_ready || status == StatusCode::SERVICE_UNAVAILABLE)
        .and_then(|body| serde_json::from_slice(body).ok())
        .map(|readiness| (readiness, is_ready))
        .ok_or(ReadinessProbeError::Unexpected(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DETAILS: &str = concat!(
        r#"{"status":"ready","postgres":"up","redis":"down","check_source":"postgres","#,
        r#""degraded":[{"component":"redis","reason":"r","since":"s","action":"a"}]}"#
    );

    #[test]
    fn readiness_of_both_listeners_is_parsed_and_rendered() {
        let status = r#"{"status":"starting"}"#;
        for (code, text, is_ready, has_details) in [
            (StatusCode::OK, DETAILS, true, true),
            (StatusCode::SERVICE_UNAVAILABLE, status, false, false),
        ] {
            let (readiness, ready) = parse(code, text.as_bytes()).unwrap();
            assert_eq!(
                (ready, readiness.details.is_some()),
                (is_ready, has_details)
            );
            assert_eq!(serde_json::to_string(&readiness).unwrap(), text);
        }
    }

    #[test]
    fn other_response_is_unexpected() {
        for (code, text) in [
            (StatusCode::OK, "<html>"),
            (StatusCode::OK, "{}"),
            (StatusCode::NOT_FOUND, r#"{"status":404}"#),
            (StatusCode::NOT_FOUND, DETAILS),
            (StatusCode::SERVICE_UNAVAILABLE, r#"{"status":503}"#),
        ] {
            let unexpected = Err(ReadinessProbeError::Unexpected(code));
            assert_eq!(parse(code, text.as_bytes()), unexpected, "{code} {text}");
        }
    }
}
