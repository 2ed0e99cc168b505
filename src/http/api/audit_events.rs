//! Audit log of a user.

use std::sync::Arc;

use latchkey_domain::user_agent;
use poem::web::Data;
use poem_openapi::{Object, OpenApi, payload::Json, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::{
        App,
        audit::{AuditEventPage, StoredAuditEvent},
    },
    http::{
        Tag,
        api::schemas::{EVENT_ID, EXAMPLE_TIME, SESSION_ID, USER_ID},
        auth::caller::{Admin, ReadUser},
        openapi::{
            params::{Cursor, Id, Limit, Param, Path, page},
            problem::{Problem, problems},
        },
    },
};

problems! {
    ListOwnProblems: [CALLER];
    ListOfUserProblems: [CALLER] NotFound;
}

/// Security event of a user. Identical failures within a minute are one event with a `count`.
#[derive(Object)]
#[oai(rename = "AuditEvent", example)]
pub struct AuditEventSchema {
    /// Event ID.
    id: Uuid,
    /// Time of the event; of aggregated failures, the start of the minute.
    at: OffsetDateTime,
    /// Event type.
    event: String,
    /// Outcome: `success` or `failure`.
    outcome: String,
    /// ID of the affected user or OAuth client; `null` if there is none.
    subject_id: Option<Uuid>,
    /// Kind of actor: `user` (the user), `admin` (an administrator), `client` (an OAuth client),
    /// `operator` (the command line), `server` (the server itself), or `unauthenticated`.
    actor: String,
    /// ID of the user or OAuth client who acted; `null` for other actors. In the user's own
    /// log, `null` if an administrator acted.
    actor_id: Option<Uuid>,
    /// ID of the session that was started, revoked, or used.
    session_id: Option<Uuid>,
    /// IP address or network of the request. Hidden from the user if an administrator acted.
    ip_address: Option<String>,
    /// Browser and operating system, or program, of the request.
    user_agent: Option<String>,
    /// Code of the reason, such as `password_change`, `incorrect_password`, or the exceeded limit;
    /// for events of signing keys, the key ID; for events of groups, the name of the group. Newer
    /// versions can add codes.
    reason: Option<String>,
    /// Number of identical events within the minute.
    count: i64,
}

impl From<StoredAuditEvent> for AuditEventSchema {
    fn from(stored: StoredAuditEvent) -> Self {
        let StoredAuditEvent {
            id,
            at,
            event,
            outcome,
            subject_id,
            actor,
            actor_id,
            session_id,
            address,
            agent,
            reason,
            count,
        } = stored;
        AuditEventSchema {
            id,
            at,
            event,
            outcome,
            subject_id,
            actor,
            actor_id,
            session_id,
            ip_address: address,
            user_agent: agent.as_deref().map(user_agent::describe),
            reason,
            count,
        }
    }
}

impl Example for AuditEventSchema {
    fn example() -> Self {
        AuditEventSchema {
            id: EVENT_ID,
            at: EXAMPLE_TIME,
            event: "sign_in".to_owned(),
            outcome: "success".to_owned(),
            subject_id: Some(USER_ID),
            actor: "user".to_owned(),
            actor_id: Some(USER_ID),
            session_id: Some(SESSION_ID),
            ip_address: Some("192.0.2.1".to_owned()),
            user_agent: Some("Firefox on Linux".to_owned()),
            reason: None,
            count: 1,
        }
    }
}

/// A page of audit events.
#[derive(Object)]
#[oai(rename = "AuditEventPage", example)]
pub struct AuditEventPageSchema {
    /// Events, newest first.
    data: Vec<AuditEventSchema>,
    /// Value of `after` for the next page, which has older events; `null` on the last page.
    next: Option<String>,
}

impl From<AuditEventPage> for AuditEventPageSchema {
    fn from(page: AuditEventPage) -> Self {
        AuditEventPageSchema {
            data: page.events.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for AuditEventPageSchema {
    fn example() -> Self {
        AuditEventPageSchema {
            data: vec![AuditEventSchema::example()],
            next: None,
        }
    }
}

pub struct AuditApi;

#[OpenApi]
impl AuditApi {
    /// List audit events of the current user
    ///
    /// Returns events, newest first. Failed attempts are aggregated per minute.
    ///
    /// Events include sign-ins, failed sign-ins, changed passwords and names, and revoked sessions.
    /// Failed attempts appear within a second. Actions of administrators appear without their ID
    /// and IP address.
    ///
    /// Response 200: A page of events.
    #[oai(
        path = "/user/audit",
        method = "get",
        operation_id = "listCurrentUserAuditEvents",
        tag = "Tag::AuditLog"
    )]
    async fn list_own(
        &self,
        app: Data<&Arc<App>>,
        ReadUser(caller): ReadUser,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<AuditEventPageSchema>, Problem<ListOwnProblems>> {
        let page = app
            .audit
            .list_own_audit_events(&caller, page(limit, after))
            .await?;
        Ok(Json(page.into()))
    }

    /// List audit events of a user
    ///
    /// Returns events, newest first; available after the user is deleted.
    ///
    /// Contains the IDs and IP addresses of administrators.
    ///
    /// Response 200: A page of events.
    #[oai(
        path = "/users/:id/audit",
        method = "get",
        operation_id = "listUserAuditEvents",
        tag = "Tag::UserAdministration"
    )]
    async fn list_of_user(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// User ID.
        id: Path<Id>,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<AuditEventPageSchema>, Problem<ListOfUserProblems>> {
        let Param(Id(id)) = id;
        let page = app
            .audit
            .list_user_audit_events(id, page(limit, after))
            .await?;
        Ok(Json(page.into()))
    }
}
