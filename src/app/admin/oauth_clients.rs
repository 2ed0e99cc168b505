//! OAuth clients: services that have tokens for themselves. Administrators and the operator
//! register them.

use std::sync::Arc;

use latchkey_domain::{
    audit::{Actor, EventKind},
    oauth_client::Audiences,
    opaque_token::{Label, OpaqueToken, OpaqueTokenKind},
    page::Page,
    scope::Scopes,
};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    app::{AdminActor, Gateway, Origin},
    error::Error,
    postgres::{NewClient, StoredClient},
};

/// What whoever rotated a secret reads where the new one could not be answered.
const NEW_SECRET_LOST: &str = "The old secret is revoked, and its tokens are rejected when Redis is \
    reachable. The new secret is lost. Rotate the secret again.";

/// A page of clients.
pub struct ClientPage {
    /// The clients, by id ascending.
    pub clients: Vec<StoredClient>,
    /// Where the next page goes on, if there is one.
    pub next: Option<String>,
}

/// A client that has proved that it is itself.
pub struct AuthenticatedClient {
    /// The client.
    pub client: StoredClient,
    /// In seconds since the epoch, before that was known.
    pub(crate) at: u64,
}

/// A client that is to be registered.
pub struct ClientRegistration {
    /// For people.
    pub name: Label,
    /// What its tokens may be used for.
    pub scopes: Scopes,
    /// Whom its tokens may be for; where it does not say, for those for whom tokens of people are.
    pub audiences: Option<Audiences>,
}

impl Gateway {
    /// Registers a client; its secret is known once.
    ///
    /// # Errors
    /// `invalid_request`, `unavailable`.
    pub async fn create_client(
        &self,
        by: AdminActor,
        wanted: ClientRegistration,
    ) -> Result<(StoredClient, Zeroizing<String>), Error> {
        let audiences = wanted
            .audiences
            .map_or_else(|| vec![self.policy.audience.clone()], Audiences::into_inner);
        let secret = self.new_token(OpaqueTokenKind::ClientSecret, Uuid::now_v7())?;
        let new = NewClient {
            id: secret.id,
            name: wanted.name.as_str(),
            secret_hash: secret.hash(),
            scopes: wanted.scopes,
            audiences: &audiences,
        };
        let client = self
            .postgres
            .create_client(&new, &by.event(EventKind::OAuthClientCreated, secret.id))
            .await?;
        Ok((client, secret.text()))
    }

    /// A page of all clients.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_clients(&self, page: Page) -> Result<ClientPage, Error> {
        let (clients, next) = page.cut(self.postgres.list_clients(page).await?, |client| client.id);
        Ok(ClientPage { clients, next })
    }

    /// One client.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_client(&self, id: Uuid) -> Result<StoredClient, Error> {
        self.postgres.find_client(id).await?.ok_or(Error::NotFound)
    }

    /// Gives a client another secret, which is known once. The one before, and every token that was
    /// had with it, are refused from now on.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn rotate_client_secret(
        self: &Arc<Self>,
        by: AdminActor,
        id: Uuid,
    ) -> Result<(StoredClient, Zeroizing<String>), Error> {
        let secret = self.new_token(OpaqueTokenKind::ClientSecret, id)?;
        let (gateway, event, hash) = (
            self.clone(),
            by.event(EventKind::ClientSecretRotated, id),
            secret.hash(),
        );
        let client = self.run_to_completion(async move {
            let (client, ending) = gateway
                .postgres
                .rotate_client_secret(id, &hash, &event)
                .await?
                .ok_or(Error::NotFound)?;
            gateway
                .publish(&ending)
                .await
                .map_err(|error| error.after_commit(NEW_SECRET_LOST))?;
            Ok(client)
        });
        Ok((client.await?, secret.text()))
    }

    /// Deletes a client; every token of it is refused from now on. Repeating it is fine for a
    /// while, and finishes what could not be published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn delete_client(self: &Arc<Self>, by: AdminActor, id: Uuid) -> Result<(), Error> {
        let (gateway, event) = (self.clone(), by.event(EventKind::OAuthClientDeleted, id));
        self.run_to_completion(async move {
            let ending = gateway
                .postgres
                .delete_client(id, &event)
                .await?
                .ok_or(Error::NotFound)?;
            gateway.publish(&ending).await
        })
        .await
    }

    /// The client with this id and secret; nothing where they do not belong together.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn authenticate_client(
        &self,
        id: &str,
        secret: &str,
        origin: &Origin,
    ) -> Result<Option<AuthenticatedClient>, Error> {
        // What permits a token is read after this.
        let at = self.clock.now();
        // One spelling of an id, not every one that a uuid has.
        let secret = OpaqueToken::read(OpaqueTokenKind::ClientSecret, secret)
            .filter(|secret| secret.id.to_string() == id);
        let known = match &secret {
            Some(secret) => self.postgres.find_client(secret.id).await?,
            None => None,
        };
        let is_right = |client: &StoredClient| {
            secret.is_some_and(|secret| secret.matches_hash(&client.secret_hash))
        };
        let (of, proved) = (
            known.as_ref().map(|client| client.id),
            known.filter(is_right),
        );
        if proved.is_none() {
            self.record_denied(
                origin.event(
                    EventKind::ClientAuthenticationFailed,
                    Actor::Unauthenticated,
                    of,
                ),
                origin,
            );
        }
        Ok(proved.map(|client| AuthenticatedClient { client, at }))
    }
}
