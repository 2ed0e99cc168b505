//! `latchkey completions`: prints the completion script of a shell.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use clap_complete::{Shell, generate};

use super::help::add_help_without_configuration;
use crate::print;

/// The shells on the systems of the server.
const SHELLS: [&str; 3] = ["bash", "zsh", "fish"];

/// Builds the command.
pub fn command() -> Command {
    let shell = Arg::new("shell")
        .value_name("SHELL")
        .help("Shell that runs the script")
        .value_parser(SHELLS)
        .required(true);
    let command = Command::new("completions")
        .about("Print a completion script for a shell")
        .long_about(
            "Prints a script with which a shell completes the commands and flags. Write it to a \
             file that the shell reads at its start. zsh reads the folders in `fpath`. Repeat the \
             command after an upgrade.",
        )
        .arg(shell);
    add_help_without_configuration(
        command,
        "latchkey completions bash > ~/.local/share/bash-completion/completions/latchkey
         latchkey completions zsh > ~/.zfunc/_latchkey
         latchkey completions fish > ~/.config/fish/completions/latchkey.fish",
    )
}

/// Prints the script for this tree of commands.
pub fn run(matches: &ArgMatches, mut tree: Command) -> ExitCode {
    let name: &String = matches.get_one("shell").expect("a required argument");
    let shell: Shell = name.parse().expect("a possible value");
    let mut script = Vec::new();
    generate(shell, &mut tree, "latchkey", &mut script);
    print(&String::from_utf8_lossy(&script))
}
