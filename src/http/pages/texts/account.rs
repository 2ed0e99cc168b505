//! The texts of the pages below `/account`.

use latchkey_domain::{audit::EventKind, scope::Scope};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

use crate::app::tokens::personal_access_tokens::{MAX_LIFETIME_DAYS, MAX_TOKENS_PER_USER};

/// The texts of the account pages in one language.
pub struct AccountTexts {
    pub profile: &'static str,
    pub security: &'static str,
    pub sessions: &'static str,
    pub tokens: &'static str,
    pub activity: &'static str,

    pub save: &'static str,
    pub back: &'static str,
    pub check_again: &'static str,
    pub confirm_password: &'static str,
    pub confirm_explanation: &'static str,
    /// A time with its time zone.
    pub moment: fn(OffsetDateTime) -> String,

    pub member_since: &'static str,
    pub verify_email: &'static str,
    pub username_required: &'static str,
    pub invalid_name: &'static str,

    pub password_change_required: &'static str,
    pub current_password: &'static str,
    pub change_email: &'static str,
    pub new_email: &'static str,
    pub enter_email_code: &'static str,

    pub sessions_explanation: &'static str,
    pub this_device: &'static str,
    pub unknown_device: &'static str,
    pub signed_in: &'static str,
    pub last_active: &'static str,
    pub active_now: &'static str,
    pub sign_out_device: fn(&str) -> String,
    pub sign_out_others: &'static str,
    pub no_other_session: &'static str,

    pub tokens_explanation: &'static str,
    pub no_token: &'static str,
    pub new_token: &'static str,
    pub create_token: &'static str,
    pub token_scopes: &'static str,
    pub token_days: &'static str,
    pub token_days_hint: fn() -> String,
    pub copy_token: &'static str,
    pub copy: &'static str,
    pub copied: &'static str,
    pub done: &'static str,
    pub expires: &'static str,
    pub last_used: &'static str,
    pub never_used: &'static str,
    pub delete: &'static str,
    pub delete_token: fn(&str) -> String,
    pub invalid_token_name: &'static str,
    pub invalid_days: fn() -> String,
    pub no_scope: &'static str,
    pub too_many_tokens: fn() -> String,
    pub token_exists: &'static str,
    pub scope: fn(Scope) -> &'static str,

    pub all_events: &'static str,
    pub failed_events: &'static str,
    pub event_filter: &'static str,
    pub failed: &'static str,
    pub older: &'static str,
    pub no_event: &'static str,
    pub by_administrator: &'static str,
    pub times: fn(i64) -> String,
    pub event: fn(EventKind) -> &'static str,

    pub delete_account: &'static str,
    pub delete_explanation: &'static str,
    pub deleted_data: &'static [&'static str],
    pub last_admin: &'static str,
}

const MOMENT: StaticFormatDescription =
    format_description!("[month repr:short] [day padding:none], [year], [hour]:[minute] UTC");

