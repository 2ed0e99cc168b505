//! Sessions as refreshing sees them.

use std::sync::LazyLock;

use deadpool_redis::redis::{FromRedisValue, Value};
use latchkey_domain::{
    account::Identity,
    explanation::CachedSession,
    refresh_token::RefreshToken,
    revocation::{ENTRY_SECONDS, Reason},
    session::Session,
};
use uuid::Uuid;

use super::{Redis, bytes, milliseconds, script::Script};
use crate::error::Error;

static CREATE: LazyLock<Script> = LazyLock::new(|| {
    Script::of_account("create_session", include_str!("scripts/create_session.lua"))
});
static ROTATE: LazyLock<Script> =
    LazyLock::new(|| Script::of_refresh("rotate", include_str!("scripts/rotate.lua")));
static RESTORE: LazyLock<Script> = LazyLock::new(|| {
    Script::of_refresh(
        "restore_session",
        include_str!("scripts/restore_session.lua"),
    )
});
static REVOKE: LazyLock<Script> = LazyLock::new(|| {
    Script::of_account(
        "revoke_sessions",
        include_str!("scripts/revoke_sessions.lua"),
    )
});
static INCREMENT_GENERATION: LazyLock<Script> = LazyLock::new(|| {
    Script::of_account(
        "increment_generation",
        include_str!("scripts/increment_generation.lua"),
    )
});
static INSPECT: LazyLock<Script> = LazyLock::new(|| {
    Script::of_account(
        "inspect_session",
        include_str!("scripts/inspect_session.lua"),
    )
});
static STORE_IDENTITY: LazyLock<Script> = LazyLock::new(|| {
    Script::of_account("store_identity", include_str!("scripts/store_identity.lua"))
});

/// How refreshing is allowed to go, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct RefreshPolicy {
    /// How long a session lives without a refresh.
    pub idle: u64,
    /// How long the parent of an unused token gives the same child again.
    pub grace: u64,
    /// How long after its first look an adoption may still be carried out.
    pub patience: u64,
}

/// What became of a refresh token.
#[derive(Debug)]
pub enum Rotation {
    /// It was the current one, or its parent a moment ago: this is the session now, and its counter
    /// that of the token to be given.
    Rotated(Box<RotatedSession>),
    /// Nothing that can be relied on is known of the session here, as of this moment (ms): it must
    /// be adopted.
    NotCached {
        /// Redis' clock.
        observed_at: u64,
    },
    /// The session has ended; `unpersisted`: by reuse, and the record does not know it yet.
    Revoked {
        /// Whether the record is still to be written.
        unpersisted: bool,
    },
    /// An older token; the session has a tombstone now.
    Reused,
    /// An adoption that took too long.
    RestoreTimedOut,
}

/// A session after a refresh.
#[derive(Debug)]
pub struct RotatedSession {
    /// The counter of the token to be given.
    pub counter: u64,
    /// When it was reached, in ms.
    pub at: u64,
    /// The session.
    pub session: Session,
    /// What its tokens say.
    pub identity: Identity,
}

/// What the record knows of a session that is to be adopted.
pub struct StoredSession<'a> {
    /// The session.
    pub session: &'a Session,
    /// Its user's identity.
    pub identity: &'a Identity,
    /// How often it was refreshed, at most a second late.
    pub counter: u64,
    /// When, in ms.
    pub at: u64,
}

impl Redis {
    /// Takes a fresh session in, unless it has ended already; whether it did. `idle` is how long it
    /// lives without a refresh, in seconds.
    pub async fn create_session(
        &self,
        session: &Session,
        identity: &Identity,
        idle: u64,
    ) -> Result<bool, Error> {
        let args = [
            session.generation.to_string(),
            session.scope.clone(),
            session.client_id.clone(),
            session.auth_time.to_string(),
            session.ends_at.to_string(),
            milliseconds(idle),
            identity.version.to_string(),
            json(identity)?,
        ];
        match self
            .run::<String>(
                &CREATE,
                &self.keys_of(session.sub, session.sid),
                &bytes(&args),
            )
            .await?
            .as_str()
        {
            "created" => Ok(true),
            "revoked" => Ok(false),
            _other => Err(CREATE.unknown_answer()),
        }
    }

    /// Exchanges a refresh token: one script, one round trip.
    pub async fn rotate(
        &self,
        token: &RefreshToken,
        rules: &RefreshPolicy,
    ) -> Result<Rotation, Error> {
        let args = exchange_args(token, rules);
        let answer = self
            .run(&ROTATE, &self.keys_of(token.sub, token.sid), &bytes(&args))
            .await?;
        read(token, answer).ok_or_else(|| ROTATE.unknown_answer())
    }

