//! Parts of the help that several commands share.

use clap::Command;

const CONFIGURATION: &str =
    "Configuration: environment variables or `.env`, as for `serve`. See `latchkey help settings`.";

const EXIT_CODES: &str = "\
Exit codes:
  0  success
  1  rejected, canceled, or failed
  2  invalid usage or configuration
  3  store unavailable";

const EXIT_CODES_WITHOUT_CONFIGURATION: &str = "\
Exit codes:
  0  success
  2  invalid usage";

const DOCS: &str = "Docs: README.md";

/// Adds configuration, examples, exit codes, and the documentation's location to `--help`.
pub fn add_help(command: Command, examples: &str) -> Command {
    add_help_with(command, CONFIGURATION, examples, EXIT_CODES)
}

/// Like [`add_help`], with the command's own exit codes.
pub fn add_help_with_exit_codes(command: Command, examples: &str, exit_codes: &str) -> Command {
    add_help_with(command, CONFIGURATION, examples, exit_codes)
}

/// Like [`add_help`], with the command's own text on configuration.
pub fn add_help_with_configuration(
    command: Command,
    examples: &str,
    configuration: &str,
) -> Command {
    add_help_with(command, configuration, examples, EXIT_CODES)
}

/// Like [`add_help`], for a command that requires no settings and no store.
pub fn add_help_without_configuration(command: Command, examples: &str) -> Command {
    add_help_with(command, "", examples, EXIT_CODES_WITHOUT_CONFIGURATION)
}

/// Like [`add_help`], with the command's own text on configuration and exit codes. An empty text is
/// omitted.
pub fn add_help_with(
    command: Command,
    configuration: &str,
    examples: &str,
    exit_codes: &str,
) -> Command {
    let examples = example_lines(examples);
    let parts = [configuration, &examples, exit_codes, DOCS];
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    command.after_long_help(parts.collect::<Vec<_>>().join("\n\n"))
}

fn example_lines(examples: &str) -> String {
    let lines = examples.lines().map(|line| format!("\n  {}", line.trim()));
    format!("Examples:{}", lines.collect::<String>())
}
