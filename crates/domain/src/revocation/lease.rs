//! Lease protocol as pure functions: lease validity, acceptance of renewals, enforcement condition.
//!
//! A *lease* is the right of a replica to decide checks from its revocation set until `lease_end`
//! on its own clock. A revocation appends an entry to the revocation log in Redis. It then waits
//! until every member has acknowledged the entry, or until no replica can hold a lease that is
//! older than the entry. So when a check begins after the response, the revocation set contains
//! the entry, or the replica has no lease.
//!
//! [`lease_renewer`](super::lease_renewer) combines the functions about renewals. The server and
//! the models in `tests/models` call the same functions.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Nanoseconds on a monotonic clock that also counts while the machine is suspended.
///
/// A lease must expire during a suspension. The origin of the clock is arbitrary, so only values
/// from the same machine can be compared.
pub type BootTime = u64;

/// Returns whether a replica can decide a check at `now` from its revocation set.
///
/// A check must read the lease *before* the revocation set. The reverse order accepts a revoked
/// token if its entry and a renewed lease arrive between the two reads.
pub fn is_lease_valid(now: BootTime, lease_end: BootTime) -> bool {
    now < lease_end
}

/// Returns the end of a lease whose renewal request was sent at `sent`.
///
/// The lease counts from before the request was sent. The response might lack entries that were
/// appended after that time, however late it arrives.
pub fn lease_end(sent: BootTime, lease: Duration) -> BootTime {
    sent.saturating_add(nanoseconds(lease))
}

/// Returns the drain period: 1.25 lease lengths, after which no older lease is valid.
///
/// A renewal that missed an entry was sent before the entry was appended, so its lease expires one
/// lease length later at most. The additional quarter covers clocks that drift apart by up to a
/// tenth.
pub fn drain_period(lease: Duration) -> Duration {
    lease + lease / 4
}

/// Returns the end of the drain period that starts at `start`.
///
/// From then on, no replica holds a lease whose renewal was sent before `start`. For a revocation,
/// `start` is the time at which the response to the append arrived.
pub fn drained_at(start: BootTime, lease: Duration) -> BootTime {
    start.saturating_add(nanoseconds(drain_period(lease)))
}

/// Returns whether a member can be reaped whose renewal counter is unchanged since `first_seen`.
///
/// The last lease of such a member has expired. The script that removes the member compares the
/// counter again in the same step, because the member might have renewed its lease since then.
pub fn can_reap(first_seen: BootTime, now: BootTime, lease: Duration) -> bool {
    now > drained_at(first_seen, lease)
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A position in the revocation log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogPosition<E> {
    /// Epoch of the log. Sequence numbers of different epochs cannot be compared.
    pub epoch: E,
    /// Sequence number of the last applied entry.
    pub applied: u64,
}

/// Effect of a response to a lease renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The entries reach the end of the log. The replica applies them, then extends its lease.
    Complete,
    /// The log contains further entries. The replica must read them before it extends its lease.
    Partial,
    /// The response is unusable. The replica must read the log again from its first entry.
    Rejected,
}

/// Classifies the response to a renewal of a replica at `position`.
///
/// `numbers` are the sequence numbers of the returned entries. `last` is the last sequence number
/// of the log under `epoch`.
pub fn accept_renewal<E: PartialEq>(
    position: &LogPosition<E>,
    epoch: &E,
    numbers: impl IntoIterator<Item = u64>,
    last: u64,
) -> Renewal {
    if position.epoch != *epoch || last < position.applied {
        return Renewal::Rejected;
    }
    let mut reached = position.applied;
    for number in numbers {
        // Sequence numbers are dense, so a gap means that an entry is missing.
        if number != reached + 1 {
            return Renewal::Rejected;
        }
        reached = number;
    }
    match reached == last {
        true => Renewal::Complete,
        // The log contains further entries, but the response contains none of them.
        false if reached == position.applied => Renewal::Rejected,
        false => Renewal::Partial,
    }
}

