use reqwest::Method;
use serde_json::json;

use super::{fleet::Fleet, keys, published};
use crate::{
    mail::{MailServer, code},
    metrics::value,
    test_server::{Session, TestServer, random_secret, until},
    test_stores::ask,
};

const SECRET: &str = "LATCHKEY_SECRET";
const NEW_PASSWORD: &str = "correct horse 9";

/// A replica with this secret that must refuse to run.
async fn refuses(server: &TestServer, secret: &str) {
    let settings = server.settings_with(&[(SECRET, secret)]);
    let mut replica = tokio::task::spawn_blocking(|| TestServer::launch(settings))
        .await
        .expect("it begins");
    until("it has ended", || async {
        replica.try_get("/health/live").await.is_none()
    })
    .await;
    assert_eq!(replica.wait(), Some(2));
}

async fn forgot(fleet: &Fleet, email: &str) {
    let body = json!({"email": email});
    fleet
        .ask(|any| any.request(Method::POST, "/password/forgot").json(&body))
        .await
        .is(202, "");
}

async fn reset(fleet: &Fleet, email: &str, code: &str) {
    let body = json!({"email": email, "code": code, "new_password": NEW_PASSWORD});
    fleet
        .ask(|any| any.request(Method::POST, "/password/reset").json(&body))
        .await
        .is(204, "");
}

#[tokio::test]
async fn the_secret_is_exchanged_under_load_and_nobody_is_signed_out() {
    let mails = MailServer::start().await;
    let fleet = Fleet::start(&[("LATCHKEY_SMTP_URL", &mails.url())]).await;
    let (old, new) = (fleet.any().setting(SECRET).to_owned(), random_secret());
    let people = ["jane@example.com", "joan@example.com"];
    let mut quiet = Vec::new();
    for (number, email) in people.iter().enumerate() {
        quiet.push(
            fleet
                .any()
                .sign_up_with_email(&format!("quiet{number}"), email)
                .await,
        );
    }
    let sleeper = fleet.any().sign_up("sleeper").await;
    let checks = fleet
        .under_load(async {
            forgot(&fleet, people[0]).await;
            let before = mails.code_for(people[0]).await;
            for number in 0..3 {
                fleet
                    .exchange(number, &[(SECRET, &format!("{old},{new}"))])
                    .await;
            }
            refuses(&fleet.any(), &new).await;
            for number in 0..3 {
                fleet
                    .exchange(number, &[(SECRET, &format!("{new},{old}"))])
                    .await;
                if number == 0 {
                    // Made by either, used at either.
                    forgot(&fleet, people[1]).await;
                }
            }
            reset(&fleet, people[0], &before).await;
            reset(&fleet, people[1], &mails.code_for(people[1]).await).await;
            // Signed in long before, and heard of for the first time since.
            let token = json!({"refresh_token": sleeper.refresh_token});
            let awake = fleet
                .ask(|any| any.request(Method::POST, "/refresh").json(&token))
                .await;
            let awake = Session::of(awake.is(200, ""));
            for number in 0..3 {
                fleet.exchange(number, &[(SECRET, &new)]).await;
            }
            let token = json!({"refresh_token": awake.refresh_token});
            fleet
                .ask(|any| any.request(Method::POST, "/refresh").json(&token))
                .await
                .is(200, "");
        })
        .await;
    assert!(checks > 20, "people were let in {checks} times");
    // What was left behind under the old one is worth nothing any more.
    fleet
        .any()
        .refresh(&sleeper.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    refuses(&fleet.any(), &old).await;
    assert_eq!(
        ask(&fleet.any(), "select count(*) from signing_keys").await,
        "1",
        "the keys are the same"
    );
    // The next one is sealed under it as well.
    keys(&fleet.any(), &["rotate"]).await.well();
    assert_eq!(
        fleet
            .any()
            .replica()
            .await
            .get("/health/ready")
            .await
            .status,
        200
    );
}

#[tokio::test]
async fn the_new_secret_alone_is_refused_as_long_as_a_key_that_will_sign_is_sealed_otherwise() {
    let server = TestServer::start().await;
    let (old, new) = (server.setting(SECRET).to_owned(), random_secret());
    let john = server.sign_up("john").await;
    let both = server
        .replica_with(&[(SECRET, &format!("{new},{old}"))])
        .await;
    // Sealed anew at its start; made by one that knows the old one only.
    keys(&server, &["list"]).await.refused(2, SECRET);
    let sealed = "select string_agg(md5(sealed_private_key), ',' order by kid) from signing_keys";
    let before = ask(&server, sealed).await;
    let only = both.replica_with(&[(SECRET, &new)]).await;
    assert_eq!(only.verify(&john.access_token).await, (204, String::new()));
    // Its janitor is done, and does not look again for a while.
    let tidy =
        || async { value(&both, "latchkey_cleanup_last_success_timestamp_seconds").await > 0.0 };
    until("it has tidied up", tidy).await;
    // Who has them the other way round seals the next one under the old one.
    let mut behind = both
        .replica_with(&[(SECRET, &format!("{old},{new}"))])
        .await;
    assert_ne!(ask(&server, sealed).await, before, "sealed under its first");
    refuses(&server, &new).await;
    for replica in [&server, &both, &only, &behind] {
        let jane = replica.sign_in("john").await;
        assert_eq!(
            server.verify(&jane.access_token).await,
            (204, String::new()),
            "none forgets what it has unsealed"
        );
        assert_eq!(published(replica).await.len(), 1);
    }
    assert_eq!(behind.stop(), Some(0));
    let _again = both
        .replica_with(&[(SECRET, &format!("{new},{old}"))])
        .await;
    assert_eq!(
        both.replica_with(&[(SECRET, &new)])
            .await
            .get("/health/ready")
            .await
            .status,
        200
    );
}

/// Its code was registered, and then the mail server was away: nobody knows whether it has arrived.
#[tokio::test]
async fn a_mail_that_is_sent_again_by_a_replica_with_another_first_secret_has_a_good_code() {
    let (mut server, mut mails) = TestServer::with_mail(&[]).await;
    let (old, new) = (server.setting(SECRET).to_owned(), random_secret());
    server.sign_up_with_email("jane", "jane@example.com").await;
    mails.stop();
    server.forgot_password("jane@example.com").await.is(202, "");
    let failed = "latchkey_emails_total{outcome=\"failed\"}";
    until("it was tried", || async {
        value(&server, failed).await >= 1.0
    })
    .await;
    assert_eq!(server.stop(), Some(0));
    let other = server
        .replica_with(&[(SECRET, &format!("{new},{old}"))])
        .await;
    mails.start_again();
    let mail = mails.wait_for("jane@example.com", 1).await.remove(0);
    let code = code(&mail).expect("a code");
    other
        .reset_password("jane@example.com", &code, NEW_PASSWORD)
        .await
        .is(204, "");
}
