//! The local stack: a PostgreSQL and a Redis that belong to one run and stop with it.
//!
//! `latchkey-dev` and the integration tests use this supervisor, so the tests cover what developers
//! run. It never uses an existing server on the machine, because both stores listen on Unix sockets
//! in a private folder.
//!
//! This package doesn't depend on other packages of Latchkey. It starts the server's program and
//! passes the settings in the environment.
//!
//! ```text
//! cli        the command line; given_settings: the caller's settings in the environment or `.env`
//! command    a run: lock, ports, stores, replicas, banner, monitoring, stop
//!   detached   `--detach` and `--down`
//!   ports      the hint for ports in use
//!   preflight   checks the caller's settings
//!   server     finds the server's program
//!   replica    one `latchkey serve`
//!   previous_data   detects data of an older development version
//!   settings   the environment of the replicas
//!   remembered   the master secret and the issuer for later runs
//!   env_file   the settings of a run for `latchkey user`
//!   banner     the text that a run prints when it is ready
//!   shell_commands   the commands in that text and in hints
//! mailbox    the emails that the server wrote to a folder, and the page that shows them
//! postgres, redis   one store each: start, pause, resume, kill, restart, stop
//! with_stores   temporary stores for a command, for tests
//! folders    the folders of data, logs, and sockets, and the removal of those of killed runs
//! account    the account that runs the stores if the stack runs as root
//! binaries   finds the programs of PostgreSQL and Redis
//! lock       one run per folder
//! interrupt  Ctrl-C and SIGTERM
//! error      errors for the terminal
//! leftover   stops the stores of a killed run
//! process    one child process
//! spawner     the thread that starts child processes
//! family     finds, inspects, and signals processes
//! ```
//!
//! **No child outlives the supervisor.** On Linux, the kernel signals every child when the
//! supervisor exits for any reason. On other systems, Ctrl-C, SIGTERM, and `Drop` stop the
//! children. There, the stores keep running after `kill -9` until the next start with the same
//! folder stops them.

#![deny(unsafe_code)]
#![warn(missing_docs)]

mod account;
mod banner;
mod binaries;
mod cli;
mod command;
mod detached;
mod env_file;
mod error;
mod family;
mod folders;
mod given_settings;
mod interrupt;
mod leftover;
mod lock;
pub mod mailbox;
mod ports;
mod postgres;
mod preflight;
mod previous_data;
mod process;
mod redis;
mod remembered;
mod replica;
mod server;
mod settings;
mod shell_commands;
mod spawner;
mod wait;
mod with_stores;

use std::path::Path;

use self::folders::Folders;
pub use self::{
    cli::main,
    command::{DevOptions, run},
    error::Error,
    given_settings::GivenSettings,
    postgres::{Postgres, PostgresOptions},
    process::Process,
    redis::{Redis, RedisOptions},
    spawner::spawn,
    with_stores::{DATABASE_VARIABLE, REDIS_VARIABLE},
};

/// Both stores.
///
/// Dropping the stack stops the stores and removes the folder with their sockets.
pub struct Stack {
    // Fields are dropped in order of declaration, so the stores must come before the folders.
    /// The private PostgreSQL.
    pub postgres: Postgres,
    /// The private Redis.
    pub redis: Redis,
    _folders: Folders,
}

/// A standby that replicates from the PostgreSQL of a stack.
///
/// Dropping it stops it and removes its data.
pub struct Standby {
    // Fields are dropped in order of declaration, so the store must come before the folders.
    /// The server, which only reads until it is promoted.
    pub postgres: Postgres,
    _folders: Folders,
}

impl Standby {
    /// Starts a standby of this primary, which can be a promoted standby.
    ///
    /// # Errors
    /// If the primary can't be copied, or the standby can't be started.
    pub fn start(primary: &Postgres) -> Result<Self, Error> {
        let folders = Folders::temporary()?;
        Ok(Self {
            postgres: Postgres::start_standby(primary, &folders.postgres(false))?,
            _folders: folders,
        })
    }
}

impl Stack {
    /// Starts a standby of PostgreSQL.
    ///
    /// # Errors
    /// If the primary can't be copied, or the standby can't be started.
    pub fn start_standby(&self) -> Result<Standby, Error> {
        Standby::start(&self.postgres)
    }

    /// Starts empty stores for a test, without `fsync` and persistence.
    ///
    /// # Errors
    /// If a store can't be started.
    pub fn temporary() -> Result<Self, Error> {
        Self::start(Folders::temporary()?, false)
    }

    /// Starts the stores with their data in `directory`, which is created if it doesn't exist.
    ///
    /// The caller must prevent concurrent stacks on one directory, because each start stops
    /// leftover stores. `latchkey-dev` holds a lock.
    ///
    /// # Errors
    /// If the directory can't be created or a store can't be started.
    pub fn persistent(directory: &Path) -> Result<Self, Error> {
        Self::start(Folders::persistent(directory)?, true)
    }

    fn start(folders: Folders, durable: bool) -> Result<Self, Error> {
        Ok(Self {
            postgres: Postgres::start(&folders.postgres(durable))?,
            redis: Redis::start(&folders.redis(durable))?,
            _folders: folders,
        })
    }
}
