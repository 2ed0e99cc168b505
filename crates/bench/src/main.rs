//! `./dev bench`: what the gateway does in a second, and how far that is from what this machine
//! could do at all.
//!
//! ```text
//! rows        the rows of the table and their floors
//! rounds      interleaved runs
//! report      medians, the table, JSON
//! storm       verify at half of its capacity, alone and under a storm of sign-ins
//! memory      what is resident after many distinct tokens
//! footprint   bytes per session, row and revocation (entries), and what a replica costs that
//!             nobody uses (idle)
//! logout      how long a sign-out takes; silent: a member that keeps everybody waiting
//! outage      a minute without Redis; mixture: under which requests
//! bench       all that runs; stores, seed, product, replica, database, machine: what it is made of
//! programs    finds the server and the baseline
//! traffic     requests; wrk, pgbench, pace: who sends them
//! child       processes that end with us; usage: what they have used; interrupt: Ctrl-C
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

use bench::{Bench, Programs, say};
use rows::Row;

/// What went wrong, in words for whoever runs it.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Seconds since the epoch.
pub fn now() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |time| time.as_secs())
}

fn main() -> ExitCode {
    let matches = command().get_matches();
    interrupt::install();
    match run(&matches) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("latchkey-bench: {error}");
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
            "Measures the gateway against what this machine could do at all; \
             crates/bench/README.md says how to read it",
        )
        .arg(
            value(
                "only",
                "ROW",
                "Only rows whose name begins like this; may be repeated",
            )
            .action(ArgAction::Append),
        )
        .arg(number("rounds", "Rounds; medians of them are told", "5"))
        .arg(
            value(
                "seconds",
                "N",
                "Seconds of each run [default: 1; of --logout and --outage 60]",
            )
            .value_parser(value_parser!(u64).range(1..)),
        )
        .arg(flag(
            "storm",
            "Verify at half of its capacity, alone and under a storm of sign-ins, instead of the \
             table",
        ))
        .arg(flag(
            "memory",
            "What is resident after many distinct tokens, instead of the table",
        ))
        .arg(flag(
            "footprint",
            "Bytes per session, row and revocation, and what an idle replica costs, instead of the \
             table",
        ))
        .arg(flag(
            "logout",
            "How long a sign-out takes, on one, three and ten replicas, instead of the table",
        ))
        .arg(flag(
            "outage",
            "What is answered while Redis is away, and after that, instead of the table",
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
            value("json", "FILE", "Write the figures there as well")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            value(
                "set",
                "NAME=VALUE",
                "A setting of the gateway; may be repeated",
            )
            .value_parser(setting)
            .action(ArgAction::Append),
        )
        .arg(
            value("gateway", "FILE", "Another gateway than the one just built")
                .value_parser(value_parser!(PathBuf)),
        )
        .arg(
            value("baseline", "FILE", "The bare handlers")
                .value_parser(value_parser!(PathBuf))
                .hide(true),
        )
}

fn setting(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn run(matches: &ArgMatches) -> Outcome<ExitCode> {
    let given = |name: &str| matches.get_one::<PathBuf>(name);
    let names: Vec<String> = matches
        .get_many("only")
        .into_iter()
        .flatten()
        .cloned()
        .collect();
    let rows = rows::chosen(&names)?;
    let programs = Programs {
        gateway: programs::find("gateway", given("gateway"), "latchkey")?,
        baseline: programs::find("baseline", given("baseline"), "baseline")?,
        settings: matches
            .get_many("set")
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
    };
    let rounds = usize::try_from(*matches.get_one::<u64>("rounds").expect("it has a default"))?;
    let seconds = |typical| {
        matches
            .get_one::<u64>("seconds")
            .copied()
            .unwrap_or(typical)
    };
    // Their footprint is measured against none.
    let revocations = if matches.get_flag("footprint") {
        0
    } else {
        seed::REVOCATIONS
    };
    let mut bench = Bench::start(programs, revocations)?;
    let (figures, good) = match () {
        () if matches.get_flag("storm") => (storm::run(&bench, rounds)?, true),
        () if matches.get_flag("memory") => (memory::run(&bench)?, true),
        () if matches.get_flag("footprint") => (footprint::run(&bench)?, true),
        () if matches.get_flag("logout") => (logout::run(&bench, seconds(60))?, true),
        () if matches.get_flag("outage") => (outage::run(&mut bench, seconds(60))?, true),
        () => table(&mut bench, &rows, rounds, seconds(1))?,
    };
    write_json(given("json"), &figures)?;
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The table; whether all of its rows could be measured.
fn table(bench: &mut Bench, rows: &[Row], rounds: usize, seconds: u64) -> Outcome<(Value, bool)> {
    let measured = rounds::measure(bench, rows, rounds, seconds)?;
    println!("{}\n\n{}", bench.machine.line(), report::table(&measured));
    let good = measured.iter().all(|one| one.failure.is_none());
    Ok((report::json(&bench.machine, &measured, seconds), good))
}

fn write_json(file: Option<&PathBuf>, value: &Value) -> Outcome<()> {
    let Some(file) = file else { return Ok(()) };
    fs::write(file, format!("{value:#}\n"))?;
    say(&format!("written: {}", file.display()));
    Ok(())
}
