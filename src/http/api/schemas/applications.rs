//! Schemas of applications behind a proxy.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::applications::{ApplicationPage, StoredApplication},
    http::api::schemas::{CLIENT_ID, EXAMPLE_TIME},
};

/// Application behind a proxy.
#[derive(Object)]
#[oai(rename = "Application", example)]
pub struct ApplicationSchema {
    /// Application ID.
    id: Uuid,
    /// Origin; `https://*.DOMAIN` means every host with one more label.
    origin: String,
    /// Required role: `user` or `admin`. `null` allows every role.
    role: Option<String>,
    /// Required scopes, separated by spaces. `null` requires none.
    scope: Option<String>,
    /// Required groups, of which the user must be in one, separated by spaces. `null` requires none.
    group: Option<String>,
    /// Time of creation.
    created_at: OffsetDateTime,
    /// Time of the last change.
    updated_at: OffsetDateTime,
}

impl From<StoredApplication> for ApplicationSchema {
    fn from(application: StoredApplication) -> Self {
        let requirement = &application.requirement;
        let groups = requirement.groups.as_ref();
        ApplicationSchema {
            id: application.id,
            origin: application.origin.to_string(),
            role: requirement.role.map(|role| role.as_str().to_owned()),
            scope: requirement.scopes.map(|scopes| scopes.to_string()),
            group: groups.map(|names| names.as_str().replace(',', " ")),
            created_at: application.created_at,
            updated_at: application.updated_at,
        }
    }
}

impl Example for ApplicationSchema {
    fn example() -> Self {
        ApplicationSchema {
            id: CLIENT_ID,
            origin: "https://app.example.com".to_owned(),
            role: None,
            scope: None,
            group: Some("finance legal".to_owned()),
            created_at: EXAMPLE_TIME,
            updated_at: EXAMPLE_TIME,
        }
    }
}

/// Page of applications.
#[derive(Object)]
#[oai(rename = "ApplicationPage", example)]
pub struct ApplicationPageSchema {
    /// Applications, oldest first.
    data: Vec<ApplicationSchema>,
    /// Cursor of the next page, for `after`; `null` on the last page.
    next: Option<String>,
}

impl From<ApplicationPage> for ApplicationPageSchema {
    fn from(page: ApplicationPage) -> Self {
        ApplicationPageSchema {
            data: page.applications.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for ApplicationPageSchema {
    fn example() -> Self {
        ApplicationPageSchema {
            data: vec![ApplicationSchema::example()],
            next: None,
        }
    }
}
