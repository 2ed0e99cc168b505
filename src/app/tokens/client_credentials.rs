//! A token that a client has for itself (`client_credentials`, RFC 6749 section 4.4).

use latchkey_domain::{
    access_token::{self, ClientGrant},
    scope::Scopes,
};
use uuid::Uuid;

use crate::{
    app::{AuthenticatedClient, Gateway},
    error::Error,
};

/// An access token of a client. It has no `Debug`, because it is a credential. There is no refresh
/// token: the secret does as well (RFC 6749 section 4.4.3).
pub struct IssuedClientToken {
    /// The token.
    pub access_token: String,
    /// Its lifetime in seconds.
    pub expires_in: u64,
    /// What it may be used for.
    pub scopes: Scopes,
}

/// Why a client gets no token.
#[derive(Debug)]
pub enum GrantError {
    /// It may not have one of these scopes, or asks for none.
    Scope,
    /// It may not have tokens for this audience.
    Audience,
    /// Something failed.
    Failed(Error),
}

impl From<Error> for GrantError {
    fn from(error: Error) -> Self {
        GrantError::Failed(error)
    }
}

impl Gateway {
    /// A token for a client that has proved who it is: with all of its scopes and for its first
    /// audience, where it does not ask for others.
    ///
    /// # Errors
    /// What it may not have, and `unavailable`.
    pub async fn issue_client_token(
        &self,
        proved: &AuthenticatedClient,
        scopes: Option<Scopes>,
        audience: Option<&str>,
    ) -> Result<IssuedClientToken, GrantError> {
        let AuthenticatedClient { client, at } = proved;
        let scopes = scopes.unwrap_or(client.scopes);
        if scopes.is_empty() || !scopes.is_within(client.scopes) {
            return Err(GrantError::Scope);
        }
        let audience = match audience {
            None => client.audiences.first(),
            Some(wanted) => client.audiences.iter().find(|audience| *audience == wanted),
        };
        let audience = audience.ok_or(GrantError::Audience)?.clone();
        let grant = ClientGrant {
            client: client.id,
            generation: client.generation,
            audience,
            scopes,
        };
        let lifetime = self.config.access_lifetime.as_secs();
        let claims =
            access_token::client_claims(&self.policy, &grant, Uuid::new_v4(), *at, lifetime);
        let access_token = self.sign(&claims).await?;
        metrics::counter!("latchkey_client_tokens_total").increment(1);
        Ok(IssuedClientToken {
            access_token,
            expires_in: lifetime,
            scopes,
        })
    }
}
