//! One's sessions, which mostly are devices.

use std::sync::Arc;

use poem::web::Data;
use poem_openapi::{OpenApi, payload::Json};

use super::{
    Tag,
    answers::{Ended, SessionsListed},
    caller::{ReadUser, WriteUser},
    cookie::Jar,
    origin::From,
    params::{After, Id, Limit, Param, Path},
    problem::{Problem, problems},
    shapes::sessions::SessionPageShape,
};
use crate::{
    domain::page::Page,
    gateway::{Gateway, revocation::Patience},
};

problems! {
    ListProblems: [CALLER];
    EndProblems: [CALLER] NotFound;
}

/// The operations.
pub struct DevicesApi;

#[OpenApi]
impl DevicesApi {
    /// List my sessions
    ///
    /// Those that are still good: where and when each was last seen, and which one asks.
    #[oai(
        path = "/sessions",
        method = "get",
        operation_id = "listSessions",
        tag = "Tag::Account"
    )]
    async fn list(
        &self,
        gateway: Data<&Arc<Gateway>>,
        ReadUser(caller): ReadUser,
        /// At most so many.
        limit: Param<Limit>,
        /// `next` of the page before.
        after: Param<After>,
    ) -> Result<SessionsListed, Problem<ListProblems>> {
        let page = Page {
            limit: limit.0.0,
            after: after.0.0,
        };
        let devices = gateway.list_devices(caller.sub, page).await?;
        Ok(SessionsListed::Page(Json(SessionPageShape::new(
            devices, caller.sid,
        ))))
    }

    /// End one of my sessions
    ///
    /// When the answer comes, no replica accepts it any more. Repeating it is fine.
    #[oai(
        path = "/sessions/:id",
        method = "delete",
        operation_id = "endSession",
        tag = "Tag::Account"
    )]
    async fn end(
        &self,
        gateway: Data<&Arc<Gateway>>,
        WriteUser(caller): WriteUser,
        From(origin): From,
        jar: Jar,
        /// The session.
        id: Path<Id>,
        /// `respond-async` (RFC 7240): 202 as soon as it is published, a moment before every
        /// replica knows.
        #[oai(name = "Prefer")]
        prefer: Param<Patience>,
    ) -> Result<Ended, Problem<EndProblems>> {
        let (Param(Id(sid)), Param(patience)) = (id, prefer);
        gateway.end_device(&caller, sid, patience, &origin).await?;
        if Some(sid) == caller.sid {
            jar.clear_if_shown();
        }
        Ok(patience.into())
    }
}
