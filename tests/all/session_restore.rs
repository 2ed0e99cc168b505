//! Redis loses sessions: by a flush, a restart, or a failover to older data. Users stay signed in,
//! and rotated tokens stay invalid.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    outage::OwnRedis,
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::{RowLock, execute, own_stack, query_value, redis_prefix},
};

async fn refresh(server: &TestServer, session: &Session) -> Session {
    Session::of(server.refresh(&session.refresh_token).await.is(200, ""))
}

/// Two replicas with a separate Redis, and a user.
struct Fixture {
    own_redis: OwnRedis,
    server: TestServer,
    replica: TestServer,
    session: Session,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let own_redis = OwnRedis::start();
        let server =
            TestServer::with(&[changes, &[("REDIS_URL", &own_redis.redis.url())]].concat()).await;
        let (replica, session) = (server.replica().await, server.sign_up("john").await);
        Fixture {
            own_redis,
            server,
            replica,
            session,
        }
    }

    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    async fn flush(&self) {
        self.own_redis.command::<String>(&["FLUSHALL"]).await;
    }

    /// Waits for the revocation log. Without it, nothing can be revoked.
    async fn wait_for_log(&self) {
        let state = format!("{}:{{rev}}:state", redis_prefix(&self.server).await);
        wait_until("the revocation log exists", || async {
            self.own_redis.command::<u8>(&["EXISTS", &state]).await == 1
        })
        .await;
    }

    /// Rotates the refresh token this many times without pauses. Returns all tokens, the newest
    /// last.
    async fn rotate(&self, count: usize) -> Vec<Session> {
        let mut tokens = vec![self.session.clone()];
        for number in 0..count {
            let replica = if number % 2 == 0 {
                &self.server
            } else {
                &self.replica
            };
            tokens.push(refresh(replica, tokens.last().expect("a session")).await);
        }
        tokens
    }

    /// Waits until the session activity writer has written this rotation counter.
    async fn wait_for_counter(&self, counter: usize) {
        let is_written = || async {
            query_value(
                &self.server,
                "select max(rotation_counter) from sessions where revoked_at is null",
            )
            .await
                == counter.to_string()
        };
        wait_until("the rotation counter is written", is_written).await;
    }

    async fn assert_revoked(&self, session: &Session) {
        let is_rejected = || async {
            self.replica.verify(&session.access_token).await == (401, "token_revoked".into())
        };
        wait_until("the access token is rejected", is_rejected).await;
        assert_eq!(
            self.replica.refresh(&session.refresh_token).await.status,
            401
        );
        assert_eq!(
            self.server.refresh(&session.refresh_token).await.status,
            401
        );
    }
}

#[tokio::test]
async fn redis_flush_keeps_sessions() {
    let fixture = Fixture::new().await;
    let newest = fixture.rotate(50).await.pop().expect("the newest");
    fixture.wait_for_counter(50).await;
    fixture.flush().await;
    let restored = refresh(&fixture.replica, &newest).await;
    let is_accepted = || async { fixture.server.verify(&restored.access_token).await.0 == 204 };
    wait_until("the access token is accepted", is_accepted).await;
    assert_eq!(restored.claims()["sid"], fixture.session.claims()["sid"]);
    assert_eq!(
        restored.claims()["session_exp"],
        fixture.session.claims()["session_exp"]
    );
    refresh(&fixture.server, &restored).await;
}

#[tokio::test]
async fn reuse_is_detected_after_a_redis_flush() {
    let fixture = Fixture::new().await;
    let tokens = fixture.rotate(50).await;
    fixture.wait_for_counter(50).await;
    fixture.flush().await;
    fixture.wait_for_log().await;
    fixture
        .server
        .refresh(&tokens[20].refresh_token)
        .await
        .is(401, "refresh_token_reused");
    fixture.assert_revoked(&tokens[50]).await;
    assert_eq!(
        query_value(&fixture.server, "select revoked_reason from sessions").await,
        "refresh_token_reused"
    );
}