/// The English texts.
pub static ENGLISH: AccountTexts = AccountTexts {
    profile: "Profile",
    security: "Security",
    sessions: "Sessions",
    tokens: "Tokens",
    activity: "Activity",

    save: "Save",
    back: "Back",
    check_again: "Check again",
    confirm_password: "Confirm your password",
    confirm_explanation: "You signed in more than five minutes ago.",
    moment: |at| {
        let at = at.to_offset(time::UtcOffset::UTC);
        at.format(MOMENT).unwrap_or_default()
    },

    member_since: "Member since",
    verify_email: "Verify email",
    username_required: "Enter a username. Your account has no email address.",
    invalid_name: "Use at most 200 characters, without control characters.",

    password_change_required: "Your administrator set this password. Choose a new one.",
    current_password: "Current password",
    change_email: "Change email",
    new_email: "New email",
    enter_email_code: "Enter the code that we've sent to your new email address.",

    sessions_explanation: "These devices are signed in to your account.",
    this_device: "this device",
    unknown_device: "Unknown device",
    signed_in: "Signed in",
    last_active: "Last active",
    active_now: "Active now",
    sign_out_device: |device| format!("Sign out {device}"),
    sign_out_others: "Sign out of all other devices",
    no_other_session: "You aren't signed in on any other device.",

    tokens_explanation: "Scripts and tools use personal access tokens instead of your password.",
    no_token: "You don't have any personal access tokens.",
    new_token: "New token",
    create_token: "Create token",
    token_scopes: "The token can",
    token_days: "Days until it expires",
    token_days_hint: || format!("At most {MAX_LIFETIME_DAYS} days."),
    copy_token: "Copy this token now. You won't see it again.",
    copy: "Copy",
    copied: "Copied",
    done: "Done",
    expires: "Expires",
    last_used: "Last used",
    never_used: "Never used",
    delete: "Delete",
    delete_token: |name| format!("Delete {name}"),
    invalid_token_name: "Use at most 100 characters, without control characters.",
    invalid_days: || format!("Enter a number from 1 to {MAX_LIFETIME_DAYS}."),
    no_scope: "Select at least one entry.",
    too_many_tokens: || {
        format!(
            "You have {MAX_TOKENS_PER_USER} personal access tokens, which is the maximum. Delete \
             one first."
        )
    },
    token_exists: "This form has already created a token. If you didn't copy it, delete it, and \
        create a new one.",
    scope: |scope| match scope {
        Scope::UserRead => "View your profile and your sessions",
        Scope::UserWrite => "Change your profile, and sign out your devices",
        Scope::ItemsRead => "View your items",
        Scope::ItemsWrite => "Create, change, and delete your items",
        Scope::Admin => "Administer users and OAuth clients",
        Scope::RevocationsRead => "Receive revocations",
    },

    all_events: "All",
    failed_events: "Failed",
    event_filter: "Filter",
    failed: "Failed",
    older: "Older",
    no_event: "No activity on this page.",
    by_administrator: "by an administrator",
    times: |count| format!("{count} times"),
    event: event_text,

    delete_account: "Delete account",
    delete_explanation: "This permanently deletes your account and its data.",
    deleted_data: &[
        "your username, name, email address, and password",
        "all sessions: you'll be signed out on all devices",
        "all personal access tokens: they stop working",
        "all items",
    ],
    last_admin: "You're the only administrator. Grant the role to another user first.",
};

const fn event_text(kind: EventKind) -> &'static str {
    match kind {
        EventKind::SignUp => "Account created",
        EventKind::SignIn => "Signed in",
        EventKind::SignInFailed => "Sign-in",
        EventKind::SignOut => "Signed out",
        EventKind::SessionRevoked => "Device signed out",
        EventKind::SessionsRevoked => "Devices signed out",
        EventKind::RefreshTokenReused => "Refresh token used again; device signed out",
        EventKind::PasswordChanged => "Password changed",
        EventKind::PasswordCheckFailed => "Check of the current password",
        EventKind::PasswordReset => "Password reset",
        EventKind::CodeRequested => "Code requested",
        EventKind::CodeCheckFailed => "Check of a code",
        EventKind::EmailChangeRequested => "Change of the email address requested",
        EventKind::EmailChanged => "Email address changed",
        EventKind::EmailVerified => "Email address verified",
        EventKind::ProfileUpdated => "Profile changed",
        EventKind::UserCreated => "Account created by an administrator",
        EventKind::UserDisabled => "Account disabled",
        EventKind::UserEnabled => "Account enabled",
        EventKind::RoleChanged => "Role changed",
        EventKind::GroupsChanged => "Groups changed",
        EventKind::UserExported => "Data exported",
        EventKind::NameReleased => "Username or email address released",
        EventKind::UserDeleted => "Account deleted",
        EventKind::TokenRevoked => "Access token revoked",
        EventKind::PersonalAccessTokenCreated => "Personal access token created",
        EventKind::PersonalAccessTokenRevoked => "Personal access token deleted",
        EventKind::ClientAuthenticationFailed => "Client authentication",
        EventKind::GroupCreated => "Group created",
        EventKind::GroupUpdated => "Group changed",
        EventKind::GroupDeleted => "Group deleted",
        EventKind::ApplicationCreated => "Application created",
        EventKind::ApplicationUpdated => "Application changed",
        EventKind::ApplicationDeleted => "Application deleted",
        EventKind::OAuthClientCreated => "OAuth client registered",
        EventKind::ClientSecretRotated => "Client secret rotated",
        EventKind::OAuthClientUpdated => "OAuth client changed",
        EventKind::OAuthClientDeleted => "OAuth client deleted",
        EventKind::SigningKeyCreated => "Signing key created",
        EventKind::SigningKeyRevoked => "Signing key revoked",
        EventKind::RateLimited => "Rate limit exceeded",
    }
}
