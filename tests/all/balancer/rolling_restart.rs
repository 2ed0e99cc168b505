//! Replicas go and come while people work.

use reqwest::Method;

use super::{
    load::{Failure, Load, Tally},
    pool::{Kind, Pool},
};
use crate::{test_server::until, test_stores::ask};

/// At once. More than replicas, so that each has several connections.
const PEOPLE: usize = 8;

/// What was lost meanwhile, for whoever reads along.
fn summary(what: &str, kind: Kind, tally: &Tally) {
    let (sent, failed, took) = (tally.sent, tally.failures.len(), tally.took.as_secs_f64());
    println!("{what} behind {kind:?}: {sent} requests sent, {failed} failed, {took:.1} s");
}

/// Until so many more were sent: the load has come to rest on what there is now.
async fn go_on(load: &Load, requests: usize) {
    let enough = load.sent() + requests;
    until("the load goes on", || async { load.sent() >= enough }).await;
}

async fn rolling_restart(kind: Kind) {
    let mut pool = Pool::with(&[("LATCHKEY_DRAIN_DELAY", "2s")]).await;
    let balancer = pool.behind(kind).await;
    let load = Load::begin(&pool.replicas[0], balancer.address, PEOPLE).await;
    for number in 0..pool.replicas.len() {
        go_on(&load, 100).await;
        pool.replace(number).await;
    }
    go_on(&load, 100).await;
    let tally = load.end().await;
    summary("rolling restart", kind, &tally);
    // Which it tells, unlike nginx: so that its silence elsewhere says something.
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
        ask(&pool.replicas[0], "select count(*) from items").await,
        tally.kept.to_string(),
        "each made once"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_nginx_loses_nothing() {
    rolling_restart(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_restart_behind_haproxy_loses_nothing() {
    rolling_restart(Kind::HaProxy).await;
}

/// What was in flight and may not be sent twice; and what was done, and sent again, so that it was
/// there no more. Where it was on a connection that HAProxy had used before, that hangs up on the
/// client without a word, so that the client decides.
fn is_the_price(failure: &Failure) -> bool {
    match failure.status {
        Some(502) | None => [Method::POST, Method::PATCH].contains(&failure.method),
        Some(404) => failure.method == Method::DELETE,
        _ => false,
    }
}

async fn killed(kind: Kind) {
    // A refresh whose answer was lost is asked for again a whole round later.
    let mut pool = Pool::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "60s")]).await;
    let balancer = pool.behind(kind).await;
    let load = Load::begin(&pool.replicas[0], balancer.address, PEOPLE).await;
    go_on(&load, 100).await;
    pool.replicas[1].kill();
    go_on(&load, 400).await;
    let tally = load.end().await;
    summary("a replica killed", kind, &tally);
    assert!(
        tally.failures.iter().all(is_the_price),
        "{:#?}\n{}",
        tally.failures,
        balancer.errors()
    );
    assert!(
        tally.failures.len() <= PEOPLE,
        "each had one request in flight: {:#?}",
        tally.failures
    );
    let lost = |path: &str| {
        tally
            .failures
            .iter()
            .filter(|failure| failure.path == path)
            .count()
    };
    let there: usize = ask(&pool.replicas[0], "select count(*) from items")
        .await
        .parse()
        .expect("a number");
    // A deletion that was made and sent again was told that there is nothing.
    let gone = tally
        .failures
        .iter()
        .filter(|failure| failure.method == Method::DELETE)
        .count();
    let kept = tally.kept - gone;
    assert!(
        (kept..=kept + lost("/items")).contains(&there),
        "{there} for {kept}: none made twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_costs_nginx_only_what_may_not_be_sent_twice() {
    killed(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_replica_costs_haproxy_only_what_may_not_be_sent_twice() {
    killed(Kind::HaProxy).await;
}
