//! Prometheus metrics and the details of the readiness, on a separate listener that isn't public.

mod process;
mod readiness;

use std::{cell::RefCell, collections::HashMap, sync::Arc, time::Duration};

use latchkey_domain::audit::EventKind;
use metrics::Histogram;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use poem::{Endpoint, EndpointExt, Response, Route, endpoint::make_sync, get};

use crate::app::App;

/// Buckets of all histograms in seconds, from a cached check to a request that waits for stores.
const DURATION_BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// Handle to the recorded metrics.
pub type Handle = PrometheusHandle;

/// Installs the metrics recorder of the process.
///
/// # Errors
/// If a recorder is already installed.
pub fn install() -> Result<Handle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), DURATION_BUCKETS)?
        .install_recorder()?;
    describe();
    initialize();
    Ok(handle)
}

fn describe() {
    metrics::describe_gauge!(
        "latchkey_build_info",
        "Build information, by version; the value is always 1"
    );
    metrics::describe_counter!(
        "latchkey_audit_events_total",
        "Audit events, by event and outcome (success, failure)"
    );
    metrics::describe_gauge!(
        "latchkey_store_up",
        "Whether the last check of a store succeeded (1) or failed (0), by store (postgres, redis)"
    );
    metrics::describe_gauge!(
        "latchkey_clock_offset_seconds",
        "Clock of a store minus the clock of this replica in seconds, by store (postgres, redis)"
    );
    metrics::describe_gauge!(
        "latchkey_postgres_connections",
        "PostgreSQL connections, by state (open: all, used: in use)"
    );
    describe_http();
    describe_tokens();
    describe_revocation();
    describe_revocation_streams();
    describe_keys();
    describe_workers();
}

fn describe_http() {
    metrics::describe_histogram!(
        "latchkey_http_request_duration_seconds",
        "HTTP request duration in seconds, by operation and status"
    );
    metrics::describe_gauge!(
        "latchkey_http_connections",
        "Open HTTP connections, by listener (public, metrics)"
    );
    metrics::describe_counter!(
        "latchkey_rate_limit_decisions_total",
        "Rate limit decisions, by limit and outcome (allowed, delayed, rejected, refunded); a \
         refunded attempt was allowed before and does not count"
    );
}

fn describe_tokens() {
    metrics::describe_counter!(
        "latchkey_sign_ins_total",
        "Sign-ins, by outcome (success, failure, rate_limited, error)"
    );
    metrics::describe_counter!(
        "latchkey_refreshes_total",
        "Token refreshes, by outcome (success, failure, error, reused: session revoked)"
    );
    metrics::describe_counter!(
        "latchkey_session_restores_total",
        "Sessions restored from PostgreSQL, by outcome (restored, rejected, error)"
    );
    metrics::describe_gauge!(
        "latchkey_refresh_writes_pending",
        "Sessions whose last refresh is not yet written to PostgreSQL"
    );
    metrics::describe_counter!(
        "latchkey_client_tokens_total",
        "Access tokens issued to OAuth clients"
    );
    metrics::describe_counter!(
        "latchkey_token_cache_total",
        "Signature cache lookups, by result (hit, miss)"
    );
    metrics::describe_gauge!("latchkey_hash_queue", "Password hash jobs waiting");
    metrics::describe_histogram!(
        "latchkey_hash_wait_seconds",
        "Waiting time of password hash jobs in seconds"
    );
}

fn describe_revocation() {
    metrics::describe_counter!(
        "latchkey_checks_total",
        "Token revocation checks, by source (memory, redis, postgres, unavailable: 503)"
    );
    metrics::describe_gauge!(
        "latchkey_lease_held",
        "Whether this replica serves checks from memory (1) or not (0)"
    );
    metrics::describe_gauge!("latchkey_revocation_entries", "Revocations held in memory");
    metrics::describe_counter!(
        "latchkey_revocations_total",
        "Published revocations, by kind"
    );
    metrics::describe_counter!(
        "latchkey_revocations_republished_total",
        "Revocations republished from PostgreSQL"
    );
    metrics::describe_histogram!(
        "latchkey_revocation_enforcement_seconds",
        "Time in seconds until all replicas enforce a published revocation, by completion \
         (acknowledged, waited)"
    );
    metrics::describe_histogram!(
        "latchkey_revocation_propagation_seconds",
        "Propagation delay of probe entries to all replicas in seconds"
    );
}

