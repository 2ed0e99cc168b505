//! The texts of pages, in one structure, so that another language is one file.

mod account;
mod application;

use latchkey_domain::password::WeakPassword;

use super::note::Note;
pub use account::AccountTexts;
pub use application::ApplicationTexts;

/// The texts of pages in one language.
pub struct Texts {
    /// The language tag (RFC 5646) and the direction of the script.
    pub lang: &'static str,
    pub dir: &'static str,

    pub skip_to_content: &'static str,
    pub help: &'static str,
    pub error_prefix: &'static str,
    /// Introduces the list of invalid fields.
    pub check_fields: &'static str,
    pub back_to_start: &'static str,

    pub email: &'static str,
    pub username: &'static str,
    pub username_or_email: &'static str,
    pub name: &'static str,
    pub optional: &'static str,
    pub username_hint: &'static str,
    pub password: &'static str,
    pub new_password: &'static str,
    /// The button beside a password, and its name for screen readers.
    pub show: &'static str,
    pub show_password: &'static str,
    pub code: &'static str,
    pub code_hint: &'static str,
    pub password_hint: fn(usize) -> String,

    pub sign_in: &'static str,
    /// Precedes the host of an application.
    pub to_continue: &'static str,
    pub forgot_password: &'static str,
    pub create_account: &'static str,
    pub have_account: &'static str,
    pub incorrect_credentials: &'static str,
    pub not_signed_in: &'static str,
    pub cookie_title: &'static str,
    pub cookie_lost: &'static str,

    pub sign_up_title: &'static str,
    pub sign_up_closed: &'static str,
    pub sign_up_code_title: &'static str,
    pub send_code: &'static str,
    pub send_new_code: &'static str,

    pub forgot_title: &'static str,
    pub forgot_explanation: &'static str,
    pub email_disabled: &'static str,
    pub reset_title: &'static str,
    pub change_password: &'static str,
    pub have_code: &'static str,

    pub invitation_title: &'static str,
    pub invitation_explanation: &'static str,
    pub set_password: &'static str,
    pub invalid_invitation: &'static str,
    pub invitation_expired: &'static str,

    pub verify_title: &'static str,
    pub verify: &'static str,
    pub verify_later: &'static str,
    pub verify_explanation: fn(&str) -> String,
    pub verified: &'static str,
    pub not_verified: &'static str,

    pub sign_out_title: &'static str,
    pub sign_out_question: &'static str,
    pub sign_out: &'static str,
    pub signed_out: &'static str,
    pub sign_out_failed: &'static str,
    pub too_many_cookies: &'static str,

    pub required: &'static str,
    pub invalid_email: &'static str,
    pub invalid_username: &'static str,
    pub invalid_password: &'static str,
    pub invalid_code: &'static str,
    pub username_taken: &'static str,
    pub username_reserved: &'static str,
    pub email_taken: &'static str,
    pub incorrect_current_password: &'static str,
    pub weak_password: fn(WeakPassword) -> String,

    pub not_found: &'static str,
    pub cross_site: &'static str,
    pub blocked: &'static str,
    pub bad_request: &'static str,
    pub unavailable: &'static str,
    pub saved_not_enforced: &'static str,
    pub too_many_attempts: fn(u64) -> String,
    pub internal_error: fn(&str) -> String,

    pub start_explanation: &'static str,
    pub account: &'static str,
    pub account_pages: &'static AccountTexts,
    pub application_pages: &'static ApplicationTexts,
    pub for_developers: &'static str,

    pub note: fn(&Note) -> String,
}

impl Texts {
    /// Returns the label of a field.
    pub const fn label(&self, field: &str) -> &'static str {
        match field.as_bytes() {
            b"email" => self.email,
            b"username" => self.username,
            b"code" => self.code,
            b"new_password" => self.new_password,
            b"current_password" => self.account_pages.current_password,
            b"name" => self.name,
            b"scope" => self.account_pages.token_scopes,
            b"days" => self.account_pages.token_days,
            _password => self.password,
        }
    }
}

