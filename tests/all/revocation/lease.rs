//! The lease, and the log that it speaks of.

use deadpool_redis::redis::Client;
use futures_util::StreamExt;
use serde_json::json;

use super::{Behind, LONG, answered_by, checks, effects, until_checks_are_by};
use crate::{
    explain::says,
    outage::OwnRedis,
    test_server::{TestServer, until},
    test_stores::{ask, execute},
};

#[tokio::test]
async fn a_check_sends_nothing_to_redis() {
    let server = TestServer::with(&[LONG]).await;
    let (john, out) = (server.sign_up("john").await, server.sign_in("john").await);
    server.log_out(&out.access_token).await.is(204, "");
    until_checks_are_by(&server, "memory").await;
    let before = answered_by(&server).await;
    let client = Client::open(server.setting("REDIS_URL")).expect("an address");
    let mut heard = client
        .get_async_monitor()
        .await
        .expect("it responds")
        .into_on_message::<String>();
    for _ in 0..50 {
        assert_eq!(
            server.verify(&john.access_token).await,
            (204, String::new())
        );
        assert_eq!(
            server.verify(&out.access_token).await,
            (401, "token_revoked".into())
        );
    }
    Behind::of(&server)
        .await
        .tell::<String>(&["ECHO", "{}:the end"])
        .await;
    let end = format!(
        "{}:{{rev}}:the end",
        server.setting("LATCHKEY_REDIS_PREFIX")
    );
    while let Some(line) = heard.next().await {
        assert!(
            !line.contains(&john.claim("sid")) && !line.contains(&out.claim("sid")),
            "{line}"
        );
        if line.contains(&end) {
            break;
        }
    }
    let after = answered_by(&server).await;
    assert_eq!(
        (after[0] - before[0], &after[1..]),
        (100.0, &before[1..]),
        "all by memory"
    );
}

#[tokio::test]
async fn without_a_lease_each_check_asks_redis_and_is_told_the_same() {
    let other = TestServer::with(&[LONG]).await;
    let server = other.replica_with(&[("LATCHKEY_LEASE", "0s")]).await;
    until_checks_are_by(&server, "redis").await;
    until_checks_are_by(&other, "memory").await;
    assert_eq!(
        Behind::of(&server).await.members().await.len(),
        1,
        "who has no lease is waited for by nobody"
    );
    let (john, out) = (server.sign_up("john").await, server.sign_in("john").await);
    other.log_out(&out.access_token).await.is(204, "");
    assert_eq!(
        server.verify(&john.access_token).await,
        (204, String::new())
    );
    assert_eq!(
        server.verify(&out.access_token).await,
        (401, "token_revoked".into())
    );
    let [memory, redis, record, nobody] = answered_by(&server).await;
    assert!(
        redis >= 2.0 && [memory, record, nobody] == [0.0; 3],
        "{redis} by Redis"
    );
    server.log_out(&john.access_token).await.is(204, "");
    assert_eq!(
        other.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn a_leaked_token_that_signs_out_again_and_again_grows_nothing() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    server.log_out(&john.access_token).await.is(204, "");
    let behind = Behind::of(&server).await;
    let of_john = async || {
        let log: Vec<(String, Vec<String>)> = behind.tell(&["XRANGE", "{}:log", "-", "+"]).await;
        log.iter()
            .filter(|(_, fields)| {
                fields
                    .iter()
                    .any(|field| field.contains(&john.claim("sid")))
            })
            .count()
    };
    assert_eq!(of_john().await, 1);
    for _ in 0..20 {
        server.log_out(&john.access_token).await.is(204, "");
    }
    assert_eq!(of_john().await, 1);
    assert_eq!(ask(&server, "select count(*) from revocations").await, "1");
}

/// Seventy minutes old: no token can be as old.
#[tokio::test]
async fn old_entries_leave_the_log_and_stay_in_memory_for_their_time() {
    let own = OwnRedis::start();
    let redis = ("REDIS_URL", own.redis.url());
    let first = TestServer::with(&[LONG, (redis.0, &redis.1)]).await;
    let (john, behind) = (first.sign_up("john").await, Behind::of(&first).await);
    let entry = format!("sid {} 1 9999999999", john.claim("sid"));
    // In one step, and first of all, as the script would have seventy minutes ago; the log is that
    // long again.
    let script = "redis.call('DEL', KEYS[2]); \
        local last = redis.call('HINCRBY', KEYS[1], 'last_seq', 1); \
        redis.call('HSET', KEYS[1], 'first_seq', last); \
        redis.call('XADD', KEYS[2], last .. '-0', 'at', 1, 'entry', ARGV[1]); \
        return last";
    let number: u64 = behind
        .tell(&["EVAL", script, "2", "{}:state", "{}:log", &entry])
        .await;
    let refused =
        || async { first.verify(&john.access_token).await == (401, "token_revoked".into()) };
    until("memory has it", refused).await;
    let first_number = async || behind.tell::<u64>(&["HGET", "{}:state", "first_seq"]).await;
    until("the log has let it go", || async {
        first_number().await == number + 1
    })
    .await;
    // Redis does not refuse it.
    until("memory still has it", || async {
        refused().await && checks(&first).await == "memory"
    })
    .await;
    let (epoch, jane) = (behind.epoch().await, first.sign_up("jane").await);
    first.log_out(&jane.access_token).await.is(204, "");
    assert_eq!(
        behind.epoch().await,
        epoch,
        "the log was whole all the time"
    );
}

#[tokio::test]
async fn all_tokens_of_a_key_that_was_taken_back_are_refused_everywhere() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let (john, jane) = (server.sign_up("john").await, replica.sign_up("jane").await);
    let row = "insert into revocations (kind, subject_id, reason, expires_at) \
        select 'key', kid, 'revoked', now() + interval '1 hour' from signing_keys";
    execute(&server, row).await;
    for replica in [&server, &replica] {
        for session in [&john, &jane] {
            let refused = || async {
                replica.verify(&session.access_token).await == (401, "token_revoked".into())
            };
            until("the key is refused", refused).await;
        }
    }
    says(
        server.settings(),
        &john.access_token,
        "Rejected: the signing key was revoked at ",
    )
    .await;
}

