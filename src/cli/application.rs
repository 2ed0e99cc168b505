//! `latchkey application …`: applications behind a proxy. It runs the same use cases as
//! `/applications`.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgGroup, ArgMatches, Command};
use latchkey::{
    app::{
        App,
        admin::actor::AdminActor,
        applications::{ApplicationChange, StoredApplication},
    },
    error::Error,
};
use latchkey_domain::{
    account::Role,
    application::{ApplicationOrigin, Requirement},
    group::{GroupNames, RequiredGroupNames},
    scope::Scopes,
};
use uuid::Uuid;

use super::{
    CANCELED, CommandError, FAILED,
    arguments::{output_flag, parse_value, render, yes_flag},
    help::add_help,
    json,
    paging::read_pages,
    prepare, print_outcome, show,
    terminal::confirm,
};

/// The value that clears a requirement.
const NONE: &str = "none";

/// How an argument identifies an application.
#[derive(Clone)]
enum ApplicationKey {
    Id(Uuid),
    Origin(ApplicationOrigin),
}

/// A new part of a requirement; `None` clears it.
#[derive(Clone)]
struct Part<T>(Option<T>);

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("application")
        .about("Manage applications behind a proxy")
        .long_about(
            "Manages applications behind a proxy, to which browsers sign in with a cookie of their \
             own. Running replicas know a change after at most two seconds.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list_command())
        .subcommand(show_command())
        .subcommand(create_command())
        .subcommand(update_command())
        .subcommand(delete_command());
    add_help(
        command,
        "latchkey application create https://app.example.com --group finance
         latchkey application list",
    )
}

fn list_command() -> Command {
    let command = Command::new("list")
        .about("List applications")
        .long_about("Lists applications, oldest first.")
        .arg(output_flag(
            "an object with the fields of `GET /applications`: `data`, a list of applications, and \
             `next`, which is null because the list is complete",
        ));
    add_help(
        command,
        "latchkey application list
         latchkey application list --output json",
    )
}

fn show_command() -> Command {
    let command = Command::new("show")
        .about("Show an application")
        .long_about("Shows an application and what it requires of a user.")
        .arg(key_argument())
        .arg(output_flag(
            "an object with the fields of `GET /applications/{id}`",
        ));
    add_help(
        command,
        "latchkey application show https://app.example.com
         latchkey application show https://app.example.com --output json",
    )
}

fn create_command() -> Command {
    let option = |name, value| Arg::new(name).long(name).value_name(value);
    let command = Command::new("create")
        .about("Create an application")
        .long_about(
            "Creates an application. Without a requirement, every signed-in user can open it. As \
             soon as any application has a requirement, checks of unknown origins are rejected.",
        )
        .arg(
            Arg::new("origin")
                .value_name("ORIGIN")
                .help("Origin, or https://*.DOMAIN for every host with one more label")
                .required(true)
                .index(1)
                .value_parser(parse_value::<ApplicationOrigin>),
        )
        .arg(
            option("role", "ROLE")
                .help("Required role: user or admin")
                .value_parser(parse_value::<Role>),
        )
        .arg(
            option("scope", "SCOPES")
                .help("Required scopes, all of them, separated by spaces")
                .value_parser(parse_scopes),
        )
        .arg(
            option("group", "GROUPS")
                .help("Required groups, one of them, separated by spaces")
                .value_parser(parse_groups),
        )
        .arg(output_flag(
            "an object with the fields of `GET /applications/{id}`",
        ));
    add_help(
        command,
        "latchkey application create https://app.example.com
         latchkey application create \"https://*.example.net\" --group \"finance legal\"",
    )
}

fn update_command() -> Command {
    let option = |name, value| Arg::new(name).long(name).value_name(value);
    let command = Command::new("update")
        .about("Change the origin or the requirement of an application")
        .long_about(
            "Changes the given fields of an application. The value `none` clears a requirement. No \
             session is revoked: the next check rejects a user who doesn't meet the requirement.",
        )
        .arg(key_argument())
        .arg(
            option("origin", "ORIGIN")
                .help("New origin")
                .value_parser(parse_value::<ApplicationOrigin>),
        )
        .arg(
            option("role", "ROLE")
                .help("Required role: user, admin, or none")
                .value_parser(|text: &str| parse_part(text, parse_value::<Role>)),
        )
        .arg(
            option("scope", "SCOPES")
                .help("Required scopes, all of them, separated by spaces, or none")
                .value_parser(|text: &str| parse_part(text, parse_scopes)),
        )
        .arg(
            option("group", "GROUPS")
                .help("Required groups, one of them, separated by spaces, or none")
                .value_parser(|text: &str| parse_part(text, parse_groups)),
        )
        .group(
            ArgGroup::new("change")
                .args(["origin", "role", "scope", "group"])
                .multiple(true)
                .required(true),
        )
        .arg(output_flag(
            "an object with the fields of `GET /applications/{id}`",
        ));
    add_help(
        command,
        "latchkey application update https://app.example.com --role admin
         latchkey application update https://app.example.com --group none",
    )
}

