//! Authentication of the caller. A handler requests it with an extractor in its signature.
//!
//! The access token arrives as a bearer token or in the session cookie. The cookie is read only if
//! the request has no bearer token. A state-changing request with a cookie must also pass the CSRF
//! check (`csrf.rs`).

mod schemes; // the security schemes of the OpenAPI document

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Holder},
    account::Role,
    scope::Scope,
};
use poem::{
    Request,
    http::{HeaderValue, header},
};
use poem_openapi::registry::Registry;

use crate::{
    app::{App, sessions::sign_out::SessionCredential},
    error::Error,
    http::{
        auth::{
            cookie::{self, SessionCookie},
            csrf,
        },
        context::{client_address::ClientAddress, response_headers::DeferredHeaders},
        openapi::security::{Credential, Requirement, credential_extractors},
    },
};

/// Security scheme: an existing access token or personal access token.
pub const BEARER: &str = "bearer";

/// Security scheme: an access token, requested with username and password.
pub const PASSWORD: &str = "password";

/// Security scheme: the access token of an OAuth client, for operations that clients can use.
pub const CLIENT_CREDENTIALS: &str = "clientCredentials";

/// Security scheme: the session cookie.
pub const COOKIE: &str = "sessionCookie";

/// A caller with a valid session cookie. Every invalid, expired, or revoked token returns the same
/// error.
pub struct BrowserCaller(pub Arc<Claims>);

/// The token of the request, not verified. A sign-out also accepts a token that is no longer
/// valid.
pub struct PresentedToken(pub Option<Token<String>>);

/// Values of all session cookies of the request, not verified. They are read even if the request
/// has a bearer token.
pub struct PresentedCookies(pub Vec<String>);

/// A token and its source.
pub enum Token<T> {
    /// From `Authorization: Bearer`.
    Bearer(T),
    /// From the session cookie.
    Cookie(T),
}

impl<'a> Token<&'a str> {
    /// Returns the token of the request. A state-changing request with a cookie must pass the CSRF
    /// check.
    async fn read(request: &'a Request) -> Result<Option<Token<&'a str>>, Error> {
        Token::read_guarded(request, csrf::check_unless_safe).await
    }

    /// Like `read`, with another guard for tokens from the cookie.
    pub async fn read_guarded(
        request: &'a Request,
        guard: impl FnOnce(&Request) -> Result<(), Error>,
    ) -> Result<Option<Token<&'a str>>, Error> {
        set_vary(request);
        if let Some(token) = bearer(request)? {
            return Ok(Some(Token::Bearer(token)));
        }
        let Some(cookie) = cookie::read_value(request).await? else {
            return Ok(None);
        };
        guard(request)?;
        Ok(Some(Token::Cookie(cookie)))
    }

    fn into_owned(self) -> Token<String> {
        match self {
            Token::Bearer(token) => Token::Bearer(token.to_owned()),
            Token::Cookie(token) => Token::Cookie(token.to_owned()),
        }
    }

    /// Verifies the token and returns its claims. A session cookie that is due is renewed.
    async fn authenticate(self, request: &Request) -> Result<Arc<Claims>, Error> {
        let app = request
            .data::<Arc<App>>()
            .expect("the request middleware sets it");
        let claims = self.verify(app).await?;
        let ClientAddress(address) = *request.data().expect("the request middleware sets it");
        let renewed = match self {
            Token::Bearer(_) => None,
            Token::Cookie(_) => app.sessions.renew_cookie(&claims, address).await,
        };
        let Some(cookie) = renewed else {
            return Ok(claims);
        };
        SessionCookie::of(request).put(&cookie);
        Ok(cookie.claims.clone())
    }
}

impl<T: AsRef<str>> Token<T> {
    /// Verifies the token and returns its claims.
    pub async fn verify(&self, app: &Arc<App>) -> Result<Arc<Claims>, Error> {
        match self {
            Token::Bearer(token) => app.tokens.verify(token.as_ref()).await,
            Token::Cookie(token) => app.tokens.verify_cookie(token.as_ref()).await,
        }
    }
}

