//! The pages about error codes, to which the `type` of an error response links (RFC 9457 section
//! 3.1.1).

use askama::Template;
use poem::Response;

use super::{
    context::{Context, render},
    frame::Frame,
};
use crate::{
    error::{Code, Error},
    http::openapi::problem,
};

#[derive(Template)]
#[template(path = "pages/problems.html")]
struct ProblemList<'a> {
    frame: Frame<'a>,
    codes: &'static [Code],
}

#[derive(Template)]
#[template(path = "pages/problem.html")]
struct ProblemPage<'a> {
    frame: Frame<'a>,
    code: Code,
    /// Example response with the code.
    example: String,
    /// The standard that defines the status or the error.
    standard: &'static str,
}

pub async fn list(context: Context) -> Result<Response, Error> {
    Ok(render(&ProblemList {
        frame: context.frame("Error codes").wide(),
        codes: Code::ALL,
    }))
}

pub async fn show(context: Context) -> Result<Response, Error> {
    let slug = context.path_param("code");
    let code = Code::ALL.iter().find(|code| slug == Some(code.slug()));
    let code = *code.ok_or(Error::NotFound)?;
    let body = problem::example_body(&problem::example(code));
    Ok(render(&ProblemPage {
        frame: context.frame(code.title()).wide(),
        code,
        example: format!("{:#}", body.unwrap_or_default()),
        standard: standard(code),
    }))
}

/// The standard that defines the status or the error.
const fn standard(code: Code) -> &'static str {
    match code {
        Code::InvalidToken | Code::TokenExpired | Code::TokenRevoked | Code::InsufficientScope => {
            "RFC 6750, section 3.1"
        }
        Code::InvalidRefreshToken | Code::RefreshTokenReused => "RFC 9700, section 4.14.2",
        Code::Csrf => "W3C Fetch Metadata Request Headers",
        other => match other.status() {
            400 => "RFC 9110, section 15.5.1",
            401 => "RFC 9110, section 15.5.2",
            403 => "RFC 9110, section 15.5.4",
            404 => "RFC 9110, section 15.5.5",
            405 => "RFC 9110, section 15.5.6",
            406 => "RFC 9110, section 15.5.7",
            409 => "RFC 9110, section 15.5.10",
            412 => "RFC 9110, section 15.5.13",
            413 => "RFC 9110, section 15.5.14",
            415 => "RFC 9110, section 15.5.16",
            429 => "RFC 6585, section 4",
            501 => "RFC 9110, section 15.6.2",
            503 => "RFC 9110, section 15.6.4",
            _internal => "RFC 9110, section 15.6.1",
        },
    }
}
