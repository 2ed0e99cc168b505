//! The load: credentials are checked on all replicas and revoked on one of them. Every request is
//! recorded.

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
    checker::{Event, Operation, Verdict, evaluate},
    client::Target,
    sessions::{Credential, SURVIVOR_COUNT, Sessions},
};
use crate::test_server::TestServer;

/// The delays after which a revoked session is checked on every replica: immediately, after the
/// current leases expired, and much later.
const RECHECK_DELAYS: [Duration; 3] = [
    Duration::ZERO,
    Duration::from_millis(350),
    Duration::from_secs(2),
];

/// The interval at which each replica checks a session that is never revoked.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// The delay between attempts at one sign-out. `Retry-After` is longer, but would allow too few
/// attempts during a fault.
const RETRY_DELAY: Duration = Duration::from_millis(100);

const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Longer than any recovery from a fault, even on a busy machine.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(120);

/// The number of concurrent checks in the final sweep.
const SWEEP_CONCURRENCY: usize = 32;

/// The requests to a fleet and their responses.
pub struct Load {
    targets: Arc<[Target]>,
    sessions: Sessions,
    events: Mutex<Vec<Event>>,
    revoked: AtomicUsize,
    stopped: AtomicBool,
    tasks: TaskTracker,
}

impl Load {
    pub fn new(targets: Arc<[Target]>, sessions: Sessions) -> Arc<Load> {
        Arc::new(Load {
            targets,
            sessions,
            events: Mutex::default(),
            revoked: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            tasks: TaskTracker::new(),
        })
    }

    /// Starts the actors, each of which signs out one session per `pace`, and one watcher per
    /// replica.
    pub fn start(self: &Arc<Self>, actors: usize, pace: Duration) {
        for _ in 0..actors {
            self.tasks.spawn(self.clone().run_actor(pace));
        }
        for replica in 0..self.targets.len() {
            self.tasks.spawn(self.clone().run_watcher(replica));
        }
    }

