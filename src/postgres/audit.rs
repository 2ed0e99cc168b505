//! What happened: recorded in the transaction that made it happen, or counted where no table
//! changes.

use latchkey_domain::audit::{AuditEvent, EventKind};
use time::OffsetDateTime;
use tokio_postgres::{Row, types::ToSql};
use uuid::Uuid;

use super::{Connection, Postgres};
use crate::error::Error;

const INSERT: &str = include_str!("../../sql/queries/insert_audit_event.sql");
const COUNT: &str = include_str!("../../sql/queries/count_audit_events.sql");
const LIST: &str = include_str!("../../sql/queries/list_audit_events.sql");

/// Events that are alike and happened within one minute.
#[derive(Debug, Clone)]
pub struct CountedEvent {
    /// The id of their row, which says the minute.
    pub id: Uuid,
    /// What they have in common.
    pub event: AuditEvent,
    /// How many they are.
    pub count: i64,
}

/// A row: what happened, and when.
#[derive(Debug, Clone)]
pub struct StoredAuditEvent {
    /// The id.
    pub id: Uuid,
    /// When it happened; of counted ones, the minute.
    pub at: OffsetDateTime,
    /// What, as it is stored: a newer replica may know more words.
    pub event: String,
    /// How it went.
    pub outcome: String,
    /// Who did it.
    pub actor: String,
    /// The account of whoever did it.
    pub actor_id: Option<Uuid>,
    /// The session.
    pub session: Option<Uuid>,
    /// From where.
    pub address: Option<String>,
    /// From what.
    pub agent: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// How often.
    pub count: i64,
}

/// Records an event with the change that it tells: both are committed, or neither. The log is told
/// after the commit.
pub(super) async fn insert(db: &mut Connection, event: &AuditEvent) -> Result<(), Error> {
    debug_assert!(
        db.in_transaction,
        "an event is recorded together with a change"
    );
    db.change(INSERT, &Entry::new(event).params()).await?;
    db.audited(event);
    Ok(())
}

/// A row for an event that happens now.
pub(super) struct Entry<'a> {
    id: Uuid,
    at: OffsetDateTime,
    event: &'a AuditEvent,
    kind: &'static str,
    outcome: &'static str,
    actor: &'static str,
    actor_id: Option<Uuid>,
}

impl<'a> Entry<'a> {
    pub fn new(event: &'a AuditEvent) -> Entry<'a> {
        let id = Uuid::now_v7();
        Entry {
            id,
            at: moment(id),
            event,
            kind: event.kind.as_str(),
            outcome: event.kind.outcome().as_str(),
            actor: event.actor.as_str(),
            actor_id: event.actor.id(),
        }
    }

    /// In the order of the columns.
    pub fn params(&self) -> [&(dyn ToSql + Sync); 11] {
        let AuditEvent {
            user,
            session,
            address,
            agent,
            reason,
            ..
        } = self.event;
        let Entry {
            id,
            at,
            kind,
            outcome,
            actor,
            actor_id,
            ..
        } = self;
        [
            id, at, kind, outcome, user, actor_id, actor, session, address, agent, reason,
        ]
    }
}

/// Logs and counts an event. No other function does.
pub fn tell(event: &AuditEvent) {
    let AuditEvent {
        kind,
        actor,
        user,
        session,
        address,
        agent,
        reason,
    } = event;
    let shown = |id: Option<Uuid>| id.map(tracing::field::display);
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                event = kind.as_str(),
                outcome = kind.outcome().as_str(),
                user_id = shown(*user),
                actor = actor.as_str(),
                actor_id = shown(actor.id()),
                session_id = shown(*session),
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
        // A stolen token or a faulty client: the one event that an operator should investigate.
        EventKind::RefreshTokenReused => line!(warn),
        _other => line!(info),
    }
}

impl Postgres {
    /// Adds to the rows of these events, or makes them. No id comes twice.
    pub async fn count_events(&self, counted: &[CountedEvent]) -> Result<(), Error> {
        fn column<'a, T>(
            counted: &'a [CountedEvent],
            of: impl Fn(&'a CountedEvent) -> T,
        ) -> Vec<T> {
            counted.iter().map(of).collect()
        }
        let params: super::Params = &[
            &column(counted, |row| row.id),
            &column(counted, |row| moment(row.id)),
            &column(counted, |row| row.event.kind.as_str()),
            &column(counted, |row| row.event.kind.outcome().as_str()),
            &column(counted, |row| row.event.user),
            &column(counted, |row| row.event.actor.id()),
            &column(counted, |row| row.event.actor.as_str()),
            &column(counted, |row| row.event.session),
            &column(counted, |row| row.event.address.as_deref()),
            &column(counted, |row| row.event.reason.as_deref()),
            &column(counted, |row| row.count),
        ];
        self.connection()
            .await?
            .change(COUNT, params)
            .await
            .map(drop)
    }

    /// The events of a user before an event, newest first; one more than `limit` if there is more.
    pub async fn list_audit_events(
        &self,
        user: Uuid,
        before: Uuid,
        limit: u8,
    ) -> Result<Vec<StoredAuditEvent>, Error> {
        let rows = self
            .connection()
            .await?
            .all(LIST, &[&user, &before, &(i64::from(limit) + 1)])
            .await?;
        rows.iter().map(read).collect()
    }
}

/// The time in a uuid v7: its first 48 bits are milliseconds since the epoch.
fn moment(id: Uuid) -> OffsetDateTime {
    let milliseconds = id.as_bytes()[..6]
        .iter()
        .fold(0, |sum, byte| sum << 8 | i128::from(*byte));
    OffsetDateTime::from_unix_timestamp_nanos(milliseconds * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn read(row: &Row) -> Result<StoredAuditEvent, Error> {
    Ok(StoredAuditEvent {
        id: row.try_get("id")?,
        at: row.try_get("at")?,
        event: row.try_get("event")?,
        outcome: row.try_get("outcome")?,
        actor: row.try_get("actor")?,
        actor_id: row.try_get("actor_id")?,
        session: row.try_get("session_id")?,
        address: row.try_get("ip_address")?,
        agent: row.try_get("user_agent")?,
        reason: row.try_get("reason")?,
        count: row.try_get("count")?,
    })
}
