//! Architecture tests: the invariants of `lib.rs`, checked on the source text.

use std::{
    collections::BTreeSet,
    fmt::{Debug, Display},
    fs,
    path::Path,
    str::FromStr,
    sync::LazyLock,
};

use latchkey::{app, config, mail, postgres};
use latchkey_domain::{
    access_token, master_secret, one_time_code, opaque_token, password, refresh_token,
};
use proc_macro2::{TokenStream, TokenTree};
use regex::Regex;
use serde::Serialize;
use static_assertions::assert_not_impl_any;

/// A source file: its path below `src/`, and its text without comments and unit tests.
struct Source {
    name: String,
    text: String,
}

impl Source {
    /// The module path of the file: `["http", "api", "items"]` for `src/http/api/items.rs`.
    fn path(&self) -> Vec<String> {
        let name = self.name.trim_end_matches(".rs");
        name.split('/').map(str::to_owned).collect()
    }

    /// The first-level module of the file: `http` for `src/http.rs` and `src/http/api/items.rs`.
    fn module(&self) -> &str {
        self.name
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// Whether the code contains a path that starts with this crate or module.
    fn has_path_to(&self, name: &str) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        self.text.match_indices(name).any(|(at, _)| {
            let before = self.text[..at].chars().next_back();
            let after = &self.text[at + name.len()..];
            !before.is_some_and(|c| is_word(c) || c == ':' || c == '.')
                && (after.starts_with("::") || after.starts_with(" as ") || after.starts_with(';'))
        })
    }
}

fn collect_files(folder: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder exists") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect_files(&path, found)
        } else {
            found.push(path)
        }
    }
}

fn path_in_root(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn files_with_extension(folder: &str, extension: &str) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    collect_files(&path_in_root(folder), &mut files);
    files.retain(|path| path.extension().is_some_and(|found| found == extension));
    files
}

fn sources() -> Vec<Source> {
    sources_in("src")
}

fn sources_in(folder: &str) -> Vec<Source> {
    let root = path_in_root(folder);
    let files = files_with_extension(folder, "rs")
        .into_iter()
        .filter(|path| !path.to_string_lossy().ends_with("tests.rs"));
    files
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
                    .expect("a path below the root")
                    .to_string_lossy()
                    .into_owned(),
                text: code.join("\n"),
            }
        })
        .collect()
}

/// The first-level modules of the server, and the modules that each of them can use.
const LAYERS: &[(&str, &[&str])] = &[
    ("error", &["error"]),
    ("config", &["config"]),
    ("tls", &["tls"]),
    ("reloadable_url", &["reloadable_url"]),
    ("postgres", &["error", "tls", "reloadable_url", "postgres"]),
    ("redis", &["error", "reloadable_url", "redis"]),
    ("mail", &["config", "mail"]),
    ("http_client", &["error", "tls", "http_client"]),
    ("issuer_probe", &["http_client", "issuer_probe"]),
    (
        "app",
        &[
            "postgres",
            "redis",
            "mail",
            "http_client",
            "issuer_probe",
            "error",
            "config",
            "app",
        ],
    ),
    ("http", &["app", "error", "http"]),
    ("cli", &["app", "error", "cli"]),
    ("commands", &["config", "commands"]),
    ("log", &["config", "log"]),
];

