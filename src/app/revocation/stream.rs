//! What is taken back, told to those who check tokens themselves or hold connections that outlive a
//! token.
//!
//! Each reader has a task of its own, which asks for what came since (`domain::revocation::feed`)
//! and hands it on in small batches, one at a time: a reader that takes nothing holds up nobody,
//! costs no more memory, and is dropped. Who begins, or has missed too much, is told everything
//! that is in memory first.
//!
//! Once a second a reader is told whether this replica has a lease. If so, what it was told before
//! is all that was appended until a lease ago. The lease is looked at first, and what came since
//! second, as in checks.

mod event;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

pub use crate::app::revocation::stream::event::StreamEvent;
use latchkey_domain::revocation::{
    Entry,
    lease::{LogPosition, source_without_lease},
    recent_entries::{RecentEntries, StreamUpdate},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};

use crate::{
    app::{
        Gateway,
        clock::{self, moment},
    },
    error::Error,
};

/// Entries that are kept for those who were away for a moment: some seconds of a thousand sign-outs
/// a second; less than a megabyte.
const KEPT: usize = 10_000;

/// Entries of one batch: 30 kB on the wire.
const BATCH: usize = 200;

/// Between two words about the lease.
const BEAT: Duration = Duration::from_secs(1);

/// Who takes nothing for so long is dropped.
const TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// Everything is told within this time, because what goes meanwhile is not freed: a million entries
/// at half a megabyte a second.
const ALL_WITHIN: Duration = Duration::from_secs(300);

/// Why a stream ended.
#[derive(Debug, Clone, Copy)]
enum Ended {
    /// The reader went away.
    RemainingQuota,
    /// Its token is not good any more.
    Refused,
    /// It takes too little: it is told everything when it comes back.
    Behind,
    /// This replica is about to end.
    Draining,
}

impl Ended {
    const fn as_str(self) -> &'static str {
        match self {
            Ended::RemainingQuota => "disconnected",
            Ended::Refused => "token_invalid",
            Ended::Behind => "behind",
            Ended::Draining => "draining",
        }
    }
}

/// What there is to tell.
pub struct RevocationStream {
    end: watch::Sender<End>,
    /// Streams.
    open: AtomicUsize,
}

/// The end of the log, and whether anybody is told of it.
struct End {
    recent: RecentEntries,
    closed: bool,
}

impl Default for RevocationStream {
    fn default() -> RevocationStream {
        let end = End {
            recent: RecentEntries::new(KEPT),
            closed: false,
        };
        RevocationStream {
            end: watch::Sender::new(end),
            open: AtomicUsize::new(0),
        }
    }
}

impl RevocationStream {
    /// A log is followed, from before its first entry.
    pub fn begin(&self, before: LogPosition<String>) {
        self.end.send_modify(|end| end.recent.begin(before));
    }

    /// The log is not what it should be: it is to be read again.
    pub fn forget(&self) {
        self.end.send_modify(|end| end.recent.forget());
    }

    /// Its next entries, which are in memory already. Nobody is woken for those that are not told.
    pub fn extend(&self, entries: impl Iterator<Item = (u64, Entry)>) {
        self.end.send_if_modified(|end| end.recent.extend(entries));
    }

    /// Everybody is sent away.
    pub fn close(&self) {
        self.end.send_modify(|end| end.closed = true);
    }

    /// The next batch for somebody who has come so far, and the number of the last that is told.
    fn after(&self, known: Option<&LogPosition<String>>) -> Result<(StreamUpdate, u64), Ended> {
        let end = self.end.borrow();
        if end.closed {
            Err(Ended::Draining)
        } else {
            Ok((end.recent.after(known, BATCH), end.recent.last()))
        }
    }
}

/// One of the streams that are open, as long as this lives.
struct Place(Arc<Gateway>);

