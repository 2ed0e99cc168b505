//! Cached sessions: rotation, restore, and tombstones.

use std::sync::LazyLock;

use deadpool_redis::redis::{FromRedisValue, Value};
use latchkey_domain::{
    account::Identity,
    explanation::CachedSession,
    outages::Outage,
    refresh_token::RefreshToken,
    revocation::{ENTRY_SECONDS, RevocationReason},
    session::Session,
};
use uuid::Uuid;

use super::{Redis, script::Script, to_byte_args, to_milliseconds};
use crate::error::Error;

static CREATE_SESSION: LazyLock<Script> = LazyLock::new(|| {
    Script::with_account_functions("create_session", include_str!("scripts/create_session.lua"))
});
static ROTATE: LazyLock<Script> =
    LazyLock::new(|| Script::with_refresh_functions("rotate", include_str!("scripts/rotate.lua")));
static RESTORE_SESSION: LazyLock<Script> = LazyLock::new(|| {
    Script::with_refresh_functions(
        "restore_session",
        include_str!("scripts/restore_session.lua"),
    )
});
static REVOKE_SESSIONS: LazyLock<Script> = LazyLock::new(|| {
    Script::with_account_functions(
        "revoke_sessions",
        include_str!("scripts/revoke_sessions.lua"),
    )
});
static STORE_GENERATION: LazyLock<Script> = LazyLock::new(|| {
    Script::with_account_functions(
        "store_generation",
        include_str!("scripts/store_generation.lua"),
    )
});
static ERASE_USER: LazyLock<Script> = LazyLock::new(|| {
    Script::with_account_functions("erase_user", include_str!("scripts/erase_user.lua"))
});
static INSPECT_SESSION: LazyLock<Script> = LazyLock::new(|| {
    Script::with_account_functions(
        "inspect_session",
        include_str!("scripts/inspect_session.lua"),
    )
});
static STORE_IDENTITY: LazyLock<Script> = LazyLock::new(|| {
    Script::with_account_functions("store_identity", include_str!("scripts/store_identity.lua"))
});

/// Limits of a refresh, in milliseconds.
#[derive(Debug, Clone)]
pub struct RefreshPolicy {
    /// The idle timeout of a session.
    pub idle_timeout_ms: u64,
    /// The reuse interval: for this long after a rotation, the previous token returns the same new
    /// refresh token. Outages of Redis don't count, because clients can't repeat a request.
    pub reuse_interval_ms: u64,
    /// For this long after a session was found missing, it can be restored.
    pub restore_timeout_ms: u64,
    /// The recent outages of Redis, in the form of [`format_outages`].
    pub outages: String,
}

/// Returns the outages in the form that the scripts read: per outage its begin and its end, in
/// milliseconds before the current time.
pub fn format_outages(outages: &[Outage]) -> String {
    let pairs = outages.iter().map(|outage| {
        let (began, ended) = (outage.began_ago.as_millis(), outage.ended_ago.as_millis());
        format!("{began}-{ended} ")
    });
    pairs.collect()
}

/// The result of presenting a refresh token.
#[derive(Debug)]
pub enum Rotation {
    /// The token was the current one, or the previous one within the reuse interval.
    Rotated(Box<RotatedSession>),
    /// The session must be restored from PostgreSQL: Redis lacks it, the replication history
    /// changed, or the counter is larger than the stored one.
    NotCached {
        /// The time of this result on the clock of Redis (ms since the Unix epoch).
        observed_at: u64,
    },
    /// The session is revoked or expired.
    Revoked {
        /// Whether the session was revoked because of reuse, and PostgreSQL lacks the revocation.
        unpersisted: bool,
    },
    /// The token was reused. The script has written a tombstone.
    Reused,
    /// The restore took so long that the row locks might have expired.
    RestoreTimedOut,
}

/// A session after a rotation, or after a repetition of the last one.
#[derive(Debug)]
pub struct RotatedSession {
    /// The rotation counter of the refresh token to issue.
    pub counter: u64,
    /// The time of the rotation (ms since the Unix epoch).
    pub at: u64,
    pub session: Session,
    /// The identity claims of the tokens to issue.
    pub identity: Identity,
}

