//! Emails with a one-time code.

use std::time::Duration;

use askama::Template;
use latchkey_domain::one_time_code::{CodePurpose, OneTimeCode};

use super::{EmailMessage, Occasion};
use crate::mail::MailError;

#[derive(Template)]
#[template(path = "templates/password_reset.txt", escape = "none")]
struct PasswordResetText<'a> {
    app: &'a str,
    code: &'a str,
    minutes: &'a str,
    browser: &'a str,
    ip_address: Option<&'a str>,
    time: &'a str,
}

#[derive(Template)]
#[template(path = "templates/password_reset.html")]
struct PasswordResetHtml<'a> {
    app: &'a str,
    code: &'a str,
    minutes: &'a str,
    browser: &'a str,
    ip_address: Option<&'a str>,
    time: &'a str,
}

#[derive(Template)]
#[template(path = "templates/email_code.txt", escape = "none")]
struct EmailCodeText<'a> {
    app: &'a str,
    code: &'a str,
    minutes: &'a str,
}

#[derive(Template)]
#[template(path = "templates/email_code.html")]
struct EmailCodeHtml<'a> {
    app: &'a str,
    code: &'a str,
    minutes: &'a str,
}

#[derive(Template)]
#[template(path = "templates/sign_up.txt", escape = "none")]
struct SignUpText<'a> {
    app: &'a str,
    code: &'a str,
    minutes: &'a str,
    browser: &'a str,
    ip_address: Option<&'a str>,
    time: &'a str,
}

#[derive(Template)]
#[template(path = "templates/sign_up.html")]
struct SignUpHtml<'a> {
    app: &'a str,
    code: &'a str,
    minutes: &'a str,
    browser: &'a str,
    ip_address: Option<&'a str>,
    time: &'a str,
}

impl EmailMessage {
    /// Renders the email with the code of this purpose and its remaining lifetime.
    pub fn with_code(
        purpose: CodePurpose,
        occasion: &Occasion<'_>,
        code: &OneTimeCode,
        lifetime: Duration,
    ) -> Result<EmailMessage, MailError> {
        let (code, minutes) = (&code.for_mail(), &format_lifetime(lifetime));
        match purpose {
            CodePurpose::PasswordReset => EmailMessage::password_reset(occasion, code, minutes),
            CodePurpose::EmailConfirmation => EmailMessage::email_code(occasion, code, minutes),
            CodePurpose::SignUp => EmailMessage::sign_up(occasion, code, minutes),
        }
    }

    pub(super) fn password_reset(
        occasion: &Occasion<'_>,
        code: &str,
        minutes: &str,
    ) -> Result<EmailMessage, MailError> {
        let (app, ip_address) = (occasion.app(), occasion.ip_address);
        let (browser, time) = (&occasion.browser(), &occasion.time()?);
        EmailMessage::new(
            "Your password reset code",
            &PasswordResetText {
                app,
                code,
                minutes,
                browser,
                ip_address,
                time,
            },
            &PasswordResetHtml {
                app,
                code,
                minutes,
                browser,
                ip_address,
                time,
            },
        )
    }

    pub(super) fn sign_up(
        occasion: &Occasion<'_>,
        code: &str,
        minutes: &str,
    ) -> Result<EmailMessage, MailError> {
        let (app, ip_address) = (occasion.app(), occasion.ip_address);
        let (browser, time) = (&occasion.browser(), &occasion.time()?);
        EmailMessage::new(
            "Your registration code",
            &SignUpText {
                app,
                code,
                minutes,
                browser,
                ip_address,
                time,
            },
            &SignUpHtml {
                app,
                code,
                minutes,
                browser,
                ip_address,
                time,
            },
        )
    }

    pub(super) fn email_code(
        occasion: &Occasion<'_>,
        code: &str,
        minutes: &str,
    ) -> Result<EmailMessage, MailError> {
        let app = occasion.app();
        EmailMessage::new(
            "Verify your email address",
            &EmailCodeText { app, code, minutes },
            &EmailCodeHtml { app, code, minutes },
        )
    }
}

/// Delay between the request and the email that the text ignores, so that a lifetime of ten minutes
/// isn't rounded down to nine.
const IGNORED_DELAY_SECONDS: u64 = 5;

fn format_lifetime(lifetime: Duration) -> String {
    match lifetime.as_secs() {
        seconds if seconds + IGNORED_DELAY_SECONDS < 60 => format!("{seconds} seconds"),
        seconds if seconds + IGNORED_DELAY_SECONDS < 120 => "1 minute".to_owned(),
        seconds => format!("{} minutes", (seconds + IGNORED_DELAY_SECONDS) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_are_formatted_in_whole_minutes() {
        let format = |milliseconds| format_lifetime(Duration::from_millis(milliseconds));
        assert_eq!(format(599_990), "10 minutes");
        assert_eq!(format(590_000), "9 minutes");
        assert_eq!(format(60_000), "1 minute");
        assert_eq!(format(119_000), "2 minutes");
        assert_eq!(format(54_000), "54 seconds");
    }
}
