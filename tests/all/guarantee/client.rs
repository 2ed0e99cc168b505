//! A minimal HTTP/1.1 client with persistent connections, which needs little CPU time.

use std::{
    io,
    sync::{
        Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::{checker::Operation, sessions::Credential};
use crate::raw_http;

/// Longer than any pause of a replica, so that requests to a paused replica get its response.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(8);

/// A replica, whose port changes at each start.
#[derive(Default)]
pub struct Target {
    port: AtomicU16,
    /// Idle connections with their ports.
    idle: Mutex<Vec<(u16, TcpStream)>>,
}

impl Target {
    /// Sets the port after a start.
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Release);
        self.idle.lock().expect("no poisoned lock").clear();
    }

    /// Returns the status of the response, or 0 if no response arrived.
    pub async fn send(&self, operation: Operation, credential: &Credential) -> u16 {
        let request = match operation {
            Operation::Check => credential.check_request(),
            Operation::SignOut => credential.revoke_request(),
        };
        match tokio::time::timeout(RESPONSE_TIMEOUT, self.exchange(request.as_bytes())).await {
            Ok(Ok(status)) => status,
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    async fn exchange(&self, request: &[u8]) -> io::Result<u16> {
        let port = self.port.load(Ordering::Acquire);
        let mut stream = match self.take_idle(port) {
            Some(stream) => stream,
            None => connect(port).await?,
        };
        stream.write_all(request).await?;
        let response = read_response(&mut stream).await?;
        if response.is_reusable {
            self.idle
                .lock()
                .expect("no poisoned lock")
                .push((port, stream));
        }
        Ok(response.status)
    }

    fn take_idle(&self, port: u16) -> Option<TcpStream> {
        let mut idle = self.idle.lock().expect("no poisoned lock");
        let is_usable = |(target, stream): &(u16, TcpStream)| *target == port && is_open(stream);
        std::iter::from_fn(|| idle.pop())
            .find(is_usable)
            .map(|(_, stream)| stream)
    }
}

/// Returns whether the connection is open. The server closes idle connections.
fn is_open(stream: &TcpStream) -> bool {
    stream
        .try_read(&mut [0])
        .is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

async fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct RawResponse {
    status: u16,
    /// The connection can be used again.
    is_reusable: bool,
}

/// Reads a response up to the end of its body.
async fn read_response(stream: &mut TcpStream) -> io::Result<RawResponse> {
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        read_more(stream, &mut bytes).await?;
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
        }
    };
    let body = body_length(&head);
    let length = head.len() + 4 + body.unwrap_or_default();
    while bytes.len() < length {
        read_more(stream, &mut bytes).await?;
    }
    Ok(RawResponse {
        status: raw_http::status(&head),
        is_reusable: body.is_some() && !head.contains("\nconnection: close"),
    })
}

async fn read_more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(bytes).await? == 0 {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}

/// Returns the length of the body in bytes if the head determines it.
fn body_length(head: &str) -> Option<usize> {
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => length.trim().parse().ok(),
        None => (raw_http::status(head) == 204).then_some(0),
    }
}
