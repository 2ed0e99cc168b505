//! Model tests of the batcher: random orders of callers, results, and failures. The tests complete
//! each statement explicitly, without a database.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    pin::Pin,
    task::Poll,
    time::{Duration, Instant},
};

use proptest::{collection::vec, prelude::*, sample::Index};
use tokio::task::yield_now;

use super::*;

const SLOTS: usize = 2;
const MAX_BATCH_SIZE: usize = 3;
const KEYS: u8 = 6;
const SECOND: Duration = Duration::from_secs(1);

/// The key, the input, and the number of the statement.
type TestRow = (u8, u32, usize);

type PendingQuery = Pin<Box<dyn Future<Output = Result<Option<TestRow>, Error>>>>;

/// The result of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    AllRows,
    /// Rows of every second key only.
    SomeRows,
    RowError,
    Outage,
    Panic,
}

#[derive(Debug, Clone)]
enum Step {
    Submit {
        key: u8,
        expired: bool,
    },
    Disconnect(Index),
    Complete(Index, Outcome),
    PollCallers,
    /// Runs spawned tasks.
    RunTasks,
}

fn any_step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::AllRows),
        1 => Just(Outcome::SomeRows),
        1 => Just(Outcome::RowError),
        1 => Just(Outcome::Outage),
        1 => Just(Outcome::Panic),
    ];
    prop_oneof![
        6 => (0..KEYS, prop::bool::weighted(0.1))
            .prop_map(|(key, expired)| Step::Submit { key, expired }),
        2 => any::<Index>().prop_map(Step::Disconnect),
        4 => (any::<Index>(), outcome)
            .prop_map(|(index, outcome)| Step::Complete(index, outcome)),
        2 => Just(Step::PollCallers),
        2 => Just(Step::RunTasks),
    ]
}

/// A statement that was sent.
struct Statement {
    keys: BTreeSet<u8>,
    fallback: bool,
    outcome: Option<Outcome>,
    completion: Option<oneshot::Sender<Outcome>>,
}

#[derive(Default)]
struct Server {
    statements: Vec<Statement>,
    /// Statements on slots whose futures still exist.
    on_slots: usize,
    /// Fallback statements whose futures still exist.
    fallbacks: usize,
    /// The keys of connected callers that have no reply yet.
    waiting_keys: Vec<u8>,
}

struct Caller {
    key: u8,
    expired: bool,
    /// The number of statements that were sent before this caller submitted its query.
    sent_before: usize,
    query: PendingQuery,
}

struct Fixture {
    server: Arc<Mutex<Server>>,
    batcher: Arc<Batcher<u8, u32, TestRow>>,
    callers: Vec<Caller>,
    never_slow: bool,
}

fn input_for(key: u8) -> u32 {
    u32::from(key) * 1000
}

/// Builds a statement function that registers each statement and waits for the test to complete it.
fn controlled_statement(
    server: &Arc<Mutex<Server>>,
    fallback: bool,
) -> impl Fn(BTreeMap<u8, u32>, Instant) -> BatchFuture<u8, TestRow> + use<> {
    let server = server.clone();
    move |inputs, _| {
        let (sender, receiver) = oneshot::channel();
        let number =
            server
                .lock()
                .unwrap()
                .register(inputs.keys().copied().collect(), fallback, sender);
        let guard = StatementGuard {
            server: server.clone(),
            fallback,
        };
        async move {
            let _guard = guard;
            let row = |(key, input)| (key, (key, input, number));
            match receiver.await.unwrap_or(Outcome::Outage) {
                Outcome::AllRows => Ok(inputs.into_iter().map(row).collect()),
                Outcome::SomeRows => Ok(inputs
                    .into_iter()
                    .filter(|(key, _)| !is_omitted(*key))
                    .map(row)
                    .collect()),
                Outcome::RowError => Err(if fallback {
                    Error::TokenRevoked
                } else {
                    Error::internal("row error")
                }),
                Outcome::Outage => Err(Error::unavailable("outage")),
                Outcome::Panic => panic!("on purpose"),
            }
        }
        .boxed()
    }
}

/// Whether [`Outcome::SomeRows`] omits the row of this key.
fn is_omitted(key: u8) -> bool {
    key.is_multiple_of(2)
}

/// Counts a statement as running until it is dropped.
struct StatementGuard {
    server: Arc<Mutex<Server>>,
    fallback: bool,
}

impl Drop for StatementGuard {
    fn drop(&mut self) {
        let mut server = self.server.lock().unwrap();
        server.on_slots -= usize::from(!self.fallback);
        server.fallbacks -= usize::from(self.fallback);
    }
}

