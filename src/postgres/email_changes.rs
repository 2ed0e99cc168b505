//! Addresses of users, and who showed to read mail there.

use latchkey_domain::{
    audit::{AuditEvent, EventKind},
    revocation::{Reason, RevocationBatch},
};
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{
        EmailTemplate, Postgres, StoredUser, audit, email_outbox, retry_on_deadlock, sessions,
        users,
    },
};

const CHANGE: &str = include_str!("../../sql/queries/change_email.sql");

/// What came of a code.
pub struct ConfirmedEmail {
    /// The account as it is now.
    pub user: StoredUser,
    /// What ended with the address before; nothing where it was the same.
    pub ending: RevocationBatch,
}

impl Postgres {
    /// Uses a code: its address is that of the account from now on. Where it was another one
    /// before, every session but `keep` ends, other codes are void, and that address is told, all
    /// or nothing. Nothing if the code was used before. Where it was the same before, the event is
    /// that it was verified.
    pub async fn confirm_email(
        &self,
        code: Uuid,
        user: Uuid,
        keep: Uuid,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<ConfirmedEmail>, Error> {
        retry_on_deadlock!(self.try_confirm_email(code, user, keep, mail, event).await)
    }

    async fn try_confirm_email(
        &self,
        code: Uuid,
        user: Uuid,
        keep: Uuid,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<ConfirmedEmail>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let changed = db.first(CHANGE, &[&user, &code]).await?;
        let consumed = email_outbox::consume_code(&mut db, code).await?;
        let Some(row) = changed.filter(|_| consumed) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let before: Option<String> = row.try_get("email_before")?;
        let now = users::read(&row)?;
        let same = |before: &String| {
            now.account
                .identity
                .email
                .as_ref()
                .is_some_and(|email| email.eq_ignore_ascii_case(before))
        };
        let mut ending = RevocationBatch::of_sessions(user, &[], Reason::EmailChange);
        let mut event = event.clone();
        if before.as_ref().is_some_and(same) {
            event.kind = EventKind::EmailVerified;
        } else {
            ending = sessions::end_others(&mut db, user, keep, Reason::EmailChange).await?;
            email_outbox::void_codes(&mut db, user).await?;
            if let Some(before) = &before {
                email_outbox::insert_to(&mut db, mail, EmailTemplate::EmailChanged, user, before)
                    .await?;
            }
        }
        audit::insert(&mut db, &event).await?;
        db.commit().await?;
        Ok(Some(ConfirmedEmail { user: now, ending }))
    }
}
