//! Why is this token refused? For the operator, from the record and from Redis; nothing is changed by asking.

use std::fmt;

use super::Gateway;
use crate::{
    domain::{
        access_token::{self, Opened, Signed, VerifyingKeys},
        explanation::{self, Denylist, Explanation, Lifetimes, Told},
        refresh_token::{self, RefreshToken},
    },
    error::{Chain, Error},
    redis::Found,
};

/// Why nothing can be said of a token.
#[derive(Debug)]
pub enum ExplainError {
    /// The settings are not those of the gateway that issued it.
    OtherSecret,
    /// The record does not answer.
    Unanswered(Error),
}

impl fmt::Display for ExplainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExplainError::OtherSecret => {
                f.write_str("LATCHKEY_SECRET differs from the one that this database was made with")
            }
            ExplainError::Unanswered(error) => write!(f, "PostgreSQL could not be asked: {}", Chain(error)),
        }
    }
}

impl std::error::Error for ExplainError {}

impl From<Error> for ExplainError {
    fn from(error: Error) -> Self {
        ExplainError::Unanswered(error)
    }
}

impl Gateway {
    /// Which rule refuses this access token, cookie or refresh token, if one does. It is not used up.
    ///
    /// # Errors
    /// Where the record cannot be asked, or was made under another secret.
    pub async fn explain(&self, token: &str) -> Result<Explanation, ExplainError> {
        let keys = self.public_keys().await?;
        if let Some(token) = self.refresh_key.open(token) {
            return Ok(self.explain_refresh_token(&token).await?);
        }
        if token.starts_with(refresh_token::PREFIX) {
            return Ok(explanation::strange_refresh_token());
        }
        match access_token::examine(token, &keys, &self.realm, self.clock.now()) {
            Ok(Opened::Live(signed)) => Ok(self.explain_access_token(&signed).await?),
            Ok(Opened::Expired(signed)) => Ok(explanation::expired(&signed.claims)),
            Err(flaw) => Ok(explanation::flawed(&flaw, &self.realm)),
        }
    }

    /// The keys that the replicas accept. That the newest can be unsealed shows that the secret is theirs.
    async fn public_keys(&self) -> Result<VerifyingKeys, ExplainError> {
        let none = || Err(Error::unavailable("no replica has made a signing key yet"));
        let stored = self.record.signing_keys(none).await?;
        self.unseal(&stored).map(|keys| keys.verifying).ok_or(ExplainError::OtherSecret)
    }

    async fn explain_access_token(&self, signed: &Signed) -> Result<Explanation, Error> {
        let claims = &signed.claims;
        let marks = signed.marks();
        let known = self.record.explain(&marks).await?;
        let denylist = match self.speed.find_revocations(&marks).await {
            Ok(Found::Nothing) => Denylist::Clean,
            Ok(Found::Refused(subject)) => Denylist::Refused(subject),
            Ok(Found::Lost) => Denylist::Lost,
            Err(_) => Denylist::Silent,
        };
        Ok(explanation::access(claims, &known, denylist))
    }

    async fn explain_refresh_token(&self, token: &RefreshToken) -> Result<Explanation, Error> {
        let known = self.record.explain_session(token.sub, token.sid).await?;
        let remembered = told(self.speed.look_at_session(token.sub, token.sid).await);
        let lifetimes = Lifetimes { idle: self.idle_seconds(), grace: self.config.refresh_grace.as_secs() };
        Ok(explanation::refresh(token, &known, &remembered, lifetimes, self.clock.now_ms()))
    }
}

fn told<T>(answer: Result<T, Error>) -> Told<T> {
    answer.map_or(Told::Silent, Told::Known)
}
