//! Whatever callers, statements and failures come in whatever order: a world without a database,
//! driven by hand.

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

const LANES: usize = 2;
const MOST: usize = 3;
const KEYS: u8 = 6;
const SECOND: Duration = Duration::from_secs(1);

/// The key, the question, and the number of the statement.
type Answer = (u8, u32, usize);

type Asking = Pin<Box<dyn Future<Output = Result<Option<Answer>, Error>>>>;

/// How a statement ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Found,
    /// Every second key is not there.
    Gaps,
    RowFails,
    Outage,
    Panic,
}

#[derive(Debug, Clone)]
enum Step {
    Ask {
        key: u8,
        late: bool,
    },
    HangUp(Index),
    End(Index, End),
    /// Callers look for their answers.
    Look,
    /// Tasks go on.
    Run,
}

fn step() -> impl Strategy<Value = Step> {
    let end = prop_oneof![
        4 => Just(End::Found),
        1 => Just(End::Gaps),
        1 => Just(End::RowFails),
        1 => Just(End::Outage),
        1 => Just(End::Panic),
    ];
    prop_oneof![
        6 => (0..KEYS, prop::bool::weighted(0.1)).prop_map(|(key, late)| Step::Ask { key, late }),
        2 => any::<Index>().prop_map(Step::HangUp),
        4 => (any::<Index>(), end).prop_map(|(which, end)| Step::End(which, end)),
        2 => Just(Step::Look),
        2 => Just(Step::Run),
    ]
}

/// A statement that was sent.
struct Statement {
    keys: BTreeSet<u8>,
    fallback: bool,
    end: Option<End>,
    tell: Option<oneshot::Sender<End>>,
}

#[derive(Default)]
struct Server {
    statements: Vec<Statement>,
    /// On lanes, until their futures are gone.
    running: usize,
    /// Apart from the lanes, until their futures are gone.
    asides: usize,
    /// The keys of those who wait for an answer; who hung up is not among them.
    living: Vec<u8>,
}

struct Caller {
    key: u8,
    late: bool,
    /// How many statements were sent before it asked.
    before: usize,
    asking: Asking,
}

struct World {
    server: Arc<Mutex<Server>>,
    batcher: Arc<Batcher<u8, u32, Answer>>,
    callers: Vec<Caller>,
    patient: bool,
}

fn question(key: u8) -> u32 {
    u32::from(key) * 1000
}

/// Notes the statement, and answers as the test says.
fn statement(
    server: &Arc<Mutex<Server>>,
    fallback: bool,
) -> impl Fn(BTreeMap<u8, u32>, Instant) -> BatchFuture<u8, Answer> + use<> {
    let server = server.clone();
    move |questions, _| {
        let (tell, told) = oneshot::channel();
        let number =
            server
                .lock()
                .unwrap()
                .send(questions.keys().copied().collect(), fallback, tell);
        let server = server.clone();
        let running = Running(server, fallback);
        async move {
            let _running = running;
            let found = |(key, question)| (key, (key, question, number));
            match told.await.unwrap_or(End::Outage) {
                End::Found => Ok(questions.into_iter().map(found).collect()),
                End::Gaps => Ok(questions
                    .into_iter()
                    .filter(|(key, _)| !is_gap(*key))
                    .map(found)
                    .collect()),
                End::RowFails => Err(if fallback {
                    Error::TokenRevoked
                } else {
                    Error::internal("of nobody knows whom")
                }),
                End::Outage => Err(Error::unavailable("gone")),
                End::Panic => panic!("on purpose"),
            }
        }
        .boxed()
    }
}

fn is_gap(key: u8) -> bool {
    key.is_multiple_of(2)
}

struct Running(Arc<Mutex<Server>>, bool);

impl Drop for Running {
    fn drop(&mut self) {
        let mut server = self.0.lock().unwrap();
        server.running -= usize::from(!self.1);
        server.asides -= usize::from(self.1);
    }
}

