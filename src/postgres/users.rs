//! Users.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use latchkey_domain::{
    account::{Account, Identity, Role},
    audit::AuditEvent,
    revocation::{Reason, RevocationBatch},
};
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, NewSession, Postgres, audit, batcher::Batcher, email_outbox,
        pools, retry_on_deadlock, sessions,
    },
};

const INSERT: &str = include_str!("../../sql/queries/insert_user.sql");
const FIND: &str = include_str!("../../sql/queries/find_users.sql");
const FIND_CREDENTIALS: &str = include_str!("../../sql/queries/find_credentials.sql");
const FIND_TO_SIGN_IN: &str = include_str!("../../sql/queries/find_user_to_sign_in.sql");
const FIND_BY_EMAIL: &str = include_str!("../../sql/queries/find_user_by_email.sql");
const UPDATE: &str = include_str!("../../sql/queries/update_user.sql");
const CHANGE_PASSWORD: &str = include_str!("../../sql/queries/change_password.sql");
const RAISE_HASH: &str = include_str!("../../sql/queries/upgrade_password_hash.sql");
const RESET_PASSWORD: &str = include_str!("../../sql/queries/reset_password.sql");

/// An account that is about to be.
pub struct NewUser<'a> {
    /// Its id, made by the caller.
    pub id: Uuid,
    /// The user name, if there is one.
    pub username: Option<&'a str>,
    /// The address, if there is one.
    pub email: Option<&'a str>,
    /// The hash in PHC form.
    pub password_hash: &'a str,
    /// The display name, if there is one.
    pub name: Option<&'a str>,
    /// What it may do.
    pub role: Role,
}

/// A row of `users`, but the hash.
#[derive(Debug, Clone)]
pub struct StoredUser {
    /// The account.
    pub account: Account,
    /// The generation: tokens with a smaller one are refused.
    pub generation: i64,
    /// Whether sign-in is refused.
    pub disabled: bool,
}

/// An account, and what a password is checked against. It has no `Debug`, and never leaves the
/// gateway.
pub struct Credentials {
    /// The account.
    pub user: StoredUser,
    /// The hash in PHC form.
    pub password_hash: String,
}

