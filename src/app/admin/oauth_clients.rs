//! Use cases: register, list, get, update, delete, and authenticate OAuth clients; rotate their
//! secrets.
//!
//! An OAuth client is a service that obtains tokens for itself. Administrators and the operator
//! manage OAuth clients.

pub use crate::postgres::StoredClient;

use crate::{
    app::{
        admin::actor::AdminActor,
        audit::Audit,
        clock::Clock,
        origin::Origin,
        revocation::Revocations,
        tasks::Tasks,
        tokens::{client_credentials::AuthenticatedClient, generate_opaque_token},
    },
    error::Error,
    postgres::{NewClient, Postgres},
};
use latchkey_domain::access_token::TokenPolicy;
use std::sync::Arc;

use latchkey_domain::{
    audit::{Actor, EventKind},
    oauth_client::{Audiences, ClientChange},
    opaque_token::{Label, OpaqueToken, OpaqueTokenKind},
    page::Page,
    revocation::{RevocationBatch, RevocationReason},
    scope::Scopes,
};
use secrecy::SecretString;
use uuid::Uuid;

/// The error detail if a rotation is committed but its revocation can't be published.
const NEW_SECRET_LOST: &str = "The old secret is revoked, and its tokens are rejected when Redis is \
    reachable. The new secret is lost. Rotate the secret again.";

/// Registers and authenticates OAuth clients.
pub struct OAuthClients {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) policy: Arc<TokenPolicy>,
}

/// A page of OAuth clients.
pub struct ClientPage {
    /// The clients in ascending order of ID.
    pub clients: Vec<StoredClient>,
    /// The cursor of the next page; `None` for the last page.
    pub next: Option<String>,
}

/// The parameters of a new OAuth client.
pub struct ClientRegistration {
    /// A label for administrators.
    pub name: Label,
    /// The scopes that its tokens can have.
    pub scopes: Scopes,
    /// The audiences that its tokens can have. The default is the audience of user tokens.
    pub audiences: Option<Audiences>,
}

impl OAuthClients {
    /// Registers a client, and returns it with its secret. The secret is returned only once.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `invalid_request`,
    /// `unavailable`.
    pub async fn create_client(
        &self,
        actor: AdminActor,
        registration: ClientRegistration,
    ) -> Result<(StoredClient, SecretString), Error> {
        actor.require_recent_sign_in()?;
        let audiences = registration
            .audiences
            .map_or_else(|| vec![self.policy.audience.clone()], Audiences::into_inner);
        let secret = generate_opaque_token(OpaqueTokenKind::ClientSecret, Uuid::now_v7())?;
        let new = NewClient {
            id: secret.id,
            name: registration.name.as_str(),
            secret_hash: secret.hash(),
            scopes: registration.scopes,
            audiences: &audiences,
        };
        let client = self
            .postgres
            .create_client(&new, &actor.event(EventKind::OAuthClientCreated, secret.id))
            .await?;
        Ok((client, secret.text()))
    }

