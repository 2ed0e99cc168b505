//! Verification and change of email addresses.

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, Params, Postgres, StoredUser, audit, email_outbox,
        retry_on_deadlock, sessions, stored_user::read_user,
    },
};
use latchkey_domain::{
    audit::{Actor, AuditEvent, EventKind},
    revocation::{RevocationBatch, RevocationReason},
};
use uuid::Uuid;

const RELEASE_UNVERIFIED_EMAIL: &str =
    include_str!("../../sql/queries/release_unverified_email.sql");
const CHANGE_EMAIL: &str = include_str!("../../sql/queries/change_email.sql");

/// The result of using a verification code.
pub struct ConfirmedEmail {
    /// The user after the change.
    pub user: StoredUser,
    /// The user who had the address without having verified it, and has lost it.
    pub previous_holder: Option<StoredUser>,
    /// The revoked sessions. Empty if the email address was only verified, not changed.
    pub batch: RevocationBatch,
}

impl Postgres {
    /// Consumes the code of an email and stores the recipient as the verified address of the user.
    /// Returns `None` if the code is already used. Another user who has the address, but hasn't
    /// verified it, loses it.
    ///
    /// If the address differs from the previous one, the same transaction revokes all sessions
    /// except `current_session_id`, invalidates other codes, and enqueues a notification with the
    /// ID `notification_id` to the previous address. Otherwise the audit event becomes
    /// `email_verified`.
    ///
    /// # Errors
    /// `token_revoked` if `current_session_id` was revoked meanwhile; `email_taken`, `unavailable`.
    pub async fn confirm_email(
        &self,
        email_id: Uuid,
        user_id: Uuid,
        current_session_id: Uuid,
        notification_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<ConfirmedEmail>, Error> {
        retry_on_deadlock!(
            self.try_confirm_email(
                email_id,
                user_id,
                current_session_id,
                notification_id,
                event
            )
            .await
        )
    }

    async fn try_confirm_email(
        &self,
        email_id: Uuid,
        user_id: Uuid,
        current_session_id: Uuid,
        notification_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<ConfirmedEmail>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let previous_holder = release_unverified_email(&mut db, user_id, email_id).await?;
        let changed = db.query_first(CHANGE_EMAIL, &[&user_id, &email_id]).await?;
        // A concurrent request can consume the code while the first statement waits for the lock.
        let consumed = email_outbox::consume_code(&mut db, email_id).await?;
        sessions::require_unrevoked(&mut db, user_id, current_session_id).await?;
        let Some(row) = changed.filter(|_| consumed) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let previous_email: Option<String> = row.try_get("email_before")?;
        let was_verified: bool = row.try_get("verified_before")?;
        let updated = read_user(&row)?;
        let is_same = |previous: &String| {
            updated
                .account
                .identity
                .email
                .as_ref()
                .is_some_and(|email| email.eq_ignore_ascii_case(previous))
        };
        let mut batch = RevocationBatch::of_sessions(user_id, &[], RevocationReason::EmailChange);
        let mut event = event.clone();
        if previous_email.as_ref().is_some_and(is_same) {
            event.kind = EventKind::EmailVerified;
        } else {
            batch = sessions::revoke_others(
                &mut db,
                user_id,
                current_session_id,
                RevocationReason::EmailChange,
            )
            .await?;
            email_outbox::invalidate_codes(&mut db, user_id).await?;
            let notified = previous_email.filter(|_| was_verified);
            notify_previous_address(&mut db, notification_id, user_id, notified, &event).await?;
        }
        audit::insert(&mut db, &event).await?;
        db.commit().await?;
        Ok(Some(ConfirmedEmail {
            user: updated,
            previous_holder,
            batch,
        }))
    }
}

async fn notify_previous_address(
    db: &mut Connection,
    notification_id: Uuid,
    user_id: Uuid,
    address: Option<String>,
    event: &AuditEvent,
) -> Result<(), Error> {
    let Some(address) = address else {
        return Ok(());
    };
    let template = EmailTemplate::EmailChanged;
    email_outbox::enqueue_to(db, notification_id, template, user_id, &address, event).await
}

/// Removes the address of a code from another user who hasn't verified it. `user_id` is the owner of
/// the code.
pub(super) async fn release_unverified_email(
    db: &mut Connection,
    user_id: Uuid,
    email_id: Uuid,
) -> Result<Option<StoredUser>, Error> {
    let params: Params = &[&user_id, &email_id];
    let Some(row) = db.query_first(RELEASE_UNVERIFIED_EMAIL, params).await? else {
        return Ok(None);
    };
    let holder = read_user(&row)?;
    email_outbox::invalidate_codes(db, holder.account.id).await?;
    let event = AuditEvent::new(
        EventKind::EmailChanged,
        Actor::Server,
        Some(holder.account.id),
    );
    audit::insert(db, &event.with_reason("verified_by_other_user")).await?;
    Ok(Some(holder))
}
