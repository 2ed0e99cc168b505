//! `latchkey keys …`: lists, rotates, and revokes signing keys.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgMatches, Command};
use latchkey::{
    app::{App, keys::RotationOutcome},
    error::Error,
};
use latchkey_domain::{access_token::Kid, key_schedule::KeyState};
use serde_json::json;

use super::{
    CANCELED, CommandError, FAILED,
    arguments::{output_flag, render, yes_flag},
    help::add_help,
    json, prepare, print_outcome, show,
    terminal::confirm,
};

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("keys")
        .about("Manage signing keys")
        .long_about(
            "Manages the keys that sign access tokens. A key is published first (next), then it \
             signs (current), then it only verifies (retiring) until the last of its tokens \
             expires. The servers rotate keys every LATCHKEY_KEY_ROTATION. No command here \
             requires a restart.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(list())
        .subcommand(rotate())
        .subcommand(revoke());
    add_help(
        command,
        "latchkey keys list
         latchkey keys rotate
         latchkey keys revoke KID",
    )
}

fn list() -> Command {
    let command = Command::new("list")
        .about("List signing keys")
        .long_about(
            "Lists signing keys, newest first. SINCE is the time from which a key signs. UNTIL is \
             the time at which the next key replaces the current one, or at which the last token \
             of a retiring or revoked key expires.",
        )
        .arg(output_flag(
            "an object with `data`, a list of objects with `kid`, `state`, `since`, and `until`, \
             and with `next`, which is null because the list is complete",
        ));
    add_help(
        command,
        "latchkey keys list
         latchkey keys list --output json",
    )
}

fn rotate() -> Command {
    let command = Command::new("rotate")
        .about("Rotate the signing key")
        .long_about(
            "Creates the next signing key. It signs after twice LATCHKEY_JWKS_MAX_AGE, when no \
             client has an older key set in its cache. Until then the current key signs. No \
             session and no token is revoked.",
        )
        .arg(output_flag(
            "an object with `kid`, `state`, and `since`, the time from which the key signs",
        ));
    add_help(command, "latchkey keys rotate")
}

fn revoke() -> Command {
    let kid = Arg::new("kid")
        .value_name("KID")
        .help("Key ID, as `latchkey keys list` prints it")
        .required(true);
    let command = Command::new("revoke")
        .about("Revoke a signing key and every token it signed")
        .long_about(
            "Revokes a compromised signing key. When the command succeeds, every replica rejects \
             all tokens that the key signed. If it was the current key, another key signs from \
             then on. Services with a cached key set accept the revoked key for up to \
             LATCHKEY_JWKS_MAX_AGE. Clients refresh their tokens, and browser users sign in \
             again. The command can be repeated.",
        )
        .arg(
            kid.allow_hyphen_values(true)
                .value_parser(|text: &str| text.parse::<Kid>().map_err(|_| "not a key ID")),
        )
        .arg(yes_flag());
    add_help(
        command,
        "latchkey keys revoke KID
         latchkey keys revoke KID --yes",
    )
}

/// Runs one command.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    print_outcome(run_command(&app, matches).await)
}

async fn run_command(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let (command, matches) = matches.subcommand().expect("a subcommand");
    let question = "Revoke this signing key and every token that it signed?";
    // Before connecting to a store, so that the prompt comes first.
    if command == "revoke" && !confirm(matches, question, "revoke the key")? {
        return Err(CommandError::new(FAILED, CANCELED));
    }
    prepare(app).await?;
    match command {
        "list" => {
            let keys = app.keys.list_keys().await?;
            let to_json = || json::page(&keys, json::key, None);
            Ok(render(matches, || show::keys(&keys), to_json))
        }
        "rotate" => rotate_key(app, matches).await,
        _revoke => revoke_key(app, matches).await,
    }
}

async fn rotate_key(app: &App, matches: &ArgMatches) -> Result<String, CommandError> {
    match app.keys.rotate_key().await? {
        RotationOutcome::Created { kid, signs_from } => {
            let to_text = || {
                let time = show::format_time(signs_from);
                format!("Created signing key {kid}. It signs from {time} on.\n")
            };
            let to_json = || {
                json!({
                    "kid": kid.to_string(),
                    "state": KeyState::Next.as_str(),
                    "since": json::format_time(signs_from),
                })
            };
            Ok(render(matches, to_text, to_json))
        }
        RotationOutcome::AlreadyWaiting => {
            let error = CommandError::new(FAILED, "the next signing key already exists");
            Err(error.hint("`latchkey keys list` shows the time from which it signs"))
        }
    }
}

async fn revoke_key(app: &Arc<App>, matches: &ArgMatches) -> Result<String, CommandError> {
    let kid: Kid = *matches.get_one("kid").expect("a required argument");
    let revoked = format!("Revoked signing key {kid} and every token that it signed.");
    match app.keys.revoke_key(kid).await {
        Ok(Some(successor)) => Ok(format!("{revoked} {successor} signs now.\n")),
        Ok(None) => Ok(format!("{revoked}\n")),
        Err(Error::NotFound) => Err(CommandError::new(FAILED, "signing key not found")
            .hint("`latchkey keys list` lists all signing keys")),
        Err(error) => Err(error.into()),
    }
}
