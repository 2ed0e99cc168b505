//! What people do meanwhile: sessions, personal tokens and tokens of clients are checked on all
//! replicas and ended on one of them, and every request is written down.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt, future::join_all, stream};
use tokio::time::{sleep, sleep_until};
use tokio_util::task::TaskTracker;

use super::{
    checker::{Event, Operation, Verdict, judge},
    client::Target,
    sessions::{Held, SURVIVORS, Sessions},
};

/// When a session that has ended is checked again, on every replica: at once, when leases of that
/// moment have run out, and much later.
const AGAIN: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(350),
    Duration::from_secs(2),
];

/// How often each replica is asked for one that is alive.
const WATCH: Duration = Duration::from_millis(10);

/// Between two attempts at one logout: of clients that wait a second, as they are told to, too few
/// would try in time.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two looks at what is to be waited for.
const LOOK: Duration = Duration::from_millis(5);

/// By then a fault is over, and with it all that it kept from being answered, on the busiest
/// machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Checks at once in the last pass over everything.
const SWEEPERS: usize = 32;

/// All that is asked of a fleet, and how it was answered.
pub struct Load {
    targets: Arc<[Target]>,
    sessions: Sessions,
    events: Mutex<Vec<Event>>,
    revoked: AtomicUsize,
    stopped: AtomicBool,
    tasks: TaskTracker,
}

impl Load {
    /// Nothing is asked yet.
    pub fn of(targets: Arc<[Target]>, sessions: Sessions) -> Arc<Load> {
        Arc::new(Load {
            targets,
            sessions,
            events: Mutex::default(),
            revoked: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        })
    }

    /// This many people, each of whom signs a session out once in this time, and one who watches
    /// each replica.
    pub fn begin(self: &Arc<Self>, actors: usize, pace: Duration) {
        for _ in 0..actors {
            self.tasks.spawn(self.clone().act(pace));
        }
        for replica in 0..self.targets.len() {
            self.tasks.spawn(self.clone().watch(replica));
        }
    }

    /// Ends it; what was begun is finished.
    pub async fn finish(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.tasks.close();
        tokio::time::timeout(LIMIT * 2, self.tasks.wait())
            .await
            .expect("every request has its limit");
    }

    /// Logouts that were answered with 2xx so far.
    pub fn revoked(&self) -> usize {
        self.revoked.load(Ordering::Relaxed)
    }

    /// Everything that was written down, judged.
    pub fn verdict(&self) -> Verdict {
        judge(
            &self.events.lock().expect("nobody panics while it is held"),
            self.sessions.count(),
        )
    }

    async fn act(self: Arc<Self>, pace: Duration) {
        while !self.stopped.load(Ordering::Relaxed) {
            let next = tokio::time::Instant::now() + pace;
            let Some(session) = self.sessions.next() else {
                return;
            };
            let held = self.sessions.held(session);
            self.check_everywhere(session, &held).await;
            self.revoke(session, &held).await;
            sleep_until(next).await;
        }
    }

    async fn watch(self: Arc<Self>, replica: usize) {
        let all: Vec<_> = (0..SURVIVORS)
            .map(|session| self.sessions.held(session))
            .collect();
        for turn in (0..SURVIVORS).cycle() {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            self.ask(Operation::Check, turn, &all[turn], replica).await;
            sleep(WATCH).await;
        }
    }

    /// Signs it out, on one replica after the other until one says that it is done; then asks for
    /// it everywhere.
    async fn revoke(self: &Arc<Self>, session: usize, held: &Held) {
        let deadline = Instant::now() + LIMIT;
        for attempt in session.. {
            match self
                .ask(
                    Operation::LogOut,
                    session,
                    held,
                    attempt % self.targets.len(),
                )
                .await
            {
                200 | 204 => break,
                0 | 503 if Instant::now() < deadline => sleep(PAUSE).await,
                // It stays unfinished in the log.
                _ => return,
            }
        }
        self.revoked.fetch_add(1, Ordering::Relaxed);
        for later in AGAIN {
            let (load, held) = (self.clone(), held.clone());
            self.tasks.spawn(async move {
                sleep(later).await;
                load.check_everywhere(session, &held).await;
            });
        }
    }

    /// So many at once.
    pub async fn flood(self: &Arc<Self>, count: usize) {
        let sessions: Vec<_> = (0..count).map_while(|_| self.sessions.next()).collect();
        let all = sessions.into_iter().map(async |session| {
            let held = self.sessions.held(session);
            self.revoke(session, &held).await;
        });
        join_all(all).await;
    }

    async fn check_everywhere(&self, session: usize, held: &Held) -> Vec<u16> {
        let replicas = 0..self.targets.len();
        join_all(replicas.map(|replica| self.ask(Operation::Check, session, held, replica))).await
    }

    async fn ask(&self, operation: Operation, session: usize, held: &Held, replica: usize) -> u16 {
        let start = Instant::now();
        let status = self.targets[replica].ask(operation, held).await;
        let event = Event {
            operation,
            session,
            replica,
            start,
            end: Instant::now(),
            status,
        };
        self.events
            .lock()
            .expect("nobody panics while it is held")
            .push(event);
        status
    }

    /// Waits until this many more were signed out.
    pub async fn advances(&self, count: usize) {
        let (goal, deadline) = (self.revoked() + count, Instant::now() + LIMIT);
        while self.revoked() < goal {
            assert!(
                Instant::now() < deadline,
                "nobody can sign out: {}",
                self.verdict()
            );
            sleep(LOOK).await;
        }
    }

    /// Waits until every replica accepts what is alive, and a logout is done; how long each of them
    /// took.
    pub async fn recovers(self: &Arc<Self>) -> Recovery {
        let began = Instant::now();
        let checks = async {
            let survivor = self.sessions.held(0);
            while !self
                .check_everywhere(0, &survivor)
                .await
                .iter()
                .all(|status| *status == 204)
            {
                assert!(
                    began.elapsed() < LIMIT,
                    "not every replica accepts what is alive: {}",
                    self.verdict()
                );
                sleep(LOOK).await;
            }
            began.elapsed()
        };
        let logouts = async {
            self.flood(1).await;
            began.elapsed()
        };
        let (checks, logouts) = tokio::join!(checks, logouts);
        Recovery { checks, logouts }
    }

    /// Asks once more for everything that was signed out, with another token of it; how many are
    /// not refused with 401 even when asked again.
    pub async fn sweep(&self) -> usize {
        let requested =
            stream::iter(SURVIVORS..self.sessions.given()).map(|session| self.is_refused(session));
        requested
            .buffer_unordered(SWEEPERS)
            .filter(|refused| std::future::ready(!refused))
            .count()
            .await
    }

    async fn is_refused(&self, session: usize) -> bool {
        let (held, deadline) = (self.sessions.held(session), Instant::now() + LIMIT);
        loop {
            let responses = self.check_everywhere(session, &held).await;
            let unclear = responses.iter().any(|status| matches!(status, 0 | 503));
            if !unclear || Instant::now() > deadline {
                return responses.iter().all(|status| *status == 401);
            }
            sleep(PAUSE).await;
        }
    }
}

/// How long after the end of a fault something worked again.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// What is alive was accepted by all replicas.
    pub checks: Duration,
    /// A logout was done.
    pub logouts: Duration,
}
