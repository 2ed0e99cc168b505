//! The page `/account/security`.

use askama::Template;
use latchkey_domain::{
    account::EmailAddress,
    password::{NewPassword, Password},
};
use poem::{Response, http::StatusCode};

use super::{CURRENT_PASSWORD, Entry, Failure, Links, Section, User, enter, frame};
use crate::{
    error::Error,
    http::pages::{
        context::{Context, render_with},
        form::Form,
        frame::{Errors, Frame},
        note::Note,
        rejection::parse,
    },
};

pub const FIELDS: &[&str] = &[
    "action",
    CURRENT_PASSWORD,
    "new_password",
    "email",
    EMAIL_PASSWORD,
];

/// The field for the password in the form for the email address. The IDs of a page are unique.
const EMAIL_PASSWORD: &str = "password";

/// The value of `action` in the form for the email address.
const CHANGE_EMAIL: &str = "email";

#[derive(Template)]
#[template(path = "pages/account/security.html")]
struct SecurityPage<'a> {
    frame: Frame<'a>,
    links: Links,
    is_password_change_required: bool,
    /// For password managers.
    sign_in_name: &'a str,
    can_change_email: bool,
    email: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Security).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let render = |status, errors| render_page(&context, &user, status, errors);
    let Some(form) = &context.form else {
        return Ok(render(StatusCode::OK, Errors::default()));
    };
    let outcome = if form.get("action") == CHANGE_EMAIL {
        change_email(&context, &user, form).await
    } else {
        change_password(&context, &user, form).await
    };
    Ok(outcome.unwrap_or_else(|failure| failure.respond(&context, Section::Security, render)))
}

async fn change_password(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let current_rule = (CURRENT_PASSWORD, texts.incorrect_current_password);
    let current = parse::<Password>(form, &mut errors, current_rule, texts);
    let new_rule = ("new_password", texts.invalid_password);
    let new = parse::<NewPassword>(form, &mut errors, new_rule, texts);
    let (Some(current), Some(NewPassword(new))) = (current, new) else {
        return Err(errors.into());
    };
    let accounts = &context.app.accounts;
    accounts
        .change_password(&user.claims, current, new, &context.origin)
        .await?;
    context.leave_note(&Note::PasswordChanged);
    Ok(context.redirect(Section::Security.path()))
}

/// Sends a code to the new address. The page `/account/email` takes it.
async fn change_email(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let email_rule = ("email", texts.invalid_email);
    let email = parse::<EmailAddress>(form, &mut errors, email_rule, texts);
    let password_rule = (EMAIL_PASSWORD, texts.incorrect_current_password);
    let password = parse::<Password>(form, &mut errors, password_rule, texts);
    let (Some(email), Some(password)) = (email, password) else {
        return Err(errors.into());
    };
    let accounts = &context.app.accounts;
    let requested = accounts
        .request_email_change(&user.claims, &email, password, &context.origin)
        .await;
    requested.map_err(|error| match error {
        Error::IncorrectPassword => {
            let text = texts.incorrect_current_password;
            Failure::Fields(Errors::of_field(EMAIL_PASSWORD, text))
        }
        other => Failure::Error(other),
    })?;
    context.leave_note(&Note::EmailChangeCodeSent(email.as_str().to_owned()));
    Ok(context.redirect("/account/email"))
}

fn render_page(context: &Context, user: &User, status: StatusCode, errors: Errors) -> Response {
    let (texts, identity) = (context.site.texts, &user.account.identity);
    let sign_in_name = identity.username.as_ref().or(identity.email.as_ref());
    let page = SecurityPage {
        frame: frame(context, texts.account_pages.security, errors),
        links: Section::Security.links(texts),
        is_password_change_required: user.account.password_change_required,
        sign_in_name: sign_in_name.map_or("", String::as_str),
        // The user must choose a password first.
        can_change_email: context.app.sends_email() && !user.account.password_change_required,
        email: context.form.as_ref().map_or("", |form| form.shown("email")),
    };
    render_with(status, &page)
}
