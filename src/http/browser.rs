//! The browser's face: signing in, looking and signing out with one cookie, and never a token that
//! a script could read.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use super::{
    Tag,
    answers::{BrowserState, Ended},
    body::Body,
    caller::{Browser, ShownCookies},
    cookie::Jar,
    csrf::FromPage,
    origin::From,
    params::Param,
    problem::{Problem, problems},
    shapes::BrowserShape,
    tokens::{Login, LoginBody},
};
use crate::{
    error::Error,
    gateway::{Credential, Gateway, revocation::Patience},
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
    /// Sign in, in a browser
    ///
    /// The tokens are in the cookie only, which scripts cannot read. It ends after
    /// `LATCHKEY_COOKIE_IDLE_TIMEOUT` without a request, and with the session at the latest.
    #[oai(
        path = "/session",
        method = "post",
        operation_id = "openSession",
        tag = "Tag::SigningIn"
    )]
    async fn open(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _page: FromPage,
        jar: Jar,
        From(origin): From,
        Body(body): Body<LoginBody>,
    ) -> Result<BrowserState, Problem<OpenProblems>> {
        let Login {
            name,
            password,
            scopes: _,
        } = Login::new(body.username, body.email, body.password)?;
        let (cookie, user) = gateway.log_in_browser(&name, password, &origin).await?;
        jar.put(&cookie);
        Ok(BrowserState::SignedIn(Json(BrowserShape::new(
            user,
            cookie.claims.exp,
        ))))
    }

    /// Is this browser signed in?
    ///
    /// By its cookie alone: whatever is wrong with it, the answer is the same 401.
    #[oai(
        path = "/session",
        method = "get",
        operation_id = "getSession",
        tag = "Tag::SigningIn"
    )]
    async fn state(
        &self,
        gateway: Data<&Arc<Gateway>>,
        Browser(caller): Browser,
    ) -> Result<BrowserState, Problem<StateProblems>> {
        let user = gateway
            .show_account(&caller)
            .await
            .map_err(Browser::refusal)?;
        Ok(BrowserState::SignedIn(Json(BrowserShape::new(
            user, caller.exp,
        ))))
    }

    /// Sign out, in a browser
    ///
    /// Ends the cookie's session, also with an expired or revoked cookie, and clears it. Without
    /// one there is nothing to end, and that is fine.
    #[oai(
        path = "/session",
        method = "delete",
        operation_id = "closeSession",
        tag = "Tag::SigningIn"
    )]
    async fn close(
        &self,
        gateway: Data<&Arc<Gateway>>,
        From(origin): From,
        _page: FromPage,
        /// `respond-async` (RFC 7240): 202 as soon as it is published, a moment before every
        /// replica knows.
        #[oai(name = "Prefer")]
        prefer: Param<Patience>,
        jar: Jar,
        ShownCookies(cookies): ShownCookies,
    ) -> Result<Ended, Problem<CloseProblems>> {
        let Param(patience) = prefer;
        for token in cookies {
            match gateway
                .log_out(&[Credential::Access(token)], patience, &origin)
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
