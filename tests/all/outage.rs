//! A store is down, paused, or rejects writes.
//!
//! Operations that need the store quickly return 503, never 401, and never accept a token. They
//! work again as soon as the store does, without a restart of the server.

mod both; // both stores, and startup without a store
mod postgres; // PostgreSQL
mod postgres_hosts; // several hosts, slow connections, changed passwords
mod publishing; // Redis, between a commit and its publication
mod redis; // Redis
mod redis_failover; // failover of Redis, slow connections, changed passwords
mod writes_rejected; // a Redis that returns errors

use std::{
    fs::Permissions,
    os::unix::fs::PermissionsExt,
    time::{Duration, Instant},
};

use deadpool_redis::redis::{Cmd, FromRedisValue, aio::MultiplexedConnection, cmd};
use futures_util::future::join_all;
use latchkey_dev::{Redis, RedisOptions};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{connect_redis, execute},
};

/// The default timeouts, which the other tests extend.
const DEFAULT_TIMEOUTS: [(&str, &str); 2] = [
    ("LATCHKEY_REDIS_TIMEOUT", "100ms"),
    ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
];

/// The default timeout of Redis.
const REDIS_TIMEOUT: Duration = Duration::from_millis(100);

/// The default timeout of PostgreSQL, plus the time that the server itself needs.
const POSTGRES_RESPONSE_LIMIT: Duration = Duration::from_millis(2300);

/// A Redis of one test, which can be broken.
pub struct OwnRedis {
    pub redis: Redis,
    _folder: TempDir,
}

impl OwnRedis {
    pub fn start() -> OwnRedis {
        let folder = tempfile::tempdir().expect("a new folder");
        // If the tests run as root, Redis runs as another user.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777))
            .expect("new permissions");
        let path = |name| folder.path().join(name);
        let options = RedisOptions {
            data: path("data"),
            sockets: path(""),
            log: path("log"),
            persist: false,
        };
        OwnRedis {
            redis: Redis::start(&options).expect("Redis starts"),
            _folder: folder,
        }
    }

    async fn connection(&self) -> MultiplexedConnection {
        connect_redis(&self.redis.url()).await
    }

    /// Sends a command and returns the reply.
    pub async fn command<T: FromRedisValue>(&self, command: &[&str]) -> T {
        redis_command(command)
            .query_async(&mut self.connection().await)
            .await
            .expect("a reply without an error")
    }

    async fn start_server(&self) -> TestServer {
        TestServer::with(
            &[
                DEFAULT_TIMEOUTS.as_slice(),
                &[("REDIS_URL", &self.redis.url())],
            ]
            .concat(),
        )
        .await
    }
}

fn redis_command(words: &[&str]) -> Cmd {
    let mut command = cmd(words[0]);
    command.arg(&words[1..]);
    command
}

/// Signs up an administrator, who can call every operation. On a busy machine, Redis might not
/// respond in time, so the sign-up is repeated.
async fn sign_up_admin(server: &TestServer) -> Session {
    for number in 0..20 {
        let body = json!({"username": format!("john{number}"), "password": PASSWORD});
        let response = server.post("/signup", body.clone()).await;
        if response.status == 201 {
            execute(server, "update users set role = 'admin'").await;
            wait_until("the sign-in succeeds", || async {
                server.post("/login", body.clone()).await.status == 200
            })
            .await;
            return Session::of(server.post("/login", body).await.is(200, ""));
        }
        response.is(503, "unavailable");
    }
    panic!("no sign-up succeeded");
}

