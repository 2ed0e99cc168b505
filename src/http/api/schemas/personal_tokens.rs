//! Schemas of personal access tokens.

use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    app::{PersonalToken, PersonalTokenPage},
    http::api::schemas::{SOME_TIME, TOKEN_ID},
};

/// Personal access token, without its value.
#[derive(Object)]
#[oai(rename = "PersonalAccessToken", example)]
pub struct PersonalTokenShape {
    /// Token ID.
    id: Uuid,
    /// Display name.
    name: String,
    /// Scopes, separated by spaces.
    scope: String,
    /// Time of creation.
    created_at: OffsetDateTime,
    /// Expiration time.
    expires_at: OffsetDateTime,
    /// Time of the last use, up to 11 minutes late; `null` if the token was never used.
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
            id: TOKEN_ID,
            name: "backup job".to_owned(),
            scope: "items:read".to_owned(),
            created_at: SOME_TIME,
            expires_at: datetime!(2027-02-18 08:00:00 UTC),
            last_used_at: None,
        }
    }
}

/// Personal access token with its value, returned only once.
#[derive(Object)]
#[oai(rename = "CreatedPersonalAccessToken", example)]
pub struct NewPersonalTokenShape {
    /// Value of the token, returned only once. Send it as `Authorization: Bearer TOKEN`.
    token: String,
    /// Token ID.
    id: Uuid,
    /// Display name.
    name: String,
    /// Scopes, separated by spaces.
    scope: String,
    /// Time of creation.
    created_at: OffsetDateTime,
    /// Expiration time.
    expires_at: OffsetDateTime,
}

impl NewPersonalTokenShape {
    /// Token plus its value, which is returned once.
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
            token: "lkp_AZqfZpLXe2qc…".to_owned(),
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
#[oai(rename = "PersonalAccessTokenPage", example)]
pub struct PersonalTokenPageShape {
    /// Tokens, oldest first.
    data: Vec<PersonalTokenShape>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl From<PersonalTokenPage> for PersonalTokenPageShape {
    fn from(page: PersonalTokenPage) -> Self {
        PersonalTokenPageShape {
            data: page.tokens.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for PersonalTokenPageShape {
    fn example() -> Self {
        PersonalTokenPageShape {
            data: vec![PersonalTokenShape::example()],
            next: None,
        }
    }
}
