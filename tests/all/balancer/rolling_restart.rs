//! Replicas are restarted or killed under load.

use reqwest::Method;

use super::{
    load::{Failure, Load, Tally},
    pool::{Kind, Pool},
};
use crate::{test_server::wait_until, test_stores::query_value};

/// More than the number of replicas, so that each replica has several connections.
const USER_COUNT: usize = 8;

fn print_summary(event: &str, kind: Kind, tally: &Tally) {
    let (sent, failed) = (tally.sent, tally.failures.len());
    let seconds = tally.duration.as_secs_f64();
    println!("{event} behind {kind:?}: {sent} requests sent, {failed} failed, {seconds:.1} s");
}

/// Waits for further requests, so that the load uses the current replicas.
async fn wait_for_requests(load: &Load, count: usize) {
    let goal = load.sent() + count;
    wait_until("further requests are sent", || async {
        load.sent() >= goal
    })
    .await;
}

async fn rolling_restart(kind: Kind) {
    let mut pool = Pool::with(&[("LATCHKEY_DRAIN_DELAY", "2s")]).await;
    let balancer = pool.behind(kind).await;
    let load = Load::start(&pool.replicas[0], balancer.address, USER_COUNT).await;
    for number in 0..pool.replicas.len() {
        wait_for_requests(&load, 100).await;
        pool.replace(number).await;
    }
    wait_for_requests(&load, 100).await;
    let tally = load.stop().await;
    print_summary("rolling restart", kind, &tally);
    // HAProxy logs the removal of a server. Other tests assert that this line is absent.
    assert!(
        kind == Kind::Nginx || balancer.errors().contains("is DOWN"),
        "{}",
        balancer.errors()
    );
    assert!(
        tally.failures.is_empty(),
        "{:#?}\n{}",
        tally.failures,
        balancer.errors()
    );
    assert_eq!(
        query_value(&pool.replicas[0], "select count(*) from items").await,
        tally.kept.to_string(),
        "each item is created once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_behind_nginx_loses_no_request() {
    rolling_restart(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restart_behind_haproxy_loses_no_request() {
    rolling_restart(Kind::HaProxy).await;
}

/// Returns whether a killed replica explains the failure.
///
/// The balancers do not repeat POST and PATCH, so requests in flight fail. On a reused connection,
/// HAProxy closes the client's connection without a response, so that the client can decide. A
/// DELETE that the replica executed and the balancer repeated returns 404.
fn is_expected_failure(failure: &Failure) -> bool {
    match failure.status {
        Some(502) | None => [Method::POST, Method::PATCH].contains(&failure.method),
        Some(404) => failure.method == Method::DELETE,
        _ => false,
    }
}

async fn kill_replica(kind: Kind) {
    // A refresh whose response was lost is retried one round later.
    let mut pool = Pool::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "60s")]).await;
    let balancer = pool.behind(kind).await;
    let load = Load::start(&pool.replicas[0], balancer.address, USER_COUNT).await;
    wait_for_requests(&load, 100).await;
    pool.replicas[1].kill();
    wait_for_requests(&load, 400).await;
    let tally = load.stop().await;
    print_summary("killed replica", kind, &tally);
    assert!(
        tally.failures.iter().all(is_expected_failure),
        "{:#?}\n{}",
        tally.failures,
        balancer.errors()
    );
    assert!(
        tally.failures.len() <= USER_COUNT,
        "each user has one request in flight: {:#?}",
        tally.failures
    );
    let count_failures = |path: &str| {
        tally
            .failures
            .iter()
            .filter(|failure| failure.path == path)
            .count()
    };
    let existing: usize = query_value(&pool.replicas[0], "select count(*) from items")
        .await
        .parse()
        .expect("a number");
    // A repeated deletion got 404, although the item was deleted.
    let deleted = tally
        .failures
        .iter()
        .filter(|failure| failure.method == Method::DELETE)
        .count();
    let kept = tally.kept - deleted;
    assert!(
        (kept..=kept + count_failures("/items")).contains(&existing),
        "{existing} items for {kept}: none is created twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_replica_behind_nginx_fails_only_requests_in_flight() {
    kill_replica(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_replica_behind_haproxy_fails_only_requests_in_flight() {
    kill_replica(Kind::HaProxy).await;
}