type Call = (Method, &'static str, Value);

/// Returns all operations that require a token, except sign-out and the creation of a user, which
/// computes a password hash before it fails.
fn protected_calls() -> Vec<Call> {
    let item = "/items/018f0000-0000-7000-8000-000000000000";
    let user = "/users/018f0000-0000-7000-8000-000000000000";
    vec![
        (Method::GET, "/auth/verify", Value::Null),
        (Method::GET, "/user", Value::Null),
        (Method::PATCH, "/user", json!({"name": "Changed"})),
        (Method::DELETE, "/user", Value::Null),
        (
            Method::POST,
            "/user/password",
            json!({"current_password": PASSWORD, "new_password": "another one 7"}),
        ),
        (
            Method::POST,
            "/user/email",
            json!({"email": "changed@example.com", "password": PASSWORD}),
        ),
        (
            Method::POST,
            "/user/email/confirm",
            json!({"code": "00000-00000"}),
        ),
        (Method::GET, "/dashboard", Value::Null),
        (Method::GET, "/sessions", Value::Null),
        (
            Method::DELETE,
            "/sessions/018f0000-0000-7000-8000-000000000000",
            Value::Null,
        ),
        (Method::GET, "/user/audit", Value::Null),
        (Method::GET, "/items", Value::Null),
        (Method::POST, "/items", json!({"name": "Changed"})),
        (Method::GET, item, Value::Null),
        (
            Method::PUT,
            item,
            json!({"name": "Changed", "description": null}),
        ),
        (Method::PATCH, item, json!({"name": "Changed"})),
        (Method::DELETE, item, Value::Null),
        (Method::GET, "/users", Value::Null),
        (Method::GET, user, Value::Null),
        (
            Method::PUT,
            user,
            json!({"username": "x", "email": null, "name": null, "role": "user", "disabled": true}),
        ),
        (Method::PATCH, user, json!({"disabled": true})),
        (Method::DELETE, user, Value::Null),
        (
            Method::POST,
            "/users/018f0000-0000-7000-8000-000000000000/revoke",
            Value::Null,
        ),
        (
            Method::GET,
            "/users/018f0000-0000-7000-8000-000000000000/sessions",
            Value::Null,
        ),
        (
            Method::GET,
            "/users/018f0000-0000-7000-8000-000000000000/audit",
            Value::Null,
        ),
        (Method::GET, "/revocations", Value::Null),
    ]
}

/// Asserts that all calls return 503 `unavailable`. Returns the longest response time.
async fn assert_unavailable(server: &TestServer, session: &Session, calls: &[Call]) -> Duration {
    let times = calls.iter().map(async |(method, path, body)| {
        let started_at = Instant::now();
        let response = server
            .with_token(method.clone(), path, &session.access_token, body.clone())
            .await;
        let elapsed = started_at.elapsed();
        assert_eq!(
            (response.status, response.code().as_str()),
            (503, "unavailable"),
            "{method} {path}"
        );
        assert!(
            response
                .header("retry-after")
                .parse::<u64>()
                .is_ok_and(|wait| wait > 0),
            "{method} {path}"
        );
        elapsed
    });
    join_all(times).await.into_iter().max().unwrap_or_default()
}

/// Asserts that all calls return 503 within a limit. Repeats them, because the machine might be
/// busy.
async fn assert_unavailable_within(
    limit: Duration,
    server: &TestServer,
    session: &Session,
    calls: &[Call],
) {
    for _ in 0..5 {
        let slowest = assert_unavailable(server, session, calls).await;
        println!("slowest 503 response: {slowest:?}");
        if slowest <= limit {
            return;
        }
    }
    panic!("the responses exceed {limit:?}");
}

/// Asserts that the rejected calls changed nothing.
async fn assert_unchanged(server: &TestServer, session: &Session) {
    let user = server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    assert_eq!(
        (user.status, &user.body["name"]),
        (200, &Value::Null),
        "{}",
        user.body
    );
    let items = server
        .with_token(Method::GET, "/items", &session.access_token, Value::Null)
        .await;
    assert_eq!(
        (items.status, &items.body["data"]),
        (200, &json!([])),
        "{}",
        items.body
    );
}

/// Waits until the same process serves requests again, and serves checks from memory.
async fn wait_until_recovered(server: &TestServer, session: &Session) {
    let get = async |path| {
        server
            .with_token(Method::GET, path, &session.access_token, Value::Null)
            .await
            .status
    };
    let is_recovered = || async {
        is_check_source(server, "memory").await
            && (
                get("/auth/verify").await,
                get("/user").await,
                get("/items").await,
            ) == (204, 200, 200)
    };
    wait_until("the server recovers", is_recovered).await;
}

async fn is_check_source(server: &TestServer, source: &str) -> bool {
    server.readiness().await.text("check_source") == source
}

/// Repeats a request while Redis does not respond in time, because the machine might be busy. A 503
/// before the timeout has another cause and is returned.
async fn retry_timeouts<F: Future<Output = TestResponse>>(
    mut send: impl FnMut() -> F,
) -> TestResponse {
    for _ in 0..20 {
        let started_at = Instant::now();
        let response = send().await;
        if response.status != 503 || started_at.elapsed() < REDIS_TIMEOUT {
            return response;
        }
    }
    send().await
}

/// Signs up a user and signs out. Returns the revoked session.
async fn create_revoked_session(server: &TestServer) -> Session {
    let session = server.sign_up("mary").await;
    retry_timeouts(|| server.sign_out(&session.access_token))
        .await
        .is(204, "");
    session
}

/// Asserts that checks work while only Redis is unavailable, before and after the lease expires.
async fn assert_checks_without_redis(server: &TestServer, valid: &Session, revoked: &Session) {
    let rejection = (401, "token_revoked".to_owned());
    let is_lease_expired = || async {
        assert_eq!(
            server.verify(&revoked.access_token).await,
            rejection,
            "a revoked session is always rejected"
        );
        assert_eq!(
            server.verify(&valid.access_token).await,
            (204, String::new()),
            "a valid session is always accepted"
        );
        is_check_source(server, "postgres").await
    };
    wait_until("the lease is expired", is_lease_expired).await;
    for (method, path, body) in protected_calls() {
        let response = server
            .with_token(method.clone(), path, &revoked.access_token, body)
            .await;
        assert_eq!(
            (response.status, response.code()),
            rejection,
            "{method} {path}"
        );
    }
    for path in [
        "/user",
        "/dashboard",
        "/sessions",
        "/items",
        "/users",
        "/user/audit",
    ] {
        let started_at = Instant::now();
        server
            .with_token(Method::GET, path, &valid.access_token, Value::Null)
            .await
            .is(200, "");
        println!("{path} without Redis: {:?}", started_at.elapsed());
    }
}
