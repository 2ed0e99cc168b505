//! Parts of the help that several commands share.

use clap::{Arg, ArgAction, Command};

const CONFIGURATION: &str =
    "Configuration: environment variables or `.env`, as for `serve`. See `latchkey help settings`.";

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  rejected, canceled, or failed
  2  invalid usage or configuration
  3  store unavailable";

pub const DOCS: &str = "Docs: README.md";

/// Adds configuration, examples, exit codes, and the documentation's location to `--help`.
pub fn add_help(command: Command, examples: &str) -> Command {
    let help = long_help(&[CONFIGURATION, &example_lines(examples), EXIT_CODES, DOCS]);
    command.after_long_help(help)
}

/// Like [`add_help`], with the command's own exit codes.
pub fn add_help_with_exit_codes(command: Command, examples: &str, exit_codes: &str) -> Command {
    let help = long_help(&[CONFIGURATION, &example_lines(examples), exit_codes, DOCS]);
    command.after_long_help(help)
}

/// Like [`add_help`], with the command's own text on configuration. An empty text is omitted.
pub fn add_help_with_configuration(
    command: Command,
    examples: &str,
    configuration: &str,
) -> Command {
    let help = long_help(&[configuration, &example_lines(examples), EXIT_CODES, DOCS]);
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

pub fn yes_flag() -> Arg {
    Arg::new("yes")
        .long("yes")
        .help("Skip the confirmation prompt")
        .action(ArgAction::SetTrue)
}
