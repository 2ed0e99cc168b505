//! Several applications, and several replicas.

use reqwest::Method;

use super::{APPLICATIONS, Browser, SHOP, WIKI, start};
use crate::{
    browser::{NAME, aged},
    test_server::{ISSUER, PASSWORD, TestServer, wait_until},
    test_stores::{execute, query_value},
};

#[tokio::test]
async fn one_sign_in_opens_every_application() {
    let server = start().await;
    let (second, third) = (server.replica().await, server.replica().await);
    let mut browser = Browser::new(&[&server, &second, &third]);
    let page = browser.open(&format!("{SHOP}/dash?a=b%2Fc&d")).await;
    page.is(200, &["<h1>Sign in</h1>", "shop.example.net</a>"]);
    let wrong = [("username", "john"), ("password", "wrong password")];
    let page = browser.submit(&page, &wrong).await;
    page.is(422, &["Incorrect username or password."]);
    let right = [("username", "john"), ("password", PASSWORD)];
    let dash = browser.submit(&page, &right).await;
    let url = format!("{SHOP}/dash?a=b%2Fc&d");
    dash.is(200, &[&format!("{url} for john")]);
    assert_eq!(dash.url, url);
    // The second application asks for nothing.
    let wiki = browser.open(&format!("{WIKI}/")).await;
    wiki.is(200, &[&format!("{WIKI}/ for john")]);
    let script = [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];
    let url = format!("{SHOP}/data");
    let fetched = browser.request(Method::GET, &url, &script, &[]).await;
    fetched.is(200, &["for john"]);
    assert!(browser.cookie(SHOP, NAME).is_none() && browser.cookie(ISSUER, NAME).is_some());
}

#[tokio::test]
async fn one_sign_out_is_enforced_at_every_application() {
    let server = start().await;
    let second = server.replica().await;
    for at_application in [false, true] {
        let mut browser = Browser::new(&[&server, &second]);
        browser
            .sign_in(&format!("{SHOP}/"), "john")
            .await
            .is(200, &["for john"]);
        browser
            .open(&format!("{WIKI}/"))
            .await
            .is(200, &["for john"]);
        let url = if at_application {
            format!("{WIKI}/.latchkey/sign-out")
        } else {
            format!("{ISSUER}/sign-out")
        };
        let question = browser.open(&url).await;
        question.is(200, &["You'll be signed out of this browser."]);
        browser
            .open(&format!("{SHOP}/"))
            .await
            .is(200, &["for john"]);
        let signed_out = browser.submit(&question, &[]).await;
        signed_out.is(200, &["You've been signed out."]);
        let link = "href=\"https://wiki.example.org:8443/\">Back to wiki.example.org:8443</a>";
        assert_eq!(signed_out.text.contains(link), at_application);
        for _ in 0..2 {
            for application in [SHOP, WIKI] {
                browser
                    .fetch(&format!("{application}/"))
                    .await
                    .is(401, &["token_revoked"]);
                let page = browser.open(&format!("{application}/")).await;
                page.is(200, &["<h1>Sign in</h1>"]);
            }
        }
    }
}

/// The cookie of the session is at the issuer only, so the ticket names the session.
#[tokio::test]
async fn application_signs_out_without_session_cookie() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    browser
        .open(&format!("{WIKI}/"))
        .await
        .is(200, &["for john"]);
    browser.cookies.retain(|(origin, ..)| origin != ISSUER);
    let question = browser.open(&format!("{SHOP}/.latchkey/sign-out")).await;
    browser
        .submit(&question, &[])
        .await
        .is(200, &["You've been signed out."]);
    for application in [SHOP, WIKI] {
        browser
            .fetch(&format!("{application}/"))
            .await
            .is(401, &["token_revoked"]);
    }
    // A link that has expired signs no user out.
    let expired = [("ticket", "x")];
    let answer = browser
        .request(
            Method::POST,
            &format!("{ISSUER}/sign-out"),
            &super::NAVIGATION,
            &expired,
        )
        .await;
    answer.is(422, &["This sign-out link has expired."]);
}

/// The default idle timeouts are 10 minutes and 1 hour.
#[tokio::test]
async fn use_of_an_application_keeps_the_sign_in() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    let session = browser.cookie(ISSUER, NAME).expect("a cookie").to_owned();
    // The session cookie of 40 minutes ago, and the application is used now.
    let expired = aged(&server, &session, 2_400).await;
    browser.set_cookie(ISSUER, NAME, expired.clone());
    browser
        .open(&format!("{WIKI}/"))
        .await
        .is(200, &["for john"]);
    assert_ne!(
        browser.cookie(ISSUER, NAME),
        Some(expired.as_str()),
        "renewed"
    );
    let mut other = Browser::new(&[&server]);
    other.set_cookie(ISSUER, NAME, expired.clone());
    execute(
        &server,
        "update sessions set last_used_at = now() - interval '61 minutes'",
    )
    .await;
    let prompt = other.open(&format!("{WIKI}/")).await;
    prompt.is(200, &["<h1>Sign in</h1>"]);
    // A session that no application has used since expires with its cookie.
    execute(
        &server,
        "update sessions set last_used_at = now() - interval '41 minutes'",
    )
    .await;
    let prompt = other.open(&format!("{WIKI}/")).await;
    prompt.is(200, &["<h1>Sign in</h1>"]);
    // A session that was revoked long ago is unknown to Redis.
    execute(&server, "delete from sessions").await;
    let prompt = other.open(&format!("{WIKI}/")).await;
    prompt.is(200, &["<h1>Sign in</h1>"]);
}