#[tokio::test]
async fn previous_token_returns_same_pair_after_a_redis_flush() {
    let fixture = Fixture::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "60s")]).await;
    let tokens = fixture.rotate(3).await;
    fixture.wait_for_counter(3).await;
    fixture.flush().await;
    fixture.wait_for_log().await;
    assert_eq!(
        refresh(&fixture.replica, &tokens[2]).await.refresh_token,
        tokens[3].refresh_token
    );
    fixture
        .server
        .refresh(&tokens[1].refresh_token)
        .await
        .is(401, "refresh_token_reused");
}

impl Fixture {
    /// Sets the counter of the session in Redis, as if a failover had gone back to older data.
    async fn set_cached_counter(&self, counter: u64) {
        let claims = self.session.claims();
        let key = format!(
            "{}:{{{}}}:session:{}",
            redis_prefix(&self.server).await,
            claims["sub"].as_str().expect("an ID"),
            claims["sid"].as_str().expect("an ID"),
        );
        let counter = counter.to_string();
        let command = ["HSET", &key, "rotation_counter", &counter];
        let set = self.own_redis.command::<i64>(&command).await;
        assert_eq!(set, 0, "the session is cached");
    }
}

/// Two servers accept writes for some seconds during an ordinary failover behind a proxy.
#[tokio::test]
async fn counter_above_that_of_redis_is_restored() {
    let fixture = Fixture::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s")]).await;
    let newest = fixture.rotate(5).await.pop().expect("the newest");
    fixture.set_cached_counter(1).await;
    let restored = refresh(&fixture.replica, &newest).await;
    refresh(&fixture.server, &restored).await;
    // Redis has the counter again, so the previous token is reused.
    fixture
        .server
        .refresh(&newest.refresh_token)
        .await
        .is(401, "refresh_token_reused");
}

#[tokio::test]
async fn older_token_above_counter_of_redis_is_reused() {
    let fixture = Fixture::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s")]).await;
    let tokens = fixture.rotate(5).await;
    fixture.wait_for_counter(5).await;
    fixture.set_cached_counter(1).await;
    fixture
        .server
        .refresh(&tokens[3].refresh_token)
        .await
        .is(401, "refresh_token_reused");
    fixture.assert_revoked(&tokens[5]).await;
}

