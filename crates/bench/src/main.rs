//! `./dev bench`: measures the throughput of the server and compares it with the limits of this
//! machine.
//!
//! ```text
//! rows        the rows of the table and their baselines
//! rounds      interleaved runs
//! report      medians, the table, JSON
//! storm       token checks at half of the capacity, alone and during many sign-ins
//! memory      resident memory after many distinct tokens
//! footprint   bytes per session, row, and revocation (entries), and the cost of an idle replica
//!             (idle)
//! logout      duration of a sign-out; silent: a member that never acknowledges
//! outage      a minute without Redis; mixture: the requests meanwhile
//! bench       everything that runs: stores, seed, product, replica, database, machine
//! programs    finds the server and the baseline
//! traffic     requests; wrk, pgbench, pace: the load generators
//! child       processes that stop with this one; usage: their CPU and memory; interrupt: Ctrl-C
//! ```
//!
//! `crates/bench/README.md` explains the table.

mod bench;
mod child;
mod database;
mod entries;
mod footprint;
mod idle;
mod interrupt;
mod logout;
mod machine;
mod memory;
mod mixture;
mod outage;
mod pace;
mod pgbench;
mod product;
mod programs;
mod redis;
mod replica;
mod report;
mod rounds;
mod rows;
mod seed;
mod silent;
mod stores;
mod storm;
mod traffic;
mod usage;
mod wrk;

use std::{fs, path::PathBuf, process::ExitCode, time::SystemTime};

use clap::{Arg, ArgAction, ArgGroup, ArgMatches, Command, value_parser};
use serde_json::Value;

use bench::{Bench, Programs, print_progress};
use rows::Row;

/// A result with an error for the terminal.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Returns the seconds since the Unix epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

const AFTER_LONG_HELP: &str = "\
Without --storm, --memory, --footprint, --logout, or --outage, it measures the table.

Examples:
  ./dev bench                             measure the whole table (10 minutes)
  ./dev bench --only verify --rounds 3    measure the rows of token checks
  ./dev bench --outage --json outage.json

Docs: crates/bench/README.md";

fn main() -> ExitCode {
    let matches = command().get_matches();
    interrupt::install();
    match run(&matches) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name)
            .long(name)
            .help(help)
            .action(ArgAction::SetTrue)
    };
    let value = |name: &'static str, kind: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(kind).help(help)
    };
    let number = |name, help, default| {
        value(name, "N", help)
            .value_parser(value_parser!(u64).range(1..))
            .default_value(default)
    };
    Command::new("latchkey-bench")
        .bin_name("./dev bench")
        .about(
            "Measure the throughput of the server and compare it with the limits of this machine",
        )
        .after_long_help(AFTER_LONG_HELP)
        .arg(
            value(
                "only",
                "ROW",
                "Measure only rows whose name starts with this (repeatable)",
            )
            .action(ArgAction::Append),
        )
        .arg(number(
            "rounds",
            "Number of rounds; the table contains their medians",
            "5",
        ))
        .arg(
            value(
                "seconds",
                "N",
                "Seconds per run [default: 1; with --logout and --outage: 60]",
            )
            .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(flag(
            "storm",
            "Measure token checks at half of the capacity, alone and during many sign-ins",
        ))
        .arg(flag(
            "memory",
            "Measure the resident memory after many distinct tokens",
        ))
        .arg(flag(
            "footprint",
            "Measure bytes per session, row, and revocation, and the cost of an idle replica",
        ))
        .arg(flag(
            "logout",
            "Measure the duration of a sign-out on one, three, and ten replicas",
        ))
        .arg(flag(
            "outage",
            "Measure the responses during an outage of Redis and after it",
        ))
        .group(ArgGroup::new("instead").args([
            "storm",
            "memory",
            "footprint",
            "logout",
            "outage",
            "only",
        ]))
        .arg(
            value("json", "FILE", "Write the results to this file, too")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            value("set", "NAME=VALUE", "Setting of the server (repeatable)")
                .value_parser(setting)
                .action(ArgAction::Append),
        )
        .arg(
            value(
                "server",
                "FILE",
                "Server to measure instead of the one just built",
            )
            .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            value("baseline", "FILE", "Program of the bare handlers")
                .value_parser(value_parser!(PathBuf))
                .hide(true),
        )
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn run(matches: &ArgMatches) -> Outcome<ExitCode> {
    let file_argument = |name: &str| matches.get_one::<PathBuf>(name);
    let names: Vec<String> = matches
        .get_many("only")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let rows = rows::select_rows(&names)?;
    let programs = Programs {
        server: programs::find_program("server", file_argument("server"), "latchkey")?,
        baseline: programs::find_program("baseline", file_argument("baseline"), "baseline")?,
        settings: matches
            .get_many("set")
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
    };
    let rounds = usize::try_from(*matches.get_one::<u64>("rounds").expect("a default value"))?;
    let seconds = |typical| {
        matches
            .get_one::<u64>("seconds")
            .copied()
            .unwrap_or(typical)
    };
    // The footprint of revocations is compared with a database without any.
    let revocations = if matches.get_flag("footprint") {
        0
    } else {
        seed::REVOCATION_COUNT
    };
    let mut bench = Bench::start(programs, revocations)?;
    let (figures, is_complete) = match () {
        () if matches.get_flag("storm") => (storm::run(&bench, rounds)?, true),
        () if matches.get_flag("memory") => (memory::run(&bench)?, true),
        () if matches.get_flag("footprint") => (footprint::run(&bench)?, true),
        () if matches.get_flag("logout") => (logout::run(&bench, seconds(60))?, true),
        () if matches.get_flag("outage") => (outage::run(&mut bench, seconds(60))?, true),
        () => table(&mut bench, &rows, rounds, seconds(1))?,
    };
    write_json(file_argument("json"), &figures)?;
    Ok(if is_complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Measures the table. Returns whether all of its rows could be measured.
fn table(bench: &mut Bench, rows: &[Row], rounds: usize, seconds: u64) -> Outcome<(Value, bool)> {
    let measured = rounds::measure(bench, rows, rounds, seconds)?;
    println!("{}\n\n{}", bench.machine.line(), report::table(&measured));
    let is_complete = measured.iter().all(|result| result.failure.is_none());
    Ok((
        report::json(&bench.machine, &measured, seconds),
        is_complete,
    ))
}

fn write_json(file: Option<&PathBuf>, value: &Value) -> Outcome<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, format!("{value:#}\n"))?;
    print_progress(&format!("wrote {}", file.display()));
    Ok(())
}
