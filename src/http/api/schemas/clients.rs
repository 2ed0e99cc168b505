//! Schemas of OAuth clients.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::{ClientPage, StoredClient},
    http::api::schemas::{CLIENT_ID, SOME_TIME},
};

/// OAuth client, without its secret.
#[derive(Object)]
#[oai(rename = "OAuthClient", example)]
pub struct ClientShape {
    /// Client ID, equal to `client_id` and `sub` in its tokens.
    id: Uuid,
    /// Display name.
    name: String,
    /// Scopes that the client can request, separated by spaces.
    scope: String,
    /// Allowed audiences; the first is the default.
    audiences: Vec<String>,
    /// Time of registration.
    created_at: OffsetDateTime,
    /// Time when the current secret was created.
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
            id: CLIENT_ID,
            name: "billing".to_owned(),
            scope: "items:read".to_owned(),
            audiences: vec!["https://billing.example.com".to_owned()],
            created_at: SOME_TIME,
            rotated_at: SOME_TIME,
        }
    }
}

/// OAuth client and its new secret.
#[derive(Object)]
#[oai(rename = "OAuthClientWithSecret", example)]
pub struct ClientWithSecretShape {
    /// Client ID.
    client_id: Uuid,
    /// Client secret, returned only once.
    client_secret: String,
    /// Client.
    client: ClientShape,
}

impl ClientWithSecretShape {
    /// Client plus its secret, which is returned once.
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
            client_secret: "lks_AZqfZFjyfhm…".to_owned(),
            client,
        }
    }
}

/// A page of OAuth clients.
#[derive(Object)]
#[oai(rename = "OAuthClientPage", example)]
pub struct ClientPageShape {
    /// OAuth clients, oldest first.
    data: Vec<ClientShape>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl From<ClientPage> for ClientPageShape {
    fn from(page: ClientPage) -> Self {
        ClientPageShape {
            data: page.clients.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for ClientPageShape {
    fn example() -> Self {
        ClientPageShape {
            data: vec![ClientShape::example()],
            next: None,
        }
    }
}
