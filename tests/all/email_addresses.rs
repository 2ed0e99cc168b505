//! Addresses: a code shows that somebody reads mail there; it verifies the address that one has, or
//! makes another one's own.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code, code as code_in},
    proxy::{Line, Proxy},
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{Held, STACK, ask, execute},
};

const OLD: &str = "john@example.com";
const NEW: &str = "John.Doe@example.org";

/// A gateway that sends to a mail server of its own, with John, who is signed in twice.
struct Fixture {
    server: TestServer,
    mails: MailServer,
    john: Session,
    other: Session,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let (server, mails) = TestServer::with_mail(changes).await;
        let john = server.sign_up_with_email("john", OLD).await;
        let other = server.sign_in("john").await;
        Fixture {
            server,
            mails,
            john,
            other,
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

    /// A code that was asked for and has arrived.
    async fn code_at(&self, email: &str) -> String {
        self.request(&self.john, email).await.is(202, "");
        self.mails.code_for(email).await
    }

    async fn account(&self) -> Value {
        self.server
            .with_token(Method::GET, "/user", &self.john.access_token, Value::Null)
            .await
            .is(200, "")
            .body
            .clone()
    }
}

#[tokio::test]
async fn a_code_verifies_the_address_that_one_has() {
    let fixture = Fixture::new().await;
    assert_eq!(fixture.account().await["email_verified"], false);
    let code = fixture.code_at(OLD).await;
    let user = fixture.confirm(&fixture.john, &code).await;
    assert_eq!(user.is(200, "").body["email_verified"], true);
    assert_eq!(
        fixture.server.verify(&fixture.other.access_token).await.0,
        204,
        "nobody is signed out by that"
    );
    let next = Session::of(&fixture.server.refresh(&fixture.john.refresh_token).await);
    assert_eq!(next.claims()["email_verified"], true, "tokens say it");
    assert_eq!(
        fixture.mails.mails_to("").len(),
        1,
        "and nobody else is told"
    );
}

#[tokio::test]
async fn a_code_makes_another_address_ones_own_and_the_old_one_is_told() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let code = fixture.code_at(NEW).await;
    assert_eq!(
        fixture.account().await["email"],
        OLD,
        "not before it is confirmed"
    );
    let user = fixture.confirm(&fixture.john, &code).await;
    assert_eq!(
        (user.is(200, "").text("email"), &user.body["email_verified"]),
        (NEW.to_owned(), &json!(true))
    );
    replica.rejects(&fixture.other).await;
    assert_eq!(
        replica.verify(&fixture.john.access_token).await.0,
        204,
        "the caller's own tokens stay good"
    );
    let next = Session::of(
        replica
            .refresh(&fixture.john.refresh_token)
            .await
            .is(200, ""),
    );
    assert_eq!(next.claims()["email"], NEW);
    let told = fixture.mails.wait_for(OLD, 1).await;
    assert!(
        told[0].contains("Your email address was changed") && !told[0].contains(NEW),
        "{}",
        told[0]
    );
    replica
        .log_in(OLD, PASSWORD)
        .await
        .is(401, "invalid_credentials");
    replica.log_in(NEW, PASSWORD).await.is(200, "");
    assert_eq!(
        ask(
            &replica,
            "select revoked_reason from sessions where revoked_at is not null"
        )
        .await,
        "email_change"
    );
}

#[tokio::test]
async fn a_taken_address_is_told_only_to_whoever_reads_mail_there() {
    let fixture = Fixture::new().await;
    fixture.server.sign_up_with_email("mary", NEW).await;
    let (taken, free) = (
        fixture.request(&fixture.john, NEW).await,
        fixture.request(&fixture.john, "free@example.com").await,
    );
    assert_eq!(
        (taken.is(202, "").bytes.clone(), free.is(202, "").status),
        (free.bytes.clone(), 202)
    );
    // The newer code took its place.
    fixture.mails.wait_for(NEW, 1).await;
    fixture.request(&fixture.john, NEW).await.is(202, "");
    let codes = fixture.mails.wait_for(NEW, 2).await;
    let responses = join_all(
        codes
            .iter()
            .filter_map(|mail| code(mail))
            .map(async |code| fixture.confirm(&fixture.john, &code).await.code()),
    );
    let responses = responses.await;
    assert!(
        responses.contains(&"email_taken".to_owned()),
        "{responses:?}"
    );
    assert_eq!(fixture.account().await["email"], OLD);
    assert_eq!(
        fixture.server.verify(&fixture.other.access_token).await.0,
        204,
        "nothing has ended"
    );
}

#[tokio::test]
async fn a_code_is_good_once_and_for_its_account_only() {
    // Whoever of the crowd comes late has a code that is used: a wrong try.
    let fixture = Fixture::with(&[("LATCHKEY_LIMIT_CODE", "20/1h")]).await;
    let mary = fixture.server.sign_up("mary").await;
    let code = fixture.code_at(NEW).await;
    fixture.confirm(&mary, &code).await.is(400, "invalid_code");
    fixture
        .server
        .reset_password(OLD, &code, "correct horse 9")
        .await
        .is(400, "invalid_code");
    let responses = join_all((0..8).map(|_| fixture.confirm(&fixture.john, &code))).await;
    let good = responses
        .iter()
        .filter(|response| response.status == 200)
        .count();
    assert!(good >= 1, "{responses:?}");
    assert_eq!(
        ask(
            &fixture.server,
            "select count(*)::text from email_outbox where template = 'email_changed'"
        )
        .await,
        "1"
    );
    fixture
        .confirm(&fixture.john, &code)
        .await
        .is(400, "invalid_code");
}

