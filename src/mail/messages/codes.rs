//! Emails with a one-time code.

use std::time::Duration;

use askama::Template;
use latchkey_domain::one_time_code::{CodePurpose, OneTimeCode};

use time::OffsetDateTime;

use super::{EmailMessage, Occasion, Service, format_time};
use crate::mail::MailError;

#[derive(Template)]
#[template(path = "templates/code.txt", escape = "none")]
struct CodeText<'a> {
    code: &'a str,
    texts: &'a Texts,
}

#[derive(Template)]
#[template(path = "templates/code.html")]
struct CodeHtml<'a> {
    code: &'a str,
    texts: &'a Texts,
}

/// A link to a page, whose form the script of the page fills with the values in the fragment.
///
/// No server receives a fragment, so a code is in no log and in no `Referer`. A scanner that opens
/// the link doesn't use the code.
struct Link {
    /// The URL without the fragment.
    page: String,
    url: String,
}

impl Link {
    /// Returns the link to a page; `None` without pages for users.
    fn new(service: &Service, path: &str, values: &[(&str, &str)]) -> Option<Link> {
        let page = service.page(path)?;
        let fragment = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(values)
            .finish();
        let url = format!("{page}#{fragment}");
        Some(Link { page, url })
    }
}

/// The expiry of a code.
#[derive(Debug, Clone, Copy)]
pub struct Expiry {
    /// The remaining lifetime.
    pub remaining: Duration,
    /// The time at which it ends.
    pub at: OffsetDateTime,
}

/// The texts of an email that depend on the purpose of its code.
struct Texts {
    title: String,
    introduction: String,
    expiry: String,
    /// The sentence about the cause of the email.
    cause: String,
    advice: &'static str,
    link: Option<Link>,
}

impl Texts {
    fn new(
        purpose: CodePurpose,
        occasion: &Occasion<'_>,
        recipient: &str,
        code: &str,
        expiry: &Expiry,
    ) -> Result<Texts, MailError> {
        let (title, introduction, advice, page) = texts_of(purpose, occasion.brand());
        let values = [("email", recipient), ("code", code)];
        // The page of a verification belongs to the signed-in user.
        let is_for_user = purpose == CodePurpose::EmailConfirmation;
        let values = &values[usize::from(is_for_user)..];
        let (expiry, cause) = if purpose == CodePurpose::Invitation {
            (
                format!("The invitation expires on {}.", format_time(expiry.at)?),
                format!("The account was created on {}.", occasion.time()?),
            )
        } else {
            let lifetime = format_lifetime(expiry.remaining);
            (
                format!("The code expires in {lifetime} and works once."),
                occasion.request()?,
            )
        };
        Ok(Texts {
            title,
            introduction,
            expiry,
            cause,
            advice,
            link: Link::new(occasion.service, page, values),
        })
    }
}

/// Returns the subject, the first sentences, the advice, and the path of the page.
fn texts_of(purpose: CodePurpose, brand: &str) -> (String, String, &'static str, &'static str) {
    match purpose {
        CodePurpose::PasswordReset => (
            "Your password reset code".to_owned(),
            format!(
                "We received a request to reset the password for your {brand} account. Enter \
                     this code:"
            ),
            "If you didn't request this, ignore this email; your password won't change.",
            "/reset-password",
        ),
        CodePurpose::EmailConfirmation => (
            "Verify your email address".to_owned(),
            format!("Enter this code to verify your email address for {brand}:"),
            "If you didn't request this, ignore this email.",
            "/verify-email",
        ),
        CodePurpose::SignUp => (
            "Your registration code".to_owned(),
            format!("Enter this code to complete your registration at {brand}:"),
            "Enter the code only in the form in which you choose your password. If you didn't \
                 request this, ignore this email.",
            "/sign-up/confirm",
        ),
        CodePurpose::Invitation => (
            format!("You've been invited to {brand}"),
            format!(
                "An administrator has created a {brand} account for you. Enter this code to set \
                     your password:"
            ),
            "If you didn't expect this, ignore this email. Without a password, the account \
                 can't be used.",
            "/invitation",
        ),
    }
}

impl EmailMessage {
    /// Renders the email with the code of this purpose.
    pub fn with_code(
        purpose: CodePurpose,
        occasion: &Occasion<'_>,
        recipient: &str,
        code: &OneTimeCode,
        expiry: &Expiry,
    ) -> Result<EmailMessage, MailError> {
        EmailMessage::with_code_text(purpose, occasion, recipient, &code.for_mail(), expiry)
    }

    pub(super) fn with_code_text(
        purpose: CodePurpose,
        occasion: &Occasion<'_>,
        recipient: &str,
        code: &str,
        expiry: &Expiry,
    ) -> Result<EmailMessage, MailError> {
        let texts = &Texts::new(purpose, occasion, recipient, code, expiry)?;
        EmailMessage::new(
            texts.title.as_str(),
            &CodeText { code, texts },
            &CodeHtml { code, texts },
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
