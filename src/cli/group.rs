//! `latchkey group …`: groups of users. It runs the same use cases as `/groups`.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgMatches, Command};
use latchkey::{
    app::{App, admin::actor::AdminActor},
    error::Error,
};
use latchkey_domain::{
    group::{GroupDescription, GroupName},
    text::ParsedText,
};

use super::{
    CANCELED, CommandError, FAILED,
    arguments::{output_flag, parse_value, render, yes_flag},
    help::add_help,
    json,
    paging::read_pages_after,
    prepare, print_outcome, show,
    terminal::confirm,
};

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("group")
        .about("Manage groups of users")
        .long_about(
            "Manages groups of users. `latchkey user groups` adds users to groups and removes them.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list_command())
        .subcommand(show_command())
        .subcommand(create_command())
        .subcommand(delete_command());
    add_help(
        command,
        "latchkey group create finance --description \"Can open the invoice application\"
         latchkey user groups john --add finance
         latchkey group list",
    )
}

fn list_command() -> Command {
    let command = Command::new("list")
        .about("List groups")
        .long_about("Lists all groups in ascending order of names.")
        .arg(output_flag(
            "an object with the fields of `GET /groups`: `data`, a list of groups, and `next`, \
             which is null because the list is complete",
        ));
    add_help(
        command,
        "latchkey group list
         latchkey group list --output json",
    )
}

fn show_command() -> Command {
    let command = Command::new("show")
        .about("Show a group")
        .long_about("Shows a group. `latchkey user list --group NAME` lists its members.")
        .arg(name_argument())
        .arg(output_flag(
            "an object with the fields of `GET /groups/{name}`",
        ));
    add_help(
        command,
        "latchkey group show finance
         latchkey group show finance --output json",
    )
}

fn create_command() -> Command {
    let command = Command::new("create")
        .about("Create a group")
        .long_about("Creates a group without members. The name can't be changed.")
        .arg(name_argument())
        .arg(
            Arg::new("description")
                .long("description")
                .value_name("TEXT")
                .help("Description for administrators")
                .value_parser(parse_value::<GroupDescription>),
        )
        .arg(output_flag(
            "an object with the fields of `GET /groups/{name}`",
        ));
    add_help(
        command,
        "latchkey group create finance
         latchkey group create finance --description \"Can open the invoice application\"",
    )
}

fn delete_command() -> Command {
    let command = Command::new("delete")
        .about("Delete a group without members")
        .long_about("Deletes a group. Remove its members first with `latchkey user groups`.")
        .arg(name_argument())
        .arg(yes_flag());
    add_help(
        command,
        "latchkey group delete finance
         latchkey group delete finance --yes",
    )
}

fn name_argument() -> Arg {
    Arg::new("name")
        .value_name("NAME")
        .help("Name of the group")
        .required(true)
        .index(1)
        .value_parser(parse_value::<GroupName>)
}

/// Runs one command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(run_command(&app, matches).await)
}

async fn run_command(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let (command, matches) = matches.subcommand().expect("a subcommand");
    // Before connecting to a store, so that the prompt comes first.
    if command == "delete" {
        let question = format!("Delete the group {}?", name(matches).as_str());
        if !confirm(matches, &question, "delete")? {
            return Err(CommandError::new(FAILED, CANCELED));
        }
    }
    prepare(app).await?;
    match command {
        "list" => list(app, matches).await,
        "show" => {
            let group = app.groups.get_group(name(matches)).await;
            let group = group.map_err(group_error)?;
            Ok(render(
                matches,
                || show::group(&group),
                || json::group(&group),
            ))
        }
        "create" => {
            let description = matches.get_one("description");
            let group = app
                .groups
                .create_group(&AdminActor::Operator, name(matches), description)
                .await?;
            let to_text = || format!("Created group {}.\n", group.name);
            Ok(render(matches, to_text, || json::group(&group)))
        }
        _delete => {
            let name = name(matches);
            let deleted = app.groups.delete_group(&AdminActor::Operator, name).await;
            deleted.map_err(group_error)?;
            Ok(format!("Deleted group {}.\n", name.as_str()))
        }
    }
}

fn name(matches: &ArgMatches) -> &GroupName {
    matches.get_one("name").expect("a required argument")
}

fn group_error(error: Error) -> CommandError {
    match error {
        Error::NotFound => CommandError::new(FAILED, "group not found")
            .hint("`latchkey group list` lists all groups"),
        other => other.into(),
    }
}

async fn list(app: &App, matches: &ArgMatches) -> Result<String, CommandError> {
    let parse_cursor = |last: &str| GroupName::parse(last).ok();
    let (groups, _) = read_pages_after(None, parse_cursor, async |limit, after| {
        let page = app.groups.list_groups(after.as_ref(), limit).await?;
        Ok((page.groups, page.next))
    })
    .await?;
    let to_json = || json::page(&groups, json::group, None);
    Ok(render(matches, || show::groups(&groups), to_json))
}
