//! Browser sessions: sign-in, check, and sign-out with one HttpOnly cookie. Responses contain no
//! tokens.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{App, revocation::WaitFor, sessions::sign_out::SessionCredential},
    error::Error,
    http::{
        Tag,
        api::{
            authentication::{SignInCredentials, SignInRequest},
            responses::RevocationResponse,
            schemas::BrowserSessionSchema,
        },
        auth::{
            caller::{BrowserCaller, PresentedCookies},
            cookie::SessionCookie,
            csrf::RequireAllowedPage,
        },
        context::client_address::ClientOrigin,
        openapi::{
            body::Body,
            params::Param,
            problem::{Problem, problems},
        },
    },
};

problems! {
    CreateProblems: [BODY] InvalidCredentials TooManyRequests;
    GetProblems: [] Unauthenticated;
    DeleteProblems: [];
}

pub struct BrowserSessionApi;

#[OpenApi]
impl BrowserSessionApi {
    /// Create a browser session
    ///
    /// Signs in and sets an HttpOnly session cookie; the response contains no tokens.
    ///
    /// Requires `X-Latchkey-Request: 1`. The cookie expires 10 minutes after its last renewal by
    /// default (`LATCHKEY_COOKIE_IDLE_TIMEOUT`), and with the session at the latest. A request
    /// renews it after a quarter of this time.
    ///
    /// Response 200: The session cookie was set.
    #[oai(
        path = "/session",
        method = "post",
        operation_id = "createBrowserSession",
        tag = "Tag::Authentication"
    )]
    async fn create(
        &self,
        app: Data<&Arc<App>>,
        _page: RequireAllowedPage,
        session_cookie: SessionCookie,
        ClientOrigin(origin): ClientOrigin,
        Body(body): Body<SignInRequest>,
    ) -> Result<Json<BrowserSessionSchema>, Problem<CreateProblems>> {
        let SignInCredentials {
            name,
            password,
            scopes: _,
        } = SignInCredentials::new(body.username, body.email, body.password)?;
        let (cookie, user) = app
            .sessions
            .sign_in_browser(&name, password, &origin)
            .await?;
        session_cookie.put(&cookie);
        Ok(Json(BrowserSessionSchema::new(user, cookie.claims.exp)))
    }

    /// Get the browser session
    ///
    /// Returns the user of the session cookie, or 401.
    ///
    /// Ignores access tokens. A missing, invalid, expired, or revoked cookie returns the same 401
    /// `unauthenticated`.
    ///
    /// Response 200: The user is signed in.
    #[oai(
        path = "/session",
        method = "get",
        operation_id = "getBrowserSession",
        tag = "Tag::Authentication"
    )]
    async fn get(
        &self,
        app: Data<&Arc<App>>,
        BrowserCaller(caller): BrowserCaller,
    ) -> Result<Json<BrowserSessionSchema>, Problem<GetProblems>> {
        let user = app
            .accounts
            .get_account(&caller)
            .await
            .map_err(BrowserCaller::hide_token_error)?;
        Ok(Json(BrowserSessionSchema::new(user, caller.exp)))
    }

    /// Delete the browser session
    ///
    /// Revokes the session and clears the cookie. Returns 204 even if there is no session.
    ///
    /// Requires `X-Latchkey-Request: 1`. Accepts an expired or revoked cookie. After 204, every
    /// replica rejects the session.
    ///
    /// Response 204: The session was revoked, and the cookie was cleared. Also returned without a
    /// session.
    #[oai(
        path = "/session",
        method = "delete",
        operation_id = "deleteBrowserSession",
        tag = "Tag::Authentication"
    )]
    async fn delete(
        &self,
        app: Data<&Arc<App>>,
        ClientOrigin(origin): ClientOrigin,
        _page: RequireAllowedPage,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
        session_cookie: SessionCookie,
        PresentedCookies(cookies): PresentedCookies,
    ) -> Result<RevocationResponse, Problem<DeleteProblems>> {
        let Param(wait_for) = prefer;
        for token in cookies {
            match app
                .sessions
                .sign_out(&[SessionCredential::Access(token)], wait_for, &origin)
                .await
            {
                // An invalid cookie, or one signed by a revoked key, identifies no session.
                Ok(()) | Err(Error::InvalidToken | Error::TokenRevoked) => {}
                Err(error) => return Err(error.into()),
            }
        }
        session_cookie.clear();
        Ok(wait_for.into())
    }
}
