//! The pages `/account/tokens` and `/account/tokens/new`.

use super::{Browser, signed_in};
use crate::{
    test_server::TestServer,
    test_stores::{execute, query_value},
};

const COUNT: &str = "select count(*) from personal_access_tokens";

/// Returns the token that a page shows.
fn shown_token(text: &str) -> &str {
    let (_, rest) = text.split_once("<output id=\"token\">").expect("a token");
    rest.split('<').next().unwrap_or_default()
}

/// Creates a token that can read the user, and returns the ID in the form and the token.
async fn create(browser: &mut Browser<'_>, name: &str) -> (String, String) {
    let form = browser.get("/account/tokens/new").await;
    let id = form.value("id").to_owned();
    let fields = [
        ("id", id.as_str()),
        ("name", name),
        ("days", "90"),
        ("user:read", "yes"),
    ];
    let page = browser.post("/account/tokens/new", &fields).await;
    page.is(200, &["Copy this token now. You won&#39;t see it again."]);
    (id, shown_token(&page.text).to_owned())
}

#[tokio::test]
async fn token_is_created_once_and_deleted() {
    let server = TestServer::shared().await;
    let replica = server.replica().await;
    let mut browser = signed_in(&server).await;
    let empty = "You don&#39;t have any personal access tokens.";
    browser.get("/account/tokens").await.is(200, &[empty]);
    let form = browser.get("/account/tokens/new").await;
    form.is(200, &["View your items", "name=\"items:write\""]);
    assert_eq!(form.value("days"), "90");
    assert!(
        !form.text.contains("Administer users"),
        "the role allows no more"
    );
    let (id, token) = create(&mut browser, "backup <job>").await;
    assert_eq!(replica.verify(&token).await.0, 204);

    // A reload sends the form again.
    let fields = [
        ("id", id.as_str()),
        ("name", "x"),
        ("days", "1"),
        ("user:read", "yes"),
    ];
    let page = browser.post("/account/tokens/new", &fields).await;
    page.is(422, &["This form has already created a token."]);
    assert_ne!(page.value("id"), id, "the next form creates another token");
    assert_eq!(query_value(&server, COUNT).await, "1");

    let page = browser.get("/account/tokens").await;
    page.is(
        200,
        &[
            "<strong>backup &#60;job&#62;</strong>",
            "View your profile and your sessions",
            "Expires <time",
            "aria-label=\"Delete backup &#60;job&#62;\"",
        ],
    );
    assert!(!page.text.contains(&token), "the token is shown once");
    let deleted = browser.post("/account/tokens", &[("token", &id)]).await;
    deleted.leads_to("/account/tokens");
    let note = "The token has been deleted.";
    browser.get("/account/tokens").await.is(200, &[note, empty]);
    assert_eq!(replica.verify(&token).await, (401, "token_revoked".into()));
    let page = browser.post("/account/tokens/new", &fields).await;
    page.is(422, &["This form has already created a token."]);
    assert_eq!(query_value(&server, COUNT).await, "0");
    // A second deletion has no effect.
    let deleted = browser.post("/account/tokens", &[("token", &id)]).await;
    deleted.leads_to("/account/tokens");
    for unknown in ["018f0000-0000-7000-8000-000000000000", "x"] {
        let page = browser.post("/account/tokens", &[("token", unknown)]).await;
        page.is(404, &["Page not found"]);
    }
}

#[tokio::test]
async fn invalid_token_names_fields() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    let long = "x".repeat(101);
    for (name, days, scope, texts) in [
        (
            "",
            "90",
            "user:read",
            &["#name\">Name: ", "Enter a value."][..],
        ),
        (
            &long,
            "90",
            "user:read",
            &["#name", "Use at most 100 characters"],
        ),
        (
            "job",
            "367",
            "user:read",
            &["#days\">Days until it expires: ", "from 1 to 366."],
        ),
        ("job", "0", "user:read", &["#days"]),
        ("job", "x", "user:read", &["#days"]),
        ("job", "90", "name2", &["Invalid request"]),
    ] {
        let fields = [("name", name), ("days", days), (scope, "yes")];
        let page = browser.post("/account/tokens/new", &fields).await;
        let status = if scope == "name2" { 400 } else { 422 };
        page.is(status, texts);
        let is_checked = page
            .text
            .contains("name=\"user:read\" value=\"yes\" checked");
        assert_eq!(is_checked, status == 422);
    }
    let fields = [("name", "job"), ("days", "90")];
    let page = browser.post("/account/tokens/new", &fields).await;
    page.is(
        422,
        &["#scope\">The token can: ", "Select at least one entry."],
    );
    let fields = [("name", "job"), ("days", "90"), ("admin", "yes")];
    let page = browser.post("/account/tokens/new", &fields).await;
    assert_eq!(page.status, 400, "the role doesn't allow the scope");
    assert_eq!(query_value(&server, COUNT).await, "0");
}

#[tokio::test]
async fn number_of_tokens_is_limited() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    create(&mut browser, "first").await;
    let fill = "insert into personal_access_tokens \
        (id, user_id, generation, name, secret_hash, scope, expires_at) \
        select gen_random_uuid(), user_id, generation, name, sha256(n::text::bytea), scope, \
        expires_at from personal_access_tokens, generate_series(1, 49) n";
    execute(&server, fill).await;
    let fields = [("name", "job"), ("days", "366"), ("user:read", "yes")];
    let page = browser.post("/account/tokens/new", &fields).await;
    page.is(
        422,
        &["You have 50 personal access tokens, which is the maximum."],
    );
    let page = browser.get("/account/tokens").await;
    assert_eq!(page.text.matches("aria-label=\"Delete first\"").count(), 50);
}