/// Acknowledged positions of all members, read in one step with the end of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AcknowledgedPositions<E, I> {
    /// Epoch of the log.
    pub epoch: E,
    /// Last sequence number of the log when the positions were read.
    pub last: u64,
    /// Acknowledged sequence number of each member, by member ID.
    pub applied: BTreeMap<I, u64>,
}

/// An appended entry and the members that might hold an older lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AppendedEntry<E, I> {
    /// Epoch under which the entry was appended.
    pub epoch: E,
    /// Sequence number of the entry.
    pub number: u64,
    /// Members at the time of the append. The script that appended the entry returned them.
    pub members: BTreeSet<I>,
}

/// Returns whether all replicas enforce a revocation, so that it need not wait any longer.
///
/// Each member at the time of the append must meet one of these conditions:
///
/// - It is the revoking replica, `own_id`. This replica applies the entry before it waits.
/// - It has acknowledged the entry under the same epoch.
/// - It is no longer a member. It dropped its lease before it left, or its last lease expired
///   before it was reaped.
///
/// A replica that joined after the append reads the entry before its first lease.
///
/// Positions of another epoch, or from before the append, prove nothing. A member that joined
/// after such a read is absent from it, as if it had left.
pub fn is_enforced<E: PartialEq, I: Ord>(
    appended: &AppendedEntry<E, I>,
    own_id: &I,
    positions: &AcknowledgedPositions<E, I>,
) -> bool {
    let is_after_append = positions.epoch == appended.epoch && positions.last >= appended.number;
    let has_acknowledged_or_left = |member: &I| {
        is_after_append
            && positions
                .applied
                .get(member)
                .is_none_or(|applied| *applied >= appended.number)
    };
    // The mutant of the end-to-end checker waits for no member.
    cfg!(latchkey_mutant)
        || appended
            .members
            .iter()
            .all(|member| member == own_id || has_acknowledged_or_left(member))
}

/// State of the revocation log in Redis, as of the last attempt to use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LogHealth {
    /// The replica has not examined the log yet.
    NotSeen,
    /// The log has a valid epoch, so a missing denylist key means "not revoked".
    Complete,
    /// The log has no valid epoch, so entries might be missing.
    Lost,
    /// Redis evicts keys when its memory is full, so a missing key proves nothing.
    EvictionEnabled,
    /// Redis does not respond.
    Unreachable,
    /// The log contains an entry that this version cannot parse.
    NewerVersion,
}

/// Source that decides a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CheckSource {
    /// The revocation set of the replica, without a network round trip.
    Memory,
    /// Redis. The lookup script also checks the epoch; without an epoch, PostgreSQL decides.
    Redis,
    /// PostgreSQL, the system of record.
    Postgres,
    /// No source can decide the check, so the token is not accepted.
    Unavailable,
}

impl CheckSource {
    /// Returns the name used in metrics, readiness, and the revocation stream.
    pub const fn as_str(self) -> &'static str {
        match self {
            CheckSource::Memory => "memory",
            CheckSource::Redis => "redis",
            CheckSource::Postgres => "postgres",
            CheckSource::Unavailable => "unavailable",
        }
    }
}

