//! The application behind a proxy: it tells what it got, byte for byte, and counts.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    pub line: String,
    /// Names in lower case.
    pub fields: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Arrived {
    /// The values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// A server that answers 200 to everything, with a cookie of its own. It ends with this value.
pub struct Application {
    pub address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Application {
    pub async fn start() -> Application {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let kept = arrived.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, kept.clone()));
            }
        });
        Application {
            address,
            arrived,
            task,
        }
    }

    /// What has arrived since it was last asked.
    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(
            &mut self
                .arrived
                .lock()
                .expect("nothing panics while it is held"),
        )
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(mut stream: TcpStream, arrived: Arc<Mutex<Vec<Arrived>>>) {
    let Some(request) = read(&mut stream).await else {
        return;
    };
    let is_head = request.line.starts_with("HEAD ");
    arrived
        .lock()
        .expect("nothing panics while it is held")
        .push(request);
    let body = if is_head { "" } else { "reached" };
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: 7\r\nset-cookie: own=1\r\nx-reached: yes\r\n\
         connection: close\r\n\r\n{body}"
    );
    let _ = stream.write_all(response.as_bytes()).await;
}

/// Reads a request to its end; nothing where there is none.
pub async fn read(stream: &mut TcpStream) -> Option<Arrived> {
    let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        if let Some(request) = parse(&bytes) {
            return Some(request);
        }
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => bytes.extend(&piece[..count]),
            _ended => return None,
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Arrived> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head: String = bytes[..end].iter().map(|byte| char::from(*byte)).collect();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap_or_default().to_owned();
    let field = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
    };
    let mut arrived = Arrived {
        line,
        fields: lines.filter_map(field).collect(),
        body: Vec::new(),
    };
    let body = &bytes[end + 4..];
    let length: usize = arrived
        .all("content-length")
        .first()
        .map_or(0, |length| length.parse().expect("a length"));
    arrived.body = if arrived.all("transfer-encoding").is_empty() {
        body.get(..length)?.to_vec()
    } else {
        chunks(body)?
    };
    Some(arrived)
}

/// A chunked body, once it is all there.
fn chunks(mut bytes: &[u8]) -> Option<Vec<u8>> {
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
