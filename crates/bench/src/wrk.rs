//! `wrk` on one thread: as many requests as are answered, from a fixed number of callers.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::{Outcome, child::Run};

/// What one run found; times in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct Shot {
    /// Answers.
    pub responses: f64,
    /// How long it took.
    pub micros: f64,
    /// Half of the answers came within this time.
    pub p50: f64,
    /// All but one in a hundred.
    pub p99: f64,
    /// Answers with a status of 400 and above.
    pub refused: f64,
}

impl Shot {
    /// Answers per second.
    pub fn rate(&self) -> f64 {
        self.responses * 1e6 / self.micros
    }

    /// The same, if no larger share of the answers than this were refusals.
    pub fn good(self, tolerated: f64) -> Outcome<Shot> {
        if self.refused <= self.responses * tolerated {
            return Ok(self);
        }
        Err(format!(
            "{} of {} responses were errors",
            self.refused, self.responses
        )
        .into())
    }
}

/// Who sends what, and for how long.
pub struct Wrk {
    script: PathBuf,
}

impl Wrk {
    /// Puts the script where it can be read.
    pub fn new(folder: &Path) -> Outcome<Wrk> {
        let script = folder.join("send.lua");
        fs::write(&script, include_str!("send.lua"))?;
        Ok(Wrk { script })
    }

    /// Sends the requests of a file; `repeat`: from the beginning again when they are over.
    pub fn run(
        &self,
        to: SocketAddr,
        file: &Path,
        repeat: bool,
        callers: u16,
        seconds: u64,
    ) -> Outcome<Shot> {
        Running(Run::start(
            &mut self.command(to, file, repeat, callers, seconds),
        )?)
        .finish()
    }

    /// The same beside something else, again and again, by callers who take a breath before they
    /// ask again.
    pub fn start(
        &self,
        to: SocketAddr,
        file: &Path,
        callers: u16,
        breath: Duration,
        seconds: u64,
    ) -> Outcome<Running> {
        let mut command = self.command(to, file, true, callers, seconds);
        command.arg(breath.as_millis().to_string());
        Ok(Running(Run::start(&mut command)?))
    }

    fn command(
        &self,
        to: SocketAddr,
        file: &Path,
        repeat: bool,
        callers: u16,
        seconds: u64,
    ) -> Command {
        let mut command = Command::new("wrk");
        command.args([
            "-t1",
            &format!("-c{callers}"),
            &format!("-d{seconds}s"),
            "--timeout",
            "10s",
            "-s",
        ]);
        command
            .arg(&self.script)
            .arg(format!("http://{to}"))
            .arg("--")
            .arg(file);
        command.arg(if repeat { "again" } else { "once" });
        command
    }
}

/// A run that goes on.
pub struct Running(Run);

impl Running {
    /// Waits for its end.
    pub fn finish(self) -> Outcome<Shot> {
        let output = self.0.finish()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said
            .lines()
            .find(|line| line.starts_with('{'))
            .ok_or_else(|| format!("unexpected output of wrk: {said}"))?;
        let found: Value = serde_json::from_str(line)?;
        let number = |name: &str| found[name].as_f64().unwrap_or_default();
        match (number("broken"), number("exhausted")) {
            (0.0, 0.0) => {}
            (0.0, _) => return Err("not enough requests were prepared".into()),
            (broken, _) => {
                return Err(
                    format!("{broken} connections failed or waited for more than 10 s").into(),
                );
            }
        }
        Ok(Shot {
            responses: number("requests"),
            micros: number("duration"),
            p50: number("p50"),
            p99: number("p99"),
            refused: number("refused"),
        })
    }
}
