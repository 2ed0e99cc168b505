//! Invitations: the code with which a user, created by an administrator, sets the first password.
//!
//! The code of an invitation lives for days, so it must survive the loss of Redis. It is derived from
//! its row in PostgreSQL again, and registered again before it is reserved.

use latchkey_domain::one_time_code::{CodePurpose, OneTimeCode};
use uuid::Uuid;

use crate::{
    app::{accounts::Accounts, origin::Origin},
    error::Error,
    redis::Reservation,
};

/// A code that sets a password, with its purpose and the ID of its email.
#[derive(Clone, Copy)]
pub(super) struct PasswordCode {
    pub(super) purpose: CodePurpose,
    pub(super) email_id: Uuid,
}

impl Accounts {
    /// Reserves a code that sets a password: a reset code, or the code of an invitation. Returns it
    /// with its purpose.
    ///
    /// For every subject, also a decoy, this reads PostgreSQL once and counts wrong codes in the same
    /// way. Responses therefore don't reveal which users are invited.
    ///
    /// # Errors
    /// `invalid_code` for an expired invitation, `unavailable`.
    pub(super) async fn reserve_password_code(
        &self,
        subject_id: Uuid,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<(CodePurpose, Reservation), Error> {
        let purpose = if self.register_invitation(subject_id, code).await? {
            CodePurpose::Invitation
        } else {
            CodePurpose::PasswordReset
        };
        let reservation = self.reserve_code(purpose, subject_id, code, origin);
        Ok((purpose, reservation.await?))
    }

    /// Returns whether the code is that of the user's invitation. An unused one is registered again,
    /// because Redis might have lost it.
    ///
    /// The result is not a check of the code: [`Accounts::reserve_code`] also counts attempts.
    async fn register_invitation(&self, user_id: Uuid, code: &OneTimeCode) -> Result<bool, Error> {
        let Some(invitation) = self.postgres.find_invitation(user_id).await? else {
            return Ok(false);
        };
        let (purpose, email_id) = (CodePurpose::Invitation, invitation.email_id);
        let hashes = self.code_keys.hashes(purpose, user_id, code);
        let first = self.code_keys.derive(purpose, email_id, user_id);
        let second = self
            .code_keys
            .derive_with_other_secret(purpose, email_id, user_id);
        let mut derived = [Some(first), second].into_iter().flatten();
        let Some(current) = derived.find(|derived| hashes.contains(&derived.hash)) else {
            return Ok(false);
        };
        if invitation.is_used {
            return Ok(true);
        }
        let lifetime = self
            .mail
            .remaining_invitation_lifetime(invitation.first_sent_at)
            .ok_or(Error::InvitationExpired)?;
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        let hash = &current.hash;
        self.redis
            .register_code(purpose, user_id, email_id, hash, hash, lifetime_ms)
            .await?;
        Ok(true)
    }
}
