//! The local stack: a PostgreSQL and a Redis that belong to one run and stop with it.
//!
//! `latchkey-dev` and the integration tests use this supervisor, so the tests cover what developers
//! run. It never uses a server that already runs on the machine: both listen on Unix sockets in a
//! folder of their own.
//!
//! This package depends on no other package of Latchkey: it starts the server's program and passes
//! settings in the environment.
//!
//! ```text
//! cli        the command line; given_settings: the caller's settings in the environment or `.env`
//! command    a run: lock, ports, stores, replicas, banner, watch, stop
//!   detached   `--detach` and `--down`
//!   server     finds the server's program
//!   replica    one `latchkey serve`
//!   previous_data   detects data of an older development version
//!   settings   the environment of the replicas
//!   env_file   the same for `latchkey user`
//!   banner     the text that a run prints when it is ready
//! mailbox    the emails that the server wrote to a folder, and the page that shows them
//! postgres, redis   one store each: start, pause, resume, kill, start again, stop
//! with_stores   temporary stores for a command, for tests
//! folders    the folders of data and sockets
//! leftover   stores that a killed run left
//! process    one child process; keeper starts it, family finds its children
//! ```
//!
//! **No child survives.** On Linux the kernel signals every child when the supervisor dies, however
//! it dies. Other systems have no such promise: there Ctrl-C, SIGTERM and `Drop` end the children,
//! and after a `kill -9` the stores stay until the next start on the same folder, which ends them
//! first.

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
mod keeper;
mod leftover;
mod lock;
pub mod mailbox;
mod postgres;
mod previous_data;
mod process;
mod redis;
mod replica;
mod server;
mod settings;
mod wait;
mod with_stores;

use std::path::Path;

use self::folders::Folders;
pub use self::{
    cli::main,
    command::{DevOptions, run},
    error::Error,
    given_settings::GivenSettings,
    keeper::spawn,
    postgres::{Postgres, PostgresOptions},
    process::Process,
    redis::{Redis, RedisOptions},
    with_stores::{DATABASE_VARIABLE, REDIS_VARIABLE},
};

/// Both stores. They end, and the folder with their sockets goes, when this is dropped.
pub struct Stack {
    // Declared before the folder, because fields are dropped in this order.
    /// The private PostgreSQL.
    pub postgres: Postgres,
    /// The private Redis.
    pub redis: Redis,
    _folders: Folders,
}

impl Stack {
    /// Empty stores for a test: nothing is synced to disk, nothing is kept.
    pub fn temporary() -> Result<Self, Error> {
        Self::start(Folders::temporary()?, false)
    }

    /// The stores whose data live in `directory`, which is made when it is not there.
    ///
    /// Two at a time on one directory would end each other: `latchkey-dev` holds a lock around
    /// this.
    pub fn persistent(directory: &Path) -> Result<Self, Error> {
        Self::start(Folders::persistent(directory)?, true)
    }

    fn start(folders: Folders, keep: bool) -> Result<Self, Error> {
        Ok(Self {
            postgres: Postgres::start(&folders.postgres(keep))?,
            redis: Redis::start(&folders.redis(keep))?,
            _folders: folders,
        })
    }
}
