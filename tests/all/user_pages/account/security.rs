//! The pages `/account/security` and `/account/email`.

use super::{Browser, signed_in};
use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, TestServer},
    test_stores::{fresh_database, query_value},
};

const NEW_PASSWORD: &str = "a new passphrase";

#[tokio::test]
async fn password_is_changed_and_other_sessions_are_revoked() {
    let server = TestServer::shared().await;
    let replica = server.replica().await;
    let mut browser = signed_in(&server).await;
    let other = server.sign_in("john").await;
    let page = browser.get("/account/security").await;
    page.is(200, &["value=\"john\" readonly autocomplete=\"username\""]);
    for (current, new, text) in [
        (
            "not the password",
            NEW_PASSWORD,
            "The current password is incorrect.",
        ),
        (PASSWORD, "short", "Use at least 8 characters."),
        ("", "", "Enter a value."),
    ] {
        let fields = [("current_password", current), ("new_password", new)];
        let page = browser.post("/account/security", &fields).await;
        page.is(422, &["<title>Error: Security", text]);
        assert_eq!(page.value("new_password"), "");
    }
    assert_eq!(replica.verify(&other.access_token).await.0, 204);
    let fields = [
        ("action", "password"),
        ("current_password", PASSWORD),
        ("new_password", NEW_PASSWORD),
    ];
    let changed = browser.post("/account/security", &fields).await;
    changed.leads_to("/account/security");
    replica.rejects(&other).await;
    let note = "Your password has been changed. You&#39;ve been signed out on all other devices.";
    browser.get("/account/security").await.is(200, &[note]);
    // The same form has no second effect.
    let page = browser.post("/account/security", &fields).await;
    page.is(422, &["The current password is incorrect."]);
    Browser::new(&server).sign_in("john", NEW_PASSWORD).await;
}

#[tokio::test]
async fn email_address_is_changed_with_code() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    let replica = server.replica().await;
    let mut browser = signed_in(&server).await;
    let other = server.sign_in("john").await;
    let change = |email, password| {
        [
            ("action", "email"),
            ("email", email),
            ("password", password),
        ]
    };
    for (email, password, texts) in [
        ("john", PASSWORD, &["#email", "Enter an email address"][..]),
        ("", "", &["#email", "#password", "Enter a value."]),
        (
            "new@example.com",
            "not the password",
            &["#password", "The current password is incorrect."],
        ),
    ] {
        let page = browser
            .post("/account/security", &change(email, password))
            .await;
        page.is(422, texts);
        assert_eq!(page.value("email"), email);
    }
    let fields = change("new@example.com", PASSWORD);
    let requested = browser.post("/account/security", &fields).await;
    requested.leads_to("/account/email");
    let note = "We&#39;ve sent a code to new@example.com. Enter it to change your email address.";
    browser.get("/account/email").await.is(200, &[note]);
    let page = browser
        .post("/account/email", &[("code", "00000-00000")])
        .await;
    page.is(422, &["The code is incorrect, expired, or already used."]);
    browser
        .post("/account/email", &[])
        .await
        .is(422, &["#code"]);
    let code = mail_server.code_for("new@example.com").await;
    let changed = browser.post("/account/email", &[("code", &code)]).await;
    changed.leads_to("/account");
    replica.rejects(&other).await;
    let note = "Your email address has been changed.";
    let page = browser.get("/account").await;
    page.is(200, &[note, "new@example.com (verified)"]);
}

#[tokio::test]
async fn server_without_email_has_no_form_for_address() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    let page = browser.get("/account/security").await;
    assert!(
        !page
            .is(200, &["Change password"])
            .text
            .contains("email\" name")
    );
}

#[tokio::test]
async fn unavailable_store_changes_nothing_and_keeps_the_cookie() {
    let proxy = Proxy::to_postgres().await;
    let url = proxy.postgres_url(&fresh_database().await);
    let changes = [
        ("DATABASE_URL", url.as_str()),
        ("LATCHKEY_DATABASE_TIMEOUT", "1s"),
    ];
    let server = TestServer::with(&changes).await;
    let mut browser = signed_in(&server).await;
    proxy.set(ConnectionState::Cut);
    for path in ["/account/sessions", "/account/delete", "/account/tokens"] {
        let page = browser.post(
            path,
            &[("others", "yes")][..usize::from(path.ends_with("sessions"))],
        );
        let page = page.await;
        page.is(503, &["Try again in a few seconds."]);
        assert!(page.headers.contains_key("retry-after"));
    }
    assert!(browser.session_cookie().is_some());
    proxy.set(ConnectionState::Open);
    let users = "select count(*) from users";
    assert_eq!(query_value(&server, users).await, "1");
}
