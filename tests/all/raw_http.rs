//! Bytes on a socket, for what no client would send.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// Sends the bytes, and reads until the gateway closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // It may refuse before it has read everything.
    let _ = stream.write_all(bytes).await;
    let mut response = Vec::new();
    let read =
        tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut response)).await;
    let _ = read.expect("the server closes in time");
    String::from_utf8_lossy(&response).into_owned()
}

/// The status of an answer, 0 where there is none.
pub fn status(response: &str) -> u16 {
    response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default()
}

/// A request with a chunked body: its length is not told beforehand.
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
