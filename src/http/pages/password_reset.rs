//! The pages `/forgot` and `/reset-password`.

use askama::Template;
use latchkey_domain::{account::EmailAddress, one_time_code::OneTimeCode, password::NewPassword};
use poem::{Response, http::StatusCode};

use super::{
    context::{Context, render, render_with},
    continuation::{RETURN_TO, STATE},
    form::Form,
    frame::{Errors, Frame},
    note::Note,
    rejection::{Rejection, parse},
    texts::Texts,
};
use crate::{app::accounts::reset_password::PasswordReset, error::Error};

pub const REQUEST_FIELDS: &[&str] = &["email", RETURN_TO, STATE];

pub const FIELDS: &[&str] = &["email", "code", "new_password", RETURN_TO, STATE];

#[derive(Template)]
#[template(path = "pages/forgot.html")]
struct RequestPage<'a> {
    frame: Frame<'a>,
    email: &'a str,
    sends_email: bool,
}

#[derive(Template)]
#[template(path = "pages/reset_password.html")]
struct ResetPage<'a> {
    frame: Frame<'a>,
    email: &'a str,
}

/// Requests a code. The operator of a server without email can create one, so the link to the next
/// page remains.
pub async fn request(context: Context) -> Result<Response, Error> {
    let context = context.returning_to_referrer();
    let render_page = |status, errors| {
        let form = context.form.as_ref();
        let page = RequestPage {
            frame: context
                .frame(context.site.texts.forgot_title)
                .with_errors(errors),
            email: form.map_or("", |form| form.shown("email")),
            sends_email: context.app.sends_email(),
        };
        render_with(status, &page)
    };
    let Some(form) = &context.form else {
        return Ok(render_page(StatusCode::OK, Errors::default()));
    };
    let outcome = send_code(&context, form).await;
    Ok(outcome.unwrap_or_else(|rejection| rejection.respond(render_page)))
}

async fn send_code(context: &Context, form: &Form) -> Result<Response, Rejection> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let rule = ("email", texts.invalid_email);
    let Some(email) = parse::<EmailAddress>(form, &mut errors, rule, texts) else {
        return Err(Rejection::of_fields(errors));
    };
    let accounts = &context.app.accounts;
    accounts
        .request_password_reset(&email, &context.origin)
        .await
        .map_err(|error| Rejection::of(texts, &error))?;
    context.leave_note(&Note::ResetCodeSent(email.as_str().to_owned()));
    Ok(context.redirect_on("/reset-password"))
}

pub async fn reset(context: Context) -> Result<Response, Error> {
    let title = context.site.texts.reset_title;
    let Some(form) = &context.form else {
        let note = context.take_note();
        return Ok(render(&ResetPage {
            frame: context
                .frame(title)
                .with_note(note.as_ref().map(|note| context.note_text(note))),
            email: note.as_ref().and_then(Note::email).unwrap_or_default(),
        }));
    };
    let outcome = set_password(&context, form).await;
    Ok(outcome.unwrap_or_else(|rejection| {
        rejection.respond(|status, errors| {
            let page = ResetPage {
                frame: context.frame(title).with_errors(errors),
                email: form.shown("email"),
            };
            render_with(status, &page)
        })
    }))
}

async fn set_password(context: &Context, form: &Form) -> Result<Response, Rejection> {
    let texts = context.site.texts;
    let request = read_form(form, texts)?;
    let accounts = &context.app.accounts;
    accounts
        .reset_password(request, &context.origin)
        .await
        .map_err(|error| Rejection::of(texts, &error))?;
    context.leave_note(&Note::PasswordReset);
    Ok(context.redirect_on("/sign-in"))
}

/// Reads the fields `email`, `code`, and `new_password`.
pub fn read_form(form: &Form, texts: &Texts) -> Result<PasswordReset, Rejection> {
    let mut errors = Errors::default();
    let email_rule = ("email", texts.invalid_email);
    let email = parse::<EmailAddress>(form, &mut errors, email_rule, texts);
    let code_rule = ("code", texts.invalid_code);
    let code = parse::<OneTimeCode>(form, &mut errors, code_rule, texts);
    let password_rule = ("new_password", texts.invalid_password);
    let password = parse::<NewPassword>(form, &mut errors, password_rule, texts);
    let (Some(email), Some(code), Some(NewPassword(new_password))) = (email, code, password) else {
        return Err(Rejection::of_fields(errors));
    };
    Ok(PasswordReset {
        email,
        code,
        new_password,
    })
}
