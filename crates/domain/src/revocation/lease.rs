//! The decisions behind the promise: when memory may answer, what a renewal is worth, and when a
//! revocation has taken effect on every replica. The server and the models of its proof
//! (`tests/models`) call the same functions.
//!
//! A *lease* is a replica's right to answer from memory until a moment on its own clock. Whoever
//! revokes something appends it to the log in Redis and then waits, until every replica has said
//! that it has the entry, or until no replica can hold a lease that is older than the entry. So a
//! check that begins after the answer finds the entry in memory, or no lease.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// A moment on a clock that never stops, not even while the machine is suspended, in nanoseconds
/// since an arbitrary one.
pub type BootTime = u64;

/// Whether a check at this moment may answer from memory. It must be asked *before* memory is
/// looked at: the other order accepts a token whose entry arrived in between.
pub fn is_lease_valid(now: BootTime, lease_end: BootTime) -> bool {
    now < lease_end
}

/// The end of a lease by a renewal that was sent at this moment. It counts from before the sending:
/// what was appended after that may be missing in the answer, however late the answer came.
pub fn lease_end(sent: BootTime, lease: Duration) -> BootTime {
    sent.saturating_add(nanoseconds(lease))
}

/// How long it takes until nobody can hold a lease of this length that was there before. A renewal
/// that missed an entry was sent before it was appended; the quarter covers clocks that drift apart
/// by up to a tenth.
pub fn drain_period(lease: Duration) -> Duration {
    lease + lease / 4
}

/// The moment from which on no older lease is left, when the append was answered at `answered`.
pub fn drained_at(answered: BootTime, lease: Duration) -> BootTime {
    answered.saturating_add(nanoseconds(drain_period(lease)))
}

/// Whether a member that was seen with an unchanged beat since `seen` may be removed from the list:
/// then whatever lease it had is over. The script that removes it compares the beat once more, in
/// the same step.
pub fn may_reap(seen: BootTime, now: BootTime, lease: Duration) -> bool {
    now > drained_at(seen, lease)
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// How far a replica has applied the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogPosition<E> {
    /// Of the log under this epoch: numbers of two epochs cannot be compared.
    pub epoch: E,
    /// The number of the last entry.
    pub applied: u64,
}

/// What a renewal is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// Everything is known: once these entries are applied, the lease may be set.
    Complete,
    /// These entries may be applied, but there are more; no lease before they are read.
    Partial,
    /// It is worth nothing: the log is to be read from its beginning.
    Rejected,
}

/// Judges the answer to a renewal: entries with these numbers after mine, of a log that ends at
/// `last` under an epoch.
pub fn accept_renewal<E: PartialEq>(
    mine: &LogPosition<E>,
    epoch: &E,
    numbers: impl IntoIterator<Item = u64>,
    last: u64,
) -> Renewal {
    if mine.epoch != *epoch || last < mine.applied {
        return Renewal::Rejected;
    }
    let mut reached = mine.applied;
    for number in numbers {
        // The numbers are dense: a gap is something that I have not seen.
        if number != reached + 1 {
            return Renewal::Rejected;
        }
        reached = number;
    }
    match reached == last {
        true => Renewal::Complete,
        // Nothing came, although there is more.
        false if reached == mine.applied => Renewal::Rejected,
        false => Renewal::Partial,
    }
}

/// What members have reported: how far each has applied the log. All of it was read in one step.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AcknowledgedPositions<E, I> {
    /// Under this epoch.
    pub epoch: E,
    /// The number of the last entry of the log at that moment.
    pub last: u64,
    /// By member.
    pub applied: BTreeMap<I, u64>,
}

/// An entry that was appended, and who might hold a lease that is older.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppendedEntry<E, I> {
    /// Under this epoch.
    pub epoch: E,
    /// Its number.
    pub number: u64,
    /// The members at that moment: listed by the script that appended it, not before.
    pub members: BTreeSet<I>,
}

/// Whether the revocation has taken effect everywhere before the wait is over: every member has
/// reported, under the same epoch, that it has applied the entry. I have, if I am one of them. Who
/// is no member any more holds no lease: it said so itself, or it was removed after one was over.
/// Who has become one since then has read the entry before its first lease. Reports of a log that
/// did not have the entry yet are older than the list of members, and say nothing.
pub fn is_enforced<E: PartialEq, I: Ord>(
    appended: &AppendedEntry<E, I>,
    me: &I,
    reports: &AcknowledgedPositions<E, I>,
) -> bool {
    let newer = reports.epoch == appended.epoch && reports.last >= appended.number;
    let has_it = |member: &I| {
        newer
            && reports
                .applied
                .get(member)
                .is_none_or(|applied| *applied >= appended.number)
    };
    cfg!(latchkey_mutant)
        || appended
            .members
            .iter()
            .all(|member| member == me || has_it(member))
}

/// What Redis is good for, as far as was seen last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogHealth {
    /// Nothing was seen yet.
    NotSeen,
    /// There is an epoch: what is not on the denylist was not taken back.
    Complete,
    /// There is none: entries may be missing.
    Lost,
    /// It forgets keys when its memory is full.
    EvictionEnabled,
    /// It does not answer.
    Unreachable,
    /// Its log holds something that this version does not know.
    NewerVersion,
}

