//! `latchkey-dev with-stores COMMAND`: runs a command beside temporary stores, so that several test
//! processes share one PostgreSQL and one Redis.

use std::{
    ffi::OsString,
    path::Path,
    process::{Command, ExitCode},
};

use super::{Error, Stack};

/// The URL of the database `postgres` beside a command of `latchkey-dev with-stores`.
pub const DATABASE_VARIABLE: &str = "LATCHKEY_DEV_DATABASE_URL";

/// The URL of Redis beside a command of `latchkey-dev with-stores`.
pub const REDIS_VARIABLE: &str = "LATCHKEY_DEV_REDIS_URL";

/// Starts empty stores, runs the command with their URLs in its environment, and stops them when it
/// ends. Returns the command's exit code, or 1 if a signal ended it.
///
/// # Errors
/// If a store or the command cannot be started.
pub fn run(command: &[OsString]) -> Result<ExitCode, Error> {
    let [program, arguments @ ..] = command else {
        return Err(Error::new("the command is missing"));
    };
    // Ctrl-C goes to the command as well, which ends by it: then the stores stop.
    super::interrupt::install();
    let stores = Stack::temporary()?;
    let status = Command::new(program)
        .args(arguments)
        .env(DATABASE_VARIABLE, stores.postgres.url("postgres"))
        .env(REDIS_VARIABLE, stores.redis.url())
        .status()
        .map_err(Error::cannot("start", Path::new(program)))?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
