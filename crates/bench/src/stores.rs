//! PostgreSQL and Redis of one run, as durable as in production: each commit is on the disk before
//! it is answered, and Redis keeps an append-only file.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use latchkey_dev::{Postgres, PostgresOptions, Redis, RedisOptions};
use tempfile::TempDir;

use crate::Outcome;

/// Like the folders of the local stack, so that its next start sweeps away what a killed run left.
const PREFIX: &str = "latchkey-bench-";

/// The path of a socket may have 103 bytes.
const SHORT: &str = "/tmp";

/// Clients of `pgbench` beside those of the gateway. A checkpoint in the middle of a run would be
/// noise.
const SETTINGS: [(&str, &str); 3] = [
    ("max_connections", "200"),
    ("max_wal_size", "8GB"),
    ("checkpoint_timeout", "1h"),
];

/// Both stores; they end, and their data go, when this is dropped.
pub struct Stores {
    // Declared before the folder, because fields are dropped in this order.
    /// The record.
    pub postgres: Postgres,
    /// The speed.
    pub redis: Redis,
    folder: TempDir,
    _lock: File,
}

impl Stores {
    /// Empty ones.
    pub fn start() -> Outcome<Stores> {
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(SHORT)?;
        let lock = File::create(folder.path().join("lock"))?;
        lock.try_lock()
            .map_err(|_| "the folder of this run was removed; try again")?;
        let path = |name: &str| folder.path().join(name);
        // Redis first: the folder becomes that of the user who runs the stores.
        let all = folder.path().to_owned();
        let redis = RedisOptions {
            data: all.clone(),
            sockets: all.clone(),
            log: path("redis.log"),
            persist: true,
        };
        let redis = Redis::start(&redis)?;
        let extra = SETTINGS
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

    /// A connection to Redis.
    pub fn redis(&self) -> Outcome<crate::redis::Redis> {
        crate::redis::Redis::connect(&self.redis.url())
    }

    /// Where files of this run may be.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of PostgreSQL's own programs.
    pub fn postgres_programs(&self) -> Outcome<PathBuf> {
        let program = fs::read_link(format!("/proc/{}/exe", self.postgres.pid()))?;
        Ok(program
            .parent()
            .ok_or("a program is in a folder")?
            .to_owned())
    }
}