#[tokio::test]
async fn a_single_token_can_be_taken_back() {
    let server = TestServer::start().await;
    let (john, other) = (server.sign_up("john").await, server.sign_in("john").await);
    let (jti, exp) = (john.claims()["jti"].clone(), john.claims()["exp"].clone());
    let row = format!(
        "insert into revocations (kind, subject_id, user_id, reason, expires_at) \
         select 'token', '{}', id, 'revoked', to_timestamp({exp}) + interval '5 minutes' \
         from users",
        jti.as_str().expect("an id")
    );
    execute(&server, &row).await;
    let refused =
        || async { server.verify(&john.access_token).await == (401, "token_revoked".into()) };
    until("the token is refused", refused).await;
    assert_eq!(
        server.verify(&other.access_token).await,
        (204, String::new())
    );
    server.refresh(&john.refresh_token).await.is(200, "");
}

#[tokio::test]
async fn a_clean_stop_leaves_the_members_and_keeps_nobody_waiting() {
    let server = TestServer::with(&[LONG]).await;
    let mut replica = server.replica().await;
    for replica in [&server, &replica] {
        until_checks_are_by(replica, "memory").await;
    }
    let behind = Behind::of(&server).await;
    assert_eq!(behind.members().await.len(), 2);
    assert_eq!(replica.stop(), Some(0));
    assert_eq!(behind.members().await.len(), 1);
    let john = server.sign_up("john").await;
    server.log_out(&john.access_token).await.is(204, "");
    assert_eq!(effects(&server, "waited").await, 0.0);
}

#[tokio::test]
async fn canaries_tell_how_fast_entries_arrive() {
    let server = TestServer::start().await;
    let measured = || async {
        crate::metrics::value(&server, "latchkey_revocation_propagation_seconds_count").await > 0.0
    };
    until("one has arrived", measured).await;
    let held = || async { crate::metrics::value(&server, "latchkey_lease_held").await == 1.0 };
    until("a lease is held", held).await;
}

#[tokio::test]
async fn readiness_says_who_answers_checks() {
    let server = TestServer::start().await;
    let whole = || async {
        let ready = server.get("/health/ready").await;
        (
            ready.status,
            &ready.body["check_source"],
            &ready.body["degraded"],
        ) == (200, &json!("memory"), &json!([]))
    };
    until("memory serves checks and nothing is degraded", whole).await;
}
