//! Many callers, one statement.
//!
//! To find fifty rows by their keys costs PostgreSQL little more than to find one. So callers that
//! wait at the same moment share a statement, but only while all *lanes* are busy: whoever finds
//! one idle sends at once, alone and without a task in between, as through a pool. A lane that gets
//! free while somebody waits begins to gather: it asks for all who wait, in one statement, and goes
//! on like this until nobody waits. Meanwhile whoever comes waits for its next statement, and the
//! other lanes rest, because two that gather would make batches half as large. So it stays while
//! there is a crowd, even if for a moment nobody waits. If a statement takes long, another lane
//! gathers as well.
//!
//! Nobody joins a statement that was sent already: it may not see what was written since. Where a
//! statement fails by one of its rows, each caller asks again for itself, apart from the lanes.

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

use crate::{error::Error, postgres::late};

/// What a statement found, by key; what is not in it is not there.
pub(crate) type BatchFuture<K, A> = BoxFuture<'static, Result<BTreeMap<K, A>, Error>>;

/// Asks for all of these at once; it ends by that moment, whatever happens.
type Statement<K, Q, A> = Box<dyn Fn(BTreeMap<K, Q>, Instant) -> BatchFuture<K, A> + Send + Sync>;

/// A statement that was sent. A panic in it must not cost the lane.
type Sent<K, A> = CatchUnwind<AssertUnwindSafe<BatchFuture<K, A>>>;

type Reply<A> = Result<Option<A>, Failure>;

/// A crowd is remembered for about four statements of a single caller.
const MEMORY: usize = 16;

/// Gathers questions of one kind. Questions with the same key must be the same question.
pub(crate) struct Batcher<K, Q, A>(Arc<Shared<K, Q, A>>);

struct Shared<K, Q, A> {
    /// Most keys of one statement.
    most: usize,
    /// How long those who wait rely on one statement.
    patience: Duration,
    on_lane: Statement<K, Q, A>,
    fallback: Statement<K, Q, A>,
    asides: Semaphore,
    state: Mutex<State<K, Q, A>>,
}

/// Whoever waits, waits for a lane that gathers; or all lanes are busy.
struct State<K, Q, A> {
    idle: usize,
    /// When the lane that gathers has sent its statement; of several, the last.
    gathering: Option<Instant>,
    /// How many shared a statement lately, times [`MEMORY`]: half of what it was, and half of the
    /// last.
    crowd: usize,
    waiting: VecDeque<Waiting<K, Q, A>>,
}

struct Waiting<K, Q, A> {
    key: K,
    question: Q,
    deadline: Instant,
    caller: oneshot::Sender<Reply<A>>,
}

/// Why a statement gave no answer.
#[derive(Clone)]
enum Failure {
    /// Something about a row, and nobody knows whose. What a row refuses was not done for any.
    OfARow,
    /// PostgreSQL cannot answer, and what was sent may have been done or not: nobody repeats it.
    Outage(Arc<dyn StdError + Send + Sync>),
}

impl<K, Q, A> Batcher<K, Q, A>
where
    K: Ord + Copy + Send + 'static,
    Q: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// With so many lanes, at most so many keys in a statement, and so much patience with one.
    pub fn new(
        batch_connections: usize,
        most: usize,
        patience: Duration,
        on_lane: impl Fn(BTreeMap<K, Q>, Instant) -> BatchFuture<K, A> + Send + Sync + 'static,
        fallback: impl Fn(BTreeMap<K, Q>, Instant) -> BatchFuture<K, A> + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State {
            idle: batch_connections,
            gathering: None,
            crowd: 0,
            waiting: VecDeque::new(),
        });
        Batcher(Arc::new(Shared {
            most,
            patience,
            on_lane: Box::new(on_lane),
            fallback: Box::new(fallback),
            asides: Semaphore::new(batch_connections),
            state,
        }))
    }

    /// The answer to one question, by then at the latest; nothing where there is no such row.
    ///
    /// # Errors
    /// Those of the statement; `unavailable` where it was sent and nobody knows what came of it, or
    /// when time is up.
    pub async fn ask(&self, key: K, question: Q, deadline: Instant) -> Result<Option<A>, Error> {
        let reply = match self.0.enter(key, question.clone(), deadline) {
            Either::Left(slot) => slot.reply(key).await,
            Either::Right(mut reply) => {
                match timeout_at(self.soon(deadline).into(), &mut reply).await {
                    Ok(reply) => reply.map_err(Error::unavailable)?,
                    Err(_) => {
                        self.0.kick(self.0.lock());
                        timeout_at(deadline.into(), reply)
                            .await
                            .map_err(|_| late())?
                            .map_err(Error::unavailable)?
                    }
                }
            }
        };
        match reply {
            Ok(answer) => Ok(answer),
            Err(Failure::Outage(cause)) => Err(Error::unavailable(cause)),
            Err(Failure::OfARow) => {
                // Few at a time: who waits for a row that somebody holds must not take the
                // connections of all stories.
                let place = timeout_at(deadline.into(), self.0.asides.acquire())
                    .await
                    .map_err(|_| late())?;
                let _place = place.map_err(Error::internal)?;
                Ok(
                    (self.0.fallback)(BTreeMap::from([(key, question)]), deadline)
                        .await?
                        .remove(&key),
                )
            }
        }
    }
}