/// The renewal of an application cookie is a use of the session.
#[tokio::test]
async fn use_of_an_application_is_stored() {
    let server = start().await;
    let mut browser = Browser::new(&[&server]);
    let url = format!("{SHOP}/");
    browser.sign_in(&url, "john").await.is(200, &["for john"]);
    let unused = "update sessions set last_used_at = now() - interval '50 minutes'";
    execute(&server, unused).await;
    let name = "__Host-latchkey-app";
    let token = browser.cookie(SHOP, name).expect("a cookie").to_owned();
    let token = super::cookies::aged(&server, &token, 1_000).await;
    browser.set_cookie(SHOP, name, token);
    browser.fetch(&url).await.is(200, &["for john"]);
    let used = "select count(*)::text from sessions \
                where last_used_at > now() - interval '1 minute'";
    wait_until("the use of the application is stored", || async {
        query_value(&server, used).await == "1"
    })
    .await;
}

/// The user can see and revoke a session while an application of it is in use.
#[tokio::test]
async fn session_list_contains_session_in_use_at_application() {
    let with = start().await;
    let without = TestServer::start().await;
    without.sign_up("john").await;
    for (server, is_listed) in [(&with, true), (&without, false)] {
        crate::browser::open(server, "john").await;
        let idle = "update sessions set last_used_at = now() - interval '40 minutes' \
            where client_id = 'latchkey-browser'";
        execute(server, idle).await;
        let token = server.sign_in("john").await.access_token;
        let request = server.request(Method::GET, "/sessions").bearer_auth(token);
        let sessions = server.send(request).await;
        let sessions = sessions.is(200, "").body["data"]
            .as_array()
            .expect("a list")
            .len();
        // The sign-up and the sign-in have a session each.
        assert_eq!(sessions, if is_listed { 3 } else { 2 });
    }
}

/// A sign-in of another user in the same browser ends the session of the first one.
#[tokio::test]
async fn sign_in_of_another_user_ends_the_session() {
    let server = start().await;
    server.sign_up("jane").await;
    let mut browser = Browser::new(&[&server]);
    browser
        .sign_in(&format!("{SHOP}/"), "john")
        .await
        .is(200, &["for john"]);
    let session = browser.cookie(ISSUER, NAME).expect("a cookie").to_owned();
    execute(
        &server,
        "update sessions set last_used_at = now() - interval '61 minutes'",
    )
    .await;
    browser.set_cookie(ISSUER, NAME, aged(&server, &session, 2_400).await);
    let wiki = browser.sign_in(&format!("{WIKI}/"), "jane").await;
    wiki.is(200, &["for jane"]);
    browser
        .fetch(&format!("{SHOP}/"))
        .await
        .is(401, &["token_revoked"]);
    browser
        .open(&format!("{SHOP}/"))
        .await
        .is(200, &["for jane"]);
}

/// Each change is enforced at every application when its response is sent.
#[tokio::test]
async fn changes_of_the_user_are_enforced_at_applications() {
    let server = TestServer::with(&[APPLICATIONS]).await;
    let admin = server.admin("admin").await;
    let second = server.replica().await;
    for (number, change) in [
        serde_json::json!({"role": "admin"}),
        serde_json::json!({"disabled": true}),
    ]
    .into_iter()
    .enumerate()
    {
        let username = format!("john{number}");
        let user = server.sign_up(&username).await;
        let mut browser = Browser::new(&[&server, &second]);
        browser
            .sign_in(&format!("{SHOP}/"), &username)
            .await
            .is(200, &["for john"]);
        browser
            .open(&format!("{WIKI}/"))
            .await
            .is(200, &["for john"]);
        let id = crate::test_server::claims(&user.access_token)["sub"].clone();
        let path = format!("/users/{}", id.as_str().expect("an ID"));
        let request = server
            .request(Method::PATCH, &path)
            .bearer_auth(&admin.access_token)
            .json(&change);
        server.send(request).await.is(200, "");
        for _ in 0..2 {
            for application in [SHOP, WIKI] {
                let url = format!("{application}/");
                let fetch = browser.fetch(&url).await;
                fetch.is(401, &["token_revoked"]);
            }
        }
    }
}
