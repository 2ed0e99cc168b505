//! The links in emails: their fragments contain the values of the forms.

use reqwest::Method;
use serde_json::json;

use super::Browser;
use crate::{
    mail::{MailServer, code, decoded, link},
    test_server::{ISSUER, PASSWORD, TestServer},
    test_stores::execute,
};

const EMAIL: &str = "john+1@example.com";
const NEW_PASSWORD: &str = "correct horse 9";

/// Waits for an email with a code. Opens the page of its link, and returns the path and the values
/// in the fragment, with which the script fills the form.
async fn open_link(
    mail_server: &MailServer,
    browser: &mut Browser<'_>,
) -> (String, Vec<(String, String)>) {
    let code_in_text = mail_server.code_for(EMAIL).await;
    let emails = mail_server.emails_to(EMAIL);
    let email = emails.iter().find(|email| code(email).is_some());
    let email = decoded(email.expect("an email with a code"));
    assert!(email.contains("Never share this code."), "{email}");
    assert!(email.contains("(IP address 127.0.0.1) on "), "{email}");
    let link = link(&email).expect("a link");
    let path = link.page.strip_prefix(ISSUER).expect("a page").to_owned();
    let form = browser.get(&path).await;
    form.is(200, &["data-fragment"]);
    for (name, value) in &link.values {
        assert_eq!(form.value(name), "", "the script fills {name}");
        let expected = if name == "code" { &code_in_text } else { EMAIL };
        assert_eq!(value, expected);
    }
    (path, link.values)
}

fn with<'a>(
    values: &'a [(String, String)],
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let values = values
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    values.chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn link_in_reset_email_leads_to_form() {
    let (server, mail_server) = TestServer::with_mail(&[("LATCHKEY_BRAND", "Example")]).await;
    server.sign_up_with_email("john", EMAIL).await;
    let mut browser = Browser::new(&server);
    server.forgot_password(EMAIL).await.is(202, "");
    let (path, values) = open_link(&mail_server, &mut browser).await;
    assert_eq!(path, "/reset-password");
    let email = decoded(&mail_server.emails_to(EMAIL)[0]);
    assert!(
        email.contains("the password for your Example account"),
        "{email}"
    );
    let fields = with(&values, &[("new_password", NEW_PASSWORD)]);
    browser.post(&path, &fields).await.leads_to("/sign-in");
    browser.sign_in("john", NEW_PASSWORD).await;
}

#[tokio::test]
async fn link_in_verification_email_leads_to_form() {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    let mut browser = Browser::new(&server);
    let fields = [("email", EMAIL), ("new_password", PASSWORD)];
    browser
        .post("/sign-up", &fields)
        .await
        .leads_to("/verify-email");
    let (path, values) = open_link(&mail_server, &mut browser).await;
    assert_eq!((path.as_str(), values.len()), ("/verify-email", 1));
    browser
        .post(&path, &with(&values, &[]))
        .await
        .leads_to("/account");
    browser.get("/account").await.is(200, &["(verified)"]);
}

#[tokio::test]
async fn link_in_registration_email_leads_to_form() {
    let (server, mail_server) = TestServer::with_mail(&[("LATCHKEY_SIGNUP", "verify")]).await;
    let mut browser = Browser::new(&server);
    let request = server.post("/signup", json!({"email": EMAIL, "password": PASSWORD}));
    request.await.is(202, "");
    let (path, values) = open_link(&mail_server, &mut browser).await;
    assert_eq!(path, "/sign-up/confirm");
    let fields = with(&values, &[("username", ""), ("new_password", PASSWORD)]);
    browser.post(&path, &fields).await.leads_to("/account");
}

#[tokio::test]
async fn emails_of_server_without_pages_contain_no_links() {
    let (server, mail_server) = TestServer::with_mail(&[("LATCHKEY_WEB", "off")]).await;
    let session = server.sign_up_with_email("john", EMAIL).await;
    execute(&server, "update users set email_verified = true").await;
    server.forgot_password(EMAIL).await.is(202, "");
    let code = mail_server.code_for(EMAIL).await;
    let change = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let token = &session.access_token;
    let changed = server.with_token(Method::POST, "/user/password", token, change);
    changed.await.is(204, "");
    let emails = mail_server.wait_for(EMAIL, 2).await;
    let emails: Vec<_> = emails.iter().map(|email| decoded(email)).collect();
    let notice = emails.iter().find(|email| !email.contains(&code));
    let advice = "reset your password on the page of your application";
    assert!(notice.expect("a notice").contains(advice), "{emails:?}");
    for email in emails {
        assert!(!email.contains("://"), "{email}");
    }
}
