//! `latchkey revocations rebuild`: builds the revocation log anew from the record.

use std::{process::ExitCode, sync::Arc};

use clap::Command;
use latchkey::gateway::{Gateway, revocation::Rebuilt};

use super::{REFUSED, Refusal, started, tell};

/// The command, without the settings, which are those of `serve`.
pub fn command() -> Command {
    Command::new("revocations")
        .about("Look after the log of what was taken back; wants the same settings as `serve`")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(
            Command::new("rebuild")
                .about("Build the log in Redis anew from PostgreSQL")
                .long_about(
                    "Builds the log in Redis anew from PostgreSQL, and brings LATCHKEY_LEASE, as \
                     it is set here, into force for all replicas. They need no restart. While it \
                     runs, which takes a little longer than the longest lease that was ever in \
                     force, checks are answered by PostgreSQL, and signing out is answered \
                     503.\n\nRedis that was flushed, restarted or replaced needs no help: the \
                     replicas find out by themselves.",
                ),
        )
}

/// Builds it.
pub async fn run(gateway: Arc<Gateway>) -> ExitCode {
    tell(rebuild(&gateway).await)
}

async fn rebuild(gateway: &Gateway) -> Result<String, Refusal> {
    started(gateway).await?;
    let refused = |why: &str| Err(Refusal(REFUSED, why.to_owned()));
    match gateway.replace_log().await? {
        Rebuilt::Built { entries, lease } => Ok(format!(
            "Built anew with {entries} entries; leases of {lease:?} are in force.\n"
        )),
        Rebuilt::Whole | Rebuilt::Elsewhere => {
            refused("A replica is building it at this moment; try again when it is done.")
        }
        Rebuilt::Evicting => refused(
            "Redis forgets keys when its memory is full; set its `maxmemory-policy` to \
             `noeviction` first.",
        ),
    }
}
