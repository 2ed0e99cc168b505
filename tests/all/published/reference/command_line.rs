//! The help of all commands, and their exit codes.

use super::{assert_generated_parts, code_list, table};
use crate::program::help_pages;

/// Returns the exit codes in a help text, with their meaning.
fn exit_codes(help: &str) -> Vec<(String, String)> {
    let lines = help.lines().skip_while(|line| *line != "Exit codes:");
    lines
        .skip(1)
        .map_while(|line| line.strip_prefix("  ")?.split_once("  "))
        .map(|(code, meaning)| (code.to_owned(), meaning.to_owned()))
        .collect()
}

fn exit_codes_table() -> String {
    /// Commands, with the codes that they share.
    type Group = (Vec<String>, Vec<(String, String)>);
    let mut groups: Vec<Group> = Vec::new();
    for (command, help) in help_pages() {
        let codes = exit_codes(&help);
        assert!(!codes.is_empty(), "{command} documents no exit codes");
        match groups.iter_mut().find(|(_, known)| *known == codes) {
            Some((commands, _)) => commands.push(command),
            None => groups.push((vec![command], codes)),
        }
    }
    // The largest group needs no list.
    groups.sort_by_key(|(commands, _)| std::cmp::Reverse(commands.len()));
    let rows = groups.iter().enumerate().map(|(at, (commands, codes))| {
        let name = match at {
            0 => "all other commands".to_owned(),
            _listed => code_list(commands),
        };
        let meaning = |code: u8| {
            let found = codes.iter().find(|(known, _)| *known == code.to_string());
            found.map_or("–".to_owned(), |(_, meaning)| meaning.clone())
        };
        assert!(
            codes
                .iter()
                .all(|(code, _)| ["0", "1", "2", "3"].contains(&code.as_str()))
        );
        [name].into_iter().chain((0..4).map(meaning)).collect()
    });
    let rows: Vec<Vec<String>> = rows.collect();
    table(&["command", "0", "1", "2", "3"], rows)
}

fn help_sections() -> String {
    let sections = help_pages().into_iter().map(|(command, help)| {
        let lines = help.trim_end().lines().map(str::trim_end);
        let text = lines.collect::<Vec<_>>().join("\n");
        format!("\n## `{command}`\n\n```text\n{text}\n```\n")
    });
    format!("{}\n", sections.collect::<String>())
}

#[test]
fn command_line_page_is_current() {
    assert_generated_parts("docs/reference/cli.md", &[("commands", help_sections())]);
}

#[test]
fn exit_codes_page_is_current() {
    assert_generated_parts(
        "docs/reference/exit-codes.md",
        &[("exit-codes", exit_codes_table())],
    );
}
