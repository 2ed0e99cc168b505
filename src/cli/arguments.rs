//! Arguments that several commands share.

use clap::{Arg, ArgAction, ArgMatches};
use latchkey_domain::text::ParsedText;
use serde_json::Value;

/// The flag of commands that prompt for confirmation.
pub fn yes_flag() -> Arg {
    Arg::new("yes")
        .long("yes")
        .help("Skip the confirmation prompt")
        .action(ArgAction::SetTrue)
}

/// The format of the output. `--help` describes the JSON with `shape`.
pub fn output_flag(shape: &str) -> Arg {
    const HELP: &str = "Format of the output";
    Arg::new("output")
        .long("output")
        .value_name("FORMAT")
        .help(HELP)
        .long_help(format!("{HELP}. The JSON is {shape}."))
        .value_parser(["text", "json"])
        .default_value("text")
}

/// Renders a result in the format that the command line selects.
pub fn render(
    matches: &ArgMatches,
    text: impl FnOnce() -> String,
    json: impl FnOnce() -> Value,
) -> String {
    let format: &String = matches.get_one("output").expect("a default value");
    match format.as_str() {
        "json" => format!("{:#}\n", json()),
        _text => text(),
    }
}

/// Parses an argument by the rules of the API.
pub fn parse_value<T: ParsedText>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|reason| reason.into_owned())
}
