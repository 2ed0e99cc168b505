//! Personal access tokens: creation, lookup, and revocation.

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, Postgres, StoredUser, audit, batcher::Batcher, email_outbox,
        pools, pools::Pool, revocations, stored_user::read_user,
    },
};
use std::collections::BTreeMap;

use latchkey_domain::{
    audit::AuditEvent,
    page::Page,
    revocation::{Revocation, RevocationBatch, RevocationReason},
    scope::Scopes,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

const LOCK_USER_FOR_TOKEN: &str = include_str!("../../sql/queries/lock_user_for_token.sql");
const DELETE_REVOKED_PERSONAL_ACCESS_TOKENS: &str =
    include_str!("../../sql/queries/delete_revoked_personal_access_tokens.sql");
const INSERT_PERSONAL_ACCESS_TOKEN: &str =
    include_str!("../../sql/queries/insert_personal_access_token.sql");
const IS_TOKEN_ID_USED: &str = include_str!("../../sql/queries/is_token_id_used.sql");
const FIND_PERSONAL_ACCESS_TOKENS: &str =
    include_str!("../../sql/queries/find_personal_access_tokens.sql");
const LIST_PERSONAL_ACCESS_TOKENS: &str =
    include_str!("../../sql/queries/list_personal_access_tokens.sql");
const DELETE_PERSONAL_ACCESS_TOKEN: &str =
    include_str!("../../sql/queries/delete_personal_access_token.sql");
const DELETE_USER_PERSONAL_ACCESS_TOKENS: &str =
    include_str!("../../sql/queries/delete_user_personal_access_tokens.sql");
const FIND_REVOKED_PERSONAL_ACCESS_TOKEN: &str =
    include_str!("../../sql/queries/find_revoked_personal_access_token.sql");
const TOUCH_PERSONAL_ACCESS_TOKEN: &str =
    include_str!("../../sql/queries/touch_personal_access_token.sql");

/// A token to insert. It has no `Debug`, because it contains the secret's hash.
pub struct NewPersonalAccessToken<'a> {
    /// The token ID, which the caller generates.
    pub id: Uuid,
    pub user_id: Uuid,
    /// The current generation of the user.
    pub generation: i64,
    /// The session that creates the token.
    pub session_id: Uuid,
    /// The display name.
    pub name: &'a str,
    pub secret_hash: Vec<u8>,
    pub scopes: Scopes,
    pub expires_at: OffsetDateTime,
    /// The maximum number of valid tokens per user.
    pub most: i64,
}

/// A token for the list of a user.
#[derive(Debug, Clone)]
pub struct PersonalAccessToken {
    pub id: Uuid,
    /// The display name.
    pub name: String,
    /// The scopes, separated by spaces.
    pub scope: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    /// The time of the last use, up to eleven minutes late.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A token with its user. It has no `Debug`, because it contains the secret's hash.
#[derive(Clone)]
pub struct PersonalAccessTokenRow {
    /// The user's generation at the creation of the token.
    pub generation: i64,
    pub secret_hash: Vec<u8>,
    /// The scopes, separated by spaces.
    pub scope: String,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    pub user: StoredUser,
}

impl PersonalAccessTokenRow {
    /// Whether the user is enabled and their generation is still that of the token.
    pub fn is_usable(&self) -> bool {
        !self.user.disabled && self.user.generation == self.generation
    }
}

impl Postgres {
    /// Inserts a token with its audit event, and returns its creation time. Returns `None` if the
    /// user has the maximum number of tokens, or was revoked or disabled meanwhile, or if the ID of
    /// the token is used.
    pub async fn create_personal_access_token(
        &self,
        token: &NewPersonalAccessToken<'_>,
        event: &AuditEvent,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db
            .query_first(LOCK_USER_FOR_TOKEN, &[&token.user_id, &token.generation])
            .await?
            .is_none()
        {
            db.roll_back().await?;
            return Ok(None);
        }
        db.execute(
            DELETE_REVOKED_PERSONAL_ACCESS_TOKENS,
            &[&token.user_id, &token.generation],
        )
        .await?;
        let scope = token.scopes.to_string();
        let params: crate::postgres::Params = &[
            &token.id,
            &token.user_id,
            &token.session_id,
            &token.name,
            &token.secret_hash,
            &scope,
            &token.expires_at,
            &token.most,
            &token.generation,
        ];
        let Some(row) = db.query_first(INSERT_PERSONAL_ACCESS_TOKEN, params).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        email_outbox::enqueue(
            &mut db,
            Uuid::now_v7(),
            EmailTemplate::PersonalAccessTokenCreated,
            token.user_id,
            event,
        )
        .await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(row.try_get(0)?))
    }

