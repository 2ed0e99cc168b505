//! What the figures were measured on.

use std::{fs, path::Path, process::Command};

use serde_json::{Value, json};

use crate::{Outcome, database::Database, stores::Stores};

/// The machine in words, by the thing that is told.
pub struct Machine(Vec<(&'static str, String)>);

impl Machine {
    /// Asks everything once.
    pub fn look(stores: &Stores, database: &Database) -> Outcome<Machine> {
        Ok(Machine(vec![
            ("processor", processor()),
            ("cores", cores().to_string()),
            ("memory", format!("{} GB", memory_gb())),
            ("kernel", first_line("uname", &["-sr"])),
            ("data on", file_system(stores.folder())),
            (
                "PostgreSQL",
                database.row("show server_version")?[0]
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

    /// One line.
    pub fn line(&self) -> String {
        self.0
            .iter()
            .map(|(name, value)| format!("{name} {value}"))
            .collect::<Vec<_>>()
            .join(", ")
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        self.0
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect()
    }
}

/// How many processors there are.
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

/// The kind of file system that holds a folder: on one in memory a commit costs nothing.
fn file_system(folder: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let mount = |line: &str| {
        let mut fields = line.split(' ').skip(1);
        Some((fields.next()?.to_owned(), fields.next()?.to_owned()))
    };
    let around = mounts
        .lines()
        .filter_map(mount)
        .filter(|(point, _)| folder.starts_with(point));
    around
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

fn word_after(text: &str, mark: &str) -> String {
    let word = text
        .split_once(mark)
        .and_then(|(_, rest)| rest.split_whitespace().next());
    word.unwrap_or("?").to_owned()
}
