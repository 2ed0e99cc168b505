//! Batches concurrent single-row queries into one statement.
//!
//! Fifty lookups by key in one statement cost PostgreSQL little more than one lookup. A batcher has
//! a fixed number of *slots*, each of which runs one statement at a time. With an idle slot, a
//! query runs directly, without a task. Otherwise it is queued, and the next free slot runs all
//! queued queries as one *batch*.
//!
//! A slot continues batching until the queue is empty. Meanwhile new callers are queued although
//! other slots are idle, because two batching slots would halve the size of a batch. Under load,
//! batching continues even if the queue is empty for a moment. If a batch is slow, another slot
//! starts batching as well.
//!
//! A caller never joins a statement that was already sent, because the statement might not see
//! earlier writes of this caller. If a batch fails because of one row, each caller repeats its own
//! query through the *fallback*, which uses no slot.

use std::{
    collections::{BTreeMap, VecDeque},
    error::Error as StdError,
    mem,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, CatchUnwind, Either, FutureExt};
use tokio::{
    runtime::Handle,
    sync::{Semaphore, oneshot},
    time::timeout_at,
};

use crate::{error::Error, postgres::timeout_error};

/// Rows by key. Keys without a row are absent.
pub(crate) type BatchFuture<K, R> = BoxFuture<'static, Result<BTreeMap<K, R>, Error>>;

/// Runs a statement for these keys and inputs. It completes or fails by the deadline.
type StatementFn<K, I, R> = Box<dyn Fn(BTreeMap<K, I>, Instant) -> BatchFuture<K, R> + Send + Sync>;

/// A statement that was sent. Panics are caught, because otherwise the slot would be lost.
type RunningStatement<K, R> = CatchUnwind<AssertUnwindSafe<BatchFuture<K, R>>>;

type Reply<R> = Result<Option<R>, Failure>;

/// Fixed-point scale of [`State::load`]. With it, batching continues for about four statements of
/// single callers after the last batch.
const LOAD_SCALE: usize = 16;

/// Batches queries of one kind. Callers with the same key must pass the same input.
pub(crate) struct Batcher<K, I, R>(Arc<Shared<K, I, R>>);

struct Shared<K, I, R> {
    /// Maximum number of keys per statement.
    max_batch_size: usize,
    /// Duration after which queued callers no longer wait for a batching slot alone.
    slow_after: Duration,
    on_slot: StatementFn<K, I, R>,
    fallback: StatementFn<K, I, R>,
    fallback_permits: Semaphore,
    state: Mutex<State<K, I, R>>,
}

/// Invariant: while callers are queued, a slot is batching or all slots are busy.
struct State<K, I, R> {
    idle_slots: usize,
    /// Start of the current statement of the batching slot; of several, the latest. `None` if no
    /// slot is batching: a stale time would make new callers wait for a slot that is idle.
    batching_since: Option<Instant>,
    /// Recent number of callers per statement, scaled by [`LOAD_SCALE`]. Each statement contributes
    /// half of the new value.
    load: usize,
    queue: VecDeque<QueuedCaller<K, I, R>>,
}

struct QueuedCaller<K, I, R> {
    key: K,
    input: I,
    deadline: Instant,
    reply: oneshot::Sender<Reply<R>>,
}

/// The reason why a statement returned no rows.
#[derive(Clone)]
enum Failure {
    /// One row caused the error, and it is unknown which. The statement changed no row.
    RowError,
    /// PostgreSQL is unavailable. The statement might have taken effect, so it is not repeated.
    Outage(Arc<dyn StdError + Send + Sync>),
}

