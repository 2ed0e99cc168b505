//! Why is this token refused? For the operator, from the record and from Redis; nothing is changed
//! by asking.

use std::fmt;

use latchkey_domain::{
    access_token::{self, Claims, Validity, VerifyingKeys},
    explanation::{self, CacheReading, DenylistState, Explanation, Lifetimes},
    opaque_token::{OpaqueToken, OpaqueTokenKind},
    refresh_token::{self, RefreshToken},
    revocation::RevocationKeys,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, keys::can_sign},
    error::{Chain, Error},
    redis::LookupOutcome,
};

/// Why nothing can be said of a token.
#[derive(Debug)]
pub enum ExplainError {
    /// The settings are not those of the gateway that issued it.
    OtherSecret,
    /// The record does not answer.
    Unavailable(Error),
}

impl fmt::Display for ExplainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExplainError::OtherSecret => f.write_str(
                "LATCHKEY_SECRET differs from the secret that encrypts the signing keys of this \
                 database",
            ),
            ExplainError::Unavailable(error) => {
                write!(f, "PostgreSQL is unavailable: {}", Chain(error))
            }
        }
    }
}

impl std::error::Error for ExplainError {}

impl From<Error> for ExplainError {
    fn from(error: Error) -> Self {
        ExplainError::Unavailable(error)
    }
}

impl Gateway {
    /// Which rule refuses this access token, cookie, refresh token or personal access token, if one
    /// does. It is not used up.
    ///
    /// # Errors
    /// Where the record cannot be asked, or was made under another secret.
    pub async fn explain(&self, token: &str) -> Result<Explanation, ExplainError> {
        let keys = self.all_public_keys().await?;
        if let Some(token) = self.refresh_key.open(token) {
            return Ok(self.explain_refresh_token(&token).await?);
        }
        if token.starts_with(refresh_token::PREFIX) {
            return Ok(explanation::strange_refresh_token());
        }
        if OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            return Ok(self.explain_personal_token(token).await?);
        }
        match access_token::diagnose(token, &keys, &self.policy, self.clock.now()) {
            Ok(Validity::Valid(signed)) => Ok(self
                .explain_claims(&signed.claims, &signed.revocation_keys())
                .await?),
            Ok(Validity::Expired(signed)) => Ok(explanation::expired(&signed.claims)),
            Err(flaw) => Ok(explanation::flawed(&flaw, &self.policy)),
        }
    }

    /// All keys of the replicas, also one that was taken back: of its tokens the record says so.
    /// That those which sign can be unsealed shows that the secret is theirs.
    async fn all_public_keys(&self) -> Result<VerifyingKeys, ExplainError> {
        let stored = self.postgres.list_signing_keys().await?;
        if stored.is_empty() {
            return Err(Error::unavailable("the database contains no signing key yet").into());
        }
        if !can_sign(&self.config.secret, &stored, self.clock.now_ms()) {
            return Err(ExplainError::OtherSecret);
        }
        let mut keys = VerifyingKeys::default();
        stored
            .iter()
            .for_each(|stored| keys.add(&stored.key.public));
        Ok(keys)
    }

    async fn explain_personal_token(&self, text: &str) -> Result<Explanation, Error> {
        let Some(token) = OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, text) else {
            return Ok(explanation::strange_personal_token());
        };
        let Some(known) = self.postgres.find_personal_access_token(token.id).await? else {
            let gone = RevocationKeys::PersonalAccessToken {
                id: token.id,
                sub: Uuid::nil(),
                generation: 0,
            };
            return Ok(explanation::no_personal_token(
                self.postgres.explain(&gone).await?.token,
            ));
        };
        if !token.matches_hash(&known.secret_hash) {
            return Ok(explanation::strange_personal_token());
        }
        let claims = self.personal_access_token_claims(token.id, known);
        if claims.exp <= self.clock.now() {
            return Ok(explanation::expired(&claims));
        }
        let marks = RevocationKeys::PersonalAccessToken {
            id: token.id,
            sub: claims.sub,
            generation: claims.generation,
        };
        self.explain_claims(&claims, &marks).await
    }

    async fn explain_claims(
        &self,
        claims: &Claims,
        marks: &RevocationKeys,
    ) -> Result<Explanation, Error> {
        let known = self.postgres.explain(marks).await?;
        let denylist = match self.redis.find_revocations(marks).await {
            Ok(LookupOutcome::NotListed) => DenylistState::NotListed,
            Ok(LookupOutcome::Listed(subject)) => DenylistState::Listed(subject),
            Ok(LookupOutcome::LogLost) => DenylistState::LogLost,
            Err(_) => DenylistState::Unreachable,
        };
        Ok(explanation::access(claims, &known, denylist))
    }

    async fn explain_refresh_token(&self, token: &RefreshToken) -> Result<Explanation, Error> {
        let known = self.postgres.explain_session(token.sub, token.sid).await?;
        let remembered = readable(self.redis.inspect_session(token.sub, token.sid).await);
        let lifetimes = Lifetimes {
            idle: self.idle_seconds(),
            grace: self.config.refresh_reuse_interval.as_secs(),
        };
        Ok(explanation::refresh(
            token,
            &known,
            &remembered,
            lifetimes,
            self.clock.now_ms(),
        ))
    }
}

fn readable<T>(answer: Result<T, Error>) -> CacheReading<T> {
    answer.map_or(CacheReading::Unreachable, CacheReading::Read)
}
