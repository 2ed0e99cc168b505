//! Signing keys, and what all replicas must agree on.

use super::{Connection, Postgres};
use crate::error::Error;

const LIST: &str = include_str!("../../sql/queries/list_signing_keys.sql");
const LOCK: &str = include_str!("../../sql/queries/lock_signing_keys.sql");
const INSERT: &str = include_str!("../../sql/queries/insert_signing_key.sql");
const AGREE_ON_ISSUER: &str = include_str!("../../sql/queries/agree_on_issuer.sql");

/// A signing key as it rests in the record.
pub struct SealedKey {
    /// Its id.
    pub kid: String,
    /// The public half.
    pub public: Vec<u8>,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
}

impl Postgres {
    /// All signing keys, the newest first. When there is none, `first` makes one; replicas that start together agree on
    /// the same, because the table is locked meanwhile.
    pub async fn signing_keys(
        &self,
        first: impl FnOnce() -> Result<SealedKey, Error>,
    ) -> Result<Vec<SealedKey>, Error> {
        let mut db = self.connection().await?;
        let keys = list(&mut db).await?;
        if !keys.is_empty() {
            return Ok(keys);
        }
        db.begin().await?;
        db.batch(LOCK).await?;
        if list(&mut db).await?.is_empty() {
            let key = first()?;
            db.change(INSERT, &[&key.kid, &key.public, &key.sealed]).await?;
        }
        db.commit().await?;
        list(&mut db).await
    }

    /// The issuer that all replicas use: the one that the first of them brought.
    pub async fn agree_on_issuer(&self, ours: &str) -> Result<String, Error> {
        let row = self.connection().await?.first(AGREE_ON_ISSUER, &[&ours]).await?;
        Ok(row.ok_or_else(|| Error::internal("the settings have no row"))?.try_get(0)?)
    }
}

async fn list(db: &mut Connection) -> Result<Vec<SealedKey>, Error> {
    let rows = db.all(LIST, &[]).await?;
    let read = |row: &tokio_postgres::Row| {
        Ok(SealedKey { kid: row.try_get(0)?, public: row.try_get(1)?, sealed: row.try_get(2)? })
    };
    rows.iter().map(read).collect()
}
