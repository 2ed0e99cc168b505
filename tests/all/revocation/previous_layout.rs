//! Replicas of an older version, whose keys don't contain the database ID, and another deployment
//! with the same prefix.

use std::{sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::sleep};
use uuid::Uuid;

use super::wait_for_check_source;
use crate::{
    outage::OwnRedis,
    test_server::{TestServer, settings, wait_until},
    test_stores::fresh_database,
};

const STATE: &str = "lk:{rev}:state";

/// A replica of an older version, as it appears in Redis: a member that renews its lease.
struct OlderReplica {
    renewals: JoinHandle<()>,
}

impl OlderReplica {
    async fn start(redis: &Arc<OwnRedis>) -> OlderReplica {
        let info = redis.command::<String>(&["INFO", "replication"]).await;
        let history = info
            .lines()
            .find_map(|line| line.strip_prefix("master_replid:"));
        let epoch = format!("{}:nonce", history.expect("a replication ID"));
        let member = format!("member:{}", Uuid::new_v4().simple());
        let redis = redis.clone();
        let renew = async move |counter: u64| {
            let acknowledged = format!("0:{counter}");
            let command = ["HSET", STATE, "epoch_id", &epoch, &member, &acknowledged];
            redis.command::<i64>(&command).await;
        };
        renew(0).await;
        OlderReplica {
            renewals: tokio::spawn(async move {
                for counter in 1.. {
                    renew(counter).await;
                    sleep(Duration::from_millis(50)).await;
                }
            }),
        }
    }

    /// Stops without leaving the members.
    fn kill(self) {
        self.renewals.abort();
    }
}

async fn start_redis() -> (Arc<OwnRedis>, Vec<(String, String)>) {
    let redis = Arc::new(OwnRedis::start());
    let settings = settings(&fresh_database().await, &redis.redis.url(), "lk");
    (redis, settings)
}

async fn read_degraded(server: &TestServer) -> String {
    server.readiness().await.body["degraded"].to_string()
}

#[tokio::test]
async fn replica_waits_until_the_older_version_has_stopped() {
    let (redis, settings) = start_redis().await;
    let older = OlderReplica::start(&redis).await;
    let server = TestServer::launch(settings);
    wait_until("the cause is reported", || async {
        read_degraded(&server)
            .await
            .contains("Replicas of an older version")
    })
    .await;
    assert_eq!(server.get("/health/ready").await.status, 503);
    server.wait_for_log(&["Replicas of an older version"]).await;
    older.kill();
    server.wait_until_ready().await;
    let session = server.sign_up("john").await;
    server.sign_out(&session.access_token).await.is(204, "");
}

#[tokio::test]
async fn older_version_can_not_append_until_a_rollback() {
    let (redis, settings) = start_redis().await;
    let mut server = TestServer::run(settings).await;
    let epoch = redis.command::<String>(&["HGET", STATE, "epoch_id"]).await;
    assert!(epoch.ends_with(":retired"), "{epoch}");
    let renew = "return redis.pcall('HINCRBY', KEYS[1], 'renewal_counter', 1).err";
    let rejected = redis.command::<String>(&["EVAL", renew, "1", STATE]).await;
    assert!(rejected.contains("not an integer"), "{rejected}");
    // The older version computes the next sequence number, and formats it like this.
    let append = "return redis.pcall('XADD', KEYS[1], (redis.call('HGET', KEYS[2], 'last_seq') + 1)
        .. '-0', 'at', '1', 'entry', 'x').err";
    let log = STATE.replace("state", "log");
    let rejected = redis
        .command::<String>(&["EVAL", append, "2", &log, STATE])
        .await;
    assert!(rejected.contains("Invalid stream ID"), "{rejected}");
    assert_eq!(server.stop(), Some(0));
    wait_until("the state expires", || async {
        redis.command::<u8>(&["EXISTS", STATE, &log]).await == 0
    })
    .await;
}

/// The sessions of this version are outdated, because the older version didn't change them.
#[tokio::test]
async fn redis_of_both_versions_must_be_emptied() {
    let (redis, settings) = start_redis().await;
    let mut server = TestServer::run(settings.clone()).await;
    assert_eq!(server.stop(), Some(0));
    redis.command::<i64>(&["DEL", STATE]).await;
    OlderReplica::start(&redis).await.kill();
    let server = TestServer::launch(settings);
    wait_until("the cause is reported", || async {
        let degraded = read_degraded(&server).await;
        degraded.contains("have used this Redis after replicas of this version")
    })
    .await;
    redis.command::<String>(&["FLUSHALL"]).await;
    server.wait_until_ready().await;
}

#[tokio::test]
async fn sign_out_beside_the_older_version_is_unavailable() {
    let (redis, settings) = start_redis().await;
    let server = TestServer::run(settings).await;
    let session = server.sign_up("john").await;
    redis.command::<String>(&["FLUSHALL"]).await;
    let older = OlderReplica::start(&redis).await;
    wait_until("the cause is reported", || async {
        read_degraded(&server)
            .await
            .contains("Replicas of an older version")
    })
    .await;
    server
        .sign_out(&session.access_token)
        .await
        .is(503, "unavailable");
    older.kill();
    // It contains sessions of both versions.
    redis.command::<String>(&["FLUSHALL"]).await;
    wait_until("sign-out works", || async {
        server.sign_out(&session.access_token).await.status == 204
    })
    .await;
}

/// After a flush, each deployment rebuilds its own log.
#[tokio::test]
async fn deployments_with_the_same_prefix_never_meet() {
    let (redis, settings) = start_redis().await;
    let server = TestServer::run(settings.clone()).await;
    let other_database = fresh_database().await;
    let other_settings = settings
        .into_iter()
        .map(|(name, value)| match name.as_str() {
            "DATABASE_URL" => (name, other_database.clone()),
            _other => (name, value),
        });
    let other = TestServer::run(other_settings.collect()).await;
    server.sign_up("john").await;
    for _ in 0..6 {
        let session = server.sign_in("john").await;
        wait_until("sign-out works", || async {
            server.sign_out(&session.access_token).await.status == 204
        })
        .await;
        redis.command::<String>(&["FLUSHALL"]).await;
        for replica in [&other, &server] {
            assert_eq!(
                server.verify(&session.access_token).await,
                (401, "token_revoked".into())
            );
            wait_for_check_source(replica, "memory").await;
        }
    }
}
