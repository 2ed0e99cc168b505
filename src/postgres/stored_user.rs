//! A user as PostgreSQL stores it.

use latchkey_domain::{
    account::{Account, Identity},
    group::GroupNames,
};
use tokio_postgres::Row;

use crate::error::Error;

/// A row of `users` without the password hash.
#[derive(Debug, Clone)]
pub struct StoredUser {
    pub account: Account,
    /// Tokens of a smaller generation are revoked.
    pub generation: i64,
    /// Whether sign-in is rejected.
    pub disabled: bool,
}

/// Reads the columns of a user from a row.
pub(crate) fn read_user(row: &Row) -> Result<StoredUser, Error> {
    let role: &str = row.try_get("role")?;
    let groups: Vec<&str> = row.try_get("groups")?;
    let identity = Identity {
        version: row.try_get("identity_version")?,
        role: role
            .parse()
            .map_err(|_| Error::internal("an unknown role is stored"))?,
        username: row.try_get("username")?,
        email: row.try_get("email")?,
        email_verified: row.try_get("email_verified")?,
        name: row.try_get("name")?,
        groups: GroupNames::from_trusted(groups.into_iter()),
    };
    Ok(StoredUser {
        account: Account {
            id: row.try_get("id")?,
            identity,
            created_at: row.try_get("created_at")?,
            password_change_required: row.try_get("password_change_required")?,
        },
        generation: row.try_get("generation")?,
        disabled: row.try_get("disabled")?,
    })
}
