//! A TCP socket in front of a store, which can be cut, held and mended.

use std::{net::SocketAddr, path::PathBuf};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
};

/// What happens to bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// They pass.
    Open,
    /// What the gateway says waits.
    Held,
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
    pub async fn to(socket: PathBuf) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let ((line, state), (store, socket)) = (watch::channel(Line::Open), watch::channel(socket));
        tokio::spawn(accept(listener, socket, state));
        Proxy { address, line, store }
    }

    /// Where new connections lead from now on; those that are there stay where they are.
    pub fn lead_to(&self, socket: PathBuf) {
        self.store.send_replace(socket);
    }

    pub fn set(&self, line: Line) {
        self.line.send_replace(line);
    }
}

async fn accept(listener: TcpListener, socket: watch::Receiver<PathBuf>, state: watch::Receiver<Line>) {
    while let Ok((client, _)) = listener.accept().await {
        let (socket, mut state) = (socket.borrow().clone(), state.clone());
        tokio::spawn(async move {
            if *state.borrow() == Line::Cut {
                return;
            }
            let Ok(store) = UnixStream::connect(socket).await else { return };
            tokio::select! {
                () = pass(client, store, state.clone()) => {}
                _ = state.wait_for(|line| *line == Line::Cut) => {}
            }
        });
    }
}

/// Until either side has nothing more to say.
async fn pass(mut client: TcpStream, mut store: UnixStream, mut state: watch::Receiver<Line>) {
    let ((mut asks, mut hears), (mut answers, mut listens)) = (client.split(), store.split());
    let questions = async {
        let mut bytes = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = asks.read(&mut bytes).await {
            let _ = state.wait_for(|line| *line != Line::Held).await;
            if listens.write_all(&bytes[..count]).await.is_err() {
                break;
            }
        }
    };
    tokio::select! {
        () = questions => {}
        _ = copy(&mut answers, &mut hears) => {}
    }
}
