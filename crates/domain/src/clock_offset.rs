//! The differences between the clock of a replica and those of its stores.

use std::fmt;

/// A difference from which it is logged, in milliseconds.
pub const WARNING_OFFSET_MS: u64 = 1_000;

/// A difference from which the replica is degraded, in milliseconds.
pub const DEGRADED_OFFSET_MS: u64 = 5_000;

/// A measured difference between the clock of a store and that of the replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockOffset {
    /// The clock of the store minus that of the replica, in milliseconds.
    milliseconds: i64,
    /// The largest error of the measurement in milliseconds: half of the round trip.
    uncertainty: u64,
}

/// The clock that differs from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DifferingClock {
    /// That of the replica: both stores agree.
    Replica,
    /// That of PostgreSQL.
    Postgres,
    /// That of Redis.
    Redis,
    /// Unknown, because all clocks differ, or because one store didn't respond.
    Unknown,
}

/// The effect of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClockSeverity {
    /// No effect yet.
    Warning,
    /// It exceeds what the clocks of synchronized machines reach.
    Degraded,
    /// Other replicas reject the tokens of this one, or this one rejects theirs.
    Unusable,
}

/// A difference that the operator should correct.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockDeviation {
    /// The clock that differs.
    pub clock: DifferingClock,
    /// This clock minus the others, in milliseconds. For an unknown clock, the clock of the store
    /// with the largest difference minus that of the replica.
    pub milliseconds: i64,
    /// The effect.
    pub severity: ClockSeverity,
}

impl ClockOffset {
    /// Computes the difference from a clock that was read between two readings of the replica's
    /// clock. All times are milliseconds since the epoch.
    pub fn between(before: u64, store: u64, after: u64) -> ClockOffset {
        let middle = before.midpoint(after);
        ClockOffset {
            milliseconds: i64::try_from(i128::from(store) - i128::from(middle)).unwrap_or(i64::MAX),
            uncertainty: after.saturating_sub(before) / 2,
        }
    }

    /// Returns the clock of the store minus that of the replica, in milliseconds.
    pub fn milliseconds(self) -> i64 {
        self.milliseconds
    }

    /// Returns the clock of the store minus that of the replica, in seconds.
    pub fn seconds(self) -> f64 {
        self.milliseconds as f64 / 1_000.0
    }

    /// Returns the smallest difference in milliseconds that the measurement proves.
    fn proven(self) -> u64 {
        self.milliseconds
            .unsigned_abs()
            .saturating_sub(self.uncertainty)
    }

    /// Returns whether the clocks of two stores agree, as far as the measurements prove.
    fn agrees_with(self, other: ClockOffset) -> bool {
        let difference = self.milliseconds.abs_diff(other.milliseconds);
        difference.saturating_sub(self.uncertainty + other.uncertainty) < WARNING_OFFSET_MS
    }
}

/// Assesses the clock of a replica against those of its stores, as far as they were measured.
///
/// From a difference of `tolerance_ms` (at least [`DEGRADED_OFFSET_MS`]) to both stores, a replica
/// can't be used. But if no other replica agrees with the stores, both stores might have the same
/// wrong clock, and all replicas would be unusable. `other_offsets` are the clock of Redis minus
/// those of other replicas, in milliseconds.
pub fn assess_clocks(
    postgres: Option<ClockOffset>,
    redis: Option<ClockOffset>,
    other_offsets: &[i64],
    tolerance_ms: u64,
) -> Option<ClockDeviation> {
    let proven = |offset: Option<ClockOffset>| offset.map_or(0, ClockOffset::proven);
    let (postgres_proven, redis_proven) = (proven(postgres), proven(redis));
    let largest = postgres_proven.max(redis_proven);
    let severity = match largest {
        0..WARNING_OFFSET_MS => return None,
        WARNING_OFFSET_MS..DEGRADED_OFFSET_MS => ClockSeverity::Warning,
        _degraded => ClockSeverity::Degraded,
    };
    let clock = differing_clock(postgres, redis);
    let smallest = postgres_proven.min(redis_proven);
    let agrees = |offset: &i64| offset.unsigned_abs() < DEGRADED_OFFSET_MS;
    let is_unusable =
        smallest >= tolerance_ms.max(DEGRADED_OFFSET_MS) && other_offsets.iter().any(agrees);
    let store = if postgres_proven >= redis_proven {
        postgres
    } else {
        redis
    };
    let milliseconds = store.map_or(0, |offset| offset.milliseconds);
    Some(match clock {
        DifferingClock::Replica => ClockDeviation {
            clock,
            milliseconds: -milliseconds,
            severity: if is_unusable {
                ClockSeverity::Unusable
            } else {
                severity
            },
        },
        _store => ClockDeviation {
            clock,
            milliseconds,
            severity,
        },
    })
}

