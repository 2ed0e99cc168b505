//! The machine and the programs of a measurement.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{Outcome, database::Database, stores::Stores};

/// Names and values of the properties of the machine.
pub struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Collects the properties of the machine and the versions of the programs.
    pub fn inspect(stores: &Stores, database: &Database) -> Outcome<Machine> {
        Ok(Machine(vec![
            ("processor", processor()),
            ("cores", cores().to_string()),
            ("memory", format!("{} GB", memory_gb())),
            ("kernel", first_line("uname", &["-sr"])),
            ("data on", file_system(stores.folder())),
            (
                "PostgreSQL",
                database.query_row("show server_version")?[0]
                    .split(' ')
                    .take(1)
                    .collect(),
            ),
            ("Redis", stores.redis()?.info("redis_version")?),
            (
                "rustc",
                word_after(&first_line("rustc", &["--version"]), "rustc "),
            ),
            (
                "wrk",
                word_after(&first_line("wrk", &["--version"]), "wrk "),
            ),
            (
                "build",
                if cfg!(debug_assertions) {
                    "debug"
                } else {
                    "release"
                }
                .to_owned(),
            ),
        ]))
    }

    /// Formats the properties as one line.
    pub fn line(&self) -> String {
        self.0
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    pub fn json(&self) -> Value {
        self.0
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect()
    }
}

/// Returns the number of available processors, at least one.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(
        || std::env::consts::ARCH.to_owned(),
        |(_, name)| name.to_owned(),
    )
}

fn memory_gb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    kilobytes
        .and_then(|number| number.parse::<u64>().ok())
        .unwrap_or_default()
        .div_ceil(1 << 20)
}

/// Returns the type of a folder's file system. If it is in memory, a commit costs nothing.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let parents = mounts
        .lines()
        .filter_map(mount)
        .filter(|(point, _)| folder.starts_with(point));
    parents
        .max_by_key(|(point, _)| point.len())
        .map_or_else(|| "?".to_owned(), |(_, kind)| kind)
}

fn first_line(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output
        .map(|output| [output.stdout, output.stderr].concat())
        .unwrap_or_default();
    String::from_utf8_lossy(&text)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned()
}

fn word_after(text: &str, prefix: &str) -> String {
    let word = text
        .split_once(prefix)
        .and_then(|(_, rest)| rest.split_whitespace().next());
    word.unwrap_or("?").to_owned()
}
