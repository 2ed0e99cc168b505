//! The table of log events, from the calls of `tracing` in the source. Events at the levels `debug`
//! and `trace` are for developers, and are not part of it.

use proc_macro2::TokenTree;

use super::{
    assert_generated_parts, code_list,
    source::{MacroCall, macro_calls, string_literal},
    table,
};

/// The levels of the listed events.
const LEVELS: [&str; 3] = ["error", "warn", "info"];

/// The call that logs all audit events. Its level and its message depend on the event.
const AUDIT_CALL: &str = "$level";

/// Returns the name of a field: `name = value`, `%name`, `?name`, or `name`.
fn field_name(argument: &[TokenTree]) -> String {
    let name = argument
        .iter()
        .take_while(|token| token.to_string() != "=")
        .map(ToString::to_string)
        .collect::<String>();
    name.trim_start_matches(['%', '?']).to_owned()
}

/// Returns the target that the arguments set.
fn explicit_target(argument: &[TokenTree]) -> bool {
    let words: Vec<String> = argument.iter().take(2).map(ToString::to_string).collect();
    words == ["target", ":"]
}

fn row(call: &MacroCall) -> Vec<String> {
    let is_message = |argument: &Vec<TokenTree>| string_literal(argument).is_some();
    let end = call.arguments.iter().position(is_message);
    let end = end.unwrap_or_else(|| panic!("{}: an event without a message", call.module));
    let has_target = explicit_target(&call.arguments[0]);
    let fields = &call.arguments[usize::from(has_target)..end];
    let fields = code_list(fields.iter().map(|field| field_name(field)));
    let message = string_literal(&call.arguments[end]).unwrap_or_default();
    if call.name == AUDIT_CALL {
        assert!(has_target, "audit events have a target of their own");
        let (level, message) = (
            "info or warn",
            "the message of the [audit event](audit-events.md)",
        );
        return vec![
            level.to_owned(),
            message.to_owned(),
            fields,
            "`audit`".to_owned(),
        ];
    }
    assert!(
        !has_target && !message.contains('{'),
        "{}: {message}",
        call.module
    );
    vec![
        call.name.clone(),
        message,
        fields,
        format!("`{}`", call.module),
    ]
}

#[test]
fn log_events_page_is_current() {
    let calls = macro_calls("tracing");
    let is_audit = |call: &MacroCall| call.name == AUDIT_CALL;
    assert_eq!(calls.iter().filter(|call| is_audit(call)).count(), 1);
    let is_listed = |call: &&MacroCall| LEVELS.contains(&call.name.as_str()) || is_audit(call);
    let mut rows: Vec<Vec<String>> = calls.iter().filter(is_listed).map(row).collect();
    rows.sort_by(|one, other| one[3].cmp(&other[3]));
    assert!(rows.len() > 40, "{}", rows.len());
    let header = ["level", "message", "fields", "target"];
    assert_generated_parts(
        "docs/reference/log-events.md",
        &[("events", table(&header, rows))],
    );
}
