//! Schemas of groups.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;

use crate::{
    app::admin::groups::{GroupPage, StoredGroup},
    http::api::schemas::EXAMPLE_TIME,
};

/// Group of users.
#[derive(Object)]
#[oai(rename = "Group", example)]
pub struct GroupSchema {
    /// Name.
    pub name: String,
    /// Description for administrators.
    description: Option<String>,
    /// Time of creation.
    created_at: OffsetDateTime,
}

impl From<StoredGroup> for GroupSchema {
    fn from(group: StoredGroup) -> Self {
        GroupSchema {
            name: group.name,
            description: group.description,
            created_at: group.created_at,
        }
    }
}

impl Example for GroupSchema {
    fn example() -> Self {
        GroupSchema {
            name: "finance".to_owned(),
            description: Some("Can open the invoice application".to_owned()),
            created_at: EXAMPLE_TIME,
        }
    }
}

/// A page of groups.
#[derive(Object)]
#[oai(rename = "GroupPage", example)]
pub struct GroupPageSchema {
    /// Groups in ascending order of names.
    data: Vec<GroupSchema>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl From<GroupPage> for GroupPageSchema {
    fn from(page: GroupPage) -> Self {
        GroupPageSchema {
            data: page.groups.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for GroupPageSchema {
    fn example() -> Self {
        GroupPageSchema {
            data: vec![GroupSchema::example()],
            next: None,
        }
    }
}
