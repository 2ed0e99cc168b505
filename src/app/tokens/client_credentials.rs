//! Issues an access token to an OAuth client (`client_credentials`, RFC 6749 section 4.4).

use latchkey_domain::{
    access_token::{self, ClientGrant},
    scope::Scopes,
};
use uuid::Uuid;

use crate::{app::tokens::Tokens, error::Error, postgres::StoredClient};

/// An OAuth client that has authenticated with its secret.
pub struct AuthenticatedClient {
    pub client: StoredClient,
    /// The Unix time in seconds, read before the client was loaded.
    pub(crate) at: u64,
}

/// An access token of an OAuth client. It has no `Debug`, because it is a credential. There is no
/// refresh token, because the client can authenticate again (RFC 6749 section 4.4.3).
pub struct IssuedClientToken {
    pub access_token: String,
    /// The lifetime of the token, in seconds.
    pub expires_in: u64,
    pub scopes: Scopes,
}

/// The reason for which a client receives no token.
#[derive(Debug)]
pub enum GrantError {
    /// The client doesn't have one of the requested scopes, or requests an empty list.
    Scope,
    /// The client isn't allowed to request tokens for this audience.
    Audience,
    /// The token can't be signed.
    Failed(Error),
}

impl From<Error> for GrantError {
    fn from(error: Error) -> Self {
        GrantError::Failed(error)
    }
}

impl Tokens {
    /// Issues an access token to an authenticated client. By default, the token has all scopes and
    /// the first audience of the client.
    ///
    /// # Errors
    /// `invalid_scope`, `invalid_target`, `internal`, `unavailable`.
    pub async fn issue_client_token(
        &self,
        authenticated: &AuthenticatedClient,
        scopes: Option<Scopes>,
        audience: Option<&str>,
    ) -> Result<IssuedClientToken, GrantError> {
        let AuthenticatedClient { client, at } = authenticated;
        let scopes = scopes.unwrap_or(client.scopes);
        if scopes.is_empty() || !scopes.is_within(client.scopes) {
            return Err(GrantError::Scope);
        }
        let audience = match audience {
            None => client.audiences.first(),
            Some(requested) => client
                .audiences
                .iter()
                .find(|allowed| *allowed == requested),
        };
        let audience = audience.ok_or(GrantError::Audience)?.clone();
        let grant = ClientGrant {
            client_id: client.id,
            generation: client.generation,
            audience,
            scopes,
        };
        let lifetime = self.settings.access_lifetime.as_secs();
        let claims =
            access_token::client_claims(&self.policy, &grant, Uuid::new_v4(), *at, lifetime);
        let access_token = self.keys.sign(&claims).await?;
        metrics::counter!("latchkey_client_tokens_total").increment(1);
        Ok(IssuedClientToken {
            access_token,
            expires_in: lifetime,
            scopes,
        })
    }
}
