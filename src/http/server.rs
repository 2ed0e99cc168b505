//! The listener: accepts, bounds and drains. The framework's own server has no header timeout and
//! no bound on connections, spins when accepting fails, and may wait for ever when it is to stop.
//!
//! HTTP/1.1 only: that is what proxies speak to what is behind them.
//!
//! A replica that ends loses no request. A connection that a proxy keeps may carry the next one at
//! any moment, and one that we close in that moment takes it along: a proxy may send no `POST`
//! again. So connections end with an answer that says so; those that nobody uses are closed after a
//! silence, when hardly anybody is about to use one.

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

use crate::http::server::{drain::Drain, unread_body::DrainOnDrop};

/// What the framework's answers become on the wire.
type Answer = hyper::Response<BoxBody<Bytes, io::Error>>;

/// For the head of a request, and so for the pause between two requests of a connection. A proxy in
/// front should close its idle connections sooner.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes: a token, a cookie and what proxies add fit four times.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// More connections than that wait in the kernel.
const CONNECTIONS: usize = 10_000;

/// When accepting fails, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client that takes nothing of an answer is cut off at the first probe of the kernel after so
/// long: within a minute.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT_MS: u32 = 30_000;

/// What still runs so long after connections were to end is cut.
const MAX_DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop` resolves (`name` is the listener's in the metrics). Then it still accepts
/// for `delay`, so that balancers notice, and lets what runs finish.
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
        answering: Arc::new(Answering {
            endpoint,
            closing: Drain::new(),
        }),
        connections: GracefulShutdown::new(),
        places: Arc::new(Semaphore::new(CONNECTIONS)),
    };
    server.accept_until(stop, &listener).await;
    server.answering.closing.begin();
    server
        .accept_until(tokio::time::sleep(delay), &listener)
        .await;
    server.accept_backlog(listener)?;
    let Server {
        answering,
        connections,
        ..
    } = server;
    answering.closing.wait_idle(delay).await;
    if tokio::time::timeout(MAX_DRAIN, connections.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("drain timeout: aborted in-flight requests");
    }
    Ok(())
}

/// A listener's connections.
struct Server<E> {
    name: &'static str,
    local: SocketAddr,
    answering: Arc<Answering<E>>,
    connections: GracefulShutdown,
    places: Arc<Semaphore>,
}

/// What all of them share.
struct Answering<E> {
    endpoint: E,
    closing: Drain,
}

impl<E: Endpoint<Output = Response> + 'static> Server<E> {
    async fn accept_until(&self, stop: impl Future<Output = ()>, listener: &TcpListener) {
        tokio::pin!(stop);
        loop {
            let next = async {
                let place = self
                    .places
                    .clone()
                    .acquire_owned()
                    .await
                    .expect("never closed");
                listener
                    .accept()
                    .await
                    .map(|(stream, remote)| (place, stream, remote))
            };
            tokio::select! {
                () = &mut stop => return,
                accepted = next => match accepted {
                    Ok((place, stream, remote)) => self.serve(Some(place), stream, remote),
                    Err(error) => {
                        tracing::warn!(%error, "accepting a connection failed");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }

    /// Those who were let in by the kernel meanwhile may have sent a request, which would be lost
    /// with the listener.
    fn accept_backlog(&self, listener: TcpListener) -> io::Result<()> {
        // The kernel is asked itself: the runtime may not have looked yet.
        let listener = listener.into_std()?;
        loop {
            let stream = match listener.accept() {
                Ok((stream, remote)) => stream
                    .set_nonblocking(true)
                    .and_then(|()| Ok((TcpStream::from_std(stream)?, remote))),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_nobody) => return Ok(()),
            };
            // One that broke meanwhile waits for nothing.
            stream
                .into_iter()
                .for_each(|(stream, remote)| self.serve(None, stream, remote));
        }
    }

    fn serve(&self, place: Option<OwnedSemaphorePermit>, stream: TcpStream, remote: SocketAddr) {
        let name = self.name;
        let connection = self.connections.watch(self.connection(stream, remote));
        tokio::spawn(async move {
            metrics::gauge!("latchkey_http_connections", "listener" => name).increment(1.0);
            // An error here is a client that broke off; there is nobody to tell.
            let _ = connection.await;
            metrics::gauge!("latchkey_http_connections", "listener" => name).decrement(1.0);
            drop(place);
        });
    }

    fn connection(
        &self,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> http1::Connection<
        TokioIo<TcpStream>,
        impl Service<hyper::Request<Incoming>, Response = Answer, Error = Infallible, Future: Send>
        + use<E>,
    > {
        // Without this small answers may wait 40 ms for the acknowledgement of the ones before.
        let _ = stream.set_nodelay(true);
        // The kernel counts how long sent bytes stay unacknowledged or the client's window stays
        // shut (RFC 5482).
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_TIMEOUT_MS);
        let (answering, local) = (self.answering.clone(), self.local);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            let answering = answering.clone();
            async move {
                answering.closing.note();
                let request = framed(request, local, remote);
                let mut answer = Answer::from(answering.endpoint.get_response(request).await);
                answering.closing.set_connection_close(&mut answer);
                Ok::<_, Infallible>(answer)
            }
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .max_buf_size(MAX_HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
    }
}

/// A request as the framework takes it.
fn framed(request: hyper::Request<Incoming>, local: SocketAddr, remote: SocketAddr) -> Request {
    let addresses = (LocalAddr(local.into()), RemoteAddr(remote.into()));
    if request.is_end_stream() {
        return Request::from((request, addresses.0, addresses.1, Scheme::HTTP));
    }
    let (head, incoming) = request.into_parts();
    let parts = RequestParts::from((head, addresses.0, addresses.1, Scheme::HTTP));
    Request::from_parts(parts, DrainOnDrop::boxed(incoming).into())
}