/// Selects the check source of a replica without a lease.
///
/// While Redis is unreachable, checks query PostgreSQL directly, so that no request waits for
/// Redis. The next renewal detects that Redis responds again.
pub fn source_without_lease(health: LogHealth) -> CheckSource {
    match health {
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

    const LEASE_LENGTH: Duration = Duration::from_millis(250);

    fn position(applied: u64) -> LogPosition<char> {
        LogPosition {
            epoch: 'a',
            applied,
        }
    }

    #[test]
    fn lease_counts_from_send_time_and_excludes_its_end() {
        let end = lease_end(1_000, LEASE_LENGTH);
        assert_eq!(end, 1_000 + 250_000_000);
        assert!(is_lease_valid(end - 1, end) && !is_lease_valid(end, end));
        assert!(
            !is_lease_valid(0, 0),
            "the initial value of the lease end is not a lease"
        );
    }

    proptest! {
        /// The clock of the lease holder is slow, or the clock of the waiting replica is fast.
        ///
        /// The two clocks drift apart by up to a tenth.
        #[test]
        fn drain_period_outlasts_leases_despite_drift(
            lease_ms in 1u64..10_000,
            drift in 0u64..=1_000,
        ) {
            let lease = Duration::from_millis(lease_ms);
            let (lease_s, drain_s) = (lease.as_secs_f64(), drain_period(lease).as_secs_f64());
            let slower = 1.0 - drift as f64 / 10_000.0;
            prop_assert!(drain_s * slower >= lease_s);
        }

        #[test]
        fn renewal_is_complete_only_without_gap_to_log_end(
            applied in 0u64..5,
            numbers in proptest::collection::vec(0u64..10, 0..4),
            last in 0u64..10,
        ) {
            let is_dense = numbers
                .iter()
                .enumerate()
                .all(|(index, number)| *number == applied + 1 + index as u64);
            let reaches_end = is_dense && last == applied + numbers.len() as u64;
            let renewal = accept_renewal(&position(applied), &'a', numbers.iter().copied(), last);
            prop_assert_eq!(renewal == Renewal::Complete, reaches_end);
            let other_epoch = accept_renewal(&position(applied), &'b', numbers, last);
            prop_assert_eq!(other_epoch, Renewal::Rejected);
        }

        #[test]
        fn revocation_waits_for_every_remaining_member(
            positions in proptest::collection::btree_map(0u8..4, 0u64..6, 0..4),
            members in proptest::collection::btree_set(0u8..4, 0..4),
            number in 0u64..6,
        ) {
            let appended = AppendedEntry { epoch: 'a', number, members: members.clone() };
            let is_one_behind = positions
                .iter()
                .any(|(id, applied)| *id != 0 && members.contains(id) && *applied < number);
            let has_no_other_member = members.iter().all(|id| *id == 0);
            let is_enforced_by = |epoch, last| {
                let applied = positions.clone();
                is_enforced(&appended, &0, &AcknowledgedPositions { epoch, last, applied })
            };
            prop_assert_eq!(is_enforced_by('a', number), !is_one_behind);
            prop_assert_eq!(is_enforced_by('b', number), has_no_other_member, "another epoch");
            prop_assert_eq!(
                number > 0 && is_enforced_by('a', number.saturating_sub(1)),
                number > 0 && has_no_other_member,
                "positions from before the append"
            );
        }
    }

    #[test]
    fn renewal_that_misses_entries_is_not_complete() {
        assert_eq!(
            accept_renewal(&position(3), &'a', [4, 5], 9),
            Renewal::Partial
        );
        assert_eq!(
            accept_renewal(&position(3), &'a', [], 9),
            Renewal::Rejected,
            "no entries"
        );
        assert_eq!(
            accept_renewal(&position(3), &'a', [], 2),
            Renewal::Rejected,
            "the log ends before the position"
        );
        assert_eq!(
            accept_renewal(&position(3), &'a', [5], 5),
            Renewal::Rejected,
            "a gap"
        );
    }

    #[test]
    fn member_is_reaped_only_after_drain_period() {
        let drained = drained_at(7, LEASE_LENGTH);
        assert!(!can_reap(7, drained, LEASE_LENGTH) && can_reap(7, drained + 1, LEASE_LENGTH));
    }

    #[test]
    fn redis_decides_checks_only_with_complete_log() {
        let sources = [
            LogHealth::NotSeen,
            LogHealth::Complete,
            LogHealth::Lost,
            LogHealth::EvictionEnabled,
            LogHealth::Unreachable,
            LogHealth::NewerVersion,
        ]
        .map(source_without_lease);
        let (redis, postgres, unavailable) = (
            CheckSource::Redis,
            CheckSource::Postgres,
            CheckSource::Unavailable,
        );
        assert_eq!(
            sources,
            [postgres, redis, postgres, postgres, postgres, unavailable]
        );
    }
}
