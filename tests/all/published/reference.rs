//! The generated parts of the pages in `docs`, each between two comments with its name.
//! The rest of the pages is written by hand.

mod audit_events;
mod command_line; // the help of all commands, and their exit codes
mod log_events;
mod metrics;
mod source; // macro calls in the source of the server

use std::fs;

use latchkey::{config, error::Code};
use latchkey_domain::{account::RESERVED_USERNAMES, scope::Scope};
use serde_json::Value;

use super::{assert_generated, path};
use crate::contract::{is_open, operations};

/// Asserts that a page contains these texts between their markers.
fn assert_generated_parts(page: &str, parts: &[(&str, String)]) {
    assert_generated(page, &page_with(page, parts));
}

/// Returns a page with the text between each pair of markers replaced.
fn page_with(page: &str, parts: &[(&str, String)]) -> String {
    let text = fs::read_to_string(path(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
    parts.iter().fold(text, |text, (name, part)| {
        let (start, end) = (format!("<!-- {name} -->\n"), format!("<!-- /{name} -->"));
        let (before, rest) = text
            .split_once(&start)
            .unwrap_or_else(|| panic!("{page} doesn't contain {start}"));
        let (_, after) = rest
            .split_once(&end)
            .unwrap_or_else(|| panic!("{page} doesn't contain {end}"));
        format!("{before}{start}{part}{end}{after}")
    })
}

/// Returns a table. A cell can contain any text.
fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let escaped = |cells: Vec<String>| -> Vec<String> {
        let cells = cells.iter();
        cells
            .map(|cell| cell.replace('|', "\\|").replace('\n', " "))
            .collect()
    };
    let header_cells: Vec<String> = header.iter().map(|&name| name.to_owned()).collect();
    let rows = rows.into_iter().map(|row| line(&escaped(row)));
    format!(
        "{}|{}\n{}",
        line(&header_cells),
        "---|".repeat(header.len()),
        rows.collect::<String>()
    )
}

/// Returns texts as a list of code.
fn code_list<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let texts: Vec<String> = texts
        .into_iter()
        .map(|text| format!("`{}`", text.as_ref()))
        .collect();
    texts.join(", ")
}

/// Returns the security requirements of an operation. Each is an alternative.
fn requirements(operation: &Value) -> impl Iterator<Item = &Value> {
    operation["security"].as_array().into_iter().flatten()
}

/// Returns the scopes that an operation requires. Several are alternatives.
fn required_scopes(operation: &Value) -> Vec<&str> {
    let scopes = requirements(operation).filter_map(|requirement| {
        requirement["password"]
            .as_array()
            .or(requirement["clientCredentials"].as_array())
    });
    scopes.flatten().filter_map(Value::as_str).collect()
}

/// Returns the callers that can use the operation, and the required scope.
fn access(operation: &Value) -> String {
    if is_open(operation) {
        return "public".to_owned();
    }
    if requirements(operation).any(|requirement| requirement.get("clientBasic").is_some()) {
        return "OAuth clients".to_owned();
    }
    match required_scopes(operation).as_slice() {
        [] => "user token".to_owned(),
        ["admin"] => "admin, `admin`".to_owned(),
        [scope] => format!("user token, `{scope}`"),
        several => format!("admin or OAuth client, {}", code_list(several)),
    }
}

fn operations_table() -> String {
    let rows = operations("{id}")
        .into_iter()
        .map(|(method, path, operation)| {
            vec![
                format!("`{method} {path}`"),
                operation["summary"].as_str().unwrap_or_default().to_owned(),
                access(operation),
            ]
        });
    table(&["Operation", "Description", "Access"], rows)
}

fn problems_table() -> String {
    let rows = Code::ALL.iter().map(|code| {
        vec![
            code.status().to_string(),
            format!("`{}`", code.slug()),
            code.title().to_owned(),
            code.fix().to_owned(),
        ]
    });
    table(&["status", "code", "meaning", "what to do"], rows)
}

fn scopes_table() -> String {
    let row = |scope: &str| {
        let required = operations("{id}")
            .into_iter()
            .filter(|(_, _, operation)| required_scopes(operation).contains(&scope));
        let names = required.map(|(method, path, _)| format!("{method} {path}"));
        vec![format!("`{scope}`"), code_list(names)]
    };
    let rows = Scope::ALL.iter().map(|scope| row(scope.as_str()));
    table(&["scope", "operations that require it"], rows)
}

#[test]
fn operations_page_is_current() {
    assert_generated_parts(
        "docs/reference/operations.md",
        &[("operations", operations_table())],
    );
}

#[test]
fn errors_page_is_current() {
    assert_generated_parts(
        "docs/reference/errors.md",
        &[("problems", problems_table())],
    );
}

#[test]
fn settings_page_is_current() {
    assert_generated_parts(
        "docs/reference/settings.md",
        &[("settings", config::reference_table())],
    );
}

#[test]
fn scopes_page_is_current() {
    assert_generated_parts("docs/reference/scopes.md", &[("scopes", scopes_table())]);
}

#[test]
fn reserved_usernames_are_listed() {
    assert_generated_parts(
        "docs/how-to/administer-users.md",
        &[(
            "reserved usernames",
            format!("{}\n", code_list(RESERVED_USERNAMES)),
        )],
    );
}

#[test]
fn rate_limits_page_explains_every_rate_limit() {
    let page = fs::read_to_string(path("docs/reference/rate-limits.md")).expect("the page");
    let (_, limits) = page.split_once("\n## Limits\n").expect("a section");
    let limits = limits.split("\n## ").next().unwrap_or_default();
    for setting in config::SETTINGS
        .iter()
        .filter(|setting| setting.variable.starts_with("LATCHKEY_LIMIT_"))
    {
        let row = format!(
            "| `{}` | `{}` | ",
            setting.variable,
            setting.default.expect("a default")
        );
        assert!(limits.contains(&row), "{row}");
    }
}

#[test]
fn cells_are_escaped() {
    let cells = vec!["a|b".to_owned(), "c\nd".to_owned()];
    assert_eq!(
        table(&["x", "y"], [cells]),
        "| x | y |\n|---|---|\n| a\\|b | c d |\n"
    );
}
