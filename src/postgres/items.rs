//! Items.

use std::{collections::BTreeMap, sync::Arc};

use deadpool_postgres::Pool;
use latchkey_domain::{item::IfMatch, page::Page};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, Postgres, pools};
use crate::{error::Error, postgres::batcher::Batcher};

const INSERT: &str = include_str!("../../sql/queries/insert_items.sql");
const FIND: &str = include_str!("../../sql/queries/find_items.sql");
const LIST: &str = include_str!("../../sql/queries/list_items.sql");
const UPDATE: &str = include_str!("../../sql/queries/update_item.sql");
const DELETE: &str = include_str!("../../sql/queries/delete_item.sql");
const COUNT: &str = include_str!("../../sql/queries/count_items.sql");

/// A row of `items`.
#[derive(Debug, Clone)]
pub struct StoredItem {
    /// The id.
    pub id: Uuid,
    /// The name.
    pub name: String,
    /// The description, if there is one.
    pub description: Option<String>,
    /// The version that the entity tag shows.
    pub version: i64,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it was last changed.
    pub updated_at: OffsetDateTime,
}

/// What changes: `None` leaves a member as it is, `Some(None)` clears it.
#[derive(Debug, Clone, Copy)]
pub struct ItemChange<'a> {
    /// The name.
    pub name: Option<&'a str>,
    /// The description.
    pub description: Option<Option<&'a str>>,
}

/// Whose it is, and its id.
pub(super) type ItemKey = (Uuid, Uuid);

/// An item that is about to be; copies are cheap.
#[derive(Clone)]
pub(super) struct NewItem {
    name: Arc<str>,
    description: Option<Arc<str>>,
}

impl Postgres {
    /// A new item. Who makes some at the same moment shares a statement, and its commit.
    pub async fn insert_item(
        &self,
        owner: Uuid,
        id: Uuid,
        name: &str,
        description: Option<&str>,
    ) -> Result<StoredItem, Error> {
        let new = NewItem {
            name: name.into(),
            description: description.map(Into::into),
        };
        let made = self
            .new_items
            .ask((owner, id), new, self.deadline())
            .await?;
        made.ok_or_else(|| Error::internal("an insert returned no row"))
    }

    /// One item of this owner. Who asks at the same moment shares a statement.
    pub async fn find_item(&self, owner: Uuid, id: Uuid) -> Result<Option<StoredItem>, Error> {
        self.items.ask((owner, id), (), self.deadline()).await
    }

    /// A page of this owner's items, and one more if there are more.
    pub async fn list_items(&self, owner: Uuid, page: Page) -> Result<Vec<StoredItem>, Error> {
        let rows = self
            .connection()
            .await?
            .all(LIST, &[&owner, &page.after, &(i64::from(page.limit) + 1)])
            .await?;
        rows.iter().map(read).collect()
    }

    /// Changes the item if its version is one of those allowed.
    pub async fn update_item(
        &self,
        owner: Uuid,
        id: Uuid,
        change: ItemChange<'_>,
        versions: &IfMatch,
    ) -> Result<Option<StoredItem>, Error> {
        let params: super::Params = &[
            &owner,
            &id,
            &change.name.is_some(),
            &change.name,
            &change.description.is_some(),
            &change.description.flatten(),
            &versions.versions(),
        ];
        self.connection()
            .await?
            .first(UPDATE, params)
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    /// Deletes the item if its version is one of those allowed; whether it did.
    pub async fn delete_item(
        &self,
        owner: Uuid,
        id: Uuid,
        versions: &IfMatch,
    ) -> Result<bool, Error> {
        Ok(self
            .connection()
            .await?
            .first(DELETE, &[&owner, &id, &versions.versions()])
            .await?
            .is_some())
    }

    /// How many items this owner has.
    pub async fn count_items(&self, owner: Uuid) -> Result<i64, Error> {
        let row = self.connection().await?.first(COUNT, &[&owner]).await?;
        Ok(row
            .ok_or_else(|| Error::internal("a count returned no row"))?
            .try_get(0)?)
    }
}

/// Items by owner and id.
pub(super) fn finder(batch_connections: &Pool, pool: &Pool) -> Batcher<ItemKey, (), StoredItem> {
    pools::batcher(batch_connections, pool, find)
}

/// New items.
pub(super) fn inserter(
    batch_connections: &Pool,
    pool: &Pool,
) -> Batcher<ItemKey, NewItem, StoredItem> {
    pools::batcher(batch_connections, pool, insert)
}

async fn find(
    mut db: Connection,
    wanted: BTreeMap<ItemKey, ()>,
) -> Result<BTreeMap<ItemKey, StoredItem>, Error> {
    let (owners, ids): (Vec<Uuid>, Vec<Uuid>) = wanted.into_keys().unzip();
    db.all(FIND, &[&owners, &ids])
        .await?
        .iter()
        .map(read_with_key)
        .collect()
}

async fn insert(
    mut db: Connection,
    new: BTreeMap<ItemKey, NewItem>,
) -> Result<BTreeMap<ItemKey, StoredItem>, Error> {
    let (owners, ids): (Vec<Uuid>, Vec<Uuid>) = new.keys().copied().unzip();
    let names: Vec<&str> = new.values().map(|item| &*item.name).collect();
    let descriptions: Vec<Option<&str>> = new
        .values()
        .map(|item| item.description.as_deref())
        .collect();
    db.all(INSERT, &[&owners, &ids, &names, &descriptions])
        .await?
        .iter()
        .map(read_with_key)
        .collect()
}

fn read_with_key(row: &Row) -> Result<(ItemKey, StoredItem), Error> {
    let item = read(row)?;
    Ok(((row.try_get("user_id")?, item.id), item))
}

fn read(row: &Row) -> Result<StoredItem, Error> {
    Ok(StoredItem {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
