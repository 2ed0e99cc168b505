//! Email addresses: a code proves access to a mailbox. It verifies the current address, or changes
//! the address of the user.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code},
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{RowLock, STACK, execute, query_value},
};

const OLD: &str = "john@example.com";
const NEW: &str = "John.Doe@example.org";

/// A server with its own mail server, and a user with two sessions.
struct Fixture {
    server: TestServer,
    mail_server: MailServer,
    session: Session,
    other_session: Session,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let (server, mail_server) = TestServer::with_mail(changes).await;
        let session = server.sign_up_with_email("john", OLD).await;
        let other_session = server.sign_in("john").await;
        Fixture {
            server,
            mail_server,
            session,
            other_session,
        }
    }

    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    async fn post(&self, session: &Session, path: &str, body: Value) -> TestResponse {
        self.server
            .with_token(Method::POST, path, &session.access_token, body)
            .await
    }

    async fn request(&self, session: &Session, email: &str) -> TestResponse {
        self.post(
            session,
            "/user/email",
            json!({"email": email, "password": PASSWORD}),
        )
        .await
    }

    async fn confirm(&self, session: &Session, code: &str) -> TestResponse {
        self.post(session, "/user/email/confirm", json!({"code": code}))
            .await
    }

    /// Requests a code and waits for the email.
    async fn code_at(&self, email: &str) -> String {
        self.request(&self.session, email).await.is(202, "");
        self.mail_server.code_for(email).await
    }

    async fn user(&self) -> Value {
        self.server
            .with_token(
                Method::GET,
                "/user",
                &self.session.access_token,
                Value::Null,
            )
            .await
            .is(200, "")
            .body
            .clone()
    }
}

#[tokio::test]
async fn code_verifies_current_address() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.user().await["email_verified"], false);
    let code = fixture.code_at(OLD).await;
    let user = fixture.confirm(&fixture.session, &code).await;
    assert_eq!(user.is(200, "").body["email_verified"], true);
    assert_eq!(
        fixture
            .server
            .verify(&fixture.other_session.access_token)
            .await
            .0,
        204,
        "verification revokes no session"
    );
    let next = Session::of(&fixture.server.refresh(&fixture.session.refresh_token).await);
    assert_eq!(
        next.claims()["email_verified"],
        true,
        "tokens contain the new state"
    );
    assert_eq!(
        fixture.mail_server.emails_to("").len(),
        1,
        "only one email is sent"
    );
}

