//! Mutants: variants of the protocol with one broken rule.
//!
//! A model that accepts every variant proves nothing, so each mutant must be caught by a model or
//! a test.

use std::{fs, path::Path};

/// Model or test that catches a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catcher {
    /// The lease model finds a counterexample.
    Lease,
    /// The loss model finds a counterexample.
    Loss,
    /// The account model finds a counterexample.
    Account,
    /// The reuse model finds a counterexample.
    Reuse,
    /// The identity model finds a counterexample.
    Identity,
    /// The test with this name, in this file, fails.
    Test(&'static str, &'static str),
}

use Catcher::{Account, Identity, Lease, Loss, Reuse, Test};

macro_rules! mutants {
    ($($name:ident: $description:literal, caught by $catchers:expr;)+) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant { $(#[doc = $description] $name,)+ }

        impl Mutant {
            pub const ALL: &[Mutant] = &[$(Mutant::$name),+];

            /// The broken rule.
            pub const fn description(self) -> &'static str {
                match self { $(Mutant::$name => $description),+ }
            }

            pub const fn catchers(self) -> &'static [Catcher] {
                match self { $(Mutant::$name => &$catchers),+ }
            }
        }
    };
}

mutants! {
    LeaseFromResponse: "the lease counts from the response, not from before sending",
        caught by [Lease];
    SetBeforeLease: "a check reads the revocation set first, the lease second",
        caught by [Lease, Test("set_read_before_lease_is_caught", "tests/models/leased_set.rs")];
    LeaseBeforeEntries: "a renewal extends the lease before it applies the entries",
        caught by [Test("lease_renewed_before_entries_is_caught", "tests/models/leased_set.rs")];
    RelaxedLease: "the lease store is relaxed, not release",
        caught by [Test("relaxed_lease_store_is_caught", "tests/models/leased_set.rs")];
    MembersBeforeAppend: "the member list is read before the append, not by it",
        caught by [Lease];
    RegisterAfterReading: "a replica reads the log first and registers second",
        caught by [Lease];
    AcknowledgeBeforeApplying: "a renewal acknowledges the entries that it is about to return",
        caught by [Lease];
    OldAcknowledgements: "acknowledgements from before the append count", caught by [Lease];
    PartialPageRenews: "a page that does not reach the end of the log renews the lease",
        caught by [Lease];
    WaitOneLease: "W = L, although clocks drift", caught by [Lease];
    OwnLeaseLength: "a replica uses its own setting as lease length, not that of the epoch",
        caught by [Lease];
    ReapByPosition: "reaping compares the position, not the renewal counter", caught by [Lease];
    ReapWithoutComparing: "reaping removes a member without comparing again",
        caught by [Lease];
    NoEpochCheck: "no script compares the epoch with the replication ID of its server",
        caught by [Loss];
    EpochByRunId: "the epoch names the run_id of the server, not its replication ID",
        caught by [Loss];
    NoLogEndsCheck: "no script compares the ends of the log with the state", caught by [Loss];
    MissWithoutEpoch: "a miss in Redis counts without an epoch", caught by [Loss];
    CheckOnlyReads: "the script of a check writes nothing, so that a deposed primary serves it",
        caught by [Loss];
    JoinedStatement: "a check joins a statement that was sent before it began",
        caught by [Loss];
    RebuildBesideEpoch: "a rebuild begins under a valid epoch, which stays in force",
        caught by [Loss];
    NoRebuilderWait: "the rebuilder does not wait for old leases", caught by [Loss];
    NoFence: "the scripts of the rebuilder do not compare the fence", caught by [Loss];
    TokenOnly: "a sign-out publishes only the jti of the presented token, not the session",
        caught by [Account];
    NoUserScript: "publication omits the {user_id} script", caught by [Account];
    RevBeforeUser: "publication runs {rev} before {user_id}", caught by [Account];
    RestoreWithoutLock: "a restore releases the rows before its script has responded",
        caught by [Account];
    LaterEntryWins: "of two entries for one user, the later one wins, not the larger generation",
        caught by [
            Account,
            Test("merge_in_any_order_keeps_larger_values", "src/revocation/entry.rs")
        ];
    EntryLifetimeBySetting: "the current token lifetime setting limits the lifetime of an entry",
        caught by [Account];
    HigherCounterIsReuse: "a counter above that of Redis counts as reuse", caught by [Reuse];
    RestoreIgnoresToken: "a restore ignores the counter of the presented token",
        caught by [Reuse];
    RestoreIgnoresPostgres: "a restore ignores the counter in PostgreSQL", caught by [Reuse];
    OutagesCount: "outages of Redis count toward the reuse interval", caught by [Reuse];
    EarlierOutagesExtend: "outages before the rotation extend the reuse interval",
        caught by [Reuse];
    CachedClaimsWithoutLease: "a replica without a lease uses cached claims", caught by [Identity];
    RebuildOmitsIdentities: "a rebuilt log lacks the recent changes of identities",
        caught by [Identity];
    EntryRemovesCachedClaims: "an entry removes cached claims once, and no version is compared",
        caught by [Identity];
}

impl Mutant {
    /// The mutants that the catcher must catch.
    pub fn caught_by(catcher: Catcher) -> impl Iterator<Item = Mutant> {
        Mutant::ALL
            .iter()
            .copied()
            .filter(move |mutant| mutant.catchers().contains(&catcher))
    }
}

#[test]
fn every_mutant_has_an_existing_catcher() {
    for mutant in Mutant::ALL {
        assert!(
            !mutant.catchers().is_empty(),
            "no catcher for {mutant:?}: {}",
            mutant.description()
        );
        for catcher in mutant.catchers() {
            let Test(name, file) = catcher else { continue };
            let text =
                fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).expect(file);
            assert!(
                text.contains(&format!("fn {name}(")),
                "{mutant:?} is caught by {name}, which is not in {file}"
            );
            println!(
                "{:<26} {:<78} {file}: {name}",
                format!("{mutant:?}"),
                mutant.description()
            );
        }
    }
}
