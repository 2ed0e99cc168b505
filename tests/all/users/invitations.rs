//! Users without a password: they are invited by email to set one.

use serde_json::json;

use super::Fixture;
use crate::{
    mail::{MailServer, code},
    test_server::PASSWORD,
    test_stores::query_value,
};

#[tokio::test]
async fn invited_user_sets_a_password_with_a_code() {
    let mail_server = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mail_server.url())]).await;
    let created = fixture
        .create(json!({"email": "mary@example.com", "name": "Mary"}))
        .await;
    assert_eq!(created.is(201, "").body["email_verified"], false);
    let invitation = mail_server.wait_for("mary@example.com", 1).await.remove(0);
    assert!(
        invitation.contains("Subject: You've been invited to Latchkey"),
        "{invitation}"
    );
    assert!(
        invitation.contains("https://auth.example.com/forgot"),
        "{invitation}"
    );
    assert!(
        code(&invitation).is_none(),
        "an invitation contains no code"
    );
    let hash = "select password_hash from users where email = 'mary@example.com'";
    assert!(
        query_value(&fixture.server, hash)
            .await
            .starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "the decoy hash costs the same time"
    );

    fixture
        .server
        .forgot_password("mary@example.com")
        .await
        .is(202, "");
    mail_server.wait_for("mary@example.com", 2).await;
    let code = mail_server.code_for("mary@example.com").await;
    fixture
        .server
        .reset_password("mary@example.com", &code, PASSWORD)
        .await
        .is(204, "");
    fixture
        .server
        .try_sign_in("mary@example.com", PASSWORD)
        .await
        .is(200, "");
    assert_eq!(
        fixture.get(created.header("location")).await.body["email_verified"],
        true
    );
}

#[tokio::test]
async fn user_with_password_gets_no_invitation() {
    let mail_server = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mail_server.url())]).await;
    fixture
        .create(json!({"email": "john@example.com", "password": PASSWORD}))
        .await
        .is(201, "");
    assert_eq!(
        query_value(&fixture.server, "select count(*) from email_outbox").await,
        "0"
    );
}
