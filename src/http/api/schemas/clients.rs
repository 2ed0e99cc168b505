//! Schemas of OAuth clients.

use poem_openapi::{Object, types::Example};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::admin::oauth_clients::{ClientPage, StoredClient},
    http::api::schemas::{CLIENT_ID, EXAMPLE_TIME},
};

/// OAuth client, without its secret.
#[derive(Object)]
#[oai(rename = "OAuthClient", example)]
pub struct OAuthClientSchema {
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

impl From<StoredClient> for OAuthClientSchema {
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
        OAuthClientSchema {
            id,
            name,
            scope: scopes.to_string(),
            audiences,
            created_at,
            rotated_at,
        }
    }
}

impl Example for OAuthClientSchema {
    fn example() -> Self {
        OAuthClientSchema {
            id: CLIENT_ID,
            name: "billing".to_owned(),
            scope: "items:read".to_owned(),
            audiences: vec!["https://billing.example.com".to_owned()],
            created_at: EXAMPLE_TIME,
            rotated_at: EXAMPLE_TIME,
        }
    }
}

/// OAuth client and its new secret.
#[derive(Object)]
#[oai(rename = "OAuthClientWithSecret", example)]
pub struct OAuthClientWithSecretSchema {
    /// Client ID.
    client_id: Uuid,
    /// Client secret, returned only once.
    client_secret: String,
    /// Client.
    client: OAuthClientSchema,
}

impl OAuthClientWithSecretSchema {
    /// Combines a client with its secret, which is returned only once.
    pub fn new(client: StoredClient, client_secret: String) -> Self {
        OAuthClientWithSecretSchema {
            client_id: client.id,
            client_secret,
            client: client.into(),
        }
    }
}

impl Example for OAuthClientWithSecretSchema {
    fn example() -> Self {
        let client = OAuthClientSchema::example();
        OAuthClientWithSecretSchema {
            client_id: client.id,
            client_secret: "lks_AZqfZFjyfhm…".to_owned(),
            client,
        }
    }
}

/// A page of OAuth clients.
#[derive(Object)]
#[oai(rename = "OAuthClientPage", example)]
pub struct OAuthClientPageSchema {
    /// OAuth clients, oldest first.
    data: Vec<OAuthClientSchema>,
    /// Value of `after` for the next page; `null` on the last page.
    next: Option<String>,
}

impl From<ClientPage> for OAuthClientPageSchema {
    fn from(page: ClientPage) -> Self {
        OAuthClientPageSchema {
            data: page.clients.into_iter().map(Into::into).collect(),
            next: page.next,
        }
    }
}

impl Example for OAuthClientPageSchema {
    fn example() -> Self {
        OAuthClientPageSchema {
            data: vec![OAuthClientSchema::example()],
            next: None,
        }
    }
}
