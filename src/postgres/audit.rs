//! Audit events: stored in the transaction of the change, or counted if no table changes.

mod search;

pub use search::AuditSearch;

use latchkey_domain::audit::{AuditEvent, EventKind};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Connection, Postgres};
use crate::error::Error;

const INSERT_AUDIT_EVENT: &str = include_str!("../../sql/queries/insert_audit_event.sql");
const COUNT_AUDIT_EVENTS: &str = include_str!("../../sql/queries/count_audit_events.sql");
const LIST_AUDIT_EVENTS: &str = include_str!("../../sql/queries/list_audit_events.sql");

/// Similar events of one minute, which share a row.
#[derive(Debug, Clone)]
pub struct CountedEvent {
    /// The ID of the row: a UUID of version 7 whose time is the minute.
    pub id: Uuid,
    /// The fields that all of these events have in common.
    pub event: AuditEvent,
    pub count: i64,
}

/// A row of `audit_events`.
#[derive(Debug, Clone)]
pub struct StoredAuditEvent {
    pub id: Uuid,
    /// The time of the event; for counted events, the minute.
    pub at: OffsetDateTime,
    /// The stored text of the event kind. A newer replica can store kinds that this version lacks.
    pub event: String,
    pub outcome: String,
    /// The ID of the affected user or OAuth client.
    pub subject_id: Option<Uuid>,
    pub actor: String,
    /// The ID of the acting user or OAuth client.
    pub actor_id: Option<Uuid>,
    pub session_id: Option<Uuid>,
    /// The IP address of the client.
    pub address: Option<String>,
    /// The `User-Agent` of the client.
    pub agent: Option<String>,
    pub reason: Option<String>,
    pub count: i64,
}

/// Stores an event in the transaction of its change, so that both are committed or neither is.
///
/// The event is logged after the commit.
pub(super) async fn insert(db: &mut Connection, event: &AuditEvent) -> Result<(), Error> {
    debug_assert!(
        db.in_transaction,
        "the event and its change share a transaction"
    );
    db.execute(INSERT_AUDIT_EVENT, &NewAuditEvent::new(event).params())
        .await?;
    db.log_after_commit(event);
    Ok(())
}

/// The column values of a new row.
pub(super) struct NewAuditEvent<'a> {
    id: Uuid,
    at: OffsetDateTime,
    event: &'a AuditEvent,
    kind: &'static str,
    outcome: &'static str,
    actor: &'static str,
    actor_id: Option<Uuid>,
}

impl<'a> NewAuditEvent<'a> {
    pub fn new(event: &'a AuditEvent) -> NewAuditEvent<'a> {
        let id = Uuid::now_v7();
        NewAuditEvent {
            id,
            at: time_of(id),
            event,
            kind: event.kind.as_str(),
            outcome: event.kind.outcome().as_str(),
            actor: event.actor.as_str(),
            actor_id: event.actor.id(),
        }
    }

    /// Returns the values in the order of the columns in `insert_audit_event.sql`.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 11] {
        let AuditEvent {
            subject_id,
            session_id,
            address,
            agent,
            reason,
            ..
        } = self.event;
        let NewAuditEvent {
            id,
            at,
            kind,
            outcome,
            actor,
            actor_id,
            ..
        } = self;
        [
            id, at, kind, outcome, subject_id, actor_id, actor, session_id, address, agent, reason,
        ]
    }
}

/// The target of security events in the log, so that a filter can select them.
const LOG_TARGET: &str = "audit";

/// Logs an event and increments its metric. Only this function does either.
pub fn log_event(event: &AuditEvent) {
    let AuditEvent {
        kind,
        actor,
        subject_id,
        session_id,
        address,
        agent,
        reason,
    } = event;
    let displayed = |id: Option<Uuid>| id.map(tracing::field::display);
    macro_rules! log_event {
        ($level:ident) => {
            tracing::$level!(
                target: LOG_TARGET,
                event = kind.as_str(),
                outcome = kind.outcome().as_str(),
                subject_id = displayed(*subject_id),
                actor = actor.as_str(),
                actor_id = displayed(actor.id()),
                session_id = displayed(*session_id),
                ip_address = address,
                user_agent = agent,
                reason = reason.as_deref(),
                "{}",
                kind.message()
            )
        };
    }
    metrics::counter!(
        "latchkey_audit_events_total",
        "event" => kind.as_str(),
        "outcome" => kind.outcome().as_str()
    )
    .increment(1);
    match kind {
        // The cause is a stolen token or a faulty client, so an operator should investigate.
        EventKind::RefreshTokenReused => log_event!(warn),
        _other => log_event!(info),
    }
}

impl Postgres {
    /// Stores an event about an action that changes no other table.
    pub async fn record_event(&self, event: &AuditEvent) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        insert(&mut db, event).await?;
        db.commit().await
    }

    /// Creates the rows of these events, or increases the counts of existing rows. IDs must be
    /// unique within a call.
    pub async fn count_events(&self, counted: &[CountedEvent]) -> Result<(), Error> {
        fn column<'a, T>(
            counted: &'a [CountedEvent],
            value: impl Fn(&'a CountedEvent) -> T,
        ) -> Vec<T> {
            counted.iter().map(value).collect()
        }
        let params: super::Params = &[
            &column(counted, |row| row.id),
            &column(counted, |row| time_of(row.id)),
            &column(counted, |row| row.event.kind.as_str()),
            &column(counted, |row| row.event.kind.outcome().as_str()),
            &column(counted, |row| row.event.subject_id),
            &column(counted, |row| row.event.actor.id()),
            &column(counted, |row| row.event.actor.as_str()),
            &column(counted, |row| row.event.session_id),
            &column(counted, |row| row.event.address.as_deref()),
            &column(counted, |row| row.event.reason.as_deref()),
            &column(counted, |row| row.count),
        ];
        self.connection()
            .await?
            .execute(COUNT_AUDIT_EVENTS, params)
            .await
            .map(drop)
    }

    /// Lists the events of a user before an event, newest first. Returns one more than `limit` if
    /// there is a next page.
    pub async fn list_audit_events(
        &self,
        user_id: Uuid,
        before: Uuid,
        limit: u8,
    ) -> Result<Vec<StoredAuditEvent>, Error> {
        let rows = self
            .connection()
            .await?
            .query(
                LIST_AUDIT_EVENTS,
                &[&user_id, &before, &(i64::from(limit) + 1)],
            )
            .await?;
        rows.iter().map(read_event).collect()
    }
}

/// Returns the time in a UUID of version 7: its first 48 bits are milliseconds since the Unix epoch
/// (RFC 9562 section 5.7). It is the time of the audit event with this ID.
pub fn time_of(id: Uuid) -> OffsetDateTime {
    let milliseconds = id.as_bytes()[..6]
        .iter()
        .fold(0, |sum, byte| sum << 8 | i128::from(*byte));
    OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn read_event(row: &Row) -> Result<StoredAuditEvent, Error> {
    Ok(StoredAuditEvent {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        event: row.try_get("event")?,
        outcome: row.try_get("outcome")?,
        subject_id: row.try_get("subject_id")?,
        actor: row.try_get("actor")?,
        actor_id: row.try_get("actor_id")?,
        session_id: row.try_get("session_id")?,
        address: row.try_get("ip_address")?,
        agent: row.try_get("user_agent")?,
        reason: row.try_get("reason")?,
        count: row.try_get("count")?,
    })
}
