//! The pages `/sign-up`, `/sign-up/confirm`, and `/verify-email`.

use super::Browser;
use crate::{
    mail::code,
    test_server::{PASSWORD, TestServer, wait_until},
    test_stores::query_value,
};

const EMAIL: &str = "john@example.com";

#[tokio::test]
async fn user_registers_and_verifies_email_address() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    let mut browser = Browser::new(&server);
    browser
        .get("/sign-up")
        .await
        .is(200, &["Create an account"]);
    let fields = [
        ("email", EMAIL),
        ("username", ""),
        ("new_password", PASSWORD),
    ];
    browser
        .post("/sign-up", &fields)
        .await
        .leads_to("/verify-email");
    let page = browser.get("/verify-email").await;
    page.is(200, &["We&#39;ve sent a code to john@example.com."]);
    let code = mail_server.code_for(EMAIL).await;
    let page = browser
        .post("/verify-email", &[("code", "00000-00000")])
        .await;
    page.is(422, &["The code is incorrect, expired, or already used."]);
    browser
        .post("/verify-email", &[("code", &code)])
        .await
        .leads_to("/account");
    let note = "Your email address is verified.";
    browser.get("/account").await.is(200, &[note, "(verified)"]);
    browser
        .get("/verify-email")
        .await
        .leads_to("/account/email");

    // A signed-out browser comes back after the sign-in.
    let mut other = Browser::new(&server);
    let page = other.get("/verify-email").await;
    assert!(page.location().starts_with("/sign-in?return_to="));
}

#[tokio::test]
async fn verification_code_can_be_requested_again() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    let session = server.sign_up_with_email("john", EMAIL).await;
    let mut browser = Browser::new(&server);
    browser.sign_in("john", PASSWORD).await;
    browser
        .get("/account")
        .await
        .is(200, &["(not verified)", "/verify-email"]);
    for count in 1..=2 {
        let sent = browser.post("/verify-email", &[("resend", "yes")]).await;
        sent.leads_to("/verify-email");
        mail_server.wait_for(EMAIL, count).await;
    }
    // The newest code is the valid one.
    let emails = mail_server.emails_to(EMAIL);
    let codes: Vec<_> = emails.iter().filter_map(|email| code(email)).collect();
    let mut statuses = Vec::new();
    for code in &codes {
        let page = browser.post("/verify-email", &[("code", code)]).await;
        statuses.push(page.status);
    }
    assert!(statuses.contains(&303), "{statuses:?}");
    let verified = "select email_verified from users";
    assert_eq!(query_value(&server, verified).await, "true");
    let path = "/user/email/verification";
    let token = &session.access_token;
    let request = server.with_token(reqwest::Method::POST, path, token, serde_json::Value::Null);
    request.await.is(202, "");
}

#[tokio::test]
async fn invalid_registration_names_fields() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
    server.sign_up_with_email("john", EMAIL).await;
    let mut browser = Browser::new(&server);
    for (email, username, password, texts) in [
        (
            EMAIL,
            "",
            PASSWORD,
            &["This email address is already in use."][..],
        ),
        (
            "a@example.com",
            "john",
            PASSWORD,
            &["This username is already in use."],
        ),
        (
            "a@example.com",
            "admin",
            PASSWORD,
            &["This username is reserved."],
        ),
        (
            "a@example.com",
            "-x-",
            PASSWORD,
            &["Begin and end with a letter or digit."],
        ),
        ("a@example.com", "", "mary", &["Use at least 8 characters."]),
        ("", "", "", &["#email", "#new_password", "Enter a value."]),
        (
            "john",
            "..",
            "x",
            &["#email", "#username", "Enter an email address"],
        ),
    ] {
        let fields = [
            ("email", email),
            ("username", username),
            ("new_password", password),
        ];
        let page = browser.post("/sign-up", &fields).await;
        page.is(422, texts);
        assert_eq!(
            (page.value("email"), page.value("username")),
            (email, username)
        );
        assert_eq!(browser.session_cookie(), None);
    }
    assert_eq!(
        query_value(&server, "select count(*)::text from users").await,
        "1"
    );
}

#[tokio::test]
async fn server_without_email_registers_usernames() {
    let server = TestServer::shared().await;
    let mut browser = Browser::new(&server);
    let page = browser.get("/sign-up").await;
    assert!(!page.is(200, &[]).text.contains("name=\"email\""));
    let fields = [("username", "john"), ("new_password", PASSWORD)];
    browser.post("/sign-up", &fields).await.leads_to("/account");
    browser.get("/account").await.is(200, &["john"]);
}

#[tokio::test]
async fn registration_with_code_has_two_pages() {
    let (server, mail_server) = TestServer::with_mail(&[("LATCHKEY_SIGNUP", "verify")]).await;
    let mut browser = Browser::new(&server);
    let page = browser.get("/sign-up").await;
    assert!(!page.is(200, &["Send code"]).text.contains("new_password"));
    browser
        .post("/sign-up", &[("email", EMAIL)])
        .await
        .leads_to("/sign-up/confirm");
    let page = browser.get("/sign-up/confirm").await;
    page.is(200, &["Enter it to finish creating your account."]);
    assert_eq!(page.value("email"), EMAIL);
    let code = mail_server.code_for(EMAIL).await;
    let confirm = |code: &str, password: &str| {
        [
            ("email", EMAIL.to_owned()),
            ("code", code.to_owned()),
            ("username", "john".to_owned()),
            ("new_password", password.to_owned()),
        ]
    };
    for (code, password) in [
        ("00000-00000", PASSWORD),
        (&code, "short"),
        (&code, "password"),
    ] {
        let fields = confirm(code, password);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let page = browser.post("/sign-up/confirm", &fields).await;
        page.is(422, &["role=\"alert\""]);
        assert_eq!(page.value("username"), "john");
    }
    let fields = confirm(&code, PASSWORD);
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    browser
        .post("/sign-up/confirm", &fields)
        .await
        .leads_to("/account");
    browser
        .get("/account")
        .await
        .is(200, &["john", "(verified)"]);
    // The address is taken now, and the page doesn't say so.
    let mut other = Browser::new(&server);
    other
        .post("/sign-up", &[("email", EMAIL)])
        .await
        .leads_to("/sign-up/confirm");
    wait_until("the notice arrives", || async {
        mail_server.emails_to(EMAIL).len() == 2
    })
    .await;
}

#[tokio::test]
async fn closed_registration_is_explained() {
    let server = TestServer::with(&[("LATCHKEY_SIGNUP", "admin")]).await;
    let mut browser = Browser::new(&server);
    let text = "Only administrators can create accounts here.";
    browser.get("/sign-up").await.is(403, &[text]);
    browser
        .post("/sign-up", &[("username", "john")])
        .await
        .is(403, &[text]);
    for path in ["/", "/sign-in"] {
        let page = browser.get(path).await;
        assert!(!page.is(200, &[]).text.contains("/sign-up"), "{path}");
    }
}
