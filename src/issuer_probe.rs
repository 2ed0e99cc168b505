//! Requests the metadata of the issuer as a client does: through the name server, the network, and
//! the proxy, for `latchkey check`.

use std::{io, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, StatusCode, body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::{
    error::Chain,
    tls::{self, ServerName},
};

/// The timeout of the request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The largest response that is read, in bytes.
const MAX_RESPONSE_SIZE: usize = 65_536;

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
    let request = async {
        match fetch(issuer).await {
            Ok((StatusCode::OK, body)) => compare(&body, issuer),
            Ok((status, _)) => IssuerOutcome::Failed(status),
            Err(FetchError::Tls(reason)) => IssuerOutcome::Untrusted(reason),
            Err(FetchError::Other(reason)) => IssuerOutcome::Unreachable(reason),
        }
    };
    timeout(TIMEOUT, request)
        .await
        .unwrap_or_else(|_| IssuerOutcome::Unreachable("it does not respond".to_owned()))
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

enum FetchError {
    Tls(String),
    Other(String),
}

impl FetchError {
    fn other(error: impl std::error::Error + 'static) -> FetchError {
        FetchError::Other(Chain(&error).to_string())
    }
}

async fn fetch(issuer: &str) -> Result<(StatusCode, Bytes), FetchError> {
    let url = Url::parse(&format!("{issuer}{METADATA_PATH}")).map_err(FetchError::other)?;
    // The brackets of an IPv6 address belong to the URL.
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(FetchError::other)?;
    if url.scheme() == "https" {
        send(start_tls(host, stream).await?, &url).await
    } else {
        send(stream, &url).await
    }
}

async fn start_tls(
    host: &str,
    stream: TcpStream,
) -> Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static, FetchError> {
    let name = ServerName::try_from(host.to_owned()).map_err(FetchError::other)?;
    let config = tls::client_config().map_err(FetchError::Other)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => FetchError::Tls(Chain(&error).to_string()),
            _other => FetchError::other(error),
        })
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
) -> Result<(StatusCode, Bytes), FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::other)?;
    tokio::spawn(connection);
    let request = Request::get(url.path())
        .header("host", url.authority())
        .header("accept", "application/json")
        .header(
            "user-agent",
            concat!("latchkey/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .map_err(FetchError::other)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(FetchError::other)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_RESPONSE_SIZE)
        .collect()
        .await;
    let body = body.map_err(|error| FetchError::Other(error.to_string()))?;
    Ok((status, body.to_bytes()))
}
