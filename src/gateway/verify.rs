//! The caller check: may a request with this access token pass?
//!
//! Everything that protects anything goes through [`Gateway::verify`], so that what is inside can change without touching
//! a caller. Inside: signature (once for each token, as long as it is remembered) and claims, then whether key, user, session
//! or token were taken back, which memory knows (`revocation`).

use std::sync::Arc;

use super::Gateway;
use crate::{
    domain::{
        access_token::{Claims, Opened},
        cookie,
    },
    error::Error,
};

impl Gateway {
    /// The claims of a token that is good at this moment.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `busy`, `unavailable`.
    pub async fn verify(&self, token: &str) -> Result<Arc<Claims>, Error> {
        let opened = self.tokens.open(token, &self.keys()?.verifying, &self.realm, self.clock.now());
        let signed = match opened.map_err(|_| Error::InvalidToken)? {
            Opened::Live(signed) => signed,
            Opened::Expired(_) => return Err(Error::TokenExpired),
        };
        if self.is_revoked(&signed.marks()).await? { Err(Error::TokenRevoked) } else { Ok(signed.claims) }
    }

    /// The same for a token that came as a cookie, which only a browser's may.
    ///
    /// # Errors
    /// As [`Gateway::verify`].
    pub async fn verify_cookie(&self, token: &str) -> Result<Arc<Claims>, Error> {
        let claims = self.verify(token).await?;
        if cookie::is_cookie(&claims) { Ok(claims) } else { Err(Error::InvalidToken) }
    }
}
