//! Failures of a migration, each with its fix.

use std::error::Error as StdError;

use refinery::error::Kind;
use tokio_postgres::error::{DbError, SqlState};

use crate::{
    error::{Chain, Diagnosis, find_cause},
    postgres::{
        connect::ConnectError,
        diagnosis::{diagnose_driver_error, diagnose_response},
        is_outage,
    },
};

type Source = Box<dyn StdError + Send + Sync>;

/// A failure to apply migrations.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// PostgreSQL is unreachable, or can't write at the moment; retrying might help.
    #[error("PostgreSQL is unavailable")]
    Unreachable(#[source] Source),
    /// Another process held a lock for a minute; retrying might help.
    #[error("a migration waited a minute for a lock")]
    Locked,
    /// Migrations of an older development version were applied.
    #[error(
        "the database was created by an older development version, whose data can't be migrated"
    )]
    Outdated,
    /// The database can't store every character.
    #[error("the encoding of the database is {0}, and Latchkey requires UTF8")]
    Encoding(String),
    /// A migration failed.
    #[error("a migration failed")]
    Failed(#[source] Source),
}

impl MigrationError {
    /// Returns the cause and its fix, as sentences.
    pub fn diagnosis(&self) -> Diagnosis {
        if let MigrationError::Unreachable(source) = self {
            return diagnose_outage(source.as_ref());
        }
        let action = self.hint().unwrap_or("see the log of PostgreSQL");
        Diagnosis::new(
            format!("PostgreSQL can't be used: {}.", Chain(self)),
            format!("{}.", uppercase_first(action)),
        )
    }

    /// Returns how to fix it, unless the error itself states it or the cause is unknown.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            MigrationError::Unreachable(_) => None,
            MigrationError::Locked => Some(
                "end the session that holds the lock, for example a dump or an idle transaction",
            ),
            MigrationError::Outdated => {
                Some("create an empty database, and set DATABASE_URL to it")
            }
            MigrationError::Encoding(_) => Some(
                "create another database with `CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE \
                 template0`, and set DATABASE_URL to it",
            ),
            MigrationError::Failed(source) => hint_of(source.downcast_ref::<DbError>()?.code()),
        }
    }
}

fn diagnose_outage(source: &(dyn StdError + 'static)) -> Diagnosis {
    if let Some(error) = find_cause::<ConnectError>(source) {
        error.diagnosis()
    } else if let Some(error) = find_cause::<tokio_postgres::Error>(source) {
        diagnose_driver_error("PostgreSQL", error)
    } else if let Some(error) = find_cause::<DbError>(source) {
        diagnose_response("PostgreSQL", error)
    } else {
        Diagnosis::new(
            format!("PostgreSQL is unavailable: {}.", Chain(source)),
            "Check the PostgreSQL server, the network, and `DATABASE_URL`.",
        )
    }
}

/// Hints follow `hint: `, so they begin with a lowercase letter.
fn uppercase_first(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(characters).collect()
}

fn hint_of(code: &SqlState) -> Option<&'static str> {
    Some(match code {
        &SqlState::INSUFFICIENT_PRIVILEGE => {
            "run `latchkey migrate` with the role that owns the tables; this role requires `GRANT \
             CREATE ON SCHEMA public TO ROLE_NAME`"
        }
        &SqlState::INVALID_SCHEMA_NAME => {
            "run `CREATE SCHEMA public` in the database, as the role that owns the tables"
        }
        &SqlState::DUPLICATE_TABLE
        | &SqlState::DUPLICATE_OBJECT
        | &SqlState::DUPLICATE_FUNCTION => {
            "the database contains objects of another application; create an empty database and \
             set DATABASE_URL to it"
        }
        _other => return None,
    })
}

impl From<tokio_postgres::Error> for MigrationError {
    fn from(error: tokio_postgres::Error) -> Self {
        match error.as_db_error() {
            Some(cause) => MigrationError::from(cause),
            None => MigrationError::Unreachable(error.into()),
        }
    }
}

impl From<ConnectError> for MigrationError {
    fn from(error: ConnectError) -> Self {
        MigrationError::Unreachable(error.into())
    }
}

impl From<&DbError> for MigrationError {
    fn from(error: &DbError) -> Self {
        let source = Box::new(error.clone());
        if *error.code() == SqlState::LOCK_NOT_AVAILABLE {
            MigrationError::Locked
        } else if is_outage(Some(error.code())) {
            MigrationError::Unreachable(source)
        } else {
            MigrationError::Failed(source)
        }
    }
}

impl From<refinery::Error> for MigrationError {
    fn from(error: refinery::Error) -> Self {
        if matches!(error.kind(), Kind::DivergentVersion(..)) {
            return MigrationError::Outdated;
        }
        match find_cause::<tokio_postgres::Error>(&error) {
            Some(cause) => match cause.as_db_error() {
                Some(cause) => MigrationError::from(cause),
                None => MigrationError::Unreachable(error.into()),
            },
            None => MigrationError::Failed(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_causes_have_a_hint() {
        for (code, part) in [
            ("42501", "that owns the tables"),
            ("3F000", "CREATE SCHEMA public"),
            ("42P07", "an empty database"),
        ] {
            let hint = hint_of(&SqlState::from_code(code)).unwrap_or_default();
            assert!(hint.contains(part), "{code}: {hint}");
        }
        assert_eq!(hint_of(&SqlState::DIVISION_BY_ZERO), None);
    }
}
