//! Detects data of an earlier run that the current server can't migrate.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use rustix::process::Signal;

use super::{
    Error, interrupt,
    process::{Process, Program},
    settings::{Addresses, Settings},
};

/// Timeout of the migrations, for a debug build on a busy machine.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(60);
/// Text in the server's error if the schema belongs to an older development version.
const OUTDATED_SCHEMA: &str = "older development version";

/// Runs the server's migrations, and returns an error if the data is too old for the server, or if
/// a stop is requested.
///
/// Other failures are ignored, because the replicas report them when they start.
pub(super) fn check(
    server: &Path,
    addresses: Addresses,
    settings: &Arc<Settings>,
    directory: &Path,
) -> Result<(), Error> {
    let (server, settings) = (server.to_owned(), Arc::clone(settings));
    let log = directory.join("migrate.log");
    let mut migration = Process::start(Program {
        name: "the migration".into(),
        log: Some(log.clone()),
        stop_signals: &[Signal::TERM],
        command: Box::new(move || {
            let mut command = Command::new(&server);
            command.arg("migrate");
            settings.apply(&mut command, &addresses);
            command
        }),
    })?;
    let succeeded = migration.wait_for_success(MIGRATION_TIMEOUT).is_ok();
    let output = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_file(&log);
    interrupt::check()?;
    if succeeded || !output.contains(OUTDATED_SCHEMA) {
        return Ok(());
    }
    let error = Error::new(format!(
        "the data in {} was created by an {OUTDATED_SCHEMA} and can't be migrated",
        directory.display()
    ));
    Err(error.hint("delete this folder and start again"))
}
