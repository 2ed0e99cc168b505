//! Latchkey, a stateless authentication server: it signs in users, issues, rotates, and revokes
//! tokens, and authenticates requests for the proxies and services behind it.
//!
//! PostgreSQL is the system of record; Redis holds hot state that can be rebuilt; replicas are
//! stateless.
//!
//! # Modules
//!
//! | module | purpose | may depend on |
//! |---|---|---|
//! | `main` | parses the command line, binds, runs, sets the exit code | everything |
//! | `cli` | `latchkey user …`, `client`, `keys`, `explain`, and `revocations`, for the operator; part of the binary | `gateway`, `domain`, `error` |
//! | `log` | log format; part of the binary | `config` |
//! | [`config`] | settings: the only reader of the environment | `domain` |
//! | [`http`] | HTTP adapters: routing, authentication, error responses. No business logic. | `gateway`, `domain`, `error` |
//! | [`gateway`] | application layer: one use case per file | `postgres`, `redis`, `mail`, `domain`, `error`; it is built from `config` |
//! | [`postgres`] | queries: one function per file of `sql/queries/` | `domain`, `error` |
//! | [`redis`] | scripts: one function per `.lua` file; results are enums | `domain`, `error` |
//! | [`mail`] | renders and sends emails; uses no store | `domain`; it is built from `config` |
//! | [`domain`] | rules as pure functions | `error`, nothing else |
//! | [`error`] | the error type and the closed list of error codes | nothing |
//!
//! `crates/dev` is a package of its own: the local stack of `./dev up` and of the tests. It starts
//! this package's program, and passes settings through the environment. `crates/bench` contains the
//! benchmarks of `./dev bench`. It depends on both packages, and no package depends on it.
//!
//! Dependencies point in one direction:
//! `main → http → gateway → {postgres, redis, mail} → domain → error`; `cli` is at the level of
//! `http`.
//!
//! # Invariants
//!
//! Most of them exclude something. `tests/all/house.rs` checks those that can be read from the
//! source.
//!
//! 1. `domain` uses no runtime, web framework, driver, environment, or clock: time is an argument.
//! 2. Only the driver's own folder names a driver; only `http` names `poem`; only `config` reads
//!    the environment.
//! 3. Every change in Redis is one script; every change of a table is one statement, or one
//!    transaction if the use case needs more.
//! 4. No secret has `Display`, or a derived `Debug` or `Serialize`; none is logged, put in a URL,
//!    or read from a flag.
//! 5. An unreachable store causes a 503: never "valid", never a 401, and it never clears a cookie.
//! 6. No traits around stores, no mocks: real PostgreSQL and Redis are the test doubles.
//!
//! # Path of a request
//!
//! `POST /refresh` takes four steps:
//!
//! 1. `http::server` accepts the connection, `http::edge` assigns the request ID, and
//!    `http::tokens` reads the body. An invalid field returns a 400 that names the field.
//! 2. `gateway::refresh` is the use case. [`domain::refresh_token`] verifies the token: session and
//!    counter under a MAC, so that a forged token is rejected without a lookup.
//! 3. `redis::Redis::rotate` runs `rotate.lua` in one round trip. The current counter is
//!    incremented. For the previous counter, within the reuse interval, the same new pair is
//!    returned. An older counter revokes the session in the same step. If Redis has lost the
//!    session, `gateway::adopt` restores it from PostgreSQL first.
//! 4. [`domain::access_token`] signs the claims, the next refresh token is derived from the new
//!    counter, and the response is sent as JSON.
//!
//! Every revocation follows one path: a transaction revokes the rows, inserts into `revocations`,
//! and returns a [`domain::revocation::RevocationBatch`]. `gateway::revocation::publish` appends it to a log
//! in Redis, which every replica reads into memory, and waits until all replicas have acknowledged
//! it. If publishing fails, the republish worker (`publisher`) of any replica finds and publishes
//! the missing rows: it compares PostgreSQL with memory. Only the reuse of a refresh token is
//! published before it is committed, so that reuse is detected even if PostgreSQL is down. Services
//! that validate tokens locally follow the same log by `GET /revocations`:
//! `gateway::revocation::feed` streams the entries that memory has applied.
//!
//! Every change and its [`domain::audit::Event`] are committed in one transaction; the log line
//! follows the commit (`postgres::audit`). Rejected attempts change nothing and are counted
//! (`gateway::audit`).
//!
//! Under load, concurrent single-row lookups are batched into one statement (`postgres::gather`):
//! users, items, and new items. A caller never joins a statement that was already sent. If a batch
//! fails because of one row, each caller repeats its own query.
//!
//! The caller check, `gateway::verify`, is the other path: every protected operation uses it, and
//! it is the only place that decides whether a token is valid. Signature checks are cached
//! (`gateway::token_cache`); expiry and revocation are checked on every request. The revocation set
//! is in memory, and can be used while a lease is valid ([`app::revocation`]). The decisions
//! about leases are pure functions ([`domain::revocation::lease`]), which the models in
//! `crates/domain/tests/models` call as well.
//!
//! There are three kinds of tokens, and all of them become [`domain::access_token::Claims`]. Access
//! tokens of sessions and of OAuth clients are signed; a personal access token is read from
//! PostgreSQL and cached for ten minutes. Its revocation keys are [`domain::revocation::RevocationKeys`].
//! The type of the caller (`http::caller`) determines the access to an operation, and names the
//! scope in the OpenAPI document.
//!
//! Signing keys are read from PostgreSQL periodically ([`gateway`]'s `keys`). The state of a key
//! follows from the time ([`domain::key_life`]), so a replica that can't read switches from one key
//! to the next by itself. A token with an unknown `kid` triggers a reload, at most once per second.
//! A log entry that revokes a key takes effect immediately and permanently.
//!
//! # Common changes
//!
//! - A new operation: a handler in `http`, its use case in `gateway`; then the tests of the OpenAPI
//!   document report the other places.
//! - The OpenAPI document: a comment beside the code from which it is generated; `http::document`
//!   patches the output of the framework. Three linters and five client generators read it in the
//!   tests, and `openapi/promises.txt` shows which change breaks clients.
//! - A new version of a linter or a generator: its pin in `tests/tools`; the file headers describe
//!   how to update the locks.
//! - A new scope: a line in [`domain::scope`], a caller in `http::caller`; the callers of
//!   `tests/all/matrix.rs` have all scopes.
//! - A new setting: one line in the declaration at the end of `config.rs`; a test updates README
//!   and `.env.example`.
//! - A new statement: a file in `sql/queries/` and its function. A new column: a new file in
//!   `sql/migrations/`; blessing updates `sql/schema.sql`.
//! - A new reason for revocation: a line among the reasons of [`domain::revocation`], a transaction
//!   that returns a [`domain::revocation::RevocationBatch`], and a row of the table in
//!   `tests/all/revocation_matrix.rs`.
//! - A new email: a line among the templates of `postgres::outbox`, and its text in [`mail`].
//! - A new security event: a line in [`domain::audit`], and `audit::insert` in the transaction of
//!   the change.
//! - A new limit: a setting, and the attempt that it counts, in `gateway::throttle`.
//! - A new use of the master secret: a label of its own in [`domain::master_secret`], and a rule
//!   for the rotation of the secret.
//! - A new error: a variant in [`error`], and the operations that list it. A new code requires a
//!   new version: clients rely on the list of codes.
//! - A new field of a body: a line of its `body!`. Blessing updates the OpenAPI document, the
//!   promises, and the collection. `tests/clients/postman.mjs` and `with_schemathesis.py` contain
//!   tables of values that no schema describes.

#![deny(unsafe_code)]

/// The version. A build with an intentional defect, for the positive control, contains `(mutant)`.
pub const VERSION: &str = if cfg!(latchkey_mutant) {
    concat!(env!("CARGO_PKG_VERSION"), " (mutant)")
} else {
    env!("CARGO_PKG_VERSION")
};

pub mod app;
pub mod config;
pub mod error;
pub mod http;
pub mod mail;
pub mod postgres;
pub mod redis;
