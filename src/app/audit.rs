//! What happened, and to whom it is shown.
//!
//! What changes the record is recorded with that change, in one transaction, and told to the log
//! when it is committed. What changes nothing, because it was refused, is told to the log at once
//! and counted here: rows of the record are for a minute each, so that whoever guesses passwords
//! fills no disk. Counts are written within a second; a replica that is killed takes at most that
//! second along.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use latchkey_domain::{
    access_token::Claims,
    audit::{Actor, AuditEvent, EventKind, minute},
    page::Page,
};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin},
    error::{Chain, Error},
    postgres::{self, CountedEvent, StoredAuditEvent},
};

/// Between two writes.
const WRITE_INTERVAL: Duration = Duration::from_millis(500);

/// Rows of a minute, and rows that may wait. Beyond, what is refused is counted without saying to
/// whom and from where: neither disk nor memory grows with what strangers do.
const MAX_ROWS_PER_MINUTE: usize = 5_000;

/// Rows of one write.
const ROWS_PER_WRITE: usize = 1_000;

/// What was refused and waits to be written, by the id of its row.
#[derive(Default)]
pub struct DeniedEvents {
    state: Mutex<PendingEvents>,
    bell: Notify,
    /// Held while a batch is neither waiting nor written.
    writing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct PendingEvents {
    waiting: HashMap<Uuid, CountedEvent>,
    /// The minute that goes on, in ms since the epoch, and its rows.
    minute: u64,
    rows: HashSet<Uuid>,
}

impl PendingEvents {
    /// Whether there is a row with this id, or room for one.
    fn has_room(&mut self, minute: u64, id: Uuid) -> bool {
        if minute != self.minute {
            self.minute = minute;
            self.rows.clear();
        }
        let known = self.rows.contains(&id) || self.waiting.contains_key(&id);
        if known || self.rows.len().max(self.waiting.len()) >= MAX_ROWS_PER_MINUTE {
            return known;
        }
        self.rows.insert(id)
    }

    fn add(&mut self, rate_limited: CountedEvent) {
        let count = rate_limited.count;
        self.waiting
            .entry(rate_limited.id)
            .and_modify(|known| known.count += count)
            .or_insert(rate_limited);
    }
}

impl DeniedEvents {
    /// Counts an event of this moment (ms since the epoch).
    fn note(&self, event: AuditEvent, moment: u64) {
        let minute = minute(moment);
        let rate_limited = |event: AuditEvent| CountedEvent {
            id: event.id_in_minute(minute),
            event,
            count: 1,
        };
        let mut one = rate_limited(event);
        let mut state = self.state();
        if !state.has_room(minute, one.id) {
            one = rate_limited(AuditEvent::new(
                one.event.kind,
                Actor::Unauthenticated,
                None,
            ));
        }
        state.add(one);
        drop(state);
        self.bell.notify_one();
    }

    /// Takes what waits, at most one batch.
    fn take(&self) -> Vec<CountedEvent> {
        let waiting = &mut self.state().waiting;
        let ids: Vec<Uuid> = waiting.keys().take(ROWS_PER_WRITE).copied().collect();
        ids.iter().filter_map(|id| waiting.remove(id)).collect()
    }

    /// If the write was made after all, and only its answer came too late, these are counted twice.
    fn put_back(&self, batch: Vec<CountedEvent>) {
        let mut state = self.state();
        batch
            .into_iter()
            .for_each(|rate_limited| state.add(rate_limited));
    }

    fn state(&self) -> MutexGuard<'_, PendingEvents> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

impl Origin {
    /// Something that came from here.
    pub(crate) fn event(&self, kind: EventKind, actor: Actor, user: Option<Uuid>) -> AuditEvent {
        AuditEvent::new(kind, actor, user).from(&self.address.to_string(), self.agent.as_deref())
    }

    /// Something that the caller did to the own account, from here.
    pub(crate) fn self_event(&self, kind: EventKind, caller: &Claims) -> AuditEvent {
        let event = self.event(kind, Actor::User(caller.sub), Some(caller.sub));
        match caller.sid {
            Some(sid) => event.of_session(sid),
            None => event,
        }
    }
}

/// A page of what happened to an account.
pub struct AuditEventPage {
    /// The events, the newest first.
    pub events: Vec<StoredAuditEvent>,
    /// Where the next page goes on, if there is one.
    pub next: Option<String>,
}

impl Gateway {
    /// What happened to the caller's own account. Where others did it, it does not say from where,
    /// nor which of them.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_own_audit_events(
        &self,
        caller: &Claims,
        page: Page,
    ) -> Result<AuditEventPage, Error> {
        let mut page = self.audit_page(caller.sub, page).await?;
        page.events
            .iter_mut()
            .for_each(|event| redact_admin(event, caller.sub));
        Ok(page)
    }

