//! Model of `LeasedSet`: the file of the product, in every order that the memory model allows.
//!
//! The revocation set in this model is the weakest possible one: a slot that is written and read
//! without any ordering. So only the lease makes an entry visible to readers. The set of the
//! product is a concurrent map with stronger guarantees.

#[allow(dead_code)] // The model uses only a part of it.
#[path = "../../src/revocation/leased_set.rs"]
mod product;

/// Imports of the product's file, with the atomics of `loom`.
mod sync {
    pub use latchkey_domain::revocation::lease::{BootTime, is_lease_valid};
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

use std::{collections::BTreeSet, panic::catch_unwind, sync::Mutex};

use loom::{sync::Arc, thread};
use product::LeasedSet;
use sync::{AtomicU64, BootTime, Ordering, is_lease_valid};

/// End of the lease that the replica holds before the entry is appended.
///
/// The revocation waits until this lease has expired.
const OLD_LEASE_END: BootTime = 10;
/// End of the lease of the renewal that returns the entry.
const NEW_LEASE_END: BootTime = 30;
/// Time of the check, between the ends of both leases.
const NOW: BootTime = 20;

/// A revocation set for a single entry.
struct Slot(AtomicU64);

impl Slot {
    fn empty() -> Slot {
        Slot(AtomicU64::new(0))
    }

    fn apply(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    fn has_entry(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

/// Returns all results of a check that begins after the old lease has expired.
///
/// Another thread renews the lease concurrently.
fn explore_checks<C: Send + Sync + 'static>(
    new: fn() -> C,
    renew: fn(&C),
    check: fn(&C) -> Option<bool>,
) -> BTreeSet<Option<bool>> {
    let results = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    let found = results.clone();
    loom::model(move || {
        let cell = Arc::new(new());
        // The spawned thread runs the check, not the renewal. In the reverse assignment, loom
        // explores too few orders of a read-modify-write operation such as `fetch_update`.
        let checking = thread::spawn({
            let cell = cell.clone();
            move || check(&cell)
        });
        renew(&cell);
        let result = checking.join().expect("the check does not panic");
        assert_ne!(
            result,
            Some(false),
            "the check has the new lease, but not its entry"
        );
        assert_eq!(
            check(&cell),
            Some(true),
            "after the renewal, a check has a lease and finds the entry"
        );
        found
            .lock()
            .expect("the mutex is not poisoned")
            .insert(result);
    });
    results.lock().expect("the mutex is not poisoned").clone()
}

fn leased() -> LeasedSet<Slot> {
    let cell = LeasedSet::new(Slot::empty());
    cell.renew(OLD_LEASE_END);
    cell
}

fn renew(cell: &LeasedSet<Slot>) {
    cell.set().apply();
    cell.renew(NEW_LEASE_END);
}

fn check(cell: &LeasedSet<Slot>) -> Option<bool> {
    cell.read_if_leased(NOW, Slot::has_entry)
}

#[test]
fn leased_check_finds_entries_of_its_lease() {
    assert_eq!(
        explore_checks(leased, renew, check),
        BTreeSet::from([None, Some(true)]),
        "both results are possible, and no others"
    );
}

#[test]
fn relinquished_lease_never_returns() {
    loom::model(|| {
        let cell = Arc::new(leased());
        // A stopping replica deregisters after it has dropped its lease, so no revocation waits
        // for it any more.
        let deregistered = Arc::new(AtomicU64::new(0));
        let checking = thread::spawn({
            let (cell, deregistered) = (cell.clone(), deregistered.clone());
            move || (deregistered.load(Ordering::Acquire), cell.is_leased(NOW))
        });
        renew(&cell);
        cell.relinquish();
        deregistered.store(1, Ordering::Release);
        cell.renew(NEW_LEASE_END + 1);
        let result = checking.join().expect("the check does not panic");
        assert_ne!(result, (1, true), "a lease after deregistration");
        assert!(!cell.is_leased(NOW), "a renewal restored the lease");
    });
}

/// Whether loom finds an order in which an assertion of [`explore_checks`] fails.
fn is_caught<C: Send + Sync + 'static>(
    new: fn() -> C,
    renew: fn(&C),
    check: fn(&C) -> Option<bool>,
) -> bool {
    catch_unwind(|| explore_checks(new, renew, check)).is_err()
}

#[test]
fn set_read_before_lease_is_caught() {
    let read_set_first = |cell: &LeasedSet<Slot>| {
        let has_entry = cell.set().has_entry();
        cell.read_if_leased(NOW, |_| has_entry)
    };
    assert!(is_caught(leased, renew, read_set_first));
}

#[test]
fn lease_renewed_before_entries_is_caught() {
    let renew_first = |cell: &LeasedSet<Slot>| {
        cell.renew(NEW_LEASE_END);
        cell.set().apply();
    };
    assert!(is_caught(leased, renew_first, check));
}

/// A copy of the cell, for which a test selects the ordering of the lease store.
struct CustomCell {
    lease_end: AtomicU64,
    set: Slot,
}

fn custom_cell() -> CustomCell {
    CustomCell {
        lease_end: AtomicU64::new(OLD_LEASE_END),
        set: Slot::empty(),
    }
}

fn check_custom_cell(cell: &CustomCell) -> Option<bool> {
    let lease_end = cell.lease_end.load(Ordering::Acquire);
    is_lease_valid(NOW, lease_end).then(|| cell.set.has_entry())
}

#[test]
fn relaxed_lease_store_is_caught() {
    let store_release = |cell: &CustomCell| {
        cell.set.apply();
        cell.lease_end.store(NEW_LEASE_END, Ordering::Release);
    };
    let store_relaxed = |cell: &CustomCell| {
        cell.set.apply();
        cell.lease_end.store(NEW_LEASE_END, Ordering::Relaxed);
    };
    assert!(
        !is_caught(custom_cell, store_release, check_custom_cell),
        "the release store is correct, so only the ordering makes the difference"
    );
    assert!(is_caught(custom_cell, store_relaxed, check_custom_cell));
}
