//! Users without a password: they are invited by email to set one.

use deadpool_redis::redis::cmd;
use serde_json::json;

use super::Fixture;
use crate::{
    mail::{MailServer, code, decoded, link},
    test_server::{ISSUER, PASSWORD, TestResponse, wait_until},
    test_stores::{connect_redis, execute, query_value, redis_prefix},
    user_pages::Browser,
};

const MARY: &str = "mary@example.com";
const WRONG_CODE: &str = "00000-00000";

/// A server with an invited user.
struct Invited {
    fixture: Fixture,
    mail_server: MailServer,
    /// The path of the user.
    path: String,
    /// The code in the invitation.
    code: String,
}

impl Invited {
    async fn start() -> Invited {
        Invited::with(&[]).await
    }

    async fn with(changes: &[(&str, &str)]) -> Invited {
        let mail_server = MailServer::start().await;
        let url = mail_server.url();
        let changes = [&[("LATCHKEY_SMTP_URL", url.as_str())], changes].concat();
        let fixture = Fixture::with(&changes).await;
        let created = fixture.create(json!({"email": MARY, "name": "Mary"})).await;
        assert_eq!(created.is(201, "").body["email_verified"], false);
        let path = created.header("location").to_owned();
        let code = mail_server.code_for(MARY).await;
        let sent = "select (sent_at is not null)::text from email_outbox";
        wait_until("the invitation is stored as sent", || async {
            query_value(&fixture.server, sent).await == "true"
        })
        .await;
        Invited {
            fixture,
            mail_server,
            path,
            code,
        }
    }

    async fn set_password(&self, code: &str) -> TestResponse {
        let server = &self.fixture.server;
        server.reset_password(MARY, code, PASSWORD).await
    }

    /// Deletes the code from Redis.
    async fn lose_code_in_redis(&self) {
        let server = &self.fixture.server;
        let user_id = self.path.rsplit('/').next().expect("an ID");
        let key = format!(
            "{}:{{{user_id}}}:code:invitation",
            redis_prefix(server).await
        );
        let mut redis = connect_redis(server.setting("REDIS_URL")).await;
        let deleted = cmd("DEL").arg(key).query_async::<u8>(&mut redis).await;
        assert_eq!(deleted.expect("Redis responds"), 1);
    }

    async fn execute(&self, statement: &str) {
        execute(&self.fixture.server, statement).await;
    }
}

#[tokio::test]
async fn invited_user_sets_a_password_with_the_emailed_code() {
    let invited = Invited::start().await;
    let email = decoded(&invited.mail_server.emails_to(MARY)[0]);
    for part in [
        "Subject: You've been invited to Latchkey",
        "An administrator has created a Latchkey account for you.",
        "The invitation expires on ",
    ] {
        assert!(email.contains(part), "{part}: {email}");
    }
    assert!(!email.contains("IP address"), "that of the administrator");
    let server = &invited.fixture.server;
    let hash = "select password_hash from users where email = 'mary@example.com'";
    assert!(
        query_value(server, hash)
            .await
            .starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "the decoy hash costs the same time"
    );
    invited
        .set_password(WRONG_CODE)
        .await
        .is(400, "invalid_code");
    invited.set_password(&invited.code).await.is(204, "");
    invited
        .set_password(&invited.code)
        .await
        .is(400, "invalid_code");
    server.try_sign_in(MARY, PASSWORD).await.is(200, "");
    let user = invited.fixture.get(&invited.path).await;
    assert_eq!(user.body["email_verified"], true);
}

#[tokio::test]
async fn link_in_invitation_leads_to_form() {
    let invited = Invited::start().await;
    let server = &invited.fixture.server;
    let link = link(&invited.mail_server.emails_to(MARY)[0]).expect("a link");
    assert_eq!(link.page, format!("{ISSUER}/invitation"));
    let mut browser = Browser::new(server);
    let form = browser.get("/invitation").await;
    form.is(200, &["data-fragment", "Set your password"]);
    let values = link.values.iter();
    let values: Vec<_> = values
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(values, [("email", MARY), ("code", invited.code.as_str())]);
    let fields = |code, password| [("email", MARY), ("code", code), ("new_password", password)];
    let page = browser
        .post("/invitation", &fields(WRONG_CODE, PASSWORD))
        .await;
    page.is(422, &["Ask your administrator for a new invitation."]);
    assert_eq!(page.value("email"), MARY);
    let page = browser
        .post("/invitation", &fields(&invited.code, "short"))
        .await;
    page.is(422, &["Use at least 8 characters."]);
    let fields = [&values[..], &[("new_password", PASSWORD)]].concat();
    browser
        .post("/invitation", &fields)
        .await
        .leads_to("/sign-in");
    browser
        .get("/sign-in")
        .await
        .is(200, &["Your password is set."]);
    browser.sign_in(MARY, PASSWORD).await;
}