impl<K, Q, A> Batcher<K, Q, A> {
    /// When whoever waits looks whether a lane could serve it.
    fn soon(&self, deadline: Instant) -> Instant {
        deadline.min(Instant::now() + self.0.patience)
    }
}

impl<K, Q, A> Shared<K, Q, A>
where
    K: Ord + Copy + Send + 'static,
    Q: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    /// A lane for the caller alone, or a place among those who wait.
    fn enter(
        self: &Arc<Self>,
        key: K,
        question: Q,
        deadline: Instant,
    ) -> Either<Slot<K, Q, A>, oneshot::Receiver<Reply<A>>> {
        let mut state = self.lock();
        if state.idle > 0 && state.waiting.is_empty() && !self.is_batching(&state) {
            state.idle -= 1;
            let leads = state.crowd > 0;
            if leads {
                state.gathering = Some(Instant::now());
            }
            drop(state);
            let sent = self.send(BTreeMap::from([(key, question)]), deadline);
            return Either::Left(Slot {
                shared: self.clone(),
                leads,
                sent: Some(sent),
            });
        }
        let (caller, reply) = oneshot::channel();
        state.waiting.push_back(Waiting {
            key,
            question,
            deadline,
            caller,
        });
        self.kick(state);
        Either::Right(reply)
    }

    /// Has an idle lane gather if somebody waits who cannot rely on another.
    fn kick(self: &Arc<Self>, mut state: MutexGuard<'_, State<K, Q, A>>) {
        if state.idle > 0 && !state.waiting.is_empty() && !self.is_batching(&state) {
            state.idle -= 1;
            state.gathering = Some(Instant::now());
            drop(state);
            spawn(self.clone().serve());
        }
    }

    /// Whether those who wait may rely on a lane that gathers.
    fn is_batching(&self, state: &State<K, Q, A>) -> bool {
        state
            .gathering
            .is_some_and(|since| since.elapsed() < self.patience)
    }

    fn send(&self, questions: BTreeMap<K, Q>, deadline: Instant) -> Sent<K, A> {
        AssertUnwindSafe((self.on_lane)(questions, deadline)).catch_unwind()
    }

    /// Work of a lane that got free, until nobody waits.
    async fn serve(self: Arc<Self>) {
        while let Some(mut batch) = self.batcher() {
            let outcome = self
                .send(mem::take(&mut batch.questions), batch.deadline)
                .await;
            batch.tell(outcome.unwrap_or_else(|_| Err(panicked())));
        }
    }

    /// Those who wait, or as many of them as one statement takes; where nobody does, the lane is
    /// idle from now on. Who hung up is asked for no more.
    fn batcher(&self) -> Option<Batch<K, Q, A>> {
        let mut state = self.lock();
        let mut batch = Batch::default();
        let mut callers = 0;
        while batch.questions.len() < self.most {
            let Some(waiting) = state.waiting.pop_front() else {
                break;
            };
            if !waiting.caller.is_closed() {
                callers += 1;
                batch.add(waiting);
            }
        }
        state.crowd = state.crowd.midpoint(callers * MEMORY);
        if batch.questions.is_empty() {
            state.idle += 1;
            state.gathering = None;
            return None;
        }
        state.gathering = Some(Instant::now());
        Some(batch)
    }

    /// Lets a lane be idle, unless somebody waits for it: then it gathers. Those who wait rely on
    /// one that leads.
    fn rest(&self, leads: bool) -> bool {
        let mut state = self.lock();
        let rests = state.waiting.is_empty() || !leads && self.is_batching(&state);
        if rests {
            state.idle += 1;
        }
        if rests && leads {
            state.gathering = None;
            state.crowd /= 2;
        }
        if !rests {
            state.gathering = Some(Instant::now());
        }
        rests
    }

    fn lock(&self) -> MutexGuard<'_, State<K, Q, A>> {
        self.state.lock().expect("nothing panics while it is held")
    }
}

