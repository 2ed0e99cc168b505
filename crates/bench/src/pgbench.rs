//! `pgbench`: the rate of one prepared statement without the server in between.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use latchkey_dev::Postgres;

use crate::{Outcome, child::OneShotProcess, database, report::Spread, usage};

/// The first second is discarded, because clients connect and new processes fill their caches.
/// `pgbench` does not report the last second.
const WARM_UP_SECONDS: u64 = 1;

/// A statement as a script of `pgbench`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statement {
    name: &'static str,
    script: &'static str,
}

/// `GET /user`.
pub const USER: Statement = Statement {
    name: "user.sql",
    script: include_str!("user.sql"),
};
/// `GET /items/{id}`.
pub const ITEM: Statement = Statement {
    name: "item.sql",
    script: include_str!("item.sql"),
};
/// `GET /items`.
pub const PAGE: Statement = Statement {
    name: "page.sql",
    script: include_str!("page.sql"),
};
/// `POST /items`.
pub const CREATE: Statement = Statement {
    name: "create.sql",
    script: include_str!("create.sql"),
};

/// The rate and the CPU time of a statement.
pub struct StatementCost {
    /// Statements per second.
    pub rate: f64,
    /// CPU microseconds of PostgreSQL per statement.
    pub micros: f64,
}

/// Runs `pgbench` against the database of the server.
pub struct Pgbench {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    postmaster: u32,
}

impl Pgbench {
    /// Uses the program of the same version as PostgreSQL.
    pub fn new(programs: &Path, folder: &Path, postgres: &Postgres) -> Pgbench {
        let (program, folder) = (programs.join("pgbench"), folder.to_owned());
        Pgbench {
            program,
            folder,
            url: postgres.url(database::DATABASE_NAME),
            postmaster: postgres.pid(),
        }
    }

    /// Runs a statement with one connection per caller.
    pub fn run(&self, statement: Statement, callers: u16, seconds: u64) -> Outcome<StatementCost> {
        let script = self.folder.join(statement.name);
        fs::write(&script, statement.script)?;
        let mut command = Command::new(&self.program);
        let length = WARM_UP_SECONDS + seconds + 1;
        command.args([
            "-n",
            "-M",
            "prepared",
            "-j",
            "1",
            "-P",
            "1",
            "-c",
            &callers.to_string(),
        ]);
        command
            .args(["-T", &length.to_string(), "-f"])
            .arg(script)
            .arg(&self.url)
            .current_dir("/");
        let run = OneShotProcess::start(&mut command)?;
        thread::sleep(Duration::from_secs(WARM_UP_SECONDS));
        let share = self.measure_cpu_share(Duration::from_secs(seconds).mul_f64(0.9));
        let output = run.finish()?;
        let output = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output
            .lines()
            .any(|line| line.starts_with("number of failed") && !line.contains(": 0 "))
        {
            return Err(format!("statements failed: {output}").into());
        }
        let rates: Vec<f64> = output
            .lines()
            .filter_map(parse_rate)
            .skip(usize::try_from(WARM_UP_SECONDS)?)
            .collect();
        let rate = Spread::from_values(rates)
            .ok_or_else(|| format!("unexpected output of pgbench: {output}"))?
            .median;
        Ok(StatementCost {
            rate,
            micros: share * 1e6 / rate,
        })
    }

    /// Measures the CPU seconds of PostgreSQL per second in the middle of a run.
    fn measure_cpu_share(&self, length: Duration) -> f64 {
        let (began, before) = (
            Instant::now(),
            usage::process_tree_cpu_micros(self.postmaster),
        );
        thread::sleep(length);
        let used = usage::process_tree_cpu_micros(self.postmaster).saturating_sub(before);
        used as f64 / 1e6 / began.elapsed().as_secs_f64()
    }
}

/// Parses the rate of a line such as `progress: 2.0 s, 39818.4 tps, lat …`.
fn parse_rate(line: &str) -> Option<f64> {
    line.strip_prefix("progress: ")?
        .split(", ")
        .nth(1)?
        .strip_suffix(" tps")?
        .parse()
        .ok()
}
