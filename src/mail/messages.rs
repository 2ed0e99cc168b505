//! Renders emails as plain text and HTML.
//!
//! An email contains no text from the client that caused it, except the recipient's own address.
//! Otherwise, an attacker could send text of their choice in the name of the server. A browser
//! appears only by the name of a known one, and an IP address only in its parsed form.

mod codes;

use askama::Template;
use latchkey_domain::user_agent;
use time::{OffsetDateTime, UtcOffset, macros::format_description};

use super::MailError;

/// A rendered email. It has no `Debug`, because it can contain a one-time code.
pub struct EmailMessage {
    /// The subject. Never contains a code, because lock screens show subjects.
    pub subject: String,
    pub text: String,
    pub html: String,
}

/// The context of an email: the server, the time, and the client that sent the request.
#[derive(Debug, Clone, Copy)]
pub struct Occasion<'a> {
    /// The public URL of the server.
    pub issuer: &'a str,
    /// The time of the request or of the change.
    pub at: OffsetDateTime,
    /// The IP address that sent the request.
    pub ip_address: Option<&'a str>,
    /// The `User-Agent` of the request.
    pub user_agent: Option<&'a str>,
}

/// A change of an account that its user is notified of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The password was changed.
    PasswordChanged,
    /// The email address was changed. The previous address is notified.
    EmailChanged,
    /// The user has signed in with a device without an earlier session.
    NewDevice,
    /// A personal access token was created.
    PersonalAccessTokenCreated,
    /// The user has become an administrator.
    AdminRoleGranted,
    /// An administrator has granted the role `admin` to another user, or has created such a user.
    /// The administrator is notified.
    AdminAdded,
    /// An administrator has registered an OAuth client or rotated its secret. The administrator is
    /// notified.
    ClientSecretCreated,
    /// An administrator has added a scope or an audience to an OAuth client. The administrator is
    /// notified.
    ClientExtended,
    /// A sign-up with the verified email address of the user was requested.
    AccountExists,
}

impl Notice {
    /// Returns the subject of the email and its first sentence. `app` is the name of the application.
    fn texts(self, app: &str) -> (&'static str, String) {
        match self {
            Notice::PasswordChanged => (
                "Your password was changed",
                format!(
                    "The password of your {app} account was changed. You might need to sign in \
                     again on your devices."
                ),
            ),
            Notice::EmailChanged => (
                "Your email address was changed",
                format!(
                    "The email address of your {app} account was changed from this address to \
                     another one. All devices except the one that made the change were signed out."
                ),
            ),
            Notice::NewDevice => (
                "New sign-in to your account",
                format!("A new device was used to sign in to your {app} account."),
            ),
            Notice::PersonalAccessTokenCreated => (
                "A personal access token was created",
                format!("A personal access token of your {app} account was created."),
            ),
            Notice::AdminRoleGranted => (
                "You are now an administrator",
                format!("Your {app} account became an administrator."),
            ),
            Notice::AdminAdded => (
                "An administrator was added with your account",
                format!(
                    "Your {app} account was used to give another user the role of an administrator."
                ),
            ),
            Notice::ClientSecretCreated => (
                "A client secret was created",
                format!("Your {app} account was used to create the secret of an OAuth client."),
            ),
            Notice::ClientExtended => (
                "Permissions of a client were added",
                format!(
                    "Your {app} account was used to add a scope or an audience to an OAuth client."
                ),
            ),
            Notice::AccountExists => (
                "You already have an account",
                format!(
                    "A registration at {app} was requested with this email address, which already \
                     has an account. Nothing was changed."
                ),
            ),
        }
    }
}

#[derive(Template)]
#[template(path = "templates/notice.txt", escape = "none")]
struct NoticeText<'a> {
    sentence: &'a str,
    time: &'a str,
    browser: &'a str,
    ip_address: Option<&'a str>,
    advice: &'a str,
    url: &'a str,
}

#[derive(Template)]
#[template(path = "templates/notice.html")]
struct NoticeHtml<'a> {
    title: &'a str,
    sentence: &'a str,
    time: &'a str,
    browser: &'a str,
    ip_address: Option<&'a str>,
    advice: &'a str,
    url: &'a str,
}