impl<K, I, R> Batcher<K, I, R>
where
    K: Ord + Copy + Send + 'static,
    I: Clone + Send + 'static,
    R: Clone + Send + 'static,
{
    pub fn new(
        slots: usize,
        max_batch_size: usize,
        slow_after: Duration,
        on_slot: impl Fn(BTreeMap<K, I>, Instant) -> BatchFuture<K, R> + Send + Sync + 'static,
        fallback: impl Fn(BTreeMap<K, I>, Instant) -> BatchFuture<K, R> + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State {
            idle_slots: slots,
            batching_since: None,
            load: 0,
            queue: VecDeque::new(),
        });
        Batcher(Arc::new(Shared {
            max_batch_size,
            slow_after,
            on_slot: Box::new(on_slot),
            fallback: Box::new(fallback),
            fallback_permits: Semaphore::new(slots),
            state,
        }))
    }

    /// Runs the query for one key and returns its row, or `None` if there is no such row.
    ///
    /// # Errors
    /// The errors of the statement; `unavailable` if the outcome of the statement is unknown, or
    /// after the deadline.
    pub async fn submit(&self, key: K, input: I, deadline: Instant) -> Result<Option<R>, Error> {
        let reply = match self.0.start_or_enqueue(key, input.clone(), deadline) {
            Either::Left(slot) => slot.reply(key).await,
            Either::Right(mut reply) => {
                match timeout_at(self.slow_deadline(deadline).into(), &mut reply).await {
                    Ok(reply) => reply.map_err(Error::unavailable)?,
                    Err(_) => {
                        self.0.kick(self.0.lock());
                        timeout_at(deadline.into(), reply)
                            .await
                            .map_err(|_| timeout_error())?
                            .map_err(Error::unavailable)?
                    }
                }
            }
        };
        match reply {
            Ok(row) => Ok(row),
            Err(Failure::Outage(cause)) => Err(Error::unavailable(cause)),
            Err(Failure::RowError) => {
                // The permits limit concurrency: callers that wait for a locked row must not occupy
                // the connections of all transactions.
                let permit = timeout_at(deadline.into(), self.0.fallback_permits.acquire())
                    .await
                    .map_err(|_| timeout_error())?;
                let _permit = permit.map_err(Error::internal)?;
                Ok((self.0.fallback)(BTreeMap::from([(key, input)]), deadline)
                    .await?
                    .remove(&key))
            }
        }
    }
}

impl<K, I, R> Batcher<K, I, R> {
    /// The time at which a queued caller starts another slot if its batch is slow.
    fn slow_deadline(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.0.slow_after)
    }
}

impl<K, I, R> Shared<K, I, R>
where
    K: Ord + Copy + Send + 'static,
    I: Clone + Send + 'static,
    R: Clone + Send + 'static,
{
    /// Runs the query on an idle slot, or queues it.
    fn start_or_enqueue(
        self: &Arc<Self>,
        key: K,
        input: I,
        deadline: Instant,
    ) -> Either<Slot<K, I, R>, oneshot::Receiver<Reply<R>>> {
        let mut state = self.lock();
        if state.idle_slots > 0 && state.queue.is_empty() && !self.is_batching(&state) {
            state.idle_slots -= 1;
            let batching = state.load > 0;
            if batching {
                state.batching_since = Some(Instant::now());
            }
            drop(state);
            let running = self.start(BTreeMap::from([(key, input)]), deadline);
            return Either::Left(Slot {
                shared: self.clone(),
                batching,
                running: Some(running),
            });
        }
        let (sender, receiver) = oneshot::channel();
        state.queue.push_back(QueuedCaller {
            key,
            input,
            deadline,
            reply: sender,
        });
        self.kick(state);
        Either::Right(receiver)
    }

    /// Starts batching on an idle slot if no other slot serves the queued callers.
    fn kick(self: &Arc<Self>, mut state: MutexGuard<'_, State<K, I, R>>) {
        if state.idle_slots > 0 && !state.queue.is_empty() && !self.is_batching(&state) {
            state.idle_slots -= 1;
            state.batching_since = Some(Instant::now());
            drop(state);
            spawn(self.clone().run_batches());
        }
    }

    /// Whether a slot is batching and its current statement is not slow.
    fn is_batching(&self, state: &State<K, I, R>) -> bool {
        state
            .batching_since
            .is_some_and(|since| since.elapsed() < self.slow_after)
    }

    fn start(&self, inputs: BTreeMap<K, I>, deadline: Instant) -> RunningStatement<K, R> {
        AssertUnwindSafe((self.on_slot)(inputs, deadline)).catch_unwind()
    }

    /// Runs batches on a slot until the queue is empty.
    async fn run_batches(self: Arc<Self>) {
        while let Some(mut batch) = self.next_batch() {
            let result = self
                .start(mem::take(&mut batch.inputs), batch.deadline)
                .await;
            batch.send_replies(result.unwrap_or_else(|_| Err(panic_error())));
        }
    }

    /// Takes the next batch from the queue, without callers that have disconnected. If the queue is
    /// empty, the slot becomes idle and batching ends.
    fn next_batch(&self) -> Option<Batch<K, I, R>> {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut callers = 0;
        while batch.inputs.len() < self.max_batch_size {
            let Some(caller) = state.queue.pop_front() else {
                break;
            };
            if !caller.reply.is_closed() {
                callers += 1;
                batch.add(caller);
            }
        }
        state.load = state.load.midpoint(callers * LOAD_SCALE);
        if batch.inputs.is_empty() {
            state.idle_slots += 1;
            state.batching_since = None;
            return None;
        }
        state.batching_since = Some(Instant::now());
        Some(batch)
    }

    /// Makes a slot idle and returns `true`. Returns `false` if the slot must serve the queue: it
    /// is batching, or no other slot is.
    fn release(&self, batching: bool) -> bool {
        let mut state = self.lock();
        let is_idle = state.queue.is_empty() || !batching && self.is_batching(&state);
        if is_idle {
            state.idle_slots += 1;
        }
        if is_idle && batching {
            state.batching_since = None;
            state.load /= 2;
        }
        if !is_idle {
            state.batching_since = Some(Instant::now());
        }
        is_idle
    }

    fn lock(&self) -> MutexGuard<'_, State<K, I, R>> {
        self.state.lock().expect("no panic under the lock")
    }
}

