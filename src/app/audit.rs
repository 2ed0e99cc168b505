//! Use cases: list and search audit events, and record denied operations.
//!
//! A change and its audit event are stored in one transaction, and the event is logged after the
//! commit. A denied operation changes nothing, so its event is logged immediately and counted here.
//! Equal denied events within a minute share one row, so that an attacker who guesses passwords
//! doesn't fill the disk. Counts are written within a second. If a replica is killed, at most the
//! counts of that second are lost.

mod search;

pub use crate::postgres::StoredAuditEvent;
pub use search::AuditFilter;

use crate::{
    app::{clock::Clock, origin::Origin},
    error::{Chain, Error},
    postgres::{self, CountedEvent, Postgres},
};
use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use latchkey_domain::{
    access_token::Claims,
    audit::{Actor, AuditEvent, EventKind, Outcome, minute},
    page::Page,
};
use tokio::sync::Notify;
use uuid::Uuid;

/// The delay before each write, so that one statement writes many counts.
const WRITE_DELAY: Duration = Duration::from_millis(500);

/// New rows per minute, and rows that can wait to be written. Beyond this number, denied events are
/// counted without user and origin, so that an attacker can fill neither the disk nor the memory.
const MAX_ROWS_PER_MINUTE: usize = 5_000;

/// Rows per statement.
const ROWS_PER_WRITE: usize = 1_000;

/// Lists audit events, and records denied operations.
pub struct Audit {
    pub(super) postgres: Arc<Postgres>,
    pub(super) clock: Arc<Clock>,
    pub(super) denied_events: DeniedEvents,
}

/// Counts of denied events that wait to be written.
#[derive(Default)]
pub struct DeniedEvents {
    state: Mutex<PendingEvents>,
    /// Notified when an event was added.
    ready: Notify,
    /// Held from taking a batch until it is written or returned.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct PendingEvents {
    /// By the ID of the row.
    waiting: HashMap<Uuid, CountedEvent>,
    /// The start of the current minute, in milliseconds since the Unix epoch.
    minute: u64,
    /// The rows of the current minute, including those that are already written.
    rows: HashSet<Uuid>,
}

impl PendingEvents {
    /// Reserves a row for an event, and returns whether the event can have it.
    fn reserve_row(&mut self, minute: u64, id: Uuid) -> bool {
        if minute != self.minute {
            self.minute = minute;
            self.rows.clear();
        }
        let is_known = self.rows.contains(&id) || self.waiting.contains_key(&id);
        if is_known || self.rows.len().max(self.waiting.len()) >= MAX_ROWS_PER_MINUTE {
            return is_known;
        }
        self.rows.insert(id)
    }

    /// Adds the count to that of the same row.
    fn merge(&mut self, counted: CountedEvent) {
        let count = counted.count;
        self.waiting
            .entry(counted.id)
            .and_modify(|existing| existing.count += count)
            .or_insert(counted);
    }
}

impl DeniedEvents {
    /// Counts an event that occurred at this time, in milliseconds since the Unix epoch.
    fn add(&self, event: AuditEvent, at_ms: u64) {
        let minute = minute(at_ms);
        let count_once = |event: AuditEvent| CountedEvent {
            id: event.id_in_minute(minute),
            event,
            count: 1,
        };
        let mut counted = count_once(event);
        let mut state = self.lock();
        if !state.reserve_row(minute, counted.id) {
            counted = count_once(AuditEvent::new(
                counted.event.kind,
                Actor::Unauthenticated,
                None,
            ));
        }
        state.merge(counted);
        drop(state);
        self.ready.notify_one();
    }

    /// Removes at most one batch.
    fn take(&self) -> Vec<CountedEvent> {
        let waiting = &mut self.lock().waiting;
        let ids: Vec<Uuid> = waiting.keys().take(ROWS_PER_WRITE).copied().collect();
        ids.iter().filter_map(|id| waiting.remove(id)).collect()
    }

