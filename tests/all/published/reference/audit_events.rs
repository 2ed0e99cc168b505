//! The tables of audit events: all kinds, and the fields in the API.

use std::{collections::BTreeMap, fs};

use latchkey_domain::audit::EventKind;
use regex::Regex;

use super::{assert_generated_parts, code_list, table};
use crate::{contract::DOCUMENT, published::path};

/// Returns the levels of the log events of audit events, by variant. `_other` is that of all
/// others.
fn levels() -> BTreeMap<String, String> {
    let source = fs::read_to_string(path("src/postgres/audit.rs")).expect("the source");
    let arm = Regex::new(r"(?:EventKind::)?(\w+) => log_event!\((\w+)\)");
    let arms = arm.expect("a valid expression");
    let levels: BTreeMap<String, String> = arms
        .captures_iter(&source)
        .map(|found| (found[1].to_owned(), found[2].to_owned()))
        .collect();
    assert!(levels.contains_key("_other"), "{levels:?}");
    levels
}

fn events_table() -> String {
    let levels = levels();
    let rows = EventKind::ALL.iter().map(|kind| {
        let level = levels.get(&format!("{kind:?}"));
        vec![
            format!("`{}`", kind.as_str()),
            kind.outcome().as_str().to_owned(),
            level.unwrap_or(&levels["_other"]).clone(),
            kind.message().to_owned(),
        ]
    });
    table(&["event", "outcome", "log level", "log message"], rows)
}

fn fields_table() -> String {
    let fields = DOCUMENT["components"]["schemas"]["AuditEvent"]["properties"].as_object();
    let rows = fields.expect("fields").iter().map(|(name, field)| {
        let text = |key: &str| field[key].as_str().unwrap_or_default().to_owned();
        let format = text("format");
        let kind = if format.is_empty() || text("type") == "integer" {
            text("type")
        } else {
            format
        };
        let null = if field["nullable"] == true {
            " or null"
        } else {
            ""
        };
        let description = text("description");
        vec![code_list([name]), format!("{kind}{null}"), description]
    });
    table(&["field", "type", "content"], rows)
}

#[test]
fn audit_events_page_is_current() {
    assert_generated_parts(
        "docs/reference/audit-events.md",
        &[("events", events_table()), ("fields", fields_table())],
    );
}
