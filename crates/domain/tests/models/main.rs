//! The proof of the revocation protocol, as far as a machine can go through all of it: no check
//! that begins after a logout was answered is accepted, on whatever replica, whatever is lost,
//! late, slow, paused or dead.
//!
//! Three small models, because one of everything has millions of states; each is explored to its
//! end within the bounds that stand beside it, and takes some seconds. They call the functions of
//! `latchkey_domain::revocation::lease` that the server calls, for every decision; what a Lua
//! script does is one step, written as the script is. Each also says what must be *possible*, such
//! as an early return: a model in which nothing happens proves nothing. And each is broken on
//! purpose in every way that seemed likely, one at a time, to show that it would notice
//! (`mutants.rs`).
//!
//! `cargo test --test proof -- --nocapture` prints states, seconds and properties of each model,
//! and for each mutant what caught it, with the steps that led there.
//!
//! What is not explored here: more than one revocation at a time and more than two replicas
//! (nothing in the protocol relates one revocation, or one replica, to another), the age at which
//! entries leave the log, and keys of other kinds.

// what is taken back, told in two scripts, while the session is refreshed, adopted and lost
mod account;
// lease and set in memory: the product's own file under every order that the memory model allows
mod lease; // leases, the wait, the early return, the reaper, and clocks that drift apart
mod leased_set;
mod loss; // flushes, a deleted log, a failover, the reconcilers, and the ladder of a check
mod mutants; // what is changed on purpose, and what catches it
mod report; // runs a model and tells what came of it
