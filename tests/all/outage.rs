//! A store that is down, stands still or refuses. What needs it is 503, quickly: never "valid",
//! never 401; and when it is back, nobody restarts a gateway.

mod both; // neither store, and starting without
mod postgres; // the record
mod publishing; // the speed, between a commit and its publication
mod redis; // the speed
mod writes_rejected; // a Redis that answers, with no

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
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{connect_redis, execute},
};

/// What the other tests relax: here they are the defaults.
const DEFAULTS: [(&str, &str); 2] = [
    ("LATCHKEY_REDIS_TIMEOUT", "100ms"),
    ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
];

/// What Redis gets by default.
const REDIS_LIMIT: Duration = Duration::from_millis(100);

/// The promise: PostgreSQL gets 2 s, and the rest is ours.
const POSTGRES_LIMIT: Duration = Duration::from_millis(2300);

/// A Redis of one test, to be broken.
pub struct OwnRedis {
    pub redis: Redis,
    _folder: TempDir,
}

impl OwnRedis {
    pub fn start() -> OwnRedis {
        let folder = tempfile::tempdir().expect("there is room");
        // Started by root it runs as somebody else.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("it is ours");
        let path = |name| folder.path().join(name);
        let options = RedisOptions {
            data: path("data"),
            sockets: path(""),
            log: path("log"),
            persist: false,
        };
        OwnRedis {
            redis: Redis::start(&options).expect("Redis can be started"),
            _folder: folder,
        }
    }

    async fn connection(&self) -> MultiplexedConnection {
        connect_redis(&self.redis.url()).await
    }

    pub async fn tell<T: FromRedisValue>(&self, command: &[&str]) -> T {
        call(command)
            .query_async(&mut self.connection().await)
            .await
            .expect("it obeys")
    }

    async fn server(&self) -> TestServer {
        TestServer::with(&[DEFAULTS.as_slice(), &[("REDIS_URL", &self.redis.url())]].concat()).await
    }
}

fn call(command: &[&str]) -> Cmd {
    let mut call = cmd(command[0]);
    call.arg(&command[1..]);
    call
}

/// An administrator, to whom every operation is open, once the busy machine lets Redis answer in
/// time.
async fn signed_in(server: &TestServer) -> Session {
    for number in 0..20 {
        let body = json!({"username": format!("john{number}"), "password": PASSWORD});
        let response = server.post("/signup", body.clone()).await;
        if response.status == 201 {
            execute(server, "update users set role = 'admin'").await;
            until("it signs in", || async {
                server.post("/login", body.clone()).await.status == 200
            })
            .await;
            return Session::of(server.post("/login", body).await.is(200, ""));
        }
        response.is(503, "unavailable");
    }
    panic!("nobody could sign up");
}

/// Every operation that wants a token, but those that end it, and making a user, which takes a hash
/// before it fails.
fn protected() -> Vec<(Method, &'static str, Value)> {
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

type Call = (Method, &'static str, Value);

/// Asserts that all of them answer 503 `unavailable`; the time of the slowest.
async fn slowest_refusal(server: &TestServer, session: &Session, calls: &[Call]) -> Duration {
    let refused = calls.iter().map(async |(method, path, body)| {
        let began = Instant::now();
        let response = server
            .with_token(method.clone(), path, &session.access_token, body.clone())
            .await;
        let elapsed = began.elapsed();
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
    join_all(refused)
        .await
        .into_iter()
        .max()
        .unwrap_or_default()
}

/// The same within a limit; with further chances, because the machine may be busy with something
/// else.
async fn refused_within(limit: Duration, server: &TestServer, session: &Session, calls: &[Call]) {
    for _ in 0..5 {
        let slowest = slowest_refusal(server, session, calls).await;
        println!("slowest refusal: {slowest:?}");
        if slowest <= limit {
            return;
        }
    }
    panic!("never within {limit:?}");
}

/// Nothing that was refused was done.
async fn nothing_changed(server: &TestServer, session: &Session) {
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

/// Waits until everything is answered again, by the same process, and checks by memory.
async fn works_again(server: &TestServer, session: &Session) {
    let get = async |path| {
        server
            .with_token(Method::GET, path, &session.access_token, Value::Null)
            .await
            .status
    };
    let all = || async {
        checks_by(server, "memory").await
            && (
                get("/auth/verify").await,
                get("/user").await,
                get("/items").await,
            ) == (204, 200, 200)
    };
    until("it works again", all).await;
}

/// Whether this is who answers checks.
async fn checks_by(server: &TestServer, who: &str) -> bool {
    server.get("/health/ready").await.text("check_source") == who
}

/// What is answered once the busy machine lets Redis answer in time. Who is refused sooner was not
/// refused for that.
async fn in_time<F: Future<Output = TestResponse>>(mut ask: impl FnMut() -> F) -> TestResponse {
    for _ in 0..20 {
        let began = Instant::now();
        let response = ask().await;
        if response.status != 503 || began.elapsed() < REDIS_LIMIT {
            return response;
        }
    }
    ask().await
}

/// A session that has just ended.
async fn signed_out(server: &TestServer) -> Session {
    let mary = server.sign_up("mary").await;
    in_time(|| server.log_out(&mary.access_token))
        .await
        .is(204, "");
    mary
}

/// While Redis is away and PostgreSQL is not: callers go on, without waiting for Redis; whoever is
/// signed out stays so, while the lease lasts and when it is over.
async fn checked_without_redis(server: &TestServer, john: &Session, out: &Session) {
    let refused = (401, "token_revoked".to_owned());
    let over = || async {
        assert_eq!(
            server.verify(&out.access_token).await,
            refused,
            "not for a moment"
        );
        assert_eq!(
            server.verify(&john.access_token).await,
            (204, String::new()),
            "not for a moment"
        );
        checks_by(server, "postgres").await
    };
    until("the lease is over", over).await;
    for (method, path, body) in protected() {
        let response = server
            .with_token(method.clone(), path, &out.access_token, body)
            .await;
        assert_eq!(
            (response.status, response.code()),
            refused,
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
        let began = Instant::now();
        server
            .with_token(Method::GET, path, &john.access_token, Value::Null)
            .await
            .is(200, "");
        println!("{path} without Redis: {:?}", began.elapsed());
    }
}
