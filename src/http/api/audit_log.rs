//! Search in the audit log of all users, for administrators.

use std::{net::IpAddr, sync::Arc};

use latchkey_domain::audit::EventKind;
use poem::web::Data;
use poem_openapi::{
    OpenApi,
    payload::Json,
    registry::{MetaParamIn, MetaSchema},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    app::{App, audit::AuditFilter},
    error::Error,
    http::{
        Tag,
        api::audit_events::AuditEventPageSchema,
        auth::caller::Admin,
        openapi::{
            params::{Cursor, Limit, Param, Parameter, page},
            problem::{Problem, problems},
        },
    },
};

problems! {
    SearchProblems: [CALLER];
}

pub struct AuditLogApi;

#[OpenApi]
impl AuditLogApi {
    /// Search audit events
    ///
    /// Returns the audit events of all users and OAuth clients, newest first. Filters can be
    /// combined.
    ///
    /// A request examines at most 10,000 events. If few of them match, the page contains fewer
    /// events than `limit`, or none, and `next` continues the search. The list is complete if
    /// `next` is `null`. Failed attempts appear within a second.
    ///
    /// Response 200: A page of events.
    #[oai(
        path = "/audit",
        method = "get",
        operation_id = "searchAuditEvents",
        tag = "Tag::AuditLog"
    )]
    #[allow(
        clippy::too_many_arguments,
        reason = "the framework derives a parameter of the operation from each argument"
    )]
    async fn search(
        &self,
        app: Data<&Arc<App>>,
        _admin: Admin,
        /// ID of the affected user, also of a deleted one.
        user: Param<IdFilter>,
        /// ID of the affected OAuth client. It can't be combined with `user`.
        client: Param<IdFilter>,
        /// ID of the user or OAuth client who acted.
        actor: Param<IdFilter>,
        /// Event types, separated by commas. An unknown type returns 400 with a list of all types.
        event: Param<KindFilter>,
        /// IP address of the request. Failed attempts contain the /64 network of an IPv6 address,
        /// and match every address of it.
        ip_address: Param<AddressFilter>,
        /// Time of the oldest event (RFC 3339).
        since: Param<TimeFilter>,
        /// Time before which the events occurred (RFC 3339).
        until: Param<TimeFilter>,
        /// Maximum number of items per page (1–100, default 20).
        limit: Param<Limit>,
        /// The `next` value of the previous page.
        after: Param<Cursor>,
    ) -> Result<Json<AuditEventPageSchema>, Problem<SearchProblems>> {
        if user.0.0.is_some() && client.0.0.is_some() {
            let reason = "can't be combined with `user`";
            return Err(Error::invalid_field("client", reason).into());
        }
        let filter = AuditFilter {
            subject_id: user.0.0.or(client.0.0),
            actor_id: actor.0.0,
            address: ip_address.0.0,
            kinds: event.0.0,
            since: since.0.0,
            until: until.0.0,
        };
        let found = app
            .audit
            .search_audit_events(&filter, page(limit, after))
            .await?;
        Ok(Json(found.into()))
    }
}

/// An optional ID.
struct IdFilter(Option<Uuid>);

/// An optional IP address.
struct AddressFilter(Option<IpAddr>);

/// An optional time.
struct TimeFilter(Option<OffsetDateTime>);

/// Optional event types.
struct KindFilter(Option<Vec<EventKind>>);

impl Parameter for IdFilter {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema::new_with_format("string", "uuid")
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let id = text.map(Uuid::try_parse).transpose();
        id.map(IdFilter)
            .map_err(|_| Error::invalid_field(name, "must be a UUID"))
    }
}

impl Parameter for AddressFilter {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("192.0.2.1".into()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let address = text.map(str::parse).transpose();
        address
            .map(AddressFilter)
            .map_err(|_| Error::invalid_field(name, "must be an IPv4 or IPv6 address"))
    }
}

impl Parameter for TimeFilter {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("2026-11-20T10:00:00Z".into()),
            ..MetaSchema::new_with_format("string", "date-time")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let time = text.map(|text| OffsetDateTime::parse(text, &Rfc3339));
        time.transpose().map(TimeFilter).map_err(|_| {
            let reason = "must be a time in RFC 3339, for example 2026-11-20T10:00:00Z";
            Error::invalid_field(name, reason)
        })
    }
}

impl Parameter for KindFilter {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("sign_in,sign_in_failed".into()),
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let kinds = text.map(|text| text.split(',').map(EventKind::parse).collect());
        match kinds {
            None => Ok(KindFilter(None)),
            Some(Some(kinds)) => Ok(KindFilter(Some(kinds))),
            Some(None) => {
                let kinds: Vec<_> = EventKind::ALL.iter().map(|kind| kind.as_str()).collect();
                let reason = format!(
                    "must be event types, separated by commas; valid types: `{}`",
                    kinds.join("`, `")
                );
                Err(Error::invalid_field(name, reason))
            }
        }
    }
}
