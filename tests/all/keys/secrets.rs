//! Rotation of `LATCHKEY_SECRET`.

use reqwest::Method;
use serde_json::json;

use super::{fleet::Fleet, published_kids, run_keys_command};
use crate::{
    mail::{MailServer, code},
    metrics::value,
    test_server::{Session, TestServer, random_secret, wait_until},
    test_stores::query_value,
};

const SECRET: &str = "LATCHKEY_SECRET";
const NEW_PASSWORD: &str = "correct horse 9";

/// Asserts that a replica with this secret exits with a configuration error.
async fn assert_start_fails(server: &TestServer, secret: &str) {
    let settings = server.settings_with(&[(SECRET, secret)]);
    let mut replica = tokio::task::spawn_blocking(|| TestServer::launch(settings))
        .await
        .expect("the task runs");
    wait_until("the replica has exited", || async {
        replica.try_get("/health/live").await.is_none()
    })
    .await;
    assert_eq!(replica.wait(), Some(2));
}

async fn request_reset(fleet: &Fleet, email: &str) {
    let body = json!({"email": email});
    fleet
        .send(|replica| {
            replica
                .request(Method::POST, "/password/forgot")
                .json(&body)
        })
        .await
        .is(202, "");
}

async fn reset_password(fleet: &Fleet, email: &str, code: &str) {
    let body = json!({"email": email, "code": code, "new_password": NEW_PASSWORD});
    fleet
        .send(|replica| replica.request(Method::POST, "/password/reset").json(&body))
        .await
        .is(204, "");
}

/// A replica that was not restarted keeps the keys that it has decrypted, but refresh tokens of the
/// others are invalid there.
#[tokio::test]
async fn replica_without_the_new_secret_is_degraded() {
    let server = TestServer::with(&[("LATCHKEY_JWKS_MAX_AGE", "1s")]).await;
    let secrets = format!("{},{}", random_secret(), server.setting(SECRET));
    let replica = server.replica_with(&[(SECRET, &secrets)]).await;
    replica.sign_up("john").await;
    wait_until("the other secret is reported", || async {
        let degraded = server.readiness().await.body["degraded"].to_string();
        degraded.contains("another replica has encrypted it with a secret that this replica lacks")
    })
    .await;
    assert_eq!(replica.readiness().await.body["degraded"], json!([]));
}

