//! A user registers, verifies the email address, resets the password, and signs in, in a real
//! browser with and without scripts.

use reqwest::Method;
use serde_json::Value;

use crate::{
    browser::driver::Driver,
    mail::{MailServer, code},
    test_server::{PASSWORD, TestServer, wait_until},
};

const EMAIL: &str = "john@example.com";
const NEW_PASSWORD: &str = "correct horse 9";

struct User {
    driver: Driver,
    server: TestServer,
    mail_server: MailServer,
    origin: String,
}

impl User {
    async fn with(driver: Driver) -> User {
        let mail_server = MailServer::start().await;
        let changes = [("LATCHKEY_SMTP_URL", mail_server.url())];
        let changes = changes.each_ref().map(|(name, url)| (*name, url.as_str()));
        let server = TestServer::at_localhost(&changes).await;
        User {
            driver,
            origin: format!("http://localhost:{}", server.address.port()),
            server,
            mail_server,
        }
    }

    async fn open(&self, path: &str) {
        self.driver.open(&format!("{}{path}", self.origin)).await;
    }

    /// Fills a form, and presses its button.
    async fn submit(&self, fields: &[(&str, &str)], button: &str) {
        for (name, value) in fields {
            let field = format!("//input[@name='{name}']");
            self.driver.replace_text(&field, value).await;
        }
        let button = format!("//main//button[text()='{button}']");
        self.driver.click(&button).await;
    }

    async fn sees(&self, text: &str) {
        wait_until(&format!("the page shows {text:?}"), || async {
            self.driver.text("//main").await.contains(text)
        })
        .await;
    }

    /// Waits for the code of the newest email.
    async fn code(&self, known: &[String]) -> String {
        let find = || {
            let emails = self.mail_server.emails_to(EMAIL);
            let mut codes = emails.iter().filter_map(|email| code(email));
            codes.find(|code| !known.contains(code))
        };
        wait_until("a new code", || async { find().is_some() }).await;
        find().expect("a code")
    }

    async fn lives_through_everything(&self) {
        self.open("/").await;
        self.driver.click("//a[text()='Create an account']").await;
        let fields = [("email", EMAIL), ("new_password", PASSWORD)];
        self.submit(&fields, "Create an account").await;
        self.sees("We've sent a code to john@example.com.").await;
        let first = self.code(&[]).await;
        self.submit(&[("code", &first)], "Verify").await;
        self.sees("Your email address is verified.").await;

        // Another device ends the session of this one.
        let other = self.server.try_sign_in(EMAIL, PASSWORD).await;
        let token = other.is(200, "").text("access_token");
        let path = "/logout?scope=others";
        let revoked = self
            .server
            .with_token(Method::POST, path, &token, Value::Null);
        assert_eq!(revoked.await.status, 204);
        self.open("/account").await;
        self.sees("Forgot your password?").await;

        self.driver
            .click("//a[text()='Forgot your password?']")
            .await;
        self.submit(&[("email", EMAIL)], "Send code").await;
        self.sees("If an account exists for this email address")
            .await;
        let second = self.code(&[first]).await;
        let fields = [("code", second.as_str()), ("new_password", NEW_PASSWORD)];
        self.submit(&fields, "Change password").await;
        self.sees("Your password has been changed.").await;
        let wrong = [("username", EMAIL), ("password", PASSWORD)];
        self.submit(&wrong, "Sign in").await;
        self.sees("Incorrect username or password.").await;
        self.submit(&[("password", NEW_PASSWORD)], "Sign in").await;
        self.sees("verified").await;
        self.driver.click("//nav//button[text()='Sign out']").await;
        self.sees("You've been signed out.").await;
        self.open("/account").await;
        self.sees("Forgot your password?").await;
    }
}

#[tokio::test]
async fn user_with_scripts() {
    let user = User::with(Driver::start().await).await;
    user.lives_through_everything().await;
    let messages = user.driver.console_messages().await;
    let is_status = |line: &String| line.contains("422");
    assert!(messages.iter().all(is_status), "{messages:?}");
}

#[tokio::test]
async fn user_without_scripts() {
    let user = User::with(Driver::start_without_scripts().await).await;
    user.open("/sign-in").await;
    assert!(
        !user
            .driver
            .has_element("//button[text()='Show' and not(@hidden)]")
            .await,
        "scripts are off"
    );
    user.lives_through_everything().await;
}
