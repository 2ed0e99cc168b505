//! Personal access tokens.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use latchkey_domain::{
    audit::AuditEvent,
    page::Page,
    revocation::{Reason, Revocation, RevocationBatch},
    scope::Scopes,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{
        Connection, Postgres, StoredUser, audit, batcher::Batcher, pools, revocations, users,
    },
};

const HOLD: &str = include_str!("../../sql/queries/lock_user_for_token.sql");
const DELETE_DEAD: &str =
    include_str!("../../sql/queries/delete_revoked_personal_access_tokens.sql");
const INSERT: &str = include_str!("../../sql/queries/insert_personal_access_token.sql");
const FIND: &str = include_str!("../../sql/queries/find_personal_access_tokens.sql");
const LIST: &str = include_str!("../../sql/queries/list_personal_access_tokens.sql");
const DELETE: &str = include_str!("../../sql/queries/delete_personal_access_token.sql");
const DELETE_OF_USER: &str =
    include_str!("../../sql/queries/delete_user_personal_access_tokens.sql");
const WAS: &str = include_str!("../../sql/queries/find_revoked_personal_access_token.sql");
const TOUCH: &str = include_str!("../../sql/queries/touch_personal_access_token.sql");

/// A token that is about to be.
pub struct NewPersonalAccessToken<'a> {
    /// Its id, made by the caller.
    pub id: Uuid,
    /// Whose it is to be.
    pub user: Uuid,
    /// The user's generation.
    pub generation: i64,
    /// The session that makes it.
    pub sid: Uuid,
    /// What its owner calls it.
    pub name: &'a str,
    /// Of its secret.
    pub secret_hash: Vec<u8>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it ends.
    pub expires_at: OffsetDateTime,
    /// How many live ones a user may have.
    pub most: i64,
}

/// A token as its owner sees it.
#[derive(Debug, Clone)]
pub struct PersonalAccessToken {
    /// The id.
    pub id: Uuid,
    /// What its owner calls it.
    pub name: String,
    /// What it may be used for, in words.
    pub scope: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it ends.
    pub expires_at: OffsetDateTime,
    /// When it was last used, eleven minutes late at most.
    pub last_used_at: Option<OffsetDateTime>,
}

/// A token, and whose it is. It has no `Debug`, because of the hash.
#[derive(Clone)]
pub struct PersonalAccessTokenRow {
    /// The user's generation when it was made.
    pub generation: i64,
    /// Of its secret.
    pub secret_hash: Vec<u8>,
    /// What it may be used for, in words.
    pub scope: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// When it ends.
    pub expires_at: OffsetDateTime,
    /// Its user.
    pub user: StoredUser,
}

impl PersonalAccessTokenRow {
    /// Whether nothing has ended it, together with everything of its user.
    pub fn is_usable(&self) -> bool {
        !self.user.disabled && self.user.generation == self.generation
    }
}

impl Postgres {
    /// Makes a token, and records the event; when it was made, or nothing where its user has too
    /// many, or everything of the user has ended meanwhile.
    pub async fn create_personal_access_token(
        &self,
        token: &NewPersonalAccessToken<'_>,
        event: &AuditEvent,
    ) -> Result<Option<OffsetDateTime>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db
            .first(HOLD, &[&token.user, &token.generation])
            .await?
            .is_none()
        {
            db.roll_back().await?;
            return Ok(None);
        }
        db.change(DELETE_DEAD, &[&token.user, &token.generation])
            .await?;
        let scope = token.scopes.to_string();
        let params: crate::postgres::Params = &[
            &token.id,
            &token.user,
            &token.sid,
            &token.name,
            &token.secret_hash,
            &scope,
            &token.expires_at,
            &token.most,
            &token.generation,
        ];
        let Some(row) = db.first(INSERT, params).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(row.try_get(0)?))
    }

    /// A page of the live tokens of a user, and one more if there is a next page.
    pub async fn list_personal_access_tokens(
        &self,
        user: Uuid,
        page: Page,
    ) -> Result<Vec<PersonalAccessToken>, Error> {
        let rows = self
            .connection()
            .await?
            .all(LIST, &[&user, &page.after, &(i64::from(page.limit) + 1)])
            .await?;
        rows.iter().map(read).collect()
    }

    /// The token with this id. Who asks at the same moment shares a statement.
    pub async fn find_personal_access_token(
        &self,
        id: Uuid,
    ) -> Result<Option<PersonalAccessTokenRow>, Error> {
        self.personal_tokens.ask(id, (), self.deadline()).await
    }

    /// Says that a token was used now.
    pub async fn touch_personal_access_token(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .change(TOUCH, &[&id])
            .await
            .map(drop)
    }

    /// Deletes a token of this user, for good; nothing if there is none, and none was deleted a
    /// while ago.
    pub async fn revoke_personal_access_token(
        &self,
        user: Uuid,
        id: Uuid,
        reason: Reason,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let ending = RevocationBatch::of_personal_token(user, id, reason);
        if db.change(DELETE, &[&user, &id]).await? == 0 {
            db.roll_back().await?;
            return Ok(self
                .find_revoked_personal_access_token(id)
                .await?
                .filter(|before| before.sub == Some(user)));
        }
        revocations::record(&mut db, &ending).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(ending))
    }

    /// What ended with a token that was deleted a while ago.
    pub async fn find_revoked_personal_access_token(
        &self,
        id: Uuid,
    ) -> Result<Option<RevocationBatch>, Error> {
        let row = self
            .connection()
            .await?
            .first(WAS, &[&id.to_string()])
            .await?;
        row.map(|row| {
            Ok(RevocationBatch::of_personal_token(
                row.try_get(0)?,
                id,
                Reason::TokenDeleted,
            ))
        })
        .transpose()
    }
}

/// Deletes all tokens of a user who is deleted; the ending of everything with theirs.
pub(crate) async fn delete_all(
    db: &mut Connection,
    user: Uuid,
    mut ending: RevocationBatch,
) -> Result<RevocationBatch, Error> {
    let rows = db.all(DELETE_OF_USER, &[&user]).await?;
    let ids = rows
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<Uuid>, _>>()?;
    ending
        .entries
        .extend(ids.into_iter().map(|id| Revocation::PersonalToken { id }));
    Ok(ending)
}

fn read(row: &Row) -> Result<PersonalAccessToken, Error> {
    Ok(PersonalAccessToken {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        scope: row.try_get("scope")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        last_used_at: row.try_get("last_used_at")?,
    })
}

/// Tokens by id.
pub(crate) fn finder(
    batch_connections: &Pool,
    pool: &Pool,
) -> Batcher<Uuid, (), PersonalAccessTokenRow> {
    pools::batcher(batch_connections, pool, find)
}

async fn find(
    mut db: Connection,
    wanted: BTreeMap<Uuid, ()>,
) -> Result<BTreeMap<Uuid, PersonalAccessTokenRow>, Error> {
    let ids: Vec<Uuid> = wanted.into_keys().collect();
    let rows = db.all(FIND, &[&ids]).await?;
    rows.iter()
        .map(|row| Ok((row.try_get("token_id")?, read_known(row)?)))
        .collect()
}

fn read_known(row: &Row) -> Result<PersonalAccessTokenRow, Error> {
    Ok(PersonalAccessTokenRow {
        generation: row.try_get("token_generation")?,
        secret_hash: row.try_get("secret_hash")?,
        scope: row.try_get("scope")?,
        created_at: row.try_get("token_created_at")?,
        expires_at: row.try_get("expires_at")?,
        user: users::read(row)?,
    })
}
