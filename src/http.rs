//! The faces: routes, callers, problems, pages. They translate between HTTP and the use cases, and
//! decide nothing.

mod api;
mod auth;
mod forward_auth;
pub mod metrics;
mod middleware;
mod oauth;
pub mod openapi;
mod pages;
mod server;

use std::{io, sync::Arc, time::Duration};

use poem::{Endpoint, Response};
use poem_openapi::Tags;
use tokio::net::TcpListener;

use crate::app::Gateway;

/// Groups of operations, in reading order.
#[derive(Tags)]
enum Tag {
    /// Sign up, sign in, refresh tokens, and sign out, with tokens or with a session cookie.
    Authentication,
    /// Read, update, and delete the current user; change the password and the email address.
    #[oai(rename = "Current user")]
    CurrentUser,
    /// List and revoke the sessions of the current user.
    Sessions,
    /// Create, list, and revoke tokens for scripts and tools of the current user.
    #[oai(rename = "Personal access tokens")]
    PersonalAccessTokens,
    /// Security events of the current user.
    #[oai(rename = "Audit log")]
    AuditLog,
    /// Reset a forgotten password with a one-time code sent by email.
    #[oai(rename = "Password recovery")]
    PasswordRecovery,
    /// A small resource of the current user. It demonstrates scopes, pagination, and ETags.
    #[oai(rename = "Items (sample)")]
    Items,
    /// OAuth 2.0 endpoints for OAuth clients and resource servers.
    #[oai(rename = "Tokens (OAuth 2.0)")]
    OAuth,
    /// Create, read, update, and delete users, and revoke their credentials. Requires the `admin`
    /// role.
    #[oai(rename = "User administration")]
    UserAdministration,
    /// Register OAuth clients: services that obtain access tokens for themselves. Requires the
    /// `admin` role.
    #[oai(rename = "OAuth clients")]
    OAuthClients,
    /// Authenticate requests for a reverse proxy, and validate tokens in your own services.
    #[oai(rename = "Forward authentication and keys")]
    ForwardAuthentication,
    /// Liveness and readiness for load balancers and orchestrators.
    Health,
}

/// Stories without a caller get so long when the process is to end: more than PostgreSQL and Redis
/// get together by default.
const MAX_TASK_DRAIN: Duration = Duration::from_secs(5);

/// Everything that the public sees.
pub fn endpoint(gateway: Arc<Gateway>) -> impl Endpoint<Output = Response> {
    middleware::request::RequestMiddleware::new(routes(), gateway)
}

fn routes() -> poem::Route {
    openapi::document::add_operations(pages::routes())
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
    if tokio::time::timeout(MAX_TASK_DRAIN, gateway.wait_for_tasks())
        .await
        .is_err()
    {
        tracing::warn!("drain timeout: aborted detached tasks");
    }
    gateway.relinquish_lease().await;
    Ok(())
}

/// Serves `/metrics` until the process ends.
pub async fn run_metrics(listener: TcpListener, handle: metrics::Handle) -> io::Result<()> {
    tokio::spawn(metrics::keep_up(handle.clone()));
    let (endpoint, never) = (metrics::endpoint(handle), std::future::pending());
    server::serve("metrics", listener, endpoint, never, Duration::ZERO).await
}
