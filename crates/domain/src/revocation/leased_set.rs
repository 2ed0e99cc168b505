//! A lease and the set that it speaks of. Readers take no lock.
//!
//! There is one writer of the lease. It puts entries into the set first and moves the lease second;
//! readers look at the lease first and at the set second. A release store and an acquire load carry
//! the entries along with the lease. `tests/models/leased_set.rs` runs this file under every order that
//! the memory model allows.

use super::sync::{AtomicU64, BootTime, Ordering, is_lease_valid};

/// Where the end of the lease stands once it was given up for good: a moment that is over, and no
/// renewal brings back.
const RELINQUISHED: BootTime = 1;

/// The set, and until when it is known to be complete.
pub struct LeasedSet<S> {
    lease_end: AtomicU64,
    set: S,
}

impl<S> LeasedSet<S> {
    /// Without a lease.
    pub fn new(set: S) -> LeasedSet<S> {
        LeasedSet {
            lease_end: AtomicU64::new(0),
            set,
        }
    }

    /// What the set says, if it may be asked at this moment.
    pub fn read_if_leased<T>(&self, now: BootTime, look: impl FnOnce(&S) -> T) -> Option<T> {
        // In this order: an entry that arrives between the two is found, or the lease was not the
        // one that it came with.
        let lease_end = self.lease_end.load(Ordering::Acquire);
        is_lease_valid(now, lease_end).then(|| look(&self.set))
    }

    /// Moves the end of the lease. Everything that it speaks of is in the set already.
    pub fn renew(&self, lease_end: BootTime) {
        let moved = |end| (end != RELINQUISHED).then_some(lease_end);
        // Only a lease that was given up is not moved, and that is meant.
        let _ = self
            .lease_end
            .fetch_update(Ordering::Release, Ordering::Relaxed, moved);
    }

    /// Ends the lease, until the next one.
    pub fn suspend(&self) {
        self.renew(0);
    }

    /// Ends the lease for good.
    pub fn relinquish(&self) {
        self.lease_end.store(RELINQUISHED, Ordering::Release);
    }

    /// The set, for whoever fills it.
    pub fn set(&self) -> &S {
        &self.set
    }

    /// Whether there is a lease.
    pub fn is_leased(&self, now: BootTime) -> bool {
        self.read_if_leased(now, |_| ()).is_some()
    }
}