fn differing_clock(postgres: Option<ClockOffset>, redis: Option<ClockOffset>) -> DifferingClock {
    let (Some(postgres), Some(redis)) = (postgres, redis) else {
        return DifferingClock::Unknown;
    };
    if postgres.agrees_with(redis) {
        DifferingClock::Replica
    } else if postgres.proven() < WARNING_OFFSET_MS {
        DifferingClock::Redis
    } else if redis.proven() < WARNING_OFFSET_MS {
        DifferingClock::Postgres
    } else {
        DifferingClock::Unknown
    }
}

/// The difference as a sentence, for operators.
impl fmt::Display for ClockDeviation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = (self.milliseconds.unsigned_abs() + 500) / 1_000;
        let direction = if self.milliseconds < 0 {
            "behind"
        } else {
            "ahead of"
        };
        match self.clock {
            DifferingClock::Replica => write!(
                f,
                "The clock of this replica is {seconds} s {direction} those of PostgreSQL and Redis."
            ),
            DifferingClock::Postgres => write!(
                f,
                "The clock of PostgreSQL is {seconds} s {direction} those of this replica and Redis."
            ),
            DifferingClock::Redis => write!(
                f,
                "The clock of Redis is {seconds} s {direction} those of this replica and PostgreSQL."
            ),
            DifferingClock::Unknown => write!(
                f,
                "The clock of a store is {seconds} s {direction} that of this replica."
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    /// An offset in seconds, measured with a round trip of 10 ms.
    fn offset(seconds: i64) -> Option<ClockOffset> {
        let store = NOW.saturating_add_signed(seconds * 1_000);
        Some(ClockOffset::between(NOW - 5, store, NOW + 5))
    }

    #[test]
    fn differing_clock_is_that_on_which_the_others_agree() {
        use ClockSeverity::{Degraded, Unusable, Warning};
        use DifferingClock::{Postgres, Redis, Replica, Unknown};
        for (postgres, redis, expected) in [
            (offset(0), offset(0), None),
            (offset(2), offset(2), Some((Replica, -2_000, Warning))),
            (offset(-12), offset(-12), Some((Replica, 12_000, Degraded))),
            (
                offset(3_600),
                offset(3_600),
                Some((Replica, -3_600_000, Unusable)),
            ),
            (offset(-61), offset(-61), Some((Replica, 61_000, Unusable))),
            (offset(90), offset(0), Some((Postgres, 90_000, Degraded))),
            (offset(0), offset(-90), Some((Redis, -90_000, Degraded))),
            (offset(90), offset(-90), Some((Unknown, 90_000, Degraded))),
            (offset(90), None, Some((Unknown, 90_000, Degraded))),
            (None, None, None),
        ] {
            let deviation = assess_clocks(postgres, redis, &[3_600_000, 4_999], 60_000);
            let deviation =
                deviation.map(|found| (found.clock, found.milliseconds, found.severity));
            assert_eq!(deviation, expected);
        }
    }

    /// The stores run on one machine, or their clocks have the same wrong source.
    #[test]
    fn replica_is_usable_unless_another_one_agrees_with_the_stores() {
        for others in [&[][..], &[90_000, -5_000]] {
            let deviation = assess_clocks(offset(90), offset(90), others, 60_000).unwrap();
            assert_eq!(deviation.severity, ClockSeverity::Degraded, "{others:?}");
        }
    }

    #[test]
    fn slow_round_trip_proves_no_difference() {
        let slow = Some(ClockOffset::between(NOW, NOW + 3_000, NOW + 3_000));
        assert_eq!(assess_clocks(slow, slow, &[0], 60_000), None);
    }

    #[test]
    fn deviation_is_displayed_as_a_sentence() {
        let deviation = assess_clocks(offset(-12), offset(-12), &[0], 60_000).unwrap();
        assert_eq!(
            deviation.to_string(),
            "The clock of this replica is 12 s ahead of those of PostgreSQL and Redis."
        );
    }
}
