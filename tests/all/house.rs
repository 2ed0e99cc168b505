//! The invariants of `lib.rs`, read from the source.

use std::{fs, path::Path};

/// A source file: its path below `src/`, and its text without comments and without the tests beside
/// the code.
struct Source {
    name: String,
    text: String,
}

impl Source {
    /// The room of the house that the file is in: `http` for `http.rs` and `http/edge.rs`.
    fn room(&self) -> &str {
        self.name
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// Whether the file names this crate or module, as a path.
    fn names(&self, word: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.text.match_indices(word).any(|(at, _)| {
            let before = self.text[..at].chars().next_back();
            let after = &self.text[at + word.len()..];
            !before.is_some_and(|c| is_word(c) || c == ':' || c == '.')
                && (after.starts_with("::") || after.starts_with(" as ") || after.starts_with(';'))
        })
    }
}

fn files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is there") {
        let path = entry.expect("it can be read").path();
        if path.is_dir() {
            files(&path, found)
        } else {
            found.push(path)
        }
    }
}

fn in_root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn all(folder: &str, ending: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    files(&in_root(folder), &mut found);
    found.retain(|path| path.extension().is_some_and(|found| found == ending));
    found
}

fn sources() -> Vec<Source> {
    sources_in("src")
}

fn sources_in(folder: &str) -> Vec<Source> {
    let root = in_root(folder);
    let product = all(folder, "rs")
        .into_iter()
        .filter(|path| !path.to_string_lossy().ends_with("tests.rs"));
    product
        .map(|path| {
            let text = fs::read_to_string(&path).expect("text");
            let text = text.split("#[cfg(test)]").next().unwrap_or_default();
            let code: Vec<&str> = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect();
            Source {
                name: path
                    .strip_prefix(&root)
                    .expect("below")
                    .to_string_lossy()
                    .into_owned(),
                text: code.join("\n"),
            }
        })
        .collect()
}

/// What each room may know of the others.
const ARROWS: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("domain", &["error", "domain"]),
    ("config", &["domain", "config"]),
    ("postgres", &["domain", "error", "postgres"]),
    ("redis", &["domain", "error", "redis"]),
    ("mail", &["domain", "config", "mail"]),
    (
        "gateway",
        &[
            "postgres", "redis", "mail", "domain", "error", "config", "gateway",
        ],
    ),
    ("http", &["gateway", "domain", "error", "http"]),
    ("cli", &["gateway", "domain", "error", "cli"]),
    ("log", &["config", "log"]),
];

#[test]
fn arrows_point_one_way() {
    for source in sources()
        .iter()
        .filter(|source| !matches!(source.room(), "main" | "lib"))
    {
        let (_, allowed) = ARROWS
            .iter()
            .find(|(room, _)| *room == source.room())
            .expect("a room of the house");
        // Parts of the binary: the rooms of the library are another crate to them.
        let house = if matches!(source.room(), "cli" | "log") {
            "latchkey"
        } else {
            "crate"
        };
        for (room, _) in ARROWS.iter().filter(|(room, _)| !allowed.contains(room)) {
            let named = source.text.contains(&format!("{house}::{room}"));
            let imported = source
                .text
                .split(&format!("use {house}::{{"))
                .skip(1)
                .any(|list| {
                    let list = list.split("};").next().unwrap_or_default();
                    list.split(|c: char| c.is_whitespace() || c == '{' || c == ',')
                        .any(|name| name.starts_with(&format!("{room}::")))
                });
            assert!(!named && !imported, "{} must not know {room}", source.name);
        }
    }
}

#[test]
fn the_rules_know_no_runtime_no_driver_no_environment_and_no_clock() {
    let absent = [
        "tokio",
        "poem",
        "poem_openapi",
        "tokio_postgres",
        "deadpool_redis",
        "deadpool_postgres",
        "lettre",
        "hyper",
        "metrics",
        "tracing",
    ];
    for source in sources().iter().filter(|source| source.room() == "domain") {
        for name in absent {
            assert!(!source.names(name), "{} names {name}", source.name);
        }
        for word in [
            "std::env",
            "std::fs",
            "std::net",
            "SystemTime",
            "Instant",
            "now_utc",
            "now_v7",
            "async fn",
            ".await",
        ] {
            assert!(!source.text.contains(word), "{} says {word}", source.name);
        }
    }
}

