//! What the record says of a token, while neither memory nor Redis can tell.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use latchkey_domain::{access_token::Kid, revocation::RevocationKeys};
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, batcher::Batcher, pools::batcher},
};

const FIND: &str = include_str!("../../sql/queries/find_revoked_tokens.sql");

/// The record speaks against it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RevokedToken;

/// A token that a key of ours signed; one without a session is of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TokenLookup {
    kid: Kid,
    sub: Uuid,
    sid: Option<Uuid>,
    jti: Uuid,
    generation: i64,
}

pub(crate) fn finder(
    batch_connections: &Pool,
    connections: &Pool,
) -> Batcher<TokenLookup, (), RevokedToken> {
    batcher(batch_connections, connections, find)
}

async fn find(
    mut db: Connection,
    asked: BTreeMap<TokenLookup, ()>,
) -> Result<BTreeMap<TokenLookup, RevokedToken>, Error> {
    let asked: Vec<TokenLookup> = asked.into_keys().collect();
    let subs: Vec<Uuid> = asked.iter().map(|token| token.sub).collect();
    let sids: Vec<Option<Uuid>> = asked.iter().map(|token| token.sid).collect();
    let jtis: Vec<Uuid> = asked.iter().map(|token| token.jti).collect();
    let generations: Vec<i64> = asked.iter().map(|token| token.generation).collect();
    let kids: Vec<String> = asked.iter().map(|token| token.kid.to_string()).collect();
    let rows = db
        .all(FIND, &[&subs, &sids, &jtis, &generations, &kids])
        .await?;
    let refused = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<Uuid>, _>>()?;
    Ok(asked
        .into_iter()
        .filter(|token| refused.contains(&token.jti))
        .map(|token| (token, RevokedToken))
        .collect())
}

impl Postgres {
    /// Whether the record speaks against a token. Checks that wait at the same moment share a
    /// statement; none joins one that was sent already.
    pub async fn is_revoked(&self, marks: &RevocationKeys) -> Result<bool, Error> {
        let asked = match *marks {
            RevocationKeys::Session {
                kid,
                sub,
                sid,
                jti,
                generation,
            } => TokenLookup {
                kid,
                sub,
                sid: Some(sid),
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
                sub: id,
                sid: None,
                jti,
                generation,
            },
            // Its own row says all of it.
            RevocationKeys::PersonalAccessToken { id, .. } => {
                return Ok(!self
                    .find_personal_access_token(id)
                    .await?
                    .is_some_and(|token| token.is_usable()));
            }
        };
        Ok(self
            .token_states
            .ask(asked, (), self.deadline())
            .await?
            .is_some())
    }
}
