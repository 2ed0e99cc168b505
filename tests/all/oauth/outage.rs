//! A store is down: what cannot be known is 503, never good, and nothing is said to be taken back
//! that is not.

use latchkey_dev::Stack;

use super::{Client, Fixture, is_refusal};
use crate::{
    test_server::{Session, TestResponse, TestServer, until},
    test_stores::own_stack,
};

/// A scene with stores of its own, and two tokens: one that is good, and one that was given back.
struct Cut {
    stack: Stack,
    fixture: Fixture,
    good: Session,
    bad: String,
}

impl Cut {
    async fn new() -> Cut {
        let (stack, database) = own_stack();
        let redis = stack.redis.url();
        let server = TestServer::with(&[
            ("DATABASE_URL", database.as_str()),
            ("REDIS_URL", redis.as_str()),
        ])
        .await;
        let fixture = Fixture::of(server).await;
        let (good, bad) = (
            fixture.server.sign_in("john").await,
            fixture.server.sign_in("john").await.access_token,
        );
        fixture
            .server
            .form("/oauth/revoke", &[("token", &bad)])
            .await
            .is(200, "");
        Cut {
            stack,
            fixture,
            good,
            bad,
        }
    }

    /// What is said of a token, by whoever is asked.
    async fn introspect(&self, token: &str) -> TestResponse {
        self.fixture
            .server
            .form(
                "/oauth/introspect",
                &self.fixture.client.form(&[("token", token)]),
            )
            .await
    }

    async fn refuse(&self, path: &str, form: &[(&str, &str)]) {
        is_refusal(
            &self.fixture.server.form(path, form).await,
            503,
            "temporarily_unavailable",
            path,
        );
    }

    /// Nothing can be taken back, and nobody is told that it was.
    async fn nothing_is_taken_back(&self) {
        let personal = format!("lkp_{}", "A".repeat(70));
        for token in [&self.good.access_token, &self.good.refresh_token] {
            self.refuse("/oauth/revoke", &[("token", token)]).await;
        }
        // What cannot be one needs no store to be none.
        for token in ["garbage", &personal] {
            self.fixture
                .server
                .form("/oauth/revoke", &[("token", token)])
                .await
                .is(200, "");
        }
    }

    /// Nobody can be told anything, because nobody can prove who it is.
    async fn nothing_is_told(&self) {
        let client: &Client = &self.fixture.client;
        for token in [&self.good.access_token, &self.bad, "garbage"] {
            self.refuse("/oauth/introspect", &client.form(&[("token", token)]))
                .await;
        }
        self.refuse(
            "/oauth/token",
            &client.form(&[("grant_type", "client_credentials")]),
        )
        .await;
    }

    /// What was refused is done when it is asked for again.
    async fn repeats_are_done(&self) {
        let form = [("token", self.good.access_token.as_str())];
        let server = &self.fixture.server;
        until("it is taken back", || async {
            server.form("/oauth/revoke", &form).await.status == 200
        })
        .await;
        until("it is told", || async {
            self.introspect(&self.bad).await.status == 200
        })
        .await;
        for token in [&self.good.access_token, &self.bad] {
            assert_eq!(server.verify(token).await, (401, "token_revoked".into()));
            assert_eq!(
                self.introspect(token).await.is(200, "").string(),
                r#"{"active":false}"#
            );
        }
        server.refresh(&self.good.refresh_token).await.is(200, "");
    }
}

#[tokio::test]
async fn without_redis_the_record_tells_what_is_good() {
    let mut cut = Cut::new().await;
    cut.stack.redis.kill();
    for _ in 0..3 {
        assert_eq!(
            cut.introspect(&cut.good.access_token)
                .await
                .is(200, "")
                .body["active"],
            true
        );
        assert_eq!(
            cut.introspect(&cut.bad).await.is(200, "").string(),
            r#"{"active":false}"#
        );
    }
    cut.nothing_is_taken_back().await;
    cut.refuse(
        "/oauth/token",
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", &cut.good.refresh_token),
        ],
    )
    .await;
    cut.stack.redis.start_again().expect("it can be started");
    // That the refresh token was given back is on record, and Redis is told now.
    let over = || async {
        let response = cut.fixture.server.refresh(&cut.good.refresh_token).await;
        response.code() == "invalid_refresh_token"
    };
    until("what is on record is told", over).await;
}

#[tokio::test]
async fn without_the_record_nothing_is_told_and_nothing_taken_back() {
    let mut cut = Cut::new().await;
    cut.stack.postgres.kill();
    cut.nothing_is_told().await;
    cut.nothing_is_taken_back().await;
    // Redis knows the session, and what may be wished for.
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", cut.good.refresh_token.as_str()),
    ];
    let beyond = [&form[..], &[("scope", "admin")]].concat();
    let beyond = cut.fixture.server.form("/oauth/token", &beyond).await;
    is_refusal(&beyond, 400, "invalid_scope", "more");
    cut.good = Session::of(
        cut.fixture
            .server
            .form("/oauth/token", &form)
            .await
            .is(200, ""),
    );
    cut.stack.postgres.start_again().expect("it can be started");
    cut.repeats_are_done().await;
}

#[tokio::test]
async fn without_both_nothing_is_good() {
    let mut cut = Cut::new().await;
    cut.stack.redis.kill();
    cut.stack.postgres.kill();
    cut.nothing_is_told().await;
    cut.nothing_is_taken_back().await;
}