impl Token<String> {
    /// Converts the token to a credential that identifies the session to revoke.
    pub fn into_credential(self) -> SessionCredential {
        let (Token::Bearer(token) | Token::Cookie(token)) = self;
        SessionCredential::Access(token)
    }
}

/// Every response depends on the caller, so a cache must not reuse it for another caller.
fn set_vary(request: &Request) {
    DeferredHeaders::of(request).set(
        header::VARY,
        HeaderValue::from_static("Authorization, Cookie"),
    );
}

/// Returns the bearer token of the request (RFC 6750 section 2.1).
///
/// Another scheme counts as no token. Two `Authorization` headers are ambiguous, so they return an
/// error.
pub fn bearer(request: &Request) -> Result<Option<&str>, Error> {
    let mut fields = request.headers().get_all(header::AUTHORIZATION).iter();
    let (first, second) = (fields.next(), fields.next());
    if second.is_some() {
        return Err(Error::invalid_field("Authorization", "is duplicated"));
    }
    let Some(field) = first else { return Ok(None) };
    let Some((scheme, token)) = field.to_str().ok().and_then(|field| field.split_once(' ')) else {
        return Ok(None);
    };
    Ok(scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim_matches(' ')))
}

credential_extractors!(BrowserCaller, PresentedToken, PresentedCookies);

/// Requirements of an operation that accepts every token.
pub const ANY_TOKEN: &[Requirement] = &[
    Requirement::scheme(BEARER),
    Requirement::scheme(PASSWORD),
    Requirement::scheme(COOKIE),
];

impl Credential for BrowserCaller {
    const REQUIREMENTS: &'static [Requirement] = &[Requirement::scheme(COOKIE)];

    async fn extract(request: &Request) -> Result<Self, Error> {
        let token = Token::read(request).await?;
        let token = token.filter(|token| matches!(token, Token::Cookie(_)));
        let token = token.ok_or(Error::NoBrowserSession)?;
        let claims = token.authenticate(request).await;
        Ok(BrowserCaller(
            claims.map_err(BrowserCaller::hide_token_error)?,
        ))
    }
}

impl Credential for PresentedToken {
    const REQUIREMENTS: &'static [Requirement] = ANY_TOKEN;

    /// The body of a sign-out can contain a refresh token instead.
    const IS_OPTIONAL: bool = true;

    async fn extract(request: &Request) -> Result<Self, Error> {
        let token = Token::read(request).await?;
        Ok(PresentedToken(token.map(Token::into_owned)))
    }
}

impl Credential for PresentedCookies {
    const REQUIREMENTS: &'static [Requirement] = &[Requirement::scheme(COOKIE)];

    /// A browser without a session cookie is already signed out.
    const IS_OPTIONAL: bool = true;

    async fn extract(request: &Request) -> Result<Self, Error> {
        set_vary(request);
        Ok(PresentedCookies(cookie::read_all_values(request)?))
    }
}

/// Adds all security schemes to the OpenAPI document.
pub fn register_schemes(registry: &mut Registry) {
    schemes::register(registry);
}

impl BrowserCaller {
    /// Maps every token error to `NoBrowserSession`. For a page, each of them means that the user
    /// is signed out.
    pub fn hide_token_error(error: Error) -> Error {
        match error {
            Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked => {
                Error::NoBrowserSession
            }
            other => other,
        }
    }
}

/// Returns the claims of the session cookie for a page. Every invalid, expired, or revoked token
/// returns the same error. The forms of pages have their own check against cross-site requests
/// (`form_csrf.rs`).
pub async fn authenticate_page(request: &Request) -> Result<Arc<Claims>, Error> {
    let cookie = cookie::read_value(request).await?;
    let cookie = cookie.ok_or(Error::NoBrowserSession)?;
    let claims = Token::Cookie(cookie).authenticate(request).await;
    claims.map_err(BrowserCaller::hide_token_error)
}

