//! Redis behind the gateway's back.

use deadpool_redis::redis::{self, Client, Connection, FromRedisValue};

use crate::{Outcome, product, seed};

/// A connection.
pub struct Redis(Connection);

impl Redis {
    /// Connects.
    pub fn connect(url: &str) -> Outcome<Redis> {
        Ok(Redis(Client::open(url)?.get_connection()?))
    }

    /// How often the session of each seeded user was refreshed, by user from 1; 0 where Redis does
    /// not know it.
    pub fn counters(&mut self) -> Outcome<Vec<u64>> {
        let mut pipe = redis::pipe();
        for user in 1..=seed::USERS {
            pipe.hget(&keys(user)[0], "rotation_counter");
        }
        let found: Vec<Option<u64>> = pipe.query(&mut self.0)?;
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// One line of `INFO`.
    pub fn info(&mut self, name: &str) -> Outcome<String> {
        let text: String = self.ask(&["INFO", "everything"])?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value
            .ok_or_else(|| format!("INFO of Redis doesn't contain {name}"))?
            .trim()
            .to_owned())
    }

    /// Commands that were run so far, those of scripts included; without this look itself.
    pub fn commands(&mut self) -> Outcome<u64> {
        let text: String = self.ask(&["INFO", "commandstats"])?;
        let calls = |line: &str| {
            line.split_once(":calls=")?
                .1
                .split(',')
                .next()?
                .parse::<u64>()
                .ok()
        };
        Ok(text.lines().filter_map(calls).sum())
    }

    /// One command.
    pub fn ask<T: FromRedisValue>(&mut self, command: &[&str]) -> Outcome<T> {
        Ok(redis::cmd(command[0])
            .arg(&command[1..])
            .query(&mut self.0)?)
    }
}

/// Where the session of a seeded user's tokens and its account are.
pub fn keys(user: u64) -> [String; 2] {
    let (sub, sid, prefix) = (seed::user(user), seed::session(user), product::PREFIX);
    [
        format!("{prefix}:{{{sub}}}:session:{sid}"),
        format!("{prefix}:{{{sub}}}:user"),
    ]
}

/// Where the state of the revocation log is.
pub fn state_key() -> String {
    format!("{}:{{rev}}:state", product::PREFIX)
}
