//! Users: registration, lookup, profile updates, and password changes.

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, NewSession, Postgres, audit,
        batcher::Batcher,
        email_outbox, pools,
        pools::Pool,
        retry_on_deadlock, sessions,
        stored_user::{StoredUser, read_user},
    },
};
use std::collections::BTreeMap;

use latchkey_domain::{
    account::Role,
    audit::AuditEvent,
    group::GroupNames,
    revocation::{RevocationBatch, RevocationReason},
};
use tokio_postgres::Row;
use uuid::Uuid;

const INSERT_USER: &str = include_str!("../../sql/queries/insert_user.sql");
const FIND_USERS: &str = include_str!("../../sql/queries/find_users.sql");
const FIND_CREDENTIALS: &str = include_str!("../../sql/queries/find_credentials.sql");
const FIND_USER_TO_SIGN_IN: &str = include_str!("../../sql/queries/find_user_to_sign_in.sql");
const FIND_USER_BY_EMAIL: &str = include_str!("../../sql/queries/find_user_by_email.sql");
const UPDATE_USER: &str = include_str!("../../sql/queries/update_user.sql");
const CHANGE_PASSWORD: &str = include_str!("../../sql/queries/change_password.sql");
const UPGRADE_PASSWORD_HASH: &str = include_str!("../../sql/queries/upgrade_password_hash.sql");
const RESET_PASSWORD: &str = include_str!("../../sql/queries/reset_password.sql");

/// A user to insert.
#[derive(Clone, Copy)]
pub struct NewUser<'a> {
    /// The user ID, which the caller generates.
    pub id: Uuid,
    pub username: Option<&'a str>,
    pub email: Option<&'a str>,
    /// Whether a code has verified the email address.
    pub email_verified: bool,
    /// The password hash in PHC string format.
    pub password_hash: &'a str,
    /// The display name.
    pub name: Option<&'a str>,
    pub role: Role,
    /// The groups of the user, which must exist.
    pub groups: &'a GroupNames,
    /// Whether an administrator or the operator chose the password.
    pub password_change_required: bool,
}

/// A user with the password hash. It has no `Debug`, because the hash must not be logged.
pub struct Credentials {
    pub user: StoredUser,
    /// The password hash in PHC string format.
    pub password_hash: String,
}

