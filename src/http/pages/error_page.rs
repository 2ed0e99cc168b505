//! Errors as pages, for browsers.

use askama::Template;
use poem::{
    Response,
    http::{HeaderValue, StatusCode, header},
};

use super::{
    context::render_with,
    frame::{Errors, Frame},
    site::Site,
    texts::Texts,
};
use crate::{
    error::{Code, Error},
    http::openapi::problem::{self, RequestContext},
};

#[derive(Template)]
#[template(path = "pages/message.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    link: &'a str,
    link_text: &'a str,
}

/// Returns the page of an error.
pub fn respond(site: &Site, error: &Error) -> Response {
    problem::log(error);
    let texts = site.texts;
    let code = error.code();
    let (title, errors) = match code {
        Code::NotFound => (texts.not_found, Errors::default()),
        _other => (code.title(), Errors::of_page(text(texts, error))),
    };
    let mut frame = Frame::new(site, title).with_errors(errors);
    frame.is_error = true;
    let page = ErrorPage {
        frame,
        link: "/",
        link_text: texts.back_to_start,
    };
    with_retry_after(render_with(status(error), &page), error.retry_after())
}

/// Returns an error without a page, if a page can't be rendered.
pub fn plain(error: &Error) -> Response {
    problem::respond(error)
}

/// Returns the status of the page.
pub fn status(error: &Error) -> StatusCode {
    StatusCode::from_u16(error.code().status()).expect("codes have valid statuses")
}

/// Returns the sentence for an error that isn't about a field.
pub fn text(texts: &Texts, error: &Error) -> String {
    match error {
        Error::TooManyRequests { retry_after } => (texts.too_many_attempts)(*retry_after),
        Error::Unavailable {
            committed: Some(_), ..
        } => texts.saved_not_enforced.to_owned(),
        Error::Busy | Error::Unavailable { .. } => texts.unavailable.to_owned(),
        Error::Csrf(_) => texts.cross_site.to_owned(),
        Error::LastAdmin => texts.account_pages.last_admin.to_owned(),
        Error::SignupClosed => texts.sign_up_closed.to_owned(),
        Error::EmailDisabled(_) => texts.email_disabled.to_owned(),
        Error::Internal(_) => {
            let context = RequestContext::current();
            (texts.internal_error)(context.id.to_str().unwrap_or_default())
        }
        Error::NotFound => texts.not_found.to_owned(),
        other if other.code().status() == 403 => texts.blocked.to_owned(),
        _other => texts.bad_request.to_owned(),
    }
}

/// Adds `Retry-After` in seconds (RFC 9110 section 10.2.3).
pub fn with_retry_after(mut response: Response, retry_after: Option<u64>) -> Response {
    if let Some(seconds) = retry_after {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}