#[test]
fn modules_depend_only_on_allowed_modules() {
    for source in sources()
        .iter()
        .filter(|source| !matches!(source.module(), "main" | "lib"))
    {
        let (_, allowed) = LAYERS
            .iter()
            .find(|(module, _)| *module == source.module())
            .unwrap_or_else(|| panic!("{} belongs to no layer", source.name));
        // Modules of the binary use the library as an external crate.
        let root = if matches!(source.module(), "cli" | "commands" | "log") {
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

/// Returns the paths in the source that start with this root, without the root.
fn paths_in(text: &str, root: &str) -> Vec<Vec<String>> {
    fn collect_paths(tokens: TokenStream, root: &str, found: &mut Vec<Vec<String>>) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => collect_paths(group.stream(), root, found),
                TokenTree::Ident(ident) if ident == root => {
                    extend_path(&tokens[at + 1..], &[], found);
                }
                _other => {}
            }
        }
    }

    /// Follows `::name` and `::{…}` after a prefix.
    fn extend_path(tokens: &[TokenTree], prefix: &[String], found: &mut Vec<Vec<String>>) {
        let is_colon =
            |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
        let is_path = tokens.len() > 2 && is_colon(&tokens[0]) && is_colon(&tokens[1]);
        match tokens.get(2).filter(|_| is_path) {
            Some(TokenTree::Ident(name)) => {
                let path = [prefix, &[name.to_string()]].concat();
                extend_path(&tokens[3..], &path, found);
            }
            Some(TokenTree::Group(group)) => {
                let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                let is_comma = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',');
                for part in inner.split(is_comma).filter(|part| !part.is_empty()) {
                    let path = [prefix, &[part[0].to_string()]].concat();
                    extend_path(&part[1..], &path, found);
                }
            }
            _end if prefix.is_empty() => {}
            _end => found.push(prefix.to_vec()),
        }
    }

    let mut found = Vec::new();
    let tokens = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    collect_paths(tokens, root, &mut found);
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

/// The modules of the first two levels that use each other, as edges. An edge between a module and
/// its own parent is ignored: a parent declares its children, and they extend its types.
fn module_edges() -> BTreeSet<(Vec<String>, Vec<String>)> {
    let names: Vec<Vec<String>> = sources().iter().map(Source::path).collect();
    let module = |path: &[String]| {
        let known = (1..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|prefix| names.contains(prefix));
        known.map(|mut found| {
            found.truncate(2);
            found
        })
    };
    let mut edges = BTreeSet::new();
    for source in sources()
        .iter()
        .filter(|source| !matches!(source.module(), "main" | "lib" | "cli" | "commands" | "log"))
    {
        let mut from = source.path();
        let parent = from[..from.len() - 1].to_vec();
        from.truncate(2);
        let absolute = paths_in(&source.text, "crate");
        let relative = paths_in(&source.text, "super")
            .into_iter()
            .map(|path| [parent.clone(), path].concat());
        for to in absolute
            .into_iter()
            .chain(relative)
            .filter_map(|path| module(&path))
        {
            let is_family = to.starts_with(&from) || from.starts_with(&to);
            if !is_family {
                edges.insert((from.clone(), to));
            }
        }
    }
    edges
}

#[test]
fn modules_of_the_first_two_levels_have_no_cycle() {
    let mut edges = module_edges();
    // Modules that use no other one can't be part of a cycle.
    loop {
        let to_leaves: Vec<_> = edges
            .iter()
            .filter(|(_, to)| !edges.iter().any(|(from, _)| from == to))
            .cloned()
            .collect();
        if to_leaves.is_empty() {
            break;
        }
        for edge in to_leaves {
            edges.remove(&edge);
        }
    }
    let left: Vec<String> = edges
        .iter()
        .map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::")))
        .collect();
    assert!(left.is_empty(), "these modules form a cycle: {left:#?}");
}

