//! The denylist of revoked sessions, tokens and generations.

use std::sync::LazyLock;

use deadpool_redis::redis::{self, FromRedisValue};
use uuid::Uuid;

use super::{Redis, milliseconds, script::Script};
use crate::{
    domain::revocation::{Findings, Revocation},
    error::Error,
};

static REVOKE: LazyLock<Script> = LazyLock::new(|| Script::new("revoke", include_str!("revoke.lua")));
static STATE: LazyLock<Script> =
    LazyLock::new(|| Script::of_account("denylist_state", include_str!("denylist_state.lua")));

/// Filling the denylist takes at most so long; whoever is slower begins again.
const FILLING_MS: &str = "60000";

/// How the script calls a denylist with everything on it.
const COMPLETE: &str = "complete";

/// Whether everything that was taken back is on the denylist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denylist {
    /// It is.
    Complete,
    /// This server lost it, or never had it.
    Lost,
}

impl Redis {
    /// Everything that can speak against a token, in one round trip; nothing where the denylist was lost, because then
    /// that an entry is missing says nothing.
    pub async fn find_revocations(&self, sub: Uuid, sid: Uuid, jti: Uuid) -> Result<Option<Findings>, Error> {
        let keys = [self.entry_key("sid", sid), self.entry_key("jti", jti), self.entry_key("user", sub)];
        let answer = self.shared.ask(redis::cmd("MGET").arg(&self.mark_key).arg(&keys)).await?;
        let found = <(Option<String>, Option<String>, Option<String>, Option<i64>)>::from_redis_value(answer);
        let (mark, session, token, user_below) =
            found.map_err(|_| Error::internal("the denylist holds something unknown"))?;
        Ok(mark.map(|_| Findings { session: session.is_some(), token: token.is_some(), user_below }))
    }

    /// Puts entries on the denylist, all or none. `now` is in seconds since the epoch.
    pub async fn revoke(&self, entries: &[Revocation], now: u64) -> Result<(), Error> {
        let keys: Vec<String> = entries.iter().map(|entry| self.key_of(entry)).collect();
        let args: Vec<String> =
            entries.iter().flat_map(|entry| [value_of(entry).to_string(), milliseconds(entry.lifetime(now))]).collect();
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        self.run::<String>(&REVOKE, &keys, &args).await.map(drop)
    }

    /// Which of these entries are not on the denylist.
    pub async fn missing_revocations(&self, entries: &[Revocation]) -> Result<Vec<bool>, Error> {
        let keys: Vec<String> = entries.iter().map(|entry| self.key_of(entry)).collect();
        let answer = self.shared.ask(redis::cmd("MGET").arg(&keys)).await?;
        let found = <Vec<Option<i64>>>::from_redis_value(answer)
            .map_err(|_| Error::internal("the denylist holds something unknown"))?;
        Ok(entries.iter().zip(found).map(|(entry, found)| found.is_none_or(|found| found < value_of(entry))).collect())
    }

    /// Whether the denylist is complete.
    pub async fn denylist(&self) -> Result<Denylist, Error> {
        Ok(denylist(&self.denylist_state("look", "").await?))
    }

    /// Says that the denylist is being filled, and gives the token of it; nothing if it is complete. Until it is filled,
    /// nothing missing counts.
    pub async fn begin_filling(&self) -> Result<Option<String>, Error> {
        let token = self.denylist_state("begin", &Uuid::new_v4().to_string()).await?;
        Ok(Some(token).filter(|token| token != COMPLETE))
    }

    /// Says that it was filled; still lost if something came in between.
    pub async fn finish_filling(&self, token: &str) -> Result<Denylist, Error> {
        Ok(denylist(&self.denylist_state("finish", token).await?))
    }

    async fn denylist_state(&self, step: &str, token: &str) -> Result<String, Error> {
        let keys = [self.mark_key.clone(), format!("{}:{{rev}}:filling", self.prefix)];
        self.run(&STATE, &keys, &[step.as_bytes(), token.as_bytes(), FILLING_MS.as_bytes()]).await
    }

    fn key_of(&self, entry: &Revocation) -> String {
        match entry {
            Revocation::Session { sid } => self.entry_key("sid", *sid),
            Revocation::Token { jti, .. } => self.entry_key("jti", *jti),
            Revocation::User { sub, .. } => self.entry_key("user", *sub),
        }
    }

    fn entry_key(&self, kind: &str, id: Uuid) -> String {
        // Three for each check: put together, not formatted.
        let id = id.hyphenated().encode_lower(&mut Uuid::encode_buffer()).to_owned();
        [&self.prefix, ":{rev}:", kind, ":", &id].concat()
    }
}

fn denylist(answer: &str) -> Denylist {
    if answer == COMPLETE { Denylist::Complete } else { Denylist::Lost }
}

/// A generation, or 1 for a flag.
fn value_of(entry: &Revocation) -> i64 {
    match entry {
        Revocation::User { below, .. } => *below,
        Revocation::Session { .. } | Revocation::Token { .. } => 1,
    }
}
