//! Joins the lines of each paragraph in descriptions. The framework keeps the line breaks of doc
//! comments, and how the source is wrapped must not change the document.

use serde_json::Value;

/// Joins the lines of every description below this value, except in examples, which are data.
pub fn join(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut().filter(|(name, _)| *name != "example") {
                match field {
                    Value::String(text) if name == "description" => *text = join_lines(text),
                    other => join(other),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(join),
        _scalar => {}
    }
}

/// Joins soft line breaks (CommonMark section 6.8): each paragraph and list item becomes one line.
/// Code between fences and tables keep their lines.
fn join_lines(text: &str) -> String {
    let mut joined = String::with_capacity(text.len());
    let mut in_code = false;
    let mut previous = "";
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        let continues_paragraph = !in_code && !is_fence && is_text(previous) && is_text(line);
        if continues_paragraph && !starts_item(line) {
            joined.push(' ');
            joined.push_str(line.trim_start());
        } else {
            if !joined.is_empty() {
                joined.push('\n');
            }
            joined.push_str(line);
        }
        in_code ^= is_fence;
        previous = line;
    }
    if text.ends_with('\n') {
        joined.push('\n');
    }
    joined
}

/// Whether the line belongs to a paragraph or a list item.
fn is_text(line: &str) -> bool {
    let line = line.trim_start();
    !line.is_empty() && !line.starts_with(['|', '#']) && !line.starts_with("```")
}

fn starts_item(line: &str) -> bool {
    let line = line.trim_start();
    let number = line.trim_start_matches(|c: char| c.is_ascii_digit());
    line.starts_with("- ")
        || line.starts_with("* ")
        || (number.len() < line.len() && number.starts_with(". "))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paragraphs_and_items_become_one_line_each() {
        for (text, expected) in [
            ("one\ntwo", "one two"),
            ("one\n\ntwo\nthree\n", "one\n\ntwo three\n"),
            (
                "list:\n- one\n  more\n- two\n1. three",
                "list:\n- one more\n- two\n1. three",
            ),
            ("1990 was\n12.5 long", "1990 was 12.5 long"),
            ("```\na\nb\n```\nc\nd", "```\na\nb\n```\nc d"),
            ("| a |\n|---|\n| b |\nc", "| a |\n|---|\n| b |\nc"),
            ("# Title\ntext\nmore", "# Title\ntext more"),
            ("", ""),
        ] {
            assert_eq!(join_lines(text), expected);
            assert_eq!(join_lines(expected), expected, "idempotent");
        }
    }

    #[test]
    fn only_descriptions_change() {
        let mut document = json!({
            "description": "a\nb",
            "title": "a\nb",
            "properties": { "description": { "description": "c\nd" } },
            "example": { "description": "e\nf" },
            "list": [{ "description": "g\nh" }],
        });
        join(&mut document);
        let expected = json!({
            "description": "a b",
            "title": "a\nb",
            "properties": { "description": { "description": "c d" } },
            "example": { "description": "e\nf" },
            "list": [{ "description": "g h" }],
        });
        assert_eq!(document, expected);
    }
}