/// The English texts.
pub static ENGLISH: Texts = Texts {
    lang: "en",
    dir: "ltr",

    skip_to_content: "Skip to content",
    help: "Help",
    error_prefix: "Error",
    check_fields: "Check these fields:",
    back_to_start: "Back to the start page",

    email: "Email",
    username: "Username",
    username_or_email: "Username or email",
    name: "Name",
    optional: "optional",
    username_hint: "Letters, digits, periods, hyphens, and underscores.",
    password: "Password",
    new_password: "New password",
    show: "Show",
    show_password: "Show password",
    code: "Code",
    code_hint: "Ten characters, for example 7H3KM-X9QTA.",
    password_hint: |minimum| format!("At least {minimum} characters."),

    sign_in: "Sign in",
    to_continue: "to continue to",
    forgot_password: "Forgot your password?",
    create_account: "Create an account",
    have_account: "Already have an account?",
    incorrect_credentials: "Incorrect username or password.",
    not_signed_in: "We can't sign you in right now. Your password wasn't checked. Try again in a \
        few seconds.",
    cookie_title: "Allow cookies",
    cookie_lost: "Your browser didn't store the cookie. Allow cookies for this site, then try \
        again.",

    sign_up_title: "Create an account",
    sign_up_closed: "Only administrators can create accounts here.",
    sign_up_code_title: "Finish creating your account",
    send_code: "Send code",
    send_new_code: "Send a new code",

    forgot_title: "Reset your password",
    forgot_explanation: "Enter the email address of your account. We'll send a code to it.",
    email_disabled: "This server doesn't send email. Contact your administrator to reset your \
        password.",
    reset_title: "Choose a new password",
    change_password: "Change password",
    have_code: "I have a code",

    invitation_title: "Set your password",
    invitation_explanation: "Enter the code of your invitation, and choose a password.",
    set_password: "Set password",
    invalid_invitation: "The code is incorrect, expired, or already used. Ask your administrator for \
        a new invitation.",
    invitation_expired: "This invitation has expired. Ask your administrator for a new one.",

    verify_title: "Verify your email address",
    verify: "Verify",
    verify_later: "Not now",
    verify_explanation: |email| format!("Enter the code that we've sent to {email}."),
    verified: "verified",
    not_verified: "not verified",

    sign_out_title: "Sign out",
    sign_out_question: "You'll be signed out of this browser.",
    sign_out: "Sign out",
    signed_out: "You've been signed out.",
    sign_out_failed: "We couldn't sign you out. Try again.",
    too_many_cookies: "Your browser sent too many cookies. Delete the cookies of this site, then try again.",

    required: "Enter a value.",
    invalid_email: "Enter an email address, for example john@example.com.",
    invalid_username: "Use 1 to 64 letters, digits, periods, hyphens, and underscores. Begin and \
        end with a letter or digit.",
    invalid_password: "Use at most 1,024 bytes, without control characters.",
    invalid_code: "The code is incorrect, expired, or already used. Request a new code.",
    username_taken: "This username is already in use.",
    username_reserved: "This username is reserved. Choose another one.",
    email_taken: "This email address is already in use.",
    incorrect_current_password: "The current password is incorrect.",
    weak_password: |reason| match reason {
        WeakPassword::TooShort(minimum) => format!("Use at least {minimum} characters."),
        WeakPassword::Common | WeakPassword::Listed => {
            "This password is too common. Choose another one.".into()
        }
        WeakPassword::SimilarToIdentifier => {
            "This password is similar to your username, name, or email address. Choose another one."
                .into()
        }
        WeakPassword::Unchanged => {
            "Your administrator set this password. Choose another one.".into()
        }
    },

    not_found: "Page not found",
    cross_site: "This request was blocked because it came from another site.",
    blocked: "You can't use this page.",
    bad_request: "We can't read this request. Go back, and try again.",
    unavailable: "We can't do this right now. Try again in a few seconds.",
    saved_not_enforced: "Your change is saved and takes effect in a few seconds. You don't need to \
        repeat it.",
    too_many_attempts: |seconds| {
        let minutes = seconds.div_ceil(60);
        match minutes {
            0 | 1 => "Too many attempts. Try again in a minute.".into(),
            minutes => format!("Too many attempts. Try again in {minutes} minutes."),
        }
    },
    internal_error: |request_id| {
        format!(
            "Something went wrong. If the problem persists, contact your administrator with \
             request ID {request_id}."
        )
    },

    start_explanation: "Sign in to manage your account.",
    account: "Your account",
    account_pages: &account::ENGLISH,
    application_pages: &application::ENGLISH,
    for_developers: "For developers",

    note: |note| match note {
        Note::ResetCodeSent(_) => {
            "If an account exists for this email address, we've sent a code. \
             It can take a minute to arrive."
                .into()
        }
        Note::PasswordReset => {
            "Your password has been changed. You've been signed out on all devices.".into()
        }
        Note::PasswordSet => "Your password is set. You can sign in now.".into(),
        Note::SignUpCodeSent(email) => {
            format!("We've sent a code to {email}. Enter it to finish creating your account.")
        }
        Note::VerificationCodeSent(email) => format!("We've sent a code to {email}."),
        Note::PasswordChanged => {
            "Your password has been changed. You've been signed out on all other devices.".into()
        }
        Note::ProfileSaved => "Your changes are saved.".into(),
        Note::EmailChangeCodeSent(email) => {
            format!("We've sent a code to {email}. Enter it to change your email address.")
        }
        Note::EmailChanged => {
            "Your email address has been changed. You've been signed out on all other devices."
                .into()
        }
        Note::SessionRevoked(device) => format!("{device} has been signed out."),
        Note::OtherSessionsRevoked => "You've been signed out on all other devices.".into(),
        Note::TokenDeleted => "The token has been deleted.".into(),
        Note::AccountDeleted => "Your account has been deleted.".into(),
        Note::EmailVerified => "Your email address is verified.".into(),
        Note::ReturnRejected => {
            "We can't return you to the page you came from. You'll continue to \
             your account."
                .into()
        }
    },
};
