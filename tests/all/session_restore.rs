//! Redis loses sessions: a flush, a restart, a failover to older data. Nobody is signed out, no
//! used token lives again.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    outage::OwnRedis,
    test_server::{PASSWORD, Session, TestServer, until},
    test_stores::{Held, ask, execute, own_stack},
};

async fn refreshed(server: &TestServer, session: &Session) -> Session {
    Session::of(server.refresh(&session.refresh_token).await.is(200, ""))
}

/// A Redis of the test's own, and John on two replicas.
struct Fixture {
    own: OwnRedis,
    server: TestServer,
    replica: TestServer,
    john: Session,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let own = OwnRedis::start();
        let server =
            TestServer::with(&[changes, &[("REDIS_URL", &own.redis.url())]].concat()).await;
        let (replica, john) = (server.replica().await, server.sign_up("john").await);
        Fixture {
            own,
            server,
            replica,
            john,
        }
    }

    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    async fn flush(&self) {
        self.own.tell::<String>(&["FLUSHALL"]).await;
    }

    /// Until then nothing can be revoked.
    async fn until_the_log_is_built(&self) {
        let state = format!(
            "{}:{{rev}}:state",
            self.server.setting("LATCHKEY_REDIS_PREFIX")
        );
        until("there is a log", || async {
            self.own.tell::<u8>(&["EXISTS", &state]).await == 1
        })
        .await;
    }

    /// Refreshes so often, as fast as it goes; all tokens, the newest last.
    async fn rotate(&self, times: usize) -> Vec<Session> {
        let mut tokens = vec![self.john.clone()];
        for number in 0..times {
            let replica = if number % 2 == 0 {
                &self.server
            } else {
                &self.replica
            };
            tokens.push(refreshed(replica, tokens.last().expect("one")).await);
        }
        tokens
    }

    /// Waits for the batched writer.
    async fn until_recorded(&self, counter: usize) {
        let recorded = || async {
            ask(
                &self.server,
                "select max(rotation_counter) from sessions where revoked_at is null",
            )
            .await
                == counter.to_string()
        };
        until("it is recorded", recorded).await;
    }

    async fn is_dead(&self, session: &Session) {
        let refused = || async {
            self.replica.verify(&session.access_token).await == (401, "token_revoked".into())
        };
        until("access is refused", refused).await;
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
async fn a_flush_signs_nobody_out() {
    let fixture = Fixture::new().await;
    let newest = fixture.rotate(50).await.pop().expect("the newest");
    fixture.until_recorded(50).await;
    fixture.flush().await;
    let next = refreshed(&fixture.replica, &newest).await;
    let good = || async { fixture.server.verify(&next.access_token).await.0 == 204 };
    until("it is good", good).await;
    assert_eq!(next.claims()["sid"], fixture.john.claims()["sid"]);
    assert_eq!(
        next.claims()["session_exp"],
        fixture.john.claims()["session_exp"]
    );
    refreshed(&fixture.server, &next).await;
}

#[tokio::test]
async fn after_a_flush_an_ancestor_presented_first_is_reuse() {
    let fixture = Fixture::new().await;
    let tokens = fixture.rotate(50).await;
    fixture.until_recorded(50).await;
    fixture.flush().await;
    fixture.until_the_log_is_built().await;
    fixture
        .server
        .refresh(&tokens[20].refresh_token)
        .await
        .is(401, "refresh_token_reused");
    fixture.is_dead(&tokens[50]).await;
    assert_eq!(
        ask(&fixture.server, "select revoked_reason from sessions").await,
        "refresh_token_reused"
    );
}

#[tokio::test]
async fn after_a_flush_the_parent_is_still_given_its_child() {
    let fixture = Fixture::with(&[("LATCHKEY_REFRESH_REUSE_INTERVAL", "60s")]).await;
    let tokens = fixture.rotate(3).await;
    fixture.until_recorded(3).await;
    fixture.flush().await;
    fixture.until_the_log_is_built().await;
    assert_eq!(
        refreshed(&fixture.replica, &tokens[2]).await.refresh_token,
        tokens[3].refresh_token
    );
    fixture
        .server
        .refresh(&tokens[1].refresh_token)
        .await
        .is(401, "refresh_token_reused");
}

#[tokio::test]
async fn what_was_taken_back_stays_so_after_a_flush() {
    let fixture = Fixture::new().await;
    let (other, third) = (
        fixture.server.sign_in("john").await,
        fixture.server.sign_in("john").await,
    );
    fixture
        .server
        .log_out(&other.access_token)
        .await
        .is(204, "");
    let jane = fixture.server.sign_up("jane").await;
    fixture
        .server
        .with_token(Method::DELETE, "/user", &jane.access_token, Value::Null)
        .await
        .is(204, "");
    fixture.flush().await;
    // Until the log is built the record is asked.
    for dead in [&other, &jane] {
        let refused = || async {
            let (status, code) = fixture.replica.verify(&dead.access_token).await;
            assert_ne!(status, 204, "never accepted, not for a moment");
            code == "token_revoked"
        };
        until("it is refused", refused).await;
        fixture.is_dead(dead).await;
    }
    assert_eq!(fixture.replica.verify(&third.access_token).await.0, 204);
}

/// Everything stops at once, and Redis comes back with the data of some time ago, as a restart
/// without the last writes or a failover to a lagging replica leaves it.
#[tokio::test]
async fn older_data_under_a_new_history_revive_no_token() {
    let mut fixture = Fixture::new().await;
    let first = fixture.rotate(1).await.pop().expect("one");
    fixture.own.tell::<String>(&["SAVE"]).await;
    fixture.john = first.clone();
    let tokens = fixture.rotate(49).await;
    fixture.until_recorded(50).await;
    fixture.server.kill();
    fixture.replica.kill();
    fixture.own.redis.kill();
    fixture.own.redis.start_again().expect("it can be started");
    assert!(
        fixture.own.tell::<i64>(&["DBSIZE"]).await > 0,
        "it has the old data"
    );
    let settings = fixture.server.settings();
    (fixture.server, fixture.replica) = (
        TestServer::run(settings.clone()).await,
        TestServer::run(settings).await,
    );
    // The old data say that this is the current one.
    fixture
        .server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    fixture.is_dead(&tokens[49]).await;
}

#[tokio::test]
async fn a_restart_of_everything_signs_nobody_out() {
    let mut fixture = Fixture::new().await;
    let newest = fixture.rotate(50).await.pop().expect("the newest");
    fixture.until_recorded(50).await;
    assert_eq!(
        (fixture.server.stop(), fixture.replica.stop()),
        (Some(0), Some(0))
    );
    fixture.own.redis.kill();
    fixture.own.redis.start_again().expect("it can be started");
    let settings = fixture.server.settings();
    (fixture.server, fixture.replica) = (
        TestServer::run(settings.clone()).await,
        TestServer::run(settings).await,
    );
    refreshed(&fixture.replica, &newest).await;
}

/// A replica that stops writes what it still has to.
#[tokio::test]
async fn a_clean_stop_records_the_last_refresh() {
    let mut fixture = Fixture::new().await;
    let tokens = fixture.rotate(7).await;
    assert_eq!(
        (fixture.server.stop(), fixture.replica.stop()),
        (Some(0), Some(0))
    );
    assert_eq!(
        ask(&fixture.server, "select rotation_counter from sessions").await,
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
async fn an_account_without_its_key_is_not_at_home() {
    let fixture = Fixture::new().await;
    let sub = fixture.john.claim("sub");
    let key = format!(
        "{}:{{{sub}}}:user",
        fixture.server.setting("LATCHKEY_REDIS_PREFIX")
    );
    assert_eq!(fixture.own.tell::<i64>(&["DEL", &key]).await, 1);
    let next = refreshed(&fixture.server, &fixture.john).await;
    assert_eq!(
        fixture.own.tell::<i64>(&["HDEL", &key, "identity"]).await,
        1
    );
    refreshed(&fixture.replica, &next).await;
    assert_eq!(
        fixture
            .own
            .tell::<i64>(&["HEXISTS", &key, "identity"])
            .await,
        1
    );
}

/// What the record says against a session counts when it is adopted.
#[tokio::test]
async fn what_has_ended_is_not_adopted() {
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
        let sub = session.claim("sub");
        execute(
            &fixture.server,
            &statement.replace('$', &format!("'{sub}'")),
        )
        .await;
        fixture
            .replica
            .refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    refreshed(&fixture.server, &fixture.john).await;
}

/// More rows than one page of them has, all of one moment.
#[tokio::test]
async fn a_long_log_is_built_to_its_end() {
    let fixture = Fixture::new().await;
    let rows = "insert into revocations (kind, subject_id, user_id, reason, expires_at) \
        select 'session', gen_random_uuid(), gen_random_uuid(), 'sign_out', \
            now() + interval '1 hour' \
        from generate_series(1, 2500)";
    execute(&fixture.server, rows).await;
    fixture.flush().await;
    fixture.until_the_log_is_built().await;
    let entries = format!(
        "{}:{{rev}}:sid:*",
        fixture.server.setting("LATCHKEY_REDIS_PREFIX")
    );
    assert_eq!(
        fixture
            .own
            .tell::<Vec<String>>(&["KEYS", &entries])
            .await
            .len(),
        2500
    );
}

/// Or somebody with an old token could hold the user's row for as long as an administrator wants to
/// disable it.
#[tokio::test]
async fn a_dead_session_is_looked_up_once() {
    let fixture = Fixture::new().await;
    fixture
        .server
        .log_out(&fixture.john.access_token)
        .await
        .is(204, "");
    fixture.flush().await;
    fixture
        .server
        .refresh(&fixture.john.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    // The second time nobody asks PostgreSQL: it would wait.
    let held = Held::rows(&fixture.server, "select from users").await;
    for replica in [&fixture.server, &fixture.replica] {
        replica
            .refresh(&fixture.john.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    assert_eq!(held.waiting().await, 0);
}

/// A history of its own, and PostgreSQL cannot be asked: what was taken back is not known to be
/// good.
#[tokio::test]
async fn after_a_failover_with_postgres_down_nothing_missing_counts() {
    let (own, (stack, database)) = (OwnRedis::start(), own_stack());
    let server =
        TestServer::with(&[("REDIS_URL", &own.redis.url()), ("DATABASE_URL", &database)]).await;
    let (john, other) = (server.sign_up("john").await, server.sign_in("john").await);
    server.log_out(&john.access_token).await.is(204, "");
    stack.postgres.pause();
    let sid = john.claim("sid");
    let entry = format!(
        "{}:{{rev}}:sid:{sid}",
        server.setting("LATCHKEY_REDIS_PREFIX")
    );
    assert_eq!(own.tell::<i64>(&["DEL", &entry]).await, 1);
    own.tell::<String>(&["REPLICAOF", "127.0.0.1", "1"]).await;
    own.tell::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    let refused = || async { server.verify(&john.access_token).await.0 == 503 };
    until("nobody takes its silence for a response", refused).await;
    assert_eq!(server.verify(&other.access_token).await.0, 503);
    stack.postgres.resume();
    until("it is filled", || async {
        server.verify(&other.access_token).await.0 == 204
    })
    .await;
    assert_eq!(
        server.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
}

/// Whatever would end the session waits until it was adopted, and then ends what was adopted.
#[tokio::test]
async fn restore_racing_sign_out_leaves_no_live_session() {
    let fixture = Fixture::with(&[("LATCHKEY_LEASE", "20ms")]).await;
    let mut alive = Vec::new();
    for round in 0..40 {
        let sessions = join_all((0..25).map(|number| {
            let server = &fixture.server;
            async move { server.sign_up(&format!("r{round}-{number}")).await }
        }));
        let sessions = sessions.await;
        fixture.flush().await;
        let races = sessions.iter().map(|session| async {
            let (refreshed, ended) = tokio::join!(
                fixture.server.refresh(&session.refresh_token),
                fixture
                    .replica
                    .post("/logout", json!({"refresh_token": session.refresh_token}))
            );
            if ended.status != 204 {
                ended.is(503, "unavailable");
                let repeat = json!({"refresh_token": session.refresh_token});
                until("a repeat ends it", || async {
                    fixture.replica.post("/logout", repeat.clone()).await.status == 204
                })
                .await;
            }
            if refreshed.status == 200 {
                Session::of(&refreshed)
            } else {
                session.clone()
            }
        });
        alive.extend(join_all(races).await);
    }
    assert_eq!(alive.len(), 1000);
    for session in &alive {
        let response = fixture.server.refresh(&session.refresh_token).await;
        assert_eq!(response.status, 401, "{}", response.string());
    }
    for session in &alive {
        assert_eq!(
            fixture.replica.verify(&session.access_token).await.1,
            "token_revoked"
        );
    }
}

/// An adoption that was held up until the session had ended finds that out.
#[tokio::test]
async fn an_adoption_waits_for_a_logout_that_was_first() {
    let fixture = Fixture::new().await;
    fixture.flush().await;
    let held = Held::rows(&fixture.server, "select from sessions").await;
    let end = async {
        held.until_somebody_waits().await;
        held.change("update sessions set revoked_at = now(), revoked_reason = 'sign_out'")
            .await;
    };
    let (response, ()) = tokio::join!(fixture.server.refresh(&fixture.john.refresh_token), end);
    response.is(401, "invalid_refresh_token");
}

/// The record is told of each rotation; what it says of a session that ended meanwhile is published
/// again.
#[tokio::test]
async fn a_refresh_of_what_has_ended_in_the_record_alone_ends_it_everywhere() {
    let fixture = Fixture::new().await;
    execute(
        &fixture.server,
        "update sessions set revoked_at = now(), revoked_reason = 'sign_out'",
    )
    .await;
    let next = refreshed(&fixture.server, &fixture.john).await;
    fixture.is_dead(&next).await;
}

#[tokio::test]
async fn a_record_that_stands_still_catches_up() {
    let fixture = Fixture::new().await;
    let held = Held::rows(&fixture.server, "select from sessions").await;
    fixture.rotate(5).await;
    held.release().await;
    fixture.until_recorded(5).await;
}

#[tokio::test]
async fn the_101st_session_ends_the_oldest() {
    let server = TestServer::start().await;
    let first = server.sign_up("john").await;
    let second = server.sign_in("john").await;
    let insert = "insert into sessions \
            (id, user_id, generation, client_id, scope, created_at, expires_at) \
        select gen_random_uuid(), id, generation, 'latchkey', 's', now(), now() + interval '1 day' \
        from users, generate_series(1, 97)";
    execute(&server, insert).await;
    // Later ids than the first two, whatever a random one says.
    execute(
        &server,
        "update sessions set id = ('ffff' || substr(id::text, 5))::uuid where scope = 's'",
    )
    .await;
    let hundredth = server.sign_in("john").await;
    assert_eq!(server.verify(&first.access_token).await.0, 204);
    let newest = server.sign_in("john").await;
    let ended =
        || async { server.verify(&first.access_token).await == (401, "token_revoked".into()) };
    until("the oldest has ended", ended).await;
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    for session in [&second, &hundredth, &newest] {
        assert_eq!(server.verify(&session.access_token).await.0, 204);
    }
    assert_eq!(
        ask(
            &server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "too_many_sessions"
    );
    assert_eq!(server.log_in("john", PASSWORD).await.status, 200);
}