impl Postgres {
    /// Inserts a user and the first session in one transaction, with an audit event.
    pub async fn create_account(
        &self,
        user: &NewUser<'_>,
        session: &NewSession<'_>,
        event: &AuditEvent,
    ) -> Result<StoredUser, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let user = insert_with_session(&mut db, user, session, event).await?;
        db.commit().await?;
        Ok(user)
    }

    /// Finds the user with this username or email address.
    pub async fn find_user_to_sign_in(&self, name: &str) -> Result<Option<Credentials>, Error> {
        self.connection()
            .await?
            .query_first(FIND_USER_TO_SIGN_IN, &[&name])
            .await?
            .as_ref()
            .map(read_credentials)
            .transpose()
    }

    /// Finds a user by ID, with the password hash.
    pub async fn find_credentials(&self, id: Uuid) -> Result<Option<Credentials>, Error> {
        self.connection()
            .await?
            .query_first(FIND_CREDENTIALS, &[&id])
            .await?
            .as_ref()
            .map(read_credentials)
            .transpose()
    }

    /// Finds a user by email address.
    pub async fn find_user_by_email(&self, email: &str) -> Result<Option<StoredUser>, Error> {
        self.connection()
            .await?
            .query_first(FIND_USER_BY_EMAIL, &[&email])
            .await?
            .as_ref()
            .map(read_user)
            .transpose()
    }

    /// Finds a user by ID. Concurrent lookups share a statement.
    pub async fn find_user(&self, id: Uuid) -> Result<Option<StoredUser>, Error> {
        self.users.submit(id, (), self.deadline()).await
    }

    /// Updates the profile of a user, with an audit event. `None` keeps a field, `Some(None)`
    /// clears it.
    pub async fn update_user(
        &self,
        id: Uuid,
        username: Option<Option<&str>>,
        name: Option<Option<&str>>,
        event: &AuditEvent,
    ) -> Result<Option<StoredUser>, Error> {
        let params: crate::postgres::Params = &[
            &id,
            &username.is_some(),
            &username.flatten(),
            &name.is_some(),
            &name.flatten(),
        ];
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.query_first(UPDATE_USER, params).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read_user(&row).map(Some)
    }

    /// Replaces a password hash by a stronger one of the same password. Returns `false` if the
    /// password was changed meanwhile.
    pub async fn upgrade_password_hash(
        &self,
        credentials: &Credentials,
        new_hash: &str,
    ) -> Result<bool, Error> {
        let params: crate::postgres::Params = &[
            &credentials.user.account.id,
            &credentials.password_hash,
            &new_hash,
        ];
        let changed = self
            .connection()
            .await?
            .execute(UPGRADE_PASSWORD_HASH, params)
            .await?;
        Ok(changed == 1)
    }

    /// Changes the password, and revokes all sessions except `current_session_id`. Returns `None`
    /// if the stored hash was changed meanwhile.
    ///
    /// The statement on `users` precedes those on `sessions`. A concurrent sign-in either waits for
    /// the first statement and then fails, or has committed a session, which a later statement
    /// revokes.
    ///
    /// # Errors
    /// `token_revoked` if `current_session_id` was revoked meanwhile; `unavailable`.
    pub async fn change_password(
        &self,
        credentials: &Credentials,
        new_hash: &str,
        current_session_id: Uuid,
        notification_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        retry_on_deadlock!(
            self.try_change_password(
                credentials,
                new_hash,
                current_session_id,
                notification_id,
                event
            )
            .await
        )
    }

    async fn try_change_password(
        &self,
        credentials: &Credentials,
        new_hash: &str,
        current_session_id: Uuid,
        notification_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let (mut db, user_id) = (self.connection().await?, credentials.user.account.id);
        db.begin().await?;
        let params: crate::postgres::Params = &[&user_id, &credentials.password_hash, &new_hash];
        let is_changed = db.execute(CHANGE_PASSWORD, params).await? == 1;
        sessions::require_unrevoked(&mut db, user_id, current_session_id).await?;
        if !is_changed {
            db.roll_back().await?;
            return Ok(None);
        }
        let batch = sessions::revoke_others(
            &mut db,
            user_id,
            current_session_id,
            RevocationReason::PasswordChange,
        )
        .await?;
        // A code is a credential: an attacker who has read the email must not reset the password.
        email_outbox::invalidate_codes(&mut db, user_id).await?;
        email_outbox::enqueue(
            &mut db,
            notification_id,
            EmailTemplate::PasswordChanged,
            user_id,
            event,
        )
        .await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(batch))
    }

    /// Sets a new password with a code. Returns `None` if the code is already used or the user
    /// doesn't exist.
    ///
    /// The same transaction increments the generation, revokes all sessions and tokens, invalidates
    /// other codes, and enqueues a notification with the ID `notification_id`.
    pub async fn reset_password(
        &self,
        email_id: Uuid,
        user_id: Uuid,
        new_hash: &str,
        notification_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<(StoredUser, RevocationBatch)>, Error> {
        retry_on_deadlock!(
            self.try_reset_password(email_id, user_id, new_hash, notification_id, event)
                .await
        )
    }

    async fn try_reset_password(
        &self,
        email_id: Uuid,
        user_id: Uuid,
        new_hash: &str,
        notification_id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<(StoredUser, RevocationBatch)>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let updated = db
            .query_first(RESET_PASSWORD, &[&user_id, &new_hash, &email_id])
            .await?;
        let consumed = email_outbox::consume_code(&mut db, email_id).await?;
        let Some(updated) = updated.filter(|_| consumed) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let updated = read_user(&updated)?;
        let batch = sessions::revoke_all(
            &mut db,
            user_id,
            updated.generation,
            RevocationReason::PasswordReset,
        )
        .await?;
        email_outbox::invalidate_codes(&mut db, user_id).await?;
        email_outbox::enqueue(
            &mut db,
            notification_id,
            EmailTemplate::PasswordChanged,
            user_id,
            event,
        )
        .await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some((updated, batch)))
    }
}

/// Inserts a user and the first session, with an audit event.
pub(super) async fn insert_with_session(
    db: &mut Connection,
    user: &NewUser<'_>,
    session: &NewSession<'_>,
    event: &AuditEvent,
) -> Result<StoredUser, Error> {
    let credentials = Credentials {
        user: insert_user(db, user).await?,
        password_hash: user.password_hash.to_owned(),
    };
    let session = sessions::insert(db, &credentials, session, event).await?;
    session.ok_or_else(|| Error::internal("the new user could not be signed in"))?;
    Ok(credentials.user)
}

pub(crate) async fn insert_user(
    db: &mut Connection,
    user: &NewUser<'_>,
) -> Result<StoredUser, Error> {
    let groups: Vec<&str> = user.groups.iter().collect();
    let params: crate::postgres::Params = &[
        &user.id,
        &user.username,
        &user.email,
        &user.password_hash,
        &user.name,
        &user.role.as_str(),
        &user.password_change_required,
        &user.email_verified,
        &groups,
    ];
    let row = db.query_first(INSERT_USER, params).await?;
    read_user(&row.ok_or_else(|| Error::internal("an insert returned no row"))?)
}

fn read_credentials(row: &Row) -> Result<Credentials, Error> {
    Ok(Credentials {
        user: read_user(row)?,
        password_hash: row.try_get("password_hash")?,
    })
}

/// Builds the batcher for lookups by ID.
pub(crate) fn build_batcher(batch_pool: &Pool, pool: &Pool) -> Batcher<Uuid, (), StoredUser> {
    pools::build_batcher(batch_pool, pool, find_users)
}

async fn find_users(
    mut db: Connection,
    keys: BTreeMap<Uuid, ()>,
) -> Result<BTreeMap<Uuid, StoredUser>, Error> {
    let ids: Vec<Uuid> = keys.into_keys().collect();
    let users = db.query(FIND_USERS, &[&ids]).await?;
    users
        .iter()
        .map(|row| read_user(row).map(|user| (user.account.id, user)))
        .collect()
}