/// A crate, and the only room that may name it.
const KEPT_IN: &[(&str, &str)] = &[
    ("tokio_postgres", "postgres"),
    ("deadpool_postgres", "postgres"),
    ("tokio_postgres_rustls", "postgres"),
    ("refinery", "postgres"),
    ("rustls", "postgres"),
    ("deadpool_redis", "redis"),
    ("lettre", "mail"),
    ("poem", "http"),
    ("poem_openapi", "http"),
    ("hyper", "http"),
    ("hyper_util", "http"),
    ("metrics_exporter_prometheus", "http"),
    ("procfs", "http"),
    ("jsonwebtoken", "domain"),
    ("argon2", "domain"),
    ("dotenvy", "config"),
];

#[test]
fn drivers_are_named_in_their_own_folder_only() {
    for source in sources() {
        for (name, room) in KEPT_IN {
            assert!(
                source.room() == *room || !source.names(name),
                "{} names {name}, which belongs into {room}",
                source.name
            );
        }
        let environment = source.text.contains("env::var");
        assert!(
            !environment || source.room() == "config",
            "{} reads the environment",
            source.name
        );
    }
}

#[test]
fn the_server_has_no_parts_that_a_build_leaves_out() {
    for path in all("src", "rs") {
        let text = fs::read_to_string(&path).expect("text");
        assert!(
            !text.contains("cfg(feature") && !text.contains("feature = "),
            "{} depends on a feature",
            path.display()
        );
    }
    let manifest = fs::read_to_string(in_root("Cargo.toml")).expect("text");
    assert!(!manifest.lines().any(|line| line.trim() == "[features]"));
}

/// `latchkey-dev` uses the server's program and environment variables, not its code.
#[test]
fn the_local_stack_depends_on_no_package_of_ours() {
    let manifest = fs::read_to_string(in_root("crates/dev/Cargo.toml")).expect("text");
    let (_, dependencies) = manifest
        .split_once("dependencies]\n")
        .expect("it has dependencies");
    for line in dependencies.lines().filter(|line| !line.starts_with('#')) {
        assert!(
            !line.contains("latchkey") && !line.contains("path"),
            "{line}"
        );
    }
    for source in sources_in("crates/dev/src") {
        assert!(!source.names("latchkey"), "{} names latchkey", source.name);
    }
}

/// The names of our packages that a manifest depends on.
fn own_dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(in_root(manifest)).expect("text");
    let (_, dependencies) = text
        .split_once("\n[dependencies]\n")
        .expect("it has dependencies");
    let lines = dependencies.lines().filter(|line| !line.starts_with('#'));
    let own = lines.filter(|line| line.starts_with("latchkey") || line.contains("path"));
    own.map(|line| line.split([' ', '.']).next().unwrap_or_default().to_owned())
        .collect()
}

/// The load laboratory uses code of the server in one file.
#[test]
fn bench_depends_on_server_and_stack_only() {
    assert_eq!(
        own_dependencies("crates/bench/Cargo.toml"),
        ["latchkey", "latchkey-dev"]
    );
    for source in sources_in("crates/bench/src") {
        assert!(
            source.name == "product.rs" || !source.names("latchkey"),
            "{} names latchkey",
            source.name
        );
    }
}

#[test]
fn no_package_depends_on_bench() {
    let members = fs::read_dir(in_root("crates")).expect("it is there");
    let manifests = members.map(|member| member.expect("an entry").path().join("Cargo.toml"));
    for manifest in manifests.chain([in_root("Cargo.toml")]) {
        let text = fs::read_to_string(&manifest).expect("text");
        let is_dependency = |line: &str| {
            line.starts_with("latchkey-bench") || line.contains("path = \"crates/bench")
        };
        assert!(
            !text.lines().any(is_dependency),
            "{} depends on latchkey-bench",
            manifest.display()
        );
    }
}

/// `release/check` would take them for paths of the machine that built the binary.
#[test]
fn server_texts_name_no_folder_of_a_build() {
    let folders = [
        "/home/", "/root/", "/tmp/", "/Users/", ".cargo/", ".rustup/",
    ];
    for source in sources() {
        for folder in folders {
            assert!(
                !source.text.contains(folder),
                "{} contains {folder}, which release/check rejects",
                source.name
            );
        }
    }
}

