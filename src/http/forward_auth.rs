//! Forward-auth: a proxy asks, for each request that it has, whether it may pass, and who sends it.
//!
//! The proxy's question comes with any method, and some proxies append the path and the query of
//! the original request to ours. So every method is taken; the body is not read; and what stands
//! below the path is not looked at, because it is the client's, and client, proxy and we might each
//! read it differently.

mod demands;
mod identity;
mod original;

use std::sync::Arc;

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

use super::{
    Tag,
    caller::Asked,
    cookie::Jar,
    origin::ClientAddress,
    params::Param,
    problem::{Problem, problems},
};
use crate::{domain::access_token::Claims, gateway::Gateway};
use demands::{DemandedRole, DemandedScope, NothingElse};
pub use original::check;

/// Where proxies ask.
pub const PATH: &str = "/auth/verify";

/// Whose answer it is. The `Origin` is not named: for whom it matters, the cookie is there.
const VARY: HeaderValue = HeaderValue::from_static("Authorization, Cookie");

problems! {
    VerifyProblems: [TOKEN] Forbidden InsufficientScope Csrf;
}

/// Whether a proxy asks here: at the path itself, or below it.
pub fn is_asked(path: &str) -> bool {
    path.strip_prefix(PATH)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Forgets what a proxy appended to the path, and the query with it.
pub fn forget_original(uri: &mut Uri) {
    if uri.path() != PATH {
        *uri = Uri::from_static(PATH);
    }
}

/// Has every answer say who it is, were it nobody.
pub fn complete(headers: &mut HeaderMap) {
    identity::complete(headers);
}

/// Documents what is on every answer.
pub fn document(response: &mut Value) {
    identity::document(response);
}

/// 204 with the caller's identity.
pub struct Passes {
    claims: Arc<Claims>,
    assertion: Option<Arc<str>>,
}

impl IntoResponse for Passes {
    fn into_response(self) -> Response {
        let mut response = StatusCode::NO_CONTENT.into_response();
        identity::tell(
            response.headers_mut(),
            &self.claims,
            self.assertion.as_deref(),
        );
        response
    }
}

impl ApiResponse for Passes {
    fn meta() -> MetaResponses {
        let passes = MetaResponse {
            description: "The request may pass; the headers say whose it is.",
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
    /// May this request pass?
    ///
    /// For proxies, which ask with whatever method they like, here or at any path below (where the
    /// rest of the path and the query are those of the original request, and are not read). 204
    /// with the caller's identity in headers; every other answer means no, and has the same
    /// headers, empty. What is not printable ASCII in them is percent-encoded.
    ///
    /// An OAuth client passes only where a scope is demanded that its token has: it is no person,
    /// and `X-Auth-User` is its id.
    ///
    /// By cookie passes what changes nothing, as far as a trusted proxy says so
    /// (`X-Forwarded-Method`), and else what has an `Origin` equal to scheme and host of the
    /// original request (`X-Forwarded-Proto`, `X-Forwarded-Host`).
    #[oai(
        path = "/auth/verify",
        method = "get",
        operation_id = "verify",
        tag = "Tag::Gateway"
    )]
    // Each is a part of the request, by which the document knows it.
    #[allow(clippy::too_many_arguments)]
    async fn verify(
        &self,
        gateway: Data<&Arc<Gateway>>,
        request: &Request,
        _only: NothingElse,
        /// The role that the caller must have, else 403 `forbidden`.
        role: Param<DemandedRole>,
        /// What the token must be good for: one or more scopes with a space between them, else 403
        /// `insufficient_scope`.
        scope: Param<DemandedScope>,
        asked: Asked,
    ) -> Result<Passes, Problem<VerifyProblems>> {
        let (Param(role), Param(scope), Asked { claims, by_cookie }) = (role, scope, asked);
        role.check(&claims)?;
        scope.check(&claims)?;
        let ClientAddress(address) = *request.data().expect("the edge sets it");
        let slid = if by_cookie {
            gateway.slide(&claims, address).await
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
            Jar::of(request).put(&cookie);
        }
        Ok(Passes { claims, assertion })
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
            assert!(is_asked(uri.path()), "{below}");
            forget_original(&mut uri);
            assert_eq!(uri, "/auth/verify", "{below}");
        }
        let mut own = Uri::from_static("/auth/verify?role=admin");
        forget_original(&mut own);
        assert_eq!(own, "/auth/verify?role=admin");
        for other in [
            "/auth/verified",
            "/auth",
            "/auth/verify%2f",
            "/items/auth/verify",
            "/AUTH/VERIFY",
        ] {
            assert!(!is_asked(other), "{other}");
        }
    }
}
