//! A Redis that cannot be relied on: it lost the log, forgets keys, or holds what nobody knows.
//! Nothing that was taken back is accepted, not for a moment, and nobody is refused for it.

use futures_util::future::join_all;

use super::{Behind, answered_by, checks, until_checks_are_by};
use crate::{
    metrics::value,
    operator,
    outage::OwnRedis,
    test_server::{Session, TestServer, until},
    test_stores::{ask, execute, own_stack},
};

struct Fixture {
    own: OwnRedis,
    server: TestServer,
    replica: TestServer,
    john: Session,
    out: Session,
}

impl Fixture {
    /// Two replicas that answer from memory; John is signed in, and another session of his has
    /// ended.
    async fn new() -> Fixture {
        let own = OwnRedis::start();
        let server = TestServer::with(&[("REDIS_URL", &own.redis.url())]).await;
        let replica = server.replica().await;
        let (john, out) = (server.sign_up("john").await, server.sign_in("john").await);
        server.log_out(&out.access_token).await.is(204, "");
        let fixture = Fixture {
            own,
            server,
            replica,
            john,
            out,
        };
        fixture.until_memory_answers().await;
        fixture
    }

    async fn until_memory_answers(&self) {
        for replica in [&self.server, &self.replica] {
            self.until(replica, "memory").await;
        }
    }

    /// Asks all the time meanwhile.
    async fn until(&self, replica: &TestServer, who: &str) {
        let requested = || async {
            assert_eq!(
                replica.verify(&self.out.access_token).await,
                (401, "token_revoked".into()),
                "not for a moment"
            );
            assert_eq!(
                replica.verify(&self.john.access_token).await,
                (204, String::new()),
                "not for a moment"
            );
            checks(replica).await == who
        };
        until(who, requested).await;
    }

    async fn degraded(&self) -> String {
        self.server.get("/health/ready").await.body["degraded"].to_string()
    }

    async fn until_degraded_says(&self, words: &str) {
        until(words, || async { self.degraded().await.contains(words) }).await;
    }

    /// Another session ends, here, and is refused there.
    async fn a_logout_works(&self) {
        let session = self.server.sign_in("john").await;
        self.server.log_out(&session.access_token).await.is(204, "");
        assert_eq!(
            self.replica.verify(&session.access_token).await,
            (401, "token_revoked".into())
        );
    }
}

/// The epoch of a server that this one is not.
const STRANGE: &str = "0123456789abcdef0123456789abcdef01234567:1";

#[tokio::test]
async fn whatever_part_of_the_log_is_lost_it_is_built_anew_from_the_record() {
    let fixture = Fixture::new().await;
    let behind = Behind::of(&fixture.server).await;
    for loss in [
        &["FLUSHALL"][..],
        &["DEL", "{}:log"],
        &["DEL", "{}:state"],
        &["XTRIM", "{}:log", "MAXLEN", "0"],
        &["HSET", "{}:state", "last_seq", "0"],
        &["HSET", "{}:state", "epoch_id", STRANGE],
    ] {
        let epoch = behind.epoch().await;
        behind.tell::<deadpool_redis::redis::Value>(loss).await;
        let anew = || async {
            behind
                .epoch()
                .await
                .is_some_and(|now| now != STRANGE && Some(now) != epoch)
        };
        until("there is another log", anew).await;
        fixture.until_memory_answers().await;
        fixture.a_logout_works().await;
        let fresh = fixture.server.replica().await;
        until_checks_are_by(&fresh, "memory").await;
        assert_eq!(
            fresh.verify(&fixture.out.access_token).await,
            (401, "token_revoked".into()),
            "{loss:?}"
        );
    }
    let warning = ["WARN", "revocation log missing in Redis; rebuilding"];
    assert!(fixture.server.has_logged(&warning) || fixture.replica.has_logged(&warning));
}

