//! A TCP socket in front of a store, which can be cut, held, slowed and mended.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

use crate::test_stores::{STACK, postgres_socket, redis_socket};

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// They pass.
    Open,
    /// They pass, each piece so much later, in both directions.
    Late(Duration),
    /// What the gateway says waits.
    Held,
    /// What the store says waits.
    Silent,
    /// Connections stay open, but nothing passes, and never will: not those that are made
    /// meanwhile, either.
    Lost,
    /// Connections are closed, new ones too.
    Cut,
}

/// A proxy to a Unix socket. It ends with this value.
pub struct Proxy {
    pub address: SocketAddr,
    line: watch::Sender<Line>,
    store: watch::Sender<PathBuf>,
}

impl Proxy {
    /// A proxy to the Redis of all tests.
    pub async fn to_redis() -> Proxy {
        Proxy::to(redis_socket(&STACK.redis_url())).await
    }

    /// A proxy to the PostgreSQL of all tests.
    pub async fn to_postgres() -> Proxy {
        Proxy::to(postgres_socket(&STACK.redis_url())).await
    }

    /// The URL of Redis through this proxy.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// The URL of a database through this proxy.
    pub fn postgres_url(&self, database: &str) -> String {
        let (_, name) = database.rsplit_once('/').expect("a URL with a database");
        format!("postgres://latchkey@{}/{name}", self.address)
    }

    pub async fn to(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let ((line, state), (store, socket)) = (watch::channel(Line::Open), watch::channel(socket));
        tokio::spawn(accept(listener, socket, state));
        Proxy {
            address,
            line,
            store,
        }
    }

    /// Where new connections lead from now on; those that are there stay where they are.
    pub fn lead_to(&self, socket: PathBuf) {
        self.store.send_replace(socket);
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn accept(
    listener: TcpListener,
    socket: watch::Receiver<PathBuf>,
    state: watch::Receiver<Line>,
) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, socket.borrow().clone(), state.clone()));
    }
}

async fn serve(mut client: TcpStream, socket: PathBuf, state: watch::Receiver<Line>) {
    if *state.borrow() == Line::Cut {
        return;
    }
    let Ok(mut store) = UnixStream::connect(socket).await else {
        return;
    };
    let (mut broken, mut cut) = (state.clone(), state.clone());
    let lost = tokio::select! {
        biased;
        line = broken.wait_for(|line| matches!(line, Line::Cut | Line::Lost)) => {
            line.is_ok_and(|line| *line == Line::Lost)
        }
        () = pass(&mut client, &mut store, &state) => false,
    };
    if lost {
        // Both sides believe in it until it is cut, or the test is over.
        let _ = cut.wait_for(|line| *line == Line::Cut).await;
    }
}

/// Until either side has nothing more to say.
async fn pass(client: &mut TcpStream, store: &mut UnixStream, state: &watch::Receiver<Line>) {
    let ((asks, hears), (responses, listens)) = (client.split(), store.split());
    tokio::select! {
        () = carry(asks, listens, Line::Held, state.clone()) => {}
        () = carry(responses, hears, Line::Silent, state.clone()) => {}
    }
}

/// One direction, which stands still while the line is in that state.
async fn carry(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    still: Line,
    mut state: watch::Receiver<Line>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let late = if let Line::Late(time) = *state.borrow() {
            time
        } else {
            Duration::ZERO
        };
        if !late.is_zero() {
            tokio::time::sleep(late).await;
        }
        let _ = state.wait_for(|line| *line != still).await;
        if to.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
}
