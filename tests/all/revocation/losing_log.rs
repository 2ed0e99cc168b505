//! Tests of an unreliable Redis that lost the log, evicts keys, or contains unknown entries.
//!
//! Replicas never accept a revoked token and never reject a valid one meanwhile.

use futures_util::future::join_all;

use latchkey::postgres::{Postgres, PostgresTimeouts};

use super::{LogAccess, check_source, count_checks, wait_for_check_source};
use crate::{
    metrics::value,
    operator,
    outage::OwnRedis,
    test_server::{Session, TestServer, wait_until},
    test_stores::{execute, own_stack, query_value, redis_prefix},
};

/// Two replicas that serve checks from memory, and a user with a valid and a revoked session.
struct Fixture {
    own_redis: OwnRedis,
    server: TestServer,
    replica: TestServer,
    valid: Session,
    revoked: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        let own_redis = OwnRedis::start();
        let server = TestServer::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
        let replica = server.replica().await;
        let (valid, revoked) = (server.sign_up("john").await, server.sign_in("john").await);
        server.sign_out(&revoked.access_token).await.is(204, "");
        let fixture = Fixture {
            own_redis,
            server,
            replica,
            valid,
            revoked,
        };
        fixture.wait_for_memory().await;
        fixture
    }

    async fn wait_for_memory(&self) {
        for replica in [&self.server, &self.replica] {
            self.wait_for_source(replica, "memory").await;
        }
    }

    /// Waits for a check source and asserts the result of checks meanwhile.
    async fn wait_for_source(&self, replica: &TestServer, source: &str) {
        let is_served = || async {
            assert_eq!(
                replica.verify(&self.revoked.access_token).await,
                (401, "token_revoked".into()),
                "revoked without interruption"
            );
            assert_eq!(
                replica.verify(&self.valid.access_token).await,
                (204, String::new()),
                "valid without interruption"
            );
            check_source(replica).await == source
        };
        wait_until(source, is_served).await;
    }

    async fn degraded(&self) -> String {
        self.server.readiness().await.body["degraded"].to_string()
    }

    async fn wait_for_degraded(&self, part: &str) {
        wait_until(part, || async { self.degraded().await.contains(part) }).await;
    }

    /// Asserts that one replica rejects a session that another replica has revoked.
    async fn assert_sign_out_works(&self) {
        let session = self.server.sign_in("john").await;
        self.server
            .sign_out(&session.access_token)
            .await
            .is(204, "");
        assert_eq!(
            self.replica.verify(&session.access_token).await,
            (401, "token_revoked".into())
        );
    }
}

/// The epoch ID of another Redis server.
const OTHER_EPOCH: &str = "0123456789abcdef0123456789abcdef01234567:1";

#[tokio::test]
async fn lost_log_is_rebuilt_from_postgres() {
    let fixture = Fixture::new().await;
    let log_access = LogAccess::of(&fixture.server).await;
    for loss in [
        &["FLUSHALL"][..],
        &["DEL", "{}:log"],
        &["DEL", "{}:state"],
        &["XTRIM", "{}:log", "MAXLEN", "0"],
        &["HSET", "{}:state", "last_seq", "0"],
        &["HSET", "{}:state", "epoch_id", OTHER_EPOCH],
    ] {
        let epoch = log_access.epoch().await;
        log_access.run::<deadpool_redis::redis::Value>(loss).await;
        let is_rebuilt = || async {
            log_access
                .epoch()
                .await
                .is_some_and(|current| current != OTHER_EPOCH && Some(current) != epoch)
        };
        wait_until("the log is rebuilt", is_rebuilt).await;
        fixture.wait_for_memory().await;
        fixture.assert_sign_out_works().await;
        let new_replica = fixture.server.replica().await;
        wait_for_check_source(&new_replica, "memory").await;
        assert_eq!(
            new_replica.verify(&fixture.revoked.access_token).await,
            (401, "token_revoked".into()),
            "{loss:?}"
        );
    }
    let warning = ["WARN", "revocation log missing in Redis; rebuilding"];
    wait_until("a replica has logged the loss", || async {
        fixture.server.has_logged(&warning) || fixture.replica.has_logged(&warning)
    })
    .await;
}

