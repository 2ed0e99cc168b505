//! Models of the revocation protocol, of reuse detection, and of identity changes, explored
//! completely within their bounds.
//!
//! The main property: no replica accepts a check that begins after the response to the sign-out. It
//! must hold although Redis loses data, messages are late, and processes pause or crash.
//!
//! A single model would have millions of states. Each of these five small models has documented
//! bounds and takes some seconds. For every decision about leases and the log, a model calls the
//! function or the state machine of `latchkey_domain::revocation` that the server calls. The reuse
//! model contains only scripts. Each Lua script is one step that follows its source.
//!
//! Each model also lists what must be *possible*, such as an early acknowledgement, because a model
//! in which nothing happens proves nothing. `mutants.rs` lists broken variants of the protocol,
//! which show that the models and tests detect a broken rule.
//!
//! `cargo test -p latchkey-domain --test models -- --nocapture` prints the states, duration, and
//! properties of each model, and the counterexample that catches each mutant.
//!
//! The models explore one revocation at a time and at most two replicas. Nothing in the protocol
//! relates one revocation, or one replica, to another. The models explore neither trimming of the
//! log by age nor the other kinds of keys.

// Revocations in PostgreSQL and in both Redis scripts, with rotation, restore, and data loss.
mod account;
// Changes of identities beside cached personal access tokens.
mod identity;
// Leases, plain wait, early acknowledgement, reaping, and clock drift.
mod lease;
// The lease and the revocation set in memory, in every order that the memory model allows.
mod leased_set;
// Flushes, a deleted log, failover, rebuilders, and the check sources.
mod loss;
// Pages of the log, as the lease worker receives them.
mod log_page;
// Broken variants of the protocol, and what catches each of them.
mod mutants;
// Exploration of a model, and its report.
mod report;
// Which refresh tokens count as reused, with two primaries and outages.
mod reuse;
