//! The page `/sign-in`.

use askama::Template;
use latchkey_domain::{
    account::SignInName, password::Password, return_to::ReturnTo, text::ParsedText,
};
use poem::{Response, http::StatusCode};

use super::{
    context::{Context, render, render_for, see_other},
    error_page,
    frame::{Errors, Frame},
    note::Note,
    sign_out,
};
use crate::error::Error;

pub const FIELDS: &[&str] = &["username", "password", "return_to"];

/// The parameter of the redirect after a sign-in. If the browser then sends no cookie, it stores
/// none, and another redirect would be a loop.
const SIGNED_IN: &str = "signed_in";

#[derive(Template)]
#[template(path = "pages/sign_in.html")]
struct SignInPage<'a> {
    frame: Frame<'a>,
    username: &'a str,
    return_to: &'a str,
    /// The host of the application to which the sign-in returns.
    application: Option<&'a str>,
    can_sign_up: bool,
}

#[derive(Template)]
#[template(path = "pages/message.html")]
struct CookiePage<'a> {
    frame: Frame<'a>,
    link: &'a str,
    link_text: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    match &context.form {
        None => show(&context).await,
        Some(_) => submit(&context).await,
    }
}

async fn show(context: &Context) -> Result<Response, Error> {
    if context.caller().await?.is_some() {
        return Ok(continue_after_sign_in(context));
    }
    if context.query(SIGNED_IN).is_some() {
        let texts = context.site.texts;
        return Ok(render(&CookiePage {
            frame: context
                .frame(texts.cookie_title)
                .with_errors(Errors::of_page(texts.cookie_lost)),
            link: "/sign-in",
            link_text: texts.sign_in,
        }));
    }
    let note = match context.return_to() {
        Err(()) => Some(Note::ReturnRejected),
        Ok(_) => context.take_note(),
    };
    let note = note.map(|note| context.note_text(&note));
    Ok(render_page(
        context,
        StatusCode::OK,
        note,
        Errors::default(),
    ))
}

async fn submit(context: &Context) -> Result<Response, Error> {
    let (app, texts) = (&context.app, context.site.texts);
    let form = context.form.as_ref().expect("a form");
    let mut errors = Errors::default();
    for field in ["username", "password"] {
        if !form.has(field) {
            errors.add(field, texts.required);
        }
    }
    if !errors.is_empty() {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Ok(render_page(context, status, None, errors));
    }
    let name = SignInName::parse(form.trimmed("username"));
    let password = Password::parse(form.get("password"));
    // A text that can't be a name or a password is incorrect, too.
    let (Ok(name), Ok(password)) = (name, password) else {
        return Ok(reject(context, &Error::InvalidCredentials));
    };
    let origin = &context.origin;
    let cookie = match app.sessions.sign_in_browser(&name, password, origin).await {
        Ok((cookie, _account)) => cookie,
        Err(error) => return Ok(reject(context, &error)),
    };
    // The previous session of this browser ends, also one of another user (ASVS 7.2.4).
    sign_out::revoke_sessions(context).await?;
    context.session_cookie.put(&cookie);
    let query: String = form_urlencoded::Serializer::new(String::new())
        .append_pair(SIGNED_IN, "1")
        .append_pair("return_to", form.get("return_to"))
        .finish();
    Ok(context.redirect(&format!("/sign-in?{query}")))
}

/// Redirects to the page that required the sign-in.
fn continue_after_sign_in(context: &Context) -> Response {
    match context.return_to() {
        Ok(Some(return_to)) => see_other(&return_to.url()),
        Ok(None) => context.redirect("/account"),
        Err(()) => {
            context.leave_note(&Note::ReturnRejected);
            context.redirect("/account")
        }
    }
}

/// Shows the page again after a failed sign-in.
fn reject(context: &Context, error: &Error) -> Response {
    let texts = context.site.texts;
    let (status, text) = match error {
        Error::InvalidCredentials => (
            StatusCode::UNPROCESSABLE_ENTITY,
            texts.incorrect_credentials.to_owned(),
        ),
        Error::Busy | Error::Unavailable { .. } => (
            StatusCode::SERVICE_UNAVAILABLE,
            texts.not_signed_in.to_owned(),
        ),
        other => (
            error_page::status(other),
            error_page::text(context.site.texts, other),
        ),
    };
    let page = render_page(context, status, None, Errors::of_page(text));
    error_page::with_retry_after(page, error.retry_after())
}

fn render_page(
    context: &Context,
    status: StatusCode,
    note: Option<String>,
    errors: Errors,
) -> Response {
    let form = context.form.as_ref();
    let return_to = context.return_to().ok().flatten();
    let application = return_to.as_ref().and_then(ReturnTo::application);
    let page = SignInPage {
        frame: context
            .frame(context.site.texts.sign_in)
            .with_note(note)
            .with_errors(errors),
        username: form.map_or("", |form| form.shown("username")),
        return_to: &return_to.as_ref().map(ReturnTo::url).unwrap_or_default(),
        application: application.map(host),
        can_sign_up: context.app.accounts.allows_sign_up(),
    };
    render_for(status, &page, application)
}

/// Returns the host and the port of an origin.
fn host(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, host)| host)
}
