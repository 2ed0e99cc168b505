//! HTTP server: accepts, limits, and drains connections.
//!
//! The framework's own server has no header timeout and no connection limit. It retries a failed
//! accept without a delay, and its graceful shutdown can wait forever. Only HTTP/1.1 is supported,
//! because reverse proxies use it for their upstreams.
//!
//! A stopping replica must not lose requests. A proxy can send a request on an idle connection
//! while the server closes it, and must not retry a `POST` (RFC 9110 section 9.2.2). Therefore,
//! every response during the drain closes its connection. Connections without requests are closed
//! after an idle period, when a further request is unlikely.

mod drain;
mod unread_body;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Body, Bytes, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use poem::{
    Endpoint, Request, RequestParts, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};

use crate::http::server::{drain::Drain, unread_body::DiscardOnDrop};

/// Response of the framework, in the type that hyper sends.
type HyperResponse = hyper::Response<BoxBody<Bytes, io::Error>>;

/// Timeout for a request head. It also limits the idle time between two requests of a connection,
/// so a proxy needs a shorter idle timeout.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// Limit for a request head: four times the size of a token, a cookie, and the headers of proxies.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Further connections wait in the backlog of the kernel.
const MAX_CONNECTIONS: usize = 10_000;

/// Delay after a failed accept, which mostly means that file descriptors are exhausted.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Time after which a client that reads no response data is disconnected. The kernel checks it with
/// its probes, so the disconnect follows within a minute.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT_MS: u32 = 30_000;

/// Requests that are still in flight after this time are aborted.
const MAX_DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop` resolves, then drains. `name` is the listener label of the metrics.
///
/// While draining, the server accepts connections for `delay`, so that load balancers remove the
/// replica. Then it waits for in-flight requests.
pub async fn serve<E>(
    name: &'static str,
    listener: TcpListener,
    endpoint: E,
    stop: impl Future<Output = ()>,
    delay: Duration,
) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let server = Server {
        name,
        local: listener.local_addr()?,
        shared: Arc::new(SharedState {
            endpoint,
            drain: Drain::new(),
        }),
        connections: GracefulShutdown::new(),
        permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
    };
    server.accept_until(stop, &listener).await;
    server.shared.drain.begin();
    server
        .accept_until(tokio::time::sleep(delay), &listener)
        .await;
    server.accept_backlog(listener)?;
    let Server {
        shared,
        connections,
        ..
    } = server;
    shared.drain.wait_idle(delay).await;
    if tokio::time::timeout(MAX_DRAIN, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("drain timeout: aborted in-flight requests");
    }
    Ok(())
}

/// A listener and its connections.
struct Server<E> {
    name: &'static str,
    local: SocketAddr,
    shared: Arc<SharedState<E>>,
    connections: GracefulShutdown,
    permits: Arc<Semaphore>,
}

/// State that all connections share.
struct SharedState<E> {
    endpoint: E,
    drain: Drain,
}

impl<E: Endpoint<Output = Response> + 'static> Server<E> {
    async fn accept_until(&self, stop: impl Future<Output = ()>, listener: &TcpListener) {
        tokio::pin!(stop);
        loop {
            let next = async {
                let permit = self
                    .permits
                    .clone()
                    .acquire_owned()
                    .await
                    .expect("the semaphore is never closed");
                listener
                    .accept()
                    .await
                    .map(|(stream, remote)| (permit, stream, remote))
            };
            tokio::select! {
                () = &mut stop => return,
                accepted = next => match accepted {
                    Ok((permit, stream, remote)) => {
                        self.spawn_connection(Some(permit), stream, remote)
                    }
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                    }
                },
            }
        }
    }

    /// Accepts the remaining backlog; otherwise completed connections are reset when the listener
    /// closes.
    fn accept_backlog(&self, listener: TcpListener) -> io::Result<()> {
        // Accepts directly from the kernel, because the runtime might not have polled it yet.
        let listener = listener.into_std()?;
        loop {
            let stream = match listener.accept() {
                Ok((stream, remote)) => stream
                    .set_nonblocking(true)
                    .and_then(|()| Ok((TcpStream::from_std(stream)?, remote))),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_empty) => return Ok(()),
            };
            // A connection that failed in the meantime is skipped.
            stream
                .into_iter()
                .for_each(|(stream, remote)| self.spawn_connection(None, stream, remote));
        }
    }

    fn spawn_connection(
        &self,
        permit: Option<OwnedSemaphorePermit>,
        stream: TcpStream,
        remote: SocketAddr,
    ) {
        let name = self.name;
        let connection = self
            .connections
            .watch(self.create_connection(stream, remote));
        tokio::spawn(async move {
            metrics::gauge!("latchkey_http_connections", "listener" => name).increment(1.0);
            // An error means that the client disconnected, so no response can be sent.
            let _ = connection.await;
            metrics::gauge!("latchkey_http_connections", "listener" => name).decrement(1.0);
            drop(permit);
        });
    }

    fn create_connection(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> http1::Connection<
        TokioIo<TcpStream>,
        impl Service<
            hyper::Request<Incoming>,
            Response = HyperResponse,
            Error = Infallible,
            Future: Send,
        > + use<E>,
    > {
        // Otherwise, a small response can wait 40 ms for the acknowledgement of the previous one.
        let _ = stream.set_nodelay(true);
        // Limits how long sent data stays unacknowledged, or the client's window stays closed
        // (RFC 5482).
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_TIMEOUT_MS);
        let (shared, local) = (self.shared.clone(), self.local);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let shared = shared.clone();
            async move {
                shared.drain.record_arrival();
                let request = convert_request(request, local, remote);
                let mut response = HyperResponse::from(shared.endpoint.get_response(request).await);
                shared.drain.set_connection_close(&mut response);
                Ok::<_, Infallible>(response)
            }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    }
}

/// Converts a hyper request to a request of the framework.
fn convert_request(
    request: hyper::Request<Incoming>,
    local: SocketAddr,
    remote: SocketAddr,
) -> Request {
    let addresses = (LocalAddr(local.into()), RemoteAddr(remote.into()));
    if request.is_end_stream() {
        return Request::from((request, addresses.0, addresses.1, Scheme::HTTP));
    }
    let (head, incoming) = request.into_parts();
    let parts = RequestParts::from((head, addresses.0, addresses.1, Scheme::HTTP));
    Request::from_parts(parts, DiscardOnDrop::boxed(incoming).into())
}
