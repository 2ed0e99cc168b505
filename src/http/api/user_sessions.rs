//! Sessions of a user, for administrators.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use crate::{
    app::{App, admin::actor::AdminActor, revocation::WaitFor},
    http::{
        Tag,
        api::{responses::RevocationResponse, schemas::sessions::SessionPageSchema},
        auth::caller::Admin,
        context::client_address::ClientOrigin,
        openapi::{
            params::{Cursor, Id, Limit, Param, Path, page},
            problem::{Problem, problems},
        },
    },
};

problems! {
    ByIdProblems: [CALLER] NotFound;
}

pub struct UserSessionsApi;

#[OpenApi]
impl UserSessionsApi {
    /// List a user's sessions
    ///
    /// Returns the active sessions of the user.
    ///
    /// The oldest session is first. Each contains the browser of the sign-in and the IP address of
    /// the last refresh or cookie renewal.
    ///
    /// Response 200: A page of sessions.
    #[oai(
        path = "/users/:id/sessions",
        method = "get",
        operation_id = "listUserSessions",
        tag = "Tag::UserAdministration"
    )]
    async fn list(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        /// User ID.
        id: Path<Id>,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<SessionPageSchema>, Problem<ByIdProblems>> {
        let Param(Id(id)) = id;
        let page = app
            .users
            .list_sessions_of_user(id, page(limit, after))
            .await?;
        Ok(Json(SessionPageSchema::new(page, admin.sid)))
    }

    /// Revoke a user's session
    ///
    /// Revokes one session of the user. Idempotent.
    ///
    /// After 204, every replica rejects the session. An unknown session, or one of another user,
    /// returns 404.
    ///
    /// Response 204: The session was revoked, and every replica rejects it.
    #[oai(
        path = "/users/:id/sessions/:session_id",
        method = "delete",
        operation_id = "revokeUserSession",
        tag = "Tag::UserAdministration"
    )]
    async fn revoke(
        &self,
        app: Data<&Arc<App>>,
        Admin(admin): Admin,
        ClientOrigin(origin): ClientOrigin,
        /// User ID.
        id: Path<Id>,
        /// Session ID.
        session_id: Path<Id>,
        /// `respond-async` (RFC 7240) returns 202 after the revocation is published, without
        /// waiting until every replica enforces it.
        #[oai(name = "Prefer")]
        prefer: Param<WaitFor>,
    ) -> Result<RevocationResponse, Problem<ByIdProblems>> {
        let (Param(Id(id)), Param(Id(session_id)), Param(wait_for)) = (id, session_id, prefer);
        let actor = AdminActor::from_request(&app.tokens, &admin, origin);
        app.users
            .revoke_user_session(actor, id, session_id, wait_for)
            .await?;
        Ok(wait_for.into())
    }
}
