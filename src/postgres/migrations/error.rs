//! Failures of a migration, each with its fix.

use std::error::Error as StdError;

use refinery::error::Kind;
use tokio_postgres::error::{DbError, SqlState};

use crate::{
    error::{Chain, Diagnosis},
    postgres::{connect::ConnectError, is_outage},
};

type Source = Box<dyn StdError + Send + Sync>;

/// A failure to apply migrations.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// PostgreSQL is unreachable, or can't write at the moment; retrying might help.
    #[error("PostgreSQL is unavailable")]
    Unreachable(#[source] Source),
    /// Another process held a lock for a minute; retrying might help.
    #[error(
        "a migration waited a minute for a lock; end the session that holds it, for example a dump or \
         an idle transaction"
    )]
    Locked,
    /// Migrations of an older development version were applied.
    #[error(
        "the database was created by an older development version, whose data can't be migrated; \
         create an empty database and set DATABASE_URL to it"
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
    /// Returns how to fix it, unless the error itself states it or the cause is unknown.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            MigrationError::Unreachable(_) | MigrationError::Locked | MigrationError::Outdated => {
                None
            }
            MigrationError::Encoding(_) => Some(
                "create another database with `CREATE DATABASE NAME ENCODING 'UTF8' TEMPLATE \
                 template0`, and set DATABASE_URL to it",
            ),
            MigrationError::Failed(source) => hint_of(source.downcast_ref::<DbError>()?.code()),
        }
    }
}

impl MigrationError {
    /// Returns the cause and its fix.
    pub fn diagnosis(&self) -> Diagnosis {
        if let MigrationError::Unreachable(source) = self {
            return match source.downcast_ref::<ConnectError>() {
                Some(error) => error.diagnosis(),
                None => Diagnosis::new(
                    format!("PostgreSQL is unavailable: {}.", Chain(source.as_ref())),
                    "Check the PostgreSQL server and `DATABASE_URL`.",
                ),
            };
        }
        Diagnosis::new(
            format!("PostgreSQL can't be used: {}.", Chain(self)),
            self.hint().unwrap_or("See the log of PostgreSQL."),
        )
    }
}

fn hint_of(code: &SqlState) -> Option<&'static str> {
    Some(match code {
        &SqlState::INSUFFICIENT_PRIVILEGE => {
            "run `latchkey migrate` with the role that owns the tables; this role requires `GRANT \
             CREATE ON SCHEMA public TO ROLE_NAME`"
        }
        &SqlState::INVALID_SCHEMA_NAME => {
            "create the schema, or set the search path of the role: `ALTER ROLE ROLE_NAME SET \
             search_path = SCHEMA_NAME`"
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

/// Returns the first cause of this type.
fn find_cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut error = Some(error);
    while let Some(current) = error {
        if let Some(cause) = current.downcast_ref() {
            return Some(cause);
        }
        error = current.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_causes_have_a_hint() {
        for (code, part) in [
            ("42501", "that owns the tables"),
            ("3F000", "search_path"),
            ("42P07", "an empty database"),
        ] {
            let hint = hint_of(&SqlState::from_code(code)).unwrap_or_default();
            assert!(hint.contains(part), "{code}: {hint}");
        }
        assert_eq!(hint_of(&SqlState::DIVISION_BY_ZERO), None);
    }
}
