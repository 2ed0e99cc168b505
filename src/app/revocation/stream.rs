//! The revocation stream: revocations for services that validate tokens locally, or hold
//! connections that outlive a token.
//!
//! Each subscriber has its own task, which sends new entries
//! ([`latchkey_domain::revocation::recent_entries`]) in small batches, one at a time. A slow
//! subscriber delays no other one, needs no more memory, and is disconnected. A new subscriber, or
//! one that has missed too many entries, first receives a snapshot of the revocation set.
//!
//! Once per second, the task sends whether this replica holds a lease. With a lease, the subscriber
//! has received everything that was appended until a lease ago. As in checks, the lease is read
//! before the entries.

mod event;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::future::BoxFuture;
use latchkey_domain::revocation::{
    Entry,
    lease::{LogPosition, source_without_lease},
    recent_entries::{RecentEntries, StreamUpdate},
};
use strum::IntoStaticStr;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

pub use event::StreamEvent;

use super::Revocations;
use crate::{
    app::clock::{self, timestamp_from_ms},
    error::Error,
};

/// Entries that are kept for subscribers that reconnect: a few seconds of a thousand sign-outs per
/// second, in less than a megabyte.
const MAX_RECENT_ENTRIES: usize = 10_000;

/// Entries per batch: 30 kB on the connection.
const ENTRIES_PER_BATCH: usize = 200;

/// The interval between two events about the lease.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// A subscriber that reads nothing for this time is disconnected.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest time of a snapshot, because removed entries aren't freed meanwhile. It suffices for
/// a million entries at half a megabyte per second.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);

/// Verifies the subscriber's token again.
pub(crate) type TokenCheck = Box<dyn Fn() -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// The reason why a stream was closed.
#[derive(Debug, Clone, Copy, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
enum CloseReason {
    /// The subscriber disconnected.
    Disconnected,
    /// The subscriber's token is expired or revoked.
    TokenInvalid,
    /// The subscriber reads too slowly. It receives a snapshot when it reconnects.
    Behind,
    /// This replica drains.
    Draining,
}

/// The entries for subscribers, and the number of subscribers.
pub(super) struct RevocationStream {
    tail: watch::Sender<LogTail>,
    open: AtomicUsize,
}

/// The end of the log.
struct LogTail {
    recent: RecentEntries,
    /// Whether all streams are to be closed.
    is_closed: bool,
}

impl Default for RevocationStream {
    fn default() -> RevocationStream {
        RevocationStream {
            tail: watch::Sender::new(LogTail {
                recent: RecentEntries::new(MAX_RECENT_ENTRIES),
                is_closed: false,
            }),
            open: AtomicUsize::new(0),
        }
    }
}

impl RevocationStream {
    /// Follows a log from the position before its first entry.
    pub fn begin(&self, before: LogPosition<String>) {
        self.tail.send_modify(|tail| tail.recent.begin(before));
    }

    /// Discards the entries, because the log must be read again.
    pub fn forget(&self) {
        self.tail.send_modify(|tail| tail.recent.forget());
    }

    /// Adds the next entries, which are in the revocation set already. Wakes the subscribers only
    /// if an entry is visible to them.
    pub fn extend(&self, entries: impl Iterator<Item = (u64, Entry)>) {
        self.tail
            .send_if_modified(|tail| tail.recent.extend(entries));
    }

    /// Closes all streams.
    pub fn close(&self) {
        self.tail.send_modify(|tail| tail.is_closed = true);
    }

    /// The next batch after a position, and the sequence number of the last visible entry.
    fn after(
        &self,
        position: Option<&LogPosition<String>>,
    ) -> Result<(StreamUpdate, u64), CloseReason> {
        let tail = self.tail.borrow();
        if tail.is_closed {
            return Err(CloseReason::Draining);
        }
        let update = tail.recent.after(position, ENTRIES_PER_BATCH);
        Ok((update, tail.recent.last()))
    }

    /// Whether all entries after a position are still kept.
    fn covers(&self, position: &LogPosition<String>) -> bool {
        self.tail.borrow().recent.covers(position)
    }
}

