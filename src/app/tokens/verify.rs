//! The caller check: may a request with this token pass?
//!
//! Everything that protects anything goes through [`Gateway::verify`], so that what is inside can
//! change without touching a caller. Inside: signature and claims (once for each token, as long as
//! it is remembered), or for a personal access token its row (once in ten minutes); then whether
//! key, user, client, session or token were taken back, which memory knows (`revocation`).

use std::sync::Arc;

use latchkey_domain::{
    access_token::{Claims, Opened},
    opaque_token::Purpose,
    revocation::Marks,
    session_cookie,
};

use crate::{app::Gateway, error::Error};

impl Gateway {
    /// The claims of a token that is good at this moment: of an access token, or of a personal one.
    ///
    /// # Errors
    /// `invalid_token`, `token_expired`, `token_revoked`, `busy`, `unavailable`.
    pub async fn verify(self: &Arc<Self>, token: &str) -> Result<Arc<Claims>, Error> {
        let (claims, marks) = match Purpose::PersonalToken.marks(token) {
            true => self.open_personal_token(token).await?,
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
    pub(crate) async fn open_token_for_others(
        &self,
        token: &str,
    ) -> Result<(Arc<Claims>, Marks), Error> {
        live(self.open_for_others(token).await?)
    }

    /// What a token of ours says, whether or not it is good at this moment: its signature is enough
    /// to end it.
    pub(crate) async fn open_to_end(&self, token: &str) -> Result<Arc<Claims>, Error> {
        Ok(self.open_signed(token).await?.claims)
    }
}

fn live(opened: Opened) -> Result<(Arc<Claims>, Marks), Error> {
    match opened {
        Opened::Live(signed) => {
            let marks = signed.marks();
            Ok((signed.claims, marks))
        }
        Opened::Expired(_) => Err(Error::TokenExpired),
    }
}
