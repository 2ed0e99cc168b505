//! What every measurement needs: stores, a gateway that has started, seeded users, the floor, and the generators.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    Outcome,
    child::Server,
    database::{self, Database},
    interrupt,
    machine::Machine,
    pgbench::Pgbench,
    product::{self, Keys},
    seed,
    stores::Stores,
    traffic::{self, Composer, Traffic},
    usage::{self, Cpu},
    wrk::{Shot, Wrk},
};

/// Migrations, and one hash.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// Refreshes are recorded up to a second late, which belongs to their cost.
const LATE_WRITES: Duration = Duration::from_millis(1500);

/// What is run, and how.
pub struct Programs {
    /// The gateway.
    pub gateway: PathBuf,
    /// The bare handlers.
    pub floor: PathBuf,
    /// Settings of the gateway beside those of the bench.
    pub settings: Vec<(String, String)>,
}

/// Everything that runs. It all ends when this is dropped.
pub struct Bench {
    // Before the stores that it uses, because fields are dropped in this order.
    /// The gateway.
    pub gateway: Server,
    /// The bare handlers.
    pub floor: Server,
    /// Makes requests.
    pub composer: Composer,
    /// Statements behind the gateway's back.
    pub database: Database,
    /// Drives HTTP.
    pub wrk: Wrk,
    /// Drives PostgreSQL.
    pub pgbench: Pgbench,
    /// On what.
    pub machine: Machine,
    /// What all users type.
    pub password: String,
    /// PostgreSQL and Redis.
    pub stores: Stores,
}

impl Bench {
    /// Starts all of it, and fills the record.
    pub fn start(programs: &Programs) -> Outcome<Bench> {
        say("starting PostgreSQL, Redis and the gateway");
        let (stores, secret) = (Stores::start()?, product::secret()?);
        stores.postgres.create_database(database::NAME)?;
        let gateway = start_gateway(programs, &stores, &secret)?;
        until_ready(&gateway)?;
        let (database, password) = (Database::connect(&stores.postgres)?, product::password()?);
        say("seeding 10,000 users");
        seed::fill(&database, &product::hash(&password)?)?;
        let composer = Composer::new(Keys::read(&database, &secret)?, password.clone())?;
        let floor = start_floor(programs, &stores, composer.token_length())?;
        let wrk = Wrk::new(stores.folder())?;
        let pgbench = Pgbench::new(&stores.postgres_programs()?, stores.folder(), &stores.postgres);
        let machine = Machine::look(&stores, &database)?;
        Ok(Bench { gateway, floor, composer, database, wrk, pgbench, machine, password, stores })
    }

    /// Sends this traffic to one of the servers, and counts what that costs it and the stores.
    pub fn drive(&self, server: &Server, traffic: Traffic, callers: u16, seconds: u64) -> Outcome<(Shot, Cpu)> {
        interrupt::check()?;
        let requests = self.requests(traffic, seconds)?;
        let file = traffic::write(&requests, self.stores.folder())?;
        // The floor refuses nothing, and may be faster than requests were prepared for.
        let repeat = traffic.repeats() || server.pid() == self.floor.pid();
        usage::forget_peak(server.pid());
        let before = self.cpu(server);
        let shot = self.wrk.run(server.address, &file, repeat, callers, seconds)?;
        if !traffic.repeats() {
            thread::sleep(LATE_WRITES);
        }
        let used = self.cpu(server).since(before);
        let shot = shot
            .good(traffic.tolerated())
            .map_err(|error| format!("{error}; the log ends:\n{}", server.last_words()))?;
        Ok((shot, used))
    }

    /// Requests of this traffic that are good at this moment.
    pub fn requests(&self, traffic: Traffic, seconds: u64) -> Outcome<Vec<String>> {
        let counters = if traffic.repeats() { Vec::new() } else { self.stores.redis()?.counters()? };
        Ok(self.composer.requests(traffic, &counters, seconds))
    }

    /// What has been used so far.
    pub fn cpu(&self, server: &Server) -> Cpu {
        Cpu {
            server: usage::of_process(server.pid()),
            redis: usage::of_process(self.stores.redis.pid()),
            postgres: usage::of_family(self.stores.postgres.pid()),
        }
    }
}

fn start_gateway(programs: &Programs, stores: &Stores, secret: &str) -> Outcome<Server> {
    let mut command = Command::new(&programs.gateway);
    command.arg("serve").env_clear().current_dir(stores.folder());
    command.envs([
        ("DATABASE_URL", stores.postgres.url(database::NAME).as_str()),
        ("REDIS_URL", &stores.redis.url()),
        ("LATCHKEY_SECRET", secret),
        ("LATCHKEY_ISSUER", product::ISSUER),
        ("LATCHKEY_LISTEN", "127.0.0.1:0"),
        ("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0"),
        ("LATCHKEY_SMTP_URL", "off"),
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8"),
        // A cookie that nothing signs anew during a run.
        ("LATCHKEY_ACCESS_TTL", "1h"),
        ("LATCHKEY_COOKIE_IDLE_TTL", "1h"),
    ]);
    command.envs(programs.settings.iter().map(|(name, value)| (name, value)));
    let listening = |log: &str| {
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut public = events.filter(|event| event["setting"] == "LATCHKEY_LISTEN");
        public.find_map(|event| event["address"].as_str()?.parse().ok())
    };
    Server::start(command, &stores.folder().join("gateway.log"), listening)
}

fn start_floor(programs: &Programs, stores: &Stores, token_length: usize) -> Outcome<Server> {
    let mut command = Command::new(&programs.floor);
    command.arg(token_length.to_string()).env_clear();
    Server::start(command, &stores.folder().join("floor.log"), |log| log.trim().parse().ok())
}

fn until_ready(gateway: &Server) -> Outcome<()> {
    let deadline = Instant::now() + READY_WITHIN;
    while !matches!(ask(gateway.address, "GET /health/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"), Ok((200, _))) {
        interrupt::check()?;
        if Instant::now() > deadline {
            return Err(format!("the gateway is not ready:\n{}", gateway.last_words()).into());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Sends one request; the status, and the bytes of the body.
pub fn ask(address: SocketAddr, request: &str) -> Outcome<(u16, usize)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(request.replacen("\r\n", "\r\nConnection: close\r\n", 1).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
    let body = answer.split_once("\r\n\r\n").map_or(0, |(_, body)| body.len());
    Ok((status, body))
}

/// What goes on, for whoever waits.
pub fn say(what: &str) {
    eprintln!("{what}");
}