/// Counts one open stream until it is dropped.
struct OpenStream(Arc<Revocations>);

impl OpenStream {
    fn open(revocations: &Arc<Revocations>) -> Result<OpenStream, Error> {
        let max = revocations.settings.max_streams;
        let one_more = |open| (open < max).then_some(open + 1);
        revocations
            .stream
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_| Error::Busy)?;
        metrics::gauge!("latchkey_revocation_streams").increment(1.0);
        Ok(OpenStream(revocations.clone()))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.stream.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("latchkey_revocation_streams").decrement(1.0);
    }
}

/// The events for one subscriber.
pub struct Subscription(mpsc::Receiver<Vec<StreamEvent>>);

impl Subscription {
    /// Waits for the next batch. Returns `None` when the stream is closed.
    pub async fn next(&mut self) -> Option<Vec<StreamEvent>> {
        self.0.recv().await
    }
}

/// Sends events to one subscriber.
struct SubscriberTask {
    revocations: Arc<Revocations>,
    check_token: TokenCheck,
    subscriber: mpsc::Sender<Vec<StreamEvent>>,
    tail: watch::Receiver<LogTail>,
    /// The last entry that the subscriber has received.
    position: Option<LogPosition<String>>,
    /// Whether an entry was sent. The position that the subscriber requested doesn't count.
    has_sent: bool,
    /// Whether this replica held a lease in the last event about it.
    sent_lease: Option<bool>,
    is_heartbeat_due: bool,
}

/// The capacity for one batch.
type Permit = mpsc::OwnedPermit<Vec<StreamEvent>>;

impl Revocations {
    /// Subscribes to revocations: after a position, or with a snapshot first. `check_token` is
    /// called before each batch.
    ///
    /// # Errors
    /// `busy` if too many streams are open, or this replica drains.
    pub(crate) fn subscribe(
        self: &Arc<Self>,
        check_token: TokenCheck,
        position: Option<LogPosition<String>>,
    ) -> Result<Subscription, Error> {
        let open_stream = OpenStream::open(self)?;
        let tail = self.stream.tail.subscribe();
        if tail.borrow().is_closed {
            return Err(Error::Busy);
        }
        let (subscriber, events) = mpsc::channel(1);
        let mut task = SubscriberTask {
            revocations: self.clone(),
            check_token,
            subscriber,
            tail,
            position,
            has_sent: false,
            sent_lease: None,
            is_heartbeat_due: false,
        };
        tokio::spawn(async move {
            let reason = task.run().await.into_str();
            metrics::counter!("latchkey_revocation_streams_closed_total", "reason" => reason)
                .increment(1);
            // Before the channel closes, so that a subscriber that reconnects finds a free stream.
            drop(open_stream);
            drop(task);
        });
        Ok(Subscription(events))
    }
}

