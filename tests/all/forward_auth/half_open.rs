//! The connection between a proxy and the server. Tests can redirect it, and it captures the checks
//! of the proxy.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::application::{ReceivedRequest, read_request};

/// The receiver of the checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckTarget {
    Server(SocketAddr),
    /// Captures each check and always returns this response.
    Response(String),
    /// Closes every connection.
    Closed,
}

/// A TCP forwarder. It stops on drop.
pub struct CheckForwarder {
    pub address: SocketAddr,
    target: watch::Sender<CheckTarget>,
    checks: Arc<Mutex<Vec<ReceivedRequest>>>,
    task: tokio::task::JoinHandle<()>,
}

impl CheckForwarder {
    pub async fn start(server: SocketAddr) -> CheckForwarder {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (target, targets) = watch::channel(CheckTarget::Server(server));
        let checks = Arc::new(Mutex::new(Vec::new()));
        let captured = checks.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, targets.clone(), captured.clone()));
            }
        });
        CheckForwarder {
            address,
            target,
            checks,
            task,
        }
    }

    /// Redirects new connections and closes existing ones.
    pub fn redirect_to(&self, target: CheckTarget) {
        self.target.send_replace(target);
    }

    /// Returns the checks captured since the last call.
    pub fn take_checks(&self) -> Vec<ReceivedRequest> {
        std::mem::take(&mut self.checks.lock().expect("no panic while locked"))
    }
}

impl Drop for CheckForwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut proxy: TcpStream,
    mut targets: watch::Receiver<CheckTarget>,
    checks: Arc<Mutex<Vec<ReceivedRequest>>>,
) {
    let target = targets.borrow_and_update().clone();
    let forward = async {
        match target {
            CheckTarget::Closed => {}
            CheckTarget::Server(address) => {
                if let Ok(mut server) = TcpStream::connect(address).await {
                    let _ = copy_bidirectional(&mut proxy, &mut server).await;
                }
            }
            CheckTarget::Response(response) => {
                while let Some(request) = read_request(&mut proxy).await {
                    checks.lock().expect("no panic while locked").push(request);
                    let _ = proxy.write_all(response.as_bytes()).await;
                }
            }
        }
    };
    tokio::select! {
        () = forward => {}
        _ = targets.changed() => {}
    }
}
