//! Connections to the PostgreSQL server that accepts writes, among the hosts of `DATABASE_URL`.
//!
//! The first attempt contacts all hosts at the same time, so that a host that hangs delays it only
//! briefly. Later attempts use only the primary, until connecting to it fails. When another host
//! has become the primary, connections to the deposed one are not used again.
//!
//! After a statement without a response, each connection is tested before it is used again. If the
//! first test has no response, no connection to the server is used again, and the next attempt
//! contacts all hosts.
//!
//! An attempt is a task of its own: it continues when its caller gives up, and the next caller
//! receives its connection. So a network on which connecting takes longer than an operation delays
//! only the first callers.

mod error;
mod locate;
mod search;
mod target;
mod waiters;

use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard},
    time::Instant,
};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use deadpool_postgres::ClientWrapper;
use tokio::{task::JoinHandle, time::timeout};

pub(super) use error::ConnectError;
use locate::LocatedPrimary;
pub(super) use locate::Locator;
pub(super) use target::Target;
use waiters::Waiters;

/// A connection to the primary.
pub struct PrimaryClient {
    client: ClientWrapper,
    /// The connection generation.
    generation: u64,
    opened_at: Instant,
}

impl Deref for PrimaryClient {
    type Target = ClientWrapper;

    fn deref(&self) -> &ClientWrapper {
        &self.client
    }
}

impl DerefMut for PrimaryClient {
    fn deref_mut(&mut self) -> &mut ClientWrapper {
        &mut self.client
    }
}

/// Opens the connections of one pool.
pub(super) struct Connector {
    shared: Arc<Shared>,
}

struct Shared {
    locator: Arc<Locator>,
    /// Statements that each new connection executes.
    settings: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiters: Waiters<Result<PrimaryClient, ConnectError>>,
    /// Connections whose caller has given up.
    spare: Vec<PrimaryClient>,
    /// Attempts of the current generation that are running.
    attempts: usize,
    attempts_generation: u64,
    /// Whether an attempt is searching for the primary.
    is_locating: bool,
}

impl Connector {
    /// Creates a connector whose connections execute these statements first.
    pub fn new(locator: Arc<Locator>, settings: String) -> Connector {
        Connector {
            shared: Arc::new(Shared {
                locator,
                settings,
                state: Mutex::default(),
            }),
        }
    }

    /// Records a statement that the server rejected.
    pub fn report_rejection(&self, error: &tokio_postgres::Error) {
        self.shared.locator.last_rejection().record(error);
    }

    /// Records that the server has not responded to a statement in time.
    pub fn report_timeout(&self) {
        self.shared.locator.record_timeout();
    }

    /// Opens a connection, or returns one whose caller has given up.
    ///
    /// # Errors
    /// If no host is the primary, within the connect timeout.
    pub async fn connect(&self) -> Result<PrimaryClient, ConnectError> {
        let received = {
            let mut state = self.shared.state();
            if let Some(client) = state.take_spare(&self.shared.locator) {
                return Ok(client);
            }
            let received = state.waiters.add();
            self.shared.start_attempts(&mut state);
            received
        };
        received.await.unwrap_or(Err(ConnectError::Interrupted))
    }
}

impl State {
    fn take_spare(&mut self, locator: &Locator) -> Option<PrimaryClient> {
        let generation = locator.generation();
        self.spare.retain(|client| {
            client.generation == generation
                && !client.is_closed()
                && !locator.has_timed_out_since(client.opened_at)
        });
        self.spare.pop()
    }

