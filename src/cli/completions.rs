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
pub fn run(matches: &ArgMatches, tree: Command) -> ExitCode {
    let mut tree = describe_flags(tree);
    let name: &String = matches.get_one("shell").expect("a required argument");
    let shell: Shell = name.parse().expect("a possible value");
    let mut script = Vec::new();
    generate(shell, &mut tree, "latchkey", &mut script);
    print(&String::from_utf8_lossy(&script))
}

/// Adds the first sentence of the long help of each flag that has no other help, because scripts
/// contain only the short one.
fn describe_flags(tree: Command) -> Command {
    tree.mut_args(|flag| match (flag.get_help(), flag.get_long_help()) {
        (None, Some(help)) => {
            let help = help.to_string();
            let (text, _) = help.split_once(" [env: ").unwrap_or((&help, ""));
            let (sentence, _) = text.split_once(". ").unwrap_or((text, ""));
            let sentence = sentence.trim_end_matches('.').to_owned();
            flag.help(sentence)
        }
        _described => flag,
    })
    .mut_subcommands(describe_flags)
}