#[tokio::test]
async fn code_changes_address_and_notifies_old_one() {
    let fixture = Fixture::new().await;
    // An unverified address can belong to another person, so it isn't notified.
    execute(&fixture.server, "update users set email_verified = true").await;
    let replica = fixture.server.replica().await;
    let code = fixture.code_at(NEW).await;
    assert_eq!(
        fixture.user().await["email"],
        OLD,
        "the address changes only after confirmation"
    );
    let user = fixture.confirm(&fixture.session, &code).await;
    assert_eq!(
        (user.is(200, "").text("email"), &user.body["email_verified"]),
        (NEW.to_owned(), &json!(true))
    );
    replica.rejects(&fixture.other_session).await;
    assert_eq!(
        replica.verify(&fixture.session.access_token).await.0,
        204,
        "the tokens of the caller stay valid"
    );
    let next = Session::of(
        replica
            .refresh(&fixture.session.refresh_token)
            .await
            .is(200, ""),
    );
    assert_eq!(next.claims()["email"], NEW);
    let notices = fixture.mail_server.wait_for(OLD, 1).await;
    assert!(
        notices[0].contains("Your email address was changed") && !notices[0].contains(NEW),
        "{}",
        notices[0]
    );
    replica
        .try_sign_in(OLD, PASSWORD)
        .await
        .is(401, "invalid_credentials");
    replica.try_sign_in(NEW, PASSWORD).await.is(200, "");
    assert_eq!(
        query_value(
            &replica,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "email_change"
    );
}

#[tokio::test]
async fn taken_address_is_revealed_only_with_its_code() {
    let fixture = Fixture::new().await;
    fixture.server.sign_up_with_email("mary", NEW).await;
    let verify = "update users set email_verified = true where username = 'mary'";
    execute(&fixture.server, verify).await;
    let (taken, free) = (
        fixture.request(&fixture.session, NEW).await,
        fixture.request(&fixture.session, "free@example.com").await,
    );
    assert_eq!(
        (taken.is(202, "").bytes.clone(), free.is(202, "").status),
        (free.bytes.clone(), 202)
    );
    // The newer code replaced the first one.
    fixture.mail_server.wait_for(NEW, 1).await;
    fixture.request(&fixture.session, NEW).await.is(202, "");
    let codes = fixture.mail_server.wait_for(NEW, 2).await;
    let responses = join_all(
        codes
            .iter()
            .filter_map(|email| code(email))
            .map(async |code| fixture.confirm(&fixture.session, &code).await.code()),
    );
    let responses = responses.await;
    assert!(
        responses.contains(&"email_taken".to_owned()),
        "{responses:?}"
    );
    assert_eq!(fixture.user().await["email"], OLD);
    assert_eq!(
        fixture
            .server
            .verify(&fixture.other_session.access_token)
            .await
            .0,
        204,
        "no session is revoked"
    );
}

#[tokio::test]
async fn code_works_once_and_for_its_user_only() {
    // Late requests of the concurrent group count as failed attempts.
    let fixture = Fixture::with(&[("LATCHKEY_LIMIT_CODE", "20/1h")]).await;
    let verify = "update users set email_verified = true where username = 'john'";
    execute(&fixture.server, verify).await;
    let other_user = fixture.server.sign_up("mary").await;
    let code = fixture.code_at(NEW).await;
    fixture
        .confirm(&other_user, &code)
        .await
        .is(400, "invalid_code");
    fixture
        .server
        .reset_password(OLD, &code, "correct horse 9")
        .await
        .is(400, "invalid_code");
    let responses = join_all((0..8).map(|_| fixture.confirm(&fixture.session, &code))).await;
    let successes = responses
        .iter()
        .filter(|response| response.status == 200)
        .count();
    assert!(successes >= 1, "{responses:?}");
    assert_eq!(
        query_value(
            &fixture.server,
            "select count(*)::text from email_outbox where template = 'email_changed'"
        )
        .await,
        "1"
    );
    fixture
        .confirm(&fixture.session, &code)
        .await
        .is(400, "invalid_code");
}

/// Covers the time between the commit of a revocation and its publication.
#[tokio::test]
async fn revoked_session_cannot_use_code() {
    let fixture = Fixture::new().await;
    let code = fixture.code_at(NEW).await;
    let session_id = fixture.other_session.claim("sid");
    let revoke = format!(
        "update sessions set revoked_at = now(), revoked_reason = 'revoked' where id = '{session_id}'"
    );
    execute(&fixture.server, &revoke).await;
    for code in [code.as_str(), "AAAAA-AAAAA"] {
        fixture
            .confirm(&fixture.other_session, code)
            .await
            .is(401, "token_revoked");
    }
    assert_eq!(fixture.user().await["email"], OLD);
    fixture.confirm(&fixture.session, &code).await.is(200, "");
}

#[tokio::test]
async fn change_requires_password_and_valid_address() {
    let fixture = Fixture::new().await;
    let wrong = json!({"email": NEW, "password": "not the password"});
    fixture
        .post(&fixture.session, "/user/email", wrong)
        .await
        .is(403, "incorrect_password");
    for address in [
        "a@b.example,c@d.example",
        "a@b.example\r\nBcc: c@d.example",
        "no-at-sign",
        "",
    ] {
        fixture
            .request(&fixture.session, address)
            .await
            .is(400, "invalid_request");
    }
    assert_eq!(
        query_value(&fixture.server, "select count(*)::text from email_outbox").await,
        "0"
    );
    assert!(fixture.mail_server.emails_to("").is_empty());
}

#[tokio::test]
async fn change_fails_when_email_is_disabled() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    let body = json!({"email": NEW, "password": PASSWORD});
    server
        .with_token(Method::POST, "/user/email", &session.access_token, body)
        .await
        .is(501, "email_disabled");
}

/// A new address voids codes that the old address received. A new password voids codes for a new
/// address.
#[tokio::test]
async fn address_and_password_changes_void_codes() {
    let fixture = Fixture::new().await;
    let old_code = fixture.mail_server.reset_code(&fixture.server, OLD).await;
    let code = fixture.code_at(NEW).await;
    fixture.confirm(&fixture.session, &code).await.is(200, "");
    for email in [OLD, NEW] {
        fixture
            .server
            .reset_password(email, &old_code, "correct horse 9")
            .await
            .is(400, "invalid_code");
    }
    let third = "third@example.com";
    let code = fixture.code_at(third).await;
    let change = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .post(&fixture.session, "/user/password", change)
        .await
        .is(204, "");
    for _ in 0..2 {
        fixture
            .confirm(&fixture.session, &code)
            .await
            .is(400, "invalid_code");
    }
    assert_eq!(fixture.user().await["email"], NEW);
}

