//! The pool of hashing threads.
//!
//! A hash takes 19 MiB and some milliseconds of one core. It has threads of its own, never more
//! than cores (that would be slower), at lower priority, so that a storm of sign-ins slows nothing
//! but sign-ins. The queue is first come, first served, and bounded by waiting time: whoever would
//! wait longer than the setting says is told at once, and nobody is hashed for who has hung up.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use latchkey_domain::{
    password::{self, HashBuffer, Password, PasswordMatch, SALT_BYTES},
    text::ParsedText,
};
use tokio::sync::oneshot;

use crate::error::Error;

/// Runs hashes.
pub struct PasswordHasher {
    queue: Arc<Queue>,
    threads: usize,
    longest_wait: Duration,
    /// What unknown users are compared with.
    dummy_hash: Arc<str>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
    /// Moving average of the time of one hash, in microseconds. Of elapsed time, not of the
    /// processor's: a hash that is kept from its core keeps those behind it waiting, too.
    typical: AtomicU64,
}

struct Job {
    /// Hashes for the caller, unless there is nobody left to hash for; whether it did.
    work: Box<dyn FnOnce(&mut HashBuffer) -> bool + Send>,
    queued: Instant,
    /// Dead once the caller has hung up.
    caller: Weak<()>,
}

impl PasswordHasher {
    /// Starts the threads, no more than there are cores, and measures one hash.
    pub fn start(threads: usize, longest_wait: Duration) -> PasswordHasher {
        if !password::simd_self_test_passed() {
            tracing::warn!("fast Argon2 implementation failed its self-test; using the slower one");
        }
        let (queue, dummy_hash) = (Arc::new(Queue::default()), password::dummy_hash().into());
        queue
            .typical
            .store(micros(time_of_one_hash()), Ordering::Relaxed);
        let threads =
            threads.min(std::thread::available_parallelism().map_or(threads, usize::from));
        for number in 0..threads {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            thread
                .spawn(move || serve(&queue))
                .expect("the system can start a thread");
        }
        PasswordHasher {
            queue,
            threads,
            longest_wait,
            dummy_hash,
        }
    }

    /// Hashes a new password under a random salt.
    pub async fn hash(&self, password: Arc<Password>) -> Result<String, Error> {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).map_err(Error::internal)?;
        self.run(move |memory| password::hash(&password, &salt, memory))
            .await?
            .map_err(Error::from)
    }

    /// Compares a password with a stored hash; without one, with a hash that no password has, which
    /// takes as long.
    pub async fn verify(
        &self,
        password: &Arc<Password>,
        stored: Option<&str>,
    ) -> Result<PasswordMatch, Error> {
        let hash: Arc<str> = stored.map_or_else(|| self.dummy_hash.clone(), Arc::from);
        let (password, known) = (password.clone(), stored.is_some());
        let verdict = self
            .run(move |memory| password::verify(&password, &hash, memory))
            .await??;
        Ok(if known {
            verdict
        } else {
            PasswordMatch::NoMatch
        })
    }

    /// Whether there is room in the queue, for whoever would ask the stores first.
    ///
    /// # Errors
    /// `busy`.
    pub fn admit(&self) -> Result<(), Error> {
        self.make_room(
            &mut self
                .queue
                .jobs
                .lock()
                .expect("nothing panics while it is held"),
        )
    }

    /// How many wait, for the metrics.
    pub fn waiting(&self) -> usize {
        self.queue
            .jobs
            .lock()
            .expect("nothing panics while it is held")
            .len()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut HashBuffer) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let (queued, longest_wait) = (Instant::now(), self.longest_wait);
        let work = move |memory: &mut HashBuffer| {
            let wanted = !answer.is_closed() && queued.elapsed() <= longest_wait;
            wanted && answer.send(work(memory)).is_ok()
        };
        let here = Arc::new(());
        self.queue(Job {
            work: Box::new(work),
            queued,
            caller: Arc::downgrade(&here),
        })?;
        // Without an answer the sender was dropped: the estimate was wrong, and the job waited too
        // long after all.
        let answer = answered.await.map_err(|_| Error::Busy);
        drop(here);
        answer
    }

    fn queue(&self, job: Job) -> Result<(), Error> {
        let mut jobs = self
            .queue
            .jobs
            .lock()
            .expect("nothing panics while it is held");
        self.make_room(&mut jobs)?;
        jobs.push_back(job);
        self.queue.filled.notify_one();
        Ok(())
    }

    fn make_room(&self, jobs: &mut VecDeque<Job>) -> Result<(), Error> {
        let typical = Duration::from_micros(self.queue.typical.load(Ordering::Relaxed));
        let wait = |jobs: usize| typical * u32::try_from(jobs / self.threads).unwrap_or(u32::MAX);
        if wait(jobs.len()) > self.longest_wait {
            // Whoever has hung up takes nobody's place.
            jobs.retain(|job| job.caller.strong_count() > 0);
        }
        if wait(jobs.len()) > self.longest_wait {
            Err(Error::Busy)
        } else {
            Ok(())
        }
    }
}

/// Before there is an average: so that the first crowd, too, is told how long it would wait.
fn time_of_one_hash() -> Duration {
    let password = Password::parse("measured").expect("any word is one");
    let began = Instant::now();
    // Only the time is of interest; if there is no memory for it, the first sign-in is told.
    let _ = password::hash(&password, &[0; SALT_BYTES], &mut HashBuffer::default());
    began.elapsed()
}

fn serve(queue: &Queue) {
    yield_to_requests();
    let mut memory = HashBuffer::default();
    loop {
        let job = next(queue);
        metrics::histogram!("latchkey_hash_wait_seconds")
            .record(job.queued.elapsed().as_secs_f64());
        let began = Instant::now();
        // Whatever a hash does, the thread goes on: without threads nobody could sign in any more.
        let worked = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
        if worked.is_err() {
            memory = HashBuffer::default();
        }
        if worked.unwrap_or(false) {
            let (known, taken) = (
                queue.typical.load(Ordering::Relaxed),
                micros(began.elapsed()),
            );
            queue
                .typical
                .store((known * 7 + taken) / 8, Ordering::Relaxed);
        }
    }
}

fn next(queue: &Queue) -> Job {
    let mut jobs = queue.jobs.lock().expect("nothing panics while it is held");
    loop {
        match jobs.pop_front() {
            Some(job) => return job,
            None => {
                jobs = queue
                    .filled
                    .wait(jobs)
                    .expect("nothing panics while it is held")
            }
        }
    }
}

/// Lowers the priority of this thread: it takes what requests leave, and about a tenth of a core in
/// any case, so that no flood of requests keeps everybody from signing in. On Linux niceness
/// belongs to threads; elsewhere it belongs to the whole process, and so it stays.
fn yield_to_requests() {
    #[cfg(target_os = "linux")]
    // A refusal changes nothing but the speed of others.
    let _ = rustix::process::setpriority_process(None, 10);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "password_hasher_tests.rs"]
mod tests;
