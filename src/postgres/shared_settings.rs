//! The settings that all replicas of a database share. The first start stores them.

use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use crate::error::Error;

pub(super) const FIND_SETTINGS: &str = include_str!("../../sql/queries/find_settings.sql");
const AGREE_ON_SETTINGS: &str = include_str!("../../sql/queries/agree_on_settings.sql");

/// The settings that all replicas of a database share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedSettings {
    /// The issuer of the first replica.
    pub issuer: String,
    /// Identifies the database in the keys of Redis.
    pub database_id: Uuid,
}

impl Postgres {
    /// Stores the issuer of the first replica and an ID of the database, and returns the stored
    /// ones.
    pub async fn agree_on_settings(&self, issuer: &str) -> Result<SharedSettings, Error> {
        let row = self
            .connection()
            .await?
            .query_first(AGREE_ON_SETTINGS, &[&issuer])
            .await?
            .ok_or_else(|| Error::internal("the table of settings is empty"))?;
        read_settings(&row)
    }

    /// Returns the settings that the first replica stored; `None` before the first start.
    pub async fn find_settings(&self) -> Result<Option<SharedSettings>, Error> {
        let row = self
            .connection()
            .await?
            .query_first(FIND_SETTINGS, &[])
            .await?;
        row.as_ref().map(read_settings).transpose()
    }
}

fn read_settings(row: &Row) -> Result<SharedSettings, Error> {
    Ok(SharedSettings {
        issuer: row.try_get("issuer")?,
        database_id: row.try_get("database_id")?,
    })
}
