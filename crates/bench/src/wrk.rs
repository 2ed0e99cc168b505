//! `wrk` on one thread, with a fixed number of callers. Each caller sends its next request after
//! the response.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use serde_json::Value;

use crate::{Outcome, child::OneShotProcess};

/// The result of a run. Times are in microseconds.
#[derive(Debug, Clone, Copy)]
pub struct LoadResult {
    /// Number of responses.
    pub responses: f64,
    /// Duration of the run.
    pub micros: f64,
    /// Median response time.
    pub p50: f64,
    /// 99th percentile of the response time.
    pub p99: f64,
    /// Number of responses with a status of 400 or above.
    pub errors: f64,
}

impl LoadResult {
    /// Returns the responses per second.
    pub fn rate(&self) -> f64 {
        self.responses * 1e6 / self.micros
    }

    /// Returns an error if the share of error responses exceeds `max_error_share`.
    pub fn check_errors(self, max_error_share: f64) -> Outcome<LoadResult> {
        if self.errors <= self.responses * max_error_share {
            return Ok(self);
        }
        Err(format!(
            "{} of {} responses were errors",
            self.errors, self.responses
        )
        .into())
    }
}

/// Runs `wrk` with the script `send.lua`.
pub struct Wrk {
    script: PathBuf,
}

impl Wrk {
    /// Writes the script to the folder of the run.
    pub fn new(folder: &Path) -> Outcome<Wrk> {
        let script = folder.join("send.lua");
        fs::write(&script, include_str!("send.lua"))?;
        Ok(Wrk { script })
    }

    /// Sends the requests of a file. With `repeat`, the first request follows the last one.
    pub fn run(
        &self,
        to: SocketAddr,
        file: &Path,
        repeat: bool,
        callers: u16,
        seconds: u64,
    ) -> Outcome<LoadResult> {
        LoadRun(OneShotProcess::start(
            &mut self.command(to, file, repeat, callers, seconds),
        )?)
        .finish()
    }

    /// Starts a run in the background that repeats the requests. Each caller waits for
    /// `retry_delay` after a response.
    pub fn start(
        &self,
        to: SocketAddr,
        file: &Path,
        callers: u16,
        retry_delay: Duration,
        seconds: u64,
    ) -> Outcome<LoadRun> {
        let mut command = self.command(to, file, true, callers, seconds);
        command.arg(retry_delay.as_millis().to_string());
        Ok(LoadRun(OneShotProcess::start(&mut command)?))
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

/// A run in progress.
pub struct LoadRun(OneShotProcess);

impl LoadRun {
    /// Waits for the run, and returns its result.
    pub fn finish(self) -> Outcome<LoadResult> {
        let output = self.0.finish()?;
        let output_text = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = output_text
            .lines()
            .find(|line| line.starts_with('{'))
            .ok_or_else(|| format!("unexpected output of wrk: {output_text}"))?;
        let result: Value = serde_json::from_str(line)?;
        let number = |name: &str| result[name].as_f64().unwrap_or_default();
        match (number("broken"), number("exhausted")) {
            (0.0, 0.0) => {}
            (0.0, _) => return Err("not enough requests were prepared".into()),
            (broken, _) => {
                return Err(
                    format!("{broken} connections failed or waited for more than 10 s").into(),
                );
            }
        }
        Ok(LoadResult {
            responses: number("requests"),
            micros: number("duration"),
            p50: number("p50"),
            p99: number("p99"),
            errors: number("refused"),
        })
    }
}
