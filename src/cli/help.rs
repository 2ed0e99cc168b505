//! Parts that the help of several commands shares.

use clap::{Arg, ArgAction, Command};

const CONFIGURATION: &str =
    "Configuration: same environment variables as `serve`, see `latchkey help settings`.";

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  rejected, canceled, or failed
  2  invalid usage or configuration
  3  store unavailable";

pub const DOCS: &str = "Docs: README.md";

/// Adds examples, exit codes, and the place of the documentation to `--help`.
pub fn documented(command: Command, examples: &str) -> Command {
    let help = long_help(&[CONFIGURATION, &example_lines(examples), EXIT_CODES, DOCS]);
    command.after_long_help(help)
}

/// The same with other exit codes.
pub fn documented_with(command: Command, examples: &str, exit_codes: &str) -> Command {
    let help = long_help(&[CONFIGURATION, &example_lines(examples), exit_codes, DOCS]);
    command.after_long_help(help)
}

/// The same for commands that are configured by their own flags, or not at all.
pub fn documented_alone(command: Command, examples: &str, more: &str) -> Command {
    let help = long_help(&[more, &example_lines(examples), EXIT_CODES, DOCS]);
    command.after_long_help(help)
}

fn long_help(parts: &[&str]) -> String {
    let parts = parts.iter().filter(|part| !part.is_empty());
    parts.copied().collect::<Vec<_>>().join("\n\n")
}

fn example_lines(examples: &str) -> String {
    let lines = examples.lines().map(|line| format!("\n  {}", line.trim()));
    format!("Examples:{}", lines.collect::<String>())
}

/// `--yes`.
pub fn yes() -> Arg {
    Arg::new("yes")
        .long("yes")
        .help("Skip the confirmation prompt")
        .action(ArgAction::SetTrue)
}
