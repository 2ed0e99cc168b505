//! Forward authentication: a reverse proxy checks each request here and receives the identity of
//! the caller.
//!
//! A proxy can send the check with any method, so the server accepts all methods and doesn't read
//! the body. Some proxies append the path and query of the original request. The server ignores
//! them, because the client controls them, and the proxy might parse them differently.

pub mod challenge;
mod identity;
pub mod navigation;
mod original;
pub mod requirements;
pub mod subject;
mod target;

use std::sync::Arc;

use latchkey_domain::access_token::Claims;
use poem::{
    IntoResponse, Request, Response,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
};
use poem_openapi::{
    ApiResponse, OpenApi,
    registry::{MetaResponse, MetaResponses, Registry},
};
use serde_json::Value;

use crate::{
    error::Error,
    http::{
        Tag,
        auth::caller::ANY_TOKEN,
        openapi::{
            params::Param,
            problem::{Problem, problems},
            security::{Credential, Requirement, credential_extractors},
        },
    },
};
pub use original::ORIGIN_REQUIRED;
use requirements::{
    DenyUnknownQuery, RequiredGroups, RequiredRole, RequiredScopes, Requirements, StripCookies,
};
use subject::ForwardAuthSubject;
pub use target::Target;

credential_extractors!(ForwardAuthSubject);

impl Credential for ForwardAuthSubject {
    const REQUIREMENTS: &'static [Requirement] = ANY_TOKEN;

    async fn extract(request: &Request) -> Result<Self, Error> {
        let target = Target::read(request)?;
        let subject = ForwardAuthSubject::authenticate(request, &target).await;
        if let Err(error) = &subject {
            challenge::offer_sign_in(request, &target, error);
        }
        subject
    }
}

/// Path of the check for APIs, and for proxies that redirect on their own.
pub const API_PATH: &str = "/auth/verify";

/// Path of the check for pages.
pub const PAGE_PATH: &str = "/auth/page";

/// `Vary` of error responses. `Origin` is omitted, because it only affects requests with a cookie.
const VARY: HeaderValue = HeaderValue::from_static("Authorization, Cookie");

problems! {
    VerifyProblems: [TOKEN] Forbidden InsufficientScope Csrf;
}

/// Whether the path is that of a check, or below it.
pub fn is_verify_path(path: &str) -> bool {
    base_path(path).is_some()
}

fn base_path(path: &str) -> Option<&'static str> {
    [API_PATH, PAGE_PATH].into_iter().find(|base| {
        path.strip_prefix(base)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Removes the path and query of the original request, if the proxy appended them.
pub fn strip_forwarded_path(uri: &mut Uri) {
    if let Some(base) = base_path(uri.path())
        && uri.path() != base
    {
        *uri = Uri::from_static(base);
    }
}

/// Adds missing identity headers to an error response, with empty values.
pub fn ensure_identity_headers(headers: &mut HeaderMap) {
    identity::ensure_identity_headers(headers);
}

/// Documents the identity headers of a response.
pub fn document(response: &mut Value) {
    identity::document(response);
}

/// Response 204 with the identity headers of the caller.
pub struct Verified {
    claims: Arc<Claims>,
    assertion: Option<Arc<str>>,
    /// The cookies of the application, if the proxy asks for them.
    cookies: Option<HeaderValue>,
}

impl IntoResponse for Verified {
    fn into_response(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        identity::write_identity_headers(
            response.headers_mut(),
            &self.claims,
            self.assertion.as_deref(),
        );
        if let Some(cookies) = self.cookies {
            response.headers_mut().insert(header::COOKIE, cookies);
        }
        response
    }
}

impl ApiResponse for Verified {
    fn meta() -> MetaResponses {
        let verified = MetaResponse {
            description: "The request is authenticated. The headers contain the caller's identity.",
            status: Some(204),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        MetaResponses {
            responses: vec![verified],
        }
    }

    fn register(_: &mut Registry) {}
}

pub struct ForwardAuthApi;

#[OpenApi]
impl ForwardAuthApi {
    /// Authenticate a request (forward auth)
    ///
    /// Returns 204 and identity headers if the credential is valid and has the required role,
    /// scopes, and group; any other status denies the request.
    ///
    /// A reverse proxy calls this operation for each request that it receives, with any method. The
    /// proxy can append the path and query of the original request (`/auth/verify/…`); they are
    /// ignored. Every response contains all identity headers, empty if not applicable, so that the
    /// proxy overwrites headers that the client sent. Their values are percent-encoded UTF-8,
    /// except for printable ASCII characters other than `%`. Unknown query parameters return 400.
    ///
    /// OAuth clients are allowed only if `scope` is set and their token has these scopes;
    /// `X-Auth-User` then contains the client ID. A check with `group` always rejects them.
    ///
    /// With a session cookie, a trusted proxy must send the original request in
    /// `X-Forwarded-Method`, `X-Forwarded-Proto`, and `X-Forwarded-Host`. `GET`, `HEAD`, and
    /// `OPTIONS` are allowed without further checks. Other methods and WebSocket requests require
    /// an `Origin` equal to the scheme and host of the original request (403 `csrf`).
    #[oai(
        path = "/auth/verify",
        method = "get",
        operation_id = "verifyRequest",
        tag = "Tag::ForwardAuthentication"
    )]
    // poem-openapi derives the parameters of the operation from the arguments.
    #[allow(clippy::too_many_arguments)]
    async fn verify_request(
        &self,
        request: &Request,
        _only: DenyUnknownQuery,
        /// Required role, compared exactly: `user` rejects administrators. With another role, the
        /// response is 403 `forbidden`. Default: any role.
        role: Param<RequiredRole>,
        /// Required scopes, separated by spaces. If the token lacks one, the response is 403
        /// `insufficient_scope`. Default: none.
        scope: Param<RequiredScopes>,
        /// Groups, separated by spaces. If the user isn't in at least one of them, the response is
        /// 403 `forbidden`. Default: none.
        group: Param<RequiredGroups>,
        /// `strip`: the response contains the header `Cookie` with the cookies of the request, except
        /// those of this server. For a proxy that replaces the header of the original request by it.
        /// Without other cookies, the header is absent. Default: no such header.
        cookies: Param<StripCookies>,
        subject: ForwardAuthSubject,
    ) -> Result<Verified, Problem<VerifyProblems>> {
        let requirements = Requirements::new(role.0, scope.0, group.0, cookies.0);
        Ok(subject.authorize(request, &requirements).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_path_and_query_are_ignored() {
        for appended in [
            "/auth/verify/",
            "/auth/verify/?role=x&role=y",
            "/auth/verify/items/1?a=b",
            "/auth/verify//..;/%00",
        ] {
            let mut uri: Uri = appended.parse().unwrap();
            assert!(is_verify_path(uri.path()), "{appended}");
            strip_forwarded_path(&mut uri);
            assert_eq!(uri, "/auth/verify", "{appended}");
        }
        let mut direct = Uri::from_static("/auth/verify?role=admin");
        strip_forwarded_path(&mut direct);
        assert_eq!(direct, "/auth/verify?role=admin");
        let mut page: Uri = "/auth/page/a?role=user".parse().unwrap();
        strip_forwarded_path(&mut page);
        assert_eq!(page, "/auth/page");
        for other in [
            "/auth/verified",
            "/auth/pages",
            "/auth",
            "/auth/verify%2f",
            "/items/auth/verify",
            "/AUTH/VERIFY",
        ] {
            assert!(!is_verify_path(other), "{other}");
        }
    }
}
