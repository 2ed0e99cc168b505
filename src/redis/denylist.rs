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

impl Redis {
    /// Everything that can speak against a token, in one round trip.
    pub async fn find_revocations(&self, sub: Uuid, sid: Uuid, jti: Uuid) -> Result<Findings, Error> {
        let keys = [self.entry_key("sid", sid), self.entry_key("jti", jti), self.entry_key("user", sub)];
        let answer = self.shared.ask(redis::cmd("MGET").arg(&keys)).await?;
        let found = <(Option<String>, Option<String>, Option<i64>)>::from_redis_value(answer);
        let (session, token, user_below) =
            found.map_err(|_| Error::internal("the denylist holds something unknown"))?;
        Ok(Findings { session: session.is_some(), token: token.is_some(), user_below })
    }

    /// Puts entries on the denylist, all or none. `now` is in seconds since the epoch.
    pub async fn revoke(&self, entries: &[Revocation], now: u64) -> Result<(), Error> {
        let keys: Vec<String> = entries.iter().map(|entry| self.key_of(entry)).collect();
        let args: Vec<String> =
            entries.iter().flat_map(|entry| [value_of(entry), milliseconds(entry.lifetime(now))]).collect();
        let args: Vec<&[u8]> = args.iter().map(String::as_bytes).collect();
        self.run::<String>(&REVOKE, &keys, &args).await.map(drop)
    }

    fn key_of(&self, entry: &Revocation) -> String {
        match entry {
            Revocation::Session { sid } => self.entry_key("sid", *sid),
            Revocation::Token { jti, .. } => self.entry_key("jti", *jti),
            Revocation::User { sub, .. } => self.entry_key("user", *sub),
        }
    }

    fn entry_key(&self, kind: &str, id: Uuid) -> String {
        format!("{}:{{rev}}:{kind}:{id}", self.prefix)
    }
}

fn value_of(entry: &Revocation) -> String {
    match entry {
        Revocation::User { below, .. } => below.to_string(),
        Revocation::Session { .. } | Revocation::Token { .. } => "1".to_owned(),
    }
}
