//! Users, sessions, items, and revocations. They are written to PostgreSQL directly, because
//! sign-ups would take hours.
//!
//! The last twelve digits of an ID are decimal, because `pgbench` supports only numbers.

use uuid::Uuid;

use crate::{Outcome, database::Database};

/// Number of users. Each has a session with tokens, a browser session, and at least one item.
pub const USER_COUNT: u64 = 10_000;

/// Default number of live revocations.
pub const REVOCATION_COUNT: u64 = 100_000;

/// Number of users with more than a page of items: the first ones.
pub const PAGED_USER_COUNT: u64 = 1_000;

/// Only users after this one create items during a run, so that the pages of the others stay
/// unchanged.
pub const LAST_READER: u64 = 5_000;

pub const SESSION_DAYS: u64 = 30;

/// The display name of all users.
pub const DISPLAY_NAME: &str = "John Doe";

/// Number of items of a user with more than a page of items.
const ITEMS_PER_PAGED_USER: u64 = 21;

/// Added to each number, so that it has twelve digits.
const ID_BASE: u64 = 100_000_000_000;

fn build_id(kind: &str, number: u64) -> Uuid {
    let text = format!("00000000-0000-7000-{kind}-{}", ID_BASE + number);
    Uuid::parse_str(&text).expect("a valid UUID")
}

pub fn user_id(user: u64) -> Uuid {
    build_id("8000", user)
}

/// Returns the ID of the user's session with tokens.
pub fn session_id(user: u64) -> Uuid {
    build_id("a000", user)
}

/// Returns the ID of the user's browser session.
pub fn browser_session_id(user: u64) -> Uuid {
    build_id("b000", user)
}

/// Returns the ID of the user's personal access token.
pub fn personal_access_token_id(user: u64) -> Uuid {
    build_id("c000", user)
}

/// Returns the text from which the secret of a user's personal access token is derived.
pub fn personal_access_token_seed(secret: &str, user: u64) -> String {
    format!("{secret}{}", ID_BASE + user)
}

/// Returns the ID of the user's first item.
pub fn item_id(user: u64) -> Uuid {
    build_id("9000", user * 100 + 1)
}

pub fn username(user: u64) -> String {
    format!("user-{}", ID_BASE + user)
}

pub fn email(user: u64) -> String {
    format!("{}@example.com", username(user))
}

/// Fills an empty database. All users have the password of this hash, and sessions of other users
/// are revoked.
pub fn fill(database: &Database, secret: &str, hash: &str, revocations: u64) -> Outcome<()> {
    let statements = include_str!("seed.sql");
    let placeholders = [
        ("$FIRST", ID_BASE + 1),
        ("$LAST", ID_BASE + USER_COUNT),
        ("$WITH_PAGES", ID_BASE + PAGED_USER_COUNT),
        ("$ZERO", ID_BASE),
        ("$ITEMS", ITEMS_PER_PAGED_USER),
        ("$DAYS", SESSION_DAYS),
    ];
    database.run(&fill_placeholders(
        &statements
            .replace("$HASH", hash)
            .replace("$SECRET", secret)
            .replace("$ISSUER", crate::product::ISSUER),
        &placeholders,
    ))?;
    insert_revocations(database, 0, revocations)
}

/// Inserts live revocations: those after `from`, up to `to`.
pub fn insert_revocations(database: &Database, from: u64, to: u64) -> Outcome<()> {
    let placeholders = [("$FIRST", ID_BASE + from + 1), ("$LAST", ID_BASE + to)];
    database.run(&fill_placeholders(
        include_str!("revocations.sql"),
        &placeholders,
    ))?;
    // A batch is an implicit transaction, and `vacuum` cannot run in one.
    database.run("vacuum (analyze)")?;
    database.run("checkpoint")
}

fn fill_placeholders(statements: &str, placeholders: &[(&str, u64)]) -> String {
    placeholders
        .iter()
        .fold(statements.to_owned(), |text, (name, number)| {
            text.replace(name, &number.to_string())
        })
}
