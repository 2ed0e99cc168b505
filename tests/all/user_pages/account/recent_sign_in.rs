//! Actions that require a sign-in within the last five minutes.

use serde_json::json;

use super::{Browser, signed_in};
use crate::{
    browser::NAME,
    test_server::{PASSWORD, TestServer, claims},
    test_stores::query_value,
    token_signer::{TokenSigner, with},
};

const TOKEN: [(&str, &str); 3] = [("name", "job"), ("days", "1"), ("user:read", "yes")];

/// Replaces the cookie by one whose sign-in is older than five minutes, and returns it.
async fn age_sign_in(server: &TestServer, browser: &mut Browser<'_>) -> String {
    let claims = claims(browser.session_cookie().expect("a cookie"));
    let auth_time = claims["auth_time"].as_u64().expect("a timestamp") - 301;
    let signer = TokenSigner::of(server).await;
    let cookie = signer.sign(&with(&claims, "auth_time", json!(auth_time)));
    browser.set_session_cookie(cookie.clone());
    cookie
}

fn with_password(password: &str) -> Vec<(&str, &str)> {
    let mut fields = TOKEN.to_vec();
    fields.push(("current_password", password));
    fields
}

#[tokio::test]
async fn password_renews_sign_in_of_same_session() {
    let server = TestServer::start().await;
    let mut browser = signed_in(&server).await;
    let page = browser.get("/account/tokens/new").await;
    assert!(!page.text.contains("Confirm your password"));
    let old = age_sign_in(&server, &mut browser).await;
    let page = browser.get("/account/tokens/new").await;
    page.is(200, &["Confirm your password", "id=\"current_password\""]);
    for (fields, text) in [
        (TOKEN.to_vec(), "Confirm your password."),
        (
            with_password("not the password"),
            "The current password is incorrect.",
        ),
    ] {
        let page = browser.post("/account/tokens/new", &fields).await;
        page.is(422, &["#current_password", text]);
        assert_eq!(
            page.value("name"),
            "job",
            "other fields are filled in again"
        );
        assert_eq!(browser.session_cookie(), Some(old.as_str()));
    }
    let failures = "select sum(count) from audit_events where event = 'password_check_failed'";
    crate::test_server::wait_until("an audit event", || async {
        query_value(&server, &format!("select coalesce(({failures}), 0)::text")).await == "1"
    })
    .await;
    let page = browser
        .post("/account/tokens/new", &with_password(PASSWORD))
        .await;
    page.is(200, &["<output id=\"token\">"]);

    let new = browser.session_cookie().expect("a cookie").to_owned();
    let (before, after) = (claims(&old), claims(&new));
    assert_eq!(before["sid"], after["sid"]);
    assert_eq!(before["session_exp"], after["session_exp"]);
    assert!(before["auth_time"].as_u64() < after["auth_time"].as_u64());
    let page = browser.get("/account/delete").await;
    assert!(!page.text.contains("Confirm your password"));
    // The earlier cookie keeps its time of sign-in.
    browser.set_session_cookie(old);
    let page = browser.get("/account/delete").await;
    page.is(200, &["Confirm your password"]);
    let sessions = "select count(*) from sessions";
    assert_eq!(
        query_value(&server, sessions).await,
        "2",
        "sign-up and sign-in"
    );
}

#[tokio::test]
async fn sign_out_revokes_renewed_cookie() {
    let server = TestServer::start().await;
    let mut browser = signed_in(&server).await;
    let old = age_sign_in(&server, &mut browser).await;
    browser
        .post("/account/tokens/new", &with_password(PASSWORD))
        .await;
    let new = browser.session_cookie().expect("a cookie").to_owned();
    browser.post("/sign-out", &[]).await.is(200, &[]);
    for cookie in [old, new] {
        let request = server
            .request(reqwest::Method::GET, "/session")
            .header("cookie", format!("{NAME}={cookie}"));
        server.send(request).await.is(401, "unauthenticated");
        // A revoked session can't find out whether a password is correct.
        browser.set_session_cookie(cookie);
        let page = browser
            .post("/account/tokens/new", &with_password(PASSWORD))
            .await;
        assert!(page.location().starts_with("/sign-in?"));
    }
}

#[tokio::test]
async fn confirmation_is_rate_limited() {
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_LIMIT_SIGN_IN", "2/1h"),
    ])
    .await;
    let mut browser = signed_in(&server).await;
    age_sign_in(&server, &mut browser).await;
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let fields = with_password("not the password");
        statuses.push(browser.post("/account/tokens/new", &fields).await.status);
    }
    assert_eq!(statuses.last(), Some(&429), "{statuses:?}");
}

#[tokio::test]
async fn account_is_deleted_after_confirmation() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let mut browser = signed_in(&server).await;
    let other = server.sign_in("john").await;
    age_sign_in(&server, &mut browser).await;
    let text = "This permanently deletes your account and its data.";
    browser
        .get("/account/delete")
        .await
        .is(200, &[text, "Confirm your password"]);
    let page = browser.post("/account/delete", &[]).await;
    page.is(422, &["<title>Error: Delete account", "#current_password"]);
    let users = "select count(*) from users";
    assert_eq!(query_value(&server, users).await, "1");
    let fields = [("current_password", PASSWORD)];
    let deleted = browser.post("/account/delete", &fields).await;
    deleted.leads_to("/sign-in");
    assert_eq!(browser.session_cookie(), None);
    assert_eq!(query_value(&server, users).await, "0");
    assert_eq!(replica.verify(&other.access_token).await.0, 401);
    let note = "Your account has been deleted.";
    browser.get("/sign-in").await.is(200, &[note]);
}

#[tokio::test]
async fn only_administrator_cannot_delete_account() {
    let server = TestServer::start().await;
    server.admin("root").await;
    let mut browser = Browser::new(&server);
    browser.sign_in("root", PASSWORD).await;
    let page = browser.post("/account/delete", &[]).await;
    page.is(403, &["You&#39;re the only administrator."]);
    assert!(browser.session_cookie().is_some());
}
