//! HTTP layer: routes, authentication, error responses, and pages. It translates between HTTP and
//! the use cases and contains no business logic.

mod api;
mod auth;
mod context;
pub mod document;
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

use crate::app::App;

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
    /// Create, read, update, and delete the applications behind a proxy, to which browsers sign in.
    /// Requires the `admin` role.
    Applications,
    /// Authenticate requests for a reverse proxy, and validate tokens in your own services.
    #[oai(rename = "Forward authentication and keys")]
    ForwardAuthentication,
    /// Liveness and readiness for load balancers and orchestrators.
    Health,
}

/// Time for detached tasks to finish after the drain. It exceeds the default timeouts of PostgreSQL
/// and Redis together.
const MAX_TASK_DRAIN: Duration = Duration::from_secs(5);

/// The API and the pages, wrapped by the request middleware.
pub fn endpoint(app: Arc<App>) -> impl Endpoint<Output = Response> {
    let site = pages::Site::new(&app);
    let routes = document::add_operations(pages::routes(&app, &site));
    middleware::request::RequestMiddleware::new(routes, app, site)
}

/// Serves the public listener until `stop` resolves, then drains.
///
/// A draining replica reports not ready and accepts connections for `drain_delay`, so that load
/// balancers remove it. In-flight requests and detached tasks then finish.
pub async fn run(
    listener: TcpListener,
    app: Arc<App>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (endpoint, delay) = (endpoint(app.clone()), app.config.drain_delay);
    let stopped = async {
        stop.await;
        app.lifecycle.drain();
        tracing::info!("draining started");
    };
    server::serve("public", listener, endpoint, stopped, delay).await?;
    // Detached tasks outlive the connections of their clients.
    if tokio::time::timeout(MAX_TASK_DRAIN, app.finish_tasks())
        .await
        .is_err()
    {
        tracing::warn!("drain timeout: aborted detached tasks");
    }
    app.revocations.relinquish_lease().await;
    Ok(())
}

/// Serves `/metrics` and the details of the readiness until the process exits.
pub async fn run_metrics(
    listener: TcpListener,
    app: Arc<App>,
    handle: metrics::Handle,
) -> io::Result<()> {
    tokio::spawn(metrics::run_upkeep(handle.clone()));
    let (endpoint, no_stop) = (metrics::endpoint(handle, app), std::future::pending());
    server::serve("metrics", listener, endpoint, no_stop, Duration::ZERO).await
}
