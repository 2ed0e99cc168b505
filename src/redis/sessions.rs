//! Sessions as refreshing sees them.

use std::sync::LazyLock;

use uuid::Uuid;

use super::{Redis, milliseconds, script::Script};
use crate::{
    domain::{account::Identity, refresh_token::RefreshToken, revocation::ENTRY_SECONDS, session::Session},
    error::Error,
};

static OPEN: LazyLock<Script> = LazyLock::new(|| Script::of_account("open_session", include_str!("open_session.lua")));
static ROTATE: LazyLock<Script> = LazyLock::new(|| Script::of_account("rotate", include_str!("rotate.lua")));
static END: LazyLock<Script> = LazyLock::new(|| Script::of_account("end_sessions", include_str!("end_sessions.lua")));
static RAISE: LazyLock<Script> =
    LazyLock::new(|| Script::of_account("raise_generation", include_str!("raise_generation.lua")));
static STORE: LazyLock<Script> =
    LazyLock::new(|| Script::of_account("store_identity", include_str!("store_identity.lua")));

/// What became of a refresh token.
#[derive(Debug)]
pub enum Rotation {
    /// It was the current one; the next has this counter.
    Rotated {
        /// The counter of the next token.
        counter: u64,
        /// The session.
        session: Session,
        /// What its tokens say.
        identity: Identity,
    },
    /// No such session.
    Unknown,
    /// The session has ended; `unrecorded`: by reuse, and the record does not know it yet.
    Ended {
        /// Whether the record is still to be written.
        unrecorded: bool,
    },
    /// It was used before; the session has a tombstone now.
    Reused,
}

impl Redis {
    /// Takes a fresh session in, unless it has ended already; whether it did. `idle` is how long it lives without a
    /// refresh, in seconds.
    pub async fn open_session(&self, session: &Session, identity: &Identity, idle: u64) -> Result<bool, Error> {
        let keys = [self.session_key(session.sub, session.sid), self.account_key(session.sub)];
        let (generation, version, ends_at) =
            (session.generation.to_string(), identity.version.to_string(), session.ends_at.to_string());
        let (session, identity) = (json(session)?, json(identity)?);
        let idle = milliseconds(idle);
        let args =
            [generation.as_bytes(), &session, ends_at.as_bytes(), idle.as_bytes(), version.as_bytes(), &identity];
        match self.run::<String>(&OPEN, &keys, &args).await?.as_str() {
            "opened" => Ok(true),
            "ended" => Ok(false),
            _other => Err(OPEN.unknown_answer()),
        }
    }

    /// Exchanges a refresh token: one script, one round trip.
    pub async fn rotate(&self, token: &RefreshToken, idle: u64) -> Result<Rotation, Error> {
        let keys = [self.session_key(token.sub, token.sid), self.account_key(token.sub)];
        let (counter, idle, tombstone) = (token.counter.to_string(), milliseconds(idle), milliseconds(ENTRY_SECONDS));
        let args = [counter.as_bytes(), idle.as_bytes(), tombstone.as_bytes()];
        let (answer, counter, session, identity) =
            self.run::<(String, Option<u64>, Option<String>, Option<String>)>(&ROTATE, &keys, &args).await?;
        match (answer.as_str(), counter, session, identity) {
            ("rotated", Some(counter), Some(session), Some(identity)) => {
                Ok(Rotation::Rotated { counter, session: parsed(&session)?, identity: parsed(&identity)? })
            }
            ("unknown", ..) => Ok(Rotation::Unknown),
            ("ended", unrecorded, ..) => Ok(Rotation::Ended { unrecorded: unrecorded.is_some() }),
            ("reused", ..) => Ok(Rotation::Reused),
            _other => Err(ROTATE.unknown_answer()),
        }
    }

    /// Writes the tombstones of sessions: no refresh token of theirs is exchanged any more. The record has them already.
    pub async fn end_sessions(&self, sub: Uuid, sids: &[Uuid], reason: &str) -> Result<(), Error> {
        let keys: Vec<String> = sids.iter().map(|sid| self.session_key(sub, *sid)).collect();
        let lifetime = milliseconds(ENTRY_SECONDS);
        self.run::<String>(&END, &keys, &[reason.as_bytes(), lifetime.as_bytes()]).await.map(drop)
    }

    /// Refuses every refresh token of the account below a generation. `lifetime`: the longest that one can live.
    pub async fn raise_generation(&self, sub: Uuid, generation: i64, lifetime: u64) -> Result<(), Error> {
        let args = [generation.to_string(), milliseconds(lifetime)];
        self.run::<String>(&RAISE, &[self.account_key(sub)], &args.each_ref().map(|arg| arg.as_bytes())).await.map(drop)
    }

    /// What the next tokens of the account say.
    pub async fn store_identity(&self, sub: Uuid, identity: &Identity, lifetime: u64) -> Result<(), Error> {
        let args = [identity.version.to_string().into_bytes(), json(identity)?, milliseconds(lifetime).into_bytes()];
        self.run::<String>(&STORE, &[self.account_key(sub)], &args.each_ref().map(Vec::as_slice)).await.map(drop)
    }
}

fn json(value: &impl serde::Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(Error::internal)
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(Error::internal)
}
