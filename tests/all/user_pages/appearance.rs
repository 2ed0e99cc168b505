//! The pages in a real browser: accessibility (axe-core), both color schemes, a desktop and a phone.
//!
//! `LATCHKEY_SCREENSHOTS` names a folder in which the test stores a picture of each state.

use std::path::PathBuf;

use serde_json::json;

use crate::{
    browser::driver::Driver,
    mail::MailServer,
    test_server::{PASSWORD, TestServer},
    tools,
};

const EMAIL: &str = "john@example.com";

const WIDTHS: [u32; 2] = [1_000, 320];

const SCHEMES: [&str; 2] = ["light", "dark"];

/// Returns the violations of accessibility rules as `rule: element`.
const FIND_VIOLATIONS: &str = "
    return axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})
        .then(found => found.violations.flatMap(
            rule => rule.nodes.map(node => rule.id + ': ' + node.html + ' ' + node.failureSummary)));";

/// A browser that looks at the pages of a server.
struct Viewer {
    driver: Driver,
    server: TestServer,
    _mail_server: MailServer,
    origin: String,
    axe: String,
}

impl Viewer {
    async fn with(changes: &[(&str, &str)]) -> Viewer {
        let mail_server = MailServer::start().await;
        let url = mail_server.url();
        let changes = [&[("LATCHKEY_SMTP_URL", url.as_str())], changes].concat();
        let server = TestServer::at_localhost(&changes).await;
        let axe = tools::installed().join("node/node_modules/axe-core/axe.min.js");
        Viewer {
            driver: Driver::start().await,
            origin: format!("http://localhost:{}", server.address.port()),
            server,
            _mail_server: mail_server,
            axe: std::fs::read_to_string(axe).expect("axe-core (`./dev install`)"),
        }
    }

    async fn open(&self, path: &str) {
        self.driver.open(&format!("{}{path}", self.origin)).await;
    }

    /// Fills the fields of the first form, and submits it without the checks of the browser.
    async fn submit(&self, fields: &[(&str, &str)]) {
        for (name, value) in fields {
            let field = format!("//input[@name='{name}']");
            self.driver.replace_text(&field, value).await;
        }
        let submit = "document.forms[0].noValidate = true; document.forms[0].requestSubmit();";
        self.driver.run_script(submit).await;
        let loaded = "return document.readyState === 'complete'";
        crate::test_server::wait_until("the next page is loaded", || async {
            self.driver.run_script(loaded).await == json!(true)
        })
        .await;
    }

    /// Returns what is wrong with the current page.
    async fn find_violations(&self) -> Vec<String> {
        self.driver.run_script(&self.axe).await;
        let violations = self.driver.run_script(FIND_VIOLATIONS).await;
        let violations = violations.as_array().expect("a list");
        violations
            .iter()
            .map(|text| text.as_str().expect("a text").to_owned())
            .collect()
    }

    /// Asserts that the current page, which shows this text, is accessible and fits the screen.
    async fn check(&self, state: &str, text: &str) {
        crate::test_server::wait_until(&format!("{state} shows {text:?}"), || async {
            self.driver.text("//main").await.contains(text)
        })
        .await;
        for scheme in SCHEMES {
            self.driver.prefer_colors(scheme).await;
            for width in WIDTHS {
                self.driver.set_width(width).await;
                let case = format!("{state}, {scheme}, {width} px");
                let violations = self.find_violations().await;
                assert!(violations.is_empty(), "{case}: {violations:#?}");
                let overflow = "return document.documentElement.scrollWidth - innerWidth";
                let overflow = self.driver.run_script(overflow).await;
                assert!(
                    overflow.as_i64() <= Some(0),
                    "{case}: {overflow} px too wide"
                );
                self.store_picture(&case).await;
            }
        }
        let headings = "return document.querySelectorAll('h1').length";
        assert_eq!(self.driver.run_script(headings).await, json!(1), "{state}");
    }

    async fn store_picture(&self, case: &str) {
        if let Some(folder) = std::env::var_os("LATCHKEY_SCREENSHOTS") {
            let name = case.replace(", ", "-").replace([' ', '/'], "_");
            let file = PathBuf::from(folder).join(format!("{name}.png"));
            std::fs::write(file, self.driver.screenshot().await).expect("a file");
        }
    }
}

#[tokio::test]
async fn pages_are_accessible_in_every_state() {
    let viewer = Viewer::with(&[("LATCHKEY_HELP_URL", "https://help.example.com")]).await;
    for (path, text) in [
        ("/", "Sign in to manage your account."),
        ("/sign-in", "Forgot your password?"),
        ("/sign-up", "At least 8 characters."),
        ("/forgot", "We'll send a code to it."),
        ("/invitation", "Set your password"),
        ("/reset-password", "Ten characters"),
        ("/sign-out", "You'll be signed out of this browser."),
        ("/problems", "application/problem+json"),
        ("/problems/busy", "What to do"),
        ("/nothing", "Back to the start page"),
        (
            "/sign-in?signed_in=1",
            "Your browser didn't store the cookie.",
        ),
    ] {
        viewer.open(path).await;
        viewer.check(path, text).await;
    }
    let long = "x".repeat(100);
    for (path, fields, text) in [
        (
            "/sign-in",
            &[("username", long.as_str())][..],
            "Enter a value.",
        ),
        (
            "/sign-up",
            &[("email", "john"), ("username", "..")],
            "Check these fields:",
        ),
        ("/forgot", &[("email", "john")], "Enter an email address"),
        ("/reset-password", &[("code", "x")], "The code is incorrect"),
    ] {
        viewer.open(path).await;
        viewer.submit(fields).await;
        viewer.check(&format!("{path} with errors"), text).await;
    }
    viewer.open("/forgot").await;
    viewer.submit(&[("email", EMAIL)]).await;
    viewer.check("reset with note", "we've sent a code").await;
    viewer.open("/sign-up").await;
    let fields = [("email", EMAIL), ("new_password", PASSWORD)];
    viewer.submit(&fields).await;
    viewer
        .check("verify-email", "We've sent a code to john@example.com.")
        .await;
    for (path, text) in [
        ("/account", "Member since"),
        ("/account/security", "Change password"),
        ("/account/email", "code"),
        ("/account/sessions", "this device"),
        (
            "/account/tokens",
            "You don't have any personal access tokens.",
        ),
        ("/account/tokens/new", "Create token"),
        ("/account/activity", "Activity"),
        ("/account/delete", "This permanently deletes your account"),
    ] {
        viewer.open(path).await;
        viewer.check(path, text).await;
    }
    let messages = viewer.driver.console_messages().await;
    let is_status = |line: &String| line.contains("status of 4");
    assert!(messages.iter().all(is_status), "{messages:?}");
    drop(viewer.server);
}

/// A theme with unreadable buttons, which the test must find.
#[tokio::test]
async fn unreadable_theme_is_found() {
    let theme = tempfile::NamedTempFile::new().expect("a temporary file");
    std::fs::write(theme.path(), ":root { --on-accent: #6a8df0; }").expect("a file");
    let path = theme.path().to_str().expect("UTF-8").to_owned();
    let viewer = Viewer::with(&[("LATCHKEY_THEME", &path)]).await;
    viewer.open("/sign-in").await;
    let violations = viewer.find_violations().await;
    let is_contrast = |text: &String| text.starts_with("color-contrast");
    assert!(violations.iter().any(is_contrast), "{violations:?}");
}
