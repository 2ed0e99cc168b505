//! Exchanges raw bytes over a socket, for requests that HTTP client libraries don't send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends the bytes and reads until the server closes the connection.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address)
        .await
        .expect("the server listens");
    // The server can reject the request and close before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut response = Vec::new();
    let read =
        tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut response)).await;
    let _ = read.expect("the server closes in time");
    String::from_utf8_lossy(&response).into_owned()
}

/// Returns the status code of a response, or 0 for an empty response.
pub fn status(response: &str) -> u16 {
    response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default()
}

/// Builds a request with a chunked body, which has no `Content-Length`.
pub fn chunked(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\
         transfer-encoding: chunked\r\n{headers}\r\n"
    );
    let mut bytes = head.into_bytes();
    for chunk in body.chunks(1000) {
        bytes.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        bytes.extend(chunk);
        bytes.extend(b"\r\n");
    }
    bytes.extend(b"0\r\n\r\n");
    bytes
}
