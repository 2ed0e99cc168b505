//! Groups: creation, lookup, description, deletion, and the lock of assigned groups.

use latchkey_domain::{
    audit::AuditEvent,
    group::{GroupNames, MAX_GROUPS},
};
use time::OffsetDateTime;
use tokio_postgres::Row;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, audit},
};

const LOCK_GROUPS_FOR_INSERT: &str = include_str!("../../sql/queries/lock_groups_for_insert.sql");
const INSERT_GROUP: &str = include_str!("../../sql/queries/insert_group.sql");
const FIND_GROUP: &str = include_str!("../../sql/queries/find_group.sql");
const LIST_GROUPS: &str = include_str!("../../sql/queries/list_groups.sql");
const UPDATE_GROUP: &str = include_str!("../../sql/queries/update_group.sql");
const LOCK_GROUP: &str = include_str!("../../sql/queries/lock_group.sql");
const HAS_MEMBERS: &str = include_str!("../../sql/queries/has_members.sql");
const DELETE_GROUP: &str = include_str!("../../sql/queries/delete_group.sql");
const LOCK_ASSIGNED_GROUPS: &str = include_str!("../../sql/queries/lock_assigned_groups.sql");

/// A row of `groups`.
#[derive(Debug, Clone)]
pub struct StoredGroup {
    pub name: String,
    /// The description for administrators.
    pub description: Option<String>,
    pub created_at: OffsetDateTime,
}

impl Postgres {
    /// Inserts a group, with its audit event.
    ///
    /// # Errors
    /// `group_taken`, `invalid_request` if there are too many groups, `unavailable`.
    pub async fn create_group(
        &self,
        name: &str,
        description: Option<&str>,
        event: &AuditEvent,
    ) -> Result<StoredGroup, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        db.execute(LOCK_GROUPS_FOR_INSERT, &[]).await?;
        let params: crate::postgres::Params = &[&name, &description, &MAX_GROUPS];
        let Some(row) = db.query_first(INSERT_GROUP, params).await? else {
            db.roll_back().await?;
            return Err(Error::malformed(format!(
                "There are {MAX_GROUPS} groups, which is the maximum. Delete one first."
            )));
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read_group(&row)
    }

    /// Finds a group by its name.
    pub async fn find_group(&self, name: &str) -> Result<Option<StoredGroup>, Error> {
        self.connection()
            .await?
            .query_first(FIND_GROUP, &[&name])
            .await?
            .as_ref()
            .map(read_group)
            .transpose()
    }

    /// Lists at most `limit` groups after a name, in ascending order of names.
    pub async fn list_groups(&self, after: &str, limit: i64) -> Result<Vec<StoredGroup>, Error> {
        let rows = self
            .connection()
            .await?
            .query(LIST_GROUPS, &[&after, &limit])
            .await?;
        rows.iter().map(read_group).collect()
    }

    /// Updates the description of a group, with an audit event. `None` keeps it, `Some(None)`
    /// clears it. Returns `None` if there is no such group.
    pub async fn update_group(
        &self,
        name: &str,
        description: Option<Option<&str>>,
        event: &AuditEvent,
    ) -> Result<Option<StoredGroup>, Error> {
        let params: crate::postgres::Params =
            &[&name, &description.is_some(), &description.flatten()];
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.query_first(UPDATE_GROUP, params).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read_group(&row).map(Some)
    }

    /// Deletes a group without members, with an audit event. Returns `false` if there is no such
    /// group.
    ///
    /// # Errors
    /// `group_has_members`, `unavailable`.
    pub async fn delete_group(&self, name: &str, event: &AuditEvent) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db.query_first(LOCK_GROUP, &[&name]).await?.is_none() {
            db.roll_back().await?;
            return Ok(false);
        }
        let row = db.query_first(HAS_MEMBERS, &[&name]).await?;
        if row.is_none_or(|row| row.get(0)) {
            db.roll_back().await?;
            return Err(Error::GroupHasMembers);
        }
        db.execute(DELETE_GROUP, &[&name]).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(true)
    }
}

/// Locks groups until the end of the transaction that assigns them to a user, so that none of them
/// is deleted meanwhile.
///
/// # Errors
/// `invalid_request` if one of them doesn't exist; `unavailable`.
pub(super) async fn lock_assigned(db: &mut Connection, groups: &GroupNames) -> Result<(), Error> {
    let names: Vec<&str> = groups.iter().collect();
    if names.is_empty() {
        return Ok(());
    }
    let locked = db.query(LOCK_ASSIGNED_GROUPS, &[&names]).await?;
    if locked.len() == names.len() {
        return Ok(());
    }
    db.roll_back().await?;
    Err(Error::invalid_field(
        "groups",
        "contains a group that doesn't exist; create the group first",
    ))
}

fn read_group(row: &Row) -> Result<StoredGroup, Error> {
    Ok(StoredGroup {
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        created_at: row.try_get("created_at")?,
    })
}
