//! The words of the public texts: `docs/contributing/style.md` explains the lists.
//!
//! Public texts are the documents, the OpenAPI document, `--help`, and the string literals of the
//! packages: error details, log messages, emails, and descriptions of metrics.

use std::{collections::BTreeMap, fs, path::Path, str::FromStr};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use regex::Regex;

use crate::program::run;

/// Files and folders whose whole text is public. A missing one is an error, so that a move cannot
/// hide text from the test.
const FILES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "deploy",
    "docs",
    "crates/bench/README.md",
    "sql",
    "src/mail/templates",
    "src/http/pages",
    ".env.example",
    ".ci/run",
    "dev",
    "release/cargo",
    "release/check",
    "release/licenses",
    "Dockerfile",
    "docker-compose.yml",
];

/// Packages whose string literals are public.
const SOURCES: &[&str] = &["src", "crates/bench/src", "crates/dev/src"];

/// The glossary lists the words that are not to be used.
const EXEMPT: &[&str] = &["docs/reference/glossary.md", "docs/contributing/style.md"];

/// Macros and functions whose text only a developer reads, after a defect.
const FOR_DEVELOPERS: &[&str] = &[
    "expect",
    "expect_err",
    "panic",
    "unreachable",
    "assert",
    "assert_eq",
    "assert_ne",
    "debug_assert",
    "debug_assert_eq",
    "doc",
];

/// A character count that one line stands for, whatever the wrapping of the file.
const LINE: usize = 100;

/// A line of public text and its place.
struct Line {
    place: String,
    text: String,
}

struct List {
    name: String,
    per_thousand: f64,
    expression: Regex,
    instead: String,
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
            instead: next().expect("words to use instead").to_owned(),
            exempt: next().map(|exempt| Regex::new(exempt).expect(name)),
            is_raw: expression.starts_with("(?-i)"),
        }
    }

    fn count(&self, text: &str) -> usize {
        let mut text = if self.is_raw {
            text.to_owned()
        } else {
            normalized(text)
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

/// The text in lower case, with the words of identifiers apart.
fn normalized(text: &str) -> String {
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

/// The files of a path below the root, with their texts.
fn texts(path: &str) -> Vec<(String, String)> {
    let whole = root().join(path);
    if whole.is_dir() {
        let entries = fs::read_dir(&whole).expect("a folder");
        let mut names: Vec<String> = entries
            .map(|entry| entry.expect("an entry").file_name())
            .map(|name| format!("{path}/{}", name.to_string_lossy()))
            .collect();
        names.sort();
        return names.iter().flat_map(|name| texts(name)).collect();
    }
    let text = fs::read_to_string(&whole).unwrap_or_else(|error| panic!("{path}: {error}"));
    vec![(path.to_owned(), text)]
}

fn lines_of(name: &str, text: &str) -> Vec<Line> {
    let numbered = text.lines().zip(1..);
    numbered
        .filter(|(line, _)| !line.trim().is_empty())
        .map(|(line, number)| Line {
            place: format!("{name}:{number}"),
            text: line.trim().to_owned(),
        })
        .collect()
}

/// String literals of at least three words, except those that only a developer reads.
fn literals(name: &str, stream: TokenStream, found: &mut Vec<Line>) {
    let mut is_for_developers = false;
    for token in stream {
        match token {
            TokenTree::Group(group) => {
                let is_skipped = is_for_developers && group.delimiter() != Delimiter::Brace;
                if !is_skipped {
                    literals(name, group.stream(), found);
                }
                is_for_developers = false;
            }
            TokenTree::Ident(ident) => {
                is_for_developers = FOR_DEVELOPERS.iter().any(|word| ident == word);
            }
            // `assert!(…)`, and `doc = "…"`, which is a comment of the source.
            TokenTree::Punct(mark) if matches!(mark.as_char(), '!' | '=') => {}
            TokenTree::Punct(_) => is_for_developers = false,
            TokenTree::Literal(literal) => {
                let text = literal.to_string();
                let is_text = text.starts_with(['"', 'r', 'b']) && text.split(' ').count() > 2;
                if is_text && !is_for_developers {
                    let line = literal.span().start().line;
                    found.push(Line {
                        place: format!("{name}:{line}"),
                        text: text.replace("\\\n", " "),
                    });
                }
                is_for_developers = false;
            }
        }
    }
}

fn source_lines() -> Vec<Line> {
    let mut found = Vec::new();
    let files = SOURCES.iter().flat_map(|folder| texts_of_sources(folder));
    for (name, text) in files {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let stream = TokenStream::from_str(text).unwrap_or_else(|error| panic!("{name}: {error}"));
        literals(&name, stream, &mut found);
    }
    found
}

fn texts_of_sources(folder: &str) -> Vec<(String, String)> {
    let whole = root().join(folder);
    let mut sources = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(&whole)
        .expect("a folder of sources")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    entries.sort();
    for path in entries {
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let below = format!("{folder}/{name}");
        if path.is_dir() {
            sources.extend(texts_of_sources(&below));
        } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
            sources.extend(texts(&below));
        }
    }
    sources
}

/// Summaries, descriptions, titles and details, one line for each paragraph.
fn document_lines() -> Vec<Line> {
    fn walk(place: &str, value: &serde_json::Value, found: &mut Vec<Line>) {
        match value {
            serde_json::Value::String(text) if text.split(' ').count() > 1 => {
                found.extend(lines_of(place, text));
            }
            serde_json::Value::Array(values) => {
                values.iter().for_each(|value| walk(place, value, found));
            }
            serde_json::Value::Object(fields) => {
                for (name, value) in fields {
                    walk(&format!("{place}/{name}"), value, found);
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    walk("openapi", &crate::contract::DOCUMENT, &mut found);
    // Names of operations, schemas and fields, as identifiers of generated clients.
    for (_, operations) in crate::contract::DOCUMENT["paths"]
        .as_object()
        .expect("paths")
    {
        for operation in operations.as_object().expect("operations").values() {
            let name = operation["operationId"].as_str().unwrap_or_default();
            found.extend(lines_of("openapi/operationId", name));
        }
    }
    found
}

/// The help of a command and of all commands below it.
fn help_lines(command: &[&str], found: &mut Vec<Line>) {
    let arguments: Vec<&str> = command.iter().copied().chain(["--help"]).collect();
    let output = run(&arguments, [("NO_COLOR", "1")], "");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{arguments:?}: {text}");
    let place = format!("latchkey {}", arguments.join(" "));
    found.extend(lines_of(&place, &text));
    let commands = text.lines().skip_while(|line| *line != "Commands:").skip(1);
    let names = commands
        .take_while(|line| !line.trim().is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help");
    for name in names {
        let below: Vec<&str> = command.iter().copied().chain([name]).collect();
        help_lines(&below, found);
    }
}

fn public_lines() -> Vec<Line> {
    let mut lines = Vec::new();
    for (name, text) in FILES.iter().flat_map(|path| texts(path)) {
        if !EXEMPT.contains(&name.as_str()) {
            lines.extend(lines_of(&name, &text));
        }
    }
    lines.extend(source_lines());
    lines.extend(document_lines());
    help_lines(&[], &mut lines);
    lines
}

#[test]
fn public_texts_use_standard_words() {
    let lines = public_lines();
    let size: usize = lines
        .iter()
        .map(|line| line.text.len().div_ceil(LINE))
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
                "\n{}: {count} hits, {allowed} allowed; use instead: {}\n",
                list.name, list.instead
            );
            for (line, _) in hits {
                report += &format!("  {}: {}\n", line.place, line.text);
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