    /// Stops the load after all started requests.
    pub async fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.tasks.close();
        tokio::time::timeout(RECOVERY_TIMEOUT * 2, self.tasks.wait())
            .await
            .expect("every request has a timeout");
    }

    /// Returns the number of sign-outs that returned 2xx.
    pub fn revoked(&self) -> usize {
        self.revoked.load(Ordering::Relaxed)
    }

    /// Evaluates the recorded requests.
    pub fn verdict(&self) -> Verdict {
        evaluate(
            &self.events.lock().expect("no poisoned lock"),
            self.sessions.count(),
        )
    }

    async fn run_actor(self: Arc<Self>, pace: Duration) {
        while !self.stopped.load(Ordering::Relaxed) {
            let next = tokio::time::Instant::now() + pace;
            let Some(session) = self.sessions.next() else {
                return;
            };
            let credential = self.sessions.credential(session);
            self.check_on_all_replicas(session, &credential).await;
            self.revoke(session, &credential).await;
            sleep_until(next).await;
        }
    }

    async fn run_watcher(self: Arc<Self>, replica: usize) {
        let survivors: Vec<_> = (0..SURVIVOR_COUNT)
            .map(|session| self.sessions.credential(session))
            .collect();
        for session in (0..SURVIVOR_COUNT).cycle() {
            if self.stopped.load(Ordering::Relaxed) {
                return;
            }
            self.send(Operation::Check, session, &survivors[session], replica)
                .await;
            sleep(WATCH_INTERVAL).await;
        }
    }

    /// Signs out on one replica after another until one succeeds, and then schedules the checks.
    async fn revoke(self: &Arc<Self>, session: usize, credential: &Credential) {
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        for attempt in session.. {
            match self
                .send(
                    Operation::SignOut,
                    session,
                    credential,
                    attempt % self.targets.len(),
                )
                .await
            {
                200 | 204 => break,
                0 | 503 if Instant::now() < deadline => sleep(RETRY_DELAY).await,
                // The verdict counts the session as unfinished.
                _ => return,
            }
        }
        self.revoked.fetch_add(1, Ordering::Relaxed);
        for delay in RECHECK_DELAYS {
            let (load, credential) = (self.clone(), credential.clone());
            self.tasks.spawn(async move {
                sleep(delay).await;
                load.check_on_all_replicas(session, &credential).await;
            });
        }
    }

    /// Requests a token from a replica, checks it on all replicas, and revokes it. Returns its time
    /// of issue.
    pub async fn revoke_issued_token(self: &Arc<Self>, server: &TestServer) -> i64 {
        let session = self.sessions.next().expect("an unused credential");
        let credential = self.sessions.request_token(session, server).await;
        self.check_on_all_replicas(session, &credential).await;
        self.revoke(session, &credential).await;
        credential.issued_at()
    }

    /// Signs out this many sessions concurrently.
    pub async fn flood(self: &Arc<Self>, count: usize) {
        let sessions: Vec<_> = (0..count).map_while(|_| self.sessions.next()).collect();
        let sign_outs = sessions.into_iter().map(async |session| {
            let credential = self.sessions.credential(session);
            self.revoke(session, &credential).await;
        });
        join_all(sign_outs).await;
    }

    async fn check_on_all_replicas(&self, session: usize, credential: &Credential) -> Vec<u16> {
        let replicas = 0..self.targets.len();
        let checks =
            replicas.map(|replica| self.send(Operation::Check, session, credential, replica));
        join_all(checks).await
    }

    async fn send(
        &self,
        operation: Operation,
        session: usize,
        credential: &Credential,
        replica: usize,
    ) -> u16 {
        let start = Instant::now();
        let status = self.targets[replica].send(operation, credential).await;
        let event = Event {
            operation,
            session,
            replica,
            start,
            end: Instant::now(),
            status,
        };
        self.events.lock().expect("no poisoned lock").push(event);
        status
    }

    /// Waits for this many further sign-outs.
    pub async fn wait_for_sign_outs(&self, count: usize) {
        let (goal, deadline) = (self.revoked() + count, Instant::now() + RECOVERY_TIMEOUT);
        while self.revoked() < goal {
            assert!(
                Instant::now() < deadline,
                "no sign-out succeeds: {}",
                self.verdict()
            );
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Waits until every replica accepts a valid session and a sign-out succeeds.
    pub async fn measure_recovery(self: &Arc<Self>) -> Recovery {
        let started_at = Instant::now();
        let checks = async {
            let survivor = self.sessions.credential(0);
            while !self
                .check_on_all_replicas(0, &survivor)
                .await
                .iter()
                .all(|status| *status == 204)
            {
                assert!(
                    started_at.elapsed() < RECOVERY_TIMEOUT,
                    "a replica rejects a valid session: {}",
                    self.verdict()
                );
                sleep(POLL_INTERVAL).await;
            }
            started_at.elapsed()
        };
        let sign_outs = async {
            self.flood(1).await;
            started_at.elapsed()
        };
        let (checks, sign_outs) = tokio::join!(checks, sign_outs);
        Recovery { checks, sign_outs }
    }

    /// Checks every revoked session again with another token. Returns the number of sessions that
    /// not all replicas reject.
    pub async fn sweep(&self) -> usize {
        let used = SURVIVOR_COUNT..self.sessions.used_count();
        stream::iter(used)
            .map(|session| self.is_rejected(session))
            .buffer_unordered(SWEEP_CONCURRENCY)
            .filter(|is_rejected| std::future::ready(!is_rejected))
            .count()
            .await
    }

    async fn is_rejected(&self, session: usize) -> bool {
        let credential = self.sessions.credential(session);
        let deadline = Instant::now() + RECOVERY_TIMEOUT;
        loop {
            let statuses = self.check_on_all_replicas(session, &credential).await;
            let is_unclear = statuses.iter().any(|status| matches!(status, 0 | 503));
            if !is_unclear || Instant::now() > deadline {
                return statuses.iter().all(|status| *status == 401);
            }
            sleep(RETRY_DELAY).await;
        }
    }
}

/// The times from the end of a fault to the recovery.
#[derive(Debug, Clone, Copy)]
pub struct Recovery {
    /// All replicas accept a valid session.
    pub checks: Duration,
    /// A sign-out succeeds.
    pub sign_outs: Duration,
}
