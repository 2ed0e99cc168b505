//! The stored state of one token, for `latchkey explain`.

use latchkey_domain::{
    explanation::{Evidence, RevocationRecord, SessionEvidence, UserEvidence},
    revocation::{RevocationKeys, RevocationReason},
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use crate::error::Error;

const EXPLAIN_TOKEN: &str = include_str!("../../sql/queries/explain_token.sql");

impl Postgres {
    /// Returns the stored state of an access token or personal access token.
    pub async fn explain(&self, keys: &RevocationKeys) -> Result<Evidence, Error> {
        let jti = keys.jti();
        match *keys {
            RevocationKeys::Session {
                kid,
                user_id,
                session_id,
                ..
            } => {
                self.explain_token(user_id, Some(session_id), jti, &kid.to_string())
                    .await
            }
            RevocationKeys::Client { kid, id, .. } => {
                self.explain_token(id, None, jti, &kid.to_string()).await
            }
            RevocationKeys::PersonalAccessToken { user_id, .. } => {
                self.explain_token(user_id, None, jti, "").await
            }
        }
    }

    /// Returns the stored state of a refresh token, which has neither a token ID nor a signing key.
    pub async fn explain_session(
        &self,
        user_id: Uuid,
        session_id: Uuid,
    ) -> Result<Evidence, Error> {
        self.explain_token(user_id, Some(session_id), Uuid::nil(), "")
            .await
    }

    async fn explain_token(
        &self,
        subject_id: Uuid,
        session_id: Option<Uuid>,
        jti: Uuid,
        kid: &str,
    ) -> Result<Evidence, Error> {
        let reasons = RevocationReason::ALL
            .iter()
            .filter(|reason| reason.revokes_all_credentials());
        let reasons: Vec<&str> = reasons.map(|reason| reason.as_str()).collect();
        let params: super::Params = &[&subject_id, &session_id, &jti, &reasons, &kid];
        let row = self
            .connection()
            .await?
            .query_first(EXPLAIN_TOKEN, params)
            .await?;
        read_evidence(&row.ok_or_else(|| Error::internal("a query returned no row"))?)
    }
}

fn read_evidence(row: &Row) -> Result<Evidence, Error> {
    let generation: Option<i64> = row.try_get("generation")?;
    let user = generation.map(|generation| -> Result<_, Error> {
        Ok(UserEvidence {
            generation,
            disabled: row.try_get("disabled")?,
        })
    });
    let session_generation: Option<i64> = row.try_get("session_generation")?;
    Ok(Evidence {
        user: user.transpose()?,
        session: session_generation
            .map(|generation| read_session(row, generation))
            .transpose()?,
        client: row.try_get("client_generation")?,
        closed_at: row.try_get("closed_at")?,
        everything: read_revocation(row, "all_at", "all_reason")?,
        token: read_revocation(row, "token_at", "token_reason")?,
        key: read_revocation(row, "key_at", "key_reason")?,
    })
}

fn read_session(row: &Row, generation: i64) -> Result<SessionEvidence, Error> {
    let unix_seconds = |column| -> Result<u64, Error> {
        let at: OffsetDateTime = row.try_get(column)?;
        Ok(u64::try_from(at.unix_timestamp()).unwrap_or(0))
    };
    let counter: i64 = row.try_get("rotation_counter")?;
    Ok(SessionEvidence {
        generation,
        counter: u64::try_from(counter).unwrap_or(0),
        refreshed_at: unix_seconds("last_used_at")?,
        expires_at: unix_seconds("expires_at")?,
        revocation: read_revocation(row, "revoked_at", "revoked_reason")?,
    })
}

fn read_revocation(
    row: &Row,
    at_column: &str,
    reason_column: &str,
) -> Result<Option<RevocationRecord>, Error> {
    let at: Option<OffsetDateTime> = row.try_get(at_column)?;
    let reason: Option<&str> = row.try_get(reason_column)?;
    Ok(at.map(|at| RevocationRecord {
        at,
        reason: reason.and_then(|reason| reason.parse().ok()),
    }))
}
