//! The environment of every measurement: the stores, a server with seeded data, the baseline, and
//! the load generators.

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
    replica::{Replica, ReplicaLauncher},
    report::group_digits,
    seed,
    stores::Stores,
    traffic::{self, RequestBuilder, Traffic},
    usage::{self, UsageDelta, UsageSnapshot},
    wrk::{LoadResult, Wrk},
};

/// The server writes session activity to PostgreSQL up to one second after the response. This delay
/// includes those writes in the measured cost.
const DEFERRED_WRITE_DELAY: Duration = Duration::from_millis(1500);

/// The measured programs and the settings of the server.
pub struct Programs {
    pub server: PathBuf,
    /// The bare handlers, without middleware and stores.
    pub baseline: PathBuf,
    /// Settings of the server, in addition to those of the benchmark.
    pub settings: Vec<(String, String)>,
}

/// The running stores and programs. Dropping this value stops all of them.
pub struct Bench {
    // Declared before the stores that it uses, because fields are dropped in declaration order.
    pub server: Replica,
    /// The bare handlers, without middleware and stores.
    pub baseline: Server,
    pub request_builder: RequestBuilder,
    /// A connection that bypasses the server.
    pub database: Database,
    /// The HTTP load generator.
    pub wrk: Wrk,
    /// The PostgreSQL load generator.
    pub pgbench: Pgbench,
    /// Starts additional replicas.
    pub launcher: ReplicaLauncher,
    pub machine: Machine,
    /// The password of all seeded users.
    pub password: String,
    pub stores: Stores,
}

impl Bench {
    /// Starts the stores and the servers, and seeds the database with live revocations.
    pub fn start(programs: Programs, revocations: u64) -> Outcome<Bench> {
        print_progress("starting PostgreSQL and Redis");
        let stores = Stores::start()?;
        let launcher = ReplicaLauncher {
            program: programs.server,
            settings: programs.settings,
            secret: product::generate_secret()?,
        };
        stores.postgres.create_database(database::DATABASE_NAME)?;
        launcher.migrate(&stores)?;
        let (database, password) = (
            Database::connect(&stores.postgres)?,
            product::generate_password()?,
        );
        print_progress(&format!(
            "seeding 10,000 users and {} revocations",
            group_digits(revocations as f64)
        ));
        seed::fill(
            &database,
            &launcher.secret,
            &product::hash_password(&password)?,
            revocations,
        )?;
        print_progress("starting the server");
        let server = launcher.start(&stores, "server")?;
        server.wait_until_ready(revocations)?;
        let request_builder =
            RequestBuilder::new(Keys::read(&database, &launcher.secret)?, password.clone())?;
        let baseline = start_baseline(&programs.baseline, &stores, request_builder.token_length())?;
        let wrk = Wrk::new(stores.folder())?;
        let pgbench = Pgbench::new(
            &stores.postgres_programs()?,
            stores.folder(),
            &stores.postgres,
        );
        let machine = Machine::inspect(&stores, &database)?;
        Ok(Bench {
            server,
            baseline,
            request_builder,
            database,
            wrk,
            pgbench,
            launcher,
            machine,
            password,
            stores,
        })
    }

    /// Sends the traffic to the server or the baseline, and measures its cost there and in the
    /// stores.
    pub fn drive(
        &self,
        server: &Server,
        traffic: Traffic,
        callers: u16,
        seconds: u64,
    ) -> Outcome<(LoadResult, UsageDelta)> {
        interrupt::check()?;
        let requests = self.requests(traffic, seconds)?;
        let file = traffic::write_requests(&requests, self.stores.folder())?;
        // The baseline accepts each token repeatedly, and it can exceed the number of prepared
        // requests.
        let repeat = traffic.is_repeatable() || server.pid() == self.baseline.pid();
        usage::reset_peak(server.pid());
        let mut redis = self.stores.redis()?;
        let before = self.usage_snapshot(server, &mut redis)?;
        let load = self
            .wrk
            .run(server.address, &file, repeat, callers, seconds)?;
        if !traffic.is_repeatable() {
            thread::sleep(DEFERRED_WRITE_DELAY);
        }
        let used = self.usage_snapshot(server, &mut redis)?.since(before);
        let load = load
            .check_errors(traffic.max_error_share())
            .map_err(|error| format!("{error}; the end of the log:\n{}", server.log_tail()))?;
        Ok((load, used))
    }

    /// Builds requests that are valid at the current rotation counters.
    pub fn requests(&self, traffic: Traffic, seconds: u64) -> Outcome<Vec<String>> {
        let counters = if traffic.is_repeatable() {
            Vec::new()
        } else {
            self.stores.redis()?.rotation_counters()?
        };
        Ok(self.request_builder.requests(traffic, &counters, seconds))
    }

    /// Reads the resource usage up to now.
    fn usage_snapshot(&self, server: &Server, redis: &mut Redis) -> Outcome<UsageSnapshot> {
        Ok(UsageSnapshot {
            at: Instant::now(),
            server: usage::process_cpu_micros(server.pid()),
            redis: usage::process_cpu_micros(self.stores.redis.pid()),
            postgres: usage::process_tree_cpu_micros(self.stores.postgres.pid()),
            commands: redis.count_commands()?,
        })
    }
}

fn start_baseline(program: &Path, stores: &Stores, token_length: usize) -> Outcome<Server> {
    let mut command = Command::new(program);
    command.arg(token_length.to_string()).env_clear();
    Server::start(command, &stores.folder().join("baseline.log"), |log| {
        log.trim().parse().ok()
    })
}

/// Prints a progress message to standard error.
pub fn print_progress(message: &str) {
    eprintln!("{message}");
}
