//! What an administrator's change ends and brings along: at once, on every replica.

use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    mail::MailServer,
    proxy::{Line, Proxy},
    test_server::{PASSWORD, Session, until},
    test_stores::{Held, ask},
};

const NEW: &str = "correct horse 9";

/// Each change × every session × both replicas, and the reason that the record gives.
#[tokio::test]
async fn what_ends_everything_does_so_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let bystander = fixture.server.sign_up("bystander").await;
    let changes = [
        (Method::PATCH, "", json!({"disabled": true}), "disabled"),
        (Method::PATCH, "", json!({"role": "admin"}), "role_change"),
        (
            Method::PATCH,
            "",
            json!({"password": NEW}),
            "password_reset",
        ),
        (Method::POST, "/revoke", Value::Null, "revoked"),
        (Method::DELETE, "", Value::Null, ""),
    ];
    for (number, (method, below, body, reason)) in changes.into_iter().enumerate() {
        let name = format!("john{number}");
        let (path, first) = fixture.somebody(&name).await;
        let second = replica.sign_in(&name).await;
        let response = fixture.call(method, &format!("{path}{below}"), body).await;
        assert!(
            (200..300).contains(&response.status),
            "{}",
            response.string()
        );
        for session in [&first, &second] {
            replica.rejects(session).await;
            fixture.server.rejects(session).await;
        }
        let reasons = format!(
            "select coalesce(string_agg(distinct revoked_reason, ','), '') from sessions \
             join users on users.id = user_id where username = '{name}'"
        );
        assert_eq!(ask(&fixture.server, &reasons).await, reason, "{name}");
    }
    assert_eq!(replica.verify(&bystander.access_token).await.0, 204);
    assert_eq!(replica.verify(&fixture.admin.access_token).await.0, 204);
}

#[tokio::test]
async fn who_is_disabled_cannot_sign_in_until_enabled() {
    let fixture = Fixture::new().await;
    let (path, _) = fixture.somebody("john").await;
    assert_eq!(
        fixture
            .patch(&path, json!({"disabled": true}))
            .await
            .is(200, "")
            .body["disabled"],
        true
    );
    fixture
        .server
        .log_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    assert_eq!(
        fixture
            .patch(&path, json!({"disabled": false}))
            .await
            .is(200, "")
            .body["disabled"],
        false
    );
    fixture.server.log_in("john", PASSWORD).await.is(200, "");
}

#[tokio::test]
async fn another_role_takes_effect_at_once_on_a_second_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let (path, john) = fixture.somebody("john").await;
    let list = async |session: &Session| {
        let response = replica
            .with_token(Method::GET, "/users", &session.access_token, Value::Null)
            .await;
        (response.status, response.code())
    };
    assert_eq!(list(&john).await, (403, "forbidden".into()));
    fixture
        .patch(&path, json!({"role": "admin"}))
        .await
        .is(200, "");
    assert_eq!(list(&john).await, (401, "token_revoked".into()));
    let admin = replica.sign_in("john").await;
    assert!(
        admin.claims()["scope"]
            .as_str()
            .is_some_and(|scope| scope.contains("admin"))
    );
    assert_eq!(list(&admin).await.0, 200);
    fixture
        .patch(&path, json!({"role": "user"}))
        .await
        .is(200, "");
    assert_eq!(list(&admin).await, (401, "token_revoked".into()));
    replica
        .refresh(&admin.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        list(&replica.sign_in("john").await).await,
        (403, "forbidden".into())
    );
}

#[tokio::test]
async fn new_names_are_in_the_next_tokens_and_end_nothing() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let (path, john) = fixture.somebody("john").await;
    fixture
        .patch(
            &path,
            json!({"username": "Johnny", "name": "J", "email": "j@example.com"}),
        )
        .await
        .is(200, "");
    assert_eq!(replica.verify(&john.access_token).await.0, 204);
    let claims = Session::of(replica.refresh(&john.refresh_token).await.is(200, "")).claims();
    assert_eq!(
        (&claims["username"], &claims["name"], &claims["email"]),
        (&json!("Johnny"), &json!("J"), &json!("j@example.com"))
    );
    // What is the same changes nothing, and ends nothing either.
    let whole = json!({
        "username": "Johnny",
        "email": "j@example.com",
        "name": "J",
        "role": "user",
        "disabled": false,
    });
    let rows = "select string_agg(u::text, ';' order by id) from users u";
    let before = ask(&fixture.server, rows).await;
    fixture.call(Method::PUT, &path, whole).await.is(200, "");
    assert_eq!(ask(&fixture.server, rows).await, before);
    assert_eq!(replica.verify(&john.access_token).await.0, 204);
}