    /// Ends an attempt of a generation. Attempts of an earlier one don't count any longer.
    fn end_attempt(&mut self, generation: u64) {
        if generation == self.attempts_generation {
            self.attempts = self.attempts.saturating_sub(1);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Starts as many attempts as there are waiters, but only one while the primary is unknown.
    fn start_attempts(self: &Arc<Self>, state: &mut State) {
        let generation = self.locator.generation();
        if state.attempts_generation != generation {
            (state.attempts, state.attempts_generation) = (0, generation);
        }
        let wanted = match self.locator.primary() {
            Some(_) => state.waiters.count(),
            None => state.waiters.count().min(1),
        };
        while state.attempts < wanted {
            state.attempts += 1;
            let shared = self.clone();
            tokio::spawn(async move {
                let attempt = tokio::spawn(shared.clone().run_attempt(generation));
                if attempt.await.is_err() {
                    // It panicked. The next caller starts another one.
                    shared.state().is_locating = false;
                    shared.fail(generation, &ConnectError::Interrupted);
                }
            });
        }
    }

    async fn run_attempt(self: Arc<Self>, generation: u64) {
        if let Some((address, known)) = self.locator.primary() {
            match self.locator.connect_to(&address, &self.settings).await {
                Ok(located) => match self.locator.accept(&located, Some(known)) {
                    Some(accepted) => return self.deliver(generation, located, accepted),
                    // Another generation began during the attempt.
                    None => return self.restart(generation),
                },
                Err(_) => self.locator.forget_primary(&address),
            }
        }
        {
            let mut state = self.state();
            if std::mem::replace(&mut state.is_locating, true) {
                // Another attempt locates the primary for all waiters.
                return state.end_attempt(generation);
            }
        }
        let outcome = self.locator.locate(&self.settings).await;
        self.state().is_locating = false;
        match outcome {
            Ok(located) => match self.locator.accept(&located, None) {
                Some(accepted) => self.deliver(generation, located, accepted),
                None if !self.locator.uses_current_url(&located) => self.restart(generation),
                None => self.fail(generation, &ConnectError::Deposed(located.address)),
            },
            Err(error) => self.fail(generation, &error),
        }
    }

    /// Delivers a connection to the first waiter.
    fn deliver(self: &Arc<Self>, generation: u64, located: LocatedPrimary, accepted: u64) {
        let mut state = self.state();
        state.end_attempt(generation);
        let client = PrimaryClient {
            client: located.client,
            generation: accepted,
            opened_at: Instant::now(),
        };
        if let Err(Ok(client)) = state.waiters.send_to_first(Ok(client)) {
            state.spare.push(client);
        }
        self.start_attempts(&mut state);
    }

    fn restart(self: &Arc<Self>, generation: u64) {
        let mut state = self.state();
        state.end_attempt(generation);
        self.start_attempts(&mut state);
    }

    /// Delivers an error to all waiters.
    fn fail(&self, generation: u64, error: &ConnectError) {
        let mut state = self.state();
        state.end_attempt(generation);
        state.waiters.send_to_all(|| Err(error.clone()));
    }
}

impl managed::Manager for Connector {
    type Type = PrimaryClient;
    type Error = ConnectError;

    async fn create(&self) -> Result<PrimaryClient, ConnectError> {
        self.connect().await
    }

    async fn recycle(
        &self,
        client: &mut PrimaryClient,
        metrics: &Metrics,
    ) -> RecycleResult<ConnectError> {
        let locator = &self.shared.locator;
        if client.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        if client.generation != locator.generation() {
            return Err(RecycleError::message("the connection is outdated"));
        }
        let last_checkout = metrics.recycled.unwrap_or(client.opened_at);
        if !locator.has_timed_out_since(last_checkout) {
            return Ok(());
        }
        match timeout(locator.test_timeout(), client.simple_query("")).await {
            Ok(Ok(_)) => {
                locator.record_response();
                Ok(())
            }
            Ok(Err(_)) => Err(RecycleError::message("the connection is broken")),
            Err(_) => {
                locator.handle_lost_connection(client.generation);
                Err(RecycleError::message("the connection has no response"))
            }
        }
    }
}

/// Runs the driver's part of a connection. The client reports its errors.
fn spawn_driver(
    connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let _ = connection.await;
    })
}
