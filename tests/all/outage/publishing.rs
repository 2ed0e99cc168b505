//! Redis is unreachable between a commit and its publication. The revocation is enforced as soon as
//! Redis is reachable, without another request.

use reqwest::Method;
use serde_json::{Value, json};

use super::OwnRedis;
use crate::{
    metrics,
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{RowLock, STACK, query_value},
};

/// A server whose connection to Redis can be cut, a replica that always reaches Redis, and two
/// sessions of a user.
struct Fixture {
    proxy: Proxy,
    server: TestServer,
    replica: TestServer,
    session: Session,
    other_session: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        let proxy = Proxy::to_redis().await;
        let server = TestServer::with(&[("REDIS_URL", &proxy.redis_url())]).await;
        let replica = server
            .replica_with(&[("REDIS_URL", &STACK.redis_url())])
            .await;
        let (session, other_session) = (server.sign_up("john").await, server.sign_in("john").await);
        Fixture {
            proxy,
            server,
            replica,
            session,
            other_session,
        }
    }

    /// Sends a request and cuts the connection when only the commit and the publication are left.
    async fn send_and_cut(&self, rows: &str, method: Method, path: &str, body: Value) {
        let lock = RowLock::rows(&self.server, rows).await;
        let mut request =
            std::pin::pin!(
                self.server
                    .with_token(method, path, &self.session.access_token, body)
            );
        tokio::select! {
            response = &mut request => panic!("no row was locked: {}", response.string()),
            () = lock.wait_until_blocked() => {}
        }
        self.proxy.set(ConnectionState::Cut);
        lock.release().await;
        let response: TestResponse = request.await;
        response.is(503, "unavailable");
        assert!(
            response.text("detail").contains("The change is saved"),
            "{}",
            response.body
        );
    }

    /// Restores the connection and asserts that the revocation is republished.
    async fn reconnect_and_assert_revoked(&self, session: &Session) {
        self.proxy.set(ConnectionState::Open);
        self.wait_until_republished(&[&self.server, &self.replica])
            .await;
        self.assert_revoked(session).await;
    }

    /// Waits until a worker of one of the replicas has published a revocation. The request has
    /// already returned 503, so nothing else publishes it.
    async fn wait_until_republished(&self, replicas: &[&TestServer]) {
        wait_until("the revocation is republished", || async {
            let mut republished = 0.0;
            for replica in replicas {
                republished +=
                    metrics::value(replica, "latchkey_revocations_republished_total").await;
            }
            republished > 0.0
        })
        .await;
    }

    /// Waits until the session is revoked, without another request that would revoke it.
    async fn assert_revoked(&self, session: &Session) {
        let is_rejected = || async {
            self.replica.verify(&session.access_token).await == (401, "token_revoked".into())
        };
        wait_until("the access token is rejected", is_rejected).await;
        self.replica
            .refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
}

