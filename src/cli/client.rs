//! `latchkey client …`: OAuth clients. It runs the same use cases as `/clients`.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgGroup, ArgMatches, Command};
use latchkey::{
    app::{
        App,
        admin::{
            actor::AdminActor,
            oauth_clients::{ClientRegistration, StoredClient},
        },
    },
    error::Error,
};
use latchkey_domain::{
    oauth_client::{Audiences, ClientChange, MAX_AUDIENCES},
    opaque_token::Label,
    scope::Scopes,
};
use secrecy::ExposeSecret;
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

/// The JSON of commands that print a secret.
const SECRET_SHAPE: &str =
    "an object with the fields of `POST /clients`: `client_id`, `client_secret`, and `client`";

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("client")
        .about("Manage OAuth clients")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list_command())
        .subcommand(show_command())
        .subcommand(create())
        .subcommand(update())
        .subcommand(
            revoking_command(
                "rotate-secret",
                "Rotate a client secret",
                "Invalidates the old secret and revokes the tokens issued with it, on every \
                 replica, and prints a new secret once. For zero-downtime rotation, register a \
                 second client first.",
            )
            .arg(output_flag(SECRET_SHAPE)),
        )
        .subcommand(revoking_command(
            "delete",
            "Delete an OAuth client and revoke its tokens",
            "Deletes an OAuth client and revokes its tokens on every replica.",
        ));
    add_help(
        command,
        "latchkey client create billing --scope \"items:read revocations:read\"
         latchkey client list",
    )
}

fn list_command() -> Command {
    let command = Command::new("list")
        .about("List OAuth clients")
        .long_about("Lists OAuth clients, oldest first.")
        .arg(output_flag(
            "an object with the fields of `GET /clients`: `data`, a list of clients, and `next`, \
             which is null because the list is complete",
        ));
    add_help(
        command,
        "latchkey client list
         latchkey client list --output json",
    )
}

fn show_command() -> Command {
    let command = Command::new("show")
        .about("Show an OAuth client")
        .long_about("Shows an OAuth client, without its secret.")
        .arg(client_id_argument())
        .arg(output_flag(
            "an object with the fields of `GET /clients/{id}`",
        ));
    add_help(
        command,
        "latchkey client show CLIENT-ID
         latchkey client show CLIENT-ID --output json",
    )
}

fn client_id_argument() -> Arg {
    Arg::new("id")
        .value_name("CLIENT-ID")
        .help("Client ID, as `latchkey client list` prints it")
        .required(true)
        .value_parser(client_id)
}

fn revoking_command(
    command: &'static str,
    about: &'static str,
    long_about: &'static str,
) -> Command {
    let examples = format!(
        "latchkey client {command} CLIENT-ID
         latchkey client {command} CLIENT-ID --yes"
    );
    let command = Command::new(command)
        .about(about)
        .long_about(long_about)
        .arg(client_id_argument())
        .arg(yes_flag());
    add_help(command, &examples)
}

fn client_id(text: &str) -> Result<Uuid, &'static str> {
    text.parse().map_err(|_| "not a client ID (UUID)")
}

fn create() -> Command {
    let option = |name, value| Arg::new(name).long(name).value_name(value);
    let audience = format!(
        "Allowed audiences (up to {MAX_AUDIENCES}), separated by spaces; the first is the default \
         [default: LATCHKEY_AUDIENCE, or the issuer if it is unset]"
    );
    let command = Command::new("create")
        .about("Register an OAuth client and print its secret")
        .long_about("Registers a confidential OAuth client and prints its secret once.")
        .arg(
            Arg::new("name")
                .value_name("NAME")
                .help("Display name")
                .required(true)
                .index(1)
                .value_parser(parse_value::<Label>),
        )
        .arg(
            option("scope", "SCOPES")
                .help("Scopes of the client's tokens, separated by spaces")
                .required(true)
                .value_parser(parse_value::<Scopes>),
        )
        .arg(
            option("audience", "AUDIENCES")
                .help(audience)
                .value_parser(parse_value::<Audiences>),
        )
        .arg(output_flag(SECRET_SHAPE));
    add_help(
        command,
        "latchkey client create billing --scope items:read
         latchkey client create billing --scope items:read --audience https://billing.example.com",
    )
}

fn update() -> Command {
    let option = |name, value| Arg::new(name).long(name).value_name(value);
    let audience = format!(
        "New allowed audiences (up to {MAX_AUDIENCES}), separated by spaces; the first is the default"
    );
    let command = Command::new("update")
        .about("Change the name, scopes, or audiences of an OAuth client")
        .long_about(
            "Changes the given fields of an OAuth client. Its secret stays valid. If a scope or an \
             audience is removed, all tokens of the client are revoked on every replica; the client \
             can request new ones immediately.",
        )
        .arg(client_id_argument())
        .arg(
            option("name", "NAME")
                .help("New display name")
                .value_parser(parse_value::<Label>),
        )
        .arg(
            option("scope", "SCOPES")
                .help("New scopes of the client's tokens, separated by spaces")
                .value_parser(parse_value::<Scopes>),
        )
        .arg(
            option("audience", "AUDIENCES")
                .help(audience)
                .value_parser(parse_value::<Audiences>),
        )
        .group(
            ArgGroup::new("change")
                .args(["name", "scope", "audience"])
                .multiple(true)
                .required(true),
        )
        .arg(yes_flag())
        .arg(output_flag(
            "an object with the fields of `PATCH /clients/{id}`",
        ));
    add_help(
        command,
        "latchkey client update CLIENT-ID --name invoices
         latchkey client update CLIENT-ID --scope items:read --yes",
    )
}

