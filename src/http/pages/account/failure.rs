//! Why a form of an account page has no effect, or none yet.

use askama::Template;
use poem::{Response, http::StatusCode};

use super::{CURRENT_PASSWORD, Links, Section};
use crate::{
    error::Error,
    http::pages::{
        context::{Context, render_with},
        frame::{Errors, Frame},
        rejection::Rejection,
    },
};

/// Why a form fails.
pub enum Failure {
    /// Fields are invalid.
    Fields(Errors),
    /// A use case failed.
    Error(Error),
}

impl From<Errors> for Failure {
    fn from(errors: Errors) -> Failure {
        Failure::Fields(errors)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

#[derive(Template)]
#[template(path = "pages/account/message.html")]
struct FailurePage<'a> {
    frame: Frame<'a>,
    links: Links,
    link: &'a str,
    link_text: &'a str,
}

impl Failure {
    /// Shows the form again with its errors.
    pub fn respond(
        self,
        context: &Context,
        section: Section,
        render: impl FnOnce(StatusCode, Errors) -> Response,
    ) -> Response {
        let texts = context.site.texts;
        match self {
            Failure::Fields(errors) => Rejection::of_fields(errors).respond(render),
            // The session was revoked meanwhile.
            Failure::Error(Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked) => {
                context.require_sign_in()
            }
            // The sign-in was recent when the page was shown.
            Failure::Error(Error::ReauthenticationRequired) => {
                let text = format!("{}.", texts.account_pages.confirm_password);
                Rejection::of_fields(Errors::of_field(CURRENT_PASSWORD, text)).respond(render)
            }
            Failure::Error(error) if is_committed(&error) => {
                Failure::Error(error).respond_without_form(context, section)
            }
            Failure::Error(error) => Rejection::of(texts, &error).respond(render),
        }
    }

    /// Shows a page with the error and a link to the section, because the change is saved, or the
    /// page can't be shown again without a store.
    pub fn respond_without_form(self, context: &Context, section: Section) -> Response {
        let texts = context.site.texts;
        let link_text = match &self {
            Failure::Error(error) if is_committed(error) => texts.account_pages.check_again,
            _other => texts.account_pages.back,
        };
        let render = |status, errors| {
            let frame = context.frame(section.title(texts)).wide();
            let page = FailurePage {
                frame: frame.with_errors(errors),
                links: section.links(texts),
                link: section.path(),
                link_text,
            };
            render_with(status, &page)
        };
        match self {
            Failure::Error(error) if is_committed(&error) => {
                Rejection::of(texts, &error).respond(render)
            }
            other => other.respond(context, section, render),
        }
    }
}

/// Whether the change is saved, and takes effect later.
const fn is_committed(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable {
            committed: Some(_),
            ..
        }
    )
}
