//! The book: it contains every page, and a real browser draws every diagram.

use std::{collections::BTreeSet, fs, path::Path};

use regex::Regex;
use serde_json::json;

use super::{blocks::read_blocks, collect_pages, document_names, read_document};
use crate::{
    browser::driver::Driver,
    test_server::wait_until,
    tools::{installed, python, succeeds},
};

/// The pages that `docs/SUMMARY.md` lists, relative to the root of the repository.
fn listed_pages() -> Vec<String> {
    let link = Regex::new(r"\]\(([^)]+)\)").expect("a valid expression");
    let summary = read_document("docs/SUMMARY.md");
    let links = link.captures_iter(&summary);
    links.map(|found| format!("docs/{}", &found[1])).collect()
}

#[test]
fn book_contains_every_page_once() {
    let listed = listed_pages();
    let unique: BTreeSet<&String> = listed.iter().collect();
    assert_eq!(unique.len(), listed.len(), "a page is listed twice");
    let mut pages = Vec::new();
    collect_pages("docs", &mut pages);
    pages.retain(|page| page != "docs/SUMMARY.md");
    let pages: BTreeSet<&String> = pages.iter().collect();
    let missing: Vec<_> = pages.difference(&unique).collect();
    assert!(
        missing.is_empty(),
        "docs/SUMMARY.md doesn't list {missing:?}"
    );
    let absent: Vec<_> = unique.difference(&pages).collect();
    assert!(
        absent.is_empty(),
        "docs/SUMMARY.md lists {absent:?}, which don't exist"
    );
}

/// Returns the sources of the diagrams of a document.
fn diagrams(document: &str) -> Vec<String> {
    let blocks = read_blocks(document, &read_document(document));
    let diagrams = blocks.iter().filter(|block| block.language == "mermaid");
    diagrams.map(|block| block.lines.join("\n")).collect()
}

/// Builds the book as `./dev docs` does.
async fn build_book(folder: &Path) {
    let mut build = python("mdbook");
    build
        .args(["build", "docs", "--dest-dir"])
        .arg(folder)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    succeeds(build, String::new()).await;
    let mermaid = installed().join("node/node_modules/@mermaid-js/tiny/dist/mermaid.tiny.js");
    fs::copy(mermaid, folder.join("mermaid.tiny.js")).expect("a tool of `./dev install`");
}

#[tokio::test]
async fn real_browser_draws_every_diagram() {
    let folder = tempfile::tempdir().expect("a folder");
    build_book(folder.path()).await;
    let driver = Driver::start().await;
    let mut drawn = 0;
    for page in listed_pages() {
        let count = diagrams(&page).len();
        if count == 0 {
            continue;
        }
        let file = page
            .trim_start_matches("docs/")
            .replace("README.md", "index.md");
        let file = file.replace(".md", ".html");
        let url = format!("file://{}", folder.path().join(file).display());
        driver.open(&url).await;
        wait_until(&format!("{count} diagrams of {page}"), || async {
            let svgs = "return document.querySelectorAll('pre.mermaid > svg').length";
            driver.run_script(svgs).await == json!(count)
        })
        .await;
        let errors = "return document.querySelectorAll('[aria-roledescription=error]').length";
        assert_eq!(driver.run_script(errors).await, json!(0), "{page}");
        drawn += count;
    }
    assert!(drawn > 10, "{drawn}");
    // GitHub draws the diagrams of other documents. The last page of the book can parse them.
    for document in document_names() {
        if document.starts_with("docs/") {
            continue;
        }
        for diagram in diagrams(&document) {
            let parse = format!(
                "return mermaid.parse({}).then(() => 'valid', (error) => String(error))",
                json!(diagram)
            );
            assert_eq!(
                driver.run_script(&parse).await,
                "valid",
                "{document}: {diagram}"
            );
        }
    }
}
