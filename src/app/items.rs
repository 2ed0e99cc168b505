//! One's own items.

use latchkey_domain::{
    access_token::Claims,
    item::{Description, IfMatch, ItemName},
    page::Page,
};
use uuid::Uuid;

use crate::{
    app::Gateway,
    error::Error,
    postgres::{ItemChange, StoredItem},
};

/// A page of items, and the cursor of the next page if there is one.
pub struct ItemPage {
    /// The items, by id ascending.
    pub items: Vec<StoredItem>,
    /// Where to go on.
    pub next: Option<String>,
}

/// What changes: `None` leaves a member as it is, `Some(None)` clears it.
pub struct ItemPatch {
    /// The name.
    pub name: Option<ItemName>,
    /// The description.
    pub description: Option<Option<Description>>,
}

impl Gateway {
    /// A new item of the caller's.
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

    /// One item of the caller's.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_item(&self, caller: &Claims, id: Uuid) -> Result<StoredItem, Error> {
        self.postgres
            .find_item(caller.sub, id)
            .await?
            .ok_or(Error::NotFound)
    }

    /// A page of the caller's items.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_items(&self, caller: &Claims, page: Page) -> Result<ItemPage, Error> {
        let (items, next) = page.cut(self.postgres.list_items(caller.sub, page).await?, |item| {
            item.id
        });
        Ok(ItemPage { items, next })
    }

    /// Changes an item, if nobody has changed it since the caller read it.
    ///
    /// # Errors
    /// `not_found`, `precondition_failed`, `unavailable`.
    pub async fn update_item(
        &self,
        caller: &Claims,
        id: Uuid,
        patch: &ItemPatch,
        seen: &IfMatch,
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
            .update_item(caller.sub, id, change, seen)
            .await?
        {
            Some(item) => Ok(item),
            None => Err(self.missing_or_changed(caller, id).await?),
        }
    }

    /// Deletes an item, if nobody has changed it since the caller read it.
    ///
    /// # Errors
    /// `not_found`, `precondition_failed`, `unavailable`.
    pub async fn delete_item(
        &self,
        caller: &Claims,
        id: Uuid,
        seen: &IfMatch,
    ) -> Result<(), Error> {
        match self.postgres.delete_item(caller.sub, id, seen).await? {
            true => Ok(()),
            false => Err(self.missing_or_changed(caller, id).await?),
        }
    }

    /// Why a statement found no row: there is none, or it has another version.
    async fn missing_or_changed(&self, caller: &Claims, id: Uuid) -> Result<Error, Error> {
        let item = self.postgres.find_item(caller.sub, id).await?;
        Ok(item.map_or(Error::NotFound, |_| Error::PreconditionFailed))
    }
}
