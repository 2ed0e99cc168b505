//! The texts of pages at the host of an application.

/// The texts of these pages in one language.
pub struct ApplicationTexts {
    pub no_access_title: &'static str,
    pub no_access: &'static str,
    pub signed_out_title: &'static str,
    pub signed_out_form: &'static str,
    pub sign_in_failed_title: &'static str,
    pub invalid_ticket: &'static str,
    pub cookie_lost: &'static str,
    pub unavailable_title: &'static str,
    pub try_again: &'static str,
    /// The sign-out ticket has expired.
    pub invalid_sign_out_ticket: &'static str,
    /// The link to the application after a sign-out.
    pub back_to: fn(&str) -> String,
}

pub static ENGLISH: ApplicationTexts = ApplicationTexts {
    no_access_title: "Access denied",
    no_access: "You don't have access to this application. Contact your administrator.",
    signed_out_title: "Signed out",
    signed_out_form: "You've been signed out. Sign in in a new tab, then return here and submit the \
        form again.",
    sign_in_failed_title: "Sign-in couldn't be completed",
    invalid_ticket: "This sign-in link has expired, or your browser blocks cookies. Try again.",
    cookie_lost: "Your browser didn't send the cookie of this application. Allow cookies for this \
        site, then try again.",
    unavailable_title: "Service unavailable",
    try_again: "Try again",
    invalid_sign_out_ticket: "This sign-out link has expired. Go back to the application, and sign \
        out again.",
    back_to: |host| format!("Back to {host}"),
};