impl Server {
    fn register(
        &mut self,
        keys: BTreeSet<u8>,
        fallback: bool,
        completion: oneshot::Sender<Outcome>,
    ) -> usize {
        assert!(
            keys.len() <= if fallback { 1 } else { MAX_BATCH_SIZE },
            "{} keys in a statement",
            keys.len()
        );
        for key in &keys {
            assert!(
                self.waiting_keys.contains(key),
                "no caller waits for key {key}"
            );
        }
        self.on_slots += usize::from(!fallback);
        self.fallbacks += usize::from(fallback);
        assert!(
            self.on_slots <= SLOTS,
            "{} concurrent statements",
            self.on_slots
        );
        assert!(
            self.fallbacks <= SLOTS,
            "{} concurrent fallbacks",
            self.fallbacks
        );
        self.statements.push(Statement {
            keys,
            fallback,
            outcome: None,
            completion: Some(completion),
        });
        self.statements.len() - 1
    }

    /// The numbers of the statements that have no outcome yet.
    fn pending(&self) -> Vec<usize> {
        (0..self.statements.len())
            .filter(|number| self.statements[*number].outcome.is_none())
            .collect()
    }

    fn complete(&mut self, number: usize, outcome: Outcome) {
        let statement = &mut self.statements[number];
        // A fallback runs in the task of its caller, so a panic would be the caller's own.
        let outcome = if statement.fallback && outcome == Outcome::Panic {
            Outcome::RowError
        } else {
            outcome
        };
        statement.outcome = Some(outcome);
        if let Some(completion) = statement.completion.take() {
            // Fails if the only caller of a fallback has disconnected.
            let _ = completion.send(outcome);
        }
    }
}

impl Fixture {
    /// With `never_slow`, no statement counts as slow; otherwise every statement does.
    fn new(never_slow: bool) -> Fixture {
        let server = Arc::new(Mutex::new(Server::default()));
        let slow_after = if never_slow {
            3600 * SECOND
        } else {
            Duration::ZERO
        };
        let batcher = Batcher::new(
            SLOTS,
            MAX_BATCH_SIZE,
            slow_after,
            controlled_statement(&server, false),
            controlled_statement(&server, true),
        );
        Fixture {
            server,
            batcher: Arc::new(batcher),
            callers: Vec::new(),
            never_slow,
        }
    }

    /// Whether a caller can be queued: all slots are busy, or one is batching and isn't slow.
    fn can_queue(&self, on_slots: usize) -> bool {
        on_slots == SLOTS || self.never_slow && self.batcher.0.lock().batching_since.is_some()
    }

    fn sent(&self) -> usize {
        self.server.lock().unwrap().statements.len()
    }

    fn pending(&self) -> Vec<usize> {
        self.server.lock().unwrap().pending()
    }

    fn keys_of(&self, number: usize) -> BTreeSet<u8> {
        self.server.lock().unwrap().statements[number].keys.clone()
    }

    fn complete(&self, number: usize, outcome: Outcome) {
        self.server.lock().unwrap().complete(number, outcome);
    }

    async fn apply(&mut self, step: Step) {
        match step {
            Step::Submit { key, expired } => self.submit(key, expired).await,
            Step::Disconnect(index) if !self.callers.is_empty() => {
                self.disconnect(self.callers[index.index(self.callers.len())].key);
            }
            Step::Complete(index, outcome) => {
                let pending = self.pending();
                if !pending.is_empty() {
                    self.complete(pending[index.index(pending.len())], outcome);
                }
            }
            Step::PollCallers => self.poll_callers().await,
            Step::RunTasks => yield_now().await,
            Step::Disconnect(_) => {}
        }
    }

    async fn submit(&mut self, key: u8, expired: bool) {
        let (batcher, sent_before) = (self.batcher.clone(), self.sent());
        // A whole second in the past, because timers have a resolution of milliseconds.
        let deadline = if expired {
            Instant::now() - SECOND
        } else {
            Instant::now() + 3600 * SECOND
        };
        let query = Box::pin(async move { batcher.submit(key, input_for(key), deadline).await });
        self.server.lock().unwrap().waiting_keys.push(key);
        self.callers.push(Caller {
            key,
            expired,
            sent_before,
            query,
        });
        self.poll_caller(self.callers.len() - 1).await;
    }

    fn disconnect(&mut self, key: u8) {
        let index = self
            .callers
            .iter()
            .position(|caller| caller.key == key)
            .expect("a caller with this key");
        self.callers.remove(index);
        self.remove_waiting_key(key);
    }

    fn remove_waiting_key(&self, key: u8) {
        let waiting_keys = &mut self.server.lock().unwrap().waiting_keys;
        let index = waiting_keys
            .iter()
            .position(|waiting| *waiting == key)
            .expect("a waiting key");
        waiting_keys.swap_remove(index);
    }

    async fn poll_callers(&mut self) {
        for index in (0..self.callers.len()).rev() {
            self.poll_caller(index).await;
        }
    }

