//! Commands of the operator, in a separate process on the server's machine. The admin commands run
//! the same use cases as the API.
//!
//! Results go to standard output, everything else to standard error. No argument contains a secret,
//! because process arguments are visible.

pub mod application;
pub mod arguments;
pub mod audit;
pub mod check;
pub mod client;
pub mod completions;
pub mod explain;
pub mod group;
pub mod health;
pub mod help;
mod json;
pub mod keys;
pub mod mail;
pub mod man;
mod paging;
pub mod revocations;
mod show;
mod terminal;
pub mod user;
pub mod version;

use std::{fmt::Display, io, process::ExitCode};

use latchkey::{
    app::{App, lifecycle::start::StartupError},
    error::{Chain, Error},
};

use crate::{INVALID_CONFIGURATION, STORE_UNAVAILABLE};

/// Exit code of a command that was rejected or failed.
const FAILED: u8 = 1;

/// Error of a command whose confirmation prompt was declined.
const CANCELED: &str = "canceled; nothing was changed";

/// The failure of a command: an exit code, the error, and how to fix it.
struct CommandError {
    code: u8,
    error: String,
    hint: Option<String>,
}

impl CommandError {
    fn new(code: u8, error: impl Into<String>) -> CommandError {
        CommandError {
            code,
            error: error.into(),
            hint: None,
        }
    }

    fn hint(self, hint: impl Into<String>) -> CommandError {
        CommandError {
            hint: Some(hint.into()),
            ..self
        }
    }
}

impl From<Error> for CommandError {
    fn from(error: Error) -> Self {
        let failed = |text: &str| CommandError::new(FAILED, text);
        match &error {
            Error::NotFound => {
                failed("user not found").hint("`latchkey user list` lists all users")
            }
            Error::UsernameTaken => failed("the username is in use or was in use recently"),
            Error::EmailTaken => failed("the email address is in use or was in use recently"),
            Error::LastAdmin => failed("at least one enabled administrator must remain")
                .hint("grant the role to another user first: `latchkey user set-role USER admin`"),
            Error::ApplicationTaken => failed("an application with this origin exists"),
            Error::GroupTaken => failed("a group with this name exists"),
            Error::GroupHasMembers => failed("the group has members; remove them first")
                .hint("`latchkey user list --group NAME` lists the members"),
            Error::Busy => failed("the server is busy").hint("try again in a few seconds"),
            Error::Internal(source) => CommandError::new(
                FAILED,
                format!("internal error: {}", Chain(source.as_ref())),
            ),
            Error::Unavailable {
                committed: None,
                source,
            } => store_unavailable(source.as_ref()),
            Error::Unavailable { .. } => CommandError::new(STORE_UNAVAILABLE, error.to_string()),
            other => CommandError::new(FAILED, other.to_string()),
        }
    }
}

impl From<io::Error> for CommandError {
    fn from(error: io::Error) -> Self {
        CommandError::new(FAILED, format!("the terminal or pipe failed: {error}"))
    }
}

fn store_unavailable(error: &(dyn std::error::Error + 'static)) -> CommandError {
    CommandError::new(
        STORE_UNAVAILABLE,
        format!("store unavailable: {}", Chain(error)),
    )
}

/// Prints an error and how to fix it.
pub fn print_error(error: impl Display, hint: Option<&str>) {
    eprintln!("error: {error}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

/// Prints the result of a command and returns its exit code.
fn print_outcome(outcome: Result<String, CommandError>) -> ExitCode {
    match outcome {
        Ok(text) => crate::print(&text),
        Err(CommandError { code, error, hint }) => {
            print_error(error, hint.as_deref());
            ExitCode::from(code)
        }
    }
}

/// Applies migrations and loads the signing keys, which all commands require.
async fn prepare(app: &App) -> Result<(), CommandError> {
    app.lifecycle
        .try_start()
        .await
        .map_err(|error| match error {
            StartupError::Fatal(error) => {
                let hint = error.hint();
                let error = CommandError::new(INVALID_CONFIGURATION, error.to_string());
                match hint {
                    Some(hint) => error.hint(hint),
                    None => error,
                }
            }
            StartupError::Retryable(error) => store_unavailable(error.as_ref()),
        })
}
