//! The faces: routes, callers, problems, pages. They translate between HTTP and the use cases, and decide nothing.

mod accounts;
mod allow;
mod answers;
mod body;
mod caller;
mod cors;
pub mod document;
mod edge;
mod health;
mod items;
#[cfg(feature = "dev")]
mod mailbox;
pub mod metrics;
mod old_names;
mod origin;
mod pages;
mod params;
mod problem;
mod server;
mod shapes;
mod tokens;

use std::{io, sync::Arc};

use poem::{Endpoint, EndpointExt, Response, Route};
use poem_openapi::Tags;
use tokio::net::TcpListener;

use crate::gateway::Gateway;

/// Groups of operations, in reading order.
#[derive(Tags)]
enum Tag {
    /// Accounts are made, sessions begin, go on and end.
    SigningIn,
    /// One's own account.
    Account,
    /// When the password is lost.
    Recovery,
    /// One's own items.
    Items,
    /// For proxies and services behind the gateway.
    Gateway,
    /// For balancers and orchestrators.
    Health,
}

/// Everything that the public sees.
pub fn endpoint(gateway: Arc<Gateway>) -> impl Endpoint<Output = Response> {
    edge::Edge::new(routes(&gateway), gateway)
}

#[cfg(feature = "dev")]
fn routes(gateway: &Gateway) -> impl Endpoint<Output = Response> + use<> {
    let pages = pages::routes().at("/dev/mailbox", poem::get(mailbox::endpoint()));
    around_operations(pages::home(gateway.mailbox().is_some()), pages)
}

#[cfg(not(feature = "dev"))]
fn routes(_: &Gateway) -> impl Endpoint<Output = Response> + use<> {
    around_operations(pages::home(false), pages::routes())
}

/// The operations with the pages before them. Home is asked for here, because the catch-all under which the router knows
/// the operations takes `/` too, before any route that is called so.
fn around_operations(home: impl Endpoint + 'static, pages: Route) -> impl Endpoint<Output = Response> {
    let home = Arc::new(home);
    pages.nest_no_strip("/", document::service()).around(move |others, request| {
        let home = home.clone();
        async move {
            Ok(match request.uri().path() {
                "/" => home.get_response(request).await,
                _other => others.get_response(request).await,
            })
        }
    })
}

/// Serves the public until `stop` resolves. Then this replica is not ready, still accepts for a while, so that balancers
/// notice, and finishes what runs.
pub async fn run(listener: TcpListener, gateway: Arc<Gateway>, stop: impl Future<Output = ()>) -> io::Result<()> {
    let drained = {
        let gateway = gateway.clone();
        async move {
            stop.await;
            gateway.drain();
            tracing::info!("draining");
            tokio::time::sleep(gateway.config().drain_delay).await;
        }
    };
    server::serve(listener, Arc::new(endpoint(gateway)), drained).await
}

/// Serves `/metrics` until the process ends.
pub async fn run_metrics(listener: TcpListener, handle: metrics::Handle) -> io::Result<()> {
    server::serve(listener, Arc::new(metrics::endpoint(handle)), std::future::pending()).await
}
