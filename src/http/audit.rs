//! What happened to an account.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{ApiResponse, Object, OpenApi, payload::Json, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::{Uuid, uuid};

use super::{
    Tag,
    caller::{Admin, ReadUser},
    params::{After, Id, Limit, Param, Path},
    problem::{Problem, problems},
};
use crate::{
    domain::{agent, page::Page},
    gateway::{AuditPage, Gateway, RecordedEvent},
};

problems! {
    OwnAuditProblems: [CALLER];
    AuditProblems: [CALLER] NotFound;
}

/// Something that happened to an account.
#[derive(Object)]
#[oai(rename = "AuditEvent", example)]
pub struct AuditEventShape {
    /// The id.
    id: Uuid,
    /// When it happened; where `count` may be more than one, the minute in which it did.
    at: OffsetDateTime,
    /// What: `sign_in`, `sign_in_refused`, `password_changed` and so on. There may be more kinds
    /// tomorrow.
    event: String,
    /// `success`, or `failure` where it was refused.
    outcome: String,
    /// Who: `user` (the owner of the account), `admin`, `operator` (of the machine), `gateway` (by
    /// itself), or `stranger` (who proved nothing).
    actor: String,
    /// The account of whoever did it. An owner does not see that of an administrator.
    actor_id: Option<Uuid>,
    /// The session that ended or began, or that it was done from.
    session: Option<Uuid>,
    /// The address it came from. An owner does not see that of an administrator.
    address: Option<String>,
    /// What it came from, in words.
    agent: Option<String>,
    /// Why, in a word.
    reason: Option<String>,
    /// How often within the minute: what was refused is counted.
    count: i64,
}

impl From<RecordedEvent> for AuditEventShape {
    fn from(recorded: RecordedEvent) -> Self {
        let RecordedEvent {
            id,
            at,
            event,
            outcome,
            actor,
            actor_id,
            session,
            address,
            agent,
            reason,
            count,
        } = recorded;
        let agent = agent.as_deref().map(agent::in_words);
        AuditEventShape {
            id,
            at,
            event,
            outcome,
            actor,
            actor_id,
            session,
            address,
            agent,
            reason,
            count,
        }
    }
}

impl Example for AuditEventShape {
    fn example() -> Self {
        let somebody = uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42");
        AuditEventShape {
            id: somebody,
            at: datetime!(2026-11-20 08:00:00 UTC),
            event: "sign_in".to_owned(),
            outcome: "success".to_owned(),
            actor: "user".to_owned(),
            actor_id: Some(somebody),
            session: Some(somebody),
            address: Some("192.0.2.1".to_owned()),
            agent: Some("Firefox on Linux".to_owned()),
            reason: None,
            count: 1,
        }
    }
}

/// A page of what happened.
#[derive(Object)]
#[oai(rename = "AuditPage", example)]
pub struct AuditPageShape {
    /// The events, the newest first.
    items: Vec<AuditEventShape>,
    /// Send this as `after` to get the next page, of older ones; `null` on the last.
    next: Option<String>,
}

impl From<AuditPage> for AuditPageShape {
    fn from(page: AuditPage) -> Self {
        AuditPageShape {
            items: page.events.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for AuditPageShape {
    fn example() -> Self {
        AuditPageShape {
            items: vec![AuditEventShape::example()],
            next: None,
        }
    }
}

/// 200 with events.
#[derive(ApiResponse)]
pub enum AuditListed {
    /// A page of events.
    #[oai(status = 200)]
    Page(Json<AuditPageShape>),
}

/// The operations.
pub struct AuditApi;

#[OpenApi]
impl AuditApi {
    /// What happened to my account
    ///
    /// Sign-ins and refused ones, changes of the password and of names, sessions that ended, and
    /// who did it. The newest first, unlike other lists, because the latest is what one looks for.
    /// What was refused is counted by the minute, and appears within a second.
    #[oai(
        path = "/user/audit",
        method = "get",
        operation_id = "listOwnAudit",
        tag = "Tag::Account"
    )]
    async fn own(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadUser(caller): ReadUser,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<AuditListed, Problem<OwnAuditProblems>> {
        let (Param(Limit(limit)), Param(After(after))) = (limit, after);
        let page = gateway.own_audit(&caller, Page { limit, after }).await?;
        Ok(AuditListed::Page(Json(page.into())))
    }

    /// What happened to an account
    ///
    /// As its owner sees it, and with the addresses of administrators. The newest first. What
    /// happened outlives the account.
    #[oai(
        path = "/users/:id/audit",
        method = "get",
        operation_id = "listAudit",
        tag = "Tag::Users"
    )]
    async fn of(
        &self,
        gateway: Data<&Arc<Gateway>>,
        _admin: Admin,
        /// The account's id.
        id: Path<Id>,
        /// How many at most.
        limit: Param<Limit>,
        /// The `next` of the page before.
        after: Param<After>,
    ) -> Result<AuditListed, Problem<AuditProblems>> {
        let (Param(Id(id)), Param(Limit(limit)), Param(After(after))) = (id, limit, after);
        let page = gateway.audit_of(id, Page { limit, after }).await?;
        Ok(AuditListed::Page(Json(page.into())))
    }
}
