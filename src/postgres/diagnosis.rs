//! The cause and the fix of failures of PostgreSQL.

use std::{
    error::Error as StdError,
    io,
    sync::Mutex,
    time::{Duration, Instant},
};

use tokio_postgres::error::{DbError, SqlState};

use super::connect::ConnectError;
use crate::error::{Chain, Diagnosis, Error, find_cause};

/// The time for which a rejected statement is reported.
const REPORT_DURATION: Duration = Duration::from_secs(60);

/// An operation was not complete within its timeout.
#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL did not respond within LATCHKEY_DATABASE_TIMEOUT")]
pub(super) struct PostgresTimedOut;

/// The last statement that the server rejected for lack of a resource or a right. Other statements
/// can succeed meanwhile.
#[derive(Default)]
pub(super) struct LastRejection(Mutex<Option<(Instant, Diagnosis)>>);

impl LastRejection {
    /// Records an error, if a resource or a right is missing.
    pub fn record(&self, error: &tokio_postgres::Error) {
        let must_report =
            |code| is_missing_resource(code) || *code == SqlState::INSUFFICIENT_PRIVILEGE;
        if error.code().is_some_and(must_report) {
            let diagnosis = diagnose_driver_error("PostgreSQL", error);
            *self.0.lock().expect("no holder panics") = Some((Instant::now(), diagnosis));
        }
    }

    /// Returns the cause and the fix, if it was in the last minute.
    pub fn recent(&self) -> Option<Diagnosis> {
        let last = self.0.lock().expect("no holder panics");
        let (at, diagnosis) = last.as_ref()?;
        (at.elapsed() < REPORT_DURATION).then(|| diagnosis.clone())
    }
}

/// Whether the server lacks memory, disk space, or connections (class 53), or its disk fails (class
/// 58).
pub(super) fn is_missing_resource(code: &SqlState) -> bool {
    ["53", "58"]
        .iter()
        .any(|class| code.code().starts_with(class))
}

/// Returns the cause and the fix of an error of PostgreSQL.
pub fn diagnose(error: &Error) -> Diagnosis {
    if let Some(error) = find_cause::<ConnectError>(error) {
        return error.diagnosis();
    }
    if let Some(error) = find_cause::<tokio_postgres::Error>(error) {
        return diagnose_driver_error("PostgreSQL", error);
    }
    if find_cause::<PostgresTimedOut>(error).is_some() {
        return Diagnosis::new(
            "PostgreSQL did not respond within `LATCHKEY_DATABASE_TIMEOUT`.",
            "Check the PostgreSQL server, its load, and the network.",
        );
    }
    Diagnosis::new(
        format!("An operation of PostgreSQL failed: {}.", Chain(error)),
        "See the log of this replica.",
    )
}

/// Returns the cause and the fix of an error of the driver. `server` begins the sentence.
pub(super) fn diagnose_driver_error(server: &str, error: &tokio_postgres::Error) -> Diagnosis {
    match error.as_db_error() {
        Some(error) => diagnose_response(server, error),
        None => diagnose_connection(server, error),
    }
}

/// Returns the cause and the fix of an error response.
pub(super) fn diagnose_response(server: &str, error: &DbError) -> Diagnosis {
    let message = error.message().trim_end_matches('.');
    match error.code() {
        &SqlState::INVALID_PASSWORD => Diagnosis::new(
            format!("{server} rejected the password."),
            "Correct the username and the password in `DATABASE_URL`.",
        ),
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => Diagnosis::new(
            format!("{server} rejected the connection: {message}."),
            "Correct the role in `DATABASE_URL`, or allow it in `pg_hba.conf`.",
        ),
        &SqlState::INVALID_CATALOG_NAME => Diagnosis::new(
            format!("{server} has no database with the name in `DATABASE_URL`."),
            "Create the database, or correct its name.",
        ),
        &SqlState::TOO_MANY_CONNECTIONS => Diagnosis::new(
            format!("{server} accepts no further connections."),
            "Increase `max_connections` of PostgreSQL, or decrease `LATCHKEY_DATABASE_CONNECTIONS`.",
        ),
        &SqlState::DISK_FULL => Diagnosis::new(
            format!("The disk is full: {server} rejected a write."),
            "Free space on the disk of PostgreSQL.",
        ),
        &SqlState::CANNOT_CONNECT_NOW | &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN => {
            Diagnosis::new(
                format!("{server} is starting or stopping."),
                "Wait until PostgreSQL has started.",
            )
        }
        &SqlState::READ_ONLY_SQL_TRANSACTION => Diagnosis::new(
            format!("{server} rejects writes."),
            "Add the primary to `DATABASE_URL`, or set `default_transaction_read_only` to `off`.",
        ),
        &SqlState::INSUFFICIENT_PRIVILEGE => Diagnosis::new(
            format!("{server} denied a statement: {message}."),
            "Grant the rights in `deploy/roles.sql` to the role in `DATABASE_URL`.",
        ),
        _other => Diagnosis::new(
            format!("{server} returned an error: {message}."),
            "See the log of PostgreSQL.",
        ),
    }
}

/// Returns the cause and the fix of an error that isn't a response of the server.
fn diagnose_connection(server: &str, error: &tokio_postgres::Error) -> Diagnosis {
    let cause = error.source();
    let io_error = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    if io_error.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        return Diagnosis::new(
            format!("The connection was refused: {server} does not listen."),
            "Start PostgreSQL, and check the host and the port of `DATABASE_URL`.",
        );
    }
    let text = Chain(error).to_string();
    if text.contains("server does not support TLS") {
        return Diagnosis::new(
            format!("{server} does not support TLS."),
            "Enable TLS in PostgreSQL, or, on a private network, add `sslmode=disable` to \
             `DATABASE_URL`.",
        );
    }
    if text.contains("TLS") {
        return Diagnosis::new(
            format!("The TLS connection to {server} failed: {text}."),
            "Check that the certificate of PostgreSQL contains the host in `DATABASE_URL`, and that \
             this machine trusts it.",
        );
    }
    Diagnosis::new(
        format!("The connection to {server} failed: {text}."),
        "Check the PostgreSQL server, the network, and `DATABASE_URL`.",
    )
}