#[derive(Template)]
#[template(path = "templates/invitation.txt", escape = "none")]
struct InvitationText<'a> {
    app: &'a str,
    issuer: &'a str,
    address: &'a str,
}

#[derive(Template)]
#[template(path = "templates/invitation.html")]
struct InvitationHtml<'a> {
    app: &'a str,
    issuer: &'a str,
    address: &'a str,
}

#[derive(Template)]
#[template(path = "templates/test.txt", escape = "none")]
struct TestText<'a> {
    app: &'a str,
    time: &'a str,
}

#[derive(Template)]
#[template(path = "templates/test.html")]
struct TestHtml<'a> {
    app: &'a str,
    time: &'a str,
}

impl EmailMessage {
    fn new(
        subject: impl Into<String>,
        text: &impl Template,
        html: &impl Template,
    ) -> Result<EmailMessage, MailError> {
        Ok(EmailMessage {
            subject: subject.into(),
            text: text.render()?,
            html: html.render()?,
        })
    }

    /// Renders the invitation of a user without a password. It contains no code, because the user
    /// requests one to set the password.
    pub fn invitation(occasion: &Occasion<'_>, address: &str) -> Result<EmailMessage, MailError> {
        let (app, issuer) = (occasion.app(), occasion.issuer);
        EmailMessage::new(
            format!("You've been invited to {app}"),
            &InvitationText {
                app,
                issuer,
                address,
            },
            &InvitationHtml {
                app,
                issuer,
                address,
            },
        )
    }

    /// Renders a notice. The device is omitted if another user or the operator made the change.
    pub fn notice(notice: Notice, occasion: &Occasion<'_>) -> Result<EmailMessage, MailError> {
        let (title, sentence) = notice.texts(occasion.app());
        let (browser, time) = (&occasion.browser(), &occasion.time()?);
        let (sentence, ip_address) = (sentence.as_str(), occasion.ip_address);
        let (advice, url) = match notice {
            // The address no longer belongs to the account, so a reset code isn't sent there.
            Notice::EmailChanged => (
                "If this wasn't you, contact the operator of:",
                occasion.issuer.to_owned(),
            ),
            Notice::AdminRoleGranted => (
                "If you didn't expect this, contact the operator of:",
                occasion.issuer.to_owned(),
            ),
            // A reset doesn't remove the new administrator or the client.
            Notice::AdminAdded | Notice::ClientSecretCreated | Notice::ClientExtended => (
                "If this wasn't you, contact the operator, and reset your password. This also signs \
                 out all devices:",
                format!("{}/forgot", occasion.issuer),
            ),
            Notice::AccountExists => (
                "If this wasn't you, ignore this email. Otherwise, sign in with your password. If you forgot \
                 it, set a new one:",
                format!("{}/forgot", occasion.issuer),
            ),
            _other => (
                "If this wasn't you, reset your password. This also signs out all devices:",
                format!("{}/forgot", occasion.issuer),
            ),
        };
        EmailMessage::new(
            title,
            &NoticeText {
                sentence,
                time,
                browser,
                ip_address,
                advice,
                url: &url,
            },
            &NoticeHtml {
                title,
                sentence,
                time,
                browser,
                ip_address,
                advice,
                url: &url,
            },
        )
    }

    /// Renders the test email of the operator.
    pub fn test(occasion: &Occasion<'_>) -> Result<EmailMessage, MailError> {
        let (app, time) = (occasion.app(), &occasion.time()?);
        EmailMessage::new(
            format!("Test email from {app}"),
            &TestText { app, time },
            &TestHtml { app, time },
        )
    }
}

