//! How a client is made: commands, one after another, and how long each part of them took.

use std::{
    fmt::{Display, Formatter},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

/// How the client of a language is generated, compiled and run.
pub struct Recipe {
    /// The generator, with its version.
    pub generator: String,
    /// Warnings of the generator that no document could spare it, by what they hold.
    pub known_warnings: &'static [&'static str],
    pub generate: Command,
    pub compile: Vec<Command>,
    pub run: Command,
}

impl Recipe {
    /// Makes the client and runs it; what it told, and how long it took. Or what went wrong.
    pub async fn complete(self) -> Result<(String, Row), String> {
        let began = Instant::now();
        let (stdout, stderr) = output(self.generate).await?;
        // The generators use either.
        let warnings = unknown(&format!("{stdout}{stderr}"), self.known_warnings);
        if !warnings.is_empty() {
            return Err(format!("the generator warns:\n{warnings}"));
        }
        let generated = began.elapsed();
        for command in self.compile {
            output(command).await?;
        }
        let compiled = began.elapsed() - generated;
        let (told, _) = output(self.run).await?;
        let ran = began.elapsed() - generated - compiled;
        Ok((
            told,
            Row {
                generator: self.generator,
                generated,
                compiled,
                ran,
            },
        ))
    }
}

/// What it printed; all of that, where it failed.
async fn output(mut command: Command) -> Result<(String, String), String> {
    let name = format!("{command:?}");
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("it ends");
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        Ok((stdout, stderr))
    } else {
        Err(format!("{name}\n{stdout}{stderr}"))
    }
}

/// The lines that warn of something else than what is known.
fn unknown(told: &str, known: &[&str]) -> String {
    let warns = |line: &&str| {
        ["WARN", "ERROR", "Warning", "⚠", "✘"]
            .iter()
            .any(|mark| line.contains(mark))
    };
    let is_known = |line: &&str| known.iter().any(|part| line.contains(part));
    told.lines()
        .filter(warns)
        .filter(|line| !is_known(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// A row of the table of `./dev clients`, behind its language.
#[derive(Debug)]
pub struct Row {
    generator: String,
    generated: Duration,
    compiled: Duration,
    ran: Duration,
}

impl Row {
    /// What stands above all rows.
    pub fn head() -> String {
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

/// A package with its version, as `tests/tools` pins it.
pub fn pinned(package: &str) -> String {
    let npm: Value =
        serde_json::from_str(include_str!("../../tools/package.json")).expect("it is JSON");
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
fn a_warning_that_nobody_knows_is_told() {
    let told = "all is well\n[main] WARN  `type` is a word of the language\n \
        ⚠  no security\nWarning: half of it is missing";
    assert_eq!(
        unknown(told, &["is a word of the language"]),
        " ⚠  no security\nWarning: half of it is missing"
    );
}
