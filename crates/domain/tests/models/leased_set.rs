//! The cell that holds lease and set, the product's own file, under every order that the memory
//! model allows.
//!
//! The set here is of the weakest kind: a slot that is written and read without any order of its
//! own, so that nothing but the lease carries an entry to its readers. (The product's set is a
//! concurrent map, which promises more.)

#[allow(dead_code)] // The proof needs less of it than the product.
#[path = "../../src/revocation/leased_set.rs"]
mod product;

/// What the cell is made of here.
mod sync {
    pub use latchkey_domain::revocation::lease::{BootTime, is_lease_valid};
    pub use loom::sync::atomic::{AtomicU64, Ordering};
}

use std::{collections::BTreeSet, panic::catch_unwind, sync::Mutex};

use loom::{sync::Arc, thread};
use product::LeasedSet;
use sync::{AtomicU64, BootTime, Ordering, is_lease_valid};

/// The lease that the replica has before the entry is appended; that of the renewal which brings
/// the entry; and a moment between their ends. Whoever revokes waits until the first is over.
const BEFORE: BootTime = 10;
const AFTER: BootTime = 30;
const NOW: BootTime = 20;

/// One entry, there or not.
struct Slot(AtomicU64);

impl Slot {
    fn empty() -> Slot {
        Slot(AtomicU64::new(0))
    }

    fn apply(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    fn knows(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 1
    }
}

/// All answers that a check may get which begins when the old lease is over, while another thread
/// renews.
fn answers<C: Send + Sync + 'static>(
    new: fn() -> C,
    renew: fn(&C),
    check: fn(&C) -> Option<bool>,
) -> BTreeSet<Option<bool>> {
    let answers = std::sync::Arc::new(Mutex::new(BTreeSet::new()));
    let seen = answers.clone();
    loom::model(move || {
        let cell = Arc::new(new());
        // The check is the thread that is spawned: loom tries too few orders where a thread that
        // begins later changes what it has read just before, as `fetch_update` does.
        let checking = thread::spawn({
            let cell = cell.clone();
            move || check(&cell)
        });
        renew(&cell);
        let answer = checking.join().expect("it does not panic");
        assert_ne!(
            answer,
            Some(false),
            "answered under the lease of a renewal whose entry is not seen"
        );
        assert_eq!(
            check(&cell),
            Some(true),
            "in the end there is a lease, and the entry"
        );
        seen.lock()
            .expect("nothing panics while it is held")
            .insert(answer);
    });
    answers
        .lock()
        .expect("nothing panics while it is held")
        .clone()
}

fn leased() -> LeasedSet<Slot> {
    let cell = LeasedSet::new(Slot::empty());
    cell.renew(BEFORE);
    cell
}

fn renew(cell: &LeasedSet<Slot>) {
    cell.set().apply();
    cell.renew(AFTER);
}

fn check(cell: &LeasedSet<Slot>) -> Option<bool> {
    cell.read_if_leased(NOW, Slot::knows)
}

#[test]
fn whoever_is_answered_under_a_lease_finds_its_entries() {
    assert_eq!(
        answers(leased, renew, check),
        BTreeSet::from([None, Some(true)]),
        "both are possible, and nothing else"
    );
}

#[test]
fn a_lease_that_was_given_up_never_comes_back() {
    loom::model(|| {
        let cell = Arc::new(leased());
        // What a clean stop says after it: nobody needs to wait any more.
        let left = Arc::new(AtomicU64::new(0));
        let checking = thread::spawn({
            let (cell, left) = (cell.clone(), left.clone());
            move || (left.load(Ordering::Acquire), cell.is_leased(NOW))
        });
        renew(&cell);
        cell.relinquish();
        left.store(1, Ordering::Release);
        cell.renew(AFTER + 1);
        let heard = checking.join().expect("it does not panic");
        assert_ne!(heard, (1, true), "a lease after the last word");
        assert!(!cell.is_leased(NOW), "a renewal has brought it back");
    });
}

/// Whether loom finds an order in which a program breaks its promise.
fn is_caught<C: Send + Sync + 'static>(
    new: fn() -> C,
    renew: fn(&C),
    check: fn(&C) -> Option<bool>,
) -> bool {
    catch_unwind(|| answers(new, renew, check)).is_err()
}

#[test]
fn the_set_before_the_lease_is_caught() {
    let set_first = |cell: &LeasedSet<Slot>| {
        let known = cell.set().knows();
        cell.read_if_leased(NOW, |_| known)
    };
    assert!(is_caught(leased, renew, set_first));
}

#[test]
fn the_lease_before_the_entries_is_caught() {
    let lease_first = |cell: &LeasedSet<Slot>| {
        cell.renew(AFTER);
        cell.set().apply();
    };
    assert!(is_caught(leased, lease_first, check));
}

/// The cell with another order of its store.
struct Relaxed {
    lease_end: AtomicU64,
    set: Slot,
}

fn relaxed() -> Relaxed {
    Relaxed {
        lease_end: AtomicU64::new(BEFORE),
        set: Slot::empty(),
    }
}

fn check_relaxed(cell: &Relaxed) -> Option<bool> {
    let lease_end = cell.lease_end.load(Ordering::Acquire);
    is_lease_valid(NOW, lease_end).then(|| cell.set.knows())
}

#[test]
fn a_relaxed_lease_is_caught() {
    let released = |cell: &Relaxed| {
        cell.set.apply();
        cell.lease_end.store(AFTER, Ordering::Release);
    };
    let unordered = |cell: &Relaxed| {
        cell.set.apply();
        cell.lease_end.store(AFTER, Ordering::Relaxed);
    };
    assert!(
        !is_caught(relaxed, released, check_relaxed),
        "with release it holds: the order alone makes the difference"
    );
    assert!(is_caught(relaxed, unordered, check_relaxed));
}
