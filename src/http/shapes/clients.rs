//! What is shown of OAuth clients.

use poem_openapi::{Object, types::Example};
use time::{OffsetDateTime, macros::datetime};
use uuid::{Uuid, uuid};

use crate::gateway::{ClientPage, StoredClient};

/// An OAuth client, without its secret.
#[derive(Object)]
#[oai(rename = "OAuthClient", example)]
pub struct ClientShape {
    /// `client_id`, which is also `sub` in its tokens.
    id: Uuid,
    /// For people.
    name: String,
    /// What its tokens may be used for.
    scope: String,
    /// Whom its tokens may be for.
    audiences: Vec<String>,
    /// When it was registered.
    created_at: OffsetDateTime,
    /// When its secret was made.
    rotated_at: OffsetDateTime,
}

impl From<StoredClient> for ClientShape {
    fn from(client: StoredClient) -> Self {
        let StoredClient {
            id,
            name,
            scopes,
            audiences,
            created_at,
            rotated_at,
            ..
        } = client;
        ClientShape {
            id,
            name,
            scope: scopes.to_string(),
            audiences,
            created_at,
            rotated_at,
        }
    }
}

impl Example for ClientShape {
    fn example() -> Self {
        ClientShape {
            id: uuid!("019a9f5e-7c1b-7d3e-9d55-0b6f2c1a7e42"),
            name: "billing".to_owned(),
            scope: "items:read".to_owned(),
            audiences: vec!["https://billing.example.com".to_owned()],
            created_at: datetime!(2026-11-20 08:00:00 UTC),
            rotated_at: datetime!(2026-11-20 08:00:00 UTC),
        }
    }
}

/// An OAuth client with a secret that was just made.
#[derive(Object)]
#[oai(rename = "ClientWithSecret", example)]
pub struct ClientWithSecretShape {
    /// `client_id`.
    client_id: Uuid,
    /// `client_secret`, shown this once.
    client_secret: String,
    /// The client.
    client: ClientShape,
}

impl ClientWithSecretShape {
    /// It with what is known once.
    pub fn new(client: StoredClient, client_secret: String) -> Self {
        ClientWithSecretShape {
            client_id: client.id,
            client_secret,
            client: client.into(),
        }
    }
}

impl Example for ClientWithSecretShape {
    fn example() -> Self {
        let client = ClientShape::example();
        ClientWithSecretShape {
            client_id: client.id,
            client_secret: "lks_…".to_owned(),
            client,
        }
    }
}

/// A page of clients.
#[derive(Object)]
#[oai(rename = "ClientPage", example)]
pub struct ClientPageShape {
    /// The clients, by id ascending.
    items: Vec<ClientShape>,
    /// Send this as `after` to get the next page; `null` on the last.
    next: Option<String>,
}

impl From<ClientPage> for ClientPageShape {
    fn from(page: ClientPage) -> Self {
        ClientPageShape {
            items: page.clients.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for ClientPageShape {
    fn example() -> Self {
        ClientPageShape {
            items: vec![ClientShape::example()],
            next: None,
        }
    }
}