    /// Takes a session in from the record and exchanges its refresh token. The caller holds the
    /// rows until this has answered; `observed_at` is when the session was found away.
    pub async fn restore_session(
        &self,
        token: &RefreshToken,
        rules: &RefreshPolicy,
        observed_at: u64,
        recorded: &StoredSession<'_>,
    ) -> Result<Rotation, Error> {
        let StoredSession {
            session,
            identity,
            counter,
            at,
        } = recorded;
        let mut args = exchange_args(token, rules).to_vec();
        args.extend([
            observed_at.to_string(),
            rules.patience.to_string(),
            counter.to_string(),
            at.to_string(),
            session.generation.to_string(),
            session.scope.clone(),
            session.client_id.clone(),
            session.auth_time.to_string(),
            session.ends_at.to_string(),
            identity.version.to_string(),
            json(identity)?,
        ]);
        let answer = self
            .run(&RESTORE, &self.keys_of(token.sub, token.sid), &bytes(&args))
            .await?;
        read(token, answer).ok_or_else(|| RESTORE.unknown_answer())
    }

    /// Writes the tombstones of sessions: no refresh token of theirs is exchanged any more. The
    /// record has them already.
    pub async fn revoke_sessions(
        &self,
        sub: Uuid,
        sids: &[Uuid],
        reason: Reason,
    ) -> Result<(), Error> {
        let keys: Vec<String> = sids.iter().map(|sid| self.session_key(sub, *sid)).collect();
        let lifetime = milliseconds(ENTRY_SECONDS);
        self.run::<String>(
            &REVOKE,
            &keys,
            &[reason.as_str().as_bytes(), lifetime.as_bytes()],
        )
        .await
        .map(drop)
    }

    /// Refuses every refresh token of the account below a generation. `lifetime`: the longest that
    /// one can live.
    pub async fn increment_generation(
        &self,
        sub: Uuid,
        generation: i64,
        lifetime: u64,
    ) -> Result<(), Error> {
        let args = [generation.to_string(), milliseconds(lifetime)];
        self.run::<String>(
            &INCREMENT_GENERATION,
            &[self.account_key(sub)],
            &bytes(&args),
        )
        .await
        .map(drop)
    }

    /// What the next tokens of the account say.
    pub async fn store_identity(
        &self,
        sub: Uuid,
        identity: &Identity,
        lifetime: u64,
    ) -> Result<(), Error> {
        let args = [
            identity.version.to_string(),
            json(identity)?,
            milliseconds(lifetime),
        ];
        self.run::<String>(&STORE_IDENTITY, &[self.account_key(sub)], &bytes(&args))
            .await
            .map(drop)
    }

    /// What is known of a session, for whoever asks why its token is refused.
    pub async fn inspect_session(
        &self,
        sub: Uuid,
        sid: Uuid,
    ) -> Result<Option<CachedSession>, Error> {
        type Told = (
            Option<u64>,
            Option<u64>,
            Option<i64>,
            Option<i64>,
            Option<String>,
            Option<u8>,
            Option<String>,
        );
        let (counter, rotated_at, generation, account, ended, at_home, scope): Told =
            self.run(&INSPECT, &self.keys_of(sub, sid), &[]).await?;
        if counter.is_none() && ended.is_none() {
            return Ok(None);
        }
        // A tombstone may stand where the session was never known: then nothing else of it matters.
        let generations = (generation.unwrap_or(0), account.unwrap_or(0));
        let (counter, rotated_at) = (counter.unwrap_or(0), rotated_at.unwrap_or(0));
        Ok(Some(CachedSession {
            at_home: at_home.is_some(),
            counter,
            rotated_at,
            generations,
            ended,
            scope,
        }))
    }

    fn keys_of(&self, sub: Uuid, sid: Uuid) -> [String; 2] {
        [self.session_key(sub, sid), self.account_key(sub)]
    }
}

fn exchange_args(token: &RefreshToken, rules: &RefreshPolicy) -> [String; 4] {
    [
        token.counter.to_string(),
        rules.idle.to_string(),
        rules.grace.to_string(),
        milliseconds(ENTRY_SECONDS),
    ]
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}

fn read(token: &RefreshToken, answer: Vec<Value>) -> Option<Rotation> {
    let mut parts = answer.into_iter();
    let word = String::from_redis_value(parts.next()?).ok()?;
    let rest = parts.next().unwrap_or(Value::Nil);
    match word.as_str() {
        "rotated" | "repeated" => Some(Rotation::Rotated(read_session(token, rest)?.into())),
        "not_cached" => Some(Rotation::NotCached {
            observed_at: u64::from_redis_value(rest).ok()?,
        }),
        "revoked" => Some(Rotation::Revoked {
            unpersisted: rest != Value::Nil,
        }),
        "expired" => Some(Rotation::Revoked { unpersisted: false }),
        "reused" => Some(Rotation::Reused),
        "late" => Some(Rotation::RestoreTimedOut),
        _other => None,
    }
}

fn read_session(token: &RefreshToken, told: Value) -> Option<RotatedSession> {
    type Told = (u64, u64, i64, String, String, u64, u64, String);
    let (counter, at, generation, scope, client_id, auth_time, ends_at, identity) =
        Told::from_redis_value(told).ok()?;
    let session = Session {
        sid: token.sid,
        sub: token.sub,
        generation,
        client_id,
        scope,
        auth_time,
        ends_at,
    };
    Some(RotatedSession {
        counter,
        at,
        session,
        identity: serde_json::from_str(&identity).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_and_the_record_call_reuse_the_same() {
        assert!(
            include_str!("scripts/refresh.lua")
                .contains(&format!("'revoked_reason', '{}'", Reason::Reuse.as_str()))
        );
    }
}
