//! Redis is cut off between a commit and its publication: what ended in the record is refused as
//! soon as the line is mended, and nobody need ask for it again.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    metrics,
    proxy::{Line, Proxy},
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{Held, STACK, ask},
};

/// A gateway whose line to Redis can be cut, a replica that always reaches it, and John, who is
/// signed in twice.
struct Fixture {
    proxy: Proxy,
    server: TestServer,
    replica: TestServer,
    john: Session,
    other: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        let proxy = Proxy::to_redis().await;
        let server = TestServer::with(&[("REDIS_URL", &proxy.redis_url())]).await;
        let replica = server
            .replica_with(&[("REDIS_URL", &STACK.redis_url())])
            .await;
        let (john, other) = (server.sign_up("john").await, server.sign_in("john").await);
        Fixture {
            proxy,
            server,
            replica,
            john,
            other,
        }
    }

    /// Sends a request of John's, and cuts the line when all that it still has to do is to commit
    /// and to publish.
    async fn cut_off(&self, rows: &str, method: Method, path: &str, body: Value) {
        let held = Held::rows(&self.server, rows).await;
        let mut request =
            std::pin::pin!(
                self.server
                    .with_token(method, path, &self.john.access_token, body)
            );
        tokio::select! {
            response = &mut request => panic!("it waited for no row: {}", response.string()),
            () = held.until_somebody_waits() => {}
        }
        self.proxy.set(Line::Cut);
        held.release().await;
        let response: TestResponse = request.await;
        response.is(503, "unavailable");
        assert!(
            response.text("detail").contains("The change is saved"),
            "{}",
            response.body
        );
    }

    /// The session ends though nobody asks again.
    async fn ends_when_mended(&self, session: &Session) {
        self.proxy.set(Line::Open);
        self.ends_when_mended_too(session).await;
        // By the request nobody was told, which was answered; by who looks for what was not
        // published.
        let made_up_for =
            async |replica| metrics::value(replica, "latchkey_revocations_republished_total").await;
        until("it is made up for", || async {
            made_up_for(&self.server).await + made_up_for(&self.replica).await > 0.0
        })
        .await;
    }

    /// The line is mended already.
    async fn ends_when_mended_too(&self, session: &Session) {
        let refused = || async {
            self.replica.verify(&session.access_token).await == (401, "token_revoked".into())
        };
        until("it is refused", refused).await;
        self.replica
            .refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
}

#[tokio::test]
async fn a_change_of_password_that_could_not_be_published_publishes_itself() {
    let fixture = Fixture::new().await;
    let body = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .cut_off("select from users", Method::POST, "/user/password", body)
        .await;
    assert_eq!(
        ask(
            &fixture.server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "password_change"
    );
    fixture.ends_when_mended(&fixture.other).await;
    assert_eq!(
        fixture.replica.verify(&fixture.john.access_token).await.0,
        204,
        "the caller's own tokens stay good"
    );
    fixture
        .replica
        .refresh(&fixture.john.refresh_token)
        .await
        .is(200, "");
}

#[tokio::test]
async fn a_deletion_that_could_not_be_published_publishes_itself() {
    let fixture = Fixture::new().await;
    fixture
        .cut_off("select from users", Method::DELETE, "/user", Value::Null)
        .await;
    assert_eq!(
        ask(&fixture.server, "select count(*) from users").await,
        "0"
    );
    fixture.ends_when_mended(&fixture.other).await;
    assert_eq!(
        fixture.replica.verify(&fixture.john.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn a_logout_that_could_not_be_published_publishes_itself() {
    let fixture = Fixture::new().await;
    fixture
        .cut_off("select from sessions", Method::POST, "/logout", Value::Null)
        .await;
    assert_eq!(
        ask(
            &fixture.server,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "sign_out"
    );
    fixture.ends_when_mended(&fixture.john).await;
    assert_eq!(
        fixture.replica.verify(&fixture.other.access_token).await.0,
        204,
        "other sessions live"
    );
}

/// There is nothing left to end; but who is told so must not be told before it is true everywhere.
#[tokio::test]
async fn a_repeat_for_all_others_is_answered_when_they_are_refused() {
    let fixture = Fixture::new().await;
    fixture
        .cut_off(
            "select from sessions",
            Method::POST,
            "/logout?scope=others",
            Value::Null,
        )
        .await;
    fixture.proxy.set(Line::Open);
    let token = &fixture.john.access_token;
    let repeat = || async {
        fixture
            .server
            .with_token(Method::POST, "/logout?scope=others", token, Value::Null)
            .await
            .status
            == 204
    };
    until("the repeat is good", repeat).await;
    let refused = (401, "token_revoked".to_owned());
    assert_eq!(
        fixture.replica.verify(&fixture.other.access_token).await,
        refused,
        "at once"
    );
    assert_eq!(fixture.replica.verify(token).await.0, 204);
}

#[tokio::test]
async fn of_two_sessions_that_end_at_once_the_second_does_not_wait_for_the_first() {
    let fixture = Fixture::new().await;
    fixture.proxy.set(Line::Cut);
    let body = json!({"refresh_token": fixture.other.refresh_token});
    fixture
        .server
        .with_token(Method::POST, "/logout", &fixture.john.access_token, body)
        .await
        .is(503, "unavailable");
    assert_eq!(
        ask(
            &fixture.server,
            "select count(*)::text from sessions where revoked_reason = 'sign_out'"
        )
        .await,
        "2"
    );
    fixture.ends_when_mended(&fixture.john).await;
    fixture.ends_when_mended_too(&fixture.other).await;
}

#[tokio::test]
async fn a_session_that_redis_never_heard_of_is_one_all_the_same() {
    let fixture = Fixture::new().await;
    fixture.proxy.set(Line::Cut);
    let body = json!({"username": "mary", "password": PASSWORD});
    let first = Session::of(fixture.server.post("/signup", body).await.is(201, ""));
    let second = Session::of(fixture.server.log_in("mary", PASSWORD).await.is(200, ""));
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
async fn what_a_dead_process_could_not_publish_another_one_does() {
    let mut fixture = Fixture::new().await;
    let body = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .cut_off("select from users", Method::POST, "/user/password", body)
        .await;
    fixture.server.kill();
    fixture.ends_when_mended_too(&fixture.other).await;
    assert_eq!(
        fixture.replica.verify(&fixture.john.access_token).await.0,
        204,
        "the caller's own tokens stay good"
    );
}

#[tokio::test]
async fn a_renaming_that_a_dead_process_could_not_publish_another_one_does() {
    let mut fixture = Fixture::new().await;
    fixture
        .cut_off(
            "select from users",
            Method::PATCH,
            "/user",
            json!({"name": "John Doe"}),
        )
        .await;
    fixture.server.kill();
    let current = std::sync::Mutex::new(fixture.john.clone());
    let says_it = || async {
        let session = current.lock().expect("one task").clone();
        let next = Session::of(
            fixture
                .replica
                .refresh(&session.refresh_token)
                .await
                .is(200, ""),
        );
        let name = next.claims()["name"].clone();
        *current.lock().expect("one task") = next;
        name == "John Doe"
    };
    until("tokens say the name", says_it).await;
}