/// A session in PostgreSQL that is to be restored in Redis.
pub struct StoredSession<'a> {
    pub session: &'a Session,
    pub identity: &'a Identity,
    /// The rotation counter, which is stored up to a second late.
    pub counter: u64,
    /// The time of the last refresh (ms since the Unix epoch).
    pub at: u64,
}

impl Redis {
    /// Stores a new session with this idle timeout (s). Returns `false` if the session has already
    /// been revoked.
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
            session.expires_at.to_string(),
            to_milliseconds(idle),
            identity.version.to_string(),
            json(identity)?,
        ];
        match self
            .run::<String>(
                &CREATE_SESSION,
                &self.session_keys(session.user_id, session.session_id),
                &to_byte_args(&args),
            )
            .await?
            .as_str()
        {
            "created" => Ok(true),
            "revoked" => Ok(false),
            _other => Err(CREATE_SESSION.unknown_result()),
        }
    }

    /// Rotates a refresh token in one round trip.
    pub async fn rotate(
        &self,
        token: &RefreshToken,
        policy: &RefreshPolicy,
    ) -> Result<Rotation, Error> {
        let mut args = rotation_args(token, policy).to_vec();
        args.push(policy.outages.clone());
        let result = self
            .run(
                &ROTATE,
                &self.session_keys(token.user_id, token.session_id),
                &to_byte_args(&args),
            )
            .await?;
        parse_rotation(token, result).ok_or_else(|| ROTATE.unknown_result())
    }

    /// Restores a session from PostgreSQL, and rotates its refresh token.
    ///
    /// The caller must keep the rows of the session and its user locked until the response.
    /// `observed_at` is the time at which the session was found missing.
    pub async fn restore_session(
        &self,
        token: &RefreshToken,
        policy: &RefreshPolicy,
        observed_at: u64,
        stored: &StoredSession<'_>,
    ) -> Result<Rotation, Error> {
        let StoredSession {
            session,
            identity,
            counter,
            at,
        } = stored;
        let mut args = rotation_args(token, policy).to_vec();
        args.extend([
            observed_at.to_string(),
            policy.restore_timeout_ms.to_string(),
            counter.to_string(),
            at.to_string(),
            session.generation.to_string(),
            session.scope.clone(),
            session.client_id.clone(),
            session.auth_time.to_string(),
            session.expires_at.to_string(),
            identity.version.to_string(),
            json(identity)?,
            policy.outages.clone(),
        ]);
        let result = self
            .run(
                &RESTORE_SESSION,
                &self.session_keys(token.user_id, token.session_id),
                &to_byte_args(&args),
            )
            .await?;
        parse_rotation(token, result).ok_or_else(|| RESTORE_SESSION.unknown_result())
    }

    /// Writes the tombstones of sessions, so that their refresh tokens are rejected. The
    /// revocations must be committed in PostgreSQL.
    pub async fn revoke_sessions(
        &self,
        user_id: Uuid,
        session_ids: &[Uuid],
        reason: RevocationReason,
    ) -> Result<(), Error> {
        let keys: Vec<String> = session_ids
            .iter()
            .map(|session_id| self.session_key(user_id, *session_id))
            .collect();
        let lifetime = to_milliseconds(ENTRY_SECONDS);
        self.run::<String>(
            &REVOKE_SESSIONS,
            &keys,
            &[reason.as_str().as_bytes(), lifetime.as_bytes()],
        )
        .await
        .map(drop)
    }

    /// Stores the generation of a user, which revokes all refresh tokens of smaller generations.
    ///
    /// `lifetime` is the maximum lifetime of a refresh token (s).
    pub async fn store_generation(
        &self,
        user_id: Uuid,
        generation: i64,
        lifetime: u64,
    ) -> Result<(), Error> {
        let args = [generation.to_string(), to_milliseconds(lifetime)];
        self.run::<String>(
            &STORE_GENERATION,
            &[self.user_key(user_id)],
            &to_byte_args(&args),
        )
        .await
        .map(drop)
    }

    /// Stores the generation of a deleted user like [`Redis::store_generation`], and deletes the
    /// identity claims of the user.
    pub async fn erase_user(
        &self,
        user_id: Uuid,
        generation: i64,
        lifetime: u64,
    ) -> Result<(), Error> {
        let args = [generation.to_string(), to_milliseconds(lifetime)];
        self.run::<String>(&ERASE_USER, &[self.user_key(user_id)], &to_byte_args(&args))
            .await
            .map(drop)
    }

    /// Stores the identity claims for the next tokens of a user, for `lifetime` (s).
    pub async fn store_identity(
        &self,
        user_id: Uuid,
        identity: &Identity,
        lifetime: u64,
    ) -> Result<(), Error> {
        let args = [
            identity.version.to_string(),
            json(identity)?,
            to_milliseconds(lifetime),
        ];
        self.run::<String>(
            &STORE_IDENTITY,
            &[self.user_key(user_id)],
            &to_byte_args(&args),
        )
        .await
        .map(drop)
    }

    /// Returns the cached state of a session without changing it.
    pub async fn inspect_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
    ) -> Result<Option<CachedSession>, Error> {
        type Fields = (
            Option<u64>,
            Option<u64>,
            Option<i64>,
            Option<i64>,
            Option<String>,
            Option<u8>,
            Option<String>,
        );
        let fields: Fields = self
            .run(
                &INSPECT_SESSION,
                &self.session_keys(user_id, session_id),
                &[],
            )
            .await?;
        let (counter, rotated_at, generation, user_generation, revoked_reason, is_current, scope) =
            fields;
        if counter.is_none() && revoked_reason.is_none() {
            return Ok(None);
        }
        // A tombstone of a session that was never cached has no other fields. The defaults don't
        // matter, because the session is revoked.
        let generations = (generation.unwrap_or(0), user_generation.unwrap_or(0));
        let (counter, rotated_at) = (counter.unwrap_or(0), rotated_at.unwrap_or(0));
        Ok(Some(CachedSession {
            history_matches: is_current.is_some(),
            counter,
            rotated_at,
            generations,
            revoked_reason,
            scope,
        }))
    }

    fn session_keys(&self, user_id: Uuid, session_id: Uuid) -> [String; 2] {
        [
            self.session_key(user_id, session_id),
            self.user_key(user_id),
        ]
    }
}

