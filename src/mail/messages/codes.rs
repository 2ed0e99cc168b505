//! Emails with a one-time code.

use std::time::Duration;

use askama::Template;
use latchkey_domain::one_time_code::{CodePurpose, OneTimeCode};

use super::{EmailMessage, Occasion, Service};
use crate::mail::MailError;

/// The path of the page on which a code is entered.
const RESET_PAGE: &str = "/reset-password";
const VERIFICATION_PAGE: &str = "/verify-email";
const SIGN_UP_PAGE: &str = "/sign-up/confirm";

#[derive(Template)]
#[template(path = "templates/code.txt", escape = "none")]
struct CodeText<'a> {
    introduction: &'a str,
    code: &'a str,
    link: Option<&'a Link>,
    expiry: &'a str,
    request: &'a str,
    advice: &'a str,
}

#[derive(Template)]
#[template(path = "templates/code.html")]
struct CodeHtml<'a> {
    title: &'a str,
    introduction: &'a str,
    code: &'a str,
    link: Option<&'a Link>,
    expiry: &'a str,
    request: &'a str,
    advice: &'a str,
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

impl EmailMessage {
    /// Renders the email with the code of this purpose and its remaining lifetime.
    pub fn with_code(
        purpose: CodePurpose,
        occasion: &Occasion<'_>,
        recipient: &str,
        code: &OneTimeCode,
        lifetime: Duration,
    ) -> Result<EmailMessage, MailError> {
        let (code, lifetime) = (&code.for_mail(), &format_lifetime(lifetime));
        EmailMessage::with_code_text(purpose, occasion, recipient, code, lifetime)
    }

    pub(super) fn with_code_text(
        purpose: CodePurpose,
        occasion: &Occasion<'_>,
        recipient: &str,
        code: &str,
        lifetime: &str,
    ) -> Result<EmailMessage, MailError> {
        let (service, brand) = (occasion.service, occasion.brand());
        let (title, introduction, advice) = match purpose {
            CodePurpose::PasswordReset => (
                "Your password reset code",
                format!(
                    "We received a request to reset the password for your {brand} account. Enter \
                     this code:"
                ),
                "If you didn't request this, ignore this email; your password won't change.",
            ),
            CodePurpose::EmailConfirmation => (
                "Verify your email address",
                format!("Enter this code to verify your email address for {brand}:"),
                "If you didn't request this, ignore this email.",
            ),
            CodePurpose::SignUp => (
                "Your registration code",
                format!("Enter this code to complete your registration at {brand}:"),
                "Enter the code only in the form in which you choose your password. If you didn't \
                 request this, ignore this email.",
            ),
        };
        let address_and_code = [("email", recipient), ("code", code)];
        let link = match purpose {
            CodePurpose::PasswordReset => Link::new(service, RESET_PAGE, &address_and_code),
            CodePurpose::SignUp => Link::new(service, SIGN_UP_PAGE, &address_and_code),
            // The address is that of the signed-in user.
            CodePurpose::EmailConfirmation => {
                Link::new(service, VERIFICATION_PAGE, &address_and_code[1..])
            }
        };
        let request = occasion.request()?;
        let expiry = format!("The code expires in {lifetime} and works once.");
        EmailMessage::new(
            title,
            &CodeText {
                introduction: &introduction,
                code,
                link: link.as_ref(),
                expiry: &expiry,
                request: &request,
                advice,
            },
            &CodeHtml {
                title,
                introduction: &introduction,
                code,
                link: link.as_ref(),
                expiry: &expiry,
                request: &request,
                advice,
            },
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