/// Who answers a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckSource {
    /// Memory: no round trip.
    Memory,
    /// Redis, whose script looks at the epoch as well; if there is none, the record after all.
    Redis,
    /// The record in PostgreSQL.
    Postgres,
    /// Nobody: something was taken back that this version does not understand, wherever it looks.
    Unavailable,
}

impl CheckSource {
    /// The check source, for operators.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckSource::Memory => "memory",
            CheckSource::Redis => "redis",
            CheckSource::Postgres => "postgres",
            CheckSource::Unavailable => "unavailable",
        }
    }
}

/// Where there is no lease. A Redis that was seen without an answer is not asked by every request:
/// the next renewal finds out when it is back.
pub fn source_without_lease(sight: LogHealth) -> CheckSource {
    match sight {
        LogHealth::Complete => CheckSource::Redis,
        LogHealth::NotSeen
        | LogHealth::Lost
        | LogHealth::EvictionEnabled
        | LogHealth::Unreachable => CheckSource::Postgres,
        LogHealth::NewerVersion => CheckSource::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LEASE: Duration = Duration::from_millis(250);

    fn at(applied: u64) -> LogPosition<char> {
        LogPosition {
            epoch: 'a',
            applied,
        }
    }

    #[test]
    fn a_lease_is_counted_from_the_sending_and_ends_with_its_moment() {
        let end = lease_end(1_000, LEASE);
        assert_eq!(end, 1_000 + 250_000_000);
        assert!(is_lease_valid(end - 1, end) && !is_lease_valid(end, end));
        assert!(
            !is_lease_valid(0, 0),
            "nobody has a lease from the beginning"
        );
    }

    proptest! {
        /// A slow clock of whoever holds the lease, a fast one of whoever waits: together they are
        /// apart by a tenth.
        #[test]
        fn who_waits_outlasts_every_older_lease(lease in 1u64..10_000, drift in 0u64..=1_000) {
            let lease = Duration::from_millis(lease);
            let (held, waited) = (lease.as_secs_f64(), drain_period(lease).as_secs_f64());
            let slower = 1.0 - drift as f64 / 10_000.0;
            prop_assert!(waited * slower >= held);
        }

        #[test]
        fn a_renewal_is_complete_only_without_a_gap_to_the_very_end(
            applied in 0u64..5,
            numbers in proptest::collection::vec(0u64..10, 0..4),
            last in 0u64..10,
        ) {
            let dense = numbers
                .iter()
                .enumerate()
                .all(|(at, number)| *number == applied + 1 + at as u64);
            let whole = dense && last == applied + numbers.len() as u64;
            let verdict = accept_renewal(&at(applied), &'a', numbers.iter().copied(), last);
            prop_assert_eq!(verdict == Renewal::Complete, whole);
            prop_assert_eq!(accept_renewal(&at(applied), &'b', numbers, last), Renewal::Rejected);
        }

        #[test]
        fn a_revocation_waits_for_every_member_that_is_left(
            positions in proptest::collection::btree_map(0u8..4, 0u64..6, 0..4),
            members in proptest::collection::btree_set(0u8..4, 0..4),
            number in 0u64..6,
        ) {
            let appended = AppendedEntry { epoch: 'a', number, members: members.clone() };
            let behind = positions
                .iter()
                .any(|(id, applied)| *id != 0 && members.contains(id) && *applied < number);
            let alone = members.iter().all(|id| *id == 0);
            let returns = |epoch, last| {
                let applied = positions.clone();
                is_enforced(&appended, &0, &AcknowledgedPositions { epoch, last, applied })
            };
            prop_assert_eq!(returns('a', number), !behind);
            prop_assert_eq!(returns('b', number), alone, "of another epoch");
            prop_assert_eq!(
                number > 0 && returns('a', number.saturating_sub(1)),
                number > 0 && alone,
                "older than the entry"
            );
        }
    }

    #[test]
    fn a_page_that_does_not_reach_the_end_gives_no_lease() {
        assert_eq!(accept_renewal(&at(3), &'a', [4, 5], 9), Renewal::Partial);
        assert_eq!(
            accept_renewal(&at(3), &'a', [], 9),
            Renewal::Rejected,
            "nothing came"
        );
        assert_eq!(
            accept_renewal(&at(3), &'a', [], 2),
            Renewal::Rejected,
            "the log has gone back"
        );
        assert_eq!(
            accept_renewal(&at(3), &'a', [5], 5),
            Renewal::Rejected,
            "a gap"
        );
    }

    #[test]
    fn a_member_is_removed_only_after_its_longest_lease() {
        let over = drained_at(7, LEASE);
        assert!(!may_reap(7, over, LEASE) && may_reap(7, over + 1, LEASE));
    }

    #[test]
    fn only_a_whole_redis_is_asked() {
        let asked = [
            LogHealth::NotSeen,
            LogHealth::Complete,
            LogHealth::Lost,
            LogHealth::EvictionEnabled,
            LogHealth::Unreachable,
            LogHealth::NewerVersion,
        ]
        .map(source_without_lease);
        let (redis, record, nobody) = (
            CheckSource::Redis,
            CheckSource::Postgres,
            CheckSource::Unavailable,
        );
        assert_eq!(asked, [record, redis, record, record, record, nobody]);
    }
}
