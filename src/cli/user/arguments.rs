//! The arguments of `latchkey user`.

mod support;

use std::fmt;

use clap::{Arg, ArgAction, ArgGroup, Command};
use latchkey_domain::{
    account::{DisplayName, EmailAddress, NamePrefix, Role, SignInName, Username},
    group::GroupName,
};
use uuid::Uuid;

use support::{events, export, release, show, sign_out, unlock};

use crate::cli::{
    arguments::{output_flag, parse_value, yes_flag},
    help::add_help,
};

/// The number of characters of a UUID as this program prints it.
const UUID_LENGTH: usize = 36;

/// The user that an argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserReference {
    /// The user with this ID.
    Id(Uuid),
    /// The user with this username or email address.
    Name(SignInName),
}

impl UserReference {
    /// Parses an argument. Text in the form of a UUID is an ID, even if a user has it as username,
    /// so that no user can pose as another one.
    pub fn parse(text: &str) -> Result<UserReference, String> {
        let name: SignInName = parse_value(text)?;
        let id = Uuid::try_parse(name.as_str()).ok();
        Ok(match id.filter(|_| name.as_str().len() == UUID_LENGTH) {
            Some(id) => UserReference::Id(id),
            None => UserReference::Name(name),
        })
    }
}

impl fmt::Display for UserReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UserReference::Id(id) => id.fmt(f),
            UserReference::Name(name) => f.write_str(name.as_str()),
        }
    }
}

/// Builds the command `latchkey user`.
pub fn command() -> Command {
    let command = Command::new("user")
        .about("Manage users")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list())
        .subcommand(show())
        .subcommand(events())
        .subcommand(export())
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
        .subcommand(groups())
        .subcommand(
            user_command(
                "revoke",
                "Revoke all sessions and personal access tokens of a user",
                "latchkey user revoke john\nlatchkey user revoke john --yes",
            )
            .arg(yes_flag()),
        )
        .subcommand(sign_out())
        .subcommand(unlock())
        .subcommand(release())
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
    let user = Arg::new("user")
        .value_name("USER")
        .help("User ID, username, or email address")
        .long_help("User ID, username, or email address. Text in the form of a UUID is an ID.")
        .required(true);
    let command = Command::new(command)
        .about(about)
        .arg(user.index(1).value_parser(UserReference::parse));
    add_help(command, examples)
}

/// The flag with the maximum length of a list.
pub fn limit(help: &'static str) -> Arg {
    Arg::new("limit")
        .long("limit")
        .value_name("NUMBER")
        .default_value("50")
        .help(help)
        .value_parser(positive_number)
}

fn list() -> Command {
    let search = Arg::new("search")
        .long("search")
        .value_name("TEXT")
        .default_value("")
        .hide_default_value(true);
    let command = Command::new("list")
        .about("List users")
        .long_about("Lists users, oldest first.")
        .arg(
            search
                .help("Only users whose username or email address starts with this text")
                .value_parser(parse_value::<NamePrefix>),
        )
        .arg(group_option("group", "Only members of this group"))
        .arg(limit("Maximum number of users"))
        .arg(output_flag(
            "an object with the fields of `GET /users`: `data`, a list of users, and `next`, which \
             is null if the list is complete",
        ));
    add_help(
        command,
        "latchkey user list
         latchkey user list --search jo --limit 200
         latchkey user list --group finance
         latchkey user list --output json",
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
        .arg(
            group_option(
                "group",
                "Group of the user; repeat the option for several groups",
            )
            .action(ArgAction::Append),
        )
        .arg(password_stdin())
        .arg(output_flag(
            "an object with `password`, which is null with --password-stdin, and `user`, which has \
             the fields of `POST /users`",
        ));
    add_help(
        command,
        "latchkey user create --username admin --role admin
         latchkey user create --email john@example.com --password-stdin",
    )
}

fn groups() -> Command {
    let option = |name, help| group_option(name, help).action(ArgAction::Append);
    user_command(
        "groups",
        "Change a user's groups (revokes all sessions and tokens)",
        "latchkey user groups john --add finance
         latchkey user groups john --add finance --add audit --remove sales --yes",
    )
    .long_about(
        "Adds a user to groups and removes the user from groups. If the groups change, all sessions \
         and tokens of the user are revoked. `latchkey group create` creates a group.",
    )
    .arg(option(
        "add",
        "Add the user to this group; repeat the option for several groups",
    ))
    .arg(option(
        "remove",
        "Remove the user from this group; repeat the option for several groups",
    ))
    .group(
        ArgGroup::new("changed")
            .args(["add", "remove"])
            .multiple(true)
            .required(true),
    )
    .arg(yes_flag())
}

fn group_option(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name)
        .long(name)
        .value_name("GROUP")
        .help(help)
        .value_parser(parse_value::<GroupName>)
}

fn reset_password() -> Command {
    user_command(
        "reset-password",
        "Create a password reset code, or set a password",
        "latchkey user reset-password john@example.com
         latchkey user reset-password john --password-stdin
         latchkey user reset-password john --password-stdin --yes < password.txt",
    )
    .long_about(
        "Prints a one-time code with which the user sets a password; this requires an email \
         address, but no email is sent. With --password-stdin, it sets the password and revokes \
         all sessions and tokens of the user, after a confirmation.",
    )
    .arg(password_stdin())
    .arg(yes_flag())
    .arg(
        output_flag("an object with `code` and `expires_in`, its lifetime in seconds")
            .conflicts_with("password-stdin"),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42";

    #[test]
    fn text_in_the_form_of_a_uuid_is_an_id() {
        let id = UserReference::Id(ID.parse().unwrap());
        for text in [ID, &ID.to_uppercase(), &format!(" {ID} ")] {
            assert_eq!(UserReference::parse(text).as_ref(), Ok(&id), "{text:?}");
        }
        assert_eq!(id.to_string(), ID);
    }

    #[test]
    fn other_text_is_a_username_or_email_address() {
        let simple = ID.replace('-', "");
        let other = format!("{}g", &ID[..35]);
        for text in ["john", "john@example.com", &simple, &other] {
            let reference = UserReference::parse(text).unwrap();
            assert!(matches!(reference, UserReference::Name(_)), "{text}");
            assert_eq!(reference.to_string(), text);
        }
        assert!(UserReference::parse("").is_err());
    }
}
