//! `latchkey client …`: OAuth clients, from the machine itself. The same stories as `/clients`.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use latchkey::{
    domain::{
        client::Audiences,
        opaque_token::Label,
        page::{self, MAX_LIMIT, Page},
        scope::Scopes,
    },
    error::Error,
    gateway::{Administrator, Gateway, Registration, StoredClient},
};
use uuid::Uuid;

use super::{REFUSED, Refusal, arguments::parsed, confirmed, show, started, tell};

/// The command, without the settings, which are those of `serve`.
pub fn command() -> Command {
    Command::new("client")
        .about(
            "Register OAuth clients, from the machine itself; wants the same settings as `serve`",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("list").about("Print all clients, the oldest first"))
        .subcommand(create())
        .subcommand(
            of_one(
                "rotate",
                "Give a client another secret, which is printed once",
            )
            .long_about(
                "Gives a client another secret, which is printed once. The one before, and every \
                 token that was had with it, are refused on all replicas when the command returns. \
                 Where that must not be noticed, register a second client first.",
            ),
        )
        .subcommand(
            of_one(
                "delete",
                "Delete a client; all its tokens are refused at once",
            )
            .arg(
                Arg::new("yes")
                    .long("yes")
                    .help("Do not ask")
                    .action(ArgAction::SetTrue),
            ),
        )
}

fn of_one(command: &'static str, about: &'static str) -> Command {
    let id = Arg::new("id")
        .value_name("CLIENT-ID")
        .help("`client_id`, as `list` prints it")
        .required(true);
    Command::new(command)
        .about(about)
        .arg(id.index(1).value_parser(value_parser!(Uuid)))
}

fn create() -> Command {
    let option = |name, value, help| Arg::new(name).long(name).value_name(value).help(help);
    let audience = "Whom its tokens may be for, up to ten; the first where a request names none \
        [default: LATCHKEY_AUDIENCE]";
    Command::new("create")
        .about("Register a client; its secret is printed once")
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .help("For people")
                .required(true)
                .index(1)
                .value_parser(parsed::<Label>),
        )
        .arg(
            option(
                "scope",
                "SCOPES",
                "What its tokens may be used for, separated by spaces",
            )
            .required(true)
            .value_parser(parsed::<Scopes>),
        )
        .arg(option("audience", "AUDIENCES", audience).value_parser(parsed::<Audiences>))
}

/// Runs one command.
pub async fn run(gateway: Arc<Gateway>, matches: &ArgMatches) -> ExitCode {
    tell(obey(&gateway, matches).await)
}

async fn obey(gateway: &Arc<Gateway>, matches: &ArgMatches) -> Result<String, Refusal> {
    let (command, matches) = matches.subcommand().expect("the parser wants one");
    // Before a store is asked: whoever is to be asked again is asked at once.
    let question = |id| format!("Delete {id} and what it has, for good?");
    let yes = command != "delete" || confirmed(matches, command, &question(id(matches)))?;
    started(gateway).await?;
    match command {
        "list" => list(gateway).await,
        "create" => {
            let wanted = Registration {
                name: matches
                    .get_one::<Label>("name")
                    .expect("the parser wants it")
                    .clone(),
                scopes: *matches.get_one("scope").expect("the parser wants it"),
                audiences: matches.get_one("audience").cloned(),
            };
            let (client, secret) = gateway
                .create_client(Administrator::Operator, wanted)
                .await?;
            let (StoredClient { id, name, .. }, secret) = (client, secret.as_str());
            Ok(format!(
                "Registered {name}.\nclient_id: {id}\nclient_secret, shown this once: {secret}\n"
            ))
        }
        "rotate" => {
            let (client, secret) = gateway
                .rotate_client(Administrator::Operator, id(matches))
                .await
                .map_err(unknown)?;
            let (name, secret) = (client.name, secret.as_str());
            Ok(format!(
                "{name} has another secret, and its tokens are refused.\nclient_secret, shown this \
                 once: {secret}\n"
            ))
        }
        _delete if !yes => Ok("Nothing was deleted.\n".to_owned()),
        _delete => {
            gateway
                .delete_client(Administrator::Operator, id(matches))
                .await
                .map_err(unknown)?;
            Ok(format!(
                "Deleted {}, and its tokens are refused.\n",
                id(matches)
            ))
        }
    }
}

fn id(matches: &ArgMatches) -> Uuid {
    *matches.get_one("id").expect("the parser wants it")
}

fn unknown(error: Error) -> Refusal {
    match error {
        Error::NotFound => Refusal(
            REFUSED,
            "There is no such client; `latchkey client list` prints all.".into(),
        ),
        other => other.into(),
    }
}

async fn list(gateway: &Gateway) -> Result<String, Refusal> {
    let (mut clients, mut after) = (Vec::new(), Some(Uuid::nil()));
    while let Some(last) = after {
        let page = gateway
            .list_clients(Page {
                limit: MAX_LIMIT,
                after: last,
            })
            .await?;
        clients.extend(page.clients);
        after = page.next.as_deref().and_then(page::position);
    }
    Ok(show::clients(&clients))
}
