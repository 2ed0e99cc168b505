//! What is shown of items.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{SOME_TIME, SOMEBODY};
use crate::gateway::StoredItem;

/// An item.
#[derive(Object)]
#[oai(rename = "Item", example)]
pub struct ItemShape {
    /// The id.
    id: Uuid,
    /// The name.
    name: String,
    /// The description.
    description: Option<String>,
    /// When it was made.
    created_at: OffsetDateTime,
    /// When it was last changed.
    updated_at: OffsetDateTime,
}

impl From<StoredItem> for ItemShape {
    fn from(item: StoredItem) -> Self {
        ItemShape {
            id: item.id,
            name: item.name,
            description: item.description,
            created_at: item.created_at,
            updated_at: item.updated_at,
        }
    }
}

impl Example for ItemShape {
    fn example() -> Self {
        ItemShape {
            id: SOMEBODY,
            name: "Book".to_owned(),
            description: Some("A nice book".to_owned()),
            created_at: SOME_TIME,
            updated_at: SOME_TIME,
        }
    }
}

/// A page of items.
#[derive(Object)]
#[oai(rename = "ItemPage", example)]
pub struct ItemPageShape {
    /// The items, by id ascending.
    pub items: Vec<ItemShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    pub next: Option<String>,
}

impl Example for ItemPageShape {
    fn example() -> Self {
        ItemPageShape {
            items: vec![ItemShape::example()],
            next: None,
        }
    }
}