/// A response is lost, and the client can't repeat its request before Redis is available again.
#[tokio::test]
async fn outage_of_redis_does_not_count_toward_reuse_interval() {
    let (stack, database) = own_stack();
    let (redis, interval) = (stack.redis.url(), Duration::from_millis(500));
    let server = TestServer::with(&[
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.as_str()),
        ("LATCHKEY_REDIS_TIMEOUT", "200ms"),
        ("LATCHKEY_REFRESH_REUSE_INTERVAL", "500ms"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let rotated = refresh(&server, &session).await;
    let rotated_at = Instant::now();
    stack.redis.pause();
    wait_until(
        "PostgreSQL serves checks, and the interval has passed",
        || async {
            let response = server.readiness().await;
            response.body["check_source"] == "postgres" && rotated_at.elapsed() > 2 * interval
        },
    )
    .await;
    stack.redis.resume();
    let repeat = || server.refresh(&session.refresh_token);
    wait_until("Redis is available", || async {
        server.readiness().await.body["check_source"] == "memory"
    })
    .await;
    let repeated = Session::of(repeat().await.is(200, ""));
    assert_eq!(repeated.refresh_token, rotated.refresh_token);
}

#[tokio::test]
async fn redis_flush_keeps_revocations() {
    let fixture = Fixture::new().await;
    let (other, third) = (
        fixture.server.sign_in("john").await,
        fixture.server.sign_in("john").await,
    );
    fixture
        .server
        .sign_out(&other.access_token)
        .await
        .is(204, "");
    let deleted_user = fixture.server.sign_up("jane").await;
    fixture
        .server
        .with_token(
            Method::DELETE,
            "/user",
            &deleted_user.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    fixture.flush().await;
    // PostgreSQL serves the checks until the log is rebuilt.
    for revoked in [&other, &deleted_user] {
        let is_rejected = || async {
            let (status, code) = fixture.replica.verify(&revoked.access_token).await;
            assert_ne!(status, 204, "a revoked token is never accepted");
            code == "token_revoked"
        };
        wait_until("the access token is rejected", is_rejected).await;
        fixture.assert_revoked(revoked).await;
    }
    assert_eq!(fixture.replica.verify(&third.access_token).await.0, 204);
}

/// All processes are killed, and Redis restarts with older data, as after a failover to a lagging
/// follower.
#[tokio::test]
async fn older_redis_data_makes_no_rotated_token_valid() {
    let mut fixture = Fixture::new().await;
    let first = fixture.rotate(1).await.pop().expect("a session");
    fixture.own_redis.command::<String>(&["SAVE"]).await;
    fixture.session = first.clone();
    let tokens = fixture.rotate(49).await;
    fixture.wait_for_counter(50).await;
    fixture.server.kill();
    fixture.replica.kill();
    fixture.own_redis.redis.kill();
    fixture.own_redis.redis.restart().expect("Redis starts");
    assert!(
        fixture.own_redis.command::<i64>(&["DBSIZE"]).await > 0,
        "Redis has the older data"
    );
    let settings = fixture.server.settings();
    (fixture.server, fixture.replica) = (
        TestServer::run(settings.clone()).await,
        TestServer::run(settings).await,
    );
    // In the older data, this token is the current one.
    fixture
        .server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    fixture.assert_revoked(&tokens[49]).await;
}

#[tokio::test]
async fn restart_of_all_processes_keeps_sessions() {
    let mut fixture = Fixture::new().await;
    let newest = fixture.rotate(50).await.pop().expect("the newest");
    fixture.wait_for_counter(50).await;
    assert_eq!(
        (fixture.server.stop(), fixture.replica.stop()),
        (Some(0), Some(0))
    );
    fixture.own_redis.redis.kill();
    fixture.own_redis.redis.restart().expect("Redis starts");
    let settings = fixture.server.settings();
    (fixture.server, fixture.replica) = (
        TestServer::run(settings.clone()).await,
        TestServer::run(settings).await,
    );
    refresh(&fixture.replica, &newest).await;
}

/// A replica that stops writes the pending session activity.
#[tokio::test]
async fn graceful_stop_writes_the_last_refresh() {
    let mut fixture = Fixture::new().await;
    let tokens = fixture.rotate(7).await;
    assert_eq!(
        (fixture.server.stop(), fixture.replica.stop()),
        (Some(0), Some(0))
    );
    assert_eq!(
        query_value(&fixture.server, "select rotation_counter from sessions").await,
        "7"
    );
    fixture.flush().await;
    let server = TestServer::run(fixture.server.settings()).await;
    server
        .refresh(&tokens[5].refresh_token)
        .await
        .is(401, "refresh_token_reused");
}

#[tokio::test]
async fn missing_user_key_is_restored() {
    let fixture = Fixture::new().await;
    let user_id = fixture.session.claim("sub");
    let key = format!("{}:{{{user_id}}}:user", redis_prefix(&fixture.server).await);
    assert_eq!(fixture.own_redis.command::<i64>(&["DEL", &key]).await, 1);
    let refreshed = refresh(&fixture.server, &fixture.session).await;
    assert_eq!(
        fixture
            .own_redis
            .command::<i64>(&["HDEL", &key, "identity"])
            .await,
        1
    );
    refresh(&fixture.replica, &refreshed).await;
    assert_eq!(
        fixture
            .own_redis
            .command::<i64>(&["HEXISTS", &key, "identity"])
            .await,
        1
    );
}

/// A restore reads the state of the session and of the user from PostgreSQL.
#[tokio::test]
async fn invalid_sessions_are_not_restored() {
    let fixture = Fixture::with(&[("LATCHKEY_SESSION_IDLE_TIMEOUT", "1h")]).await;
    for (name, statement) in [
        (
            "ended",
            "update sessions set revoked_at = now(), revoked_reason = 'sign_out' where user_id = $",
        ),
        ("disabled", "update users set disabled = true where id = $"),
        (
            "generation",
            "update users set generation = generation + 1 where id = $",
        ),
        (
            "idle",
            "update sessions set last_used_at = now() - interval '61 minutes' where user_id = $",
        ),
        (
            "over",
            "update sessions set expires_at = now() - interval '1 second' where user_id = $",
        ),
        ("deleted", "delete from users where id = $"),
    ] {
        let session = fixture.server.sign_up(name).await;
        fixture.flush().await;
        let user_id = session.claim("sub");
        execute(
            &fixture.server,
            &statement.replace('$', &format!("'{user_id}'")),
        )
        .await;
        fixture
            .replica
            .refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    refresh(&fixture.server, &fixture.session).await;
}

/// The rows exceed one page and have the same timestamp.
#[tokio::test]
async fn long_log_is_rebuilt_completely() {
    let fixture = Fixture::new().await;
    let rows = "insert into revocations (kind, subject_id, user_id, reason, expires_at) \
        select 'session', gen_random_uuid(), gen_random_uuid(), 'sign_out', \
            now() + interval '1 hour' \
        from generate_series(1, 2500)";
    execute(&fixture.server, rows).await;
    fixture.flush().await;
    fixture.wait_for_log().await;
    let entries = format!("{}:{{rev}}:session:*", redis_prefix(&fixture.server).await);
    assert_eq!(
        fixture
            .own_redis
            .command::<Vec<String>>(&["KEYS", &entries])
            .await
            .len(),
        2500
    );
}

/// Otherwise, an attacker with an old token could lock the row of the user, so that an
/// administrator could not disable the user.
#[tokio::test]
async fn revoked_session_is_queried_once() {
    let fixture = Fixture::new().await;
    fixture
        .server
        .sign_out(&fixture.session.access_token)
        .await
        .is(204, "");
    fixture.flush().await;
    fixture
        .server
        .refresh(&fixture.session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    // The second request does not query PostgreSQL, where it would wait for the lock.
    let lock = RowLock::rows(&fixture.server, "select from users").await;
    for replica in [&fixture.server, &fixture.replica] {
        replica
            .refresh(&fixture.session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    assert_eq!(lock.waiting().await, 0);
}

/// The replication history changed and PostgreSQL is unavailable, so a missing revocation entry
/// does not make a token valid.
#[tokio::test]
async fn checks_return_503_after_failover_without_postgres() {
    let (own_redis, (stack, database)) = (OwnRedis::start(), own_stack());
    let server = TestServer::with(&[
        ("REDIS_URL", &own_redis.redis.url()),
        ("DATABASE_URL", &database),
    ])
    .await;
    let (session, other) = (server.sign_up("john").await, server.sign_in("john").await);
    server.sign_out(&session.access_token).await.is(204, "");
    let session_id = session.claim("sid");
    let entry = format!(
        "{}:{{rev}}:session:{session_id}",
        redis_prefix(&server).await
    );
    stack.postgres.pause();
    assert_eq!(own_redis.command::<i64>(&["DEL", &entry]).await, 1);
    own_redis
        .command::<String>(&["REPLICAOF", "127.0.0.1", "1"])
        .await;
    own_redis
        .command::<String>(&["REPLICAOF", "NO", "ONE"])
        .await;
    let is_unavailable = || async { server.verify(&session.access_token).await.0 == 503 };
    wait_until("the check returns 503", is_unavailable).await;
    assert_eq!(server.verify(&other.access_token).await.0, 503);
    stack.postgres.resume();
    wait_until("the log is rebuilt", || async {
        server.verify(&other.access_token).await.0 == 204
    })
    .await;
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
}

/// A sign-out waits for a concurrent restore, and then revokes the restored session.
#[tokio::test]
async fn restore_racing_sign_out_leaves_no_live_session() {
    let fixture = Fixture::with(&[("LATCHKEY_LEASE", "20ms")]).await;
    let mut newest_sessions = Vec::new();
    for round in 0..40 {
        let sessions = join_all((0..25).map(|number| {
            let server = &fixture.server;
            async move { server.sign_up(&format!("r{round}-{number}")).await }
        }));
        let sessions = sessions.await;
        fixture.flush().await;
        let attempts = sessions.iter().map(|session| async {
            let (response, signed_out) = tokio::join!(
                fixture.server.refresh(&session.refresh_token),
                fixture
                    .replica
                    .post("/logout", json!({"refresh_token": session.refresh_token}))
            );
            if signed_out.status != 204 {
                signed_out.is(503, "unavailable");
                let repeat = json!({"refresh_token": session.refresh_token});
                wait_until("a repeat succeeds", || async {
                    fixture.replica.post("/logout", repeat.clone()).await.status == 204
                })
                .await;
            }
            if response.status == 200 {
                Session::of(&response)
            } else {
                session.clone()
            }
        });
        newest_sessions.extend(join_all(attempts).await);
    }
    assert_eq!(newest_sessions.len(), 1000);
    for session in &newest_sessions {
        let response = fixture.server.refresh(&session.refresh_token).await;
        assert_eq!(response.status, 401, "{}", response.string());
    }
    for session in &newest_sessions {
        assert_eq!(
            fixture.replica.verify(&session.access_token).await.1,
            "token_revoked"
        );
    }
}

/// A restore that waits for a lock detects that the session was revoked in the meantime.
#[tokio::test]
async fn restore_waits_for_an_earlier_sign_out() {
    let fixture = Fixture::new().await;
    fixture.flush().await;
    let lock = RowLock::rows(&fixture.server, "select from sessions").await;
    let sign_out = async {
        lock.wait_until_blocked().await;
        lock.change("update sessions set revoked_at = now(), revoked_reason = 'sign_out'")
            .await;
    };
    let (response, ()) = tokio::join!(
        fixture.server.refresh(&fixture.session.refresh_token),
        sign_out
    );
    response.is(401, "invalid_refresh_token");
}

/// Each rotation is written to PostgreSQL. If the session is revoked there, the revocation is
/// republished.
#[tokio::test]
async fn refresh_publishes_a_revocation_in_postgres() {
    let fixture = Fixture::new().await;
    execute(
        &fixture.server,
        "update sessions set revoked_at = now(), revoked_reason = 'sign_out'",
    )
    .await;
    let refreshed = refresh(&fixture.server, &fixture.session).await;
    fixture.assert_revoked(&refreshed).await;
}

#[tokio::test]
async fn rotation_counter_is_written_after_a_lock() {
    let fixture = Fixture::new().await;
    let lock = RowLock::rows(&fixture.server, "select from sessions").await;
    fixture.rotate(5).await;
    lock.release().await;
    fixture.wait_for_counter(5).await;
}

#[tokio::test]
async fn session_101_revokes_the_oldest() {
    let server = TestServer::start().await;
    let first = server.sign_up("john").await;
    let second = server.sign_in("john").await;
    let insert = "insert into sessions \
            (id, user_id, generation, client_id, scope, created_at, expires_at) \
        select gen_random_uuid(), id, generation, 'latchkey', 's', now(), now() + interval '1 day' \
        from users, generate_series(1, 97)";
    execute(&server, insert).await;
    // The inserted sessions need higher IDs than the first two.
    execute(
        &server,
        "update sessions set id = ('ffff' || substr(id::text, 5))::uuid where scope = 's'",
    )
    .await;
    let hundredth = server.sign_in("john").await;
    assert_eq!(server.verify(&first.access_token).await.0, 204);
    let newest = server.sign_in("john").await;
    let is_revoked =
        || async { server.verify(&first.access_token).await == (401, "token_revoked".into()) };
    wait_until("the oldest session is revoked", is_revoked).await;
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    for session in [&second, &hundredth, &newest] {
        assert_eq!(server.verify(&session.access_token).await.0, 204);
    }
    assert_eq!(
        query_value(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "too_many_sessions"
    );
    assert_eq!(server.try_sign_in("john", PASSWORD).await.status, 200);
}