/// The lane of a caller that found it idle.
struct Slot<K: Ord + Copy + Send + 'static, Q: Clone + Send + 'static, A: Clone + Send + 'static> {
    shared: Arc<Shared<K, Q, A>>,
    /// There was a crowd: whoever came meanwhile waits for this lane.
    leads: bool,
    /// Until it has answered.
    sent: Option<Sent<K, A>>,
}

impl<K, Q, A> Slot<K, Q, A>
where
    K: Ord + Copy + Send + 'static,
    Q: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    async fn reply(mut self, key: K) -> Reply<A> {
        let sent = self.sent.as_mut().expect("it has not answered yet");
        let outcome = sent.await.unwrap_or_else(|_| Err(panicked()));
        self.sent = None;
        Ok(outcome.map_err(Failure::from)?.remove(&key))
    }
}

/// A lane serves who waits, whether its caller had its answer or hung up. Then the statement is
/// ended first: to close the connection instead would cost the next one another.
impl<K, Q, A> Drop for Slot<K, Q, A>
where
    K: Ord + Copy + Send + 'static,
    Q: Clone + Send + 'static,
    A: Clone + Send + 'static,
{
    fn drop(&mut self) {
        let (sent, leads) = (self.sent.take(), self.leads);
        if sent.is_none() && self.shared.rest(leads) {
            return;
        }
        let shared = self.shared.clone();
        spawn(async move {
            if let Some(sent) = sent {
                let _ = sent.await;
                if shared.rest(leads) {
                    return;
                }
            }
            shared.serve().await;
        });
    }
}

/// Where there is no runtime any more, nobody waits.
fn spawn(story: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        runtime.spawn(story);
    }
}

/// Questions of one statement, and who asked them.
struct Batch<K, Q, A> {
    questions: BTreeMap<K, Q>,
    callers: BTreeMap<K, Vec<oneshot::Sender<Reply<A>>>>,
    /// That of the last caller; the others look after themselves.
    deadline: Instant,
}

impl<K: Ord + Copy, Q, A: Clone> Batch<K, Q, A> {
    fn add(&mut self, waiting: Waiting<K, Q, A>) {
        self.deadline = self.deadline.max(waiting.deadline);
        self.questions.insert(waiting.key, waiting.question);
        self.callers
            .entry(waiting.key)
            .or_default()
            .push(waiting.caller);
    }

    fn tell(self, outcome: Result<BTreeMap<K, A>, Error>) {
        let mut outcome = outcome.map_err(Failure::from);
        for (key, callers) in self.callers {
            let reply = outcome
                .as_mut()
                .map(|answers| answers.remove(&key))
                .map_err(|failure| failure.clone());
            let copies = vec![reply; callers.len()];
            for (caller, reply) in callers.into_iter().zip(copies) {
                // Who hung up meanwhile wants none.
                let _ = caller.send(reply);
            }
        }
    }
}

impl<K: Ord, Q, A> Default for Batch<K, Q, A> {
    fn default() -> Self {
        Batch {
            questions: BTreeMap::new(),
            callers: BTreeMap::new(),
            deadline: Instant::now(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Unavailable { source, .. } => Failure::Outage(source.into()),
            _other => Failure::OfARow,
        }
    }
}

fn panicked() -> Error {
    Error::internal("a statement panicked")
}

#[cfg(test)]
#[path = "batcher_tests.rs"]
mod tests;
