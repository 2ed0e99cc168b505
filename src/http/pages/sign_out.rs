//! The page `/sign-out`.

use askama::Template;
use poem::{Response, http::StatusCode};

use super::{
    context::{Context, render, render_with},
    error_page,
    frame::{Errors, Frame},
};
use crate::{
    app::{revocation::WaitFor, sessions::sign_out::SessionCredential},
    error::Error,
};

pub const FIELDS: &[&str] = &[];

#[derive(Template)]
#[template(path = "pages/sign_out.html")]
struct SignOutPage<'a> {
    frame: Frame<'a>,
}

#[derive(Template)]
#[template(path = "pages/message.html")]
struct SignedOutPage<'a> {
    frame: Frame<'a>,
    link: &'a str,
    link_text: &'a str,
}

pub async fn handle(context: Context) -> Result<Response, Error> {
    let texts = context.site.texts;
    if context.form.is_none() {
        return Ok(render(&SignOutPage {
            frame: context.frame(texts.sign_out_title),
        }));
    }
    if let Err(error) = revoke_sessions(&context).await {
        crate::http::openapi::problem::log(&error);
        let text = match &error {
            Error::Unavailable {
                committed: Some(_), ..
            } => texts.saved_not_enforced,
            _other => texts.sign_out_failed,
        };
        let page = SignOutPage {
            frame: context
                .frame(texts.sign_out_title)
                .with_errors(Errors::of_page(text)),
        };
        let page = render_with(error_page::status(&error), &page);
        return Ok(error_page::with_retry_after(page, error.retry_after()));
    }
    context.session_cookie.clear();
    let page = SignedOutPage {
        frame: context
            .frame(texts.sign_out_title)
            .with_note(Some(texts.signed_out.to_owned())),
        link: "/sign-in",
        link_text: texts.sign_in,
    };
    Ok(render_with(StatusCode::OK, &page))
}

/// Revokes the session of each session cookie of the request, also of an expired one. When it
/// returns, every replica rejects the sessions.
///
/// # Errors
/// `busy`, `unavailable`.
pub async fn revoke_sessions(context: &Context) -> Result<(), Error> {
    for cookie in context.session_cookies() {
        let credentials = [SessionCredential::Access(cookie)];
        let sessions = &context.app.sessions;
        match sessions
            .sign_out(&credentials, WaitFor::Enforced, &context.origin)
            .await
        {
            // An invalid cookie, or one signed by a revoked key, identifies no session.
            Ok(()) | Err(Error::InvalidToken | Error::TokenRevoked) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