/// A log, a fence, a user, and a session under the field names of older development versions.
#[tokio::test]
async fn keys_of_an_older_version_are_ignored() {
    let own = OwnRedis::start();
    let mut first = TestServer::with(&[("REDIS_URL", &own.redis.url())]).await;
    let john = first.sign_up("john").await;
    let behind = Behind::of(&first).await;
    let epoch = behind.epoch().await.expect("there is a log");
    let user = format!(
        "{}:{{{}}}",
        first.setting("LATCHKEY_REDIS_PREFIX"),
        john.claim("sub")
    );
    let session = format!("{user}:session:{}", john.claim("sid"));
    let settings = first.settings();
    assert_eq!(first.stop(), Some(0));
    own.tell::<String>(&["FLUSHALL"]).await;
    let state = [
        "lease_ms", "250", "first", "1", "last", "1", "beat", "7", "m:a", "1:7",
    ];
    let state = [&["HSET", "{}:state", "epoch", &epoch][..], &state].concat();
    behind.tell::<u64>(&state).await;
    behind.tell::<String>(&["SET", "{}:building", &epoch]).await;
    own.tell::<u64>(&[
        "HSET",
        &format!("{user}:user"),
        "gen",
        "1",
        "version",
        "1",
        "identity",
        "{}",
    ])
    .await;
    own.tell::<u64>(&[
        "HSET",
        &session,
        "counter",
        "5",
        "gen",
        "1",
        "home",
        &epoch[..40],
    ])
    .await;
    let server = TestServer::run(settings).await;
    until_checks_are_by(&server, "memory").await;
    assert_eq!(behind.members().await.len(), 1);
    let refreshed = Session::of(&server.refresh(&john.refresh_token).await);
    server.log_out(&refreshed.access_token).await.is(204, "");
    assert_eq!(
        server.verify(&refreshed.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn a_redis_that_forgets_keys_is_not_relied_on() {
    let fixture = Fixture::new().await;
    let behind = Behind::of(&fixture.server).await;
    let epoch = async || behind.epoch().await;
    for setting in [["maxmemory", "1gb"], ["maxmemory-policy", "allkeys-lru"]] {
        fixture
            .own
            .tell::<String>(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    for replica in [&fixture.server, &fixture.replica] {
        fixture.until(replica, "postgres").await;
    }
    fixture
        .until_degraded_says("`maxmemory-policy` to `noeviction`")
        .await;
    fixture.a_logout_works().await;
    assert_eq!(epoch().await, None, "what it forgot meanwhile is not known");
    fixture
        .own
        .tell::<String>(&["CONFIG", "SET", "maxmemory-policy", "noeviction"])
        .await;
    fixture.until_memory_answers().await;
    until("nothing is degraded", || async {
        fixture.degraded().await == "[]"
    })
    .await;
}

/// As a primary that was deposed, and has no replica any more (`min-replicas-to-write`): it reads
/// what was, and its misses mean nothing.
#[tokio::test]
async fn a_redis_that_may_not_write_answers_no_check() {
    let own = OwnRedis::start();
    let server =
        TestServer::with(&[("REDIS_URL", &own.redis.url()), ("LATCHKEY_LEASE", "0s")]).await;
    let john = server.sign_up("john").await;
    until_checks_are_by(&server, "redis").await;
    assert_eq!(
        server.verify(&john.access_token).await,
        (204, String::new())
    );
    own.tell::<String>(&["CONFIG", "SET", "min-replicas-to-write", "1"])
        .await;
    let [_, before, ..] = answered_by(&server).await;
    for _ in 0..3 {
        assert_eq!(
            server.verify(&john.access_token).await,
            (204, String::new()),
            "PostgreSQL responds"
        );
    }
    let [_, redis, record, _] = answered_by(&server).await;
    assert!(
        redis == before && record >= 3.0,
        "{redis} by Redis, {record} by PostgreSQL"
    );
}

/// A server that only reads may be one that was deposed, or one that lags: it is not the record.
#[tokio::test]
async fn a_postgres_that_may_not_write_answers_no_check() {
    let own = OwnRedis::start();
    let server = TestServer::with(&[("REDIS_URL", &own.redis.url())]).await;
    let john = server.sign_up("john").await;
    for setting in [["maxmemory", "1gb"], ["maxmemory-policy", "allkeys-lru"]] {
        own.tell::<String>(&["CONFIG", "SET", setting[0], setting[1]])
            .await;
    }
    until_checks_are_by(&server, "postgres").await;
    assert_eq!(
        server.verify(&john.access_token).await,
        (204, String::new())
    );
    let name = ask(&server, "select current_database()").await;
    execute(
        &server,
        &format!("alter database {name} set default_transaction_read_only = on"),
    )
    .await;
    // Only then: whoever connects again finds it deposed.
    let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
        where datname = current_database() and pid <> pg_backend_pid()";
    execute(&server, cut).await;
    assert_eq!(
        server.verify(&john.access_token).await,
        (503, "unavailable".into())
    );
    let again = format!(
        "begin read write; alter database {name} reset default_transaction_read_only; commit"
    );
    execute(&server, &again).await;
    until("it responds again", || async {
        server.verify(&john.access_token).await.0 == 204
    })
    .await;
}

/// It has the lock, and Redis has nothing: whoever builds must be heard of, or another takes over.
#[tokio::test]
async fn a_builder_that_stands_still_is_overtaken() {
    let own = OwnRedis::start();
    let server = TestServer::with(&[("REDIS_URL", &own.redis.url())]).await;
    let john = server.sign_up("john").await;
    let timeout = std::time::Duration::from_secs(10);
    let record = latchkey::postgres::Postgres::new(server.setting("DATABASE_URL"), 10, timeout)
        .expect("an address");
    let lock = record
        .lock_log()
        .await
        .expect("it responds")
        .expect("nobody builds");
    own.tell::<String>(&["FLUSHALL"]).await;
    server
        .log_out(&john.access_token)
        .await
        .is(503, "unavailable");
    assert!(
        record.lock_log().await.expect("it responds").is_none(),
        "one at a time"
    );
    until("another has built it", || async {
        server.log_out(&john.access_token).await.status == 204
    })
    .await;
    drop(lock);
}

/// Whoever may not listen and not speak finds out by the next renewal.
#[tokio::test]
async fn without_the_channel_everything_is_as_right() {
    let own = OwnRedis::start();
    own.tell::<String>(&["ACL", "SETUSER", "default", "resetchannels"])
        .await;
    let server = TestServer::with(&[("REDIS_URL", &own.redis.url())]).await;
    let replica = server.replica().await;
    until_checks_are_by(&replica, "memory").await;
    for name in ["john", "jane"] {
        let session = server.sign_up(name).await;
        server.log_out(&session.access_token).await.is(204, "");
        assert_eq!(
            replica.verify(&session.access_token).await,
            (401, "token_revoked".into())
        );
    }
}

/// Whoever ended it died before anything was told, long ago; then the log is lost, and the session
/// is still known to Redis.
#[tokio::test]
async fn a_log_that_is_built_anew_ends_refreshing_as_well() {
    let fixture = Fixture::new().await;
    let ended = "update sessions set revoked_at = now(), revoked_reason = 'sign_out' \
            where revoked_at is null; \
        insert into revocations (kind, subject_id, user_id, reason, revoked_at, expires_at) \
        select 'session', id, user_id, 'sign_out', now() - interval '10 minutes', \
            now() + interval '1 hour' \
        from sessions on conflict do nothing";
    execute(&fixture.server, ended).await;
    let behind = Behind::of(&fixture.server).await;
    let before = behind.epoch().await;
    behind.tell::<u8>(&["DEL", "{}:state"]).await;
    let anew = || async { behind.epoch().await.is_some_and(|now| Some(now) != before) };
    until("there is another log", anew).await;
    fixture
        .server
        .refresh(&fixture.john.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        fixture
            .replica
            .refresh(&fixture.john.refresh_token)
            .await
            .status,
        401
    );
}

/// Of a version that is to come: whoever does not understand all that was taken back may not answer
/// from memory.
#[tokio::test]
async fn an_entry_that_nobody_knows_ends_the_lease() {
    let fixture = Fixture::new().await;
    let behind = Behind::of(&fixture.server).await;
    let script = "local last = redis.call('HINCRBY', KEYS[1], 'last_seq', 1); \
        return redis.call('XADD', KEYS[2], last .. '-0', \
        'at', redis.call('TIME')[1] * 1000, 'entry', 'planet 9 1 9999999999')";
    behind
        .tell::<String>(&["EVAL", script, "2", "{}:state", "{}:log"])
        .await;
    for replica in [&fixture.server, &fixture.replica] {
        until_checks_are_by(replica, "unavailable").await;
        for session in [&fixture.john, &fixture.out] {
            assert_eq!(
                replica.verify(&session.access_token).await,
                (503, "unavailable".into()),
                "it may be of the planet"
            );
        }
    }
    fixture
        .until_degraded_says("newer version of Latchkey")
        .await;
    // They look again and again whether they know it by now, and are members meanwhile.
    until("nobody waits for who cannot know", || async {
        behind.members().await.is_empty()
    })
    .await;
}

#[tokio::test]
async fn with_neither_store_nothing_passes_once_the_lease_is_over() {
    let (mut own, (mut stack, url)) = (OwnRedis::start(), own_stack());
    let server = TestServer::with(&[("REDIS_URL", &own.redis.url()), ("DATABASE_URL", &url)]).await;
    let john = server.sign_up("john").await;
    stack.postgres.kill();
    own.redis.kill();
    let unavailable =
        || async { server.verify(&john.access_token).await == (503, "unavailable".into()) };
    until("nobody can tell", unavailable).await;
    assert!(answered_by(&server).await[3] > 0.0);
    own.redis.start_again().expect("it can be started");
    assert!(unavailable().await, "an empty Redis is no response");
    stack.postgres.start_again().expect("it can be started");
    until_checks_are_by(&server, "memory").await;
    assert_eq!(
        server.verify(&john.access_token).await,
        (204, String::new())
    );
}

/// PostgreSQL stands still: those who wait for it are bounded, and whoever comes beyond them is
/// told at once.
#[tokio::test]
async fn more_checks_than_may_wait_for_the_record_are_refused() {
    let (mut own, (stack, url)) = (OwnRedis::start(), own_stack());
    let server = TestServer::with(&[("REDIS_URL", &own.redis.url()), ("DATABASE_URL", &url)]).await;
    let john = server.sign_up("john").await;
    own.redis.kill();
    until_checks_are_by(&server, "postgres").await;
    stack.postgres.pause();
    let responses = join_all((0..1100).map(|_| server.verify(&john.access_token))).await;
    stack.postgres.resume();
    let count = |code: &str| {
        responses
            .iter()
            .filter(|response| **response == (503, code.to_owned()))
            .count()
    };
    assert_eq!(count("busy") + count("unavailable"), 1100, "nothing passes");
    assert!(
        count("busy") > 0 && count("unavailable") > 0,
        "{} busy",
        count("busy")
    );
}

#[tokio::test]
async fn another_lease_comes_into_force_for_all_when_the_log_is_built_anew() {
    let server = TestServer::with(&[("LATCHKEY_LEASE", "100ms")]).await;
    let replica = server.replica_with(&[("LATCHKEY_LEASE", "300ms")]).await;
    until_checks_are_by(&replica, "memory").await;
    let out = server.sign_up("john").await;
    server.log_out(&out.access_token).await.is(204, "");
    let degraded = async |replica: &TestServer| {
        replica.get("/health/ready").await.body["degraded"].to_string()
    };
    assert!(
        degraded(&replica)
            .await
            .contains("LATCHKEY_LEASE is 300ms, but leases of 100ms are in force")
    );
    until("nothing is degraded", || async {
        degraded(&server).await == "[]"
    })
    .await;
    let told = operator::command(&replica, &["revocations", "rebuild"])
        .await
        .well();
    assert!(
        told.starts_with("Rebuilt the revocation log with ")
            && told.ends_with(" entries. The lease is 300ms.\n"),
        "{told}"
    );
    until("all have it", || async {
        degraded(&replica).await == "[]" && degraded(&server).await != "[]"
    })
    .await;
    for replica in [&server, &replica] {
        until_checks_are_by(replica, "memory").await;
        assert_eq!(
            replica.verify(&out.access_token).await,
            (401, "token_revoked".into())
        );
        let is_warning = |line: &String| line.contains("WARN") && line.contains("revocation log");
        assert!(
            !replica.log().iter().any(is_warning),
            "the operator requested it: {:?}",
            replica.log()
        );
    }
    assert_eq!(
        ask(&server, "select max_lease_ms from settings").await,
        "300"
    );
}

/// The row is over, but Redis was never told: the janitor leaves it until somebody has compared it.
#[tokio::test]
async fn a_revocation_that_was_never_published_is_not_forgotten() {
    let own = OwnRedis::start();
    let url = own.redis.url();
    let server = TestServer::with(&[
        ("REDIS_URL", &url),
        ("LATCHKEY_REDIS_TIMEOUT", "2s"),
        ("LATCHKEY_CLEANUP_INTERVAL", "1s"),
    ])
    .await;
    let john = server.sign_up("john").await;
    until_checks_are_by(&server, "memory").await;
    own.redis.pause();
    server
        .log_out(&john.access_token)
        .await
        .is(503, "unavailable");
    execute(
        &server,
        "update revocations set expires_at = now() - interval '1 second'",
    )
    .await;
    let runs = async || value(&server, "latchkey_cleanup_last_success_timestamp_seconds").await;
    let before = runs().await;
    until("the janitor was there", || async {
        runs().await > before + 1.0
    })
    .await;
    own.redis.resume();
    let published =
        || async { value(&server, "latchkey_revocations_republished_total").await > 0.0 };
    until("it is published", published).await;
    server
        .refresh(&john.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
}
