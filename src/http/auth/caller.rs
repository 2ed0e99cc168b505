//! Who is calling: a handler that wants to know says so in its signature.
//!
//! A token comes as a bearer token or as the browser's cookie. With a bearer token the cookie is
//! not even read; what comes by cookie and changes something must come from a page that may ask for
//! it (`csrf.rs`).

mod schemes; // the security schemes of the OpenAPI document

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Holder},
    account::Role,
    scope::Scope,
};
use poem::{
    Request, RequestBody,
    http::{HeaderValue, header},
};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions, registry::Registry};

use crate::{
    app::{Gateway, SessionCredential},
    error::Error,
    http::{
        auth::{
            cookie::{self, SessionCookie},
            csrf,
        },
        forward_auth,
        middleware::{client_address::ClientAddress, response_headers::DeferredHeaders},
    },
};

/// Security scheme: a bearer token, pasted.
pub const BEARER: &str = "bearer";

/// Security scheme: a bearer token, obtained with username and password.
pub const PASSWORD: &str = "password";

/// Security scheme: a bearer token of an OAuth client, where clients have a scope of their own.
pub const CLIENT_CREDENTIALS: &str = "clientCredentials";

/// Security scheme: the session cookie.
pub const COOKIE: &str = "sessionCookie";

/// Whoever has a good token: a person, a program of one's, or a client.
pub struct Caller(pub Arc<Claims>);

/// Whom a proxy asks about. Nothing is signed anew here: not before it is known that the request
/// passes.
pub struct ForwardAuthSubject {
    /// What the token says, which is good at this moment.
    pub claims: Arc<Claims>,
    /// Whether it came as the browser's cookie.
    pub by_cookie: bool,
}

/// A caller who is signed in by cookie. For whoever is not, nothing is said but that.
pub struct Browser(pub Arc<Claims>);

/// The token that was sent, good or not: whoever signs out need not be signed in any more.
pub struct PresentedToken(pub Option<Token<String>>);

/// The cookies of ours that were sent, good or not, whatever else was.
pub struct PresentedCookies(pub Vec<String>);

/// A token by the way it came.
pub enum Token<T> {
    /// As `Authorization: Bearer`.
    Bearer(T),
    /// As the browser's cookie.
    Cookie(T),
}

impl<'a> Token<&'a str> {
    /// The token of the request. What would change something by cookie is refused if another site
    /// may have caused it.
    fn of(request: &'a Request) -> Result<Option<Token<&'a str>>, Error> {
        Token::guarded(request, csrf::check_unless_safe)
    }

    /// The same, where something else says what another site may have caused.
    fn guarded(
        request: &'a Request,
        guard: fn(&Request) -> Result<(), Error>,
    ) -> Result<Option<Token<&'a str>>, Error> {
        vary(request);
        if let Some(token) = bearer(request)? {
            return Ok(Some(Token::Bearer(token)));
        }
        let Some(cookie) = cookie::sent(request)? else {
            return Ok(None);
        };
        guard(request)?;
        Ok(Some(Token::Cookie(cookie)))
    }

    /// The token itself, for a handler.
    fn keep(self) -> Token<String> {
        match self {
            Token::Bearer(token) => Token::Bearer(token.to_owned()),
            Token::Cookie(token) => Token::Cookie(token.to_owned()),
        }
    }

    /// The claims, if it is good at this moment; and a cookie is signed anew when it is time for
    /// it.
    async fn call(self, request: &Request) -> Result<Arc<Claims>, Error> {
        let gateway = request.data::<Arc<Gateway>>().expect("the edge sets it");
        let claims = self.verify(gateway).await?;
        let ClientAddress(address) = *request.data().expect("the edge sets it");
        let slid = match self {
            Token::Bearer(_) => None,
            Token::Cookie(_) => gateway.renew_cookie(&claims, address).await,
        };
        let Some(cookie) = slid else {
            return Ok(claims);
        };
        SessionCookie::of(request).put(&cookie);
        Ok(cookie.claims.clone())
    }
}

impl<T: AsRef<str>> Token<T> {
    /// The claims, if it is good at this moment.
    pub async fn verify(&self, gateway: &Arc<Gateway>) -> Result<Arc<Claims>, Error> {
        match self {
            Token::Bearer(token) => gateway.verify(token.as_ref()).await,
            Token::Cookie(token) => gateway.verify_cookie(token.as_ref()).await,
        }
    }
}

impl Token<String> {
    /// As what shows which session is to end.
    pub fn into_credential(self) -> SessionCredential {
        let (Token::Bearer(token) | Token::Cookie(token)) = self;
        SessionCredential::Access(token)
    }
}

/// Whatever the answer turns out to be, it is for this caller.
fn vary(request: &Request) {
    DeferredHeaders::of(request).set(
        header::VARY,
        HeaderValue::from_static("Authorization, Cookie"),
    );
}

/// The bearer token of the request (RFC 6750 section 2.1). Another scheme counts as none; two
/// fields are ambiguous.
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

/// Declares how a credential is taken out of a request, and what the document says of it.
macro_rules! security {
    ($name:ident, $schemes:expr, fallback $fallback:literal, |$request:ident| $read:expr) => {
        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                schemes::register(registry);
            }

            /// The framework writes several as alternatives, as they are meant here.
            fn security_schemes() -> Vec<&'static str> {
                $schemes
            }

            fn has_security_fallback() -> bool {
                $fallback
            }

            async fn from_request(
                $request: &'a Request,
                _: &mut RequestBody,
                _: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                Ok($read)
            }
        }
    };
}

