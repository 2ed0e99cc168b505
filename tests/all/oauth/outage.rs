//! A store is unavailable: the endpoints return 503 if they cannot validate or revoke a token.

use latchkey_dev::Stack;

use super::{Client, Fixture, assert_oauth_error};
use crate::{
    test_server::{Session, TestResponse, TestServer, wait_until},
    test_stores::own_stack,
};

/// A fixture on separate stores, a valid session, and a revoked token.
struct Outage {
    stack: Stack,
    fixture: Fixture,
    valid: Session,
    revoked: String,
}

impl Outage {
    async fn new() -> Outage {
        let (stack, database) = own_stack();
        let redis = stack.redis.url();
        let server = TestServer::with(&[
            ("DATABASE_URL", database.as_str()),
            ("REDIS_URL", redis.as_str()),
        ])
        .await;
        let fixture = Fixture::of(server).await;
        let (valid, revoked) = (
            fixture.server.sign_in("john").await,
            fixture.server.sign_in("john").await.access_token,
        );
        fixture
            .server
            .form("/oauth/revoke", &[("token", &revoked)])
            .await
            .is(200, "");
        Outage {
            stack,
            fixture,
            valid,
            revoked,
        }
    }

    async fn introspect(&self, token: &str) -> TestResponse {
        self.fixture
            .server
            .form(
                "/oauth/introspect",
                &self.fixture.client.form(&[("token", token)]),
            )
            .await
    }

    async fn assert_unavailable(&self, path: &str, form: &[(&str, &str)]) {
        assert_oauth_error(
            &self.fixture.server.form(path, form).await,
            503,
            "temporarily_unavailable",
            path,
        );
    }

    /// Asserts that valid tokens cannot be revoked.
    async fn assert_revocation_is_unavailable(&self) {
        let personal = format!("lkp_{}", "A".repeat(70));
        for token in [&self.valid.access_token, &self.valid.refresh_token] {
            self.assert_unavailable("/oauth/revoke", &[("token", token)])
                .await;
        }
        // Malformed tokens are detected without a store.
        for token in ["garbage", &personal] {
            self.fixture
                .server
                .form("/oauth/revoke", &[("token", token)])
                .await
                .is(200, "");
        }
    }

    /// Asserts that clients cannot authenticate, so that they can neither introspect nor request
    /// tokens.
    async fn assert_clients_are_unavailable(&self) {
        let client: &Client = &self.fixture.client;
        for token in [&self.valid.access_token, &self.revoked, "garbage"] {
            self.assert_unavailable("/oauth/introspect", &client.form(&[("token", token)]))
                .await;
        }
        self.assert_unavailable(
            "/oauth/token",
            &client.form(&[("grant_type", "client_credentials")]),
        )
        .await;
    }

    /// Asserts that repeated requests succeed after the outage.
    async fn assert_repeats_succeed(&self) {
        let form = [("token", self.valid.access_token.as_str())];
        let server = &self.fixture.server;
        wait_until("the token is revoked", || async {
            server.form("/oauth/revoke", &form).await.status == 200
        })
        .await;
        wait_until("introspection succeeds", || async {
            self.introspect(&self.revoked).await.status == 200
        })
        .await;
        for token in [&self.valid.access_token, &self.revoked] {
            assert_eq!(server.verify(token).await, (401, "token_revoked".into()));
            assert_eq!(
                self.introspect(token).await.is(200, "").string(),
                r#"{"active":false}"#
            );
        }
        server.refresh(&self.valid.refresh_token).await.is(200, "");
    }
}

#[tokio::test]
async fn without_redis_introspection_uses_postgres() {
    let mut outage = Outage::new().await;
    outage.stack.redis.kill();
    for _ in 0..3 {
        assert_eq!(
            outage
                .introspect(&outage.valid.access_token)
                .await
                .is(200, "")
                .body["active"],
            true
        );
        assert_eq!(
            outage
                .introspect(&outage.revoked)
                .await
                .is(200, "")
                .string(),
            r#"{"active":false}"#
        );
    }
    outage.assert_revocation_is_unavailable().await;
    outage
        .assert_unavailable(
            "/oauth/token",
            &[
                ("grant_type", "refresh_token"),
                ("refresh_token", &outage.valid.refresh_token),
            ],
        )
        .await;
    outage.stack.redis.restart().expect("Redis starts");
    // PostgreSQL has the revocation of the refresh token, which is now published in Redis.
    let is_revoked = || async {
        let response = outage
            .fixture
            .server
            .refresh(&outage.valid.refresh_token)
            .await;
        response.code() == "invalid_refresh_token"
    };
    wait_until("the refresh token is rejected", is_revoked).await;
}

#[tokio::test]
async fn without_postgres_introspection_and_revocation_fail() {
    let mut outage = Outage::new().await;
    outage.stack.postgres.kill();
    outage.assert_clients_are_unavailable().await;
    outage.assert_revocation_is_unavailable().await;
    // Redis contains the session and its scope, so a refresh succeeds.
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", outage.valid.refresh_token.as_str()),
    ];
    let extended = [&form[..], &[("scope", "admin")]].concat();
    let extended = outage.fixture.server.form("/oauth/token", &extended).await;
    assert_oauth_error(&extended, 400, "invalid_scope", "extended scope");
    outage.valid = Session::of(
        outage
            .fixture
            .server
            .form("/oauth/token", &form)
            .await
            .is(200, ""),
    );
    outage.stack.postgres.restart().expect("PostgreSQL starts");
    outage.assert_repeats_succeed().await;
}

#[tokio::test]
async fn without_stores_all_endpoints_fail() {
    let mut outage = Outage::new().await;
    outage.stack.redis.kill();
    outage.stack.postgres.kill();
    outage.assert_clients_are_unavailable().await;
    outage.assert_revocation_is_unavailable().await;
}