impl Server {
    fn send(&mut self, keys: BTreeSet<u8>, fallback: bool, tell: oneshot::Sender<End>) -> usize {
        assert!(
            keys.len() <= if fallback { 1 } else { MOST },
            "{} keys in a statement",
            keys.len()
        );
        for key in &keys {
            assert!(self.living.contains(key), "nobody wants {key} any more");
        }
        self.running += usize::from(!fallback);
        self.asides += usize::from(fallback);
        assert!(self.running <= LANES, "{} statements at once", self.running);
        assert!(
            self.asides <= LANES,
            "{} statements apart from the slots",
            self.asides
        );
        self.statements.push(Statement {
            keys,
            fallback,
            end: None,
            tell: Some(tell),
        });
        self.statements.len() - 1
    }

    fn open(&self) -> Vec<usize> {
        (0..self.statements.len())
            .filter(|number| self.statements[*number].end.is_none())
            .collect()
    }

    fn end(&mut self, number: usize, end: End) {
        let statement = &mut self.statements[number];
        // Apart from the lanes there is no task: a panic would be the caller's own.
        let end = if statement.fallback && end == End::Panic {
            End::RowFails
        } else {
            end
        };
        statement.end = Some(end);
        if let Some(tell) = statement.tell.take() {
            // Nobody listens any more where its only caller hung up.
            let _ = tell.send(end);
        }
    }
}

impl World {
    /// With statements that never take long, or with such that always do.
    fn new(patient: bool) -> World {
        let server = Arc::new(Mutex::new(Server::default()));
        let patience = if patient {
            3600 * SECOND
        } else {
            Duration::ZERO
        };
        let batcher = Batcher::new(
            LANES,
            MOST,
            patience,
            statement(&server, false),
            statement(&server, true),
        );
        World {
            server,
            batcher: Arc::new(batcher),
            callers: Vec::new(),
            patient,
        }
    }

    /// Whether somebody may have to wait: all lanes are busy, or one gathers and nobody loses
    /// patience.
    fn may_wait(&self, running: usize) -> bool {
        running == LANES || self.patient && self.batcher.0.lock().gathering.is_some()
    }

