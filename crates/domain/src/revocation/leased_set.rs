//! A revocation set and the lease that covers it. Readers take no lock.
//!
//! One writer extends the lease: it adds the entries to the set first and extends the lease second.
//! Readers load the lease first and read the set second. The release store and the acquire load
//! make the entries visible to every reader that loads the new lease.
//!
//! `crates/domain/tests/models/leased_set.rs` runs this file in every order that the memory model
//! allows.

use super::sync::{AtomicU64, BootTime, Ordering, is_lease_valid};

/// Value of `lease_end` after the lease was dropped for good.
///
/// It lies in the past, and no renewal replaces it.
const RELINQUISHED: BootTime = 1;

/// A set and the time until which it is known to be complete.
pub struct LeasedSet<S> {
    lease_end: AtomicU64,
    set: S,
}

impl<S> LeasedSet<S> {
    /// Creates a leased set without a lease.
    pub fn new(set: S) -> LeasedSet<S> {
        LeasedSet {
            lease_end: AtomicU64::new(0),
            set,
        }
    }

    /// Reads the set with `read` if the lease is valid at `now`; otherwise returns `None`.
    pub fn read_if_leased<T>(&self, now: BootTime, read: impl FnOnce(&S) -> T) -> Option<T> {
        // The lease must be loaded before the set is read. Then the set contains all entries of
        // the loaded lease. The reverse order could combine an older set with a newer lease.
        let lease_end = self.lease_end.load(Ordering::Acquire);
        is_lease_valid(now, lease_end).then(|| read(&self.set))
    }

    /// Moves the end of the lease, unless the lease was dropped for good.
    ///
    /// The set must already contain every entry that the lease covers.
    pub fn renew(&self, lease_end: BootTime) {
        let replace = |current| (current != RELINQUISHED).then_some(lease_end);
        // The update fails only for a relinquished lease, which must stay as it is.
        let _ = self
            .lease_end
            .fetch_update(Ordering::Release, Ordering::Relaxed, replace);
    }

    /// Drops the lease until the next renewal.
    pub fn suspend(&self) {
        self.renew(0);
    }

    /// Drops the lease for good. Later renewals have no effect.
    pub fn relinquish(&self) {
        self.lease_end.store(RELINQUISHED, Ordering::Release);
    }

    /// Returns the set without a check of the lease, for the code that applies entries.
    pub fn set(&self) -> &S {
        &self.set
    }

    /// Returns whether the lease is valid at `now`.
    pub fn is_leased(&self, now: BootTime) -> bool {
        self.read_if_leased(now, |_| ()).is_some()
    }
}
