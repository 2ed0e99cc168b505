//! An impairment: a part of a replica that doesn't work as it should, with the cause and the fix.

use latchkey_domain::clock_offset::DifferingClock;
use strum::IntoStaticStr;

use crate::error::Diagnosis;

/// Returns the fix of a clock that differs.
pub fn clock_action(clock: DifferingClock) -> &'static str {
    match clock {
        DifferingClock::Replica => {
            "Synchronize the clock of this machine, for example with `chrony` or \
             `systemd-timesyncd`. If the clock was ahead, then restart this replica."
        }
        DifferingClock::Postgres => "Synchronize the clock of the PostgreSQL server.",
        DifferingClock::Redis => "Synchronize the clock of the Redis server.",
        DifferingClock::Unknown => "Synchronize the clocks of this machine and of both stores.",
    }
}

/// The part of a replica that is impaired. Its text is the word in the response and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Component {
    /// The preparation of a replica that isn't ready yet.
    Start,
    /// PostgreSQL.
    Postgres,
    /// Redis.
    Redis,
    /// The revocation log in Redis.
    RevocationLog,
    /// The publication of committed revocations.
    Publication,
    /// The lease of this replica.
    Lease,
    /// The signing keys.
    SigningKeys,
    /// The delivery of email.
    Email,
    /// The clocks of this replica and of the stores.
    Clock,
}

/// An impaired part of a replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Impairment {
    /// The part.
    pub component: Component,
    /// The cause with its effect, and the fix.
    pub diagnosis: Diagnosis,
}

impl Impairment {
    pub(crate) fn new(component: Component, diagnosis: Diagnosis) -> Impairment {
        Impairment {
            component,
            diagnosis,
        }
    }

    /// Creates an impairment whose effect follows the cause.
    pub(crate) fn with_effect(
        component: Component,
        diagnosis: Diagnosis,
        effect: &str,
    ) -> Impairment {
        let reason = format!("{} {effect}", diagnosis.reason);
        Impairment::new(component, Diagnosis::new(reason, diagnosis.action))
    }
}
