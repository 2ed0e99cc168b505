//! The kinds of emails, and the order in which they are sent.

use latchkey_domain::one_time_code::CodePurpose;
use strum::{EnumString, IntoStaticStr, VariantArray};

/// The kind of an email. Its text is the stored name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum EmailTemplate {
    /// Contains the code that resets the password.
    PasswordReset,
    /// Notifies the user of a changed password.
    PasswordChanged,
    /// Contains the code that verifies an email address.
    EmailConfirmation,
    /// Notifies the previous email address of the change.
    EmailChanged,
    /// Contains the code with which a user, created by an administrator, sets a password.
    Invitation,
    /// Notifies the user of a sign-in with a new device.
    NewDevice,
    /// Notifies the user of a new personal access token.
    PersonalAccessTokenCreated,
    /// Notifies the user, who has become an administrator.
    AdminRoleGranted,
    /// Notifies an administrator who has granted the role `admin` to another user, or has created
    /// such a user.
    AdminAdded,
    /// Notifies an administrator who has registered an OAuth client or rotated its secret.
    ClientSecretCreated,
    /// Notifies an administrator who has added a scope or an audience to an OAuth client.
    ClientExtended,
    /// Contains the code that completes a sign-up.
    SignUp,
    /// Notifies a user with whose verified email address a sign-up was requested.
    AccountExists,
}

impl EmailTemplate {
    /// Returns the purpose of the code; `None` if the email contains no code.
    pub const fn purpose(self) -> Option<CodePurpose> {
        match self {
            EmailTemplate::PasswordReset => Some(CodePurpose::PasswordReset),
            EmailTemplate::EmailConfirmation => Some(CodePurpose::EmailConfirmation),
            EmailTemplate::SignUp => Some(CodePurpose::SignUp),
            EmailTemplate::Invitation => Some(CodePurpose::Invitation),
            EmailTemplate::PasswordChanged
            | EmailTemplate::EmailChanged
            | EmailTemplate::NewDevice
            | EmailTemplate::PersonalAccessTokenCreated
            | EmailTemplate::AdminRoleGranted
            | EmailTemplate::AdminAdded
            | EmailTemplate::ClientSecretCreated
            | EmailTemplate::ClientExtended
            | EmailTemplate::AccountExists => None,
        }
    }

    /// Returns the priority of the email.
    pub const fn priority(self) -> EmailPriority {
        match self.purpose() {
            // The recipient of an invitation doesn't wait for it.
            Some(CodePurpose::Invitation) | None => EmailPriority::Notice,
            Some(_) => EmailPriority::Code,
        }
    }
}

/// The order in which due emails are sent. Its number is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailPriority {
    /// An email with a one-time code for which its recipient waits.
    Code = 0,
    /// The same after a failed attempt, so that it doesn't delay other recipients.
    RetriedCode = 1,
    /// Every other email.
    Notice = 2,
}

impl EmailPriority {
    pub(super) const fn stored(self) -> i16 {
        self as i16
    }
}