#[tokio::test]
async fn names_of_others_are_refused_and_the_only_name_stays() {
    let fixture = Fixture::new().await;
    fixture.somebody("mary").await;
    let (path, _) = fixture.somebody("john").await;
    let before = fixture.get(&path).await.body;
    fixture
        .patch(&path, json!({"username": "MARY"}))
        .await
        .is(409, "username_taken");
    fixture
        .patch(
            &path,
            json!({"email": "Mary@example.com", "disabled": true}),
        )
        .await
        .is(409, "email_taken");
    fixture
        .patch(&path, json!({"username": null, "email": null}))
        .await
        .is(400, "invalid_request");
    fixture
        .patch(&path, json!({"password": "short"}))
        .await
        .is(400, "weak_password");
    assert_eq!(fixture.get(&path).await.body, before);
    assert_eq!(
        ask(
            &fixture.server,
            "select count(*) from revocations where kind = 'user'"
        )
        .await,
        "0"
    );
}

#[tokio::test]
async fn another_address_is_unverified_and_the_codes_of_the_old_one_are_void() {
    let mails = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mails.url())]).await;
    let (path, _) = fixture.somebody("john").await;
    let server = &fixture.server;
    let code = mails.reset_code(server, "john@example.com").await;
    server
        .reset_password("john@example.com", &code, NEW)
        .await
        .is(204, "");
    let respelled = fixture
        .patch(&path, json!({"email": "John@Example.com"}))
        .await;
    assert_eq!(respelled.is(200, "").body["email_verified"], true);

    let old = mails.mails_to("John@Example.com").len();
    server.forgot_password("john@example.com").await.is(202, "");
    mails.wait_for("John@Example.com", old + 1).await;
    let code = mails.code_for("John@Example.com").await;
    let moved = fixture
        .patch(&path, json!({"email": "j@example.org"}))
        .await;
    assert_eq!(
        (
            moved.is(200, "").text("email"),
            &moved.body["email_verified"]
        ),
        ("j@example.org".into(), &json!(false))
    );
    server
        .reset_password("j@example.org", &code, "of a stranger 7")
        .await
        .is(400, "invalid_code");
    assert_eq!(fixture.get(&path).await.body["email_verified"], false);
}

#[tokio::test]
async fn a_password_that_an_administrator_sets_is_told_to_the_owner_and_voids_codes() {
    let mails = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mails.url())]).await;
    let (path, _) = fixture.somebody("john").await;
    let code = mails.reset_code(&fixture.server, "john@example.com").await;
    let whole = json!({
        "username": "john",
        "email": "john@example.com",
        "name": null,
        "role": "user",
        "disabled": false,
        "password": NEW,
    });
    fixture.call(Method::PUT, &path, whole).await.is(200, "");
    let mails = mails.wait_for("john@example.com", 2).await;
    assert!(
        mails
            .iter()
            .any(|mail| mail.contains("Subject: Your password was changed"))
    );
    fixture
        .server
        .reset_password("john@example.com", &code, "of a thief 77")
        .await
        .is(400, "invalid_code");
    fixture
        .server
        .log_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    fixture.server.log_in("john", NEW).await.is(200, "");
}

/// Redis is cut off between the commit and its publication: whoever repeats it finishes it, and if
/// nobody does it finishes itself.
#[tokio::test]
async fn what_could_not_be_published_says_so_and_a_repeat_finishes_it() {
    let fixture = Fixture::new().await;
    let proxy = Proxy::to_redis().await;
    let cut = fixture
        .server
        .replica_with(&[("REDIS_URL", &proxy.redis_url())])
        .await;
    for (number, (method, below, body)) in [
        (Method::PATCH, "", json!({"disabled": true})),
        (Method::PATCH, "", json!({"role": "admin"})),
        (Method::POST, "/revoke", Value::Null),
        (Method::DELETE, "", Value::Null),
    ]
    .into_iter()
    .enumerate()
    {
        let (path, john) = fixture.somebody(&format!("john{number}")).await;
        let path = format!("{path}{below}");
        let held = Held::rows(
            &fixture.server,
            &format!("select from users where username = 'john{number}'"),
        )
        .await;
        let call = || {
            cut.with_token(
                method.clone(),
                &path,
                &fixture.admin.access_token,
                body.clone(),
            )
        };
        let mut first = std::pin::pin!(call());
        tokio::select! {
            response = &mut first => panic!("it waited for no row: {}", response.string()),
            () = held.until_somebody_waits() => {}
        }
        proxy.set(Line::Cut);
        held.release().await;
        let response = first.await;
        response.is(503, "unavailable");
        assert!(
            response.text("detail").contains("The change is saved"),
            "{}",
            response.body
        );
        proxy.set(Line::Open);
        until("the repeat is answered", || async {
            call().await.status != 503
        })
        .await;
        let repeated = call().await;
        assert!(
            (200..300).contains(&repeated.status),
            "{method} {path}: {}",
            repeated.string()
        );
        fixture.server.rejects(&john).await;
    }
}

#[tokio::test]
async fn an_administrator_who_deletes_somebody_twice_is_told_so_in_the_end() {
    let fixture = Fixture::new().await;
    let (path, john) = fixture.somebody("john").await;
    for _ in 0..2 {
        fixture
            .call(Method::DELETE, &path, Value::Null)
            .await
            .is(204, "");
    }
    fixture.server.rejects(&john).await;
    crate::test_stores::execute(&fixture.server, "delete from revocations").await;
    fixture
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(404, "not_found");
    assert_eq!(fixture.get(&fixture.admin.user_path()).await.status, 200);
}