/// Redis contains a log, a fence, a user, and a session with the field names of older versions.
#[tokio::test]
async fn keys_of_an_older_version_are_ignored() {
    let own_redis = OwnRedis::start();
    let mut stopped_server = TestServer::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
    let session = stopped_server.sign_up("john").await;
    let log_access = LogAccess::of(&stopped_server).await;
    let epoch = log_access.epoch().await.expect("an epoch ID");
    let user_key = format!(
        "{}:{{{}}}",
        redis_prefix(&stopped_server).await,
        session.claim("sub")
    );
    let session_key = format!("{user_key}:session:{}", session.claim("sid"));
    let settings = stopped_server.settings();
    assert_eq!(stopped_server.stop(), Some(0));
    own_redis.command::<String>(&["FLUSHALL"]).await;
    let state = [
        "lease_ms", "250", "first", "1", "last", "1", "beat", "7", "m:a", "1:7",
    ];
    let state = [&["HSET", "{}:state", "epoch", &epoch][..], &state].concat();
    log_access.run::<u64>(&state).await;
    log_access
        .run::<String>(&["SET", "{}:building", &epoch])
        .await;
    own_redis
        .command::<u64>(&[
            "HSET",
            &format!("{user_key}:user"),
            "gen",
            "1",
            "version",
            "1",
            "identity",
            "{}",
        ])
        .await;
    own_redis
        .command::<u64>(&[
            "HSET",
            &session_key,
            "counter",
            "5",
            "gen",
            "1",
            "home",
            &epoch[..40],
        ])
        .await;
    let server = TestServer::run(settings).await;
    wait_for_check_source(&server, "memory").await;
    assert_eq!(log_access.members().await.len(), 1);
    let refreshed = Session::of(&server.refresh(&session.refresh_token).await);
    server.sign_out(&refreshed.access_token).await.is(204, "");
    assert_eq!(
        server.verify(&refreshed.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn evicting_redis_serves_no_checks() {
    let fixture = Fixture::new().await;
    let log_access = LogAccess::of(&fixture.server).await;
    let epoch = async || log_access.epoch().await;
    for setting in [["maxmemory", "1gb"], ["maxmemory-policy", "allkeys-lru"]] {
        fixture
            .own_redis
            .command::<String>(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    for replica in [&fixture.server, &fixture.replica] {
        fixture.wait_for_source(replica, "postgres").await;
    }
    fixture
        .wait_for_degraded("`maxmemory-policy` of Redis to `noeviction`")
        .await;
    fixture.assert_sign_out_works().await;
    assert_eq!(
        epoch().await,
        None,
        "the log is deleted, because Redis could have evicted entries"
    );
    fixture
        .own_redis
        .command::<String>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    fixture.wait_for_memory().await;
    wait_until("nothing is degraded", || async {
        fixture.degraded().await == "[]"
    })
    .await;
}

/// Simulates a former primary without followers (`min-replicas-to-write`). Its data can be stale,
/// so a missing revocation proves nothing.
#[tokio::test]
async fn read_only_redis_serves_no_checks() {
    let own_redis = OwnRedis::start();
    let server = TestServer::with(&[
        ("REDIS_URL", &own_redis.redis.url()),
        ("LATCHKEY_LEASE", "0s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    wait_for_check_source(&server, "redis").await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (204, String::new())
    );
    own_redis
        .command::<String>(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    let [_, before, ..] = count_checks(&server).await;
    for _ in 0..3 {
        assert_eq!(
            server.verify(&session.access_token).await,
            (204, String::new()),
            "PostgreSQL serves the check"
        );
    }
    let [_, redis, postgres, _] = count_checks(&server).await;
    assert!(
        redis == before && postgres >= 3.0,
        "checks in Redis: {redis}, in PostgreSQL: {postgres}"
    );
}

/// A read-only PostgreSQL can be a former primary or a standby, whose data can be stale.
#[tokio::test]
async fn read_only_postgres_serves_no_checks() {
    let own_redis = OwnRedis::start();
    let server = TestServer::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
    let session = server.sign_up("john").await;
    for setting in [["maxmemory", "1gb"], ["maxmemory-policy", "allkeys-lru"]] {
        own_redis
            .command::<String>(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    wait_for_check_source(&server, "postgres").await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (204, String::new())
    );
    let name = query_value(&server, "select current_database()").await;
    execute(
        &server,
        &format!("alter database {name} set default_transaction_read_only = on"),
    )
    .await;
    // Closes the connections, because the setting applies only to new ones.
    let close_connections = "select pg_terminate_backend(pid) from pg_stat_activity \
        where datname = current_database() and pid <> pg_backend_pid()";
    execute(&server, close_connections).await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (503, "unavailable".into())
    );
    let reset = format!(
        "begin read write; alter database {name} reset default_transaction_read_only; commit"
    );
    execute(&server, &reset).await;
    wait_until("PostgreSQL serves checks again", || async {
        server.verify(&session.access_token).await.0 == 204
    })
    .await;
}

/// The test holds the rebuild lock but doesn't rebuild the log. PostgreSQL releases the lock of an
/// idle rebuilder, so another replica rebuilds the log.
#[tokio::test]
async fn stalled_rebuilder_is_replaced() {
    let own_redis = OwnRedis::start();
    let server = TestServer::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
    let session = server.sign_up("john").await;
    let timeout = std::time::Duration::from_secs(10);
    let timeouts = PostgresTimeouts {
        transaction: timeout,
        connect: timeout,
    };
    let url = server.setting("DATABASE_URL").into();
    let postgres =
        Postgres::new(&url, Box::new(|| None), 10, timeouts, None).expect("a database URL");
    let lock = postgres
        .lock_log()
        .await
        .expect("PostgreSQL responds")
        .expect("the rebuild lock is free");
    own_redis.command::<String>(&["FLUSHALL"]).await;
    server
        .sign_out(&session.access_token)
        .await
        .is(503, "unavailable");
    assert!(
        postgres
            .lock_log()
            .await
            .expect("PostgreSQL responds")
            .is_none(),
        "one rebuilder at a time"
    );
    wait_until("another replica has rebuilt the log", || async {
        server.sign_out(&session.access_token).await.status == 204
    })
    .await;
    drop(lock);
}

/// Without access to the notification channel, replicas read new entries at the next lease renewal.
#[tokio::test]
async fn missing_channel_keeps_revocation_immediate() {
    let own_redis = OwnRedis::start();
    own_redis
        .command::<String>(&["ACL", "SETUSER", "default", "resetchannels"])
        .await;
    let server = TestServer::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
    let replica = server.replica().await;
    wait_for_check_source(&replica, "memory").await;
    for name in ["john", "jane"] {
        let session = server.sign_up(name).await;
        server.sign_out(&session.access_token).await.is(204, "");
        assert_eq!(
            replica.verify(&session.access_token).await,
            (401, "token_revoked".into())
        );
    }
}

/// A replica crashed after it had committed a revocation and before it published it. Later the log
/// is lost, but Redis still contains the session.
#[tokio::test]
async fn rebuilt_log_rejects_refresh_of_revoked_session() {
    let fixture = Fixture::new().await;
    let revocation = "update sessions set revoked_at = now(), revoked_reason = 'sign_out' \
            where revoked_at is null; \
        insert into revocations (kind, subject_id, user_id, reason, revoked_at, expires_at) \
        select 'session', id, user_id, 'sign_out', now() - interval '10 minutes', \
            now() + interval '1 hour' \
        from sessions on conflict do nothing";
    execute(&fixture.server, revocation).await;
    let log_access = LogAccess::of(&fixture.server).await;
    let before = log_access.epoch().await;
    log_access.run::<u8>(&["DEL", "{}:state"]).await;
    let is_rebuilt = || async {
        log_access
            .epoch()
            .await
            .is_some_and(|current| Some(current) != before)
    };
    wait_until("the log is rebuilt", is_rebuilt).await;
    fixture
        .server
        .refresh(&fixture.valid.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        fixture
            .replica
            .refresh(&fixture.valid.refresh_token)
            .await
            .status,
        401
    );
}

/// The entry belongs to a newer version. A replica that can't read all revocations must not serve
/// checks from memory.
#[tokio::test]
async fn unknown_entry_prevents_lease() {
    let fixture = Fixture::new().await;
    let log_access = LogAccess::of(&fixture.server).await;
    let script = "local last = redis.call('HINCRBY', KEYS[1], 'last_seq', 1); \
        return redis.call('XADD', KEYS[2], last .. '-0', \
        'at', redis.call('TIME')[1] * 1000, 'entry', 'planet 9 1 9999999999')";
    log_access
        .run::<String>(&["EVAL", script, "2", "{}:state", "{}:log"])
        .await;
    for replica in [&fixture.server, &fixture.replica] {
        wait_for_check_source(replica, "unavailable").await;
        for session in [&fixture.valid, &fixture.revoked] {
            assert_eq!(
                replica.verify(&session.access_token).await,
                (503, "unavailable".into()),
                "the unknown entry could revoke this token"
            );
        }
    }
    fixture.wait_for_degraded("newer version of Latchkey").await;
    // The replicas retry and register as members for a short time, so the test waits for a moment
    // without members.
    wait_until("no replica is a member", || async {
        log_access.members().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn both_stores_down_reject_all_checks_after_lease() {
    let (mut own_redis, (mut stack, url)) = (OwnRedis::start(), own_stack());
    let server = TestServer::with(&[
        ("REDIS_URL", &own_redis.redis.url()),
        ("DATABASE_URL", &url),
    ])
    .await;
    let session = server.sign_up("john").await;
    stack.postgres.kill();
    own_redis.redis.kill();
    let is_unavailable =
        || async { server.verify(&session.access_token).await == (503, "unavailable".into()) };
    wait_until("checks are unavailable", is_unavailable).await;
    assert!(count_checks(&server).await[3] > 0.0);
    own_redis.redis.restart().expect("Redis starts");
    assert!(
        is_unavailable().await,
        "an empty Redis can't serve the check"
    );
    stack.postgres.restart().expect("PostgreSQL starts");
    wait_for_check_source(&server, "memory").await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (204, String::new())
    );
}

/// PostgreSQL is paused. The number of waiting checks is bounded, and the server rejects further
/// checks immediately.
#[tokio::test]
async fn checks_beyond_waiting_limit_return_busy() {
    let (mut own_redis, (stack, url)) = (OwnRedis::start(), own_stack());
    let server = TestServer::with(&[
        ("REDIS_URL", &own_redis.redis.url()),
        ("DATABASE_URL", &url),
    ])
    .await;
    let session = server.sign_up("john").await;
    own_redis.redis.kill();
    wait_for_check_source(&server, "postgres").await;
    stack.postgres.pause();
    let responses = join_all((0..1100).map(|_| server.verify(&session.access_token))).await;
    stack.postgres.resume();
    let count = |code: &str| {
        responses
            .iter()
            .filter(|response| **response == (503, code.to_owned()))
            .count()
    };
    assert_eq!(
        count("busy") + count("unavailable"),
        1100,
        "no check succeeds"
    );
    assert!(
        count("busy") > 0 && count("unavailable") > 0,
        "{} busy",
        count("busy")
    );
}

#[tokio::test]
async fn rebuild_applies_new_lease_to_all_replicas() {
    let server = TestServer::with(&[("LATCHKEY_LEASE", "100ms")]).await;
    let replica = server.replica_with(&[("LATCHKEY_LEASE", "300ms")]).await;
    wait_for_check_source(&replica, "memory").await;
    let revoked = server.sign_up("john").await;
    server.sign_out(&revoked.access_token).await.is(204, "");
    let degraded =
        async |replica: &TestServer| replica.readiness().await.body["degraded"].to_string();
    assert!(
        degraded(&replica)
            .await
            .contains("`LATCHKEY_LEASE` is 300ms, but leases of 100ms are in force")
    );
    wait_until("nothing is degraded", || async {
        degraded(&server).await == "[]"
    })
    .await;
    let output = operator::command(&replica, &["revocations", "rebuild"])
        .await
        .well();
    assert!(
        output.starts_with("Rebuilt the revocation log with ")
            && output.ends_with(" entries. The lease is 300ms.\n"),
        "{output}"
    );
    wait_until("all replicas have the new lease", || async {
        degraded(&replica).await == "[]" && degraded(&server).await != "[]"
    })
    .await;
    for replica in [&server, &replica] {
        wait_for_check_source(replica, "memory").await;
        assert_eq!(
            replica.verify(&revoked.access_token).await,
            (401, "token_revoked".into())
        );
        let is_warning = |line: &String| line.contains("WARN") && line.contains("revocation log");
        assert!(
            !replica.log().iter().any(is_warning),
            "no warning, because the operator requested the rebuild: {:?}",
            replica.log()
        );
    }
    assert_eq!(
        query_value(&server, "select max_lease_ms from settings").await,
        "300"
    );
}

/// The row has expired but was never published, so the cleanup worker keeps it until a replica has
/// republished it.
#[tokio::test]
async fn unpublished_revocation_is_not_deleted() {
    let own_redis = OwnRedis::start();
    let url = own_redis.redis.url();
    let server = TestServer::with(&[
        ("REDIS_URL", &url),
        ("LATCHKEY_REDIS_TIMEOUT", "2s"),
        ("LATCHKEY_CLEANUP_INTERVAL", "1s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    wait_for_check_source(&server, "memory").await;
    own_redis.redis.pause();
    server
        .sign_out(&session.access_token)
        .await
        .is(503, "unavailable");
    execute(
        &server,
        "update revocations set expires_at = now() - interval '1 second'",
    )
    .await;
    let last_run = async || value(&server, "latchkey_cleanup_last_success_timestamp_seconds").await;
    let before = last_run().await;
    wait_until("the cleanup worker has run", || async {
        last_run().await > before + 1.0
    })
    .await;
    own_redis.redis.resume();
    let is_published =
        || async { value(&server, "latchkey_revocations_republished_total").await > 0.0 };
    wait_until("the revocation is published", is_published).await;
    server
        .refresh(&session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}