    /// Returns a batch that couldn't be written to the waiting events.
    ///
    /// If the statement was committed and only its response was lost, the batch is counted twice.
    fn return_batch(&self, batch: Vec<CountedEvent>) {
        let mut state = self.lock();
        batch.into_iter().for_each(|counted| state.merge(counted));
    }

    fn lock(&self) -> MutexGuard<'_, PendingEvents> {
        self.state.lock().expect("no holder panics")
    }
}

impl Origin {
    /// Creates an audit event with this origin.
    pub(crate) fn event(
        &self,
        kind: EventKind,
        actor: Actor,
        subject_id: Option<Uuid>,
    ) -> AuditEvent {
        AuditEvent::new(kind, actor, subject_id)
            .from(&self.address.to_string(), self.agent.as_deref())
    }

    /// Creates an audit event of the caller about the caller's own user, with this origin.
    pub(crate) fn self_event(&self, kind: EventKind, caller: &Claims) -> AuditEvent {
        let event = self.event(kind, Actor::User(caller.sub), Some(caller.sub));
        match caller.sid {
            Some(session_id) => event.of_session(session_id),
            None => event,
        }
    }
}

/// A page of the audit events of a user.
pub struct AuditEventPage {
    /// The events in descending order of time.
    pub events: Vec<StoredAuditEvent>,
    /// The cursor of the next page; `None` for the last page.
    pub next: Option<String>,
}

impl AuditEventPage {
    /// Hides the details of administrators from a user.
    fn redacted(mut self, user_id: Uuid) -> AuditEventPage {
        let events = self.events.iter_mut();
        events.for_each(|event| redact_admin(event, user_id));
        self
    }
}

impl Audit {
    /// Returns a page of the caller's audit events.
    ///
    /// If an administrator or the operator caused an event, it contains no actor ID and no origin.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_own_audit_events(
        &self,
        caller: &Claims,
        page: Page,
    ) -> Result<AuditEventPage, Error> {
        let page = self.list_page(caller.sub, page).await?;
        Ok(page.redacted(caller.sub))
    }

    /// Returns a page of the caller's audit events that are failures, like
    /// [`Audit::list_own_audit_events`].
    ///
    /// If few events are failures, a page can contain fewer events than its limit, or none,
    /// although a next page exists.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_own_failures(
        &self,
        caller: &Claims,
        page: Page,
    ) -> Result<AuditEventPage, Error> {
        let kinds = EventKind::ALL.iter().copied();
        let filter = AuditFilter {
            subject_id: Some(caller.sub),
            kinds: Some(
                kinds
                    .filter(|kind| kind.outcome() == Outcome::Failure)
                    .collect(),
            ),
            ..AuditFilter::default()
        };
        let page = self.search_audit_events(&filter, page).await?;
        Ok(page.redacted(caller.sub))
    }

    /// Returns a page of the audit events of any user, including a deleted user.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn list_user_audit_events(
        &self,
        user_id: Uuid,
        page: Page,
    ) -> Result<AuditEventPage, Error> {
        let event_page = self.list_page(user_id, page).await?;
        if event_page.events.is_empty()
            && page.after.is_nil()
            && self.postgres.find_user(user_id).await?.is_none()
        {
            return Err(Error::NotFound);
        }
        Ok(event_page)
    }

    async fn list_page(&self, user_id: Uuid, page: Page) -> Result<AuditEventPage, Error> {
        // The list is in descending order, so the first page starts below the largest ID.
        let before = if page.after.is_nil() {
            Uuid::max()
        } else {
            page.after
        };
        let (events, next) = page.cut(
            self.postgres
                .list_audit_events(user_id, before, page.limit)
                .await?,
            |event| event.id,
        );
        Ok(AuditEventPage { events, next })
    }

    /// Logs a denied operation immediately, and counts it in PostgreSQL within a second.
    ///
    /// The row contains the network instead of the IP address. Otherwise an attacker could create a
    /// row for each address of a network.
    pub(crate) fn record_denied(&self, event: AuditEvent, origin: &Origin) {
        postgres::log_event(&event);
        self.denied_events
            .add(event.from(&origin.network(), None), self.clock.now_ms());
    }

    /// Writes denied events until the process exits.
    pub async fn run_denied_events_worker(self: Arc<Self>) {
        let mut is_failing = false;
        loop {
            self.denied_events.ready.notified().await;
            tokio::time::sleep(WRITE_DELAY).await;
            match self.write_denied_events().await {
                Ok(()) => is_failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut is_failing, true) {
                        tracing::warn!(
                            error = %Chain(&error),
                            "writing denied events failed; retrying"
                        );
                    }
                    self.denied_events.ready.notify_one();
                }
            }
        }
    }

    /// Writes all waiting events, including those that a concurrent write returns.
    pub(crate) async fn write_denied_events(&self) -> Result<(), Error> {
        let _guard = self.denied_events.writing.lock().await;
        loop {
            let batch = self.denied_events.take();
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.postgres.count_events(&batch).await {
                self.denied_events.return_batch(batch);
                return Err(error);
            }
        }
    }
}

