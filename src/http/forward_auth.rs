//! Forward authentication: a proxy checks each of its requests here and gets the identity of the
//! caller.
//!
//! The proxy's question comes with any method, and some proxies append the path and the query of
//! the original request to ours. So every method is taken; the body is not read; and what stands
//! below the path is not looked at, because it is the client's, and client, proxy and we might each
//! read it differently.

mod identity;
mod original;
mod requirements;

use std::sync::Arc;

use latchkey_domain::access_token::Claims;
use poem::{
    IntoResponse, Request, Response,
    http::{HeaderMap, HeaderValue, StatusCode, Uri},
    web::Data,
};
use poem_openapi::{
    ApiResponse, OpenApi,
    registry::{MetaResponse, MetaResponses, Registry},
};
use serde_json::Value;

use super::Tag;
use crate::{
    app::Gateway,
    http::{
        auth::{caller::ForwardAuthSubject, cookie::SessionCookie},
        forward_auth::requirements::{DenyUnknownQuery, RequiredRole, RequiredScopes},
        middleware::client_address::ClientAddress,
        openapi::{
            params::Param,
            problem::{Problem, problems},
        },
    },
};
pub use original::check;

/// Where proxies ask.
pub const PATH: &str = "/auth/verify";

/// Whose answer it is. The `Origin` is not named: for whom it matters, the cookie is there.
const VARY: HeaderValue = HeaderValue::from_static("Authorization, Cookie");

problems! {
    VerifyProblems: [TOKEN] Forbidden InsufficientScope Csrf;
}

/// Whether a proxy asks here: at the path itself, or below it.
pub fn is_verify_path(path: &str) -> bool {
    path.strip_prefix(PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Forgets what a proxy appended to the path, and the query with it.
pub fn strip_forwarded_path(uri: &mut Uri) {
    if uri.path() != PATH {
        *uri = Uri::from_static(PATH);
    }
}

/// Has every answer say who it is, were it nobody.
pub fn ensure_identity_headers(headers: &mut HeaderMap) {
    identity::ensure_identity_headers(headers);
}

/// Documents what is on every answer.
pub fn document(response: &mut Value) {
    identity::document(response);
}

/// 204 with the caller's identity.
pub struct Verified {
    claims: Arc<Claims>,
    assertion: Option<Arc<str>>,
}

impl IntoResponse for Verified {
    fn into_response(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        identity::write_identity_headers(
            response.headers_mut(),
            &self.claims,
            self.assertion.as_deref(),
        );
        response
    }
}

impl ApiResponse for Verified {
    fn meta() -> MetaResponses {
        let passes = MetaResponse {
            description: "The request is authenticated. The headers contain the caller's identity.",
            status: Some(204),
            status_range: None,
            content: Vec::new(),
            headers: Vec::new(),
        };
        MetaResponses {
            responses: vec![passes],
        }
    }

    fn register(_: &mut Registry) {}
}

/// The operation.
pub struct ForwardAuthApi;

#[OpenApi]
impl ForwardAuthApi {
    /// Authenticate a request (forward auth)
    ///
    /// Returns 204 and identity headers if the credential is valid and has the required role and
    /// scopes; any other status denies the request.
    ///
    /// A reverse proxy calls this operation for each request that it receives, with any method. The proxy
    /// can append the path and query of the original request (`/auth/verify/…`); they are ignored.
    /// Every response contains all identity headers, empty if not applicable, so that the proxy
    /// overwrites headers that the client sent. Their values are percent-encoded, except for printable
    /// ASCII characters. Unknown query parameters return 400.
    ///
    /// OAuth clients are allowed only if `scope` is set and their token has these scopes;
    /// `X-Auth-User` then contains the client ID.
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
    // Each is a part of the request, by which the document knows it.
    #[allow(clippy::too_many_arguments)]
    async fn verify(
        &self,
        gateway: Data<&Arc<Gateway>>,
        request: &Request,
        _only: DenyUnknownQuery,
        /// Required role. If the user doesn't have this role, the response is 403 `forbidden`.
        /// Default: any role.
        role: Param<RequiredRole>,
        /// Required scopes, separated by spaces. If the token lacks one, the response is 403
        /// `insufficient_scope`. Default: none.
        scope: Param<RequiredScopes>,
        asked: ForwardAuthSubject,
    ) -> Result<Verified, Problem<VerifyProblems>> {
        let (Param(role), Param(scope), ForwardAuthSubject { claims, by_cookie }) =
            (role, scope, asked);
        role.check(&claims)?;
        scope.check(&claims)?;
        let ClientAddress(address) = *request.data().expect("the edge sets it");
        let slid = if by_cookie {
            gateway.renew_cookie(&claims, address).await
        } else {
            None
        };
        let claims = slid.as_ref().map_or(claims, |cookie| cookie.claims.clone());
        let upstream = if gateway.config().identity_assertions.0 {
            original::asserted_upstream(request)
        } else {
            None
        };
        let assertion = match upstream {
            // Rare, and large: no check needs to have room for it.
            Some(upstream) => Some(Box::pin(gateway.assert_identity(&claims, upstream)).await?),
            None => None,
        };
        // Last: a refusal hands none out.
        if let Some(cookie) = slid {
            SessionCookie::of(request).put(&cookie);
        }
        Ok(Verified { claims, assertion })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_below_the_path_is_forgotten() {
        for below in [
            "/auth/verify/",
            "/auth/verify/?role=x&role=y",
            "/auth/verify/items/1?a=b",
            "/auth/verify//..;/%00",
        ] {
            let mut uri: Uri = below.parse().unwrap();
            assert!(is_verify_path(uri.path()), "{below}");
            strip_forwarded_path(&mut uri);
            assert_eq!(uri, "/auth/verify", "{below}");
        }
        let mut own = Uri::from_static("/auth/verify?role=admin");
        strip_forwarded_path(&mut own);
        assert_eq!(own, "/auth/verify?role=admin");
        for other in [
            "/auth/verified",
            "/auth",
            "/auth/verify%2f",
            "/items/auth/verify",
            "/AUTH/VERIFY",
        ] {
            assert!(!is_verify_path(other), "{other}");
        }
    }
}
