//! `pgbench`: what PostgreSQL can do with one statement, prepared, when nobody stands in between.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    thread,
    time::{Duration, Instant},
};

use latchkey_dev::Postgres;

use crate::{Outcome, child::Run, database, report::Spread, usage};

/// The first second goes by with connecting and with filling the caches of new processes, and the
/// last one is not told.
const CONNECTING: u64 = 1;

/// One statement as a script of `pgbench`.
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

/// Statements per second, and what each cost PostgreSQL in microseconds of CPU.
pub struct Rate {
    /// Statements per second.
    pub rate: f64,
    /// Microseconds of PostgreSQL.
    pub micros: f64,
}

/// Runs it.
pub struct Pgbench {
    program: PathBuf,
    folder: PathBuf,
    url: String,
    postmaster: u32,
}

impl Pgbench {
    /// That of the server's own version.
    pub fn new(programs: &Path, folder: &Path, postgres: &Postgres) -> Pgbench {
        let (program, folder) = (programs.join("pgbench"), folder.to_owned());
        Pgbench {
            program,
            folder,
            url: postgres.url(database::NAME),
            postmaster: postgres.pid(),
        }
    }

    /// So many callers on connections of their own.
    pub fn run(&self, statement: Statement, callers: u16, seconds: u64) -> Outcome<Rate> {
        let script = self.folder.join(statement.name);
        fs::write(&script, statement.script)?;
        let mut command = Command::new(&self.program);
        let length = CONNECTING + seconds + 1;
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
        let run = Run::start(&mut command)?;
        thread::sleep(Duration::from_secs(CONNECTING));
        let share = self.share_of_a_core(Duration::from_secs(seconds).mul_f64(0.9));
        let output = run.finish()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if said
            .lines()
            .any(|line| line.starts_with("number of failed") && !line.contains(": 0 "))
        {
            return Err(format!("statements failed: {said}").into());
        }
        let rates: Vec<f64> = said
            .lines()
            .filter_map(told)
            .skip(usize::try_from(CONNECTING)?)
            .collect();
        let rate = Spread::of(rates)
            .ok_or_else(|| format!("unexpected output of pgbench: {said}"))?
            .median;
        Ok(Rate {
            rate,
            micros: share * 1e6 / rate,
        })
    }

    /// CPU seconds per second of PostgreSQL in the middle of a run.
    fn share_of_a_core(&self, length: Duration) -> f64 {
        let (began, before) = (Instant::now(), usage::of_family(self.postmaster));
        thread::sleep(length);
        let used = usage::of_family(self.postmaster).saturating_sub(before);
        used as f64 / 1e6 / began.elapsed().as_secs_f64()
    }
}

/// Of `progress: 2.0 s, 39818.4 tps, lat …`.
fn told(line: &str) -> Option<f64> {
    line.strip_prefix("progress: ")?
        .split(", ")
        .nth(1)?
        .strip_suffix(" tps")?
        .parse()
        .ok()
}
