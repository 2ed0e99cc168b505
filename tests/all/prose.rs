//! The words of all texts: code, comments, documents, the OpenAPI document, and `--help`.
//! `docs/contributing/style.md` explains the lists.

use std::{collections::BTreeMap, fs, path::Path};

use regex::Regex;

use crate::program::help_pages;

/// Files and folders whose whole text is public. A missing one is an error, so that a move cannot
/// hide text from the test.
const FILES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    ".github",
    "deploy",
    "docs",
    "sql",
    ".env.example",
    ".ci/run",
    "dev",
    "release/cargo",
    "release/check",
    "release/licenses",
    "Cargo.toml",
    "deny.toml",
    "Dockerfile",
    "docker-compose.yml",
];

/// Folders whose sources, scripts, and templates are checked, with comments and identifiers.
const CODE: &[&str] = &["src", "crates", "tests", "examples"];

/// The types of files in these folders. Data, for example lock files, has another type.
const CODE_TYPES: &[&str] = &[
    "rs", "lua", "sql", "html", "css", "md", "txt", "toml", "yaml", "in", "py", "js", "mjs", "ts",
    "go", "java",
];

/// These files contain the banned words as examples or data, or hashes instead of words.
const EXEMPT: &[&str] = &[
    "tests/tools/clients.txt",
    "tests/tools/requirements.txt",
    "docs/reference/glossary.md",
    "docs/contributing/style.md",
    "tests/all/prose.rs",
    "crates/domain/src/password/common_passwords.txt",
];

/// The number of characters that count as one line, independent of the wrapping in the file.
const LINE_LENGTH: usize = 100;

/// A line of public text and its location.
struct Line {
    location: String,
    text: String,
}

struct List {
    name: String,
    per_thousand: f64,
    expression: Regex,
    replacement: String,
    exempt: Option<Regex>,
    is_raw: bool,
}

impl List {
    fn parse(line: &str) -> List {
        let mut columns = line.split('\t');
        let mut next = || columns.next();
        let (name, budget) = (next().expect("a name"), next().expect("a budget"));
        let expression = next().expect("an expression");
        List {
            name: name.to_owned(),
            per_thousand: budget.parse().expect("a number"),
            expression: Regex::new(expression).expect(name),
            replacement: next().expect("words to use instead").to_owned(),
            exempt: next().map(|exempt| Regex::new(exempt).expect(name)),
            is_raw: expression.starts_with("(?-i)"),
        }
    }

    fn count(&self, text: &str) -> usize {
        let mut text = if self.is_raw {
            text.to_owned()
        } else {
            normalize(text)
        };
        if let Some(exempt) = &self.exempt {
            text = exempt.replace_all(&text, "").into_owned();
        }
        self.expression.find_iter(&text).count()
    }
}

fn lists() -> Vec<List> {
    let lines = include_str!("prose/lists.tsv").lines();
    lines
        .filter(|line| !line.starts_with('#'))
        .map(List::parse)
        .collect()
}

/// Returns the text in lower case, with identifiers split into words.
fn normalize(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 16);
    let mut after_lower = false;
    for c in text.chars() {
        if after_lower && c.is_uppercase() {
            words.push(' ');
        }
        after_lower = c.is_lowercase() || c.is_ascii_digit();
        match c {
            '_' | '`' => words.push(' '),
            c => words.extend(c.to_lowercase()),
        }
    }
    words
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Reads a file, or all files of a folder, below the root. Returns names and texts.
fn read_texts(path: &str) -> Vec<(String, String)> {
    let absolute_path = root().join(path);
    if absolute_path.is_dir() {
        let entries = fs::read_dir(&absolute_path).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| format!("{path}/{}", name.to_string_lossy()))
            .collect();
        names.sort();
        return names.iter().flat_map(|name| read_texts(name)).collect();
    }
    let text = fs::read_to_string(&absolute_path).unwrap_or_else(|error| panic!("{path}: {error}"));
    vec![(path.to_owned(), text)]
}

fn split_lines(name: &str, text: &str) -> Vec<Line> {
    let numbered = text.lines().zip(1..);
    numbered
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| Line {
            location: format!("{name}:{number}"),
            text: line.trim().to_owned(),
        })
        .collect()
}

/// Returns the texts of the OpenAPI document, one line per paragraph.
fn read_document_lines() -> Vec<Line> {
    fn collect(location: &str, value: &serde_json::Value, found: &mut Vec<Line>) {
        match value {
            serde_json::Value::String(text) if text.split(' ').count() > 1 => {
                found.extend(split_lines(location, text));
            }
            serde_json::Value::Array(values) => {
                values
                    .iter()
                    .for_each(|value| collect(location, value, found));
            }
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    collect(&format!("{location}/{name}"), value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    collect("openapi", &crate::contract::DOCUMENT, &mut found);
    // Operation IDs become identifiers of generated clients.
    for (_, operations) in crate::contract::DOCUMENT["paths"]
        .as_object()
        .expect("paths")
    {
        for operation in operations.as_object().expect("operations").values() {
            let name = operation["operationId"].as_str().unwrap_or_default();
            found.extend(split_lines("openapi/operationId", name));
        }
    }
    found
}

fn all_lines() -> Vec<Line> {
    let mut lines = Vec::new();
    let code = CODE.iter().flat_map(|path| read_texts(path));
    let code = code.filter(|(name, _)| {
        let (_, file_type) = name.rsplit_once('.').unwrap_or_default();
        CODE_TYPES.contains(&file_type)
    });
    for (name, text) in FILES.iter().flat_map(|path| read_texts(path)).chain(code) {
        if !EXEMPT.contains(&name.as_str()) {
            lines.extend(split_lines(&name, &text));
        }
    }
    lines.extend(read_document_lines());
    for (command, text) in help_pages() {
        lines.extend(split_lines(&format!("{command} --help"), &text));
    }
    lines
}

#[test]
fn all_texts_use_standard_words() {
    let lines = all_lines();
    let size: usize = lines
        .iter()
        .map(|line| line.text.len().div_ceil(LINE_LENGTH))
        .sum();
    let (mut report, mut summary) = (String::new(), BTreeMap::new());
    for list in lists() {
        let hits = lines.iter().map(|line| (line, list.count(&line.text)));
        let hits: Vec<(&Line, usize)> = hits.filter(|(_, count)| *count > 0).collect();
        let count: usize = hits.iter().map(|(_, count)| count).sum();
        let allowed = (list.per_thousand * size as f64 / 1000.0).floor() as usize;
        summary.insert(list.name.clone(), (count, allowed));
        if count > allowed {
            report += &format!(
                "\n{}: {count} hits, {allowed} allowed; use: {}\n",
                list.name, list.replacement
            );
            for (line, _) in hits {
                report += &format!("  {}: {}\n", line.location, line.text);
            }
        }
    }
    println!("{size} lines; hits and budgets: {summary:?}");
    assert!(report.is_empty(), "{report}");
}

#[test]
fn expressions_find_words_inside_identifiers() {
    let lists = lists();
    let list = |name: &str| lists.iter().find(|list| list.name == name).expect("a list");
    assert_eq!(list("people").count("SomebodyElse"), 1);
    assert_eq!(list("people").count("a person"), 0);
    assert_eq!(list("worker").count("`janitor_interval`"), 1);
    assert_eq!(list("back").count("what was taken back"), 1);
    assert_eq!(list("demand").count("compiled on demand"), 0);
    assert_eq!(list("headless").count("Whose token is it?"), 1);
    assert_eq!(list("headless").count("the client whose token it is"), 0);
    assert_eq!(list("isno").count("the token is no longer valid"), 0);
}
