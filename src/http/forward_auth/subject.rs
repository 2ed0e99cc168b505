//! The caller of the original request: a token, an application cookie, or a session cookie.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    web_origin::{WebOrigin, WebOriginRef},
};
use poem::{Request, http::HeaderValue};

use super::{
    original,
    requirements::{self, Requirements},
    target::Target,
};
use crate::{
    app::{App, sessions::issue::Cookie},
    error::Error,
    http::{
        auth::{
            application_cookie::ApplicationCookies,
            caller::{self, Token},
            cookie::{self, SessionCookie},
        },
        context::{client_address::ClientAddress, response_headers::DeferredHeaders},
        forward_auth::Verified,
    },
};

/// Subject of a forward authentication check. The cookie is renewed only after the check passes.
pub struct ForwardAuthSubject {
    /// Claims of the token, verified for this request.
    claims: Arc<Claims>,
    source: Source,
    /// The audience of an identity assertion; `None` if the response contains none.
    upstream: Option<WebOrigin>,
}

/// Where the token came from.
enum Source {
    Bearer,
    SessionCookie,
    ApplicationCookie(ApplicationCookies),
}

impl ForwardAuthSubject {
    /// Verifies the credential of the request: a bearer token takes precedence over the application
    /// cookie, and that over the session cookie. Checks the requirements of the application.
    ///
    /// # Errors
    /// `unauthenticated`, `invalid_token`, `token_expired`, `token_revoked`, `csrf`, `forbidden`,
    /// `insufficient_scope`, `busy`, `unavailable`.
    pub async fn authenticate(
        request: &Request,
        target: &Target<'_>,
    ) -> Result<ForwardAuthSubject, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        target.require_known()?;
        let (claims, source) = verify(app, request, target).await?;
        if let Some(application) = &target.application {
            requirements::require(&application.row.requirement, &claims)?;
        }
        let upstream = if app.config.identity_assertions.0 {
            original::assertion_upstream(&target.original).map(WebOriginRef::to_web_origin)
        } else {
            None
        };
        Ok(ForwardAuthSubject {
            claims,
            source,
            upstream,
        })
    }

    /// Checks the requirements of the check, and returns the response.
    ///
    /// # Errors
    /// `forbidden`, `insufficient_scope`, `internal`, `unavailable`.
    pub async fn authorize(
        self,
        request: &Request,
        requirements: &Requirements,
    ) -> Result<Verified, Error> {
        let app: &Arc<App> = request.data().expect("the request middleware sets it");
        requirements.check(&self.claims)?;
        let ClientAddress(address) = *request.data().expect("the request middleware sets it");
        let renewed_cookie = match &self.source {
            Source::Bearer => None,
            _cookie => app.sessions.renew_cookie(&self.claims, address).await,
        };
        let claims = renewed_cookie
            .as_ref()
            .map_or(self.claims, |cookie| cookie.claims.clone());
        let assertion = match self.upstream {
            // Boxed, because the future is large and most checks don't need it.
            Some(upstream) => Some(Box::pin(app.tokens.assert_identity(&claims, upstream)).await?),
            None => None,
        };
        // Set last, so that an error response doesn't contain the renewed cookie.
        if let Some(cookie) = renewed_cookie {
            put(app, request, &self.source, &cookie);
        }
        Ok(Verified {
            claims,
            assertion,
            cookies: application_cookies(request, requirements),
        })
    }
}

/// Verifies the credential that takes precedence.
async fn verify(
    app: &Arc<App>,
    request: &Request,
    target: &Target<'_>,
) -> Result<(Arc<Claims>, Source), Error> {
    if let (None, Some(application)) = (caller::bearer(request)?, &target.application) {
        let cookies = ApplicationCookies::at(&application.origin, &app.cookie_names);
        if let Some(token) = cookies.read_token(request) {
            original::check(request, &target.original)?;
            let tokens = &app.tokens;
            let verified = tokens.verify_application_token(token, &application.origin);
            return Ok((verified.await?, Source::ApplicationCookie(cookies)));
        }
    }
    let guard = |request: &Request| original::check(request, &target.original);
    let token = Token::read_guarded(request, guard)
        .await?
        .ok_or(Error::Unauthenticated)?;
    let claims = token.verify(app).await?;
    let source = match token {
        Token::Bearer(_) => Source::Bearer,
        Token::Cookie(_) => Source::SessionCookie,
    };
    Ok((claims, source))
}

fn put(app: &App, request: &Request, source: &Source, cookie: &Cookie) {
    match source {
        Source::Bearer => {}
        Source::SessionCookie => SessionCookie::of(request).put(cookie),
        Source::ApplicationCookie(cookies) => {
            let headers = DeferredHeaders::of(request);
            cookies.put_token(headers, cookie, app.sessions.cookie_max_age(cookie));
        }
    }
}

fn application_cookies(request: &Request, requirements: &Requirements) -> Option<HeaderValue> {
    requirements
        .strips_cookies
        .then(|| cookie::without_own(request))
        .flatten()
}
