//! Token checks against PostgreSQL, for times without a valid lease and without a usable Redis.

use std::collections::BTreeMap;

use latchkey_domain::{access_token::Kid, revocation::RevocationKeys};
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, batcher::Batcher, pools, pools::Pool},
};

const FIND_REVOKED_TOKENS: &str = include_str!("../../sql/queries/find_revoked_tokens.sql");

/// Marker in the rows of the batcher: the token is revoked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RevokedToken;

/// The claims of a signed token by which it can be revoked. A token without a session belongs to an
/// OAuth client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenLookup {
    kid: Kid,
    /// The ID of the user, or of the OAuth client of a token without a session.
    subject_id: Uuid,
    session_id: Option<Uuid>,
    jti: Uuid,
    generation: i64,
}

/// Builds the batcher for token checks.
pub(crate) fn build_batcher(
    batch_pool: &Pool,
    pool: &Pool,
) -> Batcher<TokenLookup, (), RevokedToken> {
    pools::build_batcher(batch_pool, pool, find_revoked_tokens)
}

async fn find_revoked_tokens(
    mut db: Connection,
    keys: BTreeMap<TokenLookup, ()>,
) -> Result<BTreeMap<TokenLookup, RevokedToken>, Error> {
    let tokens: Vec<TokenLookup> = keys.into_keys().collect();
    let subject_ids: Vec<Uuid> = tokens.iter().map(|token| token.subject_id).collect();
    let session_ids: Vec<Option<Uuid>> = tokens.iter().map(|token| token.session_id).collect();
    let jtis: Vec<Uuid> = tokens.iter().map(|token| token.jti).collect();
    let generations: Vec<i64> = tokens.iter().map(|token| token.generation).collect();
    let kids: Vec<String> = tokens.iter().map(|token| token.kid.to_string()).collect();
    let rows = db
        .query(
            FIND_REVOKED_TOKENS,
            &[&subject_ids, &session_ids, &jtis, &generations, &kids],
        )
        .await?;
    let revoked = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<Uuid>, _>>()?;
    Ok(tokens
        .into_iter()
        .filter(|token| revoked.contains(&token.jti))
        .map(|token| (token, RevokedToken))
        .collect())
}

impl Postgres {
    /// Checks in PostgreSQL whether a token is revoked. Concurrent checks share a statement.
    ///
    /// A check never joins a statement that was already sent, so it includes all revocations that
    /// were committed before the call.
    pub async fn is_revoked(&self, keys: &RevocationKeys) -> Result<bool, Error> {
        let token = match *keys {
            RevocationKeys::Session {
                kid,
                user_id,
                session_id,
                jti,
                generation,
            } => TokenLookup {
                kid,
                subject_id: user_id,
                session_id: Some(session_id),
                jti,
                generation,
            },
            RevocationKeys::Client {
                kid,
                id,
                jti,
                generation,
            } => TokenLookup {
                kid,
                subject_id: id,
                session_id: None,
                jti,
                generation,
            },
            // The row of the token and of its user contain its complete state.
            RevocationKeys::PersonalAccessToken { id, .. } => {
                return Ok(!self
                    .find_personal_access_token(id)
                    .await?
                    .is_some_and(|token| token.is_usable()));
            }
        };
        Ok(self
            .token_states
            .submit(token, (), self.deadline())
            .await?
            .is_some())
    }
}
