//! Finds the programs of PostgreSQL and Redis.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::Error;

/// Folders that contain one folder per installed version, with the prefix of the folder names.
/// Debian is first, then Homebrew.
const VERSIONED_FOLDERS: [(&str, &str); 3] = [
    ("/usr/lib/postgresql", ""),
    ("/opt/homebrew/opt", "postgresql"),
    ("/usr/local/opt", "postgresql"),
];

/// Lowest supported major version.
///
/// Older versions reject scripts that write after they read the time or the replication state.
const MIN_REDIS_VERSION: u32 = 7;

/// Finds PostgreSQL's programs: the first folder in `PATH`, otherwise the highest version.
///
/// Existing data determine the major version, because other versions can't read the data.
pub(super) fn find_postgres_folder(data: &Path) -> Result<PathBuf, Error> {
    let mut found = path_folders()
        .chain(versioned_folders())
        .filter(|folder| has_server_programs(folder));
    let Ok(version) = fs::read_to_string(data.join("PG_VERSION")) else {
        return found
            .next()
            .ok_or_else(|| missing_error("PostgreSQL", "postgresql"));
    };
    let version = version.trim();
    found
        .find(|folder| postgres_version(folder).as_deref() == Some(version))
        .ok_or_else(|| {
            Error::new(format!(
                "the data in {} require PostgreSQL {version}, which isn't installed",
                data.display()
            ))
            .hint("install this version, or remove the folder to start with empty data")
        })
}

/// Finds the first Redis or Valkey that is new enough for the scripts.
pub(super) fn find_redis_server() -> Result<PathBuf, Error> {
    let homebrew = ["/opt/homebrew/bin", "/usr/local/bin"].map(PathBuf::from);
    let folders: Vec<_> = path_folders().chain(homebrew).collect();
    let names = ["redis-server", "valkey-server"];
    let candidates = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let found: Vec<_> = candidates.filter(|program| program.is_file()).collect();
    let new_enough = found
        .iter()
        .find(|program| redis_version(program).is_some_and(|version| version >= MIN_REDIS_VERSION));
    new_enough.cloned().ok_or_else(|| match found.first() {
        Some(program) => Error::new(format!(
            "{} is older than Redis {MIN_REDIS_VERSION}",
            program.display()
        ))
        .hint("install a newer Redis or Valkey, or set REDIS_URL to another server"),
        None => missing_error("Redis", "redis-server"),
    })
}

fn missing_error(name: &str, package: &str) -> Error {
    Error::new(format!("{name} isn't installed")).hint(format!(
        "install it with `./dev install`, or install the package `{package}`"
    ))
}

fn path_folders() -> impl Iterator<Item = PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).collect::<Vec<_>>().into_iter()
}

fn versioned_folders() -> impl Iterator<Item = PathBuf> {
    VERSIONED_FOLDERS.into_iter().flat_map(|(parent, prefix)| {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut names: Vec<_> = entries
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.retain(|name| name.starts_with(prefix));
        names.sort_by_key(|name| std::cmp::Reverse(parse_folder_version(name)));
        names
            .into_iter()
            .map(move |name| Path::new(parent).join(name).join("bin"))
    })
}

/// Parses the version in a folder name: `15` and `postgresql@15` both contain version 15.
fn parse_folder_version(name: &str) -> u32 {
    name.rsplit('@')
        .next()
        .and_then(|version| version.parse().ok())
        .unwrap_or_default()
}

fn has_server_programs(folder: &Path) -> bool {
    ["initdb", "postgres", "psql"]
        .iter()
        .all(|program| folder.join(program).is_file())
}

/// Parses an output like `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn postgres_version(folder: &Path) -> Option<String> {
    let text = version_text(&folder.join("postgres"))?;
    let number = text
        .split_whitespace()
        .find(|word| word.starts_with(|first: char| first.is_ascii_digit()))?;
    Some(leading_digits(number).into())
}

/// Parses the major version in an output like `Redis server v=7.0.15 sha=00000000:0 …`.
fn redis_version(program: &Path) -> Option<u32> {
    leading_digits(version_text(program)?.split_once(" v=")?.1)
        .parse()
        .ok()
}

fn version_text(program: &Path) -> Option<String> {
    String::from_utf8(Command::new(program).arg("--version").output().ok()?.stdout).ok()
}

/// Returns the leading digits: `15` for `15.14` and for `15beta1`.
fn leading_digits(version: &str) -> &str {
    version
        .split(|digit: char| !digit.is_ascii_digit())
        .next()
        .unwrap_or_default()
}
