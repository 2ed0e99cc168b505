//! Finds the primary among the hosts.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use deadpool_postgres::ClientWrapper;
use futures_util::{
    future::{FutureExt, join_all},
    stream::{FuturesUnordered, StreamExt},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_postgres::SimpleQueryMessage;

use super::{
    super::{diagnosis::LastRejection, pools::PostgresTimeouts},
    error::ConnectError,
    search::Search,
    spawn_driver,
    target::{HostAddress, Target},
};

use crate::reloadable_url::ReloadableUrl;

const READ_ROLE: &str = include_str!("../../../sql/queries/read_role.sql");
const READ_TIMELINE: &str = include_str!("../../../sql/queries/read_timeline.sql");

/// The delay until a host that isn't the primary is contacted again, while another host hangs.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// After a primary was found, other hosts have this long to report a newer timeline: a deposed
/// primary might respond first.
const SETTLE_TIME: Duration = Duration::from_millis(500);

/// How long a connection to the known primary can take until the other hosts are contacted as well.
const MAX_PRIMARY_TIMEOUT: Duration = Duration::from_secs(1);

/// After a statement without a response, the server has this part of a transaction's timeout to
/// respond on an open connection, so that the transaction can still use another host.
const TEST_TIMEOUT_DIVISOR: u32 = 4;
const MAX_TEST_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection to the primary.
pub(super) struct LocatedPrimary {
    pub address: HostAddress,
    pub client: ClientWrapper,
    timeline: Option<Timeline>,
    /// The version of the URL that led to the server.
    url_version: u64,
}

/// Finds the primary. All connectors of a process share it, so that they use the same server.
pub(in crate::postgres) struct Locator {
    source: ReloadableUrl<Target>,
    timeout: Duration,
    test_timeout: Duration,
    state: Mutex<State>,
    last_rejection: LastRejection,
}

#[derive(Default)]
struct State {
    /// The last known primary, unless connecting to it has failed since.
    primary: Option<HostAddress>,
    /// The address of the connections of the current generation.
    generation_address: Option<HostAddress>,
    /// Incremented when another address becomes the primary, or when all connections must be
    /// replaced.
    generation: u64,
    /// When the last statement without a response ended.
    last_timeout: Option<std::time::Instant>,
    /// Whether an open connection has responded to a test since.
    has_responded: bool,
    /// The larger one of the numbers of hosts and of their addresses.
    address_count: usize,
    timelines: Timelines,
}

impl State {
    /// Lets all connections close instead of being used again, and the next attempt contact all
    /// hosts.
    fn begin_generation(&mut self) {
        self.primary = None;
        self.generation_address = None;
        self.generation += 1;
    }
}

/// The timeline of a database cluster. A promotion increments its number.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Timeline {
    cluster: String,
    number: u32,
}

/// The newest timeline of each database cluster.
#[derive(Default)]
struct Timelines(BTreeMap<String, u32>);

impl Timelines {
    /// Returns whether a server with this timeline was the primary before a failover.
    fn is_deposed(&mut self, timeline: &Timeline) -> bool {
        let Timeline { cluster, number } = timeline;
        let newest = self.0.entry(cluster.clone()).or_insert(*number);
        *newest = (*newest).max(*number);
        number < newest
    }
}

impl LocatedPrimary {
    /// Returns the connection whose server was promoted last, or `self` if that is unknown.
    fn or_newer(self, other: LocatedPrimary) -> LocatedPrimary {
        match (&self.timeline, &other.timeline) {
            (Some(own), Some(others))
                if own.cluster == others.cluster && own.number < others.number =>
            {
                other
            }
            _same => self,
        }
    }
}

impl Locator {
    /// Creates a locator whose attempts end after the connect timeout.
    pub fn new(source: ReloadableUrl<Target>, timeouts: PostgresTimeouts) -> Locator {
        Locator {
            source,
            timeout: timeouts.connect,
            test_timeout: (timeouts.transaction / TEST_TIMEOUT_DIVISOR).min(MAX_TEST_TIMEOUT),
            state: Mutex::default(),
            last_rejection: LastRejection::default(),
        }
    }

