//! The table, and the same as JSON.

use serde_json::{Value, json};

use crate::{
    machine::Machine,
    rounds::{Measured, Sample},
};

/// Median, smallest and largest of the rounds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    /// Nothing for nothing.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
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

    /// Median, smallest and largest.
    pub fn text(self) -> String {
        format!("{:.2} ({:.2}–{:.2})", self.median, self.min, self.max)
    }

    /// For programs.
    pub fn json(self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

const HEADS: [&str; 13] = [
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

/// A column of the samples, as the table and programs call it.
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
        |count| format!("{:.2}", not_below_zero(count)),
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
        |sample| sample.refused,
        |share| format!("{:.2} %", share * 100.0),
    ),
];

/// The aligned table.
pub fn table(measured: &[Measured]) -> String {
    let mut lines = vec![HEADS.map(str::to_owned).to_vec()];
    for one in measured {
        let name = format!(
            "{}, {} callers",
            one.row.name.trim_end_matches(" at 4 callers"),
            one.row.callers
        );
        let last = if one.failure.is_some() { "FAILED" } else { "" };
        lines.push(line(name, &one.ours, [last.to_owned(), String::new()]));
        let aims = one
            .row
            .aim
            .into_iter()
            .map(|aim| format!("{aim:.2}"))
            .chain(std::iter::repeat(String::new()));
        for ((floor, samples), aim) in one.row.floors.iter().zip(&one.floors).zip(aims) {
            lines.push(line(
                format!("  {}", floor.name()),
                samples,
                [ratio_text(&one.ours, samples), aim],
            ));
        }
    }
    let failures = measured.iter().filter_map(|one| {
        Some(format!(
            "\n{} failed: {}",
            one.row.name,
            one.failure.as_ref()?
        ))
    });
    [aligned(&lines)].into_iter().chain(failures).collect()
}

fn line(name: String, samples: &[Sample], last: [String; 2]) -> Vec<String> {
    let rate = Spread::of(samples.iter().map(|sample| sample.rate));
    let mut cells = vec![name];
    cells.push(rate.map_or_else(String::new, |rate| grouped(rate.median)));
    cells.push(rate.map_or_else(String::new, |rate| {
        format!("({}–{})", grouped(rate.min), grouped(rate.max))
    }));
    for (_, value, text) in COLUMNS {
        let spread = Spread::of(samples.iter().filter_map(value));
        cells.push(spread.map_or_else(|| "–".to_owned(), |spread| text(spread.median)));
    }
    cells.extend(last);
    cells
}

/// A gateway under load renews its lease a little later than an idle one.
fn not_below_zero(count: f64) -> f64 {
    count.max(0.0)
}

/// Round by round, so that what slowed both counts for neither.
fn ratio(ours: &[Sample], floor: &[Sample]) -> Option<Spread> {
    Spread::of(
        ours.iter()
            .zip(floor)
            .map(|(ours, floor)| ours.rate / floor.rate),
    )
}

fn ratio_text(ours: &[Sample], floor: &[Sample]) -> String {
    ratio(ours, floor).map_or_else(String::new, Spread::text)
}

/// Columns of the same width; all but the first to the right.
pub fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let width = |at: usize| {
        lines
            .iter()
            .filter_map(|line| line.get(at))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns)
        .map(|at| width(at).unwrap_or_default())
        .collect();
    let padded = |line: &Vec<String>| {
        let cell = |(at, cell): (usize, &String)| match at {
            0 => format!("{cell:<width$}", width = widths[at]),
            _ => format!("{cell:>width$}", width = widths[at]),
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

/// `123,456`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let comma = |at: usize| at > 0 && (digits.len() - at).is_multiple_of(3);
    digits
        .char_indices()
        .flat_map(|(at, digit)| comma(at).then_some(',').into_iter().chain([digit]))
        .collect()
}

/// Everything, also the single rounds.
pub fn json(machine: &Machine, measured: &[Measured], seconds: u64) -> Value {
    let row = |one: &Measured| {
        let floor = |(floor, samples): (&crate::rows::Floor, &Vec<Sample>)| {
            let mut value = samples_json(samples);
            value["name"] = json!(floor.name());
            value["ratio"] = json!(ratio(&one.ours, samples).map(Spread::json));
            value
        };
        let mut value = samples_json(&one.ours);
        value["name"] = json!(one.row.name);
        value["callers"] = json!(one.row.callers);
        value["target"] = json!(one.row.aim);
        value["failure"] = json!(one.failure);
        value["baselines"] = one.row.floors.iter().zip(&one.floors).map(floor).collect();
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
        "per_second": Spread::of(rates.iter().copied()).map(Spread::json),
        "rounds": rates,
    });
    for (name, of, _) in COLUMNS {
        value[name] = json!(Spread::of(samples.iter().filter_map(of)).map(Spread::json));
    }
    value
}
