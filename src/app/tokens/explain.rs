//! Explains to the operator why a token is rejected. It reads PostgreSQL and Redis, and changes
//! neither.

use latchkey_domain::{
    access_token::{self, Claims, Validity, VerifyingKeys},
    explanation::{self, CacheReading, DenylistState, Explanation},
    opaque_token::{OpaqueToken, OpaqueTokenKind},
    refresh_token::{self, RefreshToken},
    revocation::RevocationKeys,
};
use uuid::Uuid;

use crate::{
    app::tokens::Tokens,
    error::{Chain, Error},
    redis::LookupOutcome,
};

/// The reason for which a token can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// `LATCHKEY_SECRET` differs from the secret of the replicas.
    #[error(
        "LATCHKEY_SECRET differs from the secret that encrypts the signing keys of this database"
    )]
    OtherSecret,
    /// PostgreSQL doesn't respond, or has no signing key.
    #[error("PostgreSQL is unavailable: {}", Chain(.0))]
    Unavailable(#[from] Error),
}

impl Tokens {
    /// Returns the rule that rejects a token, if there is one. The token is an access token, a
    /// session cookie, a refresh token, or a personal access token. A refresh token isn't rotated.
    ///
    /// # Errors
    /// If PostgreSQL is unavailable, or its signing keys are encrypted with another secret.
    pub async fn explain(&self, token: &str) -> Result<Explanation, ExplainError> {
        let keys = self.load_public_keys().await?;
        if let Some(shared) = self.postgres.find_settings().await? {
            self.redis.set_database_for_reading(shared.database_id);
        }
        if let Some(token) = self.refresh_key.verify(token) {
            return Ok(self.explain_refresh_token(&token).await?);
        }
        if token.starts_with(refresh_token::PREFIX) {
            return Ok(explanation::explain_unknown_refresh_token());
        }
        if OpaqueTokenKind::PersonalAccessToken.matches_prefix(token) {
            return Ok(self.explain_personal_access_token(token).await?);
        }
        match access_token::diagnose(token, &keys, &self.policy, self.clock.now()) {
            Ok(Validity::Valid(signed)) => Ok(self
                .explain_claims(&signed.claims, &signed.revocation_keys())
                .await?),
            Ok(Validity::Expired(signed)) => Ok(explanation::explain_expired(&signed.claims)),
            Err(error) => Ok(explanation::explain_invalid_token(&error, &self.policy)),
        }
    }

    /// Loads the public keys of all replicas, including revoked ones, because PostgreSQL explains
    /// the revocation of a key. Checks that this process has the secret of the replicas: it must
    /// decrypt the keys that sign.
    async fn load_public_keys(&self) -> Result<VerifyingKeys, ExplainError> {
        let stored = self.postgres.list_signing_keys().await?;
        if stored.is_empty() {
            return Err(Error::unavailable("the database contains no signing key yet").into());
        }
        if !self.keys.can_decrypt_signers(&stored) {
            return Err(ExplainError::OtherSecret);
        }
        let mut keys = VerifyingKeys::default();
        stored
            .iter()
            .for_each(|stored| keys.add(&stored.key.public));
        Ok(keys)
    }

    async fn explain_personal_access_token(&self, text: &str) -> Result<Explanation, Error> {
        let Some(token) = OpaqueToken::read(OpaqueTokenKind::PersonalAccessToken, text) else {
            return Ok(explanation::explain_unknown_personal_access_token());
        };
        let Some(row) = self.postgres.find_personal_access_token(token.id).await? else {
            let keys = RevocationKeys::PersonalAccessToken {
                id: token.id,
                user_id: Uuid::nil(),
                generation: 0,
            };
            return Ok(explanation::explain_missing_personal_access_token(
                self.postgres.explain(&keys).await?.token,
            ));
        };
        if !token.matches_hash(&row.secret_hash) {
            return Ok(explanation::explain_unknown_personal_access_token());
        }
        let claims = self.personal_access_token_claims(token.id, row);
        if claims.exp <= self.clock.now() {
            return Ok(explanation::explain_expired(&claims));
        }
        let keys = RevocationKeys::PersonalAccessToken {
            id: token.id,
            user_id: claims.sub,
            generation: claims.generation,
        };
        self.explain_claims(&claims, &keys).await
    }

    async fn explain_claims(
        &self,
        claims: &Claims,
        keys: &RevocationKeys,
    ) -> Result<Explanation, Error> {
        let state = self.postgres.explain(keys).await?;
        let denylist = match self.redis.find_revocations(keys).await {
            Ok(LookupOutcome::NotListed) => DenylistState::NotListed,
            Ok(LookupOutcome::Listed(subject)) => DenylistState::Listed(subject),
            Ok(LookupOutcome::LogLost) => DenylistState::LogLost,
            Err(_) => DenylistState::Unreachable,
        };
        Ok(explanation::explain_access_token(claims, &state, denylist))
    }

    async fn explain_refresh_token(&self, token: &RefreshToken) -> Result<Explanation, Error> {
        let stored = self
            .postgres
            .explain_session(token.user_id, token.session_id)
            .await?;
        let cached = cache_reading(
            self.redis
                .inspect_session(token.user_id, token.session_id)
                .await,
        );
        Ok(explanation::explain_refresh_token(
            token,
            &stored,
            &cached,
            self.settings.lifetimes,
            self.clock.now_ms(),
        ))
    }
}

fn cache_reading<T>(result: Result<T, Error>) -> CacheReading<T> {
    result.map_or(CacheReading::Unreachable, CacheReading::Read)
}
