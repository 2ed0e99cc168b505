//! Latchkey, a stateless auth gateway: it signs people in, hands out tokens, rotates them, takes
//! them back, and answers one question for every proxy and service behind it: *may this request
//! pass?*
//!
//! **PostgreSQL is the record, Redis is the speed, a replica is nothing.**
//!
//! # The map
//!
//! | module | what it is | what it may know |
//! |---|---|---|
//! | `main` | parses the command line, binds, runs, exit code | everything |
//! | `cli` | `latchkey user …`, `client`, `keys`, `explain` and `revocations`, the operator's side door; a part of the binary | `gateway`, `domain`, `error` |
//! | `log` | how the log is written; a part of the binary | `config` |
//! | [`config`] | settings: the only reader of the environment | `domain` |
//! | [`http`] | faces: routes, callers, problems, pages; they only translate | `gateway`, `domain`, `error` |
//! | [`gateway`] | the use cases, one story per file | `postgres`, `redis`, `mail`, `domain`, `error`; it is built from `config` |
//! | [`postgres`] | the record: one function per file of `sql/queries/` | `domain`, `error` |
//! | [`redis`] | the speed: one function per `.lua` file, answers are enums | `domain`, `error` |
//! | [`mail`] | renders and sends letters; knows no store | `domain`; it is built from `config` |
//! | [`domain`] | the rules, as pure functions | `error`, nothing else |
//! | [`error`] | the one error type and the closed list of codes | nothing |
//!
//! `crates/dev` is a package of its own: the local stack of `./dev up` and of the tests. It starts
//! this package's program, and passes settings through the environment. `crates/bench` contains the
//! load laboratory of `./dev bench`. It depends on both packages, and no package depends on it.
//!
//! Arrows point one way: `main → http → gateway → {postgres, redis, mail} → domain → error`; `cli`
//! stands where `http` does.
//!
//! # Invariants
//!
//! Most of them say what is absent. `tests/all/house.rs` checks those that can be read from the
//! source.
//!
//! 1. `domain` names no runtime, web framework, driver, environment or clock: time is an argument.
//! 2. Drivers are named only in their own folder; `poem` only in `http`; the environment only in
//!    `config`.
//! 3. Every change in Redis is one script; every change of a table is one statement, or one
//!    transaction where the story needs more.
//! 4. No secret has `Display`, or a derived `Debug` or `Serialize`; none is logged, put in a URL or
//!    taken from a flag.
//! 5. A store that cannot answer gives 503: never "valid", never 401, and it never clears a cookie.
//! 6. No traits around stores, no mocks: real PostgreSQL and Redis are the test doubles.
//!
//! # A request from door to door
//!
//! `POST /refresh`, four hops and no way back:
//!
//! 1. `http::server` accepts, `http::edge` gives the request its id, `http::tokens` reads the body:
//!    a wrong member is a 400 that names it.
//! 2. `gateway::refresh` is the story. [`domain::refresh_token`] opens the token: session and
//!    counter under a MAC, so that nothing need be looked up to refuse a forged one.
//! 3. `redis::Redis::rotate` runs `rotate.lua`, one round trip: the counter is the current one and
//!    rises; or its parent a moment ago, and the same child is given again; or older, and the
//!    session ends, there and then. A session that Redis lost is adopted from the record first
//!    (`gateway::adopt`).
//! 4. [`domain::access_token`] signs the claims, the next refresh token is derived from the new
//!    counter, and the answer goes out as JSON.
//!
//! What ends goes one way as well, whatever ends it: a transaction ends the rows and writes what it
//! takes back into `revocations`, and hands it on as a [`domain::revocation::Ending`];
//! `gateway::revocation::publish` appends it to a log in Redis, which every replica reads into
//! memory, and waits until all have it. What could not be told is found by `publisher`, of any
//! replica, which compares the record with memory. (Reuse of a refresh token alone is told before
//! it is recorded, so that a PostgreSQL that is down does not help the thief.) Services that check
//! tokens themselves follow the same log by `GET /revocations`: what memory has taken in,
//! `gateway::revocation::feed` tells them.
//!
//! What happens is told in one way: the transaction of a change also records its
//! [`domain::audit::Event`], and the log is told when that is committed (`postgres::audit`); what
//! is refused changes nothing, and is counted (`gateway::audit`).
//!
//! Where there is a crowd, callers who ask for single rows share statements (`postgres::gather`):
//! users, items, and new items. Nobody joins a statement that was sent already, and what fails by
//! one row is asked again by each alone.
//!
//! The other way through the house is the caller check, `gateway::verify`: every protected
//! operation passes it, and it is the only place that decides whether a token is good. A signature
//! that was right is right for ever, so it is remembered (`gateway::token_cache`); everything else
//! is judged for every request. What was taken back is in memory, where it may be looked up while a
//! lease lasts ([`gateway::revocation`]); the decisions about leases are pure functions
//! ([`domain::revocation::lease`]), which the models in `tests/proof` call as well.
//!
//! Tokens are of three kinds, and alike for whoever asks: all of them become
//! [`domain::access_token::Claims`]. An access token of a session and one of an OAuth client are
//! signed; a personal access token is read from the record, and believed for ten minutes. What can
//! be taken back of each is its [`domain::revocation::Marks`]. Who may call an operation is the
//! type of its caller (`http::caller`), which names the scope that the document tells.
//!
//! Signing keys are read from the record again and again ([`gateway`]'s `keys`). Where one is in
//! its life follows from the time ([`domain::key_life`]), so a replica that cannot read goes from
//! one key to the next by itself; a token of a key that it does not know makes it look, once a
//! second at most. An entry of the log that takes a key back counts at once, and for good.
//!
//! # Where to change what
//!
//! - A new operation: a handler in `http`, its story in `gateway`; then the document and its golden
//!   file tell what else.
//! - What the document says: a comment beside the code that it is made of; what the framework gets
//!   wrong is mended in `http::document`. Three judges and five generators of clients read it in
//!   the tests, and `openapi/promises.txt` says which change breaks clients.
//! - A new version of a judge or a generator: its pin in `tests/tools`, whose heads say how the
//!   locks are made.
//! - A new scope: a line in [`domain::scope`], a caller in `http::caller`; the callers of
//!   `tests/all/matrix.rs` have all scopes.
//! - A new setting: one line in the declaration at the end of `config.rs`; README and
//!   `.env.example` follow by test.
//! - A new statement: a file in `sql/queries/` and its function. A new column: a new file in
//!   `sql/migrations/`.
//! - Something new that ends sessions: a line among the reasons of [`domain::revocation`], a
//!   transaction that gives an [`domain::revocation::Ending`], and a row of the table in
//!   `tests/all/taking_back.rs`.
//! - A new mail: a line among the templates of `postgres::outbox`, and its letter in [`mail`].
//! - A new security event: a line in [`domain::audit`], and `audit::insert` in the transaction that
//!   makes it happen.
//! - A new limit: a setting, and the attempt that counts in it, in `gateway::throttle`.
//! - Something new that the master secret makes: a label of its own in [`domain::master_secret`],
//!   and an answer to what becomes of it while the secret is exchanged.
//! - A new refusal: a variant in [`error`], and the operations that list it. A new code is another
//!   version: clients know them all.
//! - A new member of a body: a line of its `body!`; the document, the promises and the collection
//!   follow by blessing, and `tests/clients/postman.mjs` and `with_schemathesis.py` have tables of
//!   what no schema tells.

#![deny(unsafe_code)]
#![warn(missing_docs)]

/// The version. A build that is broken on purpose, to show that it is caught, says so.
pub const VERSION: &str = if cfg!(latchkey_mutant) {
    concat!(env!("CARGO_PKG_VERSION"), " (mutant)")
} else {
    env!("CARGO_PKG_VERSION")
};

pub mod config;
pub mod domain;
pub mod error;
pub mod gateway;
pub mod http;
pub mod mail;
pub mod postgres;
pub mod redis;