fn describe_revocation_streams() {
    metrics::describe_gauge!("latchkey_revocation_streams", "Open revocation streams");
    metrics::describe_counter!(
        "latchkey_revocation_stream_events_total",
        "Revocation stream events sent, by event (snapshot, revoked, synced, heartbeat, degraded)"
    );
    metrics::describe_counter!(
        "latchkey_revocation_streams_closed_total",
        "Revocation streams closed, by reason (disconnected, token_invalid, behind, draining)"
    );
}

fn describe_keys() {
    metrics::describe_gauge!("latchkey_signing_keys", "Signing keys, by state");
    metrics::describe_gauge!(
        "latchkey_signing_key_age_seconds",
        "Age of the current signing key in seconds, since it became active"
    );
    metrics::describe_counter!(
        "latchkey_signing_key_reloads_total",
        "Signing key reloads from PostgreSQL"
    );
}

fn describe_workers() {
    metrics::describe_counter!(
        "latchkey_emails_total",
        "Emails, by outcome (sent, replaced, superseded, expired, rejected, over_quota, no_recipient, \
         failed)"
    );
    metrics::describe_counter!(
        "latchkey_cleanup_removed_total",
        "Rows deleted by the cleanup worker, by kind (audit_months: partitions)"
    );
    metrics::describe_gauge!(
        "latchkey_cleanup_run_seconds",
        "Duration of the last cleanup run in seconds"
    );
    metrics::describe_gauge!(
        "latchkey_cleanup_last_success_timestamp_seconds",
        "Time of the last successful cleanup run in seconds since the Unix epoch"
    );
    metrics::describe_counter!(
        "latchkey_log_lines_dropped_total",
        "Log lines dropped because the reader of standard output is too slow"
    );
}

/// Sets constant metrics and starts the audit event counters at 0.
///
/// Without the start value, a rate would not include the first event.
fn initialize() {
    metrics::gauge!("latchkey_build_info", "version" => crate::VERSION).set(1.0);
    for kind in EventKind::ALL {
        metrics::counter!(
            "latchkey_audit_events_total",
            "event" => kind.as_str(),
            "outcome" => kind.outcome().as_str()
        )
        .increment(0);
    }
}

thread_local! {
    /// Histograms by operation and status.
    ///
    /// They are cached per thread, because each lookup in the metrics registry allocates label
    /// strings and takes a lock.
    static REQUEST_DURATIONS: RefCell<HashMap<(&'static str, u16), Histogram>> = RefCell::default();
}

/// Records the duration of a request.
pub fn record_request(operation: &'static str, status: u16, elapsed: Duration) {
    let register = || {
        metrics::histogram!(
            "latchkey_http_request_duration_seconds",
            "operation" => operation,
            "status" => status.to_string()
        )
    };
    REQUEST_DURATIONS.with_borrow_mut(|histograms| {
        histograms
            .entry((operation, status))
            .or_insert_with(register)
            .record(elapsed.as_secs_f64());
    });
}

/// Interval at which recorded samples are moved into histogram buckets.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(1);

/// Moves recorded samples into histogram buckets until the process exits.
///
/// Otherwise, samples would accumulate in memory while `/metrics` isn't scraped.
pub async fn run_upkeep(handle: Handle) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        let handle = handle.clone();
        // Runs on a blocking thread, because one run processes about 100,000 samples under load.
        let _ = tokio::task::spawn_blocking(move || handle.run_upkeep()).await;
    }
}

/// Serves `/metrics` and the details of `/health/ready`.
pub fn endpoint(handle: Handle, app: Arc<App>) -> impl Endpoint<Output = Response> {
    let page = make_sync(move |_| {
        Response::builder()
            .content_type("text/plain; version=0.0.4")
            .body(handle.render() + &process::render())
    });
    let readiness = make_sync(move |_| readiness::render(&app.lifecycle.readiness()));
    Route::new()
        .at("/metrics", get(page))
        .at("/health/ready", get(readiness))
        .map_to_response()
}