    /// Lists a page of the valid tokens of a user, and one more if there is a next page.
    pub async fn list_personal_access_tokens(
        &self,
        user_id: Uuid,
        page: Page,
    ) -> Result<Vec<PersonalAccessToken>, Error> {
        let rows = self
            .connection()
            .await?
            .query(
                LIST_PERSONAL_ACCESS_TOKENS,
                &[&user_id, &page.after, &(i64::from(page.limit) + 1)],
            )
            .await?;
        rows.iter().map(read_token).collect()
    }

    /// Finds a token by its ID. Concurrent lookups share a statement.
    pub async fn find_personal_access_token(
        &self,
        id: Uuid,
    ) -> Result<Option<PersonalAccessTokenRow>, Error> {
        self.personal_access_tokens
            .submit(id, (), self.deadline())
            .await
    }

    /// Returns whether a token with this ID exists, or was revoked recently.
    pub async fn is_token_id_used(&self, id: Uuid) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        let row = db.query_first(IS_TOKEN_ID_USED, &[&id]).await?;
        Ok(row.is_some())
    }

    /// Sets the time of the last use to the current time.
    pub async fn touch_personal_access_token(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .execute(TOUCH_PERSONAL_ACCESS_TOKEN, &[&id])
            .await
            .map(drop)
    }

    /// Deletes a token of a user, and returns its revocation.
    ///
    /// For a recently deleted token, it returns the earlier revocation, so that a repeated request
    /// publishes it again. Otherwise it returns `None` if there is no such token.
    pub async fn revoke_personal_access_token(
        &self,
        user_id: Uuid,
        id: Uuid,
        reason: RevocationReason,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let batch = RevocationBatch::of_personal_access_token(user_id, id, reason);
        if db
            .execute(DELETE_PERSONAL_ACCESS_TOKEN, &[&user_id, &id])
            .await?
            == 0
        {
            db.roll_back().await?;
            return Ok(self
                .find_revoked_personal_access_token(id)
                .await?
                .filter(|earlier| earlier.user_id == Some(user_id)));
        }
        revocations::insert(&mut db, &batch).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(batch))
    }

    /// Returns the revocation of a recently deleted token.
    pub async fn find_revoked_personal_access_token(
        &self,
        id: Uuid,
    ) -> Result<Option<RevocationBatch>, Error> {
        let row = self
            .connection()
            .await?
            .query_first(FIND_REVOKED_PERSONAL_ACCESS_TOKEN, &[&id.to_string()])
            .await?;
        row.map(|row| {
            Ok(RevocationBatch::of_personal_access_token(
                row.try_get(0)?,
                id,
                RevocationReason::PersonalAccessTokenRevoked,
            ))
        })
        .transpose()
    }
}

/// Deletes all tokens of a deleted user, and adds their revocations to the batch.
pub(crate) async fn delete_all(
    db: &mut Connection,
    user_id: Uuid,
    mut batch: RevocationBatch,
) -> Result<RevocationBatch, Error> {
    let rows = db
        .query(DELETE_USER_PERSONAL_ACCESS_TOKENS, &[&user_id])
        .await?;
    let ids = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<Uuid>, _>>()?;
    batch.revocations.extend(
        ids.into_iter()
            .map(|id| Revocation::PersonalAccessToken { id }),
    );
    Ok(batch)
}

pub(super) fn read_token(row: &Row) -> Result<PersonalAccessToken, Error> {
    Ok(PersonalAccessToken {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scope: row.try_get("scope")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}

/// Builds the batcher for lookups by ID.
pub(crate) fn build_batcher(
    batch_pool: &Pool,
    pool: &Pool,
) -> Batcher<Uuid, (), PersonalAccessTokenRow> {
    pools::build_batcher(batch_pool, pool, find_tokens)
}

async fn find_tokens(
    mut db: Connection,
    keys: BTreeMap<Uuid, ()>,
) -> Result<BTreeMap<Uuid, PersonalAccessTokenRow>, Error> {
    let ids: Vec<Uuid> = keys.into_keys().collect();
    let rows = db.query(FIND_PERSONAL_ACCESS_TOKENS, &[&ids]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("token_id")?, read_token_with_user(row)?)))
        .collect()
}

fn read_token_with_user(row: &Row) -> Result<PersonalAccessTokenRow, Error> {
    Ok(PersonalAccessTokenRow {
        generation: row.try_get("token_generation")?,
        secret_hash: row.try_get("secret_hash")?,
        scope: row.try_get("scope")?,
        created_at: row.try_get("token_created_at")?,
        expires_at: row.try_get("expires_at")?,
        user: read_user(row)?,
    })
}
