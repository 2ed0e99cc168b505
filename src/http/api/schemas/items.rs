//! Schemas of items.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::items::StoredItem,
    http::api::schemas::{EXAMPLE_TIME, ITEM_ID},
};

/// Item.
#[derive(Object)]
#[oai(rename = "Item", example)]
pub struct ItemSchema {
    /// Item ID.
    id: Uuid,
    /// Name.
    name: String,
    /// Description.
    description: Option<String>,
    /// Time of creation.
    created_at: OffsetDateTime,
    /// Time of the last change.
    updated_at: OffsetDateTime,
}

impl From<StoredItem> for ItemSchema {
    fn from(item: StoredItem) -> Self {
        ItemSchema {
            id: item.id,
            name: item.name,
            description: item.description,
            created_at: item.created_at,
            updated_at: item.updated_at,
        }
    }
}

impl Example for ItemSchema {
    fn example() -> Self {
        ItemSchema {
            id: ITEM_ID,
            name: "Book".to_owned(),
            description: Some("A nice book".to_owned()),
            created_at: EXAMPLE_TIME,
            updated_at: EXAMPLE_TIME,
        }
    }
}

/// A page of items.
#[derive(Object)]
#[oai(rename = "ItemPage", example)]
pub struct ItemPageSchema {
    /// Items, oldest first.
    pub data: Vec<ItemSchema>,
    /// Value of `after` for the next page; `null` on the last page.
    pub next: Option<String>,
}

impl Example for ItemPageSchema {
    fn example() -> Self {
        ItemPageSchema {
            data: vec![ItemSchema::example()],
            next: None,
        }
    }
}
