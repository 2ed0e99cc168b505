//! A client that costs next to nothing: HTTP/1.1 by hand over connections that are kept.

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

use super::{checker::Operation, sessions::Held};
use crate::raw_http;

/// Longer than anything stands still here: whoever waits behind a stopped replica is to be answered
/// by it.
const PATIENCE: Duration = Duration::from_secs(8);

/// One replica, wherever it listens after its last start.
#[derive(Default)]
pub struct Target {
    port: AtomicU16,
    /// Connections that nobody uses, each with the port it leads to.
    idle: Mutex<Vec<(u16, TcpStream)>>,
}

impl Target {
    /// It listens there now.
    pub fn moved_to(&self, port: u16) {
        self.port.store(port, Ordering::Release);
        self.idle
            .lock()
            .expect("nobody panics while it is held")
            .clear();
    }

    /// The status of the answer, 0 where none came.
    pub async fn ask(&self, operation: Operation, held: &Held) -> u16 {
        let request = match operation {
            Operation::Check => held.check(),
            Operation::LogOut => held.end(),
        };
        match tokio::time::timeout(PATIENCE, self.exchange(request.as_bytes())).await {
            Ok(Ok(status)) => status,
            Ok(Err(_)) | Err(_) => 0,
        }
    }

    async fn exchange(&self, request: &[u8]) -> io::Result<u16> {
        let port = self.port.load(Ordering::Acquire);
        let mut stream = match self.take(port) {
            Some(stream) => stream,
            None => connect(port).await?,
        };
        stream.write_all(request).await?;
        let response = read(&mut stream).await?;
        if response.keeps {
            self.idle
                .lock()
                .expect("nobody panics while it is held")
                .push((port, stream));
        }
        Ok(response.status)
    }

    fn take(&self, port: u16) -> Option<TcpStream> {
        let mut idle = self.idle.lock().expect("nobody panics while it is held");
        let usable = |(leads_to, stream): &(u16, TcpStream)| *leads_to == port && is_open(stream);
        std::iter::from_fn(|| idle.pop())
            .find(usable)
            .map(|(_, stream)| stream)
    }
}

/// The gateway closes those on which nothing was asked for a while.
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

struct TestResponse {
    status: u16,
    /// Whether the connection can be used again.
    keeps: bool,
}

/// Reads an answer to the end of its body.
async fn read(stream: &mut TcpStream) -> io::Result<TestResponse> {
    let mut bytes = Vec::with_capacity(1024);
    let head = loop {
        more(stream, &mut bytes).await?;
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes[..at]).to_ascii_lowercase();
        }
    };
    let body = length(&head);
    let all = head.len() + 4 + body.unwrap_or_default();
    while bytes.len() < all {
        more(stream, &mut bytes).await?;
    }
    Ok(TestResponse {
        status: raw_http::status(&head),
        keeps: body.is_some() && !head.contains("\nconnection: close"),
    })
}

async fn more(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<()> {
    if stream.read_buf(bytes).await? == 0 {
        Err(io::ErrorKind::UnexpectedEof.into())
    } else {
        Ok(())
    }
}

/// Bytes of the body, where the head says it.
fn length(head: &str) -> Option<usize> {
    let told = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    match told {
        Some(told) => told.trim().parse().ok(),
        None => (raw_http::status(head) == 204).then_some(0),
    }
}