/// Removes the actor ID and the origin if an administrator or the operator caused the event.
pub(crate) fn redact_admin(event: &mut StoredAuditEvent, user_id: Uuid) {
    if event.actor_id != Some(user_id) && !Actor::is_visible_to_user(&event.actor) {
        (event.actor_id, event.address, event.agent) = (None, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn denied_event(user: u128) -> AuditEvent {
        AuditEvent::new(
            EventKind::SignInFailed,
            Actor::Unauthenticated,
            Some(Uuid::from_u128(user)),
        )
        .from("192.0.2.1", None)
    }

    #[test]
    fn failed_write_keeps_one_row_per_event_and_minute() {
        let denied_events = DeniedEvents::default();
        denied_events.add(denied_event(1), 60_000);
        denied_events.add(denied_event(1), 119_999);
        denied_events.add(denied_event(1), 120_000);
        let batch = denied_events.take();
        denied_events.add(denied_event(1), 60_001);
        denied_events.return_batch(batch);
        let mut counts: Vec<i64> = denied_events
            .take()
            .iter()
            .map(|counted| counted.count)
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 3]);
    }

    fn take_all(denied_events: &DeniedEvents) -> Vec<CountedEvent> {
        let batches =
            std::iter::repeat_with(|| denied_events.take()).take_while(|batch| !batch.is_empty());
        batches.flatten().collect()
    }

    #[test]
    fn row_limit_bounds_rows_and_keeps_all_counts() {
        let denied_events = DeniedEvents::default();
        let mut rows = Vec::new();
        for user in 0..20_000 {
            denied_events.add(denied_event(user), 60_000);
            assert!(denied_events.lock().waiting.len() <= MAX_ROWS_PER_MINUTE + 1);
            // A write frees memory, but doesn't raise the limit of the minute.
            if user % 3_000 == 0 {
                rows.extend(take_all(&denied_events));
            }
        }
        // An event that has a row is still counted there.
        denied_events.add(denied_event(1), 60_000);
        rows.extend(take_all(&denied_events));
        let ids: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), MAX_ROWS_PER_MINUTE + 1);
        let anonymous_count = rows
            .iter()
            .filter(|row| row.event.subject_id.is_none())
            .map(|row| row.count)
            .sum::<i64>();
        assert_eq!(
            (
                rows.iter().map(|row| row.count).sum::<i64>(),
                anonymous_count
            ),
            (20_001, 15_000)
        );
        denied_events.add(denied_event(30_000), 120_000);
        assert!(
            take_all(&denied_events)[0].event.subject_id.is_some(),
            "the next minute has its own limit"
        );
    }
}
