//! Redis fails over without cutting connections, connections are slow, and passwords change.

use std::{fs, time::Duration};

use deadpool_redis::redis::Value;
use uuid::Uuid;

use super::{OwnRedis, redis_command};
use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{Session, TestServer, settings, wait_until},
    test_stores::{connect_redis, fresh_database, redis_socket},
};

/// Two servers of Redis, and a proxy to the first one. The second one follows it.
struct ReplicationPair {
    primary: OwnRedis,
    follower: OwnRedis,
    proxy: Proxy,
    replication: [Proxy; 2],
}

impl ReplicationPair {
    async fn start() -> ReplicationPair {
        let (primary, follower) = (OwnRedis::start(), OwnRedis::start());
        let to = |redis: &OwnRedis| Proxy::to(redis_socket(&redis.redis.url()));
        let pair = ReplicationPair {
            proxy: to(&primary).await,
            replication: [to(&primary).await, to(&follower).await],
            primary,
            follower,
        };
        pair.follower.follow(&pair.replication[0]).await;
        pair
    }

    async fn server(&self) -> TestServer {
        TestServer::with(&[
            ("REDIS_URL", self.proxy.redis_url().as_str()),
            ("LATCHKEY_REDIS_TIMEOUT", "1s"),
        ])
        .await
    }

    /// Leads new connections to the second server. Existing ones stay open.
    fn move_address(&self) {
        self.proxy.lead_to(redis_socket(&self.follower.redis.url()));
    }
}

impl OwnRedis {
    async fn follow(&self, primary: &Proxy) {
        let (host, port) = (
            primary.address.ip().to_string(),
            primary.address.port().to_string(),
        );
        self.command::<String>(&["REPLICAOF", &host, &port]).await;
        wait_until("the follower is synchronized", || async {
            let info = self.command::<String>(&["INFO", "replication"]).await;
            info.contains("master_link_status:up")
        })
        .await;
    }

    async fn promote(&self) {
        self.command::<String>(&["REPLICAOF", "NO", "ONE"]).await;
    }
}

/// Waits until the server checks from memory and can sign out.
async fn wait_until_normal(server: &TestServer) {
    wait_until("checks are served from memory", || async {
        server.readiness().await.body["check_source"] == "memory"
    })
    .await;
    let session = server
        .sign_up(&format!("u{}", Uuid::new_v4().simple()))
        .await;
    wait_until("sign-out works", || async {
        server.sign_out(&session.access_token).await.status == 204
    })
    .await;
    server.rejects(&session).await;
}

#[tokio::test]
async fn demoted_primary_with_open_connections_is_abandoned() {
    let pair = ReplicationPair::start().await;
    let server = pair.server().await;
    let session = server.sign_up("john").await;
    pair.follower.promote().await;
    pair.move_address();
    pair.primary.follow(&pair.replication[1]).await;
    wait_until("refresh works", || async {
        server.refresh(&session.refresh_token).await.status == 200
    })
    .await;
    wait_until_normal(&server).await;
}

#[tokio::test]
async fn primary_without_followers_is_abandoned() {
    let pair = ReplicationPair::start().await;
    let server = pair.server().await;
    let session = server.sign_up("john").await;
    pair.follower.promote().await;
    let require_follower = ["CONFIG", "SET", "min-replicas-to-write", "1"];
    pair.primary.command::<String>(&require_follower).await;
    wait_until("writes are rejected", || async {
        server.refresh(&session.refresh_token).await.status == 503
    })
    .await;
    pair.move_address();
    wait_until_normal(&server).await;
}

#[tokio::test]
async fn url_of_a_follower_is_reported() {
    let pair = ReplicationPair::start().await;
    let database = fresh_database().await;
    let url = pair.follower.redis.url();
    let server = TestServer::launch(settings(&database, &url, "follower"));
    server
        .wait_for_log(&["`REDIS_URL` leads to a follower; set"])
        .await;
    assert_eq!(server.get("/health/ready").await.status, 503);
}

/// Connecting takes more round trips than an operation.
#[tokio::test]
async fn connecting_can_take_longer_than_an_operation() {
    let proxy = Proxy::to_redis().await;
    let server = TestServer::with(&[
        ("REDIS_URL", proxy.redis_url().as_str()),
        ("LATCHKEY_REDIS_TIMEOUT", "350ms"),
        ("LATCHKEY_LEASE", "3s"),
    ])
    .await;
    let session = server.sign_up("john").await;
    let refreshed = Session::of(server.refresh(&session.refresh_token).await.is(200, ""));
    proxy.set(ConnectionState::Cut);
    wait_until("the connections are cut", || async {
        server.refresh(&refreshed.refresh_token).await.status == 503
    })
    .await;
    proxy.set(ConnectionState::Late(Duration::from_millis(100)));
    wait_until("refresh works", || async {
        server.refresh(&refreshed.refresh_token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn changed_password_file_is_read_again() {
    let own_redis = OwnRedis::start();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    let url_with = |password: &str| format!("{}?pass={password}", own_redis.redis.url());
    let set_password = |password: &'static str| ["CONFIG", "SET", "requirepass", password];
    own_redis.command::<String>(&set_password("first")).await;
    fs::write(&file, url_with("first")).expect("a file");
    let database = fresh_database().await;
    let mut settings = settings(&database, "", "password");
    settings.retain(|(name, _)| name != "REDIS_URL");
    settings.push(("REDIS_URL_FILE".into(), file.display().to_string()));
    let server = TestServer::run(settings).await;
    let session = server.sign_up("john").await;

    let mut admin = connect_redis(&url_with("first")).await;
    let end_connections = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    for command in [&set_password("second")[..], &end_connections] {
        let reply = redis_command(command)
            .query_async::<Value>(&mut admin)
            .await;
        reply.expect("a reply");
    }
    wait_until("the password is rejected", || async {
        server.refresh(&session.refresh_token).await.status == 503
    })
    .await;
    fs::write(&file, url_with("second")).expect("a file");
    wait_until("refresh works", || async {
        server.refresh(&session.refresh_token).await.status == 200
    })
    .await;
}

#[tokio::test]
async fn changed_url_file_is_read_again_at_sighup() {
    let (previous, next) = (OwnRedis::start(), OwnRedis::start());
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    fs::write(&file, previous.redis.url()).expect("a file");
    let database = fresh_database().await;
    let mut settings = settings(&database, "", "moved");
    settings.retain(|(name, _)| name != "REDIS_URL");
    settings.push(("REDIS_URL_FILE".into(), file.display().to_string()));
    let server = TestServer::run(settings).await;
    let session = server.sign_up("john").await;

    server.hang_up();
    server.wait_for_log(&["setting kept", "REDIS_URL"]).await;
    fs::write(&file, next.redis.url()).expect("a file");
    server.hang_up();
    server
        .wait_for_log(&["reloaded setting from file", "REDIS_URL"])
        .await;
    wait_until("the replica uses the next Redis", || async {
        next.command::<i64>(&["DBSIZE"]).await > 0
    })
    .await;
    drop(previous);
    wait_until_normal(&server).await;
    server.refresh(&session.refresh_token).await.is(200, "");
}
