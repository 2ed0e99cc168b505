//! Users, as administrators and the operator see and change them.

use latchkey_domain::{
    audit::AuditEvent,
    page::Page,
    revocation::{Reason, RevocationBatch},
    user_change::{AccountChange, UserState},
};
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, NewUser, Postgres, StoredUser, audit, email_outbox,
        personal_access_tokens, retry_on_deadlock, revocations, sessions,
        users::{self, insert, read},
    },
};

const LIST: &str = include_str!("../../sql/queries/list_users.sql");
const SEARCH: &str = include_str!("../../sql/queries/search_users.sql");
const HOLD: &str = include_str!("../../sql/queries/lock_user_and_admins.sql");
const CHANGE: &str = include_str!("../../sql/queries/change_user.sql");
const DELETE: &str = include_str!("../../sql/queries/delete_user.sql");
const DELETE_MAILS: &str = include_str!("../../sql/queries/delete_user_emails.sql");

/// An account after a change, and what ended by it.
pub struct Changed {
    /// The account as it is now.
    pub user: StoredUser,
    /// What ended, if everything did.
    pub ending: Option<RevocationBatch>,
}

impl StoredUser {
    fn standing(&self) -> UserState {
        UserState {
            identity: self.account.identity.clone(),
            disabled: self.disabled,
        }
    }
}

impl Postgres {
    /// A page of all accounts, or of those whose user name or address begins like this; and one
    /// more if there are more.
    pub async fn list_users(
        &self,
        prefix: Option<&str>,
        page: Page,
    ) -> Result<Vec<StoredUser>, Error> {
        let (mut db, limit) = (self.connection().await?, i64::from(page.limit) + 1);
        let Some(prefix) = prefix else {
            return db
                .all(LIST, &[&page.after, &limit])
                .await?
                .iter()
                .map(read)
                .collect();
        };
        db.begin().await?;
        // Which index is best depends on what is looked for: one plan for all would read all
        // accounts for a rare name.
        db.batch("set local plan_cache_mode = force_custom_plan")
            .await?;
        let rows = db.all(SEARCH, &[&page.after, &limit, &prefix]).await?;
        db.commit().await?;
        rows.iter().map(read).collect()
    }

    /// A new account without a session, and the promise of an invitation, if there is to be one.
    pub async fn create_user(
        &self,
        user: &NewUser<'_>,
        invitation: Option<Uuid>,
        event: &AuditEvent,
    ) -> Result<StoredUser, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let user = insert(&mut db, user).await?;
        if let Some(mail) = invitation {
            email_outbox::promise(&mut db, mail, EmailTemplate::Invitation, user.account.id)
                .await?;
        }
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(user)
    }

    /// Changes an account with all that comes along; nothing if it is gone. A new password is told
    /// to the owner, in this mail. Everything that changes is an event of its own, by whom and from
    /// where this event says.
    ///
    /// # Errors
    /// `last_admin`, `username_taken`, `email_taken`, `invalid_request`, `unavailable`.
    pub async fn update_managed_user(
        &self,
        id: Uuid,
        change: &AccountChange,
        new_hash: Option<&str>,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<Changed>, Error> {
        retry_on_deadlock!(
            self.try_change_user(id, change, new_hash, mail, event)
                .await
        )
    }

    async fn try_change_user(
        &self,
        id: Uuid,
        change: &AccountChange,
        new_hash: Option<&str>,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<Changed>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some((user, is_last)) = hold(&mut db, id).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        let (before, after) = (user.standing(), user.standing().changed(change));
        if is_last && !after.administers() {
            db.roll_back().await?;
            return Err(Error::LastAdmin);
        }
        let ends = before.ends(&after, new_hash.is_some());
        let user = write(&mut db, id, &after, new_hash, ends.is_some()).await?;
        if ends.is_some() || before.moves(&after) {
            email_outbox::void_codes(&mut db, id).await?;
        }
        if new_hash.is_some() {
            email_outbox::promise(&mut db, mail, EmailTemplate::PasswordChanged, id).await?;
        }
        let ending = match ends {
            Some(reason) => Some(sessions::end_all(&mut db, id, user.generation, reason).await?),
            None => None,
        };
        for (kind, reason) in before.events(&after, new_hash.is_some()) {
            audit::insert(
                &mut db,
                &AuditEvent {
                    kind,
                    reason: reason.map(|reason| reason.as_str().into()),
                    ..event.clone()
                },
            )
            .await?;
        }
        db.commit().await?;
        Ok(Some(Changed { user, ending }))
    }

    /// Deletes the account and all that is its own; nothing if it is gone.
    ///
    /// # Errors
    /// `last_admin`, `unavailable`.
    pub async fn delete_user(
        &self,
        id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        retry_on_deadlock!(self.try_delete_user(id, event).await)
    }

    async fn try_delete_user(
        &self,
        id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some((user, is_last)) = hold(&mut db, id).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        if is_last {
            db.roll_back().await?;
            return Err(Error::LastAdmin);
        }
        let ending = RevocationBatch::of_user(id, user.generation + 1, Reason::AccountDeleted);
        let ending = personal_access_tokens::delete_all(&mut db, id, ending).await?;
        db.change(DELETE, &[&id]).await?;
        db.change(DELETE_MAILS, &[&id]).await?;
        revocations::record(&mut db, &ending).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(ending))
    }
}

/// Holds an account, so that it stays what it is; and whether nobody else administers.
async fn hold(db: &mut Connection, id: Uuid) -> Result<Option<(StoredUser, bool)>, Error> {
    let mut held = read_held(db, id).await?;
    // Alone: the only one, or made an administrator after the statement had looked; then a second
    // look holds the others.
    if held.len() == 1 && held[0].standing().administers() {
        held = read_held(db, id).await?;
    }
    let others = held
        .iter()
        .any(|user| user.account.id != id && user.standing().administers());
    let user = held.into_iter().find(|user| user.account.id == id);
    Ok(user.map(|user| {
        let is_last = user.standing().administers() && !others;
        (user, is_last)
    }))
}

async fn read_held(db: &mut Connection, id: Uuid) -> Result<Vec<StoredUser>, Error> {
    db.all(HOLD, &[&id])
        .await?
        .iter()
        .map(users::read)
        .collect()
}

async fn write(
    db: &mut Connection,
    id: Uuid,
    after: &UserState,
    new_hash: Option<&str>,
    ends: bool,
) -> Result<StoredUser, Error> {
    let identity = &after.identity;
    let params: crate::postgres::Params = &[
        &id,
        &identity.username,
        &identity.email,
        &identity.email_verified,
        &identity.name,
        &identity.role.as_str(),
        &after.disabled,
        &new_hash,
        &ends,
        &identity.version,
    ];
    let row = db.first(CHANGE, params).await?;
    read(&row.ok_or_else(|| Error::internal("a locked row is missing"))?)
}
