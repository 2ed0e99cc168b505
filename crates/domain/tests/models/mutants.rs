//! What is changed on purpose, one at a time, to show that the proof would notice: a proof that
//! nothing can break proves nothing. One list; each line says what is changed and what catches it.

use std::{fs, path::Path};

/// What catches a mutant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Catcher {
    /// The model of leases finds a counterexample.
    Lease,
    /// The model of losses does.
    Loss,
    /// The model of accounts does.
    Account,
    /// A test of this name in this file, which fails with the change.
    Test(&'static str, &'static str),
}

use Catcher::{Account, Lease, Loss, Test};

macro_rules! mutants {
    ($($name:ident: $says:literal, caught by $catchers:expr;)+) => {
        /// One change of the protocol.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Mutant { $(#[doc = $says] $name,)+ }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Mutant] = &[$(Mutant::$name),+];

            /// What it changes.
            pub const fn says(self) -> &'static str {
                match self { $(Mutant::$name => $says),+ }
            }

            /// What catches it.
            pub const fn catchers(self) -> &'static [Catcher] {
                match self { $(Mutant::$name => &$catchers),+ }
            }
        }
    };
}

mutants! {
    LeaseFromReply: "the lease is counted from the reply, not from before the sending",
        caught by [Lease];
    SetBeforeLease: "a check looks at the set first, at the lease second",
        caught by [Lease, Test("the_set_before_the_lease_is_caught", "tests/models/leased_set.rs")];
    LeaseBeforeEntries: "a renewal moves the lease before it applies the entries",
        caught by [Test("the_lease_before_the_entries_is_caught", "tests/models/leased_set.rs")];
    RelaxedLease: "the lease is stored without release",
        caught by [Test("a_relaxed_lease_is_caught", "tests/models/leased_set.rs")];
    MembersBeforeAppend: "the list of members is read before the append, not by it",
        caught by [Lease];
    RegisterAfterBootstrap: "a replica reads the log first and becomes a member second",
        caught by [Lease];
    AcknowledgeBeforeApplying: "a renewal acknowledges the entries that it is about to return",
        caught by [Lease];
    OldReports: "what members said before the append counts", caught by [Lease];
    LimitedReadRenews: "a page that does not reach the end of the log renews the lease",
        caught by [Lease];
    WaitOneLease: "W = L, although clocks drift", caught by [Lease];
    OwnLease: "a replica's own setting is the length of its lease, not the one beside the epoch",
        caught by [Lease];
    ReaperByPosition: "the reaper looks at the position, not at the beat", caught by [Lease];
    ReaperWithoutComparing: "the reaper's script removes without comparing the beat once more",
        caught by [Lease];
    NoEpochCheck: "no script compares the epoch with the replication id of its server",
        caught by [Loss];
    EpochByRunId: "the epoch names the server's run_id, not its replication id", caught by [Loss];
    NoEndsCheck: "no script compares the ends of the log with the state", caught by [Loss];
    MissWithoutEpoch: "a miss in Redis is trusted without an epoch", caught by [Loss];
    CheckOnlyReads:
        "the script of a check without a lease writes nothing, so that a deposed master \
         answers it",
        caught by [Loss];
    JoinedRead: "a check joins a read of the record that was sent before it began",
        caught by [Loss];
    BuildingBesideEpoch: "building begins under a valid epoch, which stays in force meanwhile",
        caught by [Loss];
    NoReconcilerWait: "the reconciler does not wait for old leases", caught by [Loss];
    NoFence: "the reconciler's scripts do not compare who is building", caught by [Loss];
    TokenOnly: "what is published of a logout is the token that it was shown, not the session",
        caught by [Account];
    NoAccountScript: "publishing leaves out the {sub} script", caught by [Account];
    EntryBeforeAccount: "publishing runs {rev} before {sub}", caught by [Account];
    AdoptionWithoutHold: "an adoption lets the rows go before its script has answered",
        caught by [Account];
    SmallerGenerationWins:
        "of two entries for one user the later one wins, not the larger generation",
        caught by [Account, Test("the_larger_wins_in_any_order", "src/revocation/entry.rs")];
    EntryBySetting: "an entry lives as long as tokens do by today's setting",
        caught by [Account];
}

impl Mutant {
    /// Those that this one is to catch.
    pub fn caught_by(catcher: Catcher) -> impl Iterator<Item = Mutant> {
        Mutant::ALL
            .iter()
            .copied()
            .filter(move |mutant| mutant.catchers().contains(&catcher))
    }
}

#[test]
fn no_mutant_is_without_a_catcher() {
    for mutant in Mutant::ALL {
        assert!(
            !mutant.catchers().is_empty(),
            "nothing catches {mutant:?}: {}",
            mutant.says()
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
                mutant.says()
            );
        }
    }
}
