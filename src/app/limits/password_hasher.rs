//! The password hasher: a pool of threads with a bounded queue.
//!
//! A hash takes 19 MiB of memory and some milliseconds of one core. Hashes run on separate threads
//! with a lower priority, so that a burst of sign-ins slows only sign-ins. More threads than cores
//! would be slower.
//!
//! The queue is first in, first out, and bounded by the estimated wait. A job that would wait
//! longer than the maximum fails immediately with `busy`. Jobs of disconnected callers are skipped.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use latchkey_domain::password::{
    self, Argon2Implementation, HashBuffer, Password, PasswordMatch, SALT_BYTES,
};
use tokio::sync::oneshot;

use crate::error::Error;

/// Hashes and verifies passwords on a pool of threads.
pub struct PasswordHasher {
    queue: Arc<Queue>,
    threads: usize,
    max_wait: Duration,
    /// The hash for unknown users, so that their sign-in takes as long as that of known users.
    dummy_hash: Arc<str>,
}

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    job_added: Condvar,
    /// The moving average of the time per hash, in microseconds. It measures elapsed time and not
    /// CPU time, because waiting for a core also delays the following jobs. Zero before the first
    /// job, so that the queue is unbounded for the duration of one hash.
    average_hash_micros: AtomicU64,
}

impl Queue {
    fn record_duration(&self, micros: u64) {
        let average = match self.average_hash_micros.load(Ordering::Relaxed) {
            0 => micros,
            average => (average * 7 + micros) / 8,
        };
        self.average_hash_micros.store(average, Ordering::Relaxed);
    }
}

struct Job {
    /// Hashes and sends the result, unless the caller has disconnected or the job has waited too
    /// long. Returns whether the result was sent.
    work: Box<dyn FnOnce(&mut HashBuffer) -> bool + Send>,
    queued_at: Instant,
    /// Has no strong reference after the caller has disconnected.
    caller: Weak<()>,
}

impl PasswordHasher {
    /// Starts the threads, at most one per core.
    pub fn start(
        implementation: Argon2Implementation,
        threads: usize,
        max_wait: Duration,
    ) -> PasswordHasher {
        let (queue, dummy_hash) = (Arc::new(Queue::default()), password::dummy_hash().into());
        let threads =
            threads.min(std::thread::available_parallelism().map_or(threads, usize::from));
        for number in 0..threads {
            let queue = queue.clone();
            let thread = std::thread::Builder::new().name(format!("hash-{number}"));
            thread
                .spawn(move || {
                    // The self-test computes a hash, so it doesn't run on the thread that starts
                    // the process.
                    if number == 0 && implementation.after_self_test() != implementation {
                        tracing::warn!("argon2-rust failed its self-test; using rustcrypto");
                    }
                    run_jobs(&queue, implementation);
                })
                .expect("the system can start a thread");
        }
        PasswordHasher {
            queue,
            threads,
            max_wait,
            dummy_hash,
        }
    }

    /// Hashes a new password with a random salt.
    pub async fn hash(&self, password: Arc<Password>) -> Result<String, Error> {
        let mut salt = [0; SALT_BYTES];
        aws_lc_rs::rand::fill(&mut salt).map_err(Error::internal)?;
        self.run(move |buffer| password::hash(&password, &salt, buffer))
            .await?
            .map_err(Error::from)
    }

    /// Compares a password with a stored hash. Without a stored hash, compares it with a dummy
    /// hash, so that the response time doesn't disclose whether the user exists.
    pub async fn verify(
        &self,
        password: &Arc<Password>,
        stored: Option<&str>,
    ) -> Result<PasswordMatch, Error> {
        let hash: Arc<str> = stored.map_or_else(|| self.dummy_hash.clone(), Arc::from);
        let (password, is_known_user) = (password.clone(), stored.is_some());
        let outcome = self
            .run(move |buffer| password::verify(&password, &hash, buffer))
            .await??;
        Ok(if is_known_user {
            outcome
        } else {
            PasswordMatch::NoMatch
        })
    }

    /// Returns an error if the queue is full. Callers check it before they query the stores.
    ///
    /// # Errors
    /// `busy`.
    pub fn check_capacity(&self) -> Result<(), Error> {
        self.ensure_capacity(&mut self.queue.jobs.lock().expect("no holder panics"))
    }

    /// Returns the number of waiting jobs.
    pub fn waiting(&self) -> usize {
        self.queue.jobs.lock().expect("no holder panics").len()
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut HashBuffer) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (sender, receiver) = oneshot::channel();
        let (queued_at, max_wait) = (Instant::now(), self.max_wait);
        let work = move |buffer: &mut HashBuffer| {
            let is_needed = !sender.is_closed() && queued_at.elapsed() <= max_wait;
            is_needed && sender.send(work(buffer)).is_ok()
        };
        let caller = Arc::new(());
        self.enqueue(Job {
            work: Box::new(work),
            queued_at,
            caller: Arc::downgrade(&caller),
        })?;
        // The sender is dropped without a result if the estimate was too low and the job waited too
        // long, or if the hash panicked.
        let outcome = receiver.await.map_err(|_| Error::Busy);
        drop(caller);
        outcome
    }

    fn enqueue(&self, job: Job) -> Result<(), Error> {
        let mut jobs = self.queue.jobs.lock().expect("no holder panics");
        self.ensure_capacity(&mut jobs)?;
        jobs.push_back(job);
        self.queue.job_added.notify_one();
        Ok(())
    }

    /// Removes jobs of disconnected callers if the queue is full. Returns `busy` if it stays full.
    fn ensure_capacity(&self, jobs: &mut VecDeque<Job>) -> Result<(), Error> {
        let average = Duration::from_micros(self.queue.average_hash_micros.load(Ordering::Relaxed));
        let estimate_wait =
            |jobs: usize| average * u32::try_from(jobs / self.threads).unwrap_or(u32::MAX);
        if estimate_wait(jobs.len()) > self.max_wait {
            jobs.retain(|job| job.caller.strong_count() > 0);
        }
        if estimate_wait(jobs.len()) > self.max_wait {
            Err(Error::Busy)
        } else {
            Ok(())
        }
    }
}

/// Runs jobs on a thread of the pool.
fn run_jobs(queue: &Queue, implementation: Argon2Implementation) {
    lower_thread_priority();
    let mut buffer = HashBuffer::new(implementation);
    loop {
        let job = wait_for_job(queue);
        metrics::histogram!("latchkey_hash_wait_seconds")
            .record(job.queued_at.elapsed().as_secs_f64());
        let began = Instant::now();
        // A panic must not end the thread, because sign-ins would fail without threads.
        let outcome = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut buffer)));
        if outcome.is_err() {
            buffer = HashBuffer::new(implementation);
        }
        if outcome.unwrap_or(false) {
            queue.record_duration(micros(began.elapsed()));
        }
    }
}

fn wait_for_job(queue: &Queue) -> Job {
    let mut jobs = queue.jobs.lock().expect("no holder panics");
    loop {
        match jobs.pop_front() {
            Some(job) => return job,
            None => jobs = queue.job_added.wait(jobs).expect("no holder panics"),
        }
    }
}

/// Lowers the priority of this thread, so that requests run first.
///
/// The thread still gets about a tenth of a core, so that users can sign in under load. Other
/// systems than Linux apply niceness to the whole process, so the priority is unchanged there.
fn lower_thread_priority() {
    #[cfg(target_os = "linux")]
    // A failure only slows other requests.
    let _ = rustix::process::setpriority_process(None, 10);
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[path = "password_hasher_tests.rs"]
mod tests;