#[test]
fn no_secret_can_be_printed() {
    let secrets = [
        "Password",
        "MasterSecret",
        "MasterSecrets",
        "OpaqueToken",
        "Granted",
        "StoredClient",
        "NewClient",
        "KnownPersonalToken",
        "NewPersonalToken",
        "ProvedClient",
        "MacKey",
        "MacKeys",
        "Derived",
        "SealingKey",
        "RefreshKey",
        "OneTimeCode",
        "CodeKeys",
        "SigningKey",
        "Secret",
        "Hidden",
        "Config",
        "Pair",
        "Letter",
        "Credentials",
        "SealedKey",
        "SignUp",
        "PasswordReset",
    ];
    let sources = sources();
    for secret in secrets {
        let declaration = |text: &str| {
            text.find(&format!("pub struct {secret}"))
                .filter(|at| !text[at + 11 + secret.len()..].starts_with(char::is_alphanumeric))
        };
        let found: Vec<_> = sources
            .iter()
            .filter_map(|source| Some((source, declaration(&source.text)?)))
            .collect();
        assert!(!found.is_empty(), "{secret} is gone; take it off this list");
        for (source, at) in found {
            let head = source.text[..at].rsplit("\n\n").next().unwrap_or_default();
            assert!(
                !head.contains("Debug") && !head.contains("Serialize"),
                "{secret} derives a way to be printed ({})",
                source.name
            );
        }
        for word in ["Debug", "Display", "Serialize"] {
            let way = format!("{word} for {secret} ");
            assert!(
                sources.iter().all(|source| !source.text.contains(&way)),
                "{way}"
            );
        }
    }
}

#[test]
fn every_statement_and_every_script_has_one_place_in_the_code() {
    let code: String = sources()
        .iter()
        .map(|source| source.text.as_str())
        .collect();
    let statements = ["sql/migrations", "sql/queries"].map(|folder| all(folder, "sql"));
    for path in statements
        .into_iter()
        .flatten()
        .chain(all("src/redis", "lua"))
    {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let uses = code.matches(&format!("/{name}\")")).count()
            + code.matches(&format!("(\"{name}\")")).count();
        assert_eq!(uses, 1, "{name} is included {uses} times");
    }
}

#[test]
fn every_script_says_what_it_takes_and_refuses_anything_else() {
    for path in all("src/redis", "lua").iter().filter(|path| {
        !["server.lua", "account.lua", "refresh.lua", "log.lua"]
            .iter()
            .any(|shared| path.ends_with(shared))
    }) {
        let text = fs::read_to_string(path).expect("text");
        for part in ["-- KEYS: ", "-- ARGV: ", "-- Returns", "assert(#KEYS "] {
            assert!(text.contains(part), "{} lacks {part}", path.display());
        }
    }
}

#[test]
fn there_are_no_stand_ins_for_stores() {
    for source in sources()
        .iter()
        .filter(|source| matches!(source.room(), "postgres" | "redis" | "gateway"))
    {
        let declares = source.text.lines().any(|line| {
            line.trim_start()
                .trim_start_matches("pub ")
                .starts_with("trait ")
        });
        assert!(!declares, "{} declares a trait", source.name);
    }
    for source in sources().into_iter().chain(sources_in("crates/dev/src")) {
        assert!(
            !source.text.to_lowercase().contains("mock"),
            "{}",
            source.name
        );
    }
}

/// The longest function and file that one head can hold, in lines.
#[test]
fn functions_and_files_stay_short() {
    for source in sources().into_iter().chain(sources_in("crates/dev/src")) {
        let lines: Vec<&str> = source.text.lines().collect();
        assert!(
            lines.len() <= 350,
            "{} has {} lines",
            source.name,
            lines.len()
        );
        for (at, line) in lines
            .iter()
            .enumerate()
            .filter(|(_, line)| is_function(line))
        {
            let indent = line.len() - line.trim_start().len();
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[at..]
                .iter()
                .position(|line| *line == end)
                .map_or(0, |length| length + 1);
            assert!(
                length <= 60,
                "{}: {} has {length} lines",
                source.name,
                line.trim()
            );
        }
    }
}

/// A function's first line; its signature may go on below.
fn is_function(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = words.iter().position(|word| *word == "fn");
    let before = |word: &&str| {
        word.starts_with("pub") || matches!(*word, "async" | "const" | "unsafe" | "extern")
    };
    name.is_some_and(|at| words[..at].iter().all(before)) && !line.trim_end().ends_with([';', '}'])
}
