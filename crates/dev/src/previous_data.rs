//! Data of an earlier run, which a newer server might not be able to use.

use std::{fs, path::Path, process::Command, sync::Arc, time::Duration};

use rustix::process::Signal;

use super::{
    Error,
    process::{Process, Program},
    settings::{Addresses, Settings},
};

/// A debug build on a busy machine.
const MIGRATED_WITHIN: Duration = Duration::from_secs(60);
/// Part of the server's error about the schema of an older development version.
const OUTDATED: &str = "older development version";

/// Lets the server migrate the database, and returns an error if the data is too old for it.
///
/// The replicas report every other failure.
pub(super) fn check(
    server: &Path,
    own: Addresses,
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
            settings.apply(&mut command, &own);
            command
        }),
    })?;
    let succeeded = migration.wait_for_success(MIGRATED_WITHIN).is_ok();
    let output = fs::read_to_string(&log).unwrap_or_default();
    let _ = fs::remove_file(&log);
    if succeeded || !output.contains(OUTDATED) {
        return Ok(());
    }
    let error = Error::new(format!(
        "the data in {} was created by an {OUTDATED} and can't be migrated",
        directory.display()
    ));
    Err(error.hint("delete this folder and start again"))
}
