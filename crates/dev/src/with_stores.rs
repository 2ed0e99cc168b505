//! `latchkey-dev with-stores COMMAND`: runs a command with temporary stores, so that several test
//! processes share one PostgreSQL and one Redis.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use super::{Error, Stack};

/// Environment variable with the URL of the database `postgres`, set for the command.
pub const DATABASE_VARIABLE: &str = "LATCHKEY_DEV_DATABASE_URL";

/// Environment variable with the URL of Redis, set for the command.
pub const REDIS_VARIABLE: &str = "LATCHKEY_DEV_REDIS_URL";

/// Runs a command with the URLs of empty stores in its environment, and then stops the stores.
///
/// Returns the exit code of the command, or 1 if a signal stopped the command.
///
/// # Errors
/// If a store or the command can't be started.
pub fn run(command: &[OsString]) -> Result<ExitCode, Error> {
    let [program, arguments @ ..] = command else {
        return Err(Error::new("the command is missing"));
    };
    // Ctrl-C also stops the command, and the stores stop after the command has exited.
    super::interrupt::install_handlers();
    let stores = Stack::temporary()?;
    super::interrupt::check()?;
    let status = Command::new(program)
        .args(arguments)
        .env(DATABASE_VARIABLE, stores.postgres.url("postgres"))
        .env(REDIS_VARIABLE, stores.redis.url())
        .status()
        .map_err(Error::cannot("start", Path::new(program)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