/// A reset code can be enqueued for the old address while the address changes. The database
/// compares the addresses when the code is used.
#[tokio::test]
async fn late_code_for_old_address_is_rejected() {
    let fixture = Fixture::new().await;
    let code = fixture.code_at(NEW).await;
    fixture.confirm(&fixture.session, &code).await.is(200, "");
    // Simulates a code that was enqueued after the other codes were voided, and before the change
    // was committed.
    let row = "insert into email_outbox (id, template, user_id, recipient) \
        select gen_random_uuid(), 'password_reset', id, ";
    execute(&fixture.server, &format!("{row} '{OLD}' from users")).await;
    let late_code = fixture.mail_server.code_for(OLD).await;
    fixture
        .server
        .reset_password(NEW, &late_code, "correct horse 9")
        .await
        .is(400, "invalid_code");
    fixture.server.try_sign_in(NEW, PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn void_code_reveals_no_password() {
    let fixture = Fixture::new().await;
    let void_code = fixture.mail_server.reset_code(&fixture.server, OLD).await;
    let change = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .post(&fixture.session, "/user/password", change)
        .await
        .is(204, "");
    // The correct password gets the same response.
    for password in [
        "not this one",
        "correct horse 9",
        "nor that one",
        "correct horse 9",
    ] {
        let response = fixture
            .server
            .reset_password(OLD, &void_code, password)
            .await;
        response.is(400, "invalid_code");
    }
}

#[tokio::test]
async fn mailbox_owner_can_reset_password() {
    let fixture = Fixture::new().await;
    let code = fixture.mail_server.reset_code(&fixture.server, OLD).await;
    fixture
        .server
        .reset_password(OLD, &code, "correct horse 9")
        .await
        .is(204, "");
    assert_eq!(
        query_value(&fixture.server, "select email_verified from users").await,
        "true"
    );
    assert_eq!(
        fixture.server.verify(&fixture.session.access_token).await,
        (401, "token_revoked".into())
    );
    fixture
        .server
        .try_sign_in(OLD, "correct horse 9")
        .await
        .is(200, "");
}

#[tokio::test]
async fn unpublished_change_is_completed_by_repeat() {
    let proxy = Proxy::to_redis().await;
    let fixture = Fixture::with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let replica = fixture
        .server
        .replica_with(&[("REDIS_URL", &STACK.redis_url())])
        .await;
    let code = fixture.code_at(NEW).await;
    let lock = RowLock::rows(&fixture.server, "select from users").await;
    let cut = async {
        lock.wait_until_blocked().await;
        proxy.set(ConnectionState::Cut);
        lock.release().await;
    };
    let (response, ()) = tokio::join!(fixture.confirm(&fixture.session, &code), cut);
    assert!(
        response
            .is(503, "unavailable")
            .text("detail")
            .contains("The change is saved"),
        "{}",
        response.body
    );
    proxy.set(ConnectionState::Open);
    let is_completed = || async { fixture.confirm(&fixture.session, &code).await.status == 200 };
    wait_until("a repeated request completes the change", is_completed).await;
    assert_eq!(
        replica.verify(&fixture.other_session.access_token).await,
        (401, "token_revoked".into())
    );
    assert_eq!(fixture.user().await["email"], NEW);
}

/// A user can sign up with the address of another person. The owner of the mailbox gets the address
/// by verifying it, with and without a username of the other user.
#[tokio::test]
async fn unverified_address_goes_to_its_verified_owner() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    for (holder, address) in [
        (
            json!({"username": "mary", "email": "a@example.com"}),
            "A@example.com",
        ),
        (json!({"email": "b@example.com"}), "b@example.com"),
    ] {
        let mut body = holder.clone();
        body["password"] = json!(PASSWORD);
        let holder = Session::of(server.post("/signup", body).await.is(201, ""));
        fixture.request(&fixture.session, address).await.is(202, "");
        let code = fixture.mail_server.code_for(address).await;
        let user = fixture.confirm(&fixture.session, &code).await;
        assert_eq!(user.is(200, "").text("email"), address);
        // The other user keeps the account, and loses the address.
        let other = server
            .with_token(Method::GET, "/user", &holder.access_token, Value::Null)
            .await;
        assert_eq!(other.is(200, "").body["email"], Value::Null);
        let username = other.text("username");
        assert!(
            username == "mary" || username.starts_with("user-"),
            "{username}"
        );
        server.try_sign_in(&username, PASSWORD).await.is(200, "");
        let refreshed = server.refresh(&holder.refresh_token).await;
        let claims = Session::of(refreshed.is(200, "")).claims();
        assert_eq!(
            (&claims["email"], &claims["email_verified"]),
            (&Value::Null, &json!(false))
        );
        let signed_in = Session::of(server.try_sign_in(address, PASSWORD).await.is(200, ""));
        assert_eq!(signed_in.claims()["sub"], fixture.session.claims()["sub"]);
    }
}
