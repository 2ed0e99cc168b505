//! The page `/sign-out`.

use askama::Template;
use poem::{Response, http::StatusCode};

use super::{
    application_site::TICKET,
    context::Context,
    continuation::{RETURN_TO, STATE},
    error_page,
    frame::{Errors, Frame},
};
use crate::{
    app::{revocation::WaitFor, sessions::sign_out::SessionCredential},
    error::Error,
};

pub const FIELDS: &[&str] = &[TICKET, RETURN_TO, STATE];

#[derive(Template)]
#[template(path = "pages/sign_out.html")]
struct SignOutPage<'a> {
    frame: Frame<'a>,
    /// The sign-out ticket of an application.
    ticket: &'a str,
}

#[derive(Template)]
#[template(path = "pages/signed_out.html")]
struct SignedOutPage<'a> {
    frame: Frame<'a>,
    /// The URL of the application, and the text of the link to it.
    application: Option<(String, String)>,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let texts = context.site.texts;
    let Some(form) = &context.form else {
        let ticket = context.query(TICKET).unwrap_or_default();
        return Ok(ask(&context, &ticket, StatusCode::OK, Errors::default()));
    };
    let ticket = form.get(TICKET);
    match revoke(&context, ticket).await {
        Ok(()) => {}
        // Nothing identifies a session any more.
        Err(Error::InvalidToken | Error::TokenRevoked) => {
            let text = texts.application_pages.invalid_sign_out_ticket;
            let errors = Errors::of_page(text);
            return Ok(ask(&context, "", StatusCode::UNPROCESSABLE_ENTITY, errors));
        }
        Err(error) => {
            crate::http::openapi::problem::log(&error);
            let text = match &error {
                Error::Unavailable {
                    committed: Some(_), ..
                } => texts.saved_not_enforced,
                Error::InvalidRequest { .. } => texts.too_many_cookies,
                _other => texts.sign_out_failed,
            };
            let status = error_page::status(&error);
            let page = ask(&context, ticket, status, Errors::of_page(text));
            return Ok(error_page::with_retry_after(page, error.retry_after()));
        }
    }
    context.session_cookie.clear();
    let continuation = &context.continuation;
    let link = continuation.url().zip(continuation.other_host());
    let page = SignedOutPage {
        frame: context
            .frame(texts.sign_out_title)
            .with_note(Some(texts.signed_out.to_owned())),
        application: link.map(|(url, host)| (url, (texts.application_pages.back_to)(host))),
    };
    Ok(context.render_with(StatusCode::OK, &page))
}

fn ask(context: &Context, ticket: &str, status: StatusCode, errors: Errors) -> Response {
    let page = SignOutPage {
        frame: context
            .frame(context.site.texts.sign_out_title)
            .with_errors(errors),
        ticket,
    };
    context.render_with(status, &page)
}

/// Revokes the sessions of the session cookie and of the ticket. A ticket that has expired is no
/// error if a cookie identifies a session, which is usually the same.
async fn revoke(context: &Context, ticket: &str) -> Result<(), Error> {
    let has_revoked = revoke_sessions(context).await?;
    if ticket.is_empty() {
        return Ok(());
    }
    let credential = SessionCredential::Ticket(ticket.to_owned());
    match revoke_session(context, credential).await {
        Err(Error::InvalidToken | Error::TokenRevoked) if has_revoked => Ok(()),
        outcome => outcome,
    }
}

/// Revokes the session of each session cookie of the request, also of an expired one. When it
/// returns, every replica rejects the sessions. Returns whether there was one.
///
/// # Errors
/// `invalid_request` if there are more than four session cookies, `busy`, `unavailable`.
pub async fn revoke_sessions(context: &Context) -> Result<bool, Error> {
    let mut has_revoked = false;
    for cookie in context.session_cookies()? {
        match revoke_session(context, SessionCredential::Access(cookie)).await {
            Ok(()) => has_revoked = true,
            // An invalid cookie, or one signed by a revoked key, identifies no session.
            Err(Error::InvalidToken | Error::TokenRevoked) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(has_revoked)
}

async fn revoke_session(context: &Context, credential: SessionCredential) -> Result<(), Error> {
    let sessions = &context.app.sessions;
    sessions
        .sign_out(&[credential], WaitFor::Enforced, &context.origin)
        .await
}
