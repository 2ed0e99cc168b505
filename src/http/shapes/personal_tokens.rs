//! What is shown of personal access tokens.

use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::{Uuid, uuid};

use crate::gateway::{PersonalToken, PersonalTokenPage};

/// A personal access token, without what is known once.
#[derive(Object)]
#[oai(rename = "PersonalToken", example)]
pub struct PersonalTokenShape {
    /// The id.
    id: Uuid,
    /// What its owner calls it.
    name: String,
    /// What it may be used for.
    scope: String,
    /// When it was made.
    created_at: OffsetDateTime,
    /// When it ends.
    expires_at: OffsetDateTime,
    /// When it was last used, eleven minutes late at most.
    last_used_at: Option<OffsetDateTime>,
}

impl From<PersonalToken> for PersonalTokenShape {
    fn from(token: PersonalToken) -> Self {
        let PersonalToken {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at,
        } = token;
        PersonalTokenShape {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at,
        }
    }
}

impl Example for PersonalTokenShape {
    fn example() -> Self {
        PersonalTokenShape {
            id: uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42"),
            name: "backup job".to_owned(),
            scope: "items:read".to_owned(),
            created_at: datetime!(2026-11-20 08:00:00 UTC),
            expires_at: datetime!(2027-02-18 08:00:00 UTC),
            last_used_at: None,
        }
    }
}

/// A personal access token that was just made.
#[derive(Object)]
#[oai(rename = "IssuedPersonalToken", example)]
pub struct NewPersonalTokenShape {
    /// The token, shown this once: sent as `Authorization: Bearer …`.
    token: String,
    /// The id.
    id: Uuid,
    /// What its owner calls it.
    name: String,
    /// What it may be used for.
    scope: String,
    /// When it was made.
    created_at: OffsetDateTime,
    /// When it ends.
    expires_at: OffsetDateTime,
}

impl NewPersonalTokenShape {
    /// It with what is known once.
    pub fn new(made: PersonalToken, token: String) -> Self {
        let PersonalToken {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at: _,
        } = made;
        NewPersonalTokenShape {
            token,
            id,
            name,
            scope,
            created_at,
            expires_at,
        }
    }
}

impl Example for NewPersonalTokenShape {
    fn example() -> Self {
        let PersonalTokenShape {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at: _,
        } = PersonalTokenShape::example();
        NewPersonalTokenShape {
            token: "lkp_…".to_owned(),
            id,
            name,
            scope,
            created_at,
            expires_at,
        }
    }
}

/// A page of personal access tokens.
#[derive(Object)]
#[oai(rename = "PersonalTokenPage", example)]
pub struct PersonalTokenPageShape {
    /// The tokens, by id ascending, which is from the oldest.
    items: Vec<PersonalTokenShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    next: Option<String>,
}

impl From<PersonalTokenPage> for PersonalTokenPageShape {
    fn from(page: PersonalTokenPage) -> Self {
        PersonalTokenPageShape {
            items: page.tokens.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for PersonalTokenPageShape {
    fn example() -> Self {
        PersonalTokenPageShape {
            items: vec![PersonalTokenShape::example()],
            next: None,
        }
    }
}
