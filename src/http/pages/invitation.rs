//! The page `/invitation`, on which a user without a password sets one with the code of the
//! invitation.

use askama::Template;
use poem::{Response, http::StatusCode};

use super::{
    context::{Context, render_with},
    form::Form,
    frame::{Errors, Frame},
    note::Note,
    password_reset,
    rejection::Rejection,
};
use crate::error::Error;

pub const FIELDS: &[&str] = &["email", "code", "new_password"];

#[derive(Template)]
#[template(path = "pages/invitation.html")]
struct InvitationPage<'a> {
    frame: Frame<'a>,
    email: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let render_page = |status, errors| {
        let form = context.form.as_ref();
        let page = InvitationPage {
            frame: context
                .frame(context.site.texts.invitation_title)
                .with_errors(errors),
            email: form.map_or("", |form| form.shown("email")),
        };
        render_with(status, &page)
    };
    let Some(form) = &context.form else {
        return Ok(render_page(StatusCode::OK, Errors::default()));
    };
    let outcome = set_password(&context, form).await;
    Ok(outcome.unwrap_or_else(|rejection| rejection.respond(render_page)))
}

async fn set_password(context: &Context, form: &Form) -> Result<Response, Rejection> {
    let texts = context.site.texts;
    let request = password_reset::read_form(form, texts)?;
    let accounts = &context.app.accounts;
    let outcome = accounts.reset_password(request, &context.origin).await;
    outcome.map_err(|error| match error {
        // The user can't request another invitation.
        Error::InvalidCode => {
            Rejection::of_fields(Errors::of_field("code", texts.invalid_invitation))
        }
        other => Rejection::of(texts, &other),
    })?;
    context.leave_note(&Note::PasswordSet);
    Ok(context.redirect("/sign-in"))
}
