//! Signed-out navigations: the browser is sent to the sign-in page.

use std::sync::Arc;

use latchkey_domain::{nonce::Nonce, original_request::OriginForm, return_to};
use poem::{
    Request,
    http::{HeaderValue, header},
};

use super::{
    navigation::{self, Navigation},
    target::{Target, TargetApplication},
};
use crate::{
    app::App,
    error::Error,
    http::{
        auth::application_cookie::ApplicationCookies, context::response_headers::DeferredHeaders,
    },
};

/// What a signed-out browser must do.
pub enum Challenge {
    /// Open the sign-in page. The response sets the nonce cookie.
    SignIn {
        /// The URL of the sign-in page.
        location: HeaderValue,
    },
    /// Sign in in another tab, because a redirect would lose the form.
    KeepForm,
    /// Nothing: the browser was signed in a moment ago, and the cookie was lost.
    CookieLost,
}

impl Challenge {
    /// Returns the challenge for a failed check; `None` if the request isn't a navigation to an
    /// application, or has failed for another reason than its credential.
    ///
    /// # Errors
    /// `internal`.
    pub fn find(
        request: &Request,
        target: &Target<'_>,
        error: &Error,
    ) -> Result<Option<Challenge>, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        let is_signed_out = matches!(
            error,
            Error::Unauthenticated
                | Error::NoBrowserSession
                | Error::InvalidToken
                | Error::TokenExpired
                | Error::TokenRevoked
        );
        let (true, true, Some(application), Some(method)) = (
            is_signed_out,
            app.config.web.0,
            &target.application,
            target.original.method,
        ) else {
            return Ok(None);
        };
        match navigation::find(method, request.headers()) {
            None => Ok(None),
            Some(Navigation::Form) => Ok(Some(Challenge::KeepForm)),
            Some(Navigation::Page) => sign_in(app, request, target, application, error).map(Some),
        }
    }
}

fn sign_in(
    app: &App,
    request: &Request,
    target: &Target<'_>,
    application: &TargetApplication,
    error: &Error,
) -> Result<Challenge, Error> {
    let cookies = ApplicationCookies::at(&application.origin, &app.cookie_names);
    let nonce = cookies.read_nonce(request);
    let follows_callback = nonce
        .as_ref()
        .is_some_and(|nonce| nonce.follows_callback(app.now()));
    // A revoked session leads to the sign-in page, which doesn't return at once.
    if follows_callback && !matches!(error, Error::TokenRevoked) {
        tracing::warn!(
            application = application.origin.as_str(),
            issuer = app.config.issuer.as_str(),
            "the cookie of an application was lost after a sign-in; check that the proxy forwards \
             cookies in both directions, that the origin uses HTTPS, and the clocks of the replicas"
        );
        return Ok(Challenge::CookieLost);
    }
    // Tabs that open at the same time share a nonce.
    let nonce = match nonce {
        Some(nonce) => nonce,
        None => Nonce::generate().map_err(Error::internal)?,
    };
    cookies.put_nonce(DeferredHeaders::of(request), &nonce);
    let location = sign_in_url(app, &return_url(target, application), &nonce.state());
    Ok(Challenge::SignIn {
        location: HeaderValue::try_from(location).expect("a URL is ASCII"),
    })
}

/// Returns the URL of the original request, or that of the start page if it can't be returned to.
fn return_url(target: &Target<'_>, application: &TargetApplication) -> String {
    let origin = application.origin.as_str();
    let path = target.original.uri.map_or("/", OriginForm::as_str);
    let url = format!("{origin}{path}");
    if url.len() > return_to::MAX_LENGTH {
        format!("{origin}/")
    } else {
        url
    }
}

fn sign_in_url(app: &App, return_to: &str, state: &str) -> String {
    let issuer = app.config.issuer.as_str().trim_end_matches('/');
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("return_to", return_to)
        .append_pair("state", state)
        .finish();
    format!("{issuer}/sign-in?{query}")
}

/// Lets a check for an API answer a signed-out navigation with 401, `Location`, and the nonce
/// cookie. nginx can only respond with a redirect of its own.
pub fn offer_sign_in(request: &Request, target: &Target<'_>, error: &Error) {
    if target.application.is_none() {
        return;
    }
    let headers = DeferredHeaders::of(request);
    headers.set(header::VARY, HeaderValue::from_static(navigation::VARY));
    match Challenge::find(request, target, error) {
        Ok(Some(Challenge::SignIn { location })) => headers.set(header::LOCATION, location),
        Ok(_) => {}
        Err(error) => crate::http::openapi::problem::log(&error),
    }
}
