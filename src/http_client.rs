//! A client for single requests: of the issuer in `latchkey check`, and of a replica in
//! `latchkey health`.

use std::{io, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Empty, Limited};
use hyper::{Request, client::conn::http1};
pub use hyper::{StatusCode, body::Bytes};
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

/// The largest response that is read, in bytes.
const MAX_RESPONSE_SIZE: usize = 65_536;

/// The reason for which there is no response. Each variant contains the cause.
pub enum FetchError {
    /// The certificate of the server isn't trusted.
    Untrusted(String),
    /// The server can't be reached, or doesn't respond.
    Unreachable(String),
}

impl FetchError {
    fn unreachable(error: impl std::error::Error + 'static) -> FetchError {
        FetchError::Unreachable(Chain(&error).to_string())
    }
}

/// Requests JSON from an `http://` or `https://` URL. It follows no redirect.
///
/// # Errors
/// If there is no response within the timeout, or the certificate isn't trusted.
pub async fn fetch(url: &str, max_duration: Duration) -> Result<(StatusCode, Bytes), FetchError> {
    timeout(max_duration, request(url))
        .await
        .unwrap_or_else(|_| Err(FetchError::Unreachable("it does not respond".to_owned())))
}

async fn request(url: &str) -> Result<(StatusCode, Bytes), FetchError> {
    let url = Url::parse(url).map_err(FetchError::unreachable)?;
    // The brackets of an IPv6 address belong to the URL.
    let host = url.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let port = url.port_or_known_default().unwrap_or_default();
    let stream = TcpStream::connect((host, port))
        .await
        .map_err(FetchError::unreachable)?;
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
    let name = ServerName::try_from(host.to_owned()).map_err(FetchError::unreachable)?;
    let config = tls::client_config().map_err(FetchError::Unreachable)?;
    let connector = TlsConnector::from(Arc::new(config));
    connector
        .connect(name, stream)
        .await
        .map_err(|error| match error.kind() {
            io::ErrorKind::InvalidData => FetchError::Untrusted(Chain(&error).to_string()),
            _other => FetchError::unreachable(error),
        })
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    url: &Url,
) -> Result<(StatusCode, Bytes), FetchError> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(FetchError::unreachable)?;
    tokio::spawn(connection);
    let request = Request::get(url.path())
        .header("host", url.authority())
        .header("accept", "application/json")
        .header(
            "user-agent",
            concat!("latchkey/", env!("CARGO_PKG_VERSION")),
        )
        .body(Empty::<Bytes>::new())
        .map_err(FetchError::unreachable)?;
    let response = sender
        .send_request(request)
        .await
        .map_err(FetchError::unreachable)?;
    let status = response.status();
    let body = Limited::new(response.into_body(), MAX_RESPONSE_SIZE)
        .collect()
        .await;
    let body = body.map_err(|error| FetchError::Unreachable(error.to_string()))?;
    Ok((status, body.to_bytes()))
}