fn delete_command() -> Command {
    let command = Command::new("delete")
        .about("Delete an application")
        .long_about(
            "Deletes an application. Browsers can't sign in to it any more, and its cookies are \
             rejected.",
        )
        .arg(key_argument())
        .arg(yes_flag());
    add_help(
        command,
        "latchkey application delete https://app.example.com
         latchkey application delete https://app.example.com --yes",
    )
}

fn key_argument() -> Arg {
    Arg::new("application")
        .value_name("APPLICATION")
        .help("Origin or ID of the application")
        .required(true)
        .index(1)
        .value_parser(parse_key)
}

fn parse_key(text: &str) -> Result<ApplicationKey, String> {
    match text.parse() {
        Ok(id) => Ok(ApplicationKey::Id(id)),
        Err(_) => parse_value::<ApplicationOrigin>(text).map(ApplicationKey::Origin),
    }
}

fn parse_scopes(text: &str) -> Result<Scopes, String> {
    let scopes = parse_value::<Scopes>(text)?;
    if scopes.is_empty() {
        Err("must contain at least one scope".into())
    } else {
        Ok(scopes)
    }
}

fn parse_groups(text: &str) -> Result<GroupNames, String> {
    parse_value::<RequiredGroupNames>(text).map(|RequiredGroupNames(names)| names)
}

fn parse_part<T>(text: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Part<T>, String> {
    if text == NONE {
        Ok(Part(None))
    } else {
        parse(text).map(|value| Part(Some(value)))
    }
}

/// Runs one command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(run_command(&app, matches).await)
}

async fn run_command(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let (command, matches) = matches.subcommand().expect("a subcommand");
    // Before connecting to a store, so that the prompt comes first.
    if command == "delete" {
        let name = match key(matches) {
            ApplicationKey::Id(id) => id.to_string(),
            ApplicationKey::Origin(origin) => origin.to_string(),
        };
        if !confirm(
            matches,
            &format!("Delete the application {name}?"),
            "delete",
        )? {
            return Err(CommandError::new(FAILED, CANCELED));
        }
    }
    prepare(app).await?;
    match command {
        "list" => list(app, matches).await,
        "show" => Ok(render_application(matches, &find(app, matches).await?)),
        "create" => {
            let origin = matches.get_one("origin").expect("a required argument");
            let requirement = Requirement {
                role: matches.get_one("role").copied(),
                scopes: matches.get_one("scope").copied(),
                groups: matches.get_one("group").cloned(),
            };
            let created = app
                .applications
                .create_application(&AdminActor::Operator, origin, &requirement)
                .await?;
            Ok(render_application(matches, &created))
        }
        "update" => {
            let id = find(app, matches).await?.id;
            let change = ApplicationChange {
                origin: matches.get_one("origin").cloned(),
                role: part(matches, "role"),
                scopes: part(matches, "scope"),
                groups: part(matches, "group"),
            };
            let updated = app
                .applications
                .update_application(&AdminActor::Operator, id, &change)
                .await
                .map_err(application_error)?;
            Ok(render_application(matches, &updated))
        }
        _delete => {
            let StoredApplication { id, origin, .. } = find(app, matches).await?;
            app.applications
                .delete_application(&AdminActor::Operator, id)
                .await
                .map_err(application_error)?;
            Ok(format!("Deleted {origin}.\n"))
        }
    }
}

fn key(matches: &ArgMatches) -> &ApplicationKey {
    matches.get_one("application").expect("a required argument")
}

fn part<T: Clone + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<Option<T>> {
    let part: Option<&Part<T>> = matches.get_one(name);
    part.map(|Part(value)| value.clone())
}

async fn find(app: &App, matches: &ArgMatches) -> Result<StoredApplication, CommandError> {
    let found = match key(matches) {
        ApplicationKey::Id(id) => app.applications.get_application(*id).await,
        ApplicationKey::Origin(origin) => app.applications.find_by_origin(origin).await,
    };
    found.map_err(application_error)
}

fn application_error(error: Error) -> CommandError {
    match error {
        Error::NotFound => CommandError::new(FAILED, "application not found")
            .hint("`latchkey application list` lists all applications"),
        other => other.into(),
    }
}

fn render_application(matches: &ArgMatches, application: &StoredApplication) -> String {
    render(
        matches,
        || show::application(application),
        || json::application(application),
    )
}

async fn list(app: &App, matches: &ArgMatches) -> Result<String, CommandError> {
    let (applications, _) = read_pages(None, async |page| {
        let page = app.applications.list_applications(page).await?;
        Ok((page.applications, page.next))
    })
    .await?;
    let to_json = || json::page(&applications, json::application, None);
    Ok(render(
        matches,
        || show::applications(&applications),
        to_json,
    ))
}
