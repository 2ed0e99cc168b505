//! The results as a table and as JSON.

use serde_json::{Value, json};

use crate::{
    machine::Machine,
    rounds::{RowResult, Sample},
};

/// Median, minimum, and maximum of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Returns `None` for an empty iterator.
    pub fn from_values(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Spread { median, min, max })
    }

    /// Formats the values as `median (min–max)`.
    pub fn text(self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.min, self.max)
    }

    pub fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

const COLUMN_HEADERS: [&str; 13] = [
    "row",
    "per second",
    "(min–max)",
    "p50 ms",
    "p99 ms",
    "server µs",
    "Redis µs",
    "Redis commands",
    "PostgreSQL µs",
    "peak MB",
    "rejected",
    "ratio (min–max)",
    "target",
];

/// A column: its JSON name, its value, and its format in the table.
type Column = (&'static str, fn(&Sample) -> Option<f64>, fn(f64) -> String);

const COLUMNS: [Column; 8] = [
    (
        "p50_us",
        |sample| sample.p50,
        |micros| format!("{:.2}", micros / 1000.0),
    ),
    (
        "p99_us",
        |sample| sample.p99,
        |micros| format!("{:.2}", micros / 1000.0),
    ),
    (
        "server_us",
        |sample| sample.server,
        |micros| format!("{micros:.1}"),
    ),
    (
        "redis_us",
        |sample| sample.redis,
        |micros| format!("{micros:.1}"),
    ),
    (
        "redis_commands",
        |sample| sample.commands,
        |count| format!("{:.2}", clamp_to_zero(count)),
    ),
    (
        "postgres_us",
        |sample| sample.postgres,
        |micros| format!("{micros:.1}"),
    ),
    (
        "memory_bytes",
        |sample| sample.memory,
        |bytes| format!("{:.0}", bytes / 1e6),
    ),
    (
        "rejected",
        |sample| sample.rejected,
        |share| format!("{:.2} %", share * 100.0),
    ),
];

/// Formats the results as an aligned table.
pub fn table(measured: &[RowResult]) -> String {
    let mut lines = vec![COLUMN_HEADERS.map(str::to_owned).to_vec()];
    for result in measured {
        let name = format!(
            "{}, {} callers",
            result.row.name.trim_end_matches(" at 4 callers"),
            result.row.callers
        );
        let last = if result.failure.is_some() {
            "FAILED"
        } else {
            ""
        };
        lines.push(line(
            name,
            &result.server_samples,
            [last.to_owned(), String::new()],
        ));
        let targets = result
            .row
            .target
            .into_iter()
            .map(|target| format!("{target:.2}"))
            .chain(std::iter::repeat(String::new()));
        for ((baseline, samples), target) in result
            .row
            .baselines
            .iter()
            .zip(&result.baseline_samples)
            .zip(targets)
        {
            lines.push(line(
                format!("  {}", baseline.name()),
                samples,
                [ratio_text(&result.server_samples, samples), target],
            ));
        }
    }
    let failures = measured.iter().filter_map(|result| {
        Some(format!(
            "\n{} failed: {}",
            result.row.name,
            result.failure.as_ref()?
        ))
    });
    [align_columns(&lines)]
        .into_iter()
        .chain(failures)
        .collect()
}

fn line(name: String, samples: &[Sample], last: [String; 2]) -> Vec<String> {
    let rate = Spread::from_values(samples.iter().map(|sample| sample.rate));
    let mut cells = vec![name];
    cells.push(rate.map_or_else(String::new, |rate| group_digits(rate.median)));
    cells.push(rate.map_or_else(String::new, |rate| {
        format!("({}–{})", group_digits(rate.min), group_digits(rate.max))
    }));
    for (_, value, text) in COLUMNS {
        let spread = Spread::from_values(samples.iter().filter_map(value));
        cells.push(spread.map_or_else(|| "–".to_owned(), |spread| text(spread.median)));
    }
    cells.extend(last);
    cells
}

/// Avoids negative counts: a server under load renews its lease a little later than an idle one.
fn clamp_to_zero(count: f64) -> f64 {
    count.max(0.0)
}

/// Divides the rates round by round, so that a slowdown of the machine affects both.
fn ratio(server: &[Sample], baseline: &[Sample]) -> Option<Spread> {
    Spread::from_values(
        server
            .iter()
            .zip(baseline)
            .map(|(server, baseline)| server.rate / baseline.rate),
    )
}

fn ratio_text(server: &[Sample], baseline: &[Sample]) -> String {
    ratio(server, baseline).map_or_else(String::new, Spread::text)
}

/// Aligns the columns. All columns but the first are right-aligned.
pub fn align_columns(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |index: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(index))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|index| width(index).unwrap_or_default())
        .collect();
    let padded = |line: &Vec<String>| {
        let cell = |(index, cell): (usize, &String)| match index {
            0 => format!("{cell:<width$}", width = widths[index]),
            _ => format!("{cell:>width$}", width = widths[index]),
        };
        line.iter()
            .enumerate()
            .map(cell)
            .collect::<Vec<_>>()
            .join("  ")
            .trim_end()
            .to_owned()
    };
    lines.iter().map(padded).collect::<Vec<_>>().join("\n")
}

/// Formats a number with thousands separators, such as `123,456`.
pub fn group_digits(number: f64) -> String {
    let digits = format!("{number:.0}");
    let comma = |index: usize| index > 0 && (digits.len() - index).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(index, digit)| comma(index).then_some(',').into_iter().chain([digit]))
        .collect()
}

/// Returns all results as JSON, including the single rounds.
pub fn json(machine: &Machine, measured: &[RowResult], seconds: u64) -> Value {
    let row = |result: &RowResult| {
        let baseline = |(baseline, samples): (&crate::rows::Baseline, &Vec<Sample>)| {
            let mut value = samples_json(samples);
            value["name"] = json!(baseline.name());
            value["ratio"] = json!(ratio(&result.server_samples, samples).map(Spread::json));
            value
        };
        let mut value = samples_json(&result.server_samples);
        value["name"] = json!(result.row.name);
        value["callers"] = json!(result.row.callers);
        value["target"] = json!(result.row.target);
        value["failure"] = json!(result.failure);
        value["baselines"] = result
            .row
            .baselines
            .iter()
            .zip(&result.baseline_samples)
            .map(baseline)
            .collect();
        value
    };
    json!({
        "machine": machine.json(),
        "seconds": seconds,
        "rows": measured.iter().map(row).collect::<Vec<_>>(),
    })
}

fn samples_json(samples: &[Sample]) -> Value {
    let rates: Vec<f64> = samples.iter().map(|sample| sample.rate).collect();
    let mut value = json!({
        "per_second": Spread::from_values(rates.iter().copied()).map(Spread::json),
        "rounds": rates,
    });
    for (name, value_of, _) in COLUMNS {
        value[name] =
            json!(Spread::from_values(samples.iter().filter_map(value_of)).map(Spread::json));
    }
    value
}
