//! The page `/account/activity`.

use reqwest::Method;
use serde_json::json;

use super::signed_in;
use crate::test_server::{TestServer, wait_until};

/// Returns the path and the query of the link to older events.
fn older(text: &str) -> Option<String> {
    let (before, _) = text.split_once("\">Older</a>")?;
    let link = before.rsplit('"').next().expect("a link");
    Some(link.replace("&#38;", "&"))
}

#[tokio::test]
async fn events_are_listed_on_pages() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    let session = server.sign_in("john").await;
    for number in 0..50 {
        let name = json!({"name": format!("John {number}")});
        let request = server.with_token(Method::PATCH, "/user", &session.access_token, name);
        request.await.is(200, "");
    }
    let first = browser.get("/account/activity").await;
    first.is(200, &["Profile changed", "<time datetime=\"", "127.0.0.1"]);
    assert_eq!(first.text.matches("<time ").count(), 50);
    assert!(first.text.len() < 12_288, "{} bytes", first.text.len());
    assert!(!first.text.contains("Account created"));
    let link = older(&first.text).expect("a link to older events");
    let second = browser.get(&link).await;
    second.is(200, &["Signed in", "Account created"]);
    assert_eq!(older(&second.text), None);
    let page = browser.get("/account/activity?after=x").await;
    page.is(400, &["<!doctype html>"]);
}

#[tokio::test]
async fn failed_events_are_filtered() {
    let server = TestServer::start().await;
    let mut browser = signed_in(&server).await;
    let none = "No activity on this page.";
    let path = "/account/activity?outcome=failure";
    browser.get(path).await.is(200, &[none]);
    for _ in 0..2 {
        let sign_in = server.try_sign_in("john", "not the password");
        sign_in.await.is(401, "invalid_credentials");
    }
    let mary = server.sign_up("mary").await;
    let sign_in = server.try_sign_in("mary", "not the password");
    sign_in.await.is(401, "invalid_credentials");
    let count = "select coalesce(sum(count), 0)::text from audit_events where outcome = 'failure'";
    wait_until("the failed sign-ins", || async {
        crate::test_stores::query_value(&server, count).await == "3"
    })
    .await;
    let page = browser.get(path).await;
    page.is(
        200,
        &[
            "</span> Failed:</strong> Sign-in",
            "aria-current=\"page\">Failed",
        ],
    );
    assert!(!page.text.contains("Signed in"), "{}", page.text);
    assert!(!page.text.contains(&mary.claim("sub")));
    let page = browser.get("/account/activity").await;
    page.is(200, &["Failed:", "Signed in"]);
}