impl Place {
    fn take(gateway: &Arc<Gateway>) -> Result<Place, Error> {
        let (feed, most) = (&gateway.revocations.feed, gateway.config.revocation_streams);
        let one_more = |open| (open < most).then_some(open + 1);
        feed.open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map_err(|_| Error::Busy)?;
        metrics::gauge!("latchkey_revocation_streams").increment(1.0);
        Ok(Place(gateway.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.revocations.feed.open.fetch_sub(1, Ordering::Relaxed);
        metrics::gauge!("latchkey_revocation_streams").decrement(1.0);
    }
}

/// What somebody is told, batch by batch.
pub struct Subscription(mpsc::Receiver<Vec<StreamEvent>>);

impl Subscription {
    /// The next batch; nothing when it is over.
    pub async fn next(&mut self) -> Option<Vec<StreamEvent>> {
        self.0.recv().await
    }
}

/// The one who tells a reader.
struct SubscriberTask {
    gateway: Arc<Gateway>,
    /// That of the reader, who is told nothing without it.
    token: String,
    reader: mpsc::Sender<Vec<StreamEvent>>,
    news: watch::Receiver<End>,
    /// How far the reader has come.
    known: Option<LogPosition<String>>,
    /// Whether it was told anything yet; what it said itself does not count.
    has_told: bool,
    /// What it was told of the lease last.
    leased: Option<bool>,
    /// Whether it is time to say that again.
    is_due: bool,
}

type Room = mpsc::OwnedPermit<Vec<StreamEvent>>;

impl Gateway {
    /// Tells what is taken back from now on to whoever has this token, which was good just now:
    /// after this position, or everything first.
    ///
    /// # Errors
    /// `busy`: there are too many already, or this replica is about to end.
    pub fn follow(
        self: &Arc<Self>,
        token: String,
        known: Option<LogPosition<String>>,
    ) -> Result<Subscription, Error> {
        let place = Place::take(self)?;
        let news = self.revocations.feed.end.subscribe();
        if news.borrow().closed {
            return Err(Error::Busy);
        }
        let (reader, following) = mpsc::channel(1);
        let gateway = self.clone();
        let mut teller = SubscriberTask {
            gateway,
            token,
            reader,
            news,
            known,
            has_told: false,
            leased: None,
            is_due: false,
        };
        tokio::spawn(async move {
            let ended = teller.tell().await;
            let reason = ended.as_str();
            metrics::counter!("latchkey_revocation_streams_closed_total", "reason" => reason)
                .increment(1);
            drop(place);
            // Now the reader learns that it is over: when it comes back there is room.
            drop(teller);
        });
        Ok(Subscription(following))
    }
}

impl SubscriberTask {
    async fn tell(&mut self) -> Ended {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            self.is_due |= tokio::select! {
                () = self.reader.closed() => return Ended::RemainingQuota,
                _ = beat.tick() => true,
                // The gateway holds the other end.
                _ = self.news.changed() => false,
            };
            loop {
                match self.send_batch().await {
                    Ok(true) => break,
                    Ok(false) => {}
                    Err(ended) => return ended,
                }
            }
        }
    }

    /// One batch; whether the reader has come to the end.
    async fn send_batch(&mut self) -> Result<bool, Ended> {
        let room = self.room().await?;
        if !self.is_leased() && self.is_lease_news_due(false) {
            // At once: the next question may wait for a store.
            send(
                room,
                vec![StreamEvent::Degraded {
                    check_source: source_without_lease(self.gateway.revocations.sight()),
                }],
            );
            return Ok(false);
        }
        self.check_token().await?;
        let leased = self.is_leased();
        let (news, last) = self.gateway.revocations.feed.after(self.known.as_ref())?;
        match news {
            StreamUpdate::NotFollowing => Ok(true),
            StreamUpdate::Resync(position) => {
                self.send_snapshot(room, position).await.map(|()| false)
            }
            StreamUpdate::Entries { told, position } => {
                let is_all = told.len() < BATCH;
                let epoch: Arc<str> = position.epoch.as_str().into();
                let mut events: Vec<StreamEvent> = told
                    .into_iter()
                    .map(|told| StreamEvent::Revoked {
                        told,
                        epoch: epoch.clone(),
                    })
                    .collect();
                if is_all && leased && self.is_lease_news_due(true) {
                    let at = moment(self.gateway.clock.now_ms());
                    events.push(StreamEvent::Heartbeat {
                        position: position.clone(),
                        previous: last,
                        at,
                    });
                }
                send(room, events);
                (self.known, self.has_told) = (Some(position), true);
                Ok(is_all)
            }
        }
    }

    /// Everything that is in memory. The position is older than the look at memory, so nothing is
    /// left out; what comes twice does no harm.
    async fn send_snapshot(
        &mut self,
        room: Room,
        position: LogPosition<String>,
    ) -> Result<(), Ended> {
        let is_of_the_same = self
            .known
            .as_ref()
            .is_some_and(|known| known.epoch == position.epoch);
        if self.has_told && is_of_the_same {
            return Err(Ended::Behind);
        }
        let gateway = self.gateway.clone();
        let (revocations, now) = (&gateway.revocations, gateway.clock.now());
        let over = Instant::now() + ALL_WITHIN;
        send(
            room,
            vec![StreamEvent::Snapshot {
                position: position.clone(),
                entries: revocations.entries(),
            }],
        );
        let hold = revocations.set.set().hold();
        let mut all = revocations
            .set
            .set()
            .all(&hold)
            .filter(|entry| is_streamed(entry, now))
            .map(StreamEvent::SnapshotEntry);
        loop {
            let batch: Vec<StreamEvent> = all.by_ref().take(BATCH).collect();
            if batch.is_empty() {
                break;
            }
            let room = self.room().await?;
            self.check_token().await?;
            // Draining, or so slow that more has come meanwhile than is kept.
            revocations.feed.after(None)?;
            if Instant::now() > over || !revocations.feed.end.borrow().recent.covers(&position) {
                return Err(Ended::Behind);
            }
            send(room, batch);
        }
        send(
            self.room().await?,
            vec![StreamEvent::Synced(position.clone())],
        );
        // Only now what is said of the lease is true of the reader as well.
        (self.known, self.has_told, self.leased) = (Some(position), true, None);
        Ok(())
    }

    /// Waits until the reader has taken what it was told before.
    async fn room(&self) -> Result<Room, Ended> {
        match timeout(TAKEN_WITHIN, self.reader.clone().reserve_owned()).await {
            Ok(Ok(room)) => Ok(room),
            Ok(Err(_)) => Err(Ended::RemainingQuota),
            Err(_) => Err(Ended::Behind),
        }
    }

    /// Whether it is still good. A store that cannot answer takes nothing back.
    async fn check_token(&self) -> Result<(), Ended> {
        match self.gateway.verify(&self.token).await {
            Err(Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked) => {
                Err(Ended::Refused)
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    fn is_leased(&self) -> bool {
        self.gateway.revocations.set.is_leased(clock::uptime())
    }

    /// Once a second, and whenever it has changed.
    fn is_lease_news_due(&mut self, leased: bool) -> bool {
        std::mem::take(&mut self.is_due) | (self.leased.replace(leased) != Some(leased))
    }
}

/// Whether somebody outside is told of it, and it still matters.
fn is_streamed(entry: &Entry, now: u64) -> bool {
    entry.subject.stream_name().is_some() && entry.state.ends_at > now
}

fn send(room: Room, events: Vec<StreamEvent>) {
    for event in &events {
        metrics::counter!("latchkey_revocation_stream_events_total", "event" => event.name())
            .increment(1);
    }
    if !events.is_empty() {
        room.send(events);
    }
}