impl Occasion<'_> {
    /// Returns the name of the application in emails: the host of the server.
    fn app(&self) -> &str {
        let (_, rest) = self.issuer.split_once("://").unwrap_or(("", self.issuer));
        rest.split('/').next().unwrap_or(rest)
    }

    /// Formats the time in UTC, because the time zone of the recipient is unknown.
    fn time(&self) -> Result<String, time::error::Format> {
        self.at
            .to_offset(UtcOffset::UTC)
            .format(format_description!(
                "[month repr:long] [day padding:none], [year] at [hour]:[minute] UTC"
            ))
    }

    /// Returns the name of a known browser, without any part of the header.
    fn browser(&self) -> String {
        self.user_agent
            .and_then(user_agent::known)
            .unwrap_or_else(|| "an unknown browser".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const OCCASION: Occasion<'static> = Occasion {
        issuer: "https://auth.example.com/base",
        at: datetime!(2026-11-02 08:05:00 +1),
        ip_address: Some("192.0.2.1"),
        user_agent: Some("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    };

    const NOTICES: [Notice; 9] = [
        Notice::PasswordChanged,
        Notice::EmailChanged,
        Notice::NewDevice,
        Notice::PersonalAccessTokenCreated,
        Notice::AdminRoleGranted,
        Notice::AdminAdded,
        Notice::ClientSecretCreated,
        Notice::ClientExtended,
        Notice::AccountExists,
    ];

    #[test]
    fn reset_email_names_app_browser_address_and_time() {
        let email = EmailMessage::password_reset(&OCCASION, "AAAAA-BBBBB", "10 minutes").unwrap();
        for text in [&email.text, &email.html] {
            let request = "The request came from Firefox on Linux (IP address 192.0.2.1) on \
                           November 2, 2026 at 07:05 UTC.";
            assert!(text.contains(request), "{text}");
            assert!(text.contains("auth.example.com"), "{text}");
        }
    }

    #[test]
    fn reset_email_contains_no_unknown_user_agent() {
        for user_agent in [None, Some(""), Some("visit evil.example <b>now</b>")] {
            let occasion = Occasion {
                user_agent,
                ip_address: None,
                ..OCCASION
            };
            let email =
                EmailMessage::password_reset(&occasion, "AAAAA-BBBBB", "10 minutes").unwrap();
            for text in [&email.text, &email.html] {
                assert!(text.contains("came from an unknown browser on November 2"));
                assert!(!text.contains("evil"), "{text}");
            }
        }
    }

    #[test]
    fn documentation_lists_every_subject() {
        let page = include_str!("../../docs/reference/emails.md");
        let code = "AAAAA-BBBBB";
        let emails = [
            EmailMessage::password_reset(&OCCASION, code, "10 minutes").unwrap(),
            EmailMessage::sign_up(&OCCASION, code, "10 minutes").unwrap(),
            EmailMessage::email_code(&OCCASION, code, "10 minutes").unwrap(),
        ];
        let notices = NOTICES.map(|notice| EmailMessage::notice(notice, &OCCASION).unwrap());
        for email in emails.iter().chain(&notices) {
            assert!(
                page.contains(&format!("| `{}` |", email.subject)),
                "{}",
                email.subject
            );
        }
    }

    #[test]
    fn emails_name_app_and_time() {
        let invitation = EmailMessage::invitation(&OCCASION, "mary@example.com").unwrap();
        assert_eq!(
            invitation.subject,
            "You've been invited to auth.example.com"
        );
        let notices = NOTICES.map(|notice| EmailMessage::notice(notice, &OCCASION).unwrap());
        for email in notices
            .iter()
            .chain([&EmailMessage::test(&OCCASION).unwrap()])
        {
            for text in [&email.text, &email.html] {
                assert!(text.contains("November 2, 2026 at 07:05 UTC"), "{text}");
                assert!(text.contains("auth.example.com"), "{text}");
            }
        }
        for email in &notices {
            for text in [&email.text, &email.html] {
                let device = "Device: Firefox on Linux (IP address 192.0.2.1)";
                assert!(text.contains(device), "{text}");
            }
        }
        let by_admin = Occasion {
            ip_address: None,
            ..OCCASION
        };
        let email = EmailMessage::notice(Notice::AdminRoleGranted, &by_admin).unwrap();
        assert!(!email.text.contains("Device") && !email.html.contains("Device"));
    }
}
