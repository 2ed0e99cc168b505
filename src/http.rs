//! The faces: routes, callers, problems, pages. They translate between HTTP and the use cases, and
//! decide nothing.

mod accounts;
mod allow;
mod answers;
mod audit;
mod body;
mod browser;
mod caller;
mod clients;
mod cookie;
mod cors;
mod csrf;
mod devices;
pub mod document;
mod edge;
mod feed;
mod forward_auth;
mod health;
mod items;
pub mod metrics;
mod notes;
mod oauth;
mod old_names;
mod origin;
mod pages;
mod params;
mod personal_tokens;
mod problem;
mod rate_limit;
mod server;
mod shapes;
mod tokens;
mod users;
mod well_known;

use std::{io, sync::Arc, time::Duration};

use poem::{Endpoint, Response};
use poem_openapi::Tags;
use tokio::net::TcpListener;

use crate::gateway::Gateway;

/// Groups of operations, in reading order.
#[derive(Tags)]
enum Tag {
    /// Accounts are made, sessions begin, go on and end.
    #[oai(rename = "Signing in")]
    SigningIn,
    /// One's own account.
    Account,
    /// When the password is lost.
    Recovery,
    /// One's own items.
    Items,
    /// Everybody's accounts, for administrators.
    Users,
    /// Tokens by the standards: for OAuth clients and resource servers.
    OAuth,
    /// Services that have tokens for themselves, for administrators.
    Clients,
    /// For proxies and services behind the gateway.
    Gateway,
    /// For balancers and orchestrators.
    Health,
}

/// Stories without a caller get so long when the process is to end: more than PostgreSQL and Redis
/// get together by default.
const LONGEST_STORY: Duration = Duration::from_secs(5);

/// Everything that the public sees.
pub fn endpoint(gateway: Arc<Gateway>) -> impl Endpoint<Output = Response> {
    edge::Edge::new(routes(), gateway)
}

fn routes() -> poem::Route {
    document::add_operations(pages::routes())
}

/// Serves the public until `stop` resolves. Then this replica is not ready, still accepts for a
/// while, so that balancers notice, and finishes what runs.
pub async fn run(
    listener: TcpListener,
    gateway: Arc<Gateway>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (endpoint, delay) = (endpoint(gateway.clone()), gateway.config().drain_delay);
    let stopped = async {
        stop.await;
        gateway.drain();
        tracing::info!("draining started");
    };
    server::serve("public", listener, endpoint, stopped, delay).await?;
    // Also those whose callers have hung up.
    if tokio::time::timeout(LONGEST_STORY, gateway.finish_stories())
        .await
        .is_err()
    {
        tracing::warn!("drain timeout: aborted detached tasks");
    }
    gateway.stop_answering_from_memory().await;
    Ok(())
}

/// Serves `/metrics` until the process ends.
pub async fn run_metrics(listener: TcpListener, handle: metrics::Handle) -> io::Result<()> {
    tokio::spawn(metrics::keep_up(handle.clone()));
    let (endpoint, never) = (metrics::endpoint(handle), std::future::pending());
    server::serve("metrics", listener, endpoint, never, Duration::ZERO).await
}
