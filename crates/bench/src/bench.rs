//! What every measurement needs: stores, a gateway that has started, seeded users, the floor, and
//! the generators.

use std::{
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Outcome,
    child::Server,
    database::{self, Database},
    interrupt,
    machine::Machine,
    pgbench::Pgbench,
    product::{self, Keys},
    redis::Redis,
    replica::{Build, Replica},
    report::grouped,
    seed,
    stores::Stores,
    traffic::{self, Composer, Traffic},
    usage::{self, Spent, Used},
    wrk::{Shot, Wrk},
};

/// Refreshes are recorded up to a second late, which belongs to their cost.
const LATE_WRITES: Duration = Duration::from_millis(1500);

/// What is run, and how.
pub struct Programs {
    /// The gateway.
    pub server: PathBuf,
    /// The bare handlers.
    pub baseline: PathBuf,
    /// Settings of the gateway beside those of the bench.
    pub settings: Vec<(String, String)>,
}

/// Everything that runs. It all ends when this is dropped.
pub struct Bench {
    // Before the stores that it uses, because fields are dropped in this order.
    /// The gateway.
    pub server: Replica,
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
    /// Starts more gateways.
    pub build: Build,
    /// On what.
    pub machine: Machine,
    /// What all users type.
    pub password: String,
    /// PostgreSQL and Redis.
    pub stores: Stores,
}

impl Bench {
    /// Starts all of it, and fills the record; so many revocations are live.
    pub fn start(programs: Programs, revocations: u64) -> Outcome<Bench> {
        say("starting PostgreSQL and Redis");
        let stores = Stores::start()?;
        let build = Build {
            program: programs.server,
            settings: programs.settings,
            secret: product::secret()?,
        };
        stores.postgres.create_database(database::NAME)?;
        build.migrate(&stores)?;
        let (database, password) = (Database::connect(&stores.postgres)?, product::password()?);
        say(&format!(
            "seeding 10,000 users and {} revocations",
            grouped(revocations as f64)
        ));
        seed::fill(
            &database,
            &build.secret,
            &product::hash(&password)?,
            revocations,
        )?;
        say("starting the server");
        let server = build.start(&stores, "server")?;
        server.until_it_knows(revocations)?;
        let composer = Composer::new(Keys::read(&database, &build.secret)?, password.clone())?;
        let floor = start_floor(&programs.baseline, &stores, composer.token_length())?;
        let wrk = Wrk::new(stores.folder())?;
        let pgbench = Pgbench::new(
            &stores.postgres_programs()?,
            stores.folder(),
            &stores.postgres,
        );
        let machine = Machine::look(&stores, &database)?;
        Ok(Bench {
            server,
            floor,
            composer,
            database,
            wrk,
            pgbench,
            build,
            machine,
            password,
            stores,
        })
    }

    /// Sends this traffic to one of the servers, and counts what that costs it and the stores.
    pub fn drive(
        &self,
        server: &Server,
        traffic: Traffic,
        callers: u16,
        seconds: u64,
    ) -> Outcome<(Shot, Spent)> {
        interrupt::check()?;
        let requests = self.requests(traffic, seconds)?;
        let file = traffic::write(&requests, self.stores.folder())?;
        // The floor refuses nothing, and may be faster than requests were prepared for.
        let repeat = traffic.repeats() || server.pid() == self.floor.pid();
        usage::forget_peak(server.pid());
        let mut redis = self.stores.redis()?;
        let before = self.used(server, &mut redis)?;
        let shot = self
            .wrk
            .run(server.address, &file, repeat, callers, seconds)?;
        if !traffic.repeats() {
            thread::sleep(LATE_WRITES);
        }
        let used = self.used(server, &mut redis)?.since(before);
        let shot = shot
            .good(traffic.tolerated())
            .map_err(|error| format!("{error}; the end of the log:\n{}", server.last_words()))?;
        Ok((shot, used))
    }

    /// Requests of this traffic that are good at this moment.
    pub fn requests(&self, traffic: Traffic, seconds: u64) -> Outcome<Vec<String>> {
        let counters = if traffic.repeats() {
            Vec::new()
        } else {
            self.stores.redis()?.counters()?
        };
        Ok(self.composer.requests(traffic, &counters, seconds))
    }

    /// What has been used so far.
    fn used(&self, server: &Server, redis: &mut Redis) -> Outcome<Used> {
        Ok(Used {
            at: Instant::now(),
            server: usage::of_process(server.pid()),
            redis: usage::of_process(self.stores.redis.pid()),
            postgres: usage::of_family(self.stores.postgres.pid()),
            commands: redis.commands()?,
        })
    }
}

fn start_floor(program: &Path, stores: &Stores, token_length: usize) -> Outcome<Server> {
    let mut command = Command::new(program);
    command.arg(token_length.to_string()).env_clear();
    Server::start(command, &stores.folder().join("baseline.log"), |log| {
        log.trim().parse().ok()
    })
}

/// Prints the progress.
pub fn say(what: &str) {
    eprintln!("{what}");
}
