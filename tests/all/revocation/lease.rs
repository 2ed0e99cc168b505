//! Tests of the lease and of the revocation log.

use deadpool_redis::redis::Client;
use futures_util::StreamExt;
use serde_json::json;

use super::{LONG, LogAccess, check_source, count_checks, count_enforced, wait_for_check_source};
use crate::{
    explain::says,
    outage::OwnRedis,
    test_server::{TestServer, wait_until},
    test_stores::{execute, query_value, redis_prefix},
};

#[tokio::test]
async fn check_from_memory_sends_nothing_to_redis() {
    let server = TestServer::with(&[LONG]).await;
    let (valid, revoked) = (server.sign_up("john").await, server.sign_in("john").await);
    server.sign_out(&revoked.access_token).await.is(204, "");
    wait_for_check_source(&server, "memory").await;
    let before = count_checks(&server).await;
    let client = Client::open(server.setting("REDIS_URL")).expect("a Redis URL");
    let mut commands = client
        .get_async_monitor()
        .await
        .expect("Redis responds")
        .into_on_message::<String>();
    for _ in 0..50 {
        assert_eq!(
            server.verify(&valid.access_token).await,
            (204, String::new())
        );
        assert_eq!(
            server.verify(&revoked.access_token).await,
            (401, "token_revoked".into())
        );
    }
    LogAccess::of(&server)
        .await
        .run::<String>(&["ECHO", "{}:the end"])
        .await;
    let end = format!("{}:{{rev}}:the end", redis_prefix(&server).await);
    while let Some(command) = commands.next().await {
        assert!(
            !command.contains(&valid.claim("sid")) && !command.contains(&revoked.claim("sid")),
            "{command}"
        );
        if command.contains(&end) {
            break;
        }
    }
    let after = count_checks(&server).await;
    assert_eq!(
        (after[0] - before[0], &after[1..]),
        (100.0, &before[1..]),
        "memory served all checks"
    );
}

