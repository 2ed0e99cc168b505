//! The arguments of `latchkey user`.

use clap::{Arg, ArgAction, ArgGroup, Command};
use latchkey_domain::{
    account::{DisplayName, EmailAddress, NamePrefix, Role, SignInName, Username},
    text::ParsedText,
};

use super::help::{add_help, yes_flag};

/// Builds the command `latchkey user`.
pub fn command() -> Command {
    let command = Command::new("user")
        .about("Manage users")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list())
        .subcommand(user_command(
            "show",
            "Show a user and their sessions",
            "latchkey user show john@example.com",
        ))
        .subcommand(create())
        .subcommand(
            user_command(
                "disable",
                "Disable a user and revoke all sessions and tokens",
                "latchkey user disable john\nlatchkey user disable john --yes",
            )
            .arg(yes_flag()),
        )
        .subcommand(user_command(
            "enable",
            "Enable a user",
            "latchkey user enable john",
        ))
        .subcommand(
            user_command(
                "set-role",
                "Change a user's role (revokes all sessions and tokens)",
                "latchkey user set-role john admin\nlatchkey user set-role john user --yes",
            )
            .arg(role().index(2).required(true))
            .arg(yes_flag()),
        )
        .subcommand(
            user_command(
                "revoke",
                "Revoke all sessions and personal access tokens of a user",
                "latchkey user revoke john\nlatchkey user revoke john --yes",
            )
            .arg(yes_flag()),
        )
        .subcommand(reset_password())
        .subcommand(
            user_command(
                "delete",
                "Delete a user and their data",
                "latchkey user delete john\nlatchkey user delete john --yes",
            )
            .arg(yes_flag()),
        );
    add_help(
        command,
        "latchkey user create --username admin --role admin
         latchkey user list --search jo
         latchkey user reset-password john@example.com",
    )
}

fn user_command(command: &'static str, about: &'static str, examples: &str) -> Command {
    let name = Arg::new("name")
        .value_name("NAME-OR-EMAIL")
        .help("Username or email address")
        .required(true);
    let command = Command::new(command)
        .about(about)
        .arg(name.index(1).value_parser(parse_value::<SignInName>));
    add_help(command, examples)
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
    let command = Command::new("list")
        .about("List users")
        .long_about("Lists users, oldest first.")
        .arg(
            search
                .help("Only users whose username or email address starts with this text")
                .value_parser(parse_value::<NamePrefix>),
        )
        .arg(
            limit
                .help("Maximum number of users")
                .value_parser(positive_number),
        );
    add_help(
        command,
        "latchkey user list
         latchkey user list --search jo --limit 200",
    )
}

fn create() -> Command {
    let option = |id, name, value, help| Arg::new(id).long(name).value_name(value).help(help);
    let command = Command::new("create")
        .about("Create a user and print a generated password")
        .long_about(
            "Creates a user and prints a generated password once. With --password-stdin, the \
             password comes from standard input and isn't printed.",
        )
        .arg(
            option("username", "username", "NAME", "Username")
                .value_parser(parse_value::<Username>),
        )
        .arg(
            option("email", "email", "EMAIL", "Email address")
                .value_parser(parse_value::<EmailAddress>),
        )
        .group(
            ArgGroup::new("called")
                .args(["username", "email"])
                .multiple(true)
                .required(true),
        )
        .arg(
            option("display-name", "name", "TEXT", "Display name")
                .value_parser(parse_value::<DisplayName>),
        )
        .arg(role().long("role").default_value("user"))
        .arg(password_stdin());
    add_help(
        command,
        "latchkey user create --username admin --role admin
         latchkey user create --email john@example.com --password-stdin",
    )
}

fn reset_password() -> Command {
    user_command(
        "reset-password",
        "Create a password reset code, or set a password",
        "latchkey user reset-password john@example.com
         latchkey user reset-password john --password-stdin",
    )
    .long_about(
        "Prints a one-time code with which the user sets a password; this requires an email \
         address, but no email is sent. With --password-stdin, it sets the password and revokes \
         all sessions and tokens of the user.",
    )
    .arg(password_stdin())
}

fn role() -> Arg {
    Arg::new("role")
        .value_name("ROLE")
        .help("`user` or `admin`")
        .value_parser(parse_value::<Role>)
}

fn password_stdin() -> Arg {
    Arg::new("password-stdin")
        .long("password-stdin")
        .help("Read the password from standard input; on a terminal, prompt without echo")
        .action(ArgAction::SetTrue)
}

fn positive_number(text: &str) -> Result<u32, &'static str> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or("must be 1 or more")
}

pub fn parse_value<T: ParsedText>(text: &str) -> Result<T, String> {
    T::parse(text).map_err(|reason| reason.into_owned())
}
