//! The check of a proxy for the pages of an application (`/auth/page`). It is the check of
//! `/auth/verify`, but its responses to a navigation are for the browser: a redirect to the sign-in
//! page, or a page with the error.

use std::sync::Arc;

use poem::{
    Endpoint, IntoResponse, Request, Response,
    http::{HeaderValue, StatusCode, header},
};

use super::{application_site::ApplicationMessage, site::Site};
use crate::{
    app::App,
    error::Error,
    http::{
        context::response_headers::DeferredHeaders,
        forward_auth::{
            Target,
            challenge::Challenge,
            navigation::{self, Navigation},
            requirements::Requirements,
            subject::ForwardAuthSubject,
        },
        openapi::problem,
    },
};

/// The endpoint of the check, for every method.
pub struct PageCheck {
    site: Arc<Site>,
}

impl PageCheck {
    pub fn new(site: Arc<Site>) -> PageCheck {
        PageCheck { site }
    }

    fn respond(&self, request: &Request, target: &Target<'_>, error: &Error) -> Response {
        let challenge = match Challenge::find(request, target, error) {
            Ok(challenge) => challenge,
            Err(error) => return problem::respond(&error),
        };
        let site = &self.site;
        match challenge {
            Some(Challenge::SignIn { location }) => Response::builder()
                .status(StatusCode::FOUND)
                .header(header::LOCATION, location)
                .finish(),
            Some(Challenge::KeepForm) => ApplicationMessage::SignedOutForm.respond(site),
            Some(Challenge::CookieLost) => ApplicationMessage::CookieLost.respond(site),
            None if is_navigation(request, target) => {
                problem::log(error);
                ApplicationMessage::Error(error).respond(site)
            }
            None => problem::respond(error),
        }
    }
}

impl Endpoint for PageCheck {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        let target = match Target::read(&request) {
            Ok(target) => target,
            Err(error) => return Ok(problem::respond(&error)),
        };
        let outcome = check(&request, &target).await;
        let headers = DeferredHeaders::of(&request);
        headers.set(header::VARY, HeaderValue::from_static(navigation::VARY));
        Ok(match outcome {
            Ok(response) => response,
            Err(error) => self.respond(&request, &target, &error),
        })
    }
}

async fn check(request: &Request, target: &Target<'_>) -> Result<Response, Error> {
    let requirements = Requirements::read(request.uri().query().unwrap_or_default())?;
    let subject = ForwardAuthSubject::authenticate(request, target).await?;
    let verified = subject.authorize(request, &requirements).await?;
    Ok(verified.into_response())
}

/// Whether a browser shows the response, at a known application.
fn is_navigation(request: &Request, target: &Target<'_>) -> bool {
    let app: &Arc<App> = request.data().expect("the request middleware sets it");
    let kind = target
        .original
        .method
        .and_then(|method| navigation::find(method, request.headers()));
    app.config.web.0
        && target.application.is_some()
        && matches!(kind, Some(Navigation::Page | Navigation::Form))
}
