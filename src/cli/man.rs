//! `latchkey man`: prints the manual page of a command.

use std::{io, process::ExitCode};

use clap::{Arg, ArgMatches, Command};
use clap_mangen::{
    Man,
    roff::{Roff, roman},
};

use super::{CommandError, help::add_help_without_configuration, print_outcome};
use crate::INVALID_CONFIGURATION;

/// Parts of `--help` with a heading of their own in manual pages.
const HEADINGS: [(&str, &str); 4] = [
    ("Configuration: ", "CONFIGURATION"),
    ("Examples:\n", "EXAMPLES"),
    ("Exit codes:\n", "EXIT STATUS"),
    ("Docs: ", "SEE ALSO"),
];

/// Builds the command.
pub fn command() -> Command {
    let names = Arg::new("command")
        .value_name("COMMAND")
        .help("Command, for example `user create` [default: the overview of all commands]")
        .num_args(0..);
    let command = Command::new("man")
        .about("Print a manual page")
        .long_about(
            "Prints the manual page of a command in the format of `man`. The page of `latchkey \
             user create` has the name `latchkey-user-create(1)`.",
        )
        .arg(names);
    add_help_without_configuration(
        command,
        "latchkey man user create | man -l -
         latchkey man > /usr/local/share/man/man1/latchkey.1
         latchkey man user create > /usr/local/share/man/man1/latchkey-user-create.1",
    )
}

/// Prints the page of a command in this tree.
pub fn run(matches: &ArgMatches, tree: Command) -> ExitCode {
    let names = matches.get_many::<String>("command").unwrap_or_default();
    let names: Vec<&str> = names.map(String::as_str).collect();
    print_outcome(render(tree, &names))
}

fn render(tree: Command, names: &[&str]) -> Result<String, CommandError> {
    // The pages of the commands replace the command `help`.
    let mut command = tree.disable_help_subcommand(true);
    command.build();
    for name in names {
        command = command.find_subcommand(name).cloned().ok_or_else(|| {
            let error = format!("`latchkey {}` isn't a command", names.join(" "));
            let error = CommandError::new(INVALID_CONFIGURATION, error);
            error.hint("`latchkey --help` lists all commands")
        })?;
    }
    let mut page = Vec::new();
    write_page(command, &mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_page(command: Command, page: &mut Vec<u8>) -> io::Result<()> {
    let parts = command
        .get_after_long_help()
        .or_else(|| command.get_after_help())
        .map(ToString::to_string);
    let (has_options, has_commands) = (
        command
            .get_arguments()
            .any(|argument| !argument.is_hide_set()),
        command.has_subcommands(),
    );
    let command = command
        .subcommand_help_heading("COMMANDS")
        .subcommand_value_name("COMMAND");
    let man = Man::new(command)
        .source(format!("latchkey {}", latchkey::VERSION))
        .manual("Latchkey");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    if has_options {
        man.render_options_section(page)?;
    }
    if has_commands {
        man.render_subcommands_section(page)?;
    }
    to_sections(&parts.unwrap_or_default()).to_writer(page)
}

/// Renders the end of `--help`. Its parts are separated by empty lines.
fn to_sections(parts: &str) -> Roff {
    let mut roff = Roff::default();
    let mut last_heading = String::new();
    for part in parts.split("\n\n").map(str::trim_end) {
        if part.is_empty() {
            continue;
        }
        let (heading, text) = split_heading(part);
        if heading == last_heading {
            roff.control("PP", []);
        } else {
            roff.control("SH", [heading.as_str()]);
        }
        let is_list = text.contains('\n') || text.starts_with(' ');
        if is_list {
            // Lines of a list are not joined.
            roff.control("nf", []);
        }
        for line in capitalize(text).lines() {
            roff.text([roman(line)]);
        }
        if is_list {
            roff.control("fi", []);
        }
        last_heading = heading;
    }
    roff
}

/// Returns the heading of a part, and its text without the heading. The first line of a list, such
/// as a group of settings, is its heading.
fn split_heading(part: &str) -> (String, &str) {
    for (start, heading) in HEADINGS {
        if let Some(text) = part.strip_prefix(start) {
            return (heading.to_owned(), text);
        }
    }
    match part.split_once(":\n") {
        Some((heading, list)) if list.starts_with("  ") && !heading.contains('\n') => {
            (heading.to_uppercase(), list)
        }
        _paragraph => ("NOTES".to_owned(), part),
    }
}

/// Returns the text with an upper-case first letter, because a heading precedes it.
fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_help_becomes_sections() {
        let text = "Configuration: none.\n\nExit codes:\n  0  success\n  1  failed\n\nOther text\n\n\
            More text\n\nSign-in:\n  LATCHKEY_A\n";
        let page = to_sections(text).to_roff();
        for part in [
            ".SH CONFIGURATION\nNone.\n",
            ".SH \"EXIT STATUS\"\n.nf\n  0  success\n  1  failed\n.fi\n",
            ".SH NOTES\nOther text\n.PP\nMore text\n",
            ".SH SIGN-IN\n.nf\n  LATCHKEY_A\n.fi\n",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
