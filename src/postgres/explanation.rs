//! What the record knows of one token, for the operator who asks why it is refused.

use latchkey_domain::{
    explanation::{Evidence, RevocationRecord, SessionEvidence, UserEvidence},
    revocation::{Reason, RevocationKeys},
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use crate::error::Error;

const EXPLAIN: &str = include_str!("../../sql/queries/explain_token.sql");

impl Postgres {
    /// What the record knows of an access token.
    pub async fn explain(&self, marks: &RevocationKeys) -> Result<Evidence, Error> {
        let jti = marks.jti();
        match *marks {
            RevocationKeys::Session { kid, sub, sid, .. } => {
                self.explain_token(sub, Some(sid), jti, &kid.to_string())
                    .await
            }
            RevocationKeys::Client { kid, id, .. } => {
                self.explain_token(id, None, jti, &kid.to_string()).await
            }
            RevocationKeys::PersonalAccessToken { sub, .. } => {
                self.explain_token(sub, None, jti, "").await
            }
        }
    }

    /// What the record knows of a refresh token of this user and session, which has no id of its
    /// own, and no key.
    pub async fn explain_session(&self, sub: Uuid, sid: Uuid) -> Result<Evidence, Error> {
        self.explain_token(sub, Some(sid), Uuid::nil(), "").await
    }

    async fn explain_token(
        &self,
        sub: Uuid,
        sid: Option<Uuid>,
        jti: Uuid,
        kid: &str,
    ) -> Result<Evidence, Error> {
        let ends_everything = Reason::ALL.iter().filter(|reason| reason.ends_everything());
        let ends_everything: Vec<&str> = ends_everything.map(|reason| reason.as_str()).collect();
        let params: super::Params = &[&sub, &sid, &jti, &ends_everything, &kid];
        let row = self.connection().await?.first(EXPLAIN, params).await?;
        read(&row.ok_or_else(|| Error::internal("a query returned no row"))?)
    }
}

fn read(row: &Row) -> Result<Evidence, Error> {
    let generation: Option<i64> = row.try_get("generation")?;
    let account = generation.map(|generation| -> Result<_, Error> {
        Ok(UserEvidence {
            generation,
            disabled: row.try_get("disabled")?,
        })
    });
    let session_generation: Option<i64> = row.try_get("session_generation")?;
    Ok(Evidence {
        account: account.transpose()?,
        session: session_generation
            .map(|generation| read_session(row, generation))
            .transpose()?,
        client: row.try_get("client_generation")?,
        closed_at: row.try_get("closed_at")?,
        everything: ended(row, "all_at", "all_reason")?,
        token: ended(row, "token_at", "token_reason")?,
        key: ended(row, "key_at", "key_reason")?,
    })
}

fn read_session(row: &Row, generation: i64) -> Result<SessionEvidence, Error> {
    let seconds = |name| -> Result<u64, Error> {
        let at: OffsetDateTime = row.try_get(name)?;
        Ok(u64::try_from(at.unix_timestamp()).unwrap_or(0))
    };
    let counter: i64 = row.try_get("rotation_counter")?;
    Ok(SessionEvidence {
        generation,
        counter: u64::try_from(counter).unwrap_or(0),
        refreshed_at: seconds("last_used_at")?,
        ends_at: seconds("expires_at")?,
        ended: ended(row, "revoked_at", "revoked_reason")?,
    })
}

fn ended(row: &Row, at: &str, reason: &str) -> Result<Option<RevocationRecord>, Error> {
    let at: Option<OffsetDateTime> = row.try_get(at)?;
    let reason: Option<&str> = row.try_get(reason)?;
    Ok(at.map(|at| RevocationRecord {
        at,
        reason: reason.and_then(Reason::from_name),
    }))
}
