//! PostgreSQL and Redis of one run, as durable as in production: PostgreSQL syncs each commit to
//! the disk, and Redis keeps an append-only file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use latchkey_dev::{Postgres, PostgresOptions, Redis, RedisOptions};
use tempfile::TempDir;

use crate::Outcome;

/// The local stack uses similar names, so that its next start removes the folder of a killed run.
const FOLDER_PREFIX: &str = "latchkey-bench-";

/// A short parent folder, because a socket path is limited to 103 bytes.
const PARENT_FOLDER: &str = "/tmp";

/// Permits the connections of `pgbench` in addition to those of the server, and prevents
/// checkpoints during a run, because they distort the figures.
const POSTGRES_SETTINGS: [(&str, &str); 3] = [
    ("max_connections", "200"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
];

/// Both stores. Dropping this value stops them and deletes their data.
pub struct Stores {
    // Declared before the folder, because fields are dropped in declaration order.
    pub postgres: Postgres,
    pub redis: Redis,
    folder: TempDir,
    _lock: File,
}

impl Stores {
    /// Starts both stores without data.
    pub fn start() -> Outcome<Stores> {
        let folder = tempfile::Builder::new()
            .prefix(FOLDER_PREFIX)
            .tempdir_in(PARENT_FOLDER)?;
        let lock = File::create(folder.path().join("lock"))?;
        lock.try_lock()
            .map_err(|_| "the folder of this run was removed; try again")?;
        let path = |name: &str| folder.path().join(name);
        // Redis starts first, because its start makes the user of the stores the owner of the
        // folder.
        let all = folder.path().to_owned();
        let redis = RedisOptions {
            data: all.clone(),
            sockets: all.clone(),
            log: path("redis.log"),
            persist: true,
        };
        let redis = Redis::start(&redis)?;
        let extra = POSTGRES_SETTINGS
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec();
        let (data, log) = (path("postgres"), path("postgres.log"));
        let postgres = Postgres::start(&PostgresOptions {
            data,
            sockets: all,
            log,
            durable: true,
            extra,
        })?;
        Ok(Stores {
            postgres,
            redis,
            folder,
            _lock: lock,
        })
    }

    /// Opens a connection to Redis.
    pub fn redis(&self) -> Outcome<crate::redis::Redis> {
        crate::redis::Redis::connect(&self.redis.url())
    }

    /// Returns the folder for the files of this run.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns the folder of PostgreSQL's programs.
    pub fn postgres_programs(&self) -> Outcome<PathBuf> {
        let program = fs::read_link(format!("/proc/{}/exe", self.postgres.pid()))?;
        Ok(program
            .parent()
            .ok_or("a program is in a folder")?
            .to_owned())
    }
}
