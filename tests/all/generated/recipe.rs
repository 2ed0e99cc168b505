//! Commands that generate, compile, and run a client, and their durations.

use std::{
    fmt::{Display, Formatter},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The commands for the client of one language.
pub struct Recipe {
    /// The generator, with its version.
    pub generator: String,
    /// Texts in warnings of the generator that no document can avoid.
    pub known_warnings: &'static [&'static str],
    pub generate: Command,
    pub compile: Vec<Command>,
    pub run: Command,
}

impl Recipe {
    /// Generates, compiles, and runs the client. Returns its output and the durations.
    pub async fn complete(self) -> Result<(String, Row), String> {
        let started_at = Instant::now();
        let (stdout, stderr) = run_command(self.generate).await?;
        // Some generators write warnings to stdout, others to stderr.
        let warnings = find_unknown_warnings(&format!("{stdout}{stderr}"), self.known_warnings);
        if !warnings.is_empty() {
            return Err(format!("the generator warns:\n{warnings}"));
        }
        let generated = started_at.elapsed();
        for command in self.compile {
            run_command(command).await?;
        }
        let compiled = started_at.elapsed() - generated;
        let (output, _) = run_command(self.run).await?;
        let ran = started_at.elapsed() - generated - compiled;
        Ok((
            output,
            Row {
                generator: self.generator,
                generated,
                compiled,
                ran,
            },
        ))
    }
}

/// Returns stdout and stderr, or an error with both if the command failed.
async fn run_command(mut command: Command) -> Result<(String, String), String> {
    let name = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("no panic");
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        Ok((stdout, stderr))
    } else {
        Err(format!("{name}\n{stdout}{stderr}"))
    }
}

/// Returns the lines with warnings that contain no known text.
fn find_unknown_warnings(output: &str, known: &[&str]) -> String {
    let is_warning = |line: &&str| {
        ["WARN", "ERROR", "Warning", "⚠", "✘"]
            .iter()
            .any(|prefix| line.contains(prefix))
    };
    let is_known = |line: &&str| known.iter().any(|part| line.contains(part));
    output
        .lines()
        .filter(is_warning)
        .filter(|line| !is_known(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A row in the table of `./dev clients`, without the language.
#[derive(Debug)]
pub struct Row {
    generator: String,
    generated: Duration,
    compiled: Duration,
    ran: Duration,
}

impl Row {
    pub fn header() -> String {
        let names = format!(
            "| {:10} | {:47} | {:9} | {:9} | {:9} |",
            "language", "generator", "generated", "compiled", "ran"
        );
        format!(
            "{names}\n|{0:-<12}|{0:-<49}|{0:-<11}|{0:-<11}|{0:-<11}|",
            ""
        )
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        write!(f, "| {:47} |", self.generator)?;
        [self.generated, self.compiled, self.ran]
            .iter()
            .try_for_each(|time| write!(f, " {:7.1} s |", time.as_secs_f64()))
    }
}

/// Returns a package with the version that `tests/tools` pins.
pub fn pinned_package(package: &str) -> String {
    let npm: Value =
        serde_json::from_str(include_str!("../../tools/package.json")).expect("valid JSON");
    let pypi = include_str!("../../tools/requirements.in")
        .lines()
        .find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    let version = npm["dependencies"][package]
        .as_str()
        .or(pypi)
        .unwrap_or_else(|| panic!("{package} is not pinned"));
    format!("{package} {version}")
}

#[test]
fn unknown_warnings_are_found() {
    let output = "success\n[main] WARN  `type` is a reserved word\n \
        ⚠  no security\nWarning: incomplete client";
    assert_eq!(
        find_unknown_warnings(output, &["is a reserved word"]),
        " ⚠  no security\nWarning: incomplete client"
    );
}