    /// What happened to any account, also after its end.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn list_audit_events_of_user(
        &self,
        user: Uuid,
        page: Page,
    ) -> Result<AuditEventPage, Error> {
        let found = self.audit_page(user, page).await?;
        if found.events.is_empty()
            && page.after.is_nil()
            && self.postgres.find_user(user).await?.is_none()
        {
            return Err(Error::NotFound);
        }
        Ok(found)
    }

    async fn audit_page(&self, user: Uuid, page: Page) -> Result<AuditEventPage, Error> {
        // Nothing was seen yet: before all that there is, and it is read downwards.
        let before = if page.after.is_nil() {
            Uuid::max()
        } else {
            page.after
        };
        let (events, next) = page.cut(
            self.postgres
                .list_audit_events(user, before, page.limit)
                .await?,
            |event| event.id,
        );
        Ok(AuditEventPage { events, next })
    }

    /// Tells of something that was refused: the log at once, the record within a second. There the
    /// network stands for the address, so that nobody makes a row of each of the addresses that are
    /// his.
    pub(crate) fn record_denied(&self, event: AuditEvent, origin: &Origin) {
        postgres::tell(&event);
        self.denied_events
            .note(event.from(&origin.network(), None), self.clock.now_ms());
    }

    /// Writes what was refused until the process ends.
    pub async fn run_denied_events_worker(self: Arc<Self>) {
        let mut failing = false;
        loop {
            self.denied_events.bell.notified().await;
            tokio::time::sleep(WRITE_INTERVAL).await;
            match self.write_denied_events().await {
                Ok(()) => failing = false,
                Err(error) => {
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(
                            error = %Chain(&error),
                            "writing denied events failed; retrying"
                        );
                    }
                    self.denied_events.bell.notify_one();
                }
            }
        }
    }

    /// Writes all that waits, also what a write under way could not.
    pub(crate) async fn write_denied_events(&self) -> Result<(), Error> {
        let _alone = self.denied_events.writing.lock().await;
        loop {
            let batch = self.denied_events.take();
            if batch.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.postgres.count_events(&batch).await {
                self.denied_events.put_back(batch);
                return Err(error);
            }
        }
    }
}

/// What an administrator or the operator did is shown, but not who and from where.
fn redact_admin(event: &mut StoredAuditEvent, owner: Uuid) {
    if event.actor_id != Some(owner) && !Actor::is_visible_to_owner(&event.actor) {
        (event.actor_id, event.address, event.agent) = (None, None, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(user: u128) -> AuditEvent {
        AuditEvent::new(
            EventKind::SignInFailed,
            Actor::Unauthenticated,
            Some(Uuid::from_u128(user)),
        )
        .from("192.0.2.1", None)
    }

    #[test]
    fn what_is_alike_is_one_row_and_what_could_not_be_written_is_added_again() {
        let denied_events = DeniedEvents::default();
        denied_events.note(refused(1), 60_000);
        denied_events.note(refused(1), 119_999);
        denied_events.note(refused(1), 120_000);
        let batch = denied_events.take();
        denied_events.note(refused(1), 60_001);
        denied_events.put_back(batch);
        let mut counts: Vec<i64> = denied_events
            .take()
            .iter()
            .map(|rate_limited| rate_limited.count)
            .collect();
        counts.sort_unstable();
        assert_eq!(counts, [1, 3]);
    }

    fn drained(denied_events: &DeniedEvents) -> Vec<CountedEvent> {
        let batches =
            std::iter::repeat_with(|| denied_events.take()).take_while(|batch| !batch.is_empty());
        batches.flatten().collect()
    }

    #[test]
    fn rows_are_bounded_in_memory_and_by_the_minute_and_nothing_is_uncounted() {
        let denied_events = DeniedEvents::default();
        let mut rows = Vec::new();
        for user in 0..20_000 {
            denied_events.note(refused(user), 60_000);
            assert!(denied_events.state().waiting.len() <= MAX_ROWS_PER_MINUTE + 1);
            // Written now and then, which makes no room within the minute.
            if user % 3_000 == 0 {
                rows.extend(drained(&denied_events));
            }
        }
        // Those that are known are still told apart.
        denied_events.note(refused(1), 60_000);
        rows.extend(drained(&denied_events));
        let ids: HashSet<Uuid> = rows.iter().map(|row| row.id).collect();
        assert_eq!(ids.len(), MAX_ROWS_PER_MINUTE + 1);
        let nobodys = rows
            .iter()
            .filter(|row| row.event.user.is_none())
            .map(|row| row.count)
            .sum::<i64>();
        assert_eq!(
            (rows.iter().map(|row| row.count).sum::<i64>(), nobodys),
            (20_001, 15_000)
        );
        denied_events.note(refused(30_000), 120_000);
        assert!(
            drained(&denied_events)[0].event.user.is_some(),
            "another minute has room"
        );
    }
}
