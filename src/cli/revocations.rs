//! `latchkey revocations rebuild`: rebuilds the revocation log from PostgreSQL.

use std::{process::ExitCode, sync::Arc};

use clap::Command;
use latchkey::app::{App, revocation::RebuildOutcome};

use super::{CommandError, FAILED, help::add_help, prepare, print_outcome};

/// Builds the command.
pub fn command() -> Command {
    let rebuild = Command::new("rebuild")
        .about("Rebuild the revocation log in Redis from PostgreSQL")
        .long_about(
            "Rebuilds the revocation log in Redis from PostgreSQL, and applies LATCHKEY_LEASE, as \
             set here, to all replicas without a restart. It takes a little longer than the \
             longest lease that was ever in effect. Meanwhile PostgreSQL serves all checks, and \
             sign-outs get 503.\n\nAfter a flush, restart, or replacement of Redis, this command \
             isn't required: the replicas detect it.",
        );
    let command = Command::new("revocations")
        .about("Manage the revocation log")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(add_help(rebuild, "latchkey revocations rebuild"));
    add_help(command, "latchkey revocations rebuild")
}

/// Runs the command.
pub async fn run(app: Arc<App>) -> ExitCode {
    print_outcome(rebuild(&app).await)
}

async fn rebuild(app: &App) -> Result<String, CommandError> {
    prepare(app).await?;
    match app.revocations.replace_log().await? {
        RebuildOutcome::Built { entries, lease } => Ok(format!(
            "Rebuilt the revocation log with {entries} entries. The lease is {lease:?}.\n"
        )),
        RebuildOutcome::AlreadyComplete | RebuildOutcome::InProgressElsewhere => {
            Err(CommandError::new(FAILED, "a replica is rebuilding the log")
                .hint("try again when it has finished"))
        }
        RebuildOutcome::EvictionEnabled => Err(CommandError::new(
            FAILED,
            "Redis evicts keys when its memory is full",
        )
        .hint("set `maxmemory-policy` to `noeviction` in Redis")),
    }
}