/// A slot that runs the query of one caller.
struct Slot<K: Ord + Copy + Send + 'static, I: Clone + Send + 'static, R: Clone + Send + 'static> {
    shared: Arc<Shared<K, I, R>>,
    /// The load is high, so new callers are queued for this slot.
    batching: bool,
    /// `None` after the statement has completed.
    running: Option<RunningStatement<K, R>>,
}

impl<K, I, R> Slot<K, I, R>
where
    K: Ord + Copy + Send + 'static,
    I: Clone + Send + 'static,
    R: Clone + Send + 'static,
{
    async fn reply(mut self, key: K) -> Reply<R> {
        let running = self.running.as_mut().expect("a running statement");
        let result = running.await.unwrap_or_else(|_| Err(panic_error()));
        self.running = None;
        Ok(result.map_err(Failure::from)?.remove(&key))
    }
}

/// Releases the slot, or serves the queue. If the caller has disconnected, the statement completes
/// first, because closing the connection would cost the next caller a reconnect.
impl<K, I, R> Drop for Slot<K, I, R>
where
    K: Ord + Copy + Send + 'static,
    I: Clone + Send + 'static,
    R: Clone + Send + 'static,
{
    fn drop(&mut self) {
        let (running, batching) = (self.running.take(), self.batching);
        if running.is_none() && self.shared.release(batching) {
            return;
        }
        let shared = self.shared.clone();
        spawn(async move {
            if let Some(running) = running {
                let _ = running.await;
                if shared.release(batching) {
                    return;
                }
            }
            shared.run_batches().await;
        });
    }
}

/// Spawns a task. Without a runtime (after shutdown) no caller waits, so the task is not needed.
fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(task);
    }
}

/// The inputs of one statement, and the callers that wait for it.
struct Batch<K, I, R> {
    inputs: BTreeMap<K, I>,
    callers: BTreeMap<K, Vec<oneshot::Sender<Reply<R>>>>,
    /// The latest deadline of the callers. Each caller enforces its own deadline.
    deadline: Instant,
}

impl<K: Ord + Copy, I, R: Clone> Batch<K, I, R> {
    fn add(&mut self, caller: QueuedCaller<K, I, R>) {
        self.deadline = self.deadline.max(caller.deadline);
        self.inputs.insert(caller.key, caller.input);
        self.callers
            .entry(caller.key)
            .or_default()
            .push(caller.reply);
    }

    fn send_replies(self, result: Result<BTreeMap<K, R>, Error>) {
        let mut result = result.map_err(Failure::from);
        for (key, callers) in self.callers {
            let reply = result
                .as_mut()
                .map(|rows| rows.remove(&key))
                .map_err(|failure| failure.clone());
            let replies = vec![reply; callers.len()];
            for (caller, reply) in callers.into_iter().zip(replies) {
                // Fails if the caller has disconnected.
                let _ = caller.send(reply);
            }
        }
    }
}

impl<K: Ord, I, R> Default for Batch<K, I, R> {
    fn default() -> Self {
        Batch {
            inputs: BTreeMap::new(),
            callers: BTreeMap::new(),
            deadline: Instant::now(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Unavailable { source, .. } => Failure::Outage(source.into()),
            _other => Failure::RowError,
        }
    }
}

fn panic_error() -> Error {
    Error::internal("a statement panicked")
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
