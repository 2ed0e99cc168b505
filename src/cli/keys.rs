//! `latchkey keys …`: looking at signing keys, making the next one, taking one back.

use std::{process::ExitCode, sync::Arc};

use clap::{Arg, ArgAction, ArgMatches, Command};
use latchkey::{
    domain::access_token::Kid,
    error::Error,
    gateway::{Gateway, KeyChange},
};

use super::{REFUSED, Refusal, confirmed, show, started, tell};

/// The command, without the settings, which are those of `serve`.
pub fn command() -> Command {
    Command::new("keys")
        .about("Look after the keys that sign access tokens; wants the same settings as `serve`")
        .long_about(
            "A key is published first (next), then signs (current), then only verifies what it has \
             signed (retiring), until the last of its tokens is dead. The replicas make the next \
             one by themselves every LATCHKEY_KEY_ROTATION, and need no restart for anything here.",
        )
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("list")
                .about("Print the keys: which one signs, since when, and until when")
                .long_about(
                    "Prints the keys, the newest first. SINCE is when a key began to sign, or \
                     will. UNTIL is when the next one takes over from the current one, where that \
                     is known, and when nobody needs one of the others any more.",
                ),
        )
        .subcommand(
            Command::new("rotate")
                .about("Make the next key now, ahead of time")
                .long_about(
                    "Makes the next key. It signs after twice LATCHKEY_JWKS_MAX_AGE, when \
                     everybody who keeps our keys must have read it; until then the current one \
                     does. Nobody is signed out, and no token is refused.",
                ),
        )
        .subcommand(revoke())
}

fn revoke() -> Command {
    let kid = Arg::new("kid")
        .value_name("KID")
        .help("The key's id, as `list` prints it")
        .required(true);
    Command::new("revoke")
        .about("Take a key back: every token that it signed is refused, on every replica, at once")
        .long_about(
            "For a key that somebody else may have. When the command ends well, no replica accepts \
             anything that the key signed. Where it was the current one, another one signs from \
             that moment on; others, who keep our keys for LATCHKEY_JWKS_MAX_AGE, accept the old \
             one for so long. Access tokens of the key are refused: clients refresh, which works, \
             and browsers sign in again. May be repeated.",
        )
        .arg(
            kid.allow_hyphen_values(true)
                .value_parser(|text: &str| text.parse::<Kid>().map_err(|_| "is no id of a key")),
        )
        .arg(
            Arg::new("yes")
                .long("yes")
                .help("Do not ask")
                .action(ArgAction::SetTrue),
        )
}

/// Runs one command.
pub async fn run(gateway: Arc<Gateway>, matches: &ArgMatches) -> ExitCode {
    tell(obey(&gateway, matches).await)
}

async fn obey(gateway: &Arc<Gateway>, matches: &ArgMatches) -> Result<String, Refusal> {
    let (command, matches) = matches.subcommand().expect("the parser wants one");
    // Before a store is asked: whoever is to be asked again is asked at once.
    if command == "revoke"
        && !confirmed(
            matches,
            "revoke",
            "Refuse everything that this key has signed, everywhere?",
        )?
    {
        return Ok("Nothing was done.\n".to_owned());
    }
    started(gateway).await?;
    match command {
        "list" => Ok(show::keys(&gateway.list_keys().await?)),
        "rotate" => rotate(gateway).await,
        _revoke => revoke_key(gateway, matches).await,
    }
}

async fn rotate(gateway: &Gateway) -> Result<String, Refusal> {
    match gateway.rotate_key().await? {
        KeyChange::Made { kid, signs_from } => Ok(format!(
            "Made {kid}; it signs from {} on.\n",
            show::moment(signs_from)
        )),
        KeyChange::Waiting => Err(Refusal(
            REFUSED,
            "The next key is there already, and waits for its time; see `latchkey keys list`."
                .into(),
        )),
    }
}

async fn revoke_key(gateway: &Arc<Gateway>, matches: &ArgMatches) -> Result<String, Refusal> {
    let kid: Kid = *matches.get_one("kid").expect("the parser wants it");
    match gateway.revoke_key(kid).await {
        Ok(Some(successor)) => Ok(format!(
            "Nothing that {kid} signed is accepted any more. {successor} signs now.\n"
        )),
        Ok(None) => Ok(format!("Nothing that {kid} signed is accepted any more.\n")),
        Err(Error::NotFound) => Err(Refusal(REFUSED, "There is no such key.".into())),
        Err(error) => Err(error.into()),
    }
}