security!(Caller, vec![BEARER, PASSWORD, COOKIE], fallback false, |request| {
    let token = Token::of(request)?.ok_or(Error::Unauthenticated)?;
    Caller(token.call(request).await?)
});

security!(ForwardAuthSubject, vec![BEARER, PASSWORD, COOKIE], fallback false, |request| {
    let token = Token::guarded(request, forward_auth::check)?.ok_or(Error::Unauthenticated)?;
    let gateway = request.data::<Arc<Gateway>>().expect("the edge sets it");
    ForwardAuthSubject { claims: token.verify(gateway).await?, by_cookie: matches!(token, Token::Cookie(_)) }
});

security!(Browser, vec![COOKIE], fallback false, |request| {
    let token = Token::of(request)?.filter(|token| matches!(token, Token::Cookie(_)));
    let claims = token.ok_or(Error::NoBrowserSession)?.call(request).await;
    Browser(claims.map_err(Browser::refusal)?)
});

// A refresh token in the body does as well.
security!(PresentedToken, vec![BEARER, PASSWORD, COOKIE], fallback true, |request| {
    PresentedToken(Token::of(request)?.map(Token::keep))
});

// Who has none any more is signed out already.
security!(PresentedCookies, vec![COOKIE], fallback true, |request| {
    vary(request);
    PresentedCookies(cookie::all_sent(request))
});

impl Browser {
    /// A page only wants to know whether somebody is signed in, whatever the reason is why nobody
    /// is.
    pub fn refusal(error: Error) -> Error {
        match error {
            Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked => {
                Error::NoBrowserSession
            }
            other => other,
        }
    }
}

/// Declares who may call an operation, by the scope that the token needs; and the scheme's name
/// with that scope behind it, which the document takes apart again (`document/security.rs`).
macro_rules! callers {
    ($(
        $(#[doc = $doc:literal])*
        $name:ident $scope:ident $scheme:literal, |$claims:ident| $allowed:expr, else $denied:expr;
    )*) => {$(
        $(#[doc = $doc])*
        pub struct $name(pub Arc<Claims>);

        impl<'a> ApiExtractor<'a> for $name {
            const TYPES: &'static [ApiExtractorType] = Caller::TYPES;
            type ParamType = ();
            type ParamRawType = ();

            fn register(registry: &mut Registry) {
                Caller::register(registry);
            }

            fn security_schemes() -> Vec<&'static str> {
                vec![BEARER, $scheme, COOKIE]
            }

            async fn from_request(
                request: &'a Request,
                body: &mut RequestBody,
                options: ExtractParamOptions<()>,
            ) -> poem::Result<Self> {
                let Caller($claims) = Caller::from_request(request, body, options).await?;
                if !$allowed {
                    return Err($denied.into());
                }
                require_scope(&$claims, Scope::$scope)?;
                Ok($name($claims))
            }
        }
    )*};
}

callers! {
    /// A person, or a program of one's, who may read the own account.
    ReadUser UserRead "password user:read",
        |claims| is_user(&claims), else user_required();
    /// A person, or a program of one's, who may change the own account.
    WriteUser UserWrite "password user:write",
        |claims| is_user(&claims), else user_required();
    /// A person who has signed in, for what no program is to do.
    InteractiveUser UserWrite "password user:write",
        |claims| claims.sid.is_some(), else Error::session_required();
    /// A person, or a program of one's, who may read the own items.
    ReadItems ItemsRead "password items:read",
        |claims| is_user(&claims), else user_required();
    /// A person, or a program of one's, who may change the own items.
    WriteItems ItemsWrite "password items:write",
        |claims| is_user(&claims), else user_required();
    /// Somebody who administers everybody. The claims are those of a live token: another role would
    /// have ended it.
    Admin Admin "password admin",
        |claims| claims.roles.contains(&Role::Admin), else admin_required();
}

/// Refuses a token that may not be used for this (RFC 6750 section 3.1).
pub fn require_scope(claims: &Claims, scope: Scope) -> Result<(), Error> {
    if claims.permits(scope) {
        Ok(())
    } else {
        Err(Error::InsufficientScope(scope.as_str().into()))
    }
}

/// The error of operations for users.
pub fn user_required() -> Error {
    Error::Forbidden("This operation requires a user; OAuth clients can't use it.".into())
}

/// The error of operations for administrators.
pub fn admin_required() -> Error {
    Error::role_required(Role::Admin.as_str())
}

/// A client has no account and no items.
fn is_user(claims: &Claims) -> bool {
    match claims.holder() {
        Holder::User { .. } | Holder::PersonalAccessToken => true,
        Holder::Client => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[&str]) -> Result<Option<String>, Error> {
        let request = fields.iter().fold(Request::builder(), |builder, field| {
            builder.header(header::AUTHORIZATION, *field)
        });
        bearer(&request.finish()).map(|token| token.map(str::to_owned))
    }

    #[test]
    fn only_one_bearer_token_counts() {
        assert_eq!(read(&["bEaReR  abc"]).unwrap().as_deref(), Some("abc"));
        assert_eq!(read(&["Basic abc"]).unwrap(), None);
        assert_eq!(read(&["Bearer"]).unwrap(), None);
        assert!(read(&["Bearer a", "Bearer b"]).is_err());
    }
}