#[tokio::test]
async fn secret_rotation_under_load_keeps_sessions() {
    let mail_server = MailServer::start().await;
    let fleet = Fleet::start(&[("LATCHKEY_SMTP_URL", &mail_server.url())]).await;
    let (old, new) = (
        fleet.next_replica().setting(SECRET).to_owned(),
        random_secret(),
    );
    let addresses = ["jane@example.com", "joan@example.com"];
    let mut idle_sessions = Vec::new();
    for (number, email) in addresses.iter().enumerate() {
        idle_sessions.push(
            fleet
                .next_replica()
                .sign_up_with_email(&format!("quiet{number}"), email)
                .await,
        );
    }
    let old_session = fleet.next_replica().sign_up("idle").await;
    let checks = fleet
        .under_load(async {
            request_reset(&fleet, addresses[0]).await;
            let old_code = mail_server.code_for(addresses[0]).await;
            for number in 0..3 {
                fleet
                    .replace(number, &[(SECRET, &format!("{old},{new}"))])
                    .await;
            }
            assert_start_fails(&fleet.next_replica(), &new).await;
            for number in 0..3 {
                fleet
                    .replace(number, &[(SECRET, &format!("{new},{old}"))])
                    .await;
                if number == 0 {
                    // Replicas with either order of the secrets accept the codes.
                    request_reset(&fleet, addresses[1]).await;
                }
            }
            reset_password(&fleet, addresses[0], &old_code).await;
            reset_password(
                &fleet,
                addresses[1],
                &mail_server.code_for(addresses[1]).await,
            )
            .await;
            // The first refresh of a session that was created with the old secret only.
            let token = json!({"refresh_token": old_session.refresh_token});
            let refreshed = fleet
                .send(|replica| replica.request(Method::POST, "/refresh").json(&token))
                .await;
            let refreshed = Session::of(refreshed.is(200, ""));
            for number in 0..3 {
                fleet.replace(number, &[(SECRET, &new)]).await;
            }
            let token = json!({"refresh_token": refreshed.refresh_token});
            fleet
                .send(|replica| replica.request(Method::POST, "/refresh").json(&token))
                .await
                .is(200, "");
        })
        .await;
    assert!(checks > 20, "only {checks} checks passed");
    // Refresh tokens of the old secret are invalid now.
    fleet
        .next_replica()
        .refresh(&old_session.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_start_fails(&fleet.next_replica(), &old).await;
    assert_eq!(
        query_value(&fleet.next_replica(), "select count(*) from signing_keys").await,
        "1",
        "no key was created"
    );
    // The next key is sealed with the new secret.
    run_keys_command(&fleet.next_replica(), &["rotate"])
        .await
        .well();
    assert_eq!(
        fleet
            .next_replica()
            .replica()
            .await
            .get("/health/ready")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn new_secret_fails_while_a_key_uses_the_old_one() {
    let server = TestServer::start().await;
    let (old, new) = (server.setting(SECRET).to_owned(), random_secret());
    let session = server.sign_up("john").await;
    let both_secrets = server
        .replica_with(&[(SECRET, &format!("{new},{old}"))])
        .await;
    // The replica with both secrets resealed the key, so the old secret alone is insufficient.
    run_keys_command(&server, &["list"])
        .await
        .expect_error(2, SECRET);
    let sealed_keys =
        "select string_agg(md5(sealed_private_key), ',' order by kid) from signing_keys";
    let before = query_value(&server, sealed_keys).await;
    let new_secret_only = both_secrets.replica_with(&[(SECRET, &new)]).await;
    assert_eq!(
        new_secret_only.verify(&session.access_token).await,
        (204, String::new())
    );
    // The cleanup worker also reseals keys. It has run, and doesn't run again for a while.
    let has_cleaned_up = || async {
        value(
            &both_secrets,
            "latchkey_cleanup_last_success_timestamp_seconds",
        )
        .await
            > 0.0
    };
    wait_until("the cleanup worker has run", has_cleaned_up).await;
    // A replica with the secrets in reverse order reseals the key with the old secret.
    let mut reversed = both_secrets
        .replica_with(&[(SECRET, &format!("{old},{new}"))])
        .await;
    assert_ne!(
        query_value(&server, sealed_keys).await,
        before,
        "resealed with the first secret"
    );
    assert_start_fails(&server, &new).await;
    let mut sessions = vec![session];
    for replica in [&server, &both_secrets, &new_secret_only, &reversed] {
        let new_session = replica.sign_in("john").await;
        assert_eq!(
            server.verify(&new_session.access_token).await,
            (204, String::new()),
            "replicas keep unsealed keys"
        );
        assert_eq!(published_kids(replica).await.len(), 1);
        sessions.push(new_session);
    }
    assert_eq!(reversed.stop(), Some(0));
    let resealing = both_secrets
        .replica_with(&[(SECRET, &format!("{new},{old}"))])
        .await;
    let last_replica = both_secrets.replica_with(&[(SECRET, &new)]).await;
    for session in sessions {
        // The replica with both secrets issues a refresh token of the new secret.
        let refreshed = resealing.refresh(&session.refresh_token).await;
        let refreshed = Session::of(refreshed.is(200, ""));
        last_replica
            .refresh(&refreshed.refresh_token)
            .await
            .is(200, "");
    }
}

/// The code is registered, but the mail server is down, so the result of the delivery is unknown.
#[tokio::test]
async fn resent_email_after_rotation_has_a_valid_code() {
    let (mut server, mut mail_server) = TestServer::with_mail(&[]).await;
    let (old, new) = (server.setting(SECRET).to_owned(), random_secret());
    server.sign_up_with_email("jane", "jane@example.com").await;
    mail_server.stop();
    server.forgot_password("jane@example.com").await.is(202, "");
    let failed = "latchkey_emails_total{outcome=\"failed\"}";
    wait_until("the delivery failed", || async {
        value(&server, failed).await >= 1.0
    })
    .await;
    assert_eq!(server.stop(), Some(0));
    let new_replica = server
        .replica_with(&[(SECRET, &format!("{new},{old}"))])
        .await;
    mail_server.restart();
    let email = mail_server.wait_for("jane@example.com", 1).await.remove(0);
    let code = code(&email).expect("a code");
    new_replica
        .reset_password("jane@example.com", &code, NEW_PASSWORD)
        .await
        .is(204, "");
}
