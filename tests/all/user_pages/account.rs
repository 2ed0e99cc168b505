//! The pages below `/account`.

mod activity;
mod recent_sign_in; // actions that require a recent sign-in
mod security;
mod sessions;
mod tokens;

use super::Browser;
use crate::{
    test_server::{PASSWORD, TestServer},
    test_stores::execute,
};

/// The pages with their headings.
const PAGES: [(&str, &str); 8] = [
    ("/account", "Profile"),
    ("/account/security", "Security"),
    ("/account/email", "Change email"),
    ("/account/sessions", "Sessions"),
    ("/account/tokens", "Tokens"),
    ("/account/tokens/new", "New token"),
    ("/account/activity", "Activity"),
    ("/account/delete", "Delete account"),
];

/// Signs a user in with a browser.
async fn signed_in(server: &TestServer) -> Browser<'_> {
    server.sign_up("john").await;
    let mut browser = Browser::new(server);
    browser.sign_in("john", PASSWORD).await;
    browser
}

#[tokio::test]
async fn pages_have_navigation_and_require_sign_in() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    for (path, heading) in PAGES {
        let page = browser.get(path).await;
        page.has_strict_headers(path);
        let heading = format!("<h1>{heading}</h1>");
        page.is(200, &[&heading, "<nav aria-label=\"Your account\">"]);
        for link in ["", "/security", "/sessions", "/tokens", "/activity"] {
            let link = format!("href=\"/account{link}\"");
            assert!(page.text.contains(&link), "{path}: {link}");
        }
        assert!(page.text.contains("action=\"/sign-out\""), "{path}");
        assert!(page.text.contains("aria-current=\"page\""), "{path}");
        assert!(page.text.len() < 12_288, "{path}");
        let mut signed_out = Browser::new(&server);
        for page in [signed_out.get(path).await, signed_out.post(path, &[]).await] {
            // The page of the activity has no form.
            let is_blocked = page.status == 405 && path == "/account/activity";
            let page_in_query = path.replace('/', "%2F");
            assert!(
                is_blocked || page.location().ends_with(&page_in_query),
                "{path}"
            );
        }
    }
    let page = browser.get("/.well-known/change-password").await;
    assert_eq!((page.status, page.location()), (302, "/account/security"));
}

#[tokio::test]
async fn profile_is_changed() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    let page = browser.get("/account").await;
    page.is(200, &["Member since", "<time datetime=\"20"]);
    assert_eq!((page.value("username"), page.value("name")), ("john", ""));
    let fields = [("username", " jane "), ("name", "Jane <Doe>")];
    browser.post("/account", &fields).await.leads_to("/account");
    let page = browser.get("/account").await;
    page.is(200, &["role=\"status\"", "Your changes are saved."]);
    assert_eq!(page.value("username"), "jane");
    assert_eq!(page.value("name"), "Jane &#60;Doe&#62;");
    // The note is shown once.
    let page = browser.get("/account").await;
    assert!(!page.text.contains("role=\"status\""));
    let fields = [("username", "jane"), ("name", "")];
    browser.post("/account", &fields).await.leads_to("/account");
    assert_eq!(browser.get("/account").await.value("name"), "");
}

#[tokio::test]
async fn invalid_profile_names_fields() {
    let server = TestServer::shared().await;
    server.sign_up("mary").await;
    let mut browser = signed_in(&server).await;
    let long = "x".repeat(201);
    for (username, name, texts) in [
        ("mary", "", &["This username is already in use."][..]),
        ("admin", "", &["This username is reserved."]),
        ("-x-", "", &["#username", "Begin and end with a letter"]),
        ("", "", &["#username", "Your account has no email address."]),
        ("jane", &long, &["#name", "Use at most 200 characters"]),
    ] {
        let fields = [("username", username), ("name", name)];
        let page = browser.post("/account", &fields).await;
        page.is(422, &["<title>Error: Profile"]).is(422, texts);
        assert_eq!(page.value("username"), username);
    }
    assert_eq!(browser.get("/account").await.value("username"), "john");
}

/// An administrator has set the password, so the user must choose another one.
#[tokio::test]
async fn password_of_administrator_must_be_changed_first() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    execute(&server, "update users set password_change_required = true").await;
    for (path, _) in PAGES {
        let page = browser.get(path).await;
        if path == "/account/security" {
            let text = "Your administrator set this password. Choose a new one.";
            page.is(200, &[text]);
        } else {
            page.leads_to("/account/security");
        }
    }
    let sign_out = browser.post("/account/sessions", &[("others", "yes")]);
    sign_out.await.leads_to("/account/security");
    let change = |new| [("current_password", PASSWORD), ("new_password", new)];
    let page = browser.post("/account/security", &change(PASSWORD)).await;
    page.is(422, &["#new_password"]);
    let fields = change("a new passphrase");
    let changed = browser.post("/account/security", &fields).await;
    changed.leads_to("/account/security");
    browser.get("/account").await.is(200, &["john"]);
}
