//! `latchkey revocations rebuild`: builds the revocation log anew from the record.

use std::{process::ExitCode, sync::Arc};

use clap::Command;
use latchkey::{
    error::Chain,
    gateway::{Gateway, Setback, revocation::Rebuilt},
};

use crate::{WRONG_SETTINGS, fail, print};

/// The command, without the settings, which are those of `serve`.
pub fn command() -> Command {
    Command::new("revocations")
        .about("Look after the log of what was taken back; wants the same settings as `serve`")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(Command::new("rebuild").about("Build the log in Redis anew from PostgreSQL").long_about(
            "Builds the log in Redis anew from PostgreSQL, and brings LATCHKEY_LEASE, as it is set here, into force for \
             all replicas. They need no restart. While it runs, which takes a little longer than the longest lease that \
             was ever in force, checks are answered by PostgreSQL, and signing out is answered 503.\n\n\
             Redis that was flushed, restarted or replaced needs no help: the replicas find out by themselves.",
        ))
}

/// Builds it.
pub async fn run(gateway: Arc<Gateway>) -> ExitCode {
    match gateway.try_start().await {
        Ok(()) => {}
        Err(Setback::Never(error)) => {
            fail("the log was not built anew", &error);
            return ExitCode::from(WRONG_SETTINGS);
        }
        Err(Setback::Later(error)) => return refuse(&format!("a store does not answer: {}", Chain(error.as_ref()))),
    }
    match gateway.replace_log().await {
        Ok(Rebuilt::Built { entries, lease }) => {
            print(&format!("Built anew with {entries} entries; leases of {lease:?} are in force.\n"))
        }
        Ok(Rebuilt::Whole | Rebuilt::Elsewhere) => {
            refuse("a replica is building it at this moment; try again when it is done")
        }
        Ok(Rebuilt::Evicting) => {
            refuse("Redis forgets keys when its memory is full; set its `maxmemory-policy` to `noeviction` first")
        }
        Err(error) => refuse(&format!("the log was not built anew: {}", Chain(&error))),
    }
}

fn refuse(why: &str) -> ExitCode {
    eprintln!("latchkey: {why}.");
    ExitCode::FAILURE
}
