//! Tests of the password hasher: order, capacity, and panics.

use std::{
    pin::{Pin, pin},
    sync::mpsc,
};

use futures_util::future::poll_immediate;
use latchkey_domain::text::ParsedText;

use super::*;

const MAX_WAIT: Duration = Duration::from_secs(60);

/// A job that blocks the only thread until it is released.
struct BlockingJob<'a> {
    release: mpsc::Sender<()>,
    outcome: Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>,
}

impl BlockingJob<'_> {
    async fn finish(self) {
        self.release.send(()).unwrap();
        self.outcome.await.unwrap();
    }
}

fn start(threads: usize) -> PasswordHasher {
    PasswordHasher::start(Argon2Implementation::default(), threads, MAX_WAIT)
}

async fn block_thread(hasher: &PasswordHasher) -> BlockingJob<'_> {
    let (start, started) = mpsc::channel();
    let (release, released) = mpsc::channel();
    let mut outcome = Box::pin(hasher.run(move |_| {
        start.send(()).unwrap();
        released.recv().unwrap();
    }));
    assert!(poll_immediate(&mut outcome).await.is_none());
    started.recv().unwrap();
    BlockingJob { release, outcome }
}

#[test]
fn thread_count_is_limited_to_core_count() {
    let cores = std::thread::available_parallelism().unwrap().get();
    assert_eq!(start(1).threads, 1);
    assert_eq!(start(cores + 7).threads, cores);
}

#[tokio::test]
async fn disconnected_callers_are_skipped_in_queue_order() {
    let hasher = start(1);
    let blocking_job = block_thread(&hasher).await;
    let (sender, finished_jobs) = mpsc::channel();
    let mut callers: Vec<_> = (0..5)
        .map(|number| {
            let sender = sender.clone();
            Box::pin(hasher.run(move |_| sender.send(number).unwrap()))
        })
        .collect();
    for caller in &mut callers {
        assert!(poll_immediate(caller).await.is_none());
    }
    drop(callers.remove(3));
    drop(callers.remove(1));
    blocking_job.finish().await;
    for caller in callers {
        caller.await.unwrap();
    }
    assert_eq!(finished_jobs.try_iter().collect::<Vec<_>>(), [0, 2, 4]);
}

#[tokio::test]
async fn full_queue_rejects_jobs_until_a_caller_disconnects() {
    let hasher = start(1);
    let blocking_job = block_thread(&hasher).await;
    hasher
        .queue
        .average_hash_micros
        .store(micros(MAX_WAIT / 2), Ordering::Relaxed);
    let mut callers: Vec<_> = (0..4).map(|_| Box::pin(hasher.run(|_| ()))).collect();
    let rejected = callers.pop().unwrap();
    for caller in &mut callers {
        assert!(poll_immediate(caller).await.is_none());
    }
    assert!(
        matches!(rejected.await, Err(Error::Busy)),
        "three jobs wait, for half of the maximum wait each"
    );
    assert_eq!(hasher.waiting(), 3);
    assert!(
        matches!(hasher.check_capacity(), Err(Error::Busy)),
        "the queue is full before a store is queried"
    );
    callers.pop();
    assert!(hasher.check_capacity().is_ok());
    let mut replacement = pin!(hasher.run(|_| ()));
    assert!(poll_immediate(&mut replacement).await.is_none());
    assert_eq!(hasher.waiting(), 3);
    blocking_job.finish().await;
    replacement.await.unwrap();
}

#[tokio::test]
async fn job_beyond_maximum_wait_is_not_hashed() {
    let hasher = start(1);
    let (queue, dummy_hash) = (hasher.queue.clone(), hasher.dummy_hash.clone());
    let strict_hasher = PasswordHasher {
        queue,
        threads: 1,
        max_wait: Duration::from_nanos(1),
        dummy_hash,
    };
    let blocking_job = block_thread(&hasher).await;
    // No job has finished, so the estimated wait is zero and the queue accepts the job.
    let mut late = pin!(strict_hasher.run(|_| unreachable!("the job waited too long")));
    assert!(poll_immediate(&mut late).await.is_none());
    blocking_job.finish().await;
    assert!(matches!(late.await, Err(Error::Busy)));
}

#[test]
fn first_duration_is_the_average() {
    let queue = Queue::default();
    let averages = [800, 1_600, 1_600].map(|micros| {
        queue.record_duration(micros);
        queue.average_hash_micros.load(Ordering::Relaxed)
    });
    assert_eq!(averages, [800, 900, 987]);
}

#[tokio::test]
async fn panicking_hash_keeps_its_thread() {
    let hasher = start(1);
    assert!(matches!(
        hasher.run(|_| panic!("a test panic")).await,
        Err::<(), _>(Error::Busy)
    ));
    hasher.run(|_| ()).await.unwrap();
}

#[tokio::test]
async fn only_password_of_known_user_matches() {
    for implementation in [
        Argon2Implementation::RustCrypto,
        Argon2Implementation::Argon2Rust,
    ] {
        let hasher = PasswordHasher::start(implementation, 1, MAX_WAIT);
        let password = |text| Arc::new(Password::parse(text).unwrap());
        let hash = hasher.hash(password("secret123")).await.unwrap();
        for (text, stored, expected) in [
            ("secret123", Some(hash.as_str()), PasswordMatch::Match),
            ("secret124", Some(hash.as_str()), PasswordMatch::NoMatch),
            ("secret123", None, PasswordMatch::NoMatch),
        ] {
            let outcome = hasher.verify(&password(text), stored).await.unwrap();
            assert_eq!(outcome, expected, "{implementation:?}, {text}");
        }
    }
}
