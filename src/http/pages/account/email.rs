//! The page `/account/email`, which takes the code that a new email address received.

use askama::Template;
use latchkey_domain::one_time_code::OneTimeCode;
use poem::{Response, http::StatusCode};

use super::{Entry, Failure, Links, Section, User, enter, frame};
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

pub const FIELDS: &[&str] = &["code"];

#[derive(Template)]
#[template(path = "pages/account/email.html")]
struct EmailPage<'a> {
    frame: Frame<'a>,
    links: Links,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let user = match enter(&context, Section::Profile).await? {
        Entry::User(user) => user,
        Entry::Elsewhere(response) => return Ok(response),
    };
    let render = |status, errors| {
        let texts = context.site.texts;
        let page = EmailPage {
            frame: frame(&context, texts.account_pages.change_email, errors),
            links: Section::Security.links(texts),
        };
        render_with(status, &page)
    };
    let Some(form) = &context.form else {
        return Ok(render(StatusCode::OK, Errors::default()));
    };
    let outcome = confirm(&context, &user, form).await;
    Ok(outcome.unwrap_or_else(|failure| failure.respond(&context, Section::Security, render)))
}

async fn confirm(context: &Context, user: &User, form: &Form) -> Result<Response, Failure> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let rule = ("code", texts.invalid_code);
    let Some(code) = parse::<OneTimeCode>(form, &mut errors, rule, texts) else {
        return Err(errors.into());
    };
    let accounts = &context.app.accounts;
    let account = accounts
        .confirm_email(&user.claims, &code, &context.origin)
        .await?;
    // A code for the current address only verifies it.
    let note = if account.identity.email == user.account.identity.email {
        Note::EmailVerified
    } else {
        Note::EmailChanged
    };
    context.leave_note(&note);
    Ok(context.redirect(Section::Profile.path()))
}
