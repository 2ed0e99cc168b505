//! The table of all metrics: names, types, and texts from their descriptions, and labels from the
//! places that record them.

use std::{collections::BTreeMap, fs};

use latchkey::{config, postgres::ExpiredRows};
use latchkey_domain::key_schedule::KeyState;
use regex::Regex;
use strum::VariantArray;

use super::{
    assert_generated_parts, code_list,
    source::{macro_calls, string_literal},
    table,
};
use crate::published::path;

/// A metric with its text on `/metrics`.
struct Metric {
    name: String,
    kind: String,
    help: String,
}

/// Returns the described metrics, in the order of the source.
fn described_metrics() -> Vec<Metric> {
    let described = macro_calls("metrics").into_iter().filter_map(|call| {
        let kind = call.name.strip_prefix("describe_")?.to_owned();
        let [name, help] = call.arguments.as_slice() else {
            panic!("{}: a description has a name and a text", call.module);
        };
        Some(Metric {
            name: string_literal(name).expect("a literal"),
            kind,
            help: string_literal(help).expect("a literal"),
        })
    });
    described.chain(process_metrics()).collect()
}

/// Returns the metrics of the process, which have no labels.
fn process_metrics() -> Vec<Metric> {
    let source = fs::read_to_string(path("src/http/metrics/process.rs")).expect("the source");
    let declaration = r#"name: "(\w+)",\s+kind: "(\w+)",\s+help: "([^"]+)""#;
    let found = Regex::new(declaration).expect("a valid expression");
    found
        .captures_iter(&source)
        .map(|found| Metric {
            name: found[1].to_owned(),
            kind: found[2].to_owned(),
            help: found[3].to_owned(),
        })
        .collect()
}

/// Returns the labels of each recorded metric. All places must use the same labels.
fn recorded_labels() -> BTreeMap<String, Vec<String>> {
    let mut labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for call in macro_calls("metrics") {
        if call.name.starts_with("describe_") {
            continue;
        }
        let name = string_literal(&call.arguments[0]).expect("the name is a literal");
        let found: Vec<String> = call.arguments[1..]
            .iter()
            .map(|argument| string_literal(&argument[..1]).expect("the label is a literal"))
            .collect();
        let expected = labels.entry(name.clone()).or_insert_with(|| found.clone());
        assert_eq!(*expected, found, "{}: {name}", call.module);
    }
    labels
}

/// The parts of a text: the description without labels, and the values in parentheses after the
/// labels.
struct Help {
    description: String,
    labels: String,
    values: Option<String>,
}

impl Help {
    fn parse(text: &str) -> Help {
        let expression = r"^(.*?)(?:, by ([a-z]+(?: and [a-z]+)?)(?: \(([^)]*)\))?(; .*)?)?$";
        let parts = Regex::new(expression).expect("a valid expression");
        let parts = parts.captures(text).expect("one line");
        let part = |at: usize| parts.get(at).map(|part| part.as_str().to_owned());
        Help {
            description: part(1).unwrap_or_default() + &part(4).unwrap_or_default(),
            labels: part(2).unwrap_or_default(),
            values: part(3),
        }
    }
}

/// Returns the values of a label: from the code, or else from the text on `/metrics`.
fn label_values(metric: &str, label: &str, help: &Help) -> String {
    match (metric, label) {
        ("latchkey_audit_events_total", "event") => "an [audit event](audit-events.md)".to_owned(),
        ("latchkey_build_info", "version") => "version of the program".to_owned(),
        ("latchkey_http_request_duration_seconds", "operation") => {
            "`operationId` in the OpenAPI document, or `none`".to_owned()
        }
        ("latchkey_http_request_duration_seconds", "status") => "HTTP status".to_owned(),
        ("latchkey_rate_limit_decisions_total", "limit") => code_list(bucket_names()),
        ("latchkey_revocations_total", "kind") => code_list(revocation_kinds()),
        ("latchkey_signing_keys", "state") => {
            code_list(KeyState::VARIANTS.iter().map(|state| state.as_str()))
        }
        ("latchkey_cleanup_removed_total", "kind") => {
            let rows = ExpiredRows::VARIANTS.iter().map(|kind| kind.into_str());
            format!("{}, `audit_months` (partitions)", code_list(rows))
        }
        _described => {
            let values = help.values.as_ref();
            let values = values.unwrap_or_else(|| panic!("{metric}: values of {label}"));
            let value = |text: &str| match text.split_once(": ") {
                Some((value, note)) => format!("`{value}` ({note})"),
                None => format!("`{text}`"),
            };
            values.split(", ").map(value).collect::<Vec<_>>().join(", ")
        }
    }
}