/// Runs one command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(run_command(&app, matches).await)
}

async fn run_command(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let (command, matches) = matches.subcommand().expect("a subcommand");
    // Before connecting to a store, so that the prompt comes first.
    let confirmed = match command {
        "rotate-secret" => {
            let question = "Rotate the secret of {} and revoke its tokens?";
            confirm_client(matches, question, "rotate the secret")?
        }
        "delete" => {
            let question = "Permanently delete the client {} and revoke its tokens?";
            confirm_client(matches, question, "delete")?
        }
        "update" if matches.contains_id("scope") || matches.contains_id("audience") => {
            let question = "Change the client {}, and revoke its tokens if a scope or an audience \
                is removed?";
            confirm_client(matches, question, "change the client")?
        }
        _other => true,
    };
    if !confirmed {
        return Err(CommandError::new(FAILED, CANCELED));
    }
    prepare(app).await?;
    match command {
        "list" => list(app, matches).await,
        "show" => {
            let client = app.oauth_clients.get_client(id(matches)).await;
            Ok(render_client(matches, &client.map_err(client_error)?))
        }
        "create" => register(app, matches).await,
        "update" => change(app, matches).await,
        "rotate-secret" => {
            let (client, secret) = app
                .oauth_clients
                .rotate_client_secret(AdminActor::Operator, id(matches))
                .await
                .map_err(client_error)?;
            let (name, secret) = (&client.name, secret.expose_secret());
            let to_text = || {
                format!(
                    "Rotated the secret of {name} and revoked its tokens.\n\
                     client_secret (shown once): {secret}\n"
                )
            };
            let to_json = || json::client_with_secret(&client, secret);
            Ok(render(matches, to_text, to_json))
        }
        _delete => delete(app, id(matches)).await,
    }
}

fn confirm_client(
    matches: &ArgMatches,
    question: &str,
    action: &str,
) -> Result<bool, CommandError> {
    let question = question.replace("{}", &id(matches).to_string());
    confirm(matches, &question, action)
}

fn render_client(matches: &ArgMatches, client: &StoredClient) -> String {
    render(matches, || show::client(client), || json::client(client))
}

async fn register(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let name: &Label = matches.get_one("name").expect("a required argument");
    let registration = ClientRegistration {
        name: name.clone(),
        scopes: *matches.get_one("scope").expect("a required argument"),
        audiences: matches.get_one("audience").cloned(),
    };
    let (client, secret) = app
        .oauth_clients
        .create_client(AdminActor::Operator, registration)
        .await?;
    let (StoredClient { id, name, .. }, secret) = (&client, secret.expose_secret());
    let to_text =
        || format!("Registered {name}.\nclient_id: {id}\nclient_secret (shown once): {secret}\n");
    let to_json = || json::client_with_secret(&client, secret);
    Ok(render(matches, to_text, to_json))
}

async fn change(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let change = ClientChange {
        name: matches.get_one("name").cloned(),
        scopes: matches.get_one("scope").copied(),
        audiences: matches.get_one("audience").cloned(),
    };
    let client = app
        .oauth_clients
        .update_client(AdminActor::Operator, id(matches), change)
        .await;
    Ok(render_client(matches, &client.map_err(client_error)?))
}

async fn delete(app: &Arc<App>, id: Uuid) -> Result<String, CommandError> {
    let was_deleted = match app.oauth_clients.get_client(id).await {
        Ok(_) => false,
        Err(Error::NotFound) => true,
        Err(error) => return Err(error.into()),
    };
    // Also for a deleted client, because the use case publishes revocations that failed before.
    app.oauth_clients
        .delete_client(AdminActor::Operator, id)
        .await
        .map_err(client_error)?;
    Ok(if was_deleted {
        format!("{id} is already deleted.\n")
    } else {
        format!("Deleted {id} and revoked its tokens.\n")
    })
}

fn id(matches: &ArgMatches) -> Uuid {
    *matches.get_one("id").expect("a required argument")
}

fn client_error(error: Error) -> CommandError {
    match error {
        Error::NotFound => CommandError::new(FAILED, "client not found")
            .hint("`latchkey client list` lists all clients"),
        other => other.into(),
    }
}

async fn list(app: &App, matches: &ArgMatches) -> Result<String, CommandError> {
    let (clients, _) = read_pages(None, async |page| {
        let page = app.oauth_clients.list_clients(page).await?;
        Ok((page.clients, page.next))
    })
    .await?;
    let to_json = || json::page(&clients, json::client, None);
    Ok(render(matches, || show::clients(&clients), to_json))
}