    /// Returns the last statement that the primary rejected.
    pub(in crate::postgres) fn last_rejection(&self) -> &LastRejection {
        &self.last_rejection
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Returns the current connection generation.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Returns the last known primary and the generation of connections to it.
    pub(super) fn primary(&self) -> Option<(HostAddress, u64)> {
        let state = self.state();
        Some((state.primary.clone()?, state.generation))
    }

    /// Reads the URL again. If it has changed, connections to the server of the previous URL close
    /// instead of being used again.
    pub(in crate::postgres) fn reload_url(&self) {
        if self.source.reload() {
            self.state().begin_generation();
        }
    }

    /// Returns the timeout of a test whether the server responds on an open connection.
    pub(super) fn test_timeout(&self) -> Duration {
        self.test_timeout
    }

    /// Records that the server has not responded to a statement in time.
    pub(super) fn record_timeout(&self) {
        let mut state = self.state();
        state.last_timeout = Some(std::time::Instant::now());
        state.has_responded = false;
    }

    /// Returns whether a statement has ended without a response since this time.
    pub(super) fn has_timed_out_since(&self, time: std::time::Instant) -> bool {
        self.state().last_timeout.is_some_and(|last| last >= time)
    }

    /// Records that an open connection has responded to a test.
    pub(super) fn record_response(&self) {
        self.state().has_responded = true;
    }

    /// Handles an open connection of this generation without a response to a test. If no other one
    /// has responded since the last timeout, all of them close instead of being used again.
    pub(super) fn handle_lost_connection(&self, generation: u64) {
        let mut state = self.state();
        if state.generation == generation && !state.has_responded {
            tracing::warn!("PostgreSQL doesn't respond; new connections replace the open ones");
            state.begin_generation();
        }
    }

    /// Records that connecting to an address has failed.
    pub(super) fn forget_primary(&self, address: &HostAddress) {
        let mut state = self.state();
        if state.primary.as_ref() == Some(address) {
            state.primary = None;
        }
    }

    /// Makes the server of a connection the primary, and returns the generation of its connections.
    /// Returns `None` if another server was promoted, or became the primary after `generation`, or if
    /// the URL was reloaded.
    pub(super) fn accept(&self, located: &LocatedPrimary, generation: Option<u64>) -> Option<u64> {
        let mut state = self.state();
        if generation.is_some_and(|generation| generation != state.generation)
            || !self.uses_current_url(located)
        {
            return None;
        }
        let timeline = located.timeline.as_ref();
        if timeline.is_some_and(|timeline| state.timelines.is_deposed(timeline)) {
            return None;
        }
        if state.generation_address.as_ref() != Some(&located.address) {
            state.generation += 1;
            state.generation_address = Some(located.address.clone());
        }
        state.primary = Some(located.address.clone());
        Some(state.generation)
    }

    /// Whether the URL has not been reloaded since the attempt to connect.
    pub(super) fn uses_current_url(&self, located: &LocatedPrimary) -> bool {
        located.url_version == self.source.current().1
    }

    /// Connects to the host that was the primary. If other hosts exist, the attempt fails early, so
    /// that all hosts are contacted.
    pub(super) async fn connect_to(
        &self,
        address: &HostAddress,
        settings: &str,
    ) -> Result<LocatedPrimary, ConnectError> {
        let limit = match self.state().address_count {
            0 | 1 => self.timeout,
            _several => (self.timeout / 2).min(MAX_PRIMARY_TIMEOUT),
        };
        let (target, version) = self.source.current();
        let attempt = async {
            if !target.leads_to(address).await {
                return Err(ConnectError::Moved(address.clone()));
            }
            self.open(&target, version, address, settings).await
        };
        timeout(limit, attempt)
            .await
            .unwrap_or_else(|_| Err(ConnectError::TimedOut(address.clone())))
    }

    /// Contacts all hosts until one is the primary, or all have failed. If a server rejects the
    /// credentials and the file has changed, contacts all hosts again.
    pub(super) async fn locate(&self, settings: &str) -> Result<LocatedPrimary, ConnectError> {
        loop {
            let (target, version) = self.source.current();
            let mut search = Search::default();
            let attempt = self.search(&target, version, &mut search, settings);
            let outcome = timeout(self.timeout, attempt).await.unwrap_or_else(|_| {
                search.add_timeout(&target);
                Err(search.error.take().unwrap_or(ConnectError::Interrupted))
            });
            if outcome.is_ok() || !search.was_rejected || !self.source.refresh(version) {
                return outcome;
            }
        }
    }

    async fn search(
        &self,
        target: &Target,
        version: u64,
        search: &mut Search,
        settings: &str,
    ) -> Result<LocatedPrimary, ConnectError> {
        self.resolve(target, search).await;
        let mut attempts = FuturesUnordered::new();
        let attempt = |address: HostAddress, delay| {
            async move {
                sleep(delay).await;
                let outcome = self.open(target, version, &address, settings).await;
                (address, outcome)
            }
            .boxed()
        };
        for address in search.pending.clone() {
            attempts.push(attempt(address, Duration::ZERO));
        }
        let mut settled = pin!(sleep(Duration::MAX));
        let mut best: Option<LocatedPrimary> = None;
        loop {
            let (address, outcome) = tokio::select! {
                () = &mut settled => break,
                response = attempts.next() => match response {
                    Some(response) => response,
                    None => break,
                },
            };
            search.pending.remove(&address);
            match outcome {
                Ok(located) if best.is_none() => {
                    best = Some(located);
                    settled.as_mut().reset(Instant::now() + SETTLE_TIME);
                }
                Ok(located) => best = best.map(|best| best.or_newer(located)),
                Err(error) => search.add_error(error),
            }
            if search.pending.is_empty() {
                break;
            }
            if best.is_none() {
                attempts.push(attempt(address, RETRY_DELAY));
            }
        }
        best.ok_or_else(|| search.error.take().unwrap_or(ConnectError::Interrupted))
    }

    async fn resolve(&self, target: &Target, search: &mut Search) {
        let hosts = target.hosts();
        let host_count = hosts.len();
        let resolved = join_all(hosts.iter().map(|host| target.resolve(host))).await;
        for (host, addresses) in hosts.into_iter().zip(resolved) {
            match addresses {
                Ok(addresses) => search.pending.extend(addresses),
                Err(error) => search.add_error(ConnectError::Unresolved(host, Arc::new(error))),
            }
        }
        self.state().address_count = search.pending.len().max(host_count);
    }

    /// Connects to an address, and checks that its server is the primary.
    async fn open(
        &self,
        target: &Target,
        url_version: u64,
        address: &HostAddress,
        settings: &str,
    ) -> Result<LocatedPrimary, ConnectError> {
        let failed = |error| ConnectError::Failed(address.clone(), Arc::new(error));
        let (config, tls) = target.config_of(address);
        let (client, connection) = config.connect(tls).await.map_err(failed)?;
        let client = ClientWrapper::new(client, spawn_driver(connection));
        let role = client.simple_query(READ_ROLE).await.map_err(failed)?;
        match read_columns(&role).first().copied() {
            Some("primary") => {}
            Some("read_only") => return Err(ConnectError::ReadOnly(address.clone())),
            _standby => return Err(ConnectError::Standby(address.clone())),
        }
        let timeline = self.read_timeline(&client).await;
        let is_deposed = |timeline| self.state().timelines.is_deposed(timeline);
        if timeline.as_ref().is_some_and(is_deposed) {
            return Err(ConnectError::Deposed(address.clone()));
        }
        client.batch_execute(settings).await.map_err(failed)?;
        Ok(LocatedPrimary {
            address: address.clone(),
            client,
            timeline,
            url_version,
        })
    }

    /// Reads the timeline, if several addresses can lead to different servers. Some managed
    /// services don't report it, and stop a deposed primary themselves.
    async fn read_timeline(&self, client: &ClientWrapper) -> Option<Timeline> {
        let is_single = {
            let state = self.state();
            state.address_count < 2 && state.timelines.0.is_empty()
        };
        if is_single {
            return None;
        }
        let response = client.simple_query(READ_TIMELINE).await.ok()?;
        let [cluster, number] = read_columns(&response)[..] else {
            return None;
        };
        Some(Timeline {
            cluster: cluster.to_owned(),
            number: u32::from_str_radix(number, 16).ok()?,
        })
    }
}

/// Returns the columns of the first row.
fn read_columns(messages: &[SimpleQueryMessage]) -> Vec<&str> {
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _other => None,
    });
    row.into_iter()
        .flat_map(|row| (0..row.len()).filter_map(|index| row.get(index)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_timeline_of_the_same_cluster_is_deposed() {
        let mut timelines = Timelines::default();
        let mut is_deposed = |cluster: &str, number| {
            let cluster = cluster.to_owned();
            timelines.is_deposed(&Timeline { cluster, number })
        };
        assert!(!is_deposed("a", 1));
        assert!(!is_deposed("a", 2), "promoted");
        assert!(is_deposed("a", 1), "the deposed primary");
        assert!(!is_deposed("b", 1), "an upgraded cluster starts again");
    }
}