/// Returns the kinds of revocations. Changes of identities and probes revoke nothing.
fn revocation_kinds() -> Vec<String> {
    let source = path("crates/domain/src/revocation/entry.rs");
    let source = fs::read_to_string(source).expect("the source");
    let arm = Regex::new(r#"Subject::\w+\(_\) => "(\w+)""#).expect("a valid expression");
    let kinds = arm.captures_iter(&source).map(|found| found[1].to_owned());
    let kinds: Vec<String> = kinds
        .filter(|kind| !["identity", "probe"].contains(&kind.as_str()))
        .collect();
    assert!(kinds.len() >= 5, "{kinds:?}");
    kinds
}

/// Returns the names of the rate limits that have buckets, in the order of their settings.
fn bucket_names() -> Vec<String> {
    let source = fs::read_to_string(path("src/app/limits/rate_limits.rs")).expect("the source");
    let bucket = Regex::new(r#"new_bucket\(\s*"(\w+)""#).expect("a valid expression");
    let used: Vec<&str> = bucket
        .captures_iter(&source)
        .map(|found| found.get(1).expect("a name").as_str())
        .collect();
    let settings = config::SETTINGS.iter();
    let names = settings.filter_map(|setting| setting.variable.strip_prefix("LATCHKEY_LIMIT_"));
    let names: Vec<String> = names
        .map(str::to_lowercase)
        .filter(|name| used.contains(&name.as_str()))
        .collect();
    assert!(
        used.iter()
            .all(|name| names.iter().any(|known| known == name))
    );
    names
}

/// Returns the upper bounds of the buckets of all histograms.
fn buckets() -> String {
    let source = fs::read_to_string(path("src/http/metrics.rs")).expect("the source");
    let (_, rest) = source
        .split_once("DURATION_BUCKETS: &[f64] = &[")
        .expect("the declaration");
    let (bounds, _) = rest.split_once(']').expect("the end of the list");
    let bounds = bounds.split(',').map(str::trim);
    code_list(bounds.filter(|bound| !bound.is_empty())) + "\n"
}

/// Returns the unit of the value.
fn unit(metric: &Metric) -> &'static str {
    let Metric { name, kind, help } = metric;
    match () {
        () if name.contains("_seconds") => "seconds",
        () if name.ends_with("_bytes") => "bytes",
        () if kind == "counter" => "count",
        () if help.contains("(1)") && help.contains("(0)") => "1 or 0",
        () if help.ends_with("always 1") => "1",
        () => "count",
    }
}

fn row(metric: &Metric, labels: &[String]) -> Vec<String> {
    let help = Help::parse(&metric.help);
    let described: Vec<&str> = help
        .labels
        .split(" and ")
        .filter(|name| !name.is_empty())
        .collect();
    assert_eq!(
        described, labels,
        "the labels in the text of {}",
        metric.name
    );
    let labels: Vec<String> = labels
        .iter()
        .map(|label| format!("`{label}`: {}", label_values(&metric.name, label, &help)))
        .collect();
    vec![
        format!("`{}`", metric.name),
        metric.kind.clone(),
        unit(metric).to_owned(),
        labels.join("<br>"),
        help.description,
    ]
}

#[test]
fn metrics_page_is_current() {
    let mut recorded = recorded_labels();
    let rows: Vec<Vec<String>> = described_metrics()
        .iter()
        .map(|metric| row(metric, &recorded.remove(&metric.name).unwrap_or_default()))
        .collect();
    assert!(recorded.is_empty(), "not described: {:?}", recorded.keys());
    let header = ["metric", "type", "unit", "labels", "description"];
    assert_generated_parts(
        "docs/reference/metrics.md",
        &[("metrics", table(&header, rows)), ("buckets", buckets())],
    );
}
