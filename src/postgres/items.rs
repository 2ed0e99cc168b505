//! Items of users: batched lookups and inserts, and conditional updates.

use std::{collections::BTreeMap, sync::Arc};

use latchkey_domain::{item::IfMatch, page::Page};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::{Connection, Postgres, pools, pools::Pool};
use crate::{error::Error, postgres::batcher::Batcher};

const INSERT_ITEMS: &str = include_str!("../../sql/queries/insert_items.sql");
const FIND_ITEMS: &str = include_str!("../../sql/queries/find_items.sql");
const LIST_ITEMS: &str = include_str!("../../sql/queries/list_items.sql");
const UPDATE_ITEM: &str = include_str!("../../sql/queries/update_item.sql");
const DELETE_ITEM: &str = include_str!("../../sql/queries/delete_item.sql");
const COUNT_ITEMS: &str = include_str!("../../sql/queries/count_items.sql");

/// A row of `items`.
#[derive(Debug, Clone)]
pub struct StoredItem {
    pub id: Uuid,
    pub name: String,
    pub description: Option<String>,
    /// Incremented by each change; the entity tag contains it.
    pub version: i64,
    pub created_at: OffsetDateTime,
    pub updated_at: OffsetDateTime,
}

/// A partial update: `None` keeps a field, `Some(None)` clears it.
#[derive(Debug, Clone, Copy)]
pub struct ItemChange<'a> {
    pub name: Option<&'a str>,
    pub description: Option<Option<&'a str>>,
}

/// The user ID and the item ID.
pub(super) type ItemKey = (Uuid, Uuid);

/// An item to insert. Clones share the texts.
#[derive(Clone)]
pub(super) struct NewItem {
    name: Arc<str>,
    description: Option<Arc<str>>,
}

impl Postgres {
    /// Inserts an item. Concurrent inserts share a statement and its commit.
    pub async fn insert_item(
        &self,
        user_id: Uuid,
        id: Uuid,
        name: &str,
        description: Option<&str>,
    ) -> Result<StoredItem, Error> {
        let new = NewItem {
            name: name.into(),
            description: description.map(Into::into),
        };
        let inserted = self
            .new_items
            .submit((user_id, id), new, self.deadline())
            .await?;
        inserted.ok_or_else(|| Error::internal("an insert returned no row"))
    }

    /// Finds an item of a user. Concurrent lookups share a statement.
    pub async fn find_item(&self, user_id: Uuid, id: Uuid) -> Result<Option<StoredItem>, Error> {
        self.items.submit((user_id, id), (), self.deadline()).await
    }

    /// Lists a page of a user's items, and one more if there is a next page.
    pub async fn list_items(&self, user_id: Uuid, page: Page) -> Result<Vec<StoredItem>, Error> {
        let rows = self
            .connection()
            .await?
            .query(
                LIST_ITEMS,
                &[&user_id, &page.after, &(i64::from(page.limit) + 1)],
            )
            .await?;
        rows.iter().map(read_item).collect()
    }

    /// Updates an item if `If-Match` allows its version; otherwise returns `None`.
    pub async fn update_item(
        &self,
        user_id: Uuid,
        id: Uuid,
        change: ItemChange<'_>,
        versions: &IfMatch,
    ) -> Result<Option<StoredItem>, Error> {
        let params: super::Params = &[
            &user_id,
            &id,
            &change.name.is_some(),
            &change.name,
            &change.description.is_some(),
            &change.description.flatten(),
            &versions.versions(),
        ];
        self.connection()
            .await?
            .query_first(UPDATE_ITEM, params)
            .await?
            .as_ref()
            .map(read_item)
            .transpose()
    }

    /// Deletes an item if `If-Match` allows its version, and returns whether it was deleted.
    pub async fn delete_item(
        &self,
        user_id: Uuid,
        id: Uuid,
        versions: &IfMatch,
    ) -> Result<bool, Error> {
        Ok(self
            .connection()
            .await?
            .query_first(DELETE_ITEM, &[&user_id, &id, &versions.versions()])
            .await?
            .is_some())
    }

    /// Counts the items of a user.
    pub async fn count_items(&self, user_id: Uuid) -> Result<i64, Error> {
        let row = self
            .connection()
            .await?
            .query_first(COUNT_ITEMS, &[&user_id])
            .await?;
        Ok(row
            .ok_or_else(|| Error::internal("a count returned no row"))?
            .try_get(0)?)
    }
}

/// Builds the batcher for lookups by user and ID.
pub(super) fn build_batcher(batch_pool: &Pool, pool: &Pool) -> Batcher<ItemKey, (), StoredItem> {
    pools::build_batcher(batch_pool, pool, find_items)
}

/// Builds the batcher for inserts.
pub(super) fn build_insert_batcher(
    batch_pool: &Pool,
    pool: &Pool,
) -> Batcher<ItemKey, NewItem, StoredItem> {
    pools::build_batcher(batch_pool, pool, insert_items)
}

async fn find_items(
    mut db: Connection,
    keys: BTreeMap<ItemKey, ()>,
) -> Result<BTreeMap<ItemKey, StoredItem>, Error> {
    let (users, ids): (Vec<Uuid>, Vec<Uuid>) = keys.into_keys().unzip();
    db.query(FIND_ITEMS, &[&users, &ids])
        .await?
        .iter()
        .map(read_item_with_key)
        .collect()
}

async fn insert_items(
    mut db: Connection,
    new: BTreeMap<ItemKey, NewItem>,
) -> Result<BTreeMap<ItemKey, StoredItem>, Error> {
    let (users, ids): (Vec<Uuid>, Vec<Uuid>) = new.keys().copied().unzip();
    let names: Vec<&str> = new.values().map(|item| &*item.name).collect();
    let descriptions: Vec<Option<&str>> = new
        .values()
        .map(|item| item.description.as_deref())
        .collect();
    db.query(INSERT_ITEMS, &[&users, &ids, &names, &descriptions])
        .await?
        .iter()
        .map(read_item_with_key)
        .collect()
}

fn read_item_with_key(row: &Row) -> Result<(ItemKey, StoredItem), Error> {
    let item = read_item(row)?;
    Ok(((row.try_get("user_id")?, item.id), item))
}

fn read_item(row: &Row) -> Result<StoredItem, Error> {
    Ok(StoredItem {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        description: row.try_get("description")?,
        version: row.try_get("version")?,
        created_at: row.try_get("created_at")?,
        updated_at: row.try_get("updated_at")?,
    })
}
