//! The page `/sign-in`.

use std::sync::Arc;

use askama::Template;
use latchkey_domain::{
    access_token::Claims, account::SignInName, password::Password, text::ParsedText,
};
use poem::{Response, http::StatusCode};

use super::{
    application_site,
    context::{Context, render, see_other},
    continuation::{Next, RETURN_TO, STATE},
    error_page,
    frame::{Errors, Frame},
    note::Note,
    sign_out,
};
use crate::error::Error;

pub const FIELDS: &[&str] = &["username", "password", RETURN_TO, STATE];

/// The parameter of the redirect after a sign-in. If the browser then sends no cookie, it stores
/// none, and another redirect would be a loop.
const SIGNED_IN: &str = "signed_in";

#[derive(Template)]
#[template(path = "pages/sign_in.html")]
struct SignInPage<'a> {
    frame: Frame<'a>,
    username: &'a str,
    /// The URL and the host of the other site to which the sign-in returns.
    other_site: Option<(String, &'a str)>,
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
    if let Some(claims) = caller(context).await? {
        return continue_after_sign_in(context, &claims).await;
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
    let note = if context.continuation.is_rejected {
        Some(Note::ReturnRejected)
    } else {
        context.take_note()
    };
    let note = note.map(|note| context.note_text(&note));
    Ok(render_page(
        context,
        StatusCode::OK,
        note,
        Errors::default(),
    ))
}

/// Returns the claims of the session cookie. An expired one is renewed while an application is in
/// use.
async fn caller(context: &Context) -> Result<Option<Arc<Claims>>, Error> {
    if let Some(claims) = context.caller().await? {
        return Ok(Some(claims));
    }
    // Two session cookies require a sign-in, which replaces one of them.
    let [cookie] = &context.session_cookies()?[..] else {
        return Ok(None);
    };
    let address = context.origin.address;
    let renewed = context.app.sessions.renew_expired_cookie(cookie, address);
    Ok(renewed.await?.map(|cookie| {
        context.session_cookie.put(&cookie);
        cookie.claims
    }))
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
    // Otherwise the browser couldn't use the new session.
    context.session_cookies()?;
    let origin = &context.origin;
    let cookie = match app.sessions.sign_in_browser(&name, password, origin).await {
        Ok((cookie, _account)) => cookie,
        Err(error) => return Ok(reject(context, &error)),
    };
    // The previous session of this browser ends, also one of another user (ASVS 7.2.4).
    sign_out::revoke_sessions(context).await?;
    context.session_cookie.put(&cookie);
    let query = context.continuation.query(&[(SIGNED_IN, "1")]);
    Ok(context.redirect(&format!("/sign-in{query}")))
}

/// Redirects to the page or the application that required the sign-in.
async fn continue_after_sign_in(context: &Context, claims: &Claims) -> Result<Response, Error> {
    if context.continuation.is_rejected {
        context.leave_note(&Note::ReturnRejected);
    }
    let Some(Next::PresentTicket {
        application,
        path,
        state,
    }) = context.continuation.next()
    else {
        return Ok(context.finish("/account"));
    };
    let sessions = &context.app.sessions;
    let ticket = sessions
        .issue_sign_in_ticket(claims, application, path, state)
        .await?;
    Ok(see_other(&application_site::callback_url(
        application,
        &ticket,
    )))
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
    let continuation = &context.continuation;
    let page = SignInPage {
        frame: context
            .frame(context.site.texts.sign_in)
            .with_note(note)
            .with_errors(errors),
        username: form.map_or("", |form| form.shown("username")),
        other_site: continuation.url().zip(continuation.other_host()),
        can_sign_up: context.app.accounts.allows_sign_up(),
    };
    context.render_with(status, &page)
}
