//! Browser sessions: sign-in, check, and sign-out with one HttpOnly cookie. Responses contain no
//! tokens.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{Gateway, SessionCredential, revocation::WaitFor},
    error::Error,
    http::{
        Tag,
        api::{
            authentication::{Login, SignInRequest},
            responses::{BrowserSessionResponse, RevocationResponse},
            schemas::BrowserSessionSchema,
        },
        auth::{
            caller::{Browser, PresentedCookies},
            cookie::SessionCookie,
            csrf::FromPage,
        },
        middleware::client_address::ClientOrigin,
        openapi::{
            body::Body,
            params::Param,
            problem::{Problem, problems},
        },
    },
};

problems! {
    OpenProblems: [BODY] InvalidCredentials TooManyRequests;
    StateProblems: [] Unauthenticated;
    CloseProblems: [];
}

/// The operations.
pub struct BrowserApi;

#[OpenApi]
impl BrowserApi {
    /// Create a browser session
    ///
    /// Signs in and sets an HttpOnly session cookie; the response contains no tokens.
    ///
    /// Requires `X-Latchkey-Request: 1`. The cookie expires after 10 minutes without a request by
    /// default (`LATCHKEY_COOKIE_IDLE_TIMEOUT`) and with the session at the latest. Requests renew
    /// it.
    #[oai(
        path = "/session",
        method = "post",
        operation_id = "createBrowserSession",
        tag = "Tag::Authentication"
    )]
    async fn open(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _page: FromPage,
        jar: SessionCookie,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<SignInRequest>,
    ) -> Result<BrowserSessionResponse, Problem<OpenProblems>> {
        let Login {
            name,
            password,
            scopes: _,
        } = Login::new(body.username, body.email, body.password)?;
        let (cookie, user) = gateway.sign_in_browser(&name, password, &origin).await?;
        jar.put(&cookie);
        Ok(BrowserSessionResponse::SignedIn(Json(
            BrowserSessionSchema::new(user, cookie.claims.exp),
        )))
    }

    /// Get the browser session
    ///
    /// Returns the user of the session cookie, or 401.
    ///
    /// Ignores access tokens. A missing, invalid, expired, or revoked cookie returns the same 401
    /// `unauthenticated`.
    #[oai(
        path = "/session",
        method = "get",
        operation_id = "getBrowserSession",
        tag = "Tag::Authentication"
    )]
    async fn state(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Browser(caller): Browser,
    ) -> Result<BrowserSessionResponse, Problem<StateProblems>> {
        let user = gateway
            .get_account(&caller)
            .await
            .map_err(Browser::refusal)?;
        Ok(BrowserSessionResponse::SignedIn(Json(
            BrowserSessionSchema::new(user, caller.exp),
        )))
    }

    /// Delete the browser session
    ///
    /// Revokes the session and clears the cookie. Returns 204 even if there is no session.
    ///
    /// Requires `X-Latchkey-Request: 1`. Accepts an expired or revoked cookie. After 204, every
    /// replica rejects the session.
    #[oai(
        path = "/session",
        method = "delete",
        operation_id = "deleteBrowserSession",
        tag = "Tag::Authentication"
    )]
    async fn close(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ClientOrigin(origin): ClientOrigin,
        _page: FromPage,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
        jar: SessionCookie,
        PresentedCookies(cookies): PresentedCookies,
    ) -> Result<RevocationResponse, Problem<CloseProblems>> {
        let Param(patience) = prefer;
        for token in cookies {
            match gateway
                .sign_out(&[SessionCredential::Access(token)], patience, &origin)
                .await
            {
                // Not ours, or under a key that was taken back: it shows no session.
                Ok(()) | Err(Error::InvalidToken | Error::TokenRevoked) => {}
                Err(error) => return Err(error.into()),
            }
        }
        jar.clear();
        Ok(patience.into())
    }
}
