//! What can be typed after `latchkey user`.

use clap::{Arg, ArgAction, ArgGroup, Command, value_parser};
use latchkey::domain::{
    account::{DisplayName, Email, NamePrefix, Role, SignInName, Username},
    text::Parsed,
};

/// `latchkey user` for the parser.
pub fn command() -> Command {
    Command::new("user")
        .about("Administer accounts from the machine itself; wants the same settings as `serve`")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list())
        .subcommand(of_one("show", "Print an account and its sessions"))
        .subcommand(create())
        .subcommand(of_one("disable", "Refuse sign-ins, and end every session"))
        .subcommand(of_one("enable", "Allow sign-ins again"))
        .subcommand(
            of_one(
                "role",
                "Make somebody `user` or `admin`; ends every session",
            )
            .arg(role().index(2).required(true)),
        )
        .subcommand(of_one("revoke", "End every session"))
        .subcommand(
            of_one(
                "reset",
                "Print a one-time code for a new password, or set one",
            )
            .arg(password("Set this password")),
        )
        .subcommand(
            of_one("delete", "Delete an account with everything in it").arg(
                Arg::new("yes")
                    .long("yes")
                    .help("Do not ask")
                    .action(ArgAction::SetTrue),
            ),
        )
}

fn of_one(command: &'static str, about: &'static str) -> Command {
    let name = Arg::new("name")
        .value_name("NAME-OR-EMAIL")
        .help("User name or e-mail address")
        .required(true);
    Command::new(command)
        .about(about)
        .arg(name.index(1).value_parser(parsed::<SignInName>))
}

fn list() -> Command {
    let search = Arg::new("search")
        .long("search")
        .value_name("TEXT")
        .default_value("")
        .hide_default_value(true);
    let limit = Arg::new("limit")
        .long("limit")
        .value_name("NUMBER")
        .default_value("50");
    Command::new("list")
        .about("Print accounts, the oldest first")
        .arg(
            search
                .help("Only those whose user name or address begins like this")
                .value_parser(parsed::<NamePrefix>),
        )
        .arg(
            limit
                .help("How many at most")
                .value_parser(value_parser!(u32).range(1..)),
        )
}

fn create() -> Command {
    let option = |id, name, value, help| Arg::new(id).long(name).value_name(value).help(help);
    Command::new("create")
        .about(
            "Make an account: with a random password that is printed once, or with one from \
             standard input",
        )
        .arg(option("username", "username", "NAME", "User name").value_parser(parsed::<Username>))
        .arg(option("email", "email", "ADDRESS", "E-mail address").value_parser(parsed::<Email>))
        .group(
            ArgGroup::new("called")
                .args(["username", "email"])
                .multiple(true)
                .required(true),
        )
        .arg(
            option(
                "display-name",
                "name",
                "TEXT",
                "What the person wants to be called",
            )
            .value_parser(parsed::<DisplayName>),
        )
        .arg(role().long("role").default_value("user"))
        .arg(password("Take the password from standard input"))
}

fn role() -> Arg {
    Arg::new("role")
        .value_name("ROLE")
        .help("`user` or `admin`")
        .value_parser(parsed::<Role>)
}

fn password(help: &'static str) -> Arg {
    let help = format!("{help}, which `ps` does not show");
    Arg::new("password-stdin")
        .long("password-stdin")
        .help(help)
        .action(ArgAction::SetTrue)
}

pub fn parsed<T: Parsed>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|reason| reason.into_owned())
}