#[tokio::test]
async fn unpublished_password_change_is_republished() {
    let fixture = Fixture::new().await;
    let body = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .send_and_cut("select from users", Method::POST, "/user/password", body)
        .await;
    assert_eq!(
        query_value(
            &fixture.server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "password_change"
    );
    fixture
        .reconnect_and_assert_revoked(&fixture.other_session)
        .await;
    assert_eq!(
        fixture
            .replica
            .verify(&fixture.session.access_token)
            .await
            .0,
        204,
        "the session of the caller stays valid"
    );
    fixture
        .replica
        .refresh(&fixture.session.refresh_token)
        .await
        .is(200, "");
}

#[tokio::test]
async fn unpublished_user_deletion_is_republished() {
    let fixture = Fixture::new().await;
    fixture
        .send_and_cut("select from users", Method::DELETE, "/user", Value::Null)
        .await;
    assert_eq!(
        query_value(&fixture.server, "select count(*) from users").await,
        "0"
    );
    fixture
        .reconnect_and_assert_revoked(&fixture.other_session)
        .await;
    assert_eq!(
        fixture.replica.verify(&fixture.session.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn unpublished_sign_out_is_republished() {
    let fixture = Fixture::new().await;
    fixture
        .send_and_cut("select from sessions", Method::POST, "/logout", Value::Null)
        .await;
    assert_eq!(
        query_value(
            &fixture.server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "sign_out"
    );
    fixture.reconnect_and_assert_revoked(&fixture.session).await;
    assert_eq!(
        fixture
            .replica
            .verify(&fixture.other_session.access_token)
            .await
            .0,
        204,
        "other sessions stay valid"
    );
}

/// The repeat revokes nothing, but must not return before every replica enforces the revocation.
#[tokio::test]
async fn repeated_sign_out_of_others_returns_after_enforcement() {
    let fixture = Fixture::new().await;
    fixture
        .send_and_cut(
            "select from sessions",
            Method::POST,
            "/logout?scope=others",
            Value::Null,
        )
        .await;
    fixture.proxy.set(ConnectionState::Open);
    let token = &fixture.session.access_token;
    let repeat = || async {
        fixture
            .server
            .with_token(Method::POST, "/logout?scope=others", token, Value::Null)
            .await
            .status
            == 204
    };
    wait_until("the repeat succeeds", repeat).await;
    let rejection = (401, "token_revoked".to_owned());
    assert_eq!(
        fixture
            .replica
            .verify(&fixture.other_session.access_token)
            .await,
        rejection,
        "rejected immediately"
    );
    assert_eq!(fixture.replica.verify(token).await.0, 204);
}

#[tokio::test]
async fn both_sessions_of_one_sign_out_are_republished() {
    let fixture = Fixture::new().await;
    fixture.proxy.set(ConnectionState::Cut);
    let body = json!({"refresh_token": fixture.other_session.refresh_token});
    fixture
        .server
        .with_token(Method::POST, "/logout", &fixture.session.access_token, body)
        .await
        .is(503, "unavailable");
    assert_eq!(
        query_value(
            &fixture.server,
            "select count(*)::text from sessions where revoked_reason = 'sign_out'"
        )
        .await,
        "2"
    );
    fixture.reconnect_and_assert_revoked(&fixture.session).await;
    fixture.assert_revoked(&fixture.other_session).await;
}

#[tokio::test]
async fn session_created_without_redis_is_valid() {
    let fixture = Fixture::new().await;
    fixture.proxy.set(ConnectionState::Cut);
    let body = json!({"username": "mary", "password": PASSWORD});
    let first = Session::of(fixture.server.post("/signup", body).await.is(201, ""));
    let second = Session::of(
        fixture
            .server
            .try_sign_in("mary", PASSWORD)
            .await
            .is(200, ""),
    );
    for session in [first, second] {
        assert_eq!(fixture.replica.verify(&session.access_token).await.0, 204);
        fixture
            .replica
            .refresh(&session.refresh_token)
            .await
            .is(200, "");
    }
}

#[tokio::test]
async fn replica_republishes_for_a_killed_process() {
    let mut fixture = Fixture::new().await;
    let body = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .send_and_cut("select from users", Method::POST, "/user/password", body)
        .await;
    fixture.server.kill();
    fixture.wait_until_republished(&[&fixture.replica]).await;
    fixture.assert_revoked(&fixture.other_session).await;
    assert_eq!(
        fixture
            .replica
            .verify(&fixture.session.access_token)
            .await
            .0,
        204,
        "the session of the caller stays valid"
    );
}

#[tokio::test]
async fn replica_republishes_a_name_change_for_a_killed_process() {
    let mut fixture = Fixture::new().await;
    fixture
        .send_and_cut(
            "select from users",
            Method::PATCH,
            "/user",
            json!({"name": "John Doe"}),
        )
        .await;
    fixture.server.kill();
    let current = std::sync::Mutex::new(fixture.session.clone());
    let has_new_name = || async {
        let session = current.lock().expect("one task").clone();
        let refreshed = Session::of(
            fixture
                .replica
                .refresh(&session.refresh_token)
                .await
                .is(200, ""),
        );
        let name = refreshed.claims()["name"].clone();
        *current.lock().expect("one task") = refreshed;
        name == "John Doe"
    };
    wait_until("access tokens contain the new name", has_new_name).await;
}

/// Redis rejects only the command that appends entries. The key of the preflight is exempt, so that
/// new connections work.
#[tokio::test]
async fn unpublishable_revocation_is_enforced_and_reported() {
    let own_redis = OwnRedis::start();
    let server = own_redis.start_server().await;
    let replica = server.replica().await;
    let session = server.sign_up("john").await;
    let readiness = async |replica: &TestServer| replica.readiness().await.body;
    for replica in [&server, &replica] {
        wait_until("checks are served from memory", || async {
            readiness(replica).await["check_source"] == "memory"
        })
        .await;
    }
    let deny = ["ACL", "SETUSER", "default", "-xadd", "(+xadd ~*:preflight)"];
    own_redis.command::<String>(&deny).await;
    server
        .sign_out(&session.access_token)
        .await
        .is(503, "unavailable");
    for replica in [&server, &replica] {
        wait_until("the token is rejected", || async {
            replica.verify(&session.access_token).await == (401, "token_revoked".into())
        })
        .await;
        // Leases don't need the command. (On a busy machine, a lease can expire for a moment.)
        wait_until(
            "the delay is reported, and memory serves checks",
            || async {
                let body = readiness(replica).await;
                let reasons = body["degraded"].to_string();
                body["check_source"] == "memory" && reasons.contains("are published: 1 wait,")
            },
        )
        .await;
    }
    let allow = ["ACL", "SETUSER", "default", "clearselectors", "+xadd"];
    own_redis.command::<String>(&allow).await;
    for replica in [&server, &replica] {
        wait_until("the revocation is published", || async {
            readiness(replica).await["degraded"] == json!([])
        })
        .await;
    }
    server.sign_out(&session.access_token).await.is(204, "");
}
