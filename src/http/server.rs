//! The listener: accepts, bounds and drains. The framework's own server has no header timeout and no bound on
//! connections, spins when accepting fails, and may wait for ever when it is to stop.
//!
//! HTTP/1.1 only: that is what proxies speak to what is behind them.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::combinators::BoxBody;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use poem::{
    Endpoint, Request, Response,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

/// What the framework's answers become on the wire.
type Answer = hyper::Response<BoxBody<Bytes, io::Error>>;

/// For the head of a request, and so for the pause between two requests of a connection. A proxy in front should close
/// its idle connections sooner.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest head of a request, in bytes: a token, a cookie and what proxies add fit four times.
const LARGEST_HEAD: usize = 32 * 1024;

/// More connections than that wait in the kernel.
const CONNECTIONS: usize = 10_000;

/// When accepting fails, mostly for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A client that takes nothing of an answer is cut off at the first probe of the kernel after so long: within a minute.
#[cfg(target_os = "linux")]
const UNREAD_TIMEOUT_MS: u32 = 30_000;

/// What still runs so long after the last accept is cut.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// Serves until `stop` resolves (`name` is the listener's in the metrics), then lets what runs finish.
pub async fn serve<E>(
    name: &'static str,
    listener: TcpListener,
    endpoint: Arc<E>,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    E: Endpoint<Output = Response> + 'static,
{
    let local = listener.local_addr()?;
    let (graceful, places) = (GracefulShutdown::new(), Arc::new(Semaphore::new(CONNECTIONS)));
    tokio::pin!(stop);
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.expect("never closed");
            listener.accept().await.map(|(stream, remote)| (place, stream, remote))
        };
        let (place, stream, remote) = tokio::select! {
            () = &mut stop => break,
            accepted = next => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let connection = graceful.watch(connection(stream, local, remote, endpoint.clone()));
        tokio::spawn(async move {
            metrics::gauge!("latchkey_http_connections", "listener" => name).increment(1.0);
            // An error here is a client that broke off; there is nobody to tell.
            let _ = connection.await;
            metrics::gauge!("latchkey_http_connections", "listener" => name).decrement(1.0);
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(LONGEST_DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests that still ran were cut");
    }
    Ok(())
}

fn connection<E>(
    stream: TcpStream,
    local: SocketAddr,
    remote: SocketAddr,
    endpoint: Arc<E>,
) -> http1::Connection<
    TokioIo<TcpStream>,
    impl Service<hyper::Request<Incoming>, Response = Answer, Error = Infallible, Future: Send>,
>
where
    E: Endpoint<Output = Response> + 'static,
{
    // Without this small answers may wait 40 ms for the acknowledgement of the ones before.
    let _ = stream.set_nodelay(true);
    // The kernel counts how long sent bytes stay unacknowledged or the client's window stays shut (RFC 5482).
    #[cfg(target_os = "linux")]
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_TIMEOUT_MS);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let endpoint = endpoint.clone();
        async move {
            let addresses = (LocalAddr(local.into()), RemoteAddr(remote.into()));
            let request = Request::from((request, addresses.0, addresses.1, Scheme::HTTP));
            Ok::<_, Infallible>(Answer::from(endpoint.get_response(request).await))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(LARGEST_HEAD)
        .serve_connection(TokioIo::new(stream), service)
}
