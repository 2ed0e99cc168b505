//! Users, sessions, items and revocations, written into the record directly: seconds instead of
//! hours of sign-ups.
//!
//! The last twelve digits of an id are decimal, so that `pgbench`, which knows numbers only, can
//! name one.

use uuid::Uuid;

use crate::{Outcome, database::Database};

/// Users, each with a session of tokens, one of a browser, and at least one item.
pub const USERS: u64 = 10_000;

/// Revocations that are in force, unless a run wants another number.
pub const REVOCATIONS: u64 = 100_000;

/// The first of them have more than a page of items.
pub const WITH_PAGES: u64 = 1_000;

/// Those after this one get the items that are made during the run: the pages of others stay as
/// they are.
pub const READERS: u64 = 5_000;

/// How long sessions last.
pub const SESSION_DAYS: u64 = 30;

/// What everybody wants to be called.
pub const NAME: &str = "John Doe";

/// Items of a user with more than a page of them.
const ITEMS: u64 = 21;

/// Twelve digits for any number that is added.
const DIGITS: u64 = 100_000_000_000;

fn id(kind: &str, number: u64) -> Uuid {
    let text = format!("00000000-0000-7000-{kind}-{}", DIGITS + number);
    Uuid::parse_str(&text).expect("digits in the form of a uuid")
}

/// A user's id.
pub fn user(user: u64) -> Uuid {
    id("8000", user)
}

/// The session of a user's tokens.
pub fn session(user: u64) -> Uuid {
    id("a000", user)
}

/// The session of a user's browser.
pub fn browser_session(user: u64) -> Uuid {
    id("b000", user)
}

/// The personal access token of a user.
pub fn personal_token(user: u64) -> Uuid {
    id("c000", user)
}

/// What a user's personal access token is made of, in a run of this secret.
pub fn of_personal_token(secret: &str, user: u64) -> String {
    format!("{secret}{}", DIGITS + user)
}

/// The first item of a user.
pub fn item(user: u64) -> Uuid {
    id("9000", user * 100 + 1)
}

/// A user's name.
pub fn username(user: u64) -> String {
    format!("user-{}", DIGITS + user)
}

/// A user's address.
pub fn email(user: u64) -> String {
    format!("{}@example.com", username(user))
}

/// Fills an empty database for a run of this secret; all users have the password of this hash, and
/// so many sessions of others are revoked.
pub fn fill(database: &Database, secret: &str, hash: &str, revocations: u64) -> Outcome<()> {
    let statements = include_str!("seed.sql");
    let numbers = [
        ("$FIRST", DIGITS + 1),
        ("$LAST", DIGITS + USERS),
        ("$WITH_PAGES", DIGITS + WITH_PAGES),
        ("$ZERO", DIGITS),
        ("$ITEMS", ITEMS),
        ("$DAYS", SESSION_DAYS),
    ];
    database.run(&filled(
        &statements.replace("$HASH", hash).replace("$SECRET", secret),
        &numbers,
    ))?;
    revoke(database, 0, revocations)
}

/// Adds live revocations: those after `from` and up to `to`.
pub fn revoke(database: &Database, from: u64, to: u64) -> Outcome<()> {
    let numbers = [("$FIRST", DIGITS + from + 1), ("$LAST", DIGITS + to)];
    database.run(&filled(include_str!("revocations.sql"), &numbers))?;
    // Neither may be among other statements.
    database.run("vacuum (analyze)")?;
    database.run("checkpoint")
}

fn filled(statements: &str, numbers: &[(&str, u64)]) -> String {
    numbers
        .iter()
        .fold(statements.to_owned(), |text, (name, number)| {
            text.replace(name, &number.to_string())
        })
}
