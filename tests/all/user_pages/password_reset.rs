//! The pages `/forgot` and `/reset-password`.

use super::Browser;
use crate::test_server::{PASSWORD, TestServer};

const EMAIL: &str = "john@example.com";
const NEW_PASSWORD: &str = "correct horse 9";

#[tokio::test]
async fn user_resets_password_with_emailed_code() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    server.sign_up_with_email("john", EMAIL).await;
    let mut browser = Browser::new(&server);
    browser
        .get("/forgot")
        .await
        .is(200, &["Reset your password"]);
    let sent = browser
        .post("/forgot", &[("email", " john@example.com ")])
        .await;
    sent.leads_to("/reset-password");
    let form = browser.get("/reset-password").await;
    form.is(200, &["If an account exists for this email address"]);
    assert_eq!(form.value("email"), EMAIL, "entered once");
    let again = browser.get("/reset-password").await;
    assert_eq!(again.value("email"), "", "a note is shown once");

    let code = mail_server.code_for(EMAIL).await;
    let reset = |code: &str, password: &str| {
        [
            ("email", EMAIL.to_owned()),
            ("code", code.to_owned()),
            ("new_password", password.to_owned()),
        ]
    };
    for (code, password, text) in [
        (
            "00000-00000",
            NEW_PASSWORD,
            "The code is incorrect, expired",
        ),
        ("not a code", NEW_PASSWORD, "The code is incorrect, expired"),
        (&code, "short", "Use at least 8 characters."),
        (&code, "password", "This password is too common."),
        (
            &code,
            "john1234",
            "This password is similar to your username",
        ),
        (&code, "", "Enter a value."),
    ] {
        let fields = reset(code, password);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let page = browser.post("/reset-password", &fields).await;
        page.is(422, &[text, "<title>Error: Choose a new password"]);
        assert_eq!((page.value("email"), page.value("code")), (EMAIL, ""));
    }
    let spaced = format!(" {}\n", code.to_lowercase());
    let fields = reset(&spaced, NEW_PASSWORD);
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    browser
        .post("/reset-password", &fields)
        .await
        .leads_to("/sign-in");
    let note = "Your password has been changed. You&#39;ve been signed out on all devices.";
    browser.get("/sign-in").await.is(200, &[note]);
    server
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    browser.sign_in("john", NEW_PASSWORD).await;
}

/// The page doesn't reveal which addresses are registered.
#[tokio::test]
async fn every_address_gets_same_page() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
    server.sign_up_with_email("john", EMAIL).await;
    let mut pages = Vec::new();
    for email in [EMAIL, "mary@example.com"] {
        let mut browser = Browser::new(&server);
        browser
            .post("/forgot", &[("email", email)])
            .await
            .leads_to("/reset-password");
        let page = browser.get("/reset-password").await;
        pages.push(page.text.replace(email, "EMAIL"));
    }
    assert_eq!(pages[0], pages[1]);
    let mut browser = Browser::new(&server);
    let page = browser
        .post("/forgot", &[("email", "not an address")])
        .await;
    page.is(422, &["Enter an email address, for example"]);
}

#[tokio::test]
async fn server_without_email_explains_it() {
    let server = TestServer::shared().await;
    let mut browser = Browser::new(&server);
    let page = browser.get("/forgot").await;
    page.is(
        200,
        &["This server doesn&#39;t send email.", "I have a code"],
    );
    assert!(!page.text.contains("<form"));
}

/// Another host of the domain could set a cookie, but it can't sign a note.
#[tokio::test]
async fn forged_note_is_not_shown() {
    let server = TestServer::shared().await;
    let mut browser = Browser::new(&server);
    for value in ["x", "WzE4MDAwMDAwMDAsImVtYWlsX3ZlcmlmaWVkIl0.AAAA"] {
        let request = browser
            .request(reqwest::Method::GET, "/sign-in")
            .header("cookie", format!("__Host-latchkey-note={value}"));
        let page = browser.send(request).await;
        assert!(!page.is(200, &[]).text.contains("role=\"status\""));
    }
}