    fn sent(&self) -> usize {
        self.server.lock().unwrap().statements.len()
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Ask { key, late } => self.ask(key, late).await,
            Step::HangUp(which) if !self.callers.is_empty() => {
                self.hang_up(self.callers[which.index(self.callers.len())].key);
            }
            Step::End(which, end) => {
                let mut server = self.server.lock().unwrap();
                let open = server.open();
                if !open.is_empty() {
                    server.end(open[which.index(open.len())], end);
                }
            }
            Step::Look => self.look().await,
            Step::Run => yield_now().await,
            Step::HangUp(_) => {}
        }
    }

    async fn ask(&mut self, key: u8, late: bool) {
        let (batcher, before) = (self.batcher.clone(), self.sent());
        // Well past, because timers count in milliseconds.
        let deadline = if late {
            Instant::now() - SECOND
        } else {
            Instant::now() + 3600 * SECOND
        };
        let asking = Box::pin(async move { batcher.ask(key, question(key), deadline).await });
        self.server.lock().unwrap().living.push(key);
        self.callers.push(Caller {
            key,
            late,
            before,
            asking,
        });
        self.look_at(self.callers.len() - 1).await;
    }

    fn hang_up(&mut self, key: u8) {
        let at = self
            .callers
            .iter()
            .position(|caller| caller.key == key)
            .expect("it asks");
        self.callers.remove(at);
        self.no_longer(key);
    }

    fn no_longer(&self, key: u8) {
        let living = &mut self.server.lock().unwrap().living;
        let at = living
            .iter()
            .position(|known| *known == key)
            .expect("it was there");
        living.swap_remove(at);
    }

    async fn look(&mut self) {
        for at in (0..self.callers.len()).rev() {
            self.look_at(at).await;
        }
    }

    /// Whether the caller has its answer; then it is checked.
    async fn look_at(&mut self, at: usize) {
        let asking = &mut self.callers[at].asking;
        if let Poll::Ready(outcome) =
            poll_fn(|context| Poll::Ready(asking.as_mut().poll(context))).await
        {
            let caller = self.callers.remove(at);
            self.no_longer(caller.key);
            self.check(&caller, outcome);
        }
    }

    /// Nothing but its own answer, of a statement that was sent after it asked.
    fn check(&self, caller: &Caller, outcome: Result<Option<Answer>, Error>) {
        let server = self.server.lock().unwrap();
        let ended = |end: End, fallback: Option<bool>| {
            let mut later = server.statements[caller.before..]
                .iter()
                .filter(|sent| sent.keys.contains(&caller.key));
            later.any(|sent| {
                sent.end == Some(end) && fallback.is_none_or(|fallback| sent.fallback == fallback)
            })
        };
        match outcome {
            Ok(Some((key, asked, number))) => {
                assert_eq!((key, asked), (caller.key, question(caller.key)));
                assert!(
                    number >= caller.before,
                    "it joined a statement that was sent before"
                );
                assert!(server.statements[number].keys.contains(&key));
            }
            Ok(None) => assert!(
                is_gap(caller.key) && ended(End::Gaps, None),
                "{} is there",
                caller.key
            ),
            Err(Error::TokenRevoked) => {
                assert!(ended(End::RowFails, Some(true)), "another's error")
            }
            Err(Error::Unavailable { .. }) => assert!(
                caller.late || ended(End::Outage, None),
                "no outage of its own"
            ),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// Until nothing moves without a statement that ends.
    async fn settle(&mut self) {
        for _ in 0..20 {
            yield_now().await;
            self.look().await;
        }
        let server = self.server.lock().unwrap();
        let asked = |key: &u8| {
            server
                .open()
                .iter()
                .any(|number| server.statements[*number].keys.contains(key))
        };
        let all_asked = self.callers.iter().all(|caller| asked(&caller.key));
        let may_wait = self.may_wait(server.running) || server.asides == LANES;
        assert!(all_asked || may_wait, "somebody waits while a slot is idle");
    }

    /// At rest, whoever comes while a lane is idle is not made to wait for a task.
    async fn ask_at_rest(&mut self, key: u8) {
        self.settle().await;
        let sent = self.sent();
        let running = self.server.lock().unwrap().running;
        let alone = !self.may_wait(running);
        self.ask(key, false).await;
        assert_eq!(self.sent() - sent, usize::from(alone));
    }

    /// In the end everybody has an answer, and every lane is idle.
    async fn finish(&mut self) {
        loop {
            self.settle().await;
            let mut server = self.server.lock().unwrap();
            let open = server.open();
            if open.is_empty() {
                break;
            }
            open.into_iter()
                .for_each(|number| server.end(number, End::Found));
        }
        assert_eq!(self.callers.len(), 0, "somebody was forgotten");
        assert_eq!(self.batcher.0.lock().idle, LANES, "a slot was lost");
        assert!(self.batcher.0.lock().waiting.is_empty());
    }
}

fn run(story: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap()
        .block_on(story);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn everybody_gets_their_own_answer_whatever_happens(
        steps in vec(step(), 1..60),
        last in 0..KEYS,
        patient: bool,
    ) {
        run(async {
            let mut world = World::new(patient);
            for step in steps {
                world.step(step).await;
            }
            world.ask_at_rest(last).await;
            world.finish().await;
        });
    }
}

/// Both lanes are taken; the statements that are sent meanwhile, by number.
async fn busy() -> World {
    let mut world = World::new(true);
    world.ask(0, false).await;
    world.ask(1, false).await;
    assert_eq!(world.sent(), 2);
    world
}

/// One lane gathers: its statement is the third. The other rests.
async fn gathering() -> World {
    let mut world = busy().await;
    world.ask(2, false).await;
    for number in [0, 1] {
        world.server.lock().unwrap().end(number, End::Found);
        world.settle().await;
    }
    assert_eq!(world.server.lock().unwrap().open(), [2]);
    world
}

#[test]
fn who_waits_shares_a_statement() {
    run(async {
        let mut world = busy().await;
        for key in [2, 3, 2, 4, 5] {
            world.ask(key, false).await;
        }
        world.server.lock().unwrap().end(0, End::Found);
        world.settle().await;
        let keys: Vec<_> = world
            .server
            .lock()
            .unwrap()
            .statements
            .iter()
            .map(|sent| sent.keys.clone())
            .collect();
        assert_eq!(
            keys[2..],
            [BTreeSet::from([2, 3, 4])],
            "as many as one statement takes"
        );
        world.finish().await;
    });
}

#[test]
fn a_lane_goes_on_when_its_caller_hangs_up() {
    run(async {
        let mut world = busy().await;
        world.ask(2, false).await;
        for key in [0, 1] {
            world.hang_up(key);
        }
        world.settle().await;
        assert_eq!(
            (world.sent(), world.server.lock().unwrap().running),
            (2, 2),
            "what was sent is ended first"
        );
        world.server.lock().unwrap().end(0, End::Found);
        world.settle().await;
        assert_eq!(world.sent(), 3);
        world.finish().await;
    });
}

#[test]
fn another_lane_gathers_when_a_statement_takes_long() {
    run(async {
        let mut world = gathering().await;
        world.ask(3, false).await;
        // As if it had been sent long ago.
        world.batcher.0.lock().gathering = None;
        world.ask(4, false).await;
        yield_now().await;
        assert_eq!(
            world.server.lock().unwrap().statements[3].keys,
            BTreeSet::from([3, 4]),
            "with who waited before"
        );
        world.finish().await;
    });
}

#[test]
fn nobody_stays_behind_a_statement_that_takes_long() {
    run(async {
        let mut world = gathering().await;
        world.ask(3, false).await;
        world.settle().await;
        assert_eq!(world.sent(), 3, "it waits for the slot that gathers");
        // As if that had taken long, and the one who waits looked again.
        world.batcher.0.lock().gathering = None;
        world.batcher.0.kick(world.batcher.0.lock());
        world.settle().await;
        assert_eq!(
            world.server.lock().unwrap().statements[3].keys,
            BTreeSet::from([3])
        );
        world.finish().await;
    });
}

#[test]
fn while_there_is_a_crowd_one_lane_leads() {
    run(async {
        let mut world = busy().await;
        for key in [2, 3, 4] {
            world.ask(key, false).await;
        }
        for number in [0, 1, 2] {
            world.server.lock().unwrap().end(number, End::Found);
            world.settle().await;
        }
        for key in [0, 1, 2] {
            world.ask(key, false).await;
        }
        assert_eq!(world.sent(), 4, "the first leads, the others wait for it");
        world.server.lock().unwrap().end(3, End::Found);
        world.settle().await;
        assert_eq!(
            world.server.lock().unwrap().statements[4].keys,
            BTreeSet::from([1, 2])
        );
        world.finish().await;
    });
}

#[test]
fn who_hung_up_is_not_asked_for() {
    run(async {
        let mut world = busy().await;
        for key in [2, 3] {
            world.ask(key, false).await;
        }
        world.hang_up(2);
        world.finish().await;
        assert!(
            world
                .server
                .lock()
                .unwrap()
                .statements
                .iter()
                .all(|sent| !sent.keys.contains(&2))
        );
    });
}

#[test]
fn nobody_waits_longer_than_the_deadline() {
    run(async {
        let mut world = busy().await;
        world.ask(2, true).await;
        world.settle().await;
        assert_eq!(
            (world.sent(), world.callers.len()),
            (2, 2),
            "both slots are taken still"
        );
        world.finish().await;
        assert_eq!(world.sent(), 2, "nobody wants it any more");
    });
}

#[test]
fn a_row_that_fails_fails_alone() {
    run(async {
        let mut world = busy().await;
        for key in [2, 3] {
            world.ask(key, false).await;
        }
        for (number, end) in [(0, End::Found), (2, End::RowFails)] {
            world.server.lock().unwrap().end(number, end);
            world.settle().await;
        }
        let asides: Vec<usize> = world
            .server
            .lock()
            .unwrap()
            .open()
            .into_iter()
            .filter(|number| *number > 2)
            .collect();
        assert_eq!(asides.len(), 2, "each for itself");
        world.server.lock().unwrap().end(asides[0], End::RowFails);
        world.finish().await;
    });
}

#[test]
fn nothing_is_repeated_after_an_outage() {
    run(async {
        let mut world = busy().await;
        for key in [2, 3] {
            world.ask(key, false).await;
        }
        for (number, end) in [(0, End::Found), (1, End::Outage), (2, End::Outage)] {
            world.server.lock().unwrap().end(number, end);
            world.settle().await;
        }
        assert_eq!((world.sent(), world.callers.len()), (3, 0));
        world.finish().await;
    });
}