impl SubscriberTask {
    async fn run(&mut self) -> CloseReason {
        let mut heartbeat = interval(HEARTBEAT_INTERVAL);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.is_heartbeat_due |= tokio::select! {
                () = self.subscriber.closed() => return CloseReason::Disconnected,
                _ = heartbeat.tick() => true,
                // The sender lives as long as `revocations`.
                _ = self.tail.changed() => false,
            };
            loop {
                match self.send_batch().await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(reason) => return reason,
                }
            }
        }
    }

    /// Sends one batch. Returns whether the subscriber has received all entries.
    async fn send_batch(&mut self) -> Result<bool, CloseReason> {
        let permit = self.reserve().await?;
        if !self.is_leased() && self.should_send_lease(false) {
            // Before the check of the token, which might wait for a store.
            send(
                permit,
                vec![StreamEvent::Degraded {
                    check_source: source_without_lease(self.revocations.log_health()),
                }],
            );
            return Ok(false);
        }
        self.require_valid_token().await?;
        let is_leased = self.is_leased();
        let (update, last) = self.revocations.stream.after(self.position.as_ref())?;
        match update {
            StreamUpdate::NotFollowing => Ok(true),
            StreamUpdate::Resync(position) => {
                self.send_snapshot(permit, position).await.map(|()| false)
            }
            StreamUpdate::Entries { entries, position } => {
                let is_complete = entries.len() < ENTRIES_PER_BATCH;
                let epoch: Arc<str> = position.epoch.as_str().into();
                let mut events: Vec<StreamEvent> = entries
                    .into_iter()
                    .map(|entry| StreamEvent::Revoked {
                        entry,
                        epoch: epoch.clone(),
                    })
                    .collect();
                if is_complete && is_leased && self.should_send_lease(true) {
                    events.push(StreamEvent::Heartbeat {
                        position: position.clone(),
                        previous: last,
                        at: timestamp_from_ms(self.revocations.clock.now_ms()),
                    });
                }
                send(permit, events);
                (self.position, self.has_sent) = (Some(position), true);
                Ok(is_complete)
            }
        }
    }

    /// Sends all entries of the revocation set. The position is older than the set, so no entry is
    /// missing; an entry that is sent twice is harmless.
    async fn send_snapshot(
        &mut self,
        permit: Permit,
        position: LogPosition<String>,
    ) -> Result<(), CloseReason> {
        let is_same_log = self
            .position
            .as_ref()
            .is_some_and(|own| own.epoch == position.epoch);
        if self.has_sent && is_same_log {
            return Err(CloseReason::Behind);
        }
        let revocations = self.revocations.clone();
        let (now, deadline) = (revocations.clock.now(), Instant::now() + SNAPSHOT_TIMEOUT);
        send(
            permit,
            vec![StreamEvent::Snapshot {
                position: position.clone(),
                entries: revocations.entry_count(),
            }],
        );
        let guard = revocations.set.set().guard();
        let mut entries = revocations
            .set
            .set()
            .iter(&guard)
            .filter(|entry| is_visible(entry, now))
            .map(StreamEvent::SnapshotEntry);
        loop {
            let batch: Vec<StreamEvent> = entries.by_ref().take(ENTRIES_PER_BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let permit = self.reserve().await?;
            self.require_valid_token().await?;
            // Fails if this replica drains.
            revocations.stream.after(None)?;
            if Instant::now() > deadline || !revocations.stream.covers(&position) {
                return Err(CloseReason::Behind);
            }
            send(permit, batch);
        }
        send(
            self.reserve().await?,
            vec![StreamEvent::Synced(position.clone())],
        );
        // The state of the lease applies to the subscriber only from here on.
        (self.position, self.has_sent, self.sent_lease) = (Some(position), true, None);
        Ok(())
    }

    /// Waits until the subscriber has read the previous batch.
    async fn reserve(&self) -> Result<Permit, CloseReason> {
        match timeout(READ_TIMEOUT, self.subscriber.clone().reserve_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) => Err(CloseReason::Disconnected),
            Err(_) => Err(CloseReason::Behind),
        }
    }

    /// Fails if the token is expired or revoked. An unavailable store doesn't invalidate it.
    async fn require_valid_token(&self) -> Result<(), CloseReason> {
        match (self.check_token)().await {
            Err(Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked) => {
                Err(CloseReason::TokenInvalid)
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn is_leased(&self) -> bool {
        self.revocations.set.is_leased(clock::boot_time())
    }

    /// Whether to send an event about the lease: once per second, and after each change.
    fn should_send_lease(&mut self, is_leased: bool) -> bool {
        let is_change = self.sent_lease.replace(is_leased) != Some(is_leased);
        std::mem::take(&mut self.is_heartbeat_due) || is_change
    }
}

/// Whether subscribers receive the entry, and it has not expired.
fn is_visible(entry: &Entry, now: u64) -> bool {
    entry.subject.is_streamed() && entry.state.expires_at > now
}

fn send(permit: Permit, events: Vec<StreamEvent>) {
    for event in &events {
        metrics::counter!("latchkey_revocation_stream_events_total", "event" => event.into_str())
            .increment(1);
    }
    if !events.is_empty() {
        permit.send(events);
    }
}
