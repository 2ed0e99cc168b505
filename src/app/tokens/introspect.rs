//! Is this token good? For services that ask instead of verifying (RFC 7662).

use std::sync::Arc;

use latchkey_domain::{access_token::Claims, opaque_token::OpaqueTokenKind};

use crate::{app::Gateway, error::Error};

impl Gateway {
    /// What a good token says that is for one of these audiences; nothing of any other. A refresh
    /// token is not told to be good: whoever asks would take it for what lets a request pass.
    ///
    /// # Errors
    /// `busy`, `unavailable`.
    pub async fn introspect(
        self: &Arc<Self>,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Arc<Claims>>, Error> {
        let opened = match OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            true => self.verify_personal_access_token(token).await,
            false => self.verify_for_any_audience(token).await,
        };
        match opened {
            // Whom it is not for is not told what it says (RFC 7662 section 4).
            Ok((claims, _)) if !audiences.contains(&claims.aud) => Ok(None),
            Ok((claims, marks)) => Ok((!self.is_revoked(&marks).await?).then_some(claims)),
            Err(Error::InvalidToken | Error::TokenExpired | Error::TokenRevoked) => Ok(None),
            Err(other) => Err(other),
        }
    }
}
