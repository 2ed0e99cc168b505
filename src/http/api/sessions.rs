//! Sessions of the current user.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{App, revocation::WaitFor},
    http::{
        Tag,
        api::{responses::RevocationResponse, schemas::sessions::SessionPageSchema},
        auth::{
            caller::{ReadUser, WriteUser},
            cookie::SessionCookie,
        },
        context::client_address::ClientOrigin,
        openapi::{
            params::{Cursor, Id, Limit, Param, Path, page},
            problem::{Problem, problems},
        },
    },
};

problems! {
    ListProblems: [CALLER];
    RevokeProblems: [CALLER] NotFound;
}

pub struct SessionsApi;

#[OpenApi]
impl SessionsApi {
    /// List sessions
    ///
    /// Returns the active sessions of the current user.
    ///
    /// The oldest session is first. Each contains the browser of the sign-in and the IP address of
    /// the last refresh or cookie renewal. `current` is `true` for the session of this request.
    ///
    /// Response 200: A page of sessions.
    #[oai(
        path = "/sessions",
        method = "get",
        operation_id = "listSessions",
        tag = "Tag::Sessions"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        ReadUser(caller): ReadUser,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<SessionPageSchema>, Problem<ListProblems>> {
        let sessions = app
            .sessions
            .list_sessions(caller.sub, page(limit, after))
            .await?;
        Ok(Json(SessionPageSchema::new(sessions, caller.sid)))
    }

    /// Revoke a session
    ///
    /// Revokes one session of the current user. Idempotent.
    ///
    /// After 204, every replica rejects the session. Revoking the session of this request clears
    /// its cookie. An unknown session, or one of another user, returns 404.
    ///
    /// Response 204: The session was revoked, and every replica rejects it.
    #[oai(
        path = "/sessions/:id",
        method = "delete",
        operation_id = "revokeSession",
        tag = "Tag::Sessions"
    )]
    async fn revoke(
        &self,
        app: Data<&Arc<App>>,
        WriteUser(caller): WriteUser,
        ClientOrigin(origin): ClientOrigin,
        session_cookie: SessionCookie,
        /// Session ID.
        id: Path<Id>,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
    ) -> Result<RevocationResponse, Problem<RevokeProblems>> {
        let (Param(Id(session_id)), Param(wait_for)) = (id, prefer);
        app.sessions
            .revoke_own_session(&caller, session_id, wait_for, &origin)
            .await?;
        if Some(session_id) == caller.sid {
            session_cookie.clear_if_presented();
        }
        Ok(wait_for.into())
    }
}
