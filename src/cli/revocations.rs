//! `latchkey revocations rebuild`: rebuilds the revocation log from PostgreSQL.

use std::{process::ExitCode, sync::Arc};

use clap::Command;
use latchkey::app::{Gateway, revocation::RebuildOutcome};

use super::{CommandError, FAILED, help::documented, print_outcome, started};

/// The command without the settings, which are those of `serve`.
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
        .subcommand(documented(rebuild, "latchkey revocations rebuild"));
    documented(command, "latchkey revocations rebuild")
}

/// Rebuilds the log.
pub async fn run(gateway: Arc<Gateway>) -> ExitCode {
    print_outcome(rebuild(&gateway).await)
}

async fn rebuild(gateway: &Gateway) -> Result<String, CommandError> {
    started(gateway).await?;
    match gateway.replace_log().await? {
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
