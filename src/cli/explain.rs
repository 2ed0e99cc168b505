//! `latchkey explain`: explains why the token on standard input is rejected.

use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
    sync::Arc,
};

use clap::{ArgMatches, Command};
use latchkey::app::{App, tokens::explain::ExplainError};
use latchkey_domain::cookie_names::NAME_PREFIXES;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    arguments::{output_flag, render},
    help::add_help_with_exit_codes,
    print_error,
};
use crate::{INVALID_CONFIGURATION, STORE_UNAVAILABLE, print};

/// Exit code for a token that the servers reject.
const REJECTED: u8 = 1;

/// Maximum size of the input. It exceeds the size of every token.
const MAX_INPUT_BYTES: u64 = 65_536;

const EXIT_CODES: &str = "\
Exit codes:
  0  the token is accepted
  1  the token is rejected
  2  invalid configuration, or no token
  3  PostgreSQL unavailable";

/// Prefixes of a token in a header, in their order in the header. The name of a cookie follows.
const HEADER_PREFIXES: [&str; 3] = ["Authorization:", "Bearer ", "Cookie:"];

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("explain")
        .about("Explain why a token is rejected")
        .long_about(
            "Reads one access token, session cookie, refresh token, or personal access token from \
             standard input. Prints the rule that rejects it, or that it is accepted. A token for \
             another audience than LATCHKEY_AUDIENCE counts as rejected, because only services of \
             that audience accept it. The token is neither consumed nor printed.",
        )
        .arg(output_flag(
            "an object with `accepted`, a boolean, and `explanation`, a sentence",
        ));
    add_help_with_exit_codes(
        command,
        "latchkey explain < token.txt
         latchkey explain
         latchkey explain --output json < token.txt",
        EXIT_CODES,
    )
}

/// Reads the token and explains it.
pub async fn run(app: Arc<App>, matches: &ArgMatches) -> ExitCode {
    let token = match read_token() {
        Ok(token) => token,
        Err(reason) => {
            print_error(reason, Some("pass one token on standard input"));
            return ExitCode::from(INVALID_CONFIGURATION);
        }
    };
    match app.tokens.explain(token.expose_secret()).await {
        Ok(explanation) => {
            let (sentence, is_rejected) = (explanation.sentence, explanation.is_rejected);
            let to_json = || json!({ "accepted": !is_rejected, "explanation": sentence });
            print(&render(matches, || format!("{sentence}\n"), to_json));
            if is_rejected {
                ExitCode::from(REJECTED)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            let (code, hint) = match error {
                ExplainError::OtherSecret => (
                    INVALID_CONFIGURATION,
                    Some("use the same configuration as the servers"),
                ),
                ExplainError::Unavailable(_) => (STORE_UNAVAILABLE, None),
            };
            print_error(error, hint);
            ExitCode::from(code)
        }
    }
}

/// Reads one token from standard input, and removes the prefix of a header.
fn read_token() -> Result<SecretString, &'static str> {
    if std::io::stdin().is_terminal() {
        eprintln!("Paste one token, then press Enter and Ctrl-D.");
    }
    let mut text = Zeroizing::new(String::new());
    let read = std::io::stdin()
        .take(MAX_INPUT_BYTES)
        .read_to_string(&mut text);
    read.map_err(|_| "standard input isn't text")?;
    let token = text.trim();
    let token = HEADER_PREFIXES.iter().fold(token, |token, prefix| {
        token.strip_prefix(prefix).unwrap_or(token).trim()
    });
    let token = match token.split_once('=') {
        Some((name, value)) if NAME_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) => value,
        _other => token,
    };
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err("standard input must contain exactly one token");
    }
    Ok(token.into())
}
