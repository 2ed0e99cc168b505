//! Documents: their shell blocks run as printed, the names in them exist, and the book contains
//! every page.

mod blocks; // code blocks, and the comments that mark them
mod book; // the list of pages, and the diagrams in a real browser
mod output; // samples of outputs
mod session; // one bash that runs the blocks of one page

use std::{
    fs,
    path::{Path, PathBuf},
};

use latchkey::config;
use tokio::task::JoinSet;

use blocks::{Block, Marker, read_blocks};
use session::run_page;

/// The documents outside of `docs/` whose blocks and names are checked.
const DOCUMENTS: [&str; 4] = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "deploy/README.md",
];

/// Names that look like a metric or a setting but are something else, and a file that uses them.
const OTHER_NAMES: [(&str, &str); 6] = [
    ("LATCHKEY_BLESS", "tests/all/published.rs"),
    ("LATCHKEY_TESTED_LOG", "tests/all/test_server.rs"),
    ("latchkey_", "crates/domain/src/cookie_names.rs"),
    ("latchkey_mutant", "Cargo.toml"),
    ("latchkey_owner", "deploy/roles.sql"),
    ("latchkey_staging", "crates/domain/src/cookie_names.rs"),
];

/// The number of pages that run at the same time. Each has its own server.
const CONCURRENT_PAGES: usize = 4;

/// Returns the path of a file of the repository.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Returns the names of all documents, relative to the root of the repository.
fn document_names() -> Vec<String> {
    let mut names = DOCUMENTS.map(str::to_owned).to_vec();
    collect_pages("docs", &mut names);
    names
}

/// Collects the pages in a folder, sorted by name.
fn collect_pages(folder: &str, names: &mut Vec<String>) {
    let entries = fs::read_dir(path(folder)).expect("a folder");
    let mut found: Vec<String> = entries
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| format!("{folder}/{}", name.to_string_lossy()))
        .collect();
    found.sort();
    for name in found {
        if path(&name).is_dir() {
            collect_pages(&name, names);
        } else if name.ends_with(".md") {
            names.push(name);
        }
    }
}

fn read_document(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Returns the shell blocks of all documents.
fn shell_blocks() -> Vec<Block> {
    let names = document_names();
    let blocks = names
        .iter()
        .flat_map(|name| read_blocks(name, &read_document(name)));
    blocks.filter(Block::is_shell).collect()
}

#[test]
fn every_shell_block_is_marked() {
    let unmarked: Vec<String> = shell_blocks()
        .iter()
        .filter(|block| block.marker == Marker::None)
        .map(Block::location)
        .collect();
    assert!(
        unmarked.is_empty(),
        "put `<!-- run -->` or `<!-- not run: REASON -->` on the line before these blocks \
         (CONTRIBUTING.md explains both):\n{}",
        unmarked.join("\n")
    );
}

/// Lists the blocks that no test runs: `./dev test documents::unexecuted -- --nocapture`.
#[test]
fn unexecuted_blocks_have_reasons() {
    let blocks = shell_blocks();
    let executed = blocks.iter().filter(|block| block.is_executed()).count();
    println!(
        "{executed} of {} shell blocks run. The others:",
        blocks.len()
    );
    for block in &blocks {
        if let Marker::NotRun(reason) = &block.marker {
            println!("{}: {reason}", block.location());
            assert!(
                reason.chars().filter(|c| c.is_alphabetic()).count() > 4,
                "{} has no reason",
                block.location()
            );
        }
    }
    assert!(executed > 20, "{executed}");
}

/// `tour.rs` runs the tour.
#[tokio::test]
async fn shell_blocks_run_as_printed() {
    let mut pages: Vec<(String, Vec<Block>)> = Vec::new();
    for name in document_names() {
        let blocks = read_blocks(&name, &read_document(&name));
        if blocks.iter().any(|block| block.marker == Marker::Run) {
            pages.push((name, blocks));
        }
    }
    assert!(pages.len() > 5, "{}", pages.len());
    let (mut running, mut failures) = (JoinSet::new(), Vec::new());
    let mut count_failure = |outcome: Result<Result<(), String>, tokio::task::JoinError>| {
        failures.extend(outcome.expect("no panic").err());
    };
    for (name, blocks) in pages {
        if running.len() == CONCURRENT_PAGES {
            count_failure(running.join_next().await.expect("a page"));
        }
        running.spawn(async move { run_page(&name, &blocks).await });
    }
    while let Some(outcome) = running.join_next().await {
        count_failure(outcome);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn documents_name_existing_settings_and_metrics() {
    let metrics =
        read_document("src/http/metrics.rs") + &read_document("src/http/metrics/process.rs");
    let stack = read_document("crates/dev/src/cli.rs") + &read_document("dev");
    for (name, file) in OTHER_NAMES {
        assert!(read_document(file).contains(name), "{file}: {name}");
    }
    let is_other = |word: &&str| OTHER_NAMES.iter().any(|(name, _)| name == word);
    for page in document_names() {
        let text = read_document(&page);
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
        for word in words.filter(|word| !is_other(word)) {
            assert!(
                !word.starts_with("latchkey_") || is_metric(word, &metrics),
                "{page}: {word} isn't a metric"
            );
            assert!(
                !word.starts_with("LATCHKEY_") || is_setting(word, &stack),
                "{page}: {word} isn't a setting"
            );
        }
    }
}

/// Returns whether a word is the name of a metric. A histogram is exported under three names.
fn is_metric(word: &str, source: &str) -> bool {
    let suffixes = ["", "_count", "_sum", "_bucket"];
    let names = suffixes
        .iter()
        .filter_map(|suffix| word.strip_suffix(suffix));
    names
        .into_iter()
        .any(|name| source.contains(&format!("\"{name}\"")))
}

/// Returns whether a word is the name of a setting, of its `…_FILE` form if it is a secret, or of a
/// setting of `./dev`.
fn is_setting(word: &str, stack: &str) -> bool {
    let is_file = |setting: &config::Setting| {
        setting.secret && word.strip_suffix("_FILE") == Some(setting.variable)
    };
    let is_server_setting =
        |setting: &config::Setting| setting.variable == word || is_file(setting);
    let is_stack_setting = word.starts_with("LATCHKEY_DEV_") && stack.contains(word);
    // A prefix of several settings ends with an underscore.
    let is_prefix = word.ends_with('_')
        && config::SETTINGS
            .iter()
            .any(|setting| setting.variable.starts_with(word));
    is_stack_setting || is_prefix || config::SETTINGS.iter().any(is_server_setting)
}