#[tokio::test]
async fn zero_lease_checks_every_token_in_redis() {
    let with_lease = TestServer::with(&[LONG]).await;
    let server = with_lease.replica_with(&[("LATCHKEY_LEASE", "0s")]).await;
    wait_for_check_source(&server, "redis").await;
    wait_for_check_source(&with_lease, "memory").await;
    assert_eq!(
        LogAccess::of(&server).await.members().await.len(),
        1,
        "a replica without a lease isn't a member"
    );
    let (valid, revoked) = (server.sign_up("john").await, server.sign_in("john").await);
    with_lease.sign_out(&revoked.access_token).await.is(204, "");
    assert_eq!(
        server.verify(&valid.access_token).await,
        (204, String::new())
    );
    assert_eq!(
        server.verify(&revoked.access_token).await,
        (401, "token_revoked".into())
    );
    let [memory, redis, postgres, unavailable] = count_checks(&server).await;
    assert!(
        redis >= 2.0 && [memory, postgres, unavailable] == [0.0; 3],
        "checks in Redis: {redis}"
    );
    server.sign_out(&valid.access_token).await.is(204, "");
    assert_eq!(
        with_lease.verify(&valid.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn repeated_sign_out_adds_no_log_entries() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    server.sign_out(&session.access_token).await.is(204, "");
    let log_access = LogAccess::of(&server).await;
    let count_entries = async || {
        let log: Vec<(String, Vec<String>)> = log_access.run(&["XRANGE", "{}:log", "-", "+"]).await;
        log.iter()
            .filter(|(_, fields)| {
                fields
                    .iter()
                    .any(|field| field.contains(&session.claim("sid")))
            })
            .count()
    };
    assert_eq!(count_entries().await, 1);
    for _ in 0..20 {
        server.sign_out(&session.access_token).await.is(204, "");
    }
    assert_eq!(count_entries().await, 1);
    assert_eq!(
        query_value(&server, "select count(*) from revocations").await,
        "1"
    );
}

/// The log drops entries after 70 minutes. The revocation set keeps them until they expire.
#[tokio::test]
async fn trimmed_log_entries_stay_in_revocation_set() {
    let own_redis = OwnRedis::start();
    let redis = ("REDIS_URL", own_redis.redis.url());
    let server = TestServer::with(&[LONG, (redis.0, &redis.1)]).await;
    let (session, log_access) = (server.sign_up("john").await, LogAccess::of(&server).await);
    let entry = format!("session {} 1 9999999999", session.claim("sid"));
    // Appends the entry atomically as the first one, as the script did 70 minutes ago.
    let script = "redis.call('DEL', KEYS[2]); \
        local last = redis.call('HINCRBY', KEYS[1], 'last_seq', 1); \
        redis.call('HSET', KEYS[1], 'first_seq', last); \
        redis.call('XADD', KEYS[2], last .. '-0', 'at', 1, 'entry', ARGV[1]); \
        return last";
    let sequence: u64 = log_access
        .run(&["EVAL", script, "2", "{}:state", "{}:log", &entry])
        .await;
    let is_rejected =
        || async { server.verify(&session.access_token).await == (401, "token_revoked".into()) };
    wait_until("the revocation set contains the entry", is_rejected).await;
    let first_sequence = async || {
        log_access
            .run::<u64>(&["HGET", "{}:state", "first_seq"])
            .await
    };
    wait_until("the log no longer contains the entry", || async {
        first_sequence().await == sequence + 1
    })
    .await;
    // Redis itself doesn't contain the session, so only memory can reject the token.
    wait_until("the revocation set still contains the entry", || async {
        is_rejected().await && check_source(&server).await == "memory"
    })
    .await;
    let (epoch, other_user) = (log_access.epoch().await, server.sign_up("jane").await);
    server.sign_out(&other_user.access_token).await.is(204, "");
    assert_eq!(log_access.epoch().await, epoch, "the log wasn't rebuilt");
}

#[tokio::test]
async fn tokens_of_revoked_key_are_rejected_everywhere() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let (first, second) = (server.sign_up("john").await, replica.sign_up("jane").await);
    let row = "insert into revocations (kind, subject_id, reason, expires_at) \
        select 'key', kid, 'revoked', now() + interval '1 hour' from signing_keys";
    execute(&server, row).await;
    for replica in [&server, &replica] {
        for session in [&first, &second] {
            let is_rejected = || async {
                replica.verify(&session.access_token).await == (401, "token_revoked".into())
            };
            wait_until("tokens of the key are rejected", is_rejected).await;
        }
    }
    says(
        server.settings(),
        &first.access_token,
        "Rejected: the signing key was revoked at ",
    )
    .await;
}

#[tokio::test]
async fn single_token_can_be_revoked() {
    let server = TestServer::start().await;
    let (session, other_session) = (server.sign_up("john").await, server.sign_in("john").await);
    let (jti, exp) = (
        session.claims()["jti"].clone(),
        session.claims()["exp"].clone(),
    );
    let row = format!(
        "insert into revocations (kind, subject_id, user_id, reason, expires_at) \
         select 'token', '{}', id, 'revoked', to_timestamp({exp}) + interval '5 minutes' \
         from users",
        jti.as_str().expect("a token ID")
    );
    execute(&server, &row).await;
    let is_rejected =
        || async { server.verify(&session.access_token).await == (401, "token_revoked".into()) };
    wait_until("the token is rejected", is_rejected).await;
    assert_eq!(
        server.verify(&other_session.access_token).await,
        (204, String::new())
    );
    server.refresh(&session.refresh_token).await.is(200, "");
}

#[tokio::test]
async fn stopped_replica_deregisters_and_delays_no_revocation() {
    let server = TestServer::with(&[LONG]).await;
    let mut replica = server.replica().await;
    for replica in [&server, &replica] {
        wait_for_check_source(replica, "memory").await;
    }
    let log_access = LogAccess::of(&server).await;
    assert_eq!(log_access.members().await.len(), 2);
    assert_eq!(replica.stop(), Some(0));
    assert_eq!(log_access.members().await.len(), 1);
    let session = server.sign_up("john").await;
    server.sign_out(&session.access_token).await.is(204, "");
    assert_eq!(count_enforced(&server, "waited").await, 0.0);
}

#[tokio::test]
async fn propagation_probes_are_measured() {
    let server = TestServer::start().await;
    let is_measured = || async {
        crate::metrics::value(&server, "latchkey_revocation_propagation_seconds_count").await > 0.0
    };
    wait_until("a probe has arrived", is_measured).await;
    let is_lease_held =
        || async { crate::metrics::value(&server, "latchkey_lease_held").await == 1.0 };
    wait_until("a lease is held", is_lease_held).await;
}

/// The details are for operators: they name hosts and settings.
#[tokio::test]
async fn public_readiness_contains_only_the_status() {
    let server = TestServer::start().await;
    let public = server.get("/health/ready").await;
    assert_eq!(
        (public.status, public.body),
        (200, json!({"status": "ready"}))
    );
}

#[tokio::test]
async fn readiness_reports_check_source() {
    let server = TestServer::start().await;
    let is_healthy = || async {
        let ready = server.readiness().await;
        (
            ready.status,
            &ready.body["check_source"],
            &ready.body["degraded"],
        ) == (200, &json!("memory"), &json!([]))
    };
    wait_until("memory serves checks and nothing is degraded", is_healthy).await;
}