fn rotation_args(token: &RefreshToken, policy: &RefreshPolicy) -> [String; 4] {
    [
        token.counter.to_string(),
        policy.idle_timeout_ms.to_string(),
        policy.reuse_interval_ms.to_string(),
        to_milliseconds(ENTRY_SECONDS),
    ]
}

fn json(value: &impl serde::Serialize) -> Result<String, Error> {
    serde_json::to_string(value).map_err(Error::internal)
}

fn parse_rotation(token: &RefreshToken, result: Vec<Value>) -> Option<Rotation> {
    let mut parts = result.into_iter();
    let status = String::from_redis_value(parts.next()?).ok()?;
    let value = parts.next().unwrap_or(Value::Nil);
    match status.as_str() {
        "rotated" | "repeated" => Some(Rotation::Rotated(parse_session(token, value)?.into())),
        "not_cached" => Some(Rotation::NotCached {
            observed_at: u64::from_redis_value(value).ok()?,
        }),
        "revoked" => Some(Rotation::Revoked {
            unpersisted: value != Value::Nil,
        }),
        "expired" => Some(Rotation::Revoked { unpersisted: false }),
        "reused" => Some(Rotation::Reused),
        "late" => Some(Rotation::RestoreTimedOut),
        _other => None,
    }
}

fn parse_session(token: &RefreshToken, value: Value) -> Option<RotatedSession> {
    type Fields = (u64, u64, i64, String, String, u64, u64, String);
    let (counter, at, generation, scope, client_id, auth_time, expires_at, identity) =
        Fields::from_redis_value(value).ok()?;
    let session = Session {
        session_id: token.session_id,
        user_id: token.user_id,
        generation,
        client_id,
        scope,
        auth_time,
        expires_at,
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
    fn script_and_domain_use_same_reason_for_reuse() {
        assert!(include_str!("scripts/refresh.lua").contains(&format!(
            "'revoked_reason', '{}'",
            RevocationReason::RefreshTokenReused.as_str()
        )));
    }
}
