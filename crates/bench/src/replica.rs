//! Replicas: starts them, and reads their health and metrics.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    ops::Deref,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Outcome,
    child::{OneShotProcess, Server},
    database, interrupt, product,
    stores::Stores,
};

/// Includes the load of a million revocations into Redis and into memory.
const READY_TIMEOUT: Duration = Duration::from_secs(180);

/// Starts replicas with the same program and settings.
pub struct ReplicaLauncher {
    pub program: PathBuf,
    /// Settings in addition to those of the benchmark.
    pub settings: Vec<(String, String)>,
    /// The master secret of all replicas.
    pub secret: String,
}

/// A running replica.
pub struct Replica {
    server: Server,
    pub metrics: SocketAddr,
    /// The check source of a healthy replica, as `/health/ready` reports it.
    pub check_source: &'static str,
}

impl Deref for Replica {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl ReplicaLauncher {
    /// Creates the tables.
    pub fn migrate(&self, stores: &Stores) -> Outcome<()> {
        OneShotProcess::start(&mut self.command("migrate", stores))?
            .finish()
            .map(drop)
    }

    /// Starts a replica that logs to `NAME.log` in the folder of the run.
    pub fn start(&self, stores: &Stores, name: &str) -> Outcome<Replica> {
        let log = stores.folder().join(format!("{name}.log"));
        let find_addresses = |log: &str| {
            find_listen_address(log, "LATCHKEY_LISTEN")
                .zip(find_listen_address(log, "LATCHKEY_METRICS_LISTEN"))
        };
        let server = Server::start(self.command("serve", stores), &log, |log| {
            find_addresses(log).map(|(public, _)| public)
        })?;
        let (_, metrics) =
            find_addresses(&fs::read_to_string(&log)?).ok_or("a log is truncated")?;
        Ok(Replica {
            server,
            metrics,
            check_source: if self.has_leases() { "memory" } else { "redis" },
        })
    }

    /// Returns false if leases are disabled by `--set LATCHKEY_LEASE=0s`.
    fn has_leases(&self) -> bool {
        !self
            .settings
            .iter()
            .any(|(name, value)| name == "LATCHKEY_LEASE" && value.starts_with('0'))
    }

    fn command(&self, subcommand: &str, stores: &Stores) -> Command {
        let mut command = Command::new(&self.program);
        command
            .arg(subcommand)
            .env_clear()
            .current_dir(stores.folder());
        command.envs([
            (
                "DATABASE_URL",
                stores.postgres.url(database::DATABASE_NAME).as_str(),
            ),
            ("REDIS_URL", &stores.redis.url()),
            ("LATCHKEY_SECRET", &self.secret),
            ("LATCHKEY_ISSUER", product::ISSUER),
            ("LATCHKEY_LISTEN", "127.0.0.1:0"),
            ("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0"),
            ("LATCHKEY_SMTP_URL", "off"),
            ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8"),
            // With these lifetimes, the server renews no cookie during a run.
            ("LATCHKEY_ACCESS_LIFETIME", "1h"),
            ("LATCHKEY_COOKIE_IDLE_TIMEOUT", "1h"),
        ]);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Returns the listening address of a setting from the log.
fn find_listen_address(log: &str, setting: &str) -> Option<SocketAddr> {
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = events.filter(|event| event["setting"] == setting);
    found.find_map(|event| event["address"].as_str()?.parse().ok())
}

impl Replica {
    /// Waits until the expected source serves checks and at least `entries` revocations are loaded.
    pub fn wait_until_ready(&self, entries: u64) -> Outcome<()> {
        let deadline = Instant::now() + READY_TIMEOUT;
        while !(is_ready(self.metrics, self.check_source)
            && self.metric("latchkey_revocation_entries")? >= entries as f64)
        {
            interrupt::check()?;
            if Instant::now() > deadline {
                return Err(format!("the server isn't ready:\n{}", self.log_tail()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Returns the value of a metric with its labels. A missing metric is 0, because nothing was
    /// counted yet.
    pub fn metric(&self, name: &str) -> Outcome<f64> {
        let (_, page) = send_request(self.metrics, &get_request("/metrics"))?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or_default())
    }
}

/// Returns whether the replica is ready and the expected source serves its checks. `address` is
/// that of its metrics.
pub fn is_ready(address: SocketAddr, check_source: &str) -> bool {
    let body = send_request(address, &get_request("/health/ready"))
        .ok()
        .filter(|(status, _)| *status == 200);
    let body = body.and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
    body.is_some_and(|body| body["check_source"] == check_source)
}

fn get_request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Sends a request, and returns the status and the body.
pub fn send_request(address: SocketAddr, request: &str) -> Outcome<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(
        request
            .replacen("\r\n", "\r\nConnection: close\r\n", 1)
            .as_bytes(),
    )?;
    let mut response = String::new();
    stream.read_to_string(&mut response)?;
    let status = response
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or("no status")?;
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Ok((status, body.to_owned()))
}
