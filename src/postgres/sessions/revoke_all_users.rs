//! Revocation of the sessions and tokens of all users.

use latchkey_domain::{
    audit::AuditEvent,
    revocation::{RevocationBatch, RevocationReason},
};
use uuid::Uuid;

use super::revoke;
use crate::{
    error::Error,
    postgres::{Postgres, audit, retry_on_deadlock},
};

const SIGN_OUT_USERS: &str = include_str!("../../../sql/queries/sign_out_users.sql");

/// The committed revocations of some users.
pub struct SignedOutUsers {
    /// One batch for each user who had a session or token in force.
    pub batches: Vec<RevocationBatch>,
    /// The last examined user; `None` if there are no more users.
    pub last: Option<Uuid>,
}

impl Postgres {
    /// Revokes all sessions and tokens of the next users in the order of their IDs, in one
    /// transaction. Each of these users gets a copy of the audit event.
    pub async fn sign_out_users(
        &self,
        after: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<SignedOutUsers, Error> {
        retry_on_deadlock!(self.try_sign_out_users(after, reason, event).await)
    }

    async fn try_sign_out_users(
        &self,
        after: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<SignedOutUsers, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let rows = db.query(SIGN_OUT_USERS, &[&after]).await?;
        let (mut batches, mut last) = (Vec::new(), None);
        for row in &rows {
            let user_id: Uuid = row.try_get("id")?;
            last = Some(user_id);
            // Users without a session or token in force are skipped.
            if let Some(generation) = row.try_get("generation")? {
                batches.push(revoke::revoke_all(&mut db, user_id, generation, reason).await?);
                let event = AuditEvent {
                    subject_id: last,
                    ..event.clone()
                };
                audit::insert(&mut db, &event).await?;
            }
        }
        db.commit().await?;
        Ok(SignedOutUsers { batches, last })
    }
}
