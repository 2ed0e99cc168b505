//! Use case of the operator: revoke the sessions and tokens of all users.

use std::sync::Arc;

use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    revocation::RevocationReason,
};
use uuid::Uuid;

use crate::{
    app::{admin::users::Users, revocation::WaitFor},
    error::Error,
};

/// The progress of signing out all users.
pub struct SignOutProgress {
    /// The number of users whose sessions and tokens were revoked in this step.
    pub users: usize,
    /// The last examined user; `None` at the end.
    pub last: Option<Uuid>,
}

impl Users {
    /// Revokes all sessions and personal access tokens of the next users after `after`, in the
    /// order of their IDs. When it returns, every replica rejects them.
    ///
    /// Each step is one short transaction, so that requests don't wait. Users without a session or
    /// token in force are skipped, so an interrupted run can be repeated from the start.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn sign_out_next_users(
        self: &Arc<Self>,
        after: Uuid,
    ) -> Result<SignOutProgress, Error> {
        let (users, reason) = (self.clone(), RevocationReason::Revoked);
        let event = AuditEvent::new(EventKind::SessionsRevoked, Actor::Operator, None)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                let signed_out = users.postgres.sign_out_users(after, reason, &event).await?;
                let published = users.revocations.publish_all(&signed_out.batches).await?;
                users
                    .revocations
                    .wait_for(published, WaitFor::Enforced)
                    .await;
                Ok(SignOutProgress {
                    users: signed_out.batches.len(),
                    last: signed_out.last,
                })
            })
            .await
    }
}
