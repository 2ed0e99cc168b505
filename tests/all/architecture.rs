//! The invariants of `lib.rs`, read from the source.

use std::{fs, path::Path, str::FromStr};

use proc_macro2::{TokenStream, TokenTree};

/// A source file: its path below `src/`, and its text without comments and without the tests beside
/// the code.
struct Source {
    name: String,
    text: String,
}

impl Source {
    /// The first-level module of the file: `http` for `http.rs` and `http/api/items.rs`.
    fn module(&self) -> &str {
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

/// The first-level modules of the server, and the ones that each of them can use.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &["error"]),
    ("config", &["config"]),
    ("postgres", &["error", "postgres"]),
    ("redis", &["error", "redis"]),
    ("mail", &["config", "mail"]),
    (
        "app",
        &["postgres", "redis", "mail", "error", "config", "app"],
    ),
    ("http", &["app", "error", "http"]),
    ("cli", &["app", "error", "cli"]),
    ("log", &["config", "log"]),
];

#[test]
fn dependencies_point_one_way() {
    for source in sources()
        .iter()
        .filter(|source| !matches!(source.module(), "main" | "lib"))
    {
        let (_, allowed) = LAYERS
            .iter()
            .find(|(module, _)| *module == source.module())
            .unwrap_or_else(|| panic!("{} belongs to no layer", source.name));
        // Modules of the binary use the library as an external crate.
        let root = if matches!(source.module(), "cli" | "log") {
            "latchkey"
        } else {
            "crate"
        };
        for path in paths_in(&source.text, root) {
            let Some((module, _)) = LAYERS.iter().find(|(module, _)| *module == path[0]) else {
                continue;
            };
            assert!(
                allowed.contains(module),
                "{} uses {root}::{}",
                source.name,
                path.join("::")
            );
        }
    }
}

/// The absolute paths in a source that start with this root, without it.
fn paths_in(text: &str, root: &str) -> Vec<Vec<String>> {
    fn walk(tokens: TokenStream, root: &str, found: &mut Vec<Vec<String>>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => walk(group.stream(), root, found),
                TokenTree::Ident(ident) if ident == root => {
                    extend(&tokens[at + 1..], &[], found);
                }
                _other => {}
            }
        }
    }

    /// Follows `::name` and `::{…}` behind a prefix.
    fn extend(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<Vec<String>>) {
        let is_colon =
            |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
        let follows = tokens.len() > 2 && is_colon(&tokens[0]) && is_colon(&tokens[1]);
        match tokens.get(2).filter(|_| follows) {
            Some(TokenTree::Ident(name)) => {
                let path = [prefix, &[name.to_string()]].concat();
                extend(&tokens[3..], &path, found);
            }
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                for part in inner.split(is_comma).filter(|part| !part.is_empty()) {
                    let path = [prefix, &[part[0].to_string()]].concat();
                    extend(&part[1..], &path, found);
                }
            }
            _end if prefix.is_empty() => {}
            _end => found.push(prefix.to_vec()),
        }
    }

    let mut found = Vec::new();
    let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    walk(tokens, root, &mut found);
    found
}

#[test]
fn paths_are_read_from_imports_and_expressions() {
    let text = "use crate::{a::{self, B}, c::D}; fn f() { crate::e::g() }";
    let found: Vec<String> = paths_in(text, "crate")
        .iter()
        .map(|path| path.join("::"))
        .collect();
    assert_eq!(found, ["a::self", "a::B", "c::D", "e::g"]);
}

/// Crates and words of the runtime, drivers, the environment, and clocks.
#[test]
fn domain_has_no_io_async_clock_or_environment() {
    let manifest = fs::read_to_string(in_root("crates/domain/Cargo.toml")).expect("text");
    let dependencies = manifest
        .split_once("\n[dependencies]\n")
        .and_then(|(_, rest)| rest.split_once("\n[dev-dependencies]"))
        .expect("it has dependencies")
        .0;
    for name in [
        "latchkey", "tokio", "poem", "postgres", "redis", "lettre", "hyper", "metrics", "tracing",
    ] {
        let is_dependency = |line: &str| !line.starts_with('#') && line.contains(name);
        assert!(
            !dependencies.lines().any(is_dependency),
            "latchkey-domain depends on {name}"
        );
    }
    for source in sources_in("crates/domain/src") {
        for word in [
            "std::env",
            "std::fs",
            "std::net",
            "SystemTime",
            "Instant",
            "now_utc",
            "now_v7",
            "new_v4",
            "async fn",
            ".await",
        ] {
            assert!(
                !source.text.contains(word),
                "{} contains {word}",
                source.name
            );
        }
    }
}

/// A crate, and the only module that can use it.
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
    ("dotenvy", "config"),
];

#[test]
fn drivers_are_used_in_their_own_module_only() {
    for source in sources() {
        for (name, module) in KEPT_IN {
            assert!(
                source.module() == *module || !source.names(name),
                "{} uses {name}, which only {module} can use",
                source.name
            );
        }
        let environment = source.text.contains("env::var");
        assert!(
            !environment || source.module() == "config",
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
fn bench_depends_on_server_domain_and_stack_only() {
    assert_eq!(
        own_dependencies("crates/bench/Cargo.toml"),
        ["latchkey", "latchkey-domain", "latchkey-dev"]
    );
    for source in sources_in("crates/bench/src") {
        assert!(
            source.name == "product.rs"
                || !(source.names("latchkey") || source.names("latchkey_domain")),
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
        "IssuedClientToken",
        "StoredClient",
        "NewClient",
        "PersonalAccessTokenRow",
        "NewPersonalAccessToken",
        "AuthenticatedClient",
        "MacKey",
        "MacKeys",
        "DerivedCode",
        "SealingKey",
        "RefreshKey",
        "OneTimeCode",
        "CodeKeys",
        "SigningKey",
        "Secret",
        "Redacted",
        "Config",
        "TokenPair",
        "EmailMessage",
        "Credentials",
        "SealedKey",
        "SignUp",
        "PasswordReset",
    ];
    let sources: Vec<Source> = sources()
        .into_iter()
        .chain(sources_in("crates/domain/src"))
        .collect();
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
        .filter(|source| matches!(source.module(), "postgres" | "redis" | "app"))
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
    for source in ["src", "crates/dev/src", "crates/domain/src"]
        .into_iter()
        .flat_map(sources_in)
    {
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
