//! Schemas of personal access tokens.

use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use crate::{
    app::tokens::personal_access_tokens::{PersonalAccessToken, PersonalAccessTokenPage},
    http::api::schemas::{EXAMPLE_TIME, TOKEN_ID},
};

/// Personal access token, without its value.
#[derive(Object)]
#[oai(rename = "PersonalAccessToken", example)]
pub struct PersonalAccessTokenSchema {
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

impl From<PersonalAccessToken> for PersonalAccessTokenSchema {
    fn from(token: PersonalAccessToken) -> Self {
        let PersonalAccessToken {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at,
        } = token;
        PersonalAccessTokenSchema {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at,
        }
    }
}

impl Example for PersonalAccessTokenSchema {
    fn example() -> Self {
        PersonalAccessTokenSchema {
            id: TOKEN_ID,
            name: "backup job".to_owned(),
            scope: "items:read".to_owned(),
            created_at: EXAMPLE_TIME,
            expires_at: datetime!(2027-02-18 08:00:00 UTC),
            last_used_at: None,
        }
    }
}

/// Personal access token with its value, returned only once.
#[derive(Object)]
#[oai(rename = "CreatedPersonalAccessToken", example)]
pub struct CreatedPersonalAccessTokenSchema {
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

impl CreatedPersonalAccessTokenSchema {
    /// Combines a token with its value, which is returned only once.
    pub fn new(created: PersonalAccessToken, token: String) -> Self {
        let PersonalAccessToken {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at: _,
        } = created;
        CreatedPersonalAccessTokenSchema {
            token,
            id,
            name,
            scope,
            created_at,
            expires_at,
        }
    }
}

impl Example for CreatedPersonalAccessTokenSchema {
    fn example() -> Self {
        let PersonalAccessTokenSchema {
            id,
            name,
            scope,
            created_at,
            expires_at,
            last_used_at: _,
        } = PersonalAccessTokenSchema::example();
        CreatedPersonalAccessTokenSchema {
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
pub struct PersonalAccessTokenPageSchema {
    /// Tokens, oldest first.
    data: Vec<PersonalAccessTokenSchema>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl From<PersonalAccessTokenPage> for PersonalAccessTokenPageSchema {
    fn from(page: PersonalAccessTokenPage) -> Self {
        PersonalAccessTokenPageSchema {
            data: page.tokens.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for PersonalAccessTokenPageSchema {
    fn example() -> Self {
        PersonalAccessTokenPageSchema {
            data: vec![PersonalAccessTokenSchema::example()],
            next: None,
        }
    }
}