#[tokio::test]
async fn it_wants_the_password_and_a_good_address() {
    let fixture = Fixture::new().await;
    let wrong = json!({"email": NEW, "password": "not the password"});
    fixture
        .post(&fixture.john, "/user/email", wrong)
        .await
        .is(403, "incorrect_password");
    for address in [
        "a@b.example,c@d.example",
        "a@b.example\r\nBcc: c@d.example",
        "nobody",
        "",
    ] {
        fixture
            .request(&fixture.john, address)
            .await
            .is(400, "invalid_request");
    }
    assert_eq!(
        ask(&fixture.server, "select count(*)::text from email_outbox").await,
        "0"
    );
    assert!(fixture.mails.mails_to("").is_empty());
}

#[tokio::test]
async fn with_mail_off_it_says_so() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let body = json!({"email": NEW, "password": PASSWORD});
    server
        .with_token(Method::POST, "/user/email", &john.access_token, body)
        .await
        .is(501, "email_disabled");
}

/// A change of address ends what could take the account back by the address before, and a change of
/// password what could take it by a new one.
#[tokio::test]
async fn codes_do_not_outlive_what_they_were_for() {
    let fixture = Fixture::new().await;
    let old_code = fixture.mails.reset_code(&fixture.server, OLD).await;
    let code = fixture.code_at(NEW).await;
    fixture.confirm(&fixture.john, &code).await.is(200, "");
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
        .post(&fixture.john, "/user/password", change)
        .await
        .is(204, "");
    fixture
        .confirm(&fixture.john, &code)
        .await
        .is(400, "invalid_code");
    assert_eq!(fixture.account().await["email"], NEW);
}

/// A code that was promised to the address before, in the moment in which it was changed, is worth
/// nothing: the record compares when it is used.
#[tokio::test]
async fn a_code_on_its_way_to_the_address_before_is_worth_nothing() {
    let fixture = Fixture::new().await;
    let code = fixture.code_at(NEW).await;
    fixture.confirm(&fixture.john, &code).await.is(200, "");
    // As if it had been promised before the change was committed, and after the other codes were
    // made void.
    let row = "insert into email_outbox (id, template, user_id, recipient) \
        select gen_random_uuid(), 'password_reset', id, ";
    execute(&fixture.server, &format!("{row} '{OLD}' from users")).await;
    let mails = fixture.mails.wait_for(OLD, 2).await;
    let late = mails
        .iter()
        .find_map(|mail| code_in(mail))
        .expect("it was sent");
    fixture
        .server
        .reset_password(NEW, &late, "correct horse 9")
        .await
        .is(400, "invalid_code");
    fixture.server.log_in(NEW, PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn a_void_code_tries_no_passwords() {
    let fixture = Fixture::new().await;
    let void = fixture.mails.reset_code(&fixture.server, OLD).await;
    let change = json!({"current_password": PASSWORD, "new_password": "correct horse 9"});
    fixture
        .post(&fixture.john, "/user/password", change)
        .await
        .is(204, "");
    // The right one among them gets the same answer.
    for password in [
        "not this one",
        "correct horse 9",
        "nor that one",
        "correct horse 9",
    ] {
        let response = fixture.server.reset_password(OLD, &void, password).await;
        response.is(400, "invalid_code");
    }
}

#[tokio::test]
async fn whoever_really_owns_the_address_can_always_take_it_back() {
    let fixture = Fixture::new().await;
    let code = fixture.mails.reset_code(&fixture.server, OLD).await;
    fixture
        .server
        .reset_password(OLD, &code, "correct horse 9")
        .await
        .is(204, "");
    assert_eq!(
        ask(&fixture.server, "select email_verified from users").await,
        "true"
    );
    assert_eq!(
        fixture.server.verify(&fixture.john.access_token).await,
        (401, "token_revoked".into())
    );
    fixture
        .server
        .log_in(OLD, "correct horse 9")
        .await
        .is(200, "");
}

#[tokio::test]
async fn a_change_that_could_not_be_published_publishes_itself_and_a_repeat_finishes_it() {
    let proxy = Proxy::to_redis().await;
    let fixture = Fixture::with(&[("REDIS_URL", &proxy.redis_url())]).await;
    let replica = fixture
        .server
        .replica_with(&[("REDIS_URL", &STACK.redis_url())])
        .await;
    let code = fixture.code_at(NEW).await;
    let held = Held::rows(&fixture.server, "select from users").await;
    let cut = async {
        held.until_somebody_waits().await;
        proxy.set(Line::Cut);
        held.release().await;
    };
    let (response, ()) = tokio::join!(fixture.confirm(&fixture.john, &code), cut);
    assert!(
        response
            .is(503, "unavailable")
            .text("detail")
            .contains("The change is saved"),
        "{}",
        response.body
    );
    proxy.set(Line::Open);
    let again = || async { fixture.confirm(&fixture.john, &code).await.status == 200 };
    until("a repeat finishes it", again).await;
    assert_eq!(
        replica.verify(&fixture.other.access_token).await,
        (401, "token_revoked".into())
    );
    assert_eq!(fixture.account().await["email"], NEW);
}
