//! Requests the metadata of the issuer as a client does: through the name server, the network, and
//! the proxy, for `latchkey check`.

use std::time::Duration;

use crate::http_client::{FetchError, StatusCode, fetch};

/// The timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Metadata of an authorization server (RFC 8414 section 3).
const METADATA_PATH: &str = "/.well-known/oauth-authorization-server";

/// Where the URL of the issuer leads.
pub enum IssuerOutcome {
    /// To a server with this issuer.
    SameIssuer,
    /// To a server with another issuer.
    OtherIssuer,
    /// To a server that returned this status.
    Failed(StatusCode),
    /// To a server whose certificate isn't trusted.
    Untrusted(String),
    /// To no server, or one that doesn't respond. Contains the cause.
    Unreachable(String),
}

/// Requests the metadata, and compares its issuer.
pub async fn probe_issuer(issuer: &str) -> IssuerOutcome {
    match fetch(&format!("{issuer}{METADATA_PATH}"), TIMEOUT).await {
        Ok((StatusCode::OK, body)) => compare(&body, issuer),
        Ok((status, _)) => IssuerOutcome::Failed(status),
        Err(FetchError::Untrusted(reason)) => IssuerOutcome::Untrusted(reason),
        Err(FetchError::Unreachable(reason)) => IssuerOutcome::Unreachable(reason),
    }
}

fn compare(body: &[u8], issuer: &str) -> IssuerOutcome {
    let metadata: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    match metadata
        .as_ref()
        .and_then(|metadata| metadata["issuer"].as_str())
    {
        Some(found) if found == issuer => IssuerOutcome::SameIssuer,
        _other => IssuerOutcome::OtherIssuer,
    }
}