/// Returns the claims of a user, a personal access token, or an OAuth client.
pub async fn authenticate(request: &Request) -> Result<Arc<Claims>, Error> {
    let token = Token::read(request).await?;
    let token = token.ok_or(Error::Unauthenticated)?;
    token.authenticate(request).await
}

/// Declares callers that must have a scope. The documented scope is thus always the enforced one.
macro_rules! callers {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident $scope:ident, |$claims:ident| $allowed:expr, else $denied:expr;
    )*) => {
        $(
            $(#[doc = $doc])*
            pub struct $name(pub Arc<Claims>);

            impl Credential for $name {
                const REQUIREMENTS: &'static [Requirement] = &[
                    Requirement::scheme(BEARER),
                    Requirement::scope(PASSWORD, Scope::$scope),
                    Requirement::scheme(COOKIE),
                ];

                async fn extract(request: &Request) -> Result<Self, Error> {
                    let $claims = authenticate(request).await?;
                    if !$allowed {
                        return Err($denied);
                    }
                    require_scope(&$claims, Scope::$scope)?;
                    Ok($name($claims))
                }
            }
        )*

        credential_extractors!($($name),*);
    };
}

callers! {
    /// A user or a personal access token that can read the current user.
    ReadUser UserRead, |claims| is_user(&claims), else user_required();
    /// A user or a personal access token that can change the current user.
    WriteUser UserWrite, |claims| is_user(&claims), else user_required();
    /// A user with a session. Personal access tokens are rejected.
    InteractiveUser UserWrite, |claims| claims.sid.is_some(), else Error::session_required();
    /// A user with a session that can read the current user. Personal access tokens are rejected.
    InteractiveReader UserRead, |claims| claims.sid.is_some(), else Error::session_required();
    /// A user or a personal access token that can read the items of the current user.
    ReadItems ItemsRead, |claims| is_user(&claims), else user_required();
    /// A user or a personal access token that can change the items of the current user.
    WriteItems ItemsWrite, |claims| is_user(&claims), else user_required();
    /// An administrator. The role in the claims is current, because a change of the role revokes
    /// the token.
    Admin Admin, |claims| claims.roles.contains(&Role::Admin), else admin_required();
}

/// Returns `insufficient_scope` if the token lacks the scope (RFC 6750 section 3.1).
pub fn require_scope(claims: &Claims, scope: Scope) -> Result<(), Error> {
    if claims.permits(scope) {
        Ok(())
    } else {
        Err(Error::InsufficientScope(scope.as_str().into()))
    }
}

/// The error of operations that require a user.
pub fn user_required() -> Error {
    Error::Forbidden("This operation requires a user; OAuth clients can't use it.".into())
}

/// The error of operations that require an administrator.
pub fn admin_required() -> Error {
    Error::role_required(Role::Admin)
}

/// An OAuth client has neither a user nor items.
fn is_user(claims: &Claims) -> bool {
    match claims.holder() {
        Holder::User { .. } | Holder::PersonalAccessToken => true,
        Holder::Client => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_bearer(fields: &[&str]) -> Result<Option<String>, Error> {
        let request = fields.iter().fold(Request::builder(), |builder, field| {
            builder.header(header::AUTHORIZATION, *field)
        });
        bearer(&request.finish()).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn bearer_token_is_read_from_one_header() {
        assert_eq!(
            read_bearer(&["bEaReR  abc"]).unwrap().as_deref(),
            Some("abc")
        );
        assert_eq!(read_bearer(&["Basic abc"]).unwrap(), None);
        assert_eq!(read_bearer(&["Bearer"]).unwrap(), None);
        assert!(read_bearer(&["Bearer a", "Bearer b"]).is_err());
    }
}
