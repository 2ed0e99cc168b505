//! The arguments of commands that examine, export, unlock, and sign out users, and release names.

use clap::{Arg, ArgAction, Command};
use latchkey_domain::account::SignInName;

use super::{limit, user_command};
use crate::cli::{
    arguments::{output_flag, parse_value, yes_flag},
    help::add_help,
};

pub(super) fn show() -> Command {
    user_command(
        "show",
        "Show a user and their sessions",
        "latchkey user show john@example.com
         latchkey user show 019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42 --output json",
    )
    .arg(output_flag(
        "an object with `user`, which has the fields of `GET /users/{id}`, and `sessions`, a list \
         with the fields of `GET /users/{id}/sessions`",
    ))
}

pub(super) fn events() -> Command {
    let command = user_command(
        "events",
        "List the audit events of a user",
        "latchkey user events john
         latchkey user events 019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42 --limit 200
         latchkey user events john --output json",
    );
    command
        .long_about(
            "Lists the audit events of a user, newest first. The events of a deleted user are \
             listed by the ID of the user.",
        )
        .arg(limit("Maximum number of events"))
        .arg(output_flag(
            "an object with the fields of `GET /users/{id}/audit`: `data`, a list of events, and \
             `next`, which is null if the list is complete",
        ))
}

pub(super) fn export() -> Command {
    let command = user_command(
        "export",
        "Export everything that is stored about a user",
        "latchkey user export john > john.json",
    );
    command.long_about(
        "Prints everything that is stored about a user as one JSON document, with the fields of \
         `GET /user/export`. It contains no password, token, or hash. If the command fails, the \
         document is incomplete.",
    )
}

pub(super) fn sign_out() -> Command {
    let all_users = Arg::new("all-users")
        .long("all-users")
        .help("Confirm that the command concerns all users")
        .required(true)
        .action(ArgAction::SetTrue);
    let command = Command::new("sign-out")
        .about("Revoke all sessions and personal access tokens of all users")
        .long_about(
            "Revokes all sessions and personal access tokens of all users, on every replica. Users \
             can sign in again, also while the command runs. It revokes those of 100 users at a time \
             and prints the progress to standard error. After an interruption, run it again: users \
             who are signed out are skipped. For one user, use `latchkey user revoke`.",
        )
        .arg(all_users)
        .arg(yes_flag());
    add_help(
        command,
        "latchkey user sign-out --all-users
         latchkey user sign-out --all-users --yes",
    )
}

pub(super) fn release() -> Command {
    let name = Arg::new("name")
        .value_name("NAME")
        .help("Username or email address that no user has")
        .required(true)
        .value_parser(parse_value::<SignInName>);
    let command = Command::new("release")
        .about("End the reservation of a username or email address")
        .long_about(
            "Ends the reservation of a username or email address that a user has released, by a \
             change or by deletion, before LATCHKEY_NAME_RESERVATION is over. Then any user can take \
             it. Applications that recognize users by this name can confuse the new user with the \
             previous one.",
        )
        .arg(name);
    add_help(command, "latchkey user release john")
}

pub(super) fn unlock() -> Command {
    user_command(
        "unlock",
        "Reset the rate limits of a user",
        "latchkey user unlock john",
    )
    .long_about(
        "Deletes the counters of failed sign-ins and wrong codes of a user, in all networks. The \
         limits per network across all users (LATCHKEY_LIMIT_SIGN_IN_NETWORK) still apply.",
    )
}
