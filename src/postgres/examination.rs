//! Examines the server and the database for `latchkey check`, without changing anything.

use std::time::{Duration, Instant};

use super::{
    MigrationError, Postgres, connect::Connector, migrations::is_current, pools::SESSION_SETTINGS,
    shared_settings::FIND_SETTINGS,
};

const EXAMINE_DATABASE: &str = include_str!("../../sql/queries/examine_database.sql");
const LIST_DENIED_TABLES: &str = include_str!("../../sql/queries/list_denied_tables.sql");

/// The tables that a replica reads and writes.
const TABLES: [&str; 13] = [
    "applications",
    "audit_events",
    "email_outbox",
    "groups",
    "items",
    "oauth_clients",
    "personal_access_tokens",
    "reserved_names",
    "revocations",
    "sessions",
    "settings",
    "signing_keys",
    "users",
];

/// The properties of a database that Latchkey requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseExamination {
    /// The version of PostgreSQL.
    pub version: String,
    /// The encoding of the database.
    pub encoding: String,
    /// Whether all migrations of this version were applied.
    pub is_migrated: bool,
    /// Whether the role can create tables, as migrations require.
    pub can_create: bool,
    /// The tables that the role can't read or can't write.
    pub denied_tables: Vec<String>,
    /// The issuer that the first replica stored.
    pub issuer: Option<String>,
    /// The duration of one query.
    pub round_trip: Duration,
}

impl Postgres {
    /// Examines the primary and its database.
    ///
    /// # Errors
    /// If PostgreSQL is unreachable, or this version can't use its database.
    pub async fn examine(&self) -> Result<DatabaseExamination, MigrationError> {
        // `latchkey check` has a timeout of its own.
        let settings = format!("{SESSION_SETTINGS} set statement_timeout = 0;");
        let connector = Connector::new(self.locator.clone(), settings);
        let mut client = connector.connect().await?;
        let row = client.query_one(EXAMINE_DATABASE, &[]).await?;
        let started = Instant::now();
        client.batch_execute("select 1").await?;
        let round_trip = started.elapsed();
        let is_migrated = is_current(&mut client).await?;
        let (mut denied_tables, mut issuer) = (Vec::new(), None);
        if is_migrated {
            let tables = TABLES.as_slice();
            for row in client.query(LIST_DENIED_TABLES, &[&tables]).await? {
                denied_tables.push(row.try_get(0)?);
            }
            // Without the right to read it, the table is among the denied ones.
            if denied_tables.is_empty() {
                let row = client.query_opt(FIND_SETTINGS, &[]).await?;
                issuer = row.map(|row| row.try_get("issuer")).transpose()?;
            }
        }
        Ok(DatabaseExamination {
            version: row.try_get("version")?,
            encoding: row.try_get("encoding")?,
            is_migrated,
            can_create: row.try_get("can_create")?,
            denied_tables,
            issuer,
            round_trip,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_examined() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/sql/schema.sql");
        let schema = std::fs::read_to_string(path).unwrap();
        let mut tables: Vec<&str> = schema
            .lines()
            .filter_map(|line| line.strip_prefix("create table "))
            .filter(|line| !line.contains("partition of"))
            .filter_map(|line| line.split(' ').next())
            .collect();
        tables.sort_unstable();
        assert_eq!(tables, TABLES);
    }
}
