//! Sessions of the current user.

use std::sync::Arc;

use latchkey_domain::page::Page;
use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{Gateway, revocation::WaitFor},
    http::{
        Tag,
        api::{
            responses::{RevocationResponse, SessionPageResponse},
            schemas::sessions::SessionPageSchema,
        },
        auth::{
            caller::{ReadUser, WriteUser},
            cookie::SessionCookie,
        },
        middleware::client_address::ClientOrigin,
        openapi::{
            params::{Cursor, Id, Limit, Param, Path},
            problem::{Problem, problems},
        },
    },
};

problems! {
    ListProblems: [CALLER];
    EndProblems: [CALLER] NotFound;
}

/// The operations.
pub struct DevicesApi;

#[OpenApi]
impl DevicesApi {
    /// List sessions
    ///
    /// Returns the active sessions of the current user.
    ///
    /// Oldest first, with the browser of the sign-in and the IP address of the last use. `current`
    /// is `true` for the session of this request.
    #[oai(
        path = "/sessions",
        method = "get",
        operation_id = "listSessions",
        tag = "Tag::Sessions"
    )]
    async fn list(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadUser(caller): ReadUser,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<SessionPageResponse, Problem<ListProblems>> {
        let page = Page {
            limit: limit.0.0,
            after: after.0.0,
        };
        let devices = gateway.list_sessions(caller.sub, page).await?;
        Ok(SessionPageResponse::Page(Json(SessionPageSchema::new(
            devices, caller.sid,
        ))))
    }

    /// Revoke a session
    ///
    /// Revokes one session of the current user. Idempotent.
    ///
    /// After 204, every replica rejects the session. Revoking the session of this request clears
    /// its cookie.
    #[oai(
        path = "/sessions/:id",
        method = "delete",
        operation_id = "revokeSession",
        tag = "Tag::Sessions"
    )]
    async fn end(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteUser(caller): WriteUser,
        ClientOrigin(origin): ClientOrigin,
        jar: SessionCookie,
        /// Session ID.
        id: Path<Id>,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
    ) -> Result<RevocationResponse, Problem<EndProblems>> {
        let (Param(Id(sid)), Param(patience)) = (id, prefer);
        gateway
            .revoke_own_session(&caller, sid, patience, &origin)
            .await?;
        if Some(sid) == caller.sid {
            jar.clear_if_shown();
        }
        Ok(patience.into())
    }
}