    /// Returns a page of all clients.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_clients(&self, page: Page) -> Result<ClientPage, Error> {
        let (clients, next) = page.cut(self.postgres.list_clients(page).await?, |client| client.id);
        Ok(ClientPage { clients, next })
    }

    /// Returns a client.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_client(&self, id: Uuid) -> Result<StoredClient, Error> {
        self.postgres.find_client(id).await?.ok_or(Error::NotFound)
    }

    /// Changes the name, scopes, or audiences of a client. The secret stays valid.
    ///
    /// If a scope or an audience is removed, revokes all tokens of the client. A retry publishes a
    /// revocation that was committed but not published.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `not_found`,
    /// `unavailable`.
    pub async fn update_client(
        self: &Arc<Self>,
        actor: AdminActor,
        id: Uuid,
        change: ClientChange,
    ) -> Result<StoredClient, Error> {
        actor.require_recent_sign_in()?;
        let (oauth_clients, event) = (self.clone(), actor.event(EventKind::OAuthClientUpdated, id));
        let can_narrow = change.scopes.is_some() || change.audiences.is_some();
        self.tasks
            .run_to_completion(async move {
                let (client, batch) = oauth_clients
                    .postgres
                    .update_client(id, &change, &event)
                    .await?
                    .ok_or(Error::NotFound)?;
                match batch {
                    Some(batch) => oauth_clients.revocations.publish(&batch).await?,
                    // This might be a retry of a change that was committed but not published.
                    None if can_narrow => {
                        let reason = RevocationReason::ClientUpdated;
                        let batch = RevocationBatch::of_client(id, client.generation, reason);
                        oauth_clients.revocations.republish(&batch).await?;
                    }
                    None => {}
                }
                Ok(client)
            })
            .await
    }

    /// Replaces the secret of a client, and returns it. The secret is returned only once.
    ///
    /// Revokes the previous secret, and all tokens that were issued to the client.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `not_found`,
    /// `unavailable`.
    pub async fn rotate_client_secret(
        self: &Arc<Self>,
        actor: AdminActor,
        id: Uuid,
    ) -> Result<(StoredClient, SecretString), Error> {
        actor.require_recent_sign_in()?;
        let secret = generate_opaque_token(OpaqueTokenKind::ClientSecret, id)?;
        let (oauth_clients, event, hash) = (
            self.clone(),
            actor.event(EventKind::ClientSecretRotated, id),
            secret.hash(),
        );
        let client = self.tasks.run_to_completion(async move {
            let (client, batch) = oauth_clients
                .postgres
                .rotate_client_secret(id, &hash, &event)
                .await?
                .ok_or(Error::NotFound)?;
            oauth_clients
                .revocations
                .publish(&batch)
                .await
                .map_err(|error| error.after_commit(NEW_SECRET_LOST))?;
            Ok(client)
        });
        Ok((client.await?, secret.text()))
    }

    /// Deletes a client, and revokes all of its tokens.
    ///
    /// A retry publishes a deletion that was committed but not published, as long as PostgreSQL
    /// stores its revocation.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn delete_client(self: &Arc<Self>, actor: AdminActor, id: Uuid) -> Result<(), Error> {
        let (oauth_clients, event) = (self.clone(), actor.event(EventKind::OAuthClientDeleted, id));
        self.tasks
            .run_to_completion(async move {
                let batch = oauth_clients
                    .postgres
                    .delete_client(id, &event)
                    .await?
                    .ok_or(Error::NotFound)?;
                oauth_clients.revocations.publish(&batch).await
            })
            .await
    }

    /// Authenticates a client by ID and secret. Returns `None` if they don't match.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn authenticate_client(
        &self,
        id: &str,
        secret: &str,
        origin: &Origin,
    ) -> Result<Option<AuthenticatedClient>, Error> {
        // Read before the client, so that the issue time of a token isn't later than the state that
        // permits the token.
        let at = self.clock.now();
        // A UUID has several spellings. Only the canonical one is accepted as the ID.
        let secret = OpaqueToken::read(OpaqueTokenKind::ClientSecret, secret)
            .filter(|secret| secret.id.to_string() == id);
        let client = match &secret {
            Some(secret) => self.postgres.find_client(secret.id).await?,
            None => None,
        };
        let has_secret = |client: &StoredClient| {
            secret.is_some_and(|secret| secret.matches_hash(&client.secret_hash))
        };
        let (client_id, authenticated) = (
            client.as_ref().map(|client| client.id),
            client.filter(has_secret),
        );
        if authenticated.is_none() {
            self.audit.record_denied(
                origin.event(
                    EventKind::ClientAuthenticationFailed,
                    Actor::Unauthenticated,
                    client_id,
                ),
                origin,
            );
        }
        Ok(authenticated.map(|client| AuthenticatedClient { client, at }))
    }
}
