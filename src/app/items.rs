//! Use cases: create, get, list, update, and delete the caller's items.

pub use crate::postgres::StoredItem;

use crate::{
    error::Error,
    postgres::{ItemChange, Postgres},
};
use latchkey_domain::{
    access_token::Claims,
    item::{Description, IfMatch, ItemName},
    page::Page,
};
use std::sync::Arc;
use uuid::Uuid;

/// Manages the items of users.
pub struct Items {
    pub(super) postgres: Arc<Postgres>,
}

/// A page of items.
pub struct ItemPage {
    /// The items in ascending order of ID.
    pub items: Vec<StoredItem>,
    /// The cursor of the next page; `None` for the last page.
    pub next: Option<String>,
}

/// A change of an item: `None` keeps a field, `Some(None)` clears it.
pub struct ItemPatch {
    pub name: Option<ItemName>,
    pub description: Option<Option<Description>>,
}

impl Items {
    /// Creates an item of the caller.
    ///
    /// # Errors
    /// `token_revoked`, `unavailable`.
    pub async fn create_item(
        &self,
        caller: &Claims,
        name: &ItemName,
        description: Option<&Description>,
    ) -> Result<StoredItem, Error> {
        self.postgres
            .insert_item(
                caller.sub,
                Uuid::now_v7(),
                name.as_str(),
                description.map(Description::as_str),
            )
            .await
    }

    /// Returns an item of the caller.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_item(&self, caller: &Claims, id: Uuid) -> Result<StoredItem, Error> {
        self.postgres
            .find_item(caller.sub, id)
            .await?
            .ok_or(Error::NotFound)
    }

    /// Returns a page of the caller's items.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_items(&self, caller: &Claims, page: Page) -> Result<ItemPage, Error> {
        let (items, next) = page.cut(self.postgres.list_items(caller.sub, page).await?, |item| {
            item.id
        });
        Ok(ItemPage { items, next })
    }

    /// Updates an item if its version matches `If-Match`, so that no concurrent change is lost.
    ///
    /// # Errors
    /// `not_found`, `precondition_failed`, `unavailable`.
    pub async fn update_item(
        &self,
        caller: &Claims,
        id: Uuid,
        patch: &ItemPatch,
        if_match: &IfMatch,
    ) -> Result<StoredItem, Error> {
        let change = ItemChange {
            name: patch.name.as_ref().map(ItemName::as_str),
            description: patch
                .description
                .as_ref()
                .map(|description| description.as_ref().map(Description::as_str)),
        };
        match self
            .postgres
            .update_item(caller.sub, id, change, if_match)
            .await?
        {
            Some(item) => Ok(item),
            None => Err(self.explain_mismatch(caller, id).await?),
        }
    }

    /// Deletes an item if its version matches `If-Match`, so that no concurrent change is lost.
    ///
    /// # Errors
    /// `not_found`, `precondition_failed`, `unavailable`.
    pub async fn delete_item(
        &self,
        caller: &Claims,
        id: Uuid,
        if_match: &IfMatch,
    ) -> Result<(), Error> {
        match self.postgres.delete_item(caller.sub, id, if_match).await? {
            true => Ok(()),
            false => Err(self.explain_mismatch(caller, id).await?),
        }
    }

    /// Returns the reason why no row matched: the item is missing, or it has another version.
    async fn explain_mismatch(&self, caller: &Claims, id: Uuid) -> Result<Error, Error> {
        let item = self.postgres.find_item(caller.sub, id).await?;
        Ok(item.map_or(Error::NotFound, |_| Error::PreconditionFailed))
    }
}
