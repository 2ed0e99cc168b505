//! Gateways: how they are started, and what they say of themselves.

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
    child::{Run, Server},
    database, interrupt, product,
    stores::Stores,
};

/// Migrations, one hash, and a million revocations that come into Redis and into memory.
const READY_WITHIN: Duration = Duration::from_secs(180);

/// How a gateway is run.
pub struct Build {
    /// The program.
    pub program: PathBuf,
    /// Settings beside those of the bench.
    pub settings: Vec<(String, String)>,
    /// The secret of all replicas.
    pub secret: String,
}

/// A gateway that runs.
pub struct Replica {
    server: Server,
    metrics: SocketAddr,
    /// Who answers its checks when all is well, as it says itself.
    pub checks: &'static str,
}

impl Deref for Replica {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Build {
    /// Makes the tables.
    pub fn migrate(&self, stores: &Stores) -> Outcome<()> {
        Run::start(&mut self.command("migrate", stores))?
            .finish()
            .map(drop)
    }

    /// Starts one more.
    pub fn start(&self, stores: &Stores, name: &str) -> Outcome<Replica> {
        let log = stores.folder().join(format!("{name}.log"));
        let both = |log: &str| {
            listening(log, "LATCHKEY_LISTEN").zip(listening(log, "LATCHKEY_METRICS_LISTEN"))
        };
        let server = Server::start(self.command("serve", stores), &log, |log| {
            both(log).map(|(public, _)| public)
        })?;
        let (_, metrics) = both(&fs::read_to_string(&log)?).ok_or("a log is truncated")?;
        Ok(Replica {
            server,
            metrics,
            checks: if self.takes_leases() {
                "memory"
            } else {
                "redis"
            },
        })
    }

    /// `--set LATCHKEY_LEASE=0s` tells what leases are worth.
    fn takes_leases(&self) -> bool {
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
            ("DATABASE_URL", stores.postgres.url(database::NAME).as_str()),
            ("REDIS_URL", &stores.redis.url()),
            ("LATCHKEY_SECRET", &self.secret),
            ("LATCHKEY_ISSUER", product::ISSUER),
            ("LATCHKEY_LISTEN", "127.0.0.1:0"),
            ("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0"),
            ("LATCHKEY_SMTP_URL", "off"),
            ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8"),
            // A cookie that nothing signs anew during a run.
            ("LATCHKEY_ACCESS_LIFETIME", "1h"),
            ("LATCHKEY_COOKIE_IDLE_TIMEOUT", "1h"),
        ]);
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// Where it listens, in what it has said so far.
fn listening(log: &str, setting: &str) -> Option<SocketAddr> {
    let events = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut found = events.filter(|event| event["setting"] == setting);
    found.find_map(|event| event["address"].as_str()?.parse().ok())
}

impl Replica {
    /// Waits until it answers checks from memory, and has so many revocations there.
    pub fn until_it_knows(&self, entries: u64) -> Outcome<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while !(is_well(self.address, self.checks)
            && self.metric("latchkey_revocation_entries")? >= entries as f64)
        {
            interrupt::check()?;
            if Instant::now() > deadline {
                return Err(format!("the server isn't ready:\n{}", self.last_words()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A figure of its metrics, named as they are, with its labels; nothing was counted yet where
    /// there is none.
    pub fn metric(&self, name: &str) -> Outcome<f64> {
        let (_, page) = ask(self.metrics, &get("/metrics"))?;
        let value = page
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        Ok(value.unwrap_or_default())
    }
}

/// Whether the replica that listens here is ready, and its checks are answered by whom they should
/// be.
pub fn is_well(address: SocketAddr, checks: &str) -> bool {
    let body = ask(address, &get("/health/ready"))
        .ok()
        .filter(|(status, _)| *status == 200);
    let body = body.and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
    body.is_some_and(|body| body["check_source"] == checks)
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
}

/// Sends one request; the status and the body.
pub fn ask(address: SocketAddr, request: &str) -> Outcome<(u16, String)> {
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
