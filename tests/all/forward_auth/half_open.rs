//! The line between a proxy and the gateway: it can lead somewhere else, and it tells what the
//! proxy asked.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::application::{Arrived, read};

/// Where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// To the gateway.
    TestServer(SocketAddr),
    /// To somebody who notes what is asked, and always answers this.
    Says(String),
    /// Nowhere: connections are closed.
    Nowhere,
}

/// It ends with this value.
pub struct Line {
    pub address: SocketAddr,
    end: watch::Sender<End>,
    requested: Arc<Mutex<Vec<Arrived>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Line {
    pub async fn to(server: SocketAddr) -> Line {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (end, state) = watch::channel(End::TestServer(server));
        let requested = Arc::new(Mutex::new(Vec::new()));
        let kept = requested.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, state.clone(), kept.clone()));
            }
        });
        Line {
            address,
            end,
            requested,
            task,
        }
    }

    /// From now on; connections that are there are closed.
    pub fn lead_to(&self, end: End) {
        self.end.send_replace(end);
    }

    /// What was asked of whom it led to instead of the gateway.
    pub fn take(&self) -> Vec<Arrived> {
        std::mem::take(
            &mut self
                .requested
                .lock()
                .expect("nothing panics while it is held"),
        )
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut proxy: TcpStream,
    mut state: watch::Receiver<End>,
    requested: Arc<Mutex<Vec<Arrived>>>,
) {
    let end = state.borrow_and_update().clone();
    let lead = async {
        match end {
            End::Nowhere => {}
            End::TestServer(address) => {
                if let Ok(mut server) = TcpStream::connect(address).await {
                    let _ = copy_bidirectional(&mut proxy, &mut server).await;
                }
            }
            End::Says(response) => {
                while let Some(request) = read(&mut proxy).await {
                    requested
                        .lock()
                        .expect("nothing panics while it is held")
                        .push(request);
                    let _ = proxy.write_all(response.as_bytes()).await;
                }
            }
        }
    };
    tokio::select! {
        () = lead => {}
        _ = state.changed() => {}
    }
}
