//! The page `/verify-email`.

use std::sync::Arc;

use askama::Template;
use latchkey_domain::{access_token::Claims, one_time_code::OneTimeCode};
use poem::{Response, http::StatusCode};

use super::{
    context::Context,
    continuation::{RETURN_TO, STATE},
    form::Form,
    frame::{Errors, Frame},
    note::Note,
    rejection::{Rejection, parse},
};
use crate::error::Error;

pub const FIELDS: &[&str] = &["code", "resend", RETURN_TO, STATE];

#[derive(Template)]
#[template(path = "pages/verify_email.html")]
struct VerifyPage<'a> {
    frame: Frame<'a>,
    email: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let Some(caller) = context.caller().await? else {
        return Ok(context.require_sign_in());
    };
    let account = context.app.accounts.get_account(&caller).await?;
    let identity = account.identity;
    let Some(email) = identity.email.filter(|_| !identity.email_verified) else {
        // A link in an email can contain the code for a new address, which this page takes. The
        // browser keeps the fragment of the link.
        return Ok(context.finish("/account/email"));
    };
    let Some(form) = &context.form else {
        let note = context.take_note();
        let note = note.map(|note| context.note_text(&note));
        return Ok(render_page(
            &context,
            &email,
            StatusCode::OK,
            note,
            Errors::default(),
        ));
    };
    let outcome = if form.has("resend") {
        send_code(&context, &caller, &email).await
    } else {
        verify(&context, &caller, form).await
    };
    Ok(outcome.unwrap_or_else(|rejection| {
        rejection.respond(|status, errors| render_page(&context, &email, status, None, errors))
    }))
}

async fn send_code(
    context: &Context,
    caller: &Arc<Claims>,
    email: &str,
) -> Result<Response, Rejection> {
    let accounts = &context.app.accounts;
    accounts
        .request_email_verification(caller, &context.origin)
        .await
        .map_err(|error| Rejection::of(context.site.texts, &error))?;
    context.leave_note(&Note::VerificationCodeSent(email.to_owned()));
    Ok(context.redirect_on("/verify-email"))
}

async fn verify(
    context: &Context,
    caller: &Arc<Claims>,
    form: &Form,
) -> Result<Response, Rejection> {
    let (texts, mut errors) = (context.site.texts, Errors::default());
    let rule = ("code", texts.invalid_code);
    let Some(code) = parse::<OneTimeCode>(form, &mut errors, rule, texts) else {
        return Err(Rejection::of_fields(errors));
    };
    let accounts = &context.app.accounts;
    accounts
        .confirm_email(caller, &code, &context.origin)
        .await
        .map_err(|error| Rejection::of(texts, &error))?;
    context.leave_note(&Note::EmailVerified);
    Ok(context.finish("/account"))
}

fn render_page(
    context: &Context,
    email: &str,
    status: StatusCode,
    note: Option<String>,
    errors: Errors,
) -> Response {
    let page = VerifyPage {
        frame: context
            .frame(context.site.texts.verify_title)
            .with_note(note)
            .with_errors(errors),
        email,
    };
    context.render_with(status, &page)
}
