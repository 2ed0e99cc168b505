//! Direct access to Redis, without the server.

use deadpool_redis::redis::{self, Client, Connection, FromRedisValue};

use crate::{Outcome, product, seed};

pub struct Redis(Connection);

impl Redis {
    pub fn connect(url: &str) -> Outcome<Redis> {
        Ok(Redis(Client::open(url)?.get_connection()?))
    }

    /// Returns the rotation counter of each seeded user's session, in the order of users. It is 0
    /// if Redis does not contain the session.
    pub fn rotation_counters(&mut self) -> Outcome<Vec<u64>> {
        let mut pipe = redis::pipe();
        for user in 1..=seed::USER_COUNT {
            pipe.hget(&session_keys(user)[0], "rotation_counter");
        }
        let found: Vec<Option<u64>> = pipe.query(&mut self.0)?;
        Ok(found.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Returns a field of `INFO`.
    pub fn info(&mut self, name: &str) -> Outcome<String> {
        let text: String = self.query(&["INFO", "everything"])?;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(value
            .ok_or_else(|| format!("INFO of Redis doesn't contain {name}"))?
            .trim()
            .to_owned())
    }

    /// Returns the number of executed commands, including those of scripts, without this query
    /// itself.
    pub fn count_commands(&mut self) -> Outcome<u64> {
        let text: String = self.query(&["INFO", "commandstats"])?;
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

    /// Runs a command.
    pub fn query<T: FromRedisValue>(&mut self, command: &[&str]) -> Outcome<T> {
        Ok(redis::cmd(command[0])
            .arg(&command[1..])
            .query(&mut self.0)?)
    }
}

/// Returns the keys of a seeded user: the session with tokens, and the user.
pub fn session_keys(user: u64) -> [String; 2] {
    let (user_id, session_id, prefix) = (
        seed::user_id(user),
        seed::session_id(user),
        product::REDIS_KEY_PREFIX,
    );
    [
        format!("{prefix}:{{{user_id}}}:session:{session_id}"),
        format!("{prefix}:{{{user_id}}}:user"),
    ]
}

/// Returns the key of the state of the revocation log.
pub fn state_key() -> String {
    format!("{}:{{rev}}:state", product::REDIS_KEY_PREFIX)
}
