//! Latchkey, a stateless authentication server: it signs in users, issues, rotates, and revokes
//! tokens, and authenticates requests for the proxies and services behind it.
//!
//! PostgreSQL is the system of record. Redis holds hot state that can be rebuilt. Replicas are
//! stateless.
//!
//! # Modules
//!
//! | module | purpose | uses |
//! |---|---|---|
//! | `main`, `commands`, `cli`, `log` | the binary: command line and its commands, log | all |
//! | [`http`] | HTTP adapters: routing, authentication, error responses; no use cases | `app` |
//! | [`app`] | the application layer: components with the use cases | see below |
//! | [`postgres`] | one function per file of `sql/queries/` | – |
//! | [`redis`] | one function per script of `src/redis/scripts/`; results are enums | – |
//! | [`mail`] | renders and sends emails; uses no store | – |
//! | `issuer_probe` | requests the issuer through the proxy, for `latchkey check` | `http_client` |
//! | `http_client` | sends single requests, for `latchkey check` and `latchkey health` | – |
//! | `tls`, `reloadable_url` | TLS as a client; URLs of stores that can change in their files | – |
//! | [`config`] | the settings: the only reader of the environment | – |
//! | [`error`] | the error type, the closed list of error codes, and diagnoses for operators | – |
//! | [`latchkey_domain`] | the rules as pure functions, in a package of its own | – |
//!
//! Dependencies point in one direction: `main → {http, cli} → app → {postgres, redis, mail,
//! issuer_probe, http_client}`; all of them use the domain. `crates/dev` is the local stack of
//! `./dev up` and of the tests; `crates/bench` contains the benchmarks.
//!
//! # Invariants
//!
//! `tests/all/architecture.rs` checks those that can be read from the source.
//!
//! 1. The domain has no I/O, no async code, no clock, and no environment: time is an argument.
//! 2. Only `postgres` and `redis` use drivers, only `http` uses poem, only `config` reads the
//!    environment.
//! 3. Every change in Redis is one script. Every change of a table is one statement, or one
//!    transaction if the use case needs more.
//! 4. No secret can be printed or serialized: the types that contain one have no `Debug`,
//!    `Display`, or `Serialize`, otherwise the tests don't compile. No secret is logged, put in a
//!    URL, or read from a flag.
//! 5. An unreachable store causes a 503: never "valid", never a 401, and it never clears a cookie.
//! 6. There are no traits around stores and no mocks: the tests use real PostgreSQL and Redis.
//!
//! # One request
//!
//! `POST /refresh` takes these steps:
//!
//! 1. `http::server` accepts the connection. `http::middleware::request` assigns the request ID.
//!    `http::api::authentication` parses the body; an invalid field returns a 400 that names it.
//! 2. [`app::sessions::Sessions::refresh`] verifies the token: user, session, and rotation counter
//!    under a MAC ([`latchkey_domain::refresh_token`]), so that a forged token causes no lookup of
//!    a session, only a count against the rate limit.
//! 3. In a task that outlives the connection, `redis::Redis::rotate` runs `rotate.lua` (with
//!    `server.lua`, `account.lua`, and `refresh.lua`) in one round trip. It increments the current
//!    counter. For the previous counter, within the reuse interval, it returns the current counter
//!    again. A smaller counter revokes the session in the same step. If Redis lacks the session, if
//!    its history changed, or if the counter is larger than that in Redis, `app::sessions::restore`
//!    reads the session from PostgreSQL, and `restore_session.lua` rotates it.
//! 4. [`app::sessions::activity`] writes the counter to PostgreSQL within a second.
//! 5. [`app::keys`] selects the key, [`latchkey_domain::access_token`] signs the claims, and the
//!    next refresh token is derived from the counter. The middleware adds the common headers.
//!
//! Every operation that requires a valid token authenticates its caller with
//! [`app::tokens::Tokens::verify`]: the signature (cached), the claims, and the revocation set in
//! memory, or the stores if the replica has no lease. Revocations follow one path
//! ([`app::revocation`]): a transaction revokes the rows; then a
//! [`latchkey_domain::revocation::RevocationBatch`] stops refreshes in Redis and is appended to the
//! log. The request returns when every other replica has acknowledged it, or no older lease can
//! exist. Only the reuse of a refresh token is appended before the transaction.
//!
//! `CONTRIBUTING.md` lists the files to change for common tasks, and `docs/adr/` the decisions.

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
mod http_client;
mod issuer_probe;
pub mod mail;
pub mod postgres;
pub mod redis;
mod reloadable_url;
mod tls;