impl Postgres {
    /// A new account and its first session, or neither.
    pub async fn create_account(
        &self,
        user: &NewUser<'_>,
        session: &NewSession<'_>,
        event: &AuditEvent,
    ) -> Result<StoredUser, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let password_hash = user.password_hash.to_owned();
        let fresh = Credentials {
            user: insert(&mut db, user).await?,
            password_hash,
        };
        let opened = sessions::open(&mut db, &fresh, session, event).await?;
        opened.ok_or_else(|| Error::internal("the new user could not be signed in"))?;
        db.commit().await?;
        Ok(fresh.user)
    }

    /// The account with this user name or address.
    pub async fn find_user_to_sign_in(&self, name: &str) -> Result<Option<Credentials>, Error> {
        self.connection()
            .await?
            .first(FIND_TO_SIGN_IN, &[&name])
            .await?
            .as_ref()
            .map(read_credentials)
            .transpose()
    }

    /// The account with this id, and what its password is checked against.
    pub async fn find_credentials(&self, id: Uuid) -> Result<Option<Credentials>, Error> {
        self.connection()
            .await?
            .first(FIND_CREDENTIALS, &[&id])
            .await?
            .as_ref()
            .map(read_credentials)
            .transpose()
    }

    /// The account with this address.
    pub async fn find_user_by_email(&self, email: &str) -> Result<Option<StoredUser>, Error> {
        self.connection()
            .await?
            .first(FIND_BY_EMAIL, &[&email])
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    /// The account with this id. Who asks at the same moment shares a statement.
    pub async fn find_user(&self, id: Uuid) -> Result<Option<StoredUser>, Error> {
        self.users.ask(id, (), self.deadline()).await
    }

    /// Changes what is given, and records the event: `None` leaves a member as it is, `Some(None)`
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
        let Some(row) = db.first(UPDATE, params).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read(&row).map(Some)
    }

    /// Stores a stronger hash of the same password, unless the password was changed meanwhile.
    pub async fn upgrade_password_hash(
        &self,
        known: &Credentials,
        stronger: &str,
    ) -> Result<bool, Error> {
        let params: crate::postgres::Params =
            &[&known.user.account.id, &known.password_hash, &stronger];
        let changed = self.connection().await?.change(RAISE_HASH, params).await?;
        Ok(changed == 1)
    }

    /// Changes the password and ends every session but `keep`; nothing if the password was changed
    /// meanwhile. Two statements, users first: a sign-in that began before either waits for the
    /// first, and then finds another hash, or has committed its session, which the second then
    /// sees.
    pub async fn change_password(
        &self,
        known: &Credentials,
        new_hash: &str,
        keep: Uuid,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        retry_on_deadlock!(
            self.try_change_password(known, new_hash, keep, mail, event)
                .await
        )
    }

    async fn try_change_password(
        &self,
        known: &Credentials,
        new_hash: &str,
        keep: Uuid,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let (mut db, user) = (self.connection().await?, known.user.account.id);
        db.begin().await?;
        if db
            .change(CHANGE_PASSWORD, &[&user, &known.password_hash, &new_hash])
            .await?
            == 0
        {
            db.roll_back().await?;
            return Ok(None);
        }
        let ended = sessions::end_others(&mut db, user, keep, Reason::PasswordChange).await?;
        // A code is a credential as well: whoever read the mail must not take the account back.
        email_outbox::void_codes(&mut db, user).await?;
        email_outbox::promise(&mut db, mail, EmailTemplate::PasswordChanged, user).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(ended))
    }

    /// Uses a code to set a new password: raises the generation, ends every session, voids other
    /// codes and tells the owner, all or nothing. Nothing if the code was used before or the
    /// account is gone.
    pub async fn reset_password(
        &self,
        code: Uuid,
        user: Uuid,
        new_hash: &str,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<(StoredUser, RevocationBatch)>, Error> {
        retry_on_deadlock!(
            self.try_reset_password(code, user, new_hash, mail, event)
                .await
        )
    }

    async fn try_reset_password(
        &self,
        code: Uuid,
        user: Uuid,
        new_hash: &str,
        mail: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<(StoredUser, RevocationBatch)>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let updated = db.first(RESET_PASSWORD, &[&user, &new_hash, &code]).await?;
        let consumed = email_outbox::consume_code(&mut db, code).await?;
        let Some(updated) = updated.filter(|_| consumed) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let updated = read(&updated)?;
        let ending =
            sessions::end_all(&mut db, user, updated.generation, Reason::PasswordReset).await?;
        email_outbox::void_codes(&mut db, user).await?;
        email_outbox::promise(&mut db, mail, EmailTemplate::PasswordChanged, user).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some((updated, ending)))
    }
}

/// A row for a new account.
pub(crate) async fn insert(db: &mut Connection, user: &NewUser<'_>) -> Result<StoredUser, Error> {
    let params: crate::postgres::Params = &[
        &user.id,
        &user.username,
        &user.email,
        &user.password_hash,
        &user.name,
        &user.role.as_str(),
    ];
    let row = db.first(INSERT, params).await?;
    read(&row.ok_or_else(|| Error::internal("an insert returned no row"))?)
}

/// Reads a row of `users`.
pub(crate) fn read(row: &Row) -> Result<StoredUser, Error> {
    let role: &str = row.try_get("role")?;
    let identity = Identity {
        version: row.try_get("identity_version")?,
        role: Role::from_name(role).ok_or_else(|| Error::internal("an unknown role is stored"))?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        email_verified: row.try_get("email_verified")?,
        name: row.try_get("name")?,
    };
    Ok(StoredUser {
        account: Account {
            id: row.try_get("id")?,
            identity,
            created_at: row.try_get("created_at")?,
        },
        generation: row.try_get("generation")?,
        disabled: row.try_get("disabled")?,
    })
}

fn read_credentials(row: &Row) -> Result<Credentials, Error> {
    Ok(Credentials {
        user: read(row)?,
        password_hash: row.try_get("password_hash")?,
    })
}

/// Accounts by id.
pub(crate) fn finder(batch_connections: &Pool, pool: &Pool) -> Batcher<Uuid, (), StoredUser> {
    pools::batcher(batch_connections, pool, find)
}

async fn find(
    mut db: Connection,
    wanted: BTreeMap<Uuid, ()>,
) -> Result<BTreeMap<Uuid, StoredUser>, Error> {
    let ids: Vec<Uuid> = wanted.into_keys().collect();
    let users = db.all(FIND, &[&ids]).await?;
    users
        .iter()
        .map(|row| read(row).map(|user| (user.account.id, user)))
        .collect()
}
