//! Introspects a token (RFC 7662), for services that don't validate tokens locally.

use std::sync::Arc;

use latchkey_domain::{access_token::Claims, opaque_token::OpaqueTokenKind};

use crate::{app::tokens::Tokens, error::Error};

impl Tokens {
    /// Returns the claims of an active token for one of the audiences, otherwise `None`. A refresh
    /// token is always inactive, because a service would accept it like an access token.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub async fn introspect(
        self: &Arc<Self>,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Arc<Claims>>, Error> {
        let verified = match OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            true => self.verify_personal_access_token(token).await,
            false => self.verify_for_any_audience(token).await,
        };
        match verified {
            // A service must not learn the claims of a token for another audience (RFC 7662
            // section 4).
            Ok((claims, _)) if !audiences.contains(&claims.aud) => Ok(None),
            Ok((claims, keys)) => {
                Ok((!self.revocations.is_revoked(&keys).await?).then_some(claims))
            }
            Err(Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked) => Ok(None),
            Err(other) => Err(other),
        }
    }
}