    /// Polls a caller, and checks its reply if there is one.
    async fn poll_caller(&mut self, index: usize) {
        let query = &mut self.callers[index].query;
        if let Poll::Ready(reply) =
            poll_fn(|context| Poll::Ready(query.as_mut().poll(context))).await
        {
            let caller = self.callers.remove(index);
            self.remove_waiting_key(caller.key);
            self.check_reply(&caller, reply);
        }
    }

    /// Checks that a reply belongs to the caller, and to a statement that was sent after the caller
    /// submitted its query.
    fn check_reply(&self, caller: &Caller, reply: Result<Option<TestRow>, Error>) {
        let server = self.server.lock().unwrap();
        let has_statement = |outcome: Outcome, fallback: Option<bool>| {
            let mut later = server.statements[caller.sent_before..]
                .iter()
                .filter(|statement| statement.keys.contains(&caller.key));
            later.any(|statement| {
                statement.outcome == Some(outcome)
                    && fallback.is_none_or(|fallback| statement.fallback == fallback)
            })
        };
        match reply {
            Ok(Some((key, input, number))) => {
                assert_eq!((key, input), (caller.key, input_for(caller.key)));
                assert!(
                    number >= caller.sent_before,
                    "the statement was sent before the query"
                );
                assert!(server.statements[number].keys.contains(&key));
            }
            Ok(None) => assert!(
                is_omitted(caller.key) && has_statement(Outcome::SomeRows, None),
                "key {} has a row",
                caller.key
            ),
            Err(Error::TokenRevoked) => {
                assert!(
                    has_statement(Outcome::RowError, Some(true)),
                    "the error belongs to another caller"
                )
            }
            Err(Error::Unavailable { .. }) => assert!(
                caller.expired || has_statement(Outcome::Outage, None),
                "the outage belongs to another caller"
            ),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Runs tasks and callers until all of them wait for a statement.
    async fn settle(&mut self) {
        for _ in 0..20 {
            yield_now().await;
            self.poll_callers().await;
        }
        let server = self.server.lock().unwrap();
        let is_pending = |key: &u8| {
            server
                .pending()
                .iter()
                .any(|number| server.statements[*number].keys.contains(key))
        };
        let all_pending = self.callers.iter().all(|caller| is_pending(&caller.key));
        let can_queue = self.can_queue(server.on_slots) || server.fallbacks == SLOTS;
        assert!(
            all_pending || can_queue,
            "a caller is queued while a slot is idle"
        );
    }

    /// Checks that a new caller runs its query directly if a slot is idle.
    async fn submit_when_settled(&mut self, key: u8) {
        self.settle().await;
        let sent = self.sent();
        let on_slots = self.server.lock().unwrap().on_slots;
        let runs_directly = !self.can_queue(on_slots);
        self.submit(key, false).await;
        assert_eq!(self.sent() - sent, usize::from(runs_directly));
    }

    /// Completes all statements, and checks that every caller got a reply and every slot is idle.
    async fn finish(&mut self) {
        loop {
            self.settle().await;
            let mut server = self.server.lock().unwrap();
            let pending = server.pending();
            if pending.is_empty() {
                break;
            }
            pending
                .into_iter()
                .for_each(|number| server.complete(number, Outcome::AllRows));
        }
        assert_eq!(self.callers.len(), 0, "a caller got no reply");
        assert_eq!(self.batcher.0.lock().idle_slots, SLOTS, "a slot was lost");
        assert!(self.batcher.0.lock().queue.is_empty());
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(test);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn callers_get_their_own_reply_in_any_order(
        steps in vec(any_step(), 1..60),
        last in 0..KEYS,
        never_slow: bool,
    ) {
        run(async {
            let mut fixture = Fixture::new(never_slow);
            for step in steps {
                fixture.apply(step).await;
            }
            fixture.submit_when_settled(last).await;
            fixture.finish().await;
        });
    }
}

/// Both slots are busy, with the statements 0 and 1.
async fn busy_fixture() -> Fixture {
    let mut fixture = Fixture::new(true);
    fixture.submit(0, false).await;
    fixture.submit(1, false).await;
    assert_eq!(fixture.sent(), 2);
    fixture
}

/// One slot is batching, with statement 2. The other slot is idle.
async fn batching_fixture() -> Fixture {
    let mut fixture = busy_fixture().await;
    fixture.submit(2, false).await;
    for number in [0, 1] {
        fixture.complete(number, Outcome::AllRows);
        fixture.settle().await;
    }
    assert_eq!(fixture.pending(), [2]);
    fixture
}

#[test]
fn queued_callers_share_a_statement() {
    run(async {
        let mut fixture = busy_fixture().await;
        for key in [2, 3, 2, 4, 5] {
            fixture.submit(key, false).await;
        }
        fixture.complete(0, Outcome::AllRows);
        fixture.settle().await;
        let keys: Vec<_> = fixture
            .server
            .lock()
            .unwrap()
            .statements
            .iter()
            .map(|statement| statement.keys.clone())
            .collect();
        assert_eq!(
            keys[2..],
            [BTreeSet::from([2, 3, 4])],
            "a batch of the maximum size"
        );
        fixture.finish().await;
    });
}

#[test]
fn slot_serves_queue_after_its_caller_disconnects() {
    run(async {
        let mut fixture = busy_fixture().await;
        fixture.submit(2, false).await;
        for key in [0, 1] {
            fixture.disconnect(key);
        }
        fixture.settle().await;
        assert_eq!(
            (fixture.sent(), fixture.server.lock().unwrap().on_slots),
            (2, 2),
            "sent statements complete first"
        );
        fixture.complete(0, Outcome::AllRows);
        fixture.settle().await;
        assert_eq!(fixture.sent(), 3);
        fixture.finish().await;
    });
}

#[test]
fn slow_batch_makes_another_slot_batch() {
    run(async {
        let mut fixture = batching_fixture().await;
        fixture.submit(3, false).await;
        // Simulates a slow statement.
        fixture.batcher.0.lock().batching_since = None;
        fixture.submit(4, false).await;
        yield_now().await;
        assert_eq!(
            fixture.keys_of(3),
            BTreeSet::from([3, 4]),
            "with the caller that was queued before"
        );
        fixture.finish().await;
    });
}

#[test]
fn queued_caller_starts_slot_when_batch_is_slow() {
    run(async {
        let mut fixture = batching_fixture().await;
        fixture.submit(3, false).await;
        fixture.settle().await;
        assert_eq!(fixture.sent(), 3, "queued for the batching slot");
        // Simulates a slow statement, after which the queued caller kicks the batcher.
        fixture.batcher.0.lock().batching_since = None;
        fixture.batcher.0.kick(fixture.batcher.0.lock());
        fixture.settle().await;
        assert_eq!(fixture.keys_of(3), BTreeSet::from([3]));
        fixture.finish().await;
    });
}

#[test]
fn under_load_only_one_slot_batches() {
    run(async {
        let mut fixture = busy_fixture().await;
        for key in [2, 3, 4] {
            fixture.submit(key, false).await;
        }
        for number in [0, 1, 2] {
            fixture.complete(number, Outcome::AllRows);
            fixture.settle().await;
        }
        for key in [0, 1, 2] {
            fixture.submit(key, false).await;
        }
        assert_eq!(fixture.sent(), 4, "only the first caller isn't queued");
        fixture.complete(3, Outcome::AllRows);
        fixture.settle().await;
        assert_eq!(fixture.keys_of(4), BTreeSet::from([1, 2]));
        fixture.finish().await;
    });
}

#[test]
fn disconnected_caller_is_not_queried() {
    run(async {
        let mut fixture = busy_fixture().await;
        for key in [2, 3] {
            fixture.submit(key, false).await;
        }
        fixture.disconnect(2);
        fixture.finish().await;
        assert!(
            fixture
                .server
                .lock()
                .unwrap()
                .statements
                .iter()
                .all(|statement| !statement.keys.contains(&2))
        );
    });
}

#[test]
fn queued_caller_fails_at_its_deadline() {
    run(async {
        let mut fixture = busy_fixture().await;
        fixture.submit(2, true).await;
        fixture.settle().await;
        assert_eq!(
            (fixture.sent(), fixture.callers.len()),
            (2, 2),
            "both slots are still busy"
        );
        fixture.finish().await;
        assert_eq!(fixture.sent(), 2, "the expired query is never sent");
    });
}

#[test]
fn row_error_fails_only_its_caller() {
    run(async {
        let mut fixture = busy_fixture().await;
        for key in [2, 3] {
            fixture.submit(key, false).await;
        }
        for (number, outcome) in [(0, Outcome::AllRows), (2, Outcome::RowError)] {
            fixture.complete(number, outcome);
            fixture.settle().await;
        }
        let fallbacks: Vec<usize> = fixture
            .pending()
            .into_iter()
            .filter(|number| *number > 2)
            .collect();
        assert_eq!(fallbacks.len(), 2, "one fallback per caller");
        fixture.complete(fallbacks[0], Outcome::RowError);
        fixture.finish().await;
    });
}

#[test]
fn outage_is_not_retried() {
    run(async {
        let mut fixture = busy_fixture().await;
        for key in [2, 3] {
            fixture.submit(key, false).await;
        }
        for (number, outcome) in [
            (0, Outcome::AllRows),
            (1, Outcome::Outage),
            (2, Outcome::Outage),
        ] {
            fixture.complete(number, outcome);
            fixture.settle().await;
        }
        assert_eq!((fixture.sent(), fixture.callers.len()), (3, 0));
        fixture.finish().await;
    });
}