#[tokio::test]
async fn expired_invitation_is_rejected() {
    let invited = Invited::with(&[("LATCHKEY_INVITATION_LIFETIME", "1h")]).await;
    let age = |minutes| {
        format!("update email_outbox set first_sent_at = now() - interval '{minutes} minutes'")
    };
    invited.execute(&age(61)).await;
    let expired = invited.set_password(&invited.code).await;
    assert_eq!(
        expired.is(400, "invalid_code").body["detail"],
        "This invitation has expired. Ask your administrator for a new one."
    );
    let mut browser = Browser::new(&invited.fixture.server);
    let fields = [
        ("email", MARY),
        ("code", invited.code.as_str()),
        ("new_password", PASSWORD),
    ];
    let page = browser.post("/invitation", &fields).await;
    page.is(
        422,
        &["This invitation has expired. Ask your administrator for a new one."],
    );
    invited.execute(&age(59)).await;
    browser
        .post("/invitation", &fields)
        .await
        .leads_to("/sign-in");
}

#[tokio::test]
async fn invitation_survives_loss_of_redis_and_cleanup() {
    let invited = Invited::with(&[("LATCHKEY_CLEANUP_INTERVAL", "1s")]).await;
    let server = &invited.fixture.server;
    invited.lose_code_in_redis().await;
    let older = "insert into email_outbox (id, template, sent_at) values
        (gen_random_uuid(), 'notice', now() - interval '2 days'),
        (gen_random_uuid(), 'invitation', now() - interval '9 days');
        update email_outbox set sent_at = now() - interval '2 days',
            first_sent_at = now() - interval '2 days' where user_id is not null";
    invited.execute(older).await;
    wait_until("the older emails are deleted", || async {
        query_value(server, "select count(*) from email_outbox").await == "1"
    })
    .await;
    invited.set_password(&invited.code).await.is(204, "");
    // Its code isn't registered again.
    invited
        .set_password(&invited.code)
        .await
        .is(400, "invalid_code");
}

#[tokio::test]
async fn password_reset_voids_invitation() {
    let invited = Invited::start().await;
    let server = &invited.fixture.server;
    server.forgot_password(MARY).await.is(202, "");
    let emails = invited.mail_server.wait_for(MARY, 2).await;
    let mut codes = emails.iter().filter_map(|email| code(email));
    let reset_code = codes
        .find(|code| *code != invited.code)
        .expect("a reset code");
    invited.set_password(&reset_code).await.is(204, "");
    invited
        .set_password(&invited.code)
        .await
        .is(400, "invalid_code");
}

#[tokio::test]
async fn changes_by_administrator_void_invitation_only_if_necessary() {
    for (change, is_void) in [
        (json!({"role": "admin"}), false),
        (json!({"name": "Mary Major"}), false),
        (json!({"password": "correct horse 9"}), true),
        (json!({"email": "other@example.com"}), true),
        (json!({"disabled": true}), true),
    ] {
        let invited = Invited::start().await;
        let changed = invited.fixture.patch(&invited.path, change.clone()).await;
        changed.is(200, "");
        let response = invited.set_password(&invited.code).await;
        assert_eq!(response.status, if is_void { 400 } else { 204 }, "{change}");
    }
}

/// Wrong codes count for both purposes, so an attacker can't guess an invitation after the limit.
#[tokio::test]
async fn wrong_codes_limit_attempts_for_invitation() {
    let invited = Invited::with(&[("LATCHKEY_LIMIT_CODE", "2/1h")]).await;
    for _ in 0..2 {
        invited
            .set_password(WRONG_CODE)
            .await
            .is(400, "invalid_code");
    }
    let limited = invited.set_password(&invited.code).await;
    limited.is(429, "too_many_requests");
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
