//! Compares the output of a block with the sample in the page.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use super::blocks::Block;

/// Values that differ in each run, and the texts that replace them in the sample and in the output.
static VARIABLE_VALUES: LazyLock<[(Regex, &str); 3]> = LazyLock::new(|| {
    [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "UUID",
        ),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
        // Nanoseconds in unique names.
        (r"\d{19}", "NUMBER"),
    ]
    .map(|(expression, name)| (Regex::new(expression).expect("a valid expression"), name))
});

/// Returns whether an output is that of a sample. In the sample, `…` stands for any text in a line.
/// IDs and times can differ. JSON can have other white space.
pub fn is_expected(sample: &Block, output: &[&str]) -> bool {
    let (sample_text, output) = (
        normalize(&sample.lines.join("\n")),
        normalize(&output.join("\n")),
    );
    if sample.language == "json" {
        let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
        let (sample, found) = (parse(&sample_text), parse(&output));
        return sample
            .zip(found)
            .is_some_and(|(sample, found)| matches_json(&sample, &found));
    }
    sample_text.lines().count() == output.lines().count()
        && sample_text
            .lines()
            .zip(output.lines())
            .all(|(pattern, line)| matches(pattern.trim_end(), line.trim_end()))
}

fn normalize(text: &str) -> String {
    let values = VARIABLE_VALUES.iter();
    values.fold(text.to_owned(), |text, (expression, name)| {
        expression.replace_all(&text, *name).into_owned()
    })
}

fn matches_json(pattern: &Value, found: &Value) -> bool {
    match (pattern, found) {
        (Value::Object(pattern), Value::Object(found)) => {
            pattern.len() == found.len()
                && pattern.iter().all(|(name, value)| {
                    let found = found.get(name);
                    found.is_some_and(|found| matches_json(value, found))
                })
        }
        (Value::Array(pattern), Value::Array(found)) => {
            pattern.len() == found.len()
                && pattern
                    .iter()
                    .zip(found)
                    .all(|(pattern, found)| matches_json(pattern, found))
        }
        (Value::String(pattern), Value::String(found)) => matches(pattern, found),
        (pattern, found) => pattern == found,
    }
}

/// Returns whether a line matches a pattern, in which `…` stands for any text.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(rest) = line.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    let rest = middle.iter().try_fold(rest, |rest, part| {
        rest.split_once(part).map(|(_, after)| after)
    });
    rest.is_some_and(|rest| rest.ends_with(last))
}

#[test]
fn ellipsis_matches_any_text() {
    assert!(matches("a … c", "a b c") && matches("…", "") && matches("id: …", "id: 1"));
    assert!(matches("a … b … c", "a 1 b 2 c") && matches("same", "same"));
    assert!(!matches("a … c", "a b d") && !matches("same", "other") && !matches("a…b…c", "ac"));
}

#[test]
fn ids_times_and_white_space_of_json_can_differ() {
    let sample = |language: &str, lines: &[&str]| Block {
        document: "a.md".to_owned(),
        first_line: 1,
        language: language.to_owned(),
        marker: super::blocks::Marker::Output,
        lines: lines.iter().map(|&line| line.to_owned()).collect(),
    };
    let id = "019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42";
    let other = "01a22cf8-8776-766f-9994-d82b8caadf40 at 2026-11-30T15:00:11.597917Z ";
    let text = sample("text", &[&format!("{id} at 2026-11-20T08:00:00Z")]);
    assert!(is_expected(&text, &[other]));
    assert!(!is_expected(&text, &[other, "more"]) && !is_expected(&text, &["none"]));
    let json = sample("json", &["{", "\"id\": \"a…\", \"list\": [1]", "}"]);
    assert!(is_expected(&json, &["{\"id\":\"abc\",\"list\":[1]}"]));
    assert!(!is_expected(&json, &["{\"id\":\"abc\",\"list\":[2]}"]));
    assert!(!is_expected(
        &json,
        &["{\"id\":\"abc\",\"list\":[1],\"more\":0}"]
    ));
    assert!(!is_expected(&json, &["200"]));
}
