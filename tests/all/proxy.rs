//! A TCP proxy in front of a store, which can cut, stall, and delay connections.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

use crate::test_stores::{STACK, postgres_socket, redis_socket};

/// The state of all connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionState {
    /// Bytes are forwarded.
    Open,
    /// Bytes are forwarded after a delay, in both directions.
    Late(Duration),
    /// Bytes are forwarded, but Redis reports an older version.
    OldRedis,
    /// Bytes from the server wait.
    Held,
    /// Bytes from the store wait.
    Silent,
    /// Existing and new connections stay open, but forward nothing until they are cut.
    Lost,
    /// Existing and new connections are closed.
    Cut,
}

/// A proxy to a Unix socket.
pub struct Proxy {
    pub address: SocketAddr,
    state: watch::Sender<ConnectionState>,
    store: watch::Sender<PathBuf>,
}

impl Proxy {
    /// Starts a proxy to the shared Redis.
    pub async fn to_redis() -> Proxy {
        Proxy::to(redis_socket(&STACK.redis_url())).await
    }

    /// Starts a proxy to the shared PostgreSQL.
    pub async fn to_postgres() -> Proxy {
        Proxy::to(postgres_socket(&STACK.redis_url())).await
    }

    /// Returns the URL of Redis through this proxy.
    pub fn redis_url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Returns the URL of a database through this proxy.
    pub fn postgres_url(&self, database: &str) -> String {
        let (_, name) = database.rsplit_once('/').expect("a URL with a database");
        format!("postgres://latchkey@{}/{name}", self.address)
    }

    pub async fn to(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (state, state_receiver) = watch::channel(ConnectionState::Open);
        let (store, socket) = watch::channel(socket);
        tokio::spawn(accept(listener, socket, state_receiver));
        Proxy {
            address,
            state,
            store,
        }
    }

    /// Sets the target of new connections. Existing connections keep their target.
    pub fn lead_to(&self, socket: PathBuf) {
        self.store.send_replace(socket);
    }

    pub fn set(&self, state: ConnectionState) {
        self.state.send_replace(state);
    }
}

async fn accept(
    listener: TcpListener,
    socket: watch::Receiver<PathBuf>,
    state: watch::Receiver<ConnectionState>,
) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(serve(client, socket.borrow().clone(), state.clone()));
    }
}

async fn serve(mut client: TcpStream, socket: PathBuf, state: watch::Receiver<ConnectionState>) {
    if *state.borrow() == ConnectionState::Cut {
        return;
    }
    let Ok(mut store) = UnixStream::connect(socket).await else {
        return;
    };
    let is_broken =
        |state: &ConnectionState| matches!(state, ConnectionState::Cut | ConnectionState::Lost);
    let (mut broken, mut cut) = (state.clone(), state.clone());
    let lost = tokio::select! {
        biased;
        state = broken.wait_for(is_broken) => {
            state.is_ok_and(|state| *state == ConnectionState::Lost)
        }
        () = forward(&mut client, &mut store, &state) => false,
    };
    if lost {
        // The connection stays open on both sides until it is cut or the test ends.
        let _ = cut.wait_for(|state| *state == ConnectionState::Cut).await;
    }
}

/// Forwards bytes until either side closes the connection.
async fn forward(
    client: &mut TcpStream,
    store: &mut UnixStream,
    state: &watch::Receiver<ConnectionState>,
) {
    let ((client_reader, client_writer), (store_reader, store_writer)) =
        (client.split(), store.split());
    tokio::select! {
        () = copy(client_reader, store_writer, ConnectionState::Held, state.clone()) => {}
        () = copy(store_reader, client_writer, ConnectionState::Silent, state.clone()) => {}
    }
}

/// Forwards bytes in one direction, and stalls while the connections are in this state.
async fn copy(
    mut reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    stalled: ConnectionState,
    mut state: watch::Receiver<ConnectionState>,
) {
    let mut bytes = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = reader.read(&mut bytes).await {
        let delay = if let ConnectionState::Late(delay) = *state.borrow() {
            delay
        } else {
            Duration::ZERO
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let _ = state.wait_for(|state| *state != stalled).await;
        if *state.borrow() == ConnectionState::OldRedis {
            report_old_version(&mut bytes[..count]);
        }
        if writer.write_all(&bytes[..count]).await.is_err() {
            break;
        }
    }
}

/// Replaces the version in the response to `INFO` by one of the same length.
fn report_old_version(response: &mut [u8]) {
    const FIELD: &[u8] = b"redis_version:";
    let found = response
        .windows(FIELD.len())
        .position(|window| window == FIELD);
    let Some(start) = found.map(|position| position + FIELD.len()) else {
        return;
    };
    let end = response[start..].iter().position(|byte| *byte == b'\r');
    if let Some(length) = end {
        let old = b"6.2.1".iter().chain(std::iter::repeat(&b'0'));
        for (byte, old) in response[start..start + length].iter_mut().zip(old) {
            *byte = *old;
        }
    }
}
