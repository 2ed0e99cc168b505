//! `/metrics`, on a listener of its own, away from the public.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use metrics::Histogram;
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use poem::{Endpoint, EndpointExt, Response, Route, endpoint::make_sync, get};

/// Seconds; from a cached check to the longest wait for a hash.
const BUCKETS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// What was collected.
pub type Handle = PrometheusHandle;

/// Starts to collect, for the whole process.
///
/// # Errors
/// When something collects already.
pub fn install() -> Result<Handle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), BUCKETS)?
        .install_recorder()?;
    describe();
    Ok(handle)
}

fn describe() {
    metrics::describe_histogram!(
        "latchkey_http_request_duration_seconds",
        "Time to answer, by operation and status"
    );
    metrics::describe_counter!(
        "latchkey_client_tokens_total",
        "Access tokens that OAuth clients had for themselves"
    );
    metrics::describe_gauge!("latchkey_http_connections", "Open connections by listener");
    metrics::describe_counter!(
        "latchkey_token_cache_total",
        "Looks for a token among those whose signature was found right, by outcome; a miss costs a \
         signature check"
    );
    metrics::describe_counter!("latchkey_sign_ins_total", "Sign-ins by outcome");
    metrics::describe_counter!(
        "latchkey_refreshes_total",
        "Refreshes by outcome; reused means that a session was ended"
    );
    metrics::describe_counter!(
        "latchkey_revocations_total",
        "Published revocations by kind"
    );
    metrics::describe_counter!(
        "latchkey_session_restores_total",
        "Sessions taken in again from PostgreSQL, by outcome"
    );
    metrics::describe_counter!(
        "latchkey_revocations_republished_total",
        "Revocations that memory lacked, published from the record"
    );
    describe_revocation();
    describe_feed();
    describe_keys();
    describe_housekeeping();
}

fn describe_housekeeping() {
    metrics::describe_gauge!(
        "latchkey_refresh_writes_pending",
        "Sessions whose refresh waits to be recorded"
    );
    metrics::describe_counter!("latchkey_emails_total", "Mails by outcome");
    metrics::describe_counter!(
        "latchkey_rate_limit_decisions_total",
        "Tries by limit and outcome; refunded ones were allowed, and do not count"
    );
    metrics::describe_counter!(
        "latchkey_cleanup_removed_total",
        "Rows that were over and are removed, by kind; months of the audit as a whole"
    );
    metrics::describe_gauge!(
        "latchkey_cleanup_run_seconds",
        "How long the last run of the janitor took"
    );
    metrics::describe_gauge!(
        "latchkey_cleanup_last_success_timestamp_seconds",
        "When the janitor last did all of its work, in seconds since the epoch"
    );
    metrics::describe_histogram!(
        "latchkey_hash_wait_seconds",
        "Time that a password waited for a hash thread"
    );
    metrics::describe_gauge!(
        "latchkey_hash_queue",
        "Passwords that wait for a hash thread"
    );
    metrics::describe_gauge!(
        "latchkey_store_up",
        "1 where the store answered when last seen"
    );
    metrics::describe_gauge!(
        "latchkey_postgres_connections",
        "Connections to PostgreSQL by state"
    );
}

fn describe_feed() {
    metrics::describe_gauge!(
        "latchkey_revocation_streams",
        "Open streams of what is taken back"
    );
    metrics::describe_counter!(
        "latchkey_revocation_stream_events_total",
        "What readers of such streams were told, by event"
    );
    metrics::describe_counter!(
        "latchkey_revocation_streams_closed_total",
        "Streams that ended, by why; behind means that the reader took too little"
    );
}

fn describe_keys() {
    metrics::describe_gauge!(
        "latchkey_signing_keys",
        "Signing keys by where they are in their life"
    );
    metrics::describe_gauge!(
        "latchkey_signing_key_age_seconds",
        "For how long the key that signs has signed"
    );
    metrics::describe_counter!(
        "latchkey_signing_key_reloads_total",
        "Readings of the signing keys from the record"
    );
}

fn describe_revocation() {
    metrics::describe_counter!(
        "latchkey_checks_total",
        "Looks whether a token was taken back, by who answered; none means 503"
    );
    metrics::describe_gauge!(
        "latchkey_lease_held",
        "1 where checks are answered from memory"
    );
    metrics::describe_gauge!(
        "latchkey_revocation_entries",
        "What was taken back and is in memory"
    );
    metrics::describe_histogram!(
        "latchkey_revocation_enforcement_seconds",
        "From publishing something that was taken back until no replica accepts it: acknowledged \
         by all, or waited out"
    );
    metrics::describe_histogram!(
        "latchkey_revocation_propagation_seconds",
        "How long an entry takes to every replica, by one that says nothing, sent every few seconds"
    );
}

thread_local! {
    /// By operation and status. To look one up in the registry of all metrics means new texts and a
    /// lock each time.
    static ANSWERS: RefCell<HashMap<(&'static str, u16), Histogram>> = RefCell::default();
}

/// Counts an answer, and how long it took.
pub fn answered(operation: &'static str, status: u16, elapsed: Duration) {
    let register = || {
        metrics::histogram!(
            "latchkey_http_request_duration_seconds",
            "operation" => operation,
            "status" => status.to_string()
        )
    };
    ANSWERS.with_borrow_mut(|answers| {
        answers
            .entry((operation, status))
            .or_insert_with(register)
            .record(elapsed.as_secs_f64());
    });
}

/// How often samples are folded into their buckets.
const UPKEEP: Duration = Duration::from_secs(1);

/// Folds samples into their buckets until the process ends: nobody may ever ask for the page, and
/// they must not pile up.
pub async fn keep_up(handle: Handle) {
    loop {
        tokio::time::sleep(UPKEEP).await;
        let handle = handle.clone();
        // Beside the threads that answer: under load that is a hundred thousand samples.
        let _ = tokio::task::spawn_blocking(move || handle.run_upkeep()).await;
    }
}

/// The page.
pub fn endpoint(handle: Handle) -> impl Endpoint<Output = Response> {
    let page = make_sync(move |_| {
        Response::builder()
            .content_type("text/plain; version=0.0.4")
            .body(handle.render())
    });
    Route::new().at("/metrics", get(page)).map_to_response()
}