/// Forbids crates and identifiers of runtimes, drivers, the environment, and clocks.
#[test]
fn domain_has_no_io_async_clock_or_environment() {
    let manifest = fs::read_to_string(path_in_root("crates/domain/Cargo.toml")).expect("text");
    let dependencies = manifest
        .split_once("\n[dependencies]\n")
        .and_then(|(_, rest)| rest.split_once("\n[dev-dependencies]"))
        .expect("a dependencies section")
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

/// Crates that only these modules can use.
const EXCLUSIVE_CRATES: &[(&str, &[&str])] = &[
    ("tokio_postgres", &["postgres"]),
    ("deadpool_postgres", &["postgres"]),
    ("tokio_postgres_rustls", &["postgres"]),
    ("refinery", &["postgres"]),
    ("rustls", &["tls"]),
    ("tokio_rustls", &["http_client"]),
    ("deadpool_redis", &["redis"]),
    ("lettre", &["mail"]),
    ("poem", &["http"]),
    ("poem_openapi", &["http"]),
    ("hyper", &["http", "http_client"]),
    ("hyper_util", &["http", "http_client"]),
    ("metrics_exporter_prometheus", &["http"]),
    ("procfs", &["http"]),
    ("dotenvy", &["config"]),
];

#[test]
fn drivers_are_used_in_their_own_module_only() {
    for source in sources() {
        for (name, modules) in EXCLUSIVE_CRATES {
            assert!(
                modules.contains(&source.module()) || !source.has_path_to(name),
                "{} uses {name}, which only {modules:?} can use",
                source.name
            );
        }
        let reads_environment = source.text.contains("env::var");
        assert!(
            !reads_environment || source.module() == "config",
            "{} reads the environment",
            source.name
        );
    }
}

#[test]
fn server_has_no_cargo_features() {
    for path in files_with_extension("src", "rs") {
        let text = fs::read_to_string(&path).expect("text");
        assert!(
            !text.contains("cfg(feature") && !text.contains("feature = "),
            "{} depends on a feature",
            path.display()
        );
    }
    let manifest = fs::read_to_string(path_in_root("Cargo.toml")).expect("text");
    assert!(!manifest.lines().any(|line| line.trim() == "[features]"));
}

/// `latchkey-dev` uses the binary and the environment variables of the server, not its code.
#[test]
fn local_stack_depends_on_no_workspace_package() {
    let manifest = fs::read_to_string(path_in_root("crates/dev/Cargo.toml")).expect("text");
    let (_, dependencies) = manifest
        .split_once("dependencies]\n")
        .expect("a dependencies section");
    for line in dependencies.lines().filter(|line| !line.starts_with('#')) {
        assert!(
            !line.contains("latchkey") && !line.contains("path"),
            "{line}"
        );
    }
    for source in sources_in("crates/dev/src") {
        assert!(
            !source.has_path_to("latchkey"),
            "{} names latchkey",
            source.name
        );
    }
}

/// Returns the workspace packages in the `[dependencies]` of a manifest.
fn workspace_dependencies(manifest: &str) -> Vec<String> {
    let text = fs::read_to_string(path_in_root(manifest)).expect("text");
    let (_, dependencies) = text
        .split_once("\n[dependencies]\n")
        .expect("a dependencies section");
    let lines = dependencies.lines().filter(|line| !line.starts_with('#'));
    let packages = lines.filter(|line| line.starts_with("latchkey") || line.contains("path"));
    packages
        .map(|line| line.split([' ', '.']).next().unwrap_or_default().to_owned())
        .collect()
}

/// The load generator uses code of the server in one file only.
#[test]
fn bench_depends_on_server_domain_and_stack_only() {
    assert_eq!(
        workspace_dependencies("crates/bench/Cargo.toml"),
        ["latchkey", "latchkey-domain", "latchkey-dev"]
    );
    for source in sources_in("crates/bench/src") {
        assert!(
            source.name == "product.rs"
                || !(source.has_path_to("latchkey") || source.has_path_to("latchkey_domain")),
            "{} names latchkey",
            source.name
        );
    }
}

#[test]
fn no_package_depends_on_bench() {
    let members = fs::read_dir(path_in_root("crates")).expect("the folder exists");
    let manifests = members.map(|member| member.expect("an entry").path().join("Cargo.toml"));
    for manifest in manifests.chain([path_in_root("Cargo.toml")]) {
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

/// `release/check` searches the binary for paths of the build machine, and would report these.
#[test]
fn server_source_contains_no_build_paths() {
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

/// Compiles only if no listed type can be printed or serialized.
macro_rules! assert_unprintable {
    ($($secret:ty),+ $(,)?) => {
        $(assert_not_impl_any!($secret: Debug, Display, Serialize);)+
    };
}

assert_unprintable!(
    master_secret::MacKey,
    master_secret::MacKeys,
    master_secret::MasterSecret,
    master_secret::MasterSecrets,
    master_secret::SealingKey,
    one_time_code::CodeKeys,
    one_time_code::DerivedCode,
    one_time_code::OneTimeCode,
    opaque_token::OpaqueToken,
    password::NewPassword,
    password::Password,
    refresh_token::RefreshKey,
    access_token::SigningKey,
    app::accounts::reset_password::PasswordReset,
    app::accounts::sign_up::SignUp,
    app::accounts::verified_sign_up::VerifiedSignUp,
    app::sessions::issue::TokenPair,
    app::tokens::client_credentials::AuthenticatedClient,
    app::tokens::client_credentials::IssuedClientToken,
    config::Config,
    config::MailTransport,
    mail::EmailMessage,
    postgres::Credentials,
    postgres::NewClient<'static>,
    postgres::NewPersonalAccessToken<'static>,
    postgres::PersonalAccessTokenRow,
    postgres::SealedKey,
    postgres::StoredClient,
);

#[test]
fn every_sql_and_lua_file_is_included_once() {
    let code: String = sources()
        .iter()
        .map(|source| source.text.as_str())
        .collect();
    let statements =
        ["sql/migrations", "sql/queries"].map(|folder| files_with_extension(folder, "sql"));
    for path in statements
        .into_iter()
        .flatten()
        .chain(files_with_extension("src/redis", "lua"))
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
fn lua_scripts_document_and_check_arguments() {
    for path in files_with_extension("src/redis", "lua")
        .iter()
        .filter(|path| {
            !["server.lua", "account.lua", "refresh.lua", "log.lua"]
                .iter()
                .any(|shared| path.ends_with(shared))
        })
    {
        let text = fs::read_to_string(path).expect("text");
        for part in ["-- KEYS: ", "-- ARGV: ", "-- Returns", "assert(#KEYS "] {
            assert!(text.contains(part), "{} lacks {part}", path.display());
        }
    }
}

#[test]
fn stores_have_no_traits_or_mocks() {
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

/// Limits files to 350 lines and functions to 60 lines, without comments.
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

/// Whether the line is the first line of a function. Its signature can continue below.
fn is_function(line: &str) -> bool {
    let words: Vec<&str> = line.split_whitespace().collect();
    let name = words.iter().position(|word| *word == "fn");
    let before = |word: &&str| {
        word.starts_with("pub") || matches!(*word, "async" | "const" | "unsafe" | "extern")
    };
    name.is_some_and(|at| words[..at].iter().all(before)) && !line.trim_end().ends_with([';', '}'])
}

/// A file in backticks, named with at least one folder.
static NAMED_FILE: LazyLock<Regex> = LazyLock::new(|| {
    let extensions = "rs|sql|lua|md|txt|html|toml|tsv|json|ya?ml|conf|cfg|mjs|py";
    Regex::new(&format!(r"`([\w./-]+/[\w.-]+\.(?:{extensions}))`")).expect("a valid expression")
});

fn named_files(text: &str) -> Vec<String> {
    NAMED_FILE
        .captures_iter(text)
        .map(|found| found[1].to_owned())
        .collect()
}

/// Asserts that the files that a text names exist, relative to the root of the repository.
fn assert_named_files_exist(document: &Path, text: &str) {
    for name in named_files(text) {
        assert!(
            path_in_root(&name).exists(),
            "{} names {name}, which does not exist",
            document.display()
        );
    }
}

#[test]
fn files_named_in_contributor_documents_exist() {
    let decisions = files_with_extension("docs/adr", "md");
    let documents = ["CONTRIBUTING.md", "docs/contributing/style.md"].map(path_in_root);
    for document in documents.iter().chain(&decisions) {
        let text = fs::read_to_string(document).expect("text");
        assert_named_files_exist(document, &text);
    }
    assert_eq!(
        named_files("`src/a.rs`, `b.rs`, and `sql/c.sql`"),
        ["src/a.rs", "sql/c.sql"]
    );
}

/// Returns the comment of a line, which starts with this marker; empty if the line has none.
fn comment<'a>(line: &'a str, marker: &str) -> &'a str {
    line.split_once(marker).map_or("", |(_, comment)| comment)
}

/// Lines with the placeholder `NNNN` name no single file.
#[test]
fn files_named_in_comments_exist() {
    for (extension, marker) in [
        ("rs", "//"),
        ("sql", "--"),
        ("lua", "--"),
        ("toml", "#"),
        ("py", "#"),
    ] {
        for folder in ["src", "sql", "crates", "tests"] {
            for path in files_with_extension(folder, extension) {
                let text = fs::read_to_string(&path).expect("text");
                let comments = text.lines().map(|line| comment(line, marker));
                let comments: Vec<&str> = comments
                    .filter(|comment| !comment.contains("NNNN"))
                    .collect();
                assert_named_files_exist(&path, &comments.join("\n"));
            }
        }
    }
    assert_eq!(comment("let a = 1; // one", "//"), " one");
    assert_eq!(comment("let a = 1;", "//"), "");
}
