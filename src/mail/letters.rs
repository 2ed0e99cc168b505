//! The letters there are, as plain text and as HTML.

use std::time::Duration;

use askama::Template;

use super::MailError;
use crate::domain::one_time_code::{OneTimeCode, Purpose};

/// A letter, ready to be sent. It has no `Debug`, because it may carry a code.
pub struct Letter {
    /// The subject: never a code, which would show on locked screens.
    pub subject: &'static str,
    /// For people who read plain text.
    pub text: String,
    /// For the others.
    pub html: String,
}

#[derive(Template)]
#[template(path = "password_reset.txt", escape = "none")]
struct PasswordResetText<'a> {
    issuer: &'a str,
    code: &'a str,
    minutes: &'a str,
}

#[derive(Template)]
#[template(path = "password_reset.html")]
struct PasswordResetHtml<'a> {
    issuer: &'a str,
    code: &'a str,
    minutes: &'a str,
}

#[derive(Template)]
#[template(path = "password_changed.txt", escape = "none")]
struct PasswordChangedText<'a> {
    issuer: &'a str,
}

#[derive(Template)]
#[template(path = "password_changed.html")]
struct PasswordChangedHtml<'a> {
    issuer: &'a str,
}

#[derive(Template)]
#[template(path = "email_code.txt", escape = "none")]
struct EmailCodeText<'a> {
    issuer: &'a str,
    code: &'a str,
    minutes: &'a str,
}

#[derive(Template)]
#[template(path = "email_code.html")]
struct EmailCodeHtml<'a> {
    issuer: &'a str,
    code: &'a str,
    minutes: &'a str,
}

#[derive(Template)]
#[template(path = "email_changed.txt", escape = "none")]
struct EmailChangedText<'a> {
    issuer: &'a str,
}

#[derive(Template)]
#[template(path = "email_changed.html")]
struct EmailChangedHtml<'a> {
    issuer: &'a str,
}

#[derive(Template)]
#[template(path = "invitation.txt", escape = "none")]
struct InvitationText<'a> {
    issuer: &'a str,
    address: &'a str,
}

#[derive(Template)]
#[template(path = "invitation.html")]
struct InvitationHtml<'a> {
    issuer: &'a str,
    address: &'a str,
}

impl Letter {
    /// Carries the code for a purpose.
    pub fn with_code(
        purpose: Purpose,
        issuer: &str,
        code: &OneTimeCode,
        life: Duration,
    ) -> Result<Letter, MailError> {
        match purpose {
            Purpose::PasswordReset => Letter::password_reset(issuer, code, life),
            Purpose::EmailConfirmation => Letter::email_code(issuer, code, life),
        }
    }

    fn email_code(issuer: &str, code: &OneTimeCode, life: Duration) -> Result<Letter, MailError> {
        let (code, minutes) = (&code.for_mail(), &in_words(life));
        Ok(Letter {
            subject: "Your code for this address",
            text: EmailCodeText {
                issuer,
                code,
                minutes,
            }
            .render()?,
            html: EmailCodeHtml {
                issuer,
                code,
                minutes,
            }
            .render()?,
        })
    }

    /// Tells the address before that it is the account's no more.
    pub fn email_changed(issuer: &str) -> Result<Letter, MailError> {
        Ok(Letter {
            subject: "Your e-mail address was changed",
            text: EmailChangedText { issuer }.render()?,
            html: EmailChangedHtml { issuer }.render()?,
        })
    }

    fn password_reset(
        issuer: &str,
        code: &OneTimeCode,
        life: Duration,
    ) -> Result<Letter, MailError> {
        let (code, minutes) = (&code.for_mail(), &in_words(life));
        Ok(Letter {
            subject: "Your code for a new password",
            text: PasswordResetText {
                issuer,
                code,
                minutes,
            }
            .render()?,
            html: PasswordResetHtml {
                issuer,
                code,
                minutes,
            }
            .render()?,
        })
    }

    /// Tells somebody for whom an account was made where to choose a password. It holds no code:
    /// who reads it late, or second, needs one of their own.
    pub fn invitation(issuer: &str, address: &str) -> Result<Letter, MailError> {
        Ok(Letter {
            subject: "An account was made for you",
            text: InvitationText { issuer, address }.render()?,
            html: InvitationHtml { issuer, address }.render()?,
        })
    }

    /// Tells the owner that the password was changed.
    pub fn password_changed(issuer: &str) -> Result<Letter, MailError> {
        Ok(Letter {
            subject: "Your password was changed",
            text: PasswordChangedText { issuer }.render()?,
            html: PasswordChangedHtml { issuer }.render()?,
        })
    }
}

/// The moments between the promise and the letter are not told: ten minutes are not nine.
const MOMENTS: u64 = 5;

fn in_words(life: Duration) -> String {
    match life.as_secs() {
        seconds if seconds + MOMENTS < 60 => format!("{seconds} seconds"),
        seconds if seconds + MOMENTS < 120 => "1 minute".to_owned(),
        seconds => format!("{} minutes", (seconds + MOMENTS) / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lives_are_told_in_whole_minutes() {
        let told = |milliseconds| in_words(Duration::from_millis(milliseconds));
        assert_eq!(told(599_990), "10 minutes");
        assert_eq!(told(590_000), "9 minutes");
        assert_eq!(told(60_000), "1 minute");
        assert_eq!(told(119_000), "2 minutes");
        assert_eq!(told(54_000), "54 seconds");
    }
}
