//! The caller check: may a request with this token pass?
//!
//! Everything that protects anything goes through [`Gateway::verify`], so that what is inside can
//! change without touching a caller. Inside: signature and claims (once for each token, as long as
//! it is remembered), or for a personal access token its row (once in ten minutes); then whether
//! key, user, client, session or token were taken back, which memory knows (`revocation`).

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Validity},
    opaque_token::OpaqueTokenKind,
    revocation::RevocationKeys,
    session_cookie,
};

use crate::{app::Gateway, error::Error};

impl Gateway {
    /// The claims of a token that is good at this moment: of an access token, or of a personal one.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `busy`, `unavailable`.
    pub async fn verify(self: &Arc<Self>, token: &str) -> Result<Arc<Claims>, Error> {
        let (claims, marks) = match OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            true => self.verify_personal_access_token(token).await?,
            false => live(self.open(token).await?)?,
        };
        if self.is_revoked(&marks).await? {
            Err(Error::TokenRevoked)
        } else {
            Ok(claims)
        }
    }

    /// The same for a token that came as a cookie, which only a browser's may.
    ///
    /// # Errors
    /// As [`Gateway::verify`].
    pub async fn verify_cookie(self: &Arc<Self>, token: &str) -> Result<Arc<Claims>, Error> {
        let claims = self.verify(token).await?;
        if session_cookie::is_cookie(&claims) {
            Ok(claims)
        } else {
            Err(Error::InvalidToken)
        }
    }

    /// The same of an access token for whomever it is, which need not be us; revocation is not
    /// asked.
    pub(crate) async fn verify_for_any_audience(
        &self,
        token: &str,
    ) -> Result<(Arc<Claims>, RevocationKeys), Error> {
        live(self.verify_signed_for_any_audience(token).await?)
    }

    /// What a token of ours says, whether or not it is good at this moment: its signature is enough
    /// to end it.
    pub(crate) async fn verify_ignoring_expiry(&self, token: &str) -> Result<Arc<Claims>, Error> {
        Ok(self.verify_issued(token).await?.claims)
    }
}

fn live(opened: Validity) -> Result<(Arc<Claims>, RevocationKeys), Error> {
    match opened {
        Validity::Valid(signed) => {
            let marks = signed.revocation_keys();
            Ok((signed.claims, marks))
        }
        Validity::Expired(_) => Err(Error::TokenExpired),
    }
}
