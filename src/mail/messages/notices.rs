//! Emails that notify a user of a change of the account.

use askama::Template;

use super::{EmailMessage, Occasion, Service};
use crate::mail::MailError;

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
    /// Returns the subject of the email and its first sentence. `brand` is the name of the
    /// service.
    fn texts(self, brand: &str) -> (&'static str, String) {
        match self {
            Notice::PasswordChanged => (
                "Your password was changed",
                format!(
                    "The password of your {brand} account was changed. You might need to sign in \
                     again on your devices."
                ),
            ),
            Notice::EmailChanged => (
                "Your email address was changed",
                format!(
                    "The email address of your {brand} account was changed from this address to \
                     another one. All devices except the one that made the change were signed out."
                ),
            ),
            Notice::NewDevice => (
                "New sign-in to your account",
                format!("A new device was used to sign in to your {brand} account."),
            ),
            Notice::PersonalAccessTokenCreated => (
                "A personal access token was created",
                format!("A personal access token of your {brand} account was created."),
            ),
            Notice::AdminRoleGranted => (
                "You are now an administrator",
                format!("Your {brand} account became an administrator."),
            ),
            Notice::AdminAdded => (
                "An administrator was added with your account",
                format!(
                    "Your {brand} account was used to give another user the role of an administrator."
                ),
            ),
            Notice::ClientSecretCreated => (
                "A client secret was created",
                format!("Your {brand} account was used to create the secret of an OAuth client."),
            ),
            Notice::ClientExtended => (
                "Permissions of a client were added",
                format!(
                    "Your {brand} account was used to add a scope or an audience to an OAuth client."
                ),
            ),
            Notice::AccountExists => (
                "You already have an account",
                format!(
                    "A registration at {brand} was requested with this email address, which already \
                     has an account. Nothing was changed."
                ),
            ),
        }
    }

    /// Returns the last sentence of the email, and the URL that follows it.
    fn advice(self, service: &Service) -> (String, Option<String>) {
        let (question, effect) = match self {
            // The address no longer belongs to the account, so a reset code isn't sent there.
            Notice::EmailChanged => return contact_advice("If this wasn't you", service),
            Notice::AdminRoleGranted => {
                return contact_advice("If you didn't expect this", service);
            }
            // A reset doesn't remove the new administrator or the client.
            Notice::AdminAdded | Notice::ClientSecretCreated | Notice::ClientExtended => (
                "If this wasn't you, contact the operator, and reset your password",
                SIGNS_OUT,
            ),
            Notice::AccountExists => (
                "If this wasn't you, ignore this email. Otherwise, sign in with your password. If \
                 you forgot it, set a new one",
                "",
            ),
            _other => ("If this wasn't you, reset your password", SIGNS_OUT),
        };
        match service.page("/forgot") {
            Some(url) => (format!("{question}{effect}:"), Some(url)),
            None => (
                format!("{question} on the page of your application{effect}."),
                None,
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
    url: Option<&'a str>,
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
    url: Option<&'a str>,
}

/// The effect of a password reset.
const SIGNS_OUT: &str = ". This also signs out all devices";

fn contact_advice(condition: &str, service: &Service) -> (String, Option<String>) {
    match service.contact() {
        Some(url) => (format!("{condition}, contact the operator:"), Some(url)),
        None => (
            format!("{condition}, contact the operator of {}.", service.brand),
            None,
        ),
    }
}

impl EmailMessage {
    /// Renders a notice. The device is omitted if another user or the operator made the change.
    pub fn notice(notice: Notice, occasion: &Occasion<'_>) -> Result<EmailMessage, MailError> {
        let (title, sentence) = notice.texts(occasion.brand());
        let (browser, time) = (&occasion.browser(), &occasion.time()?);
        let (sentence, ip_address) = (sentence.as_str(), occasion.ip_address);
        let (advice, url) = notice.advice(occasion.service);
        let (advice, url) = (advice.as_str(), url.as_deref());
        EmailMessage::new(
            title,
            &NoticeText {
                sentence,
                time,
                browser,
                ip_address,
                advice,
                url,
            },
            &NoticeHtml {
                title,
                sentence,
                time,
                browser,
                ip_address,
                advice,
                url,
            },
        )
    }
}
