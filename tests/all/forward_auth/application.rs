//! The application behind a proxy. It captures the requests that it receives, byte for byte.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as the application received it.
#[derive(Debug, Clone)]
pub struct ReceivedRequest {
    pub request_line: String,
    /// Header fields, with names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl ReceivedRequest {
    pub fn header_values(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field_name, _)| field_name == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// A server that returns 200 and its own cookie for every request. It stops on drop.
pub struct Application {
    pub address: SocketAddr,
    received: Arc<Mutex<Vec<ReceivedRequest>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Application {
    pub async fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let received = Arc::new(Mutex::new(Vec::new()));
        let received_by_task = received.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, received_by_task.clone()));
            }
        });
        Application {
            address,
            received,
            task,
        }
    }

    /// Returns the requests since the last call.
    pub fn take_requests(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut self.received.lock().expect("no panic while locked"))
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, received: Arc<Mutex<Vec<ReceivedRequest>>>) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let is_head = request.request_line.starts_with("HEAD ");
    received
        .lock()
        .expect("no panic while locked")
        .push(request);
    let body = if is_head { "" } else { "reached" };
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nset-cookie: own=1\r\nx-reached: yes\r\n\
         connection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(response.as_bytes()).await;
}

/// Reads one complete request. Returns `None` if the connection closes before.
pub async fn read_request(stream: &mut TcpStream) -> Option<ReceivedRequest> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        if let Some(request) = parse_request(&bytes) {
            return Some(request);
        }
        match stream.read(&mut buffer).await {
            Ok(count @ 1..) => bytes.extend(&buffer[..count]),
            _closed => return None,
        }
    }
}

fn parse_request(bytes: &[u8]) -> Option<ReceivedRequest> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let request_line = lines.next().unwrap_or_default().to_owned();
    let field = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
    };
    let mut request = ReceivedRequest {
        request_line,
        fields: lines.filter_map(field).collect(),
        body: Vec::new(),
    };
    let body = &bytes[end + 4..];
    let length: usize = request
        .header_values("content-length")
        .first()
        .map_or(0, |length| length.parse().expect("a length"));
    request.body = if request.header_values("transfer-encoding").is_empty() {
        body.get(..length)?.to_vec()
    } else {
        decode_chunks(body)?
    };
    Some(request)
}

/// Decodes a chunked body. Returns `None` while it is incomplete.
fn decode_chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        body.extend(bytes.get(end + 2..end + 2 + size)?);
        bytes = bytes.get(end + 4 + size..)?;
        if size == 0 {
            return Some(body);
        }
    }
}
