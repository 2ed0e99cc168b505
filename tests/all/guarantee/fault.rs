//! The faults. Each one breaks a real process, store, or connection under the running load, and
//! returns after its cause is removed.

mod boot_time;
mod clock;
mod connections;
mod demotion;
mod failover;
mod postgres_hosts;
mod processes;
mod redis;
mod shared_prefix;

use std::sync::Arc;

pub use demotion::Follower;
pub use postgres_hosts::PostgresHosts;

use super::{
    fleet::{Fleet, FleetKind},
    load::Load,
};

/// The number of concurrent sign-outs.
const FLOOD_SIZE: usize = 200;

/// Declares [`Fault`]: variant, name in `LATCHKEY_CHAOS_FAULTS`, and description in the report.
macro_rules! faults {
    ($($variant:ident $name:literal $description:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $($variant,)* }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Fault::$variant => $name,)* }
            }

            pub const fn description(self) -> &'static str {
                match self { $(Fault::$variant => $description,)* }
            }
        }
    };
}

faults! {
    None "none" "none";
    StoppedReplica "stopped-replica" "a replica is paused for 1–2 s (SIGSTOP)";
    KilledReplica "killed-replica" "a replica is killed and restarted";
    KilledRedis "killed-redis" "Redis is killed and restarts empty";
    PausedRedis "paused-redis" "Redis is paused for 0.2–1.4 s (CLIENT PAUSE)";
    FlushedRedis "flushed-redis" "FLUSHALL";
    LostLog "lost-log" "the revocation log is deleted";
    LostState "lost-state" "the state of the log is deleted";
    Failover "failover" "failover to a lagging follower";
    DemotedRedis "demoted-redis" "the primary of Redis becomes a follower; connections stay open";
    TwoPrimaries "two-primaries" "two primaries of Redis; the deposed one rejects writes";
    SlowConnections "slow-connections" "connections to a store are slow, or stall in one direction";
    CutConnections "cut-connections" "connections to a store are cut";
    HalfOpenConnections "half-open-connections" "connections to a store are half open";
    Flood "flood" "200 concurrent sign-outs";
    Restart "restart" "all processes are killed at once, PostgreSQL too";
    HangingPostgresHost "hanging-postgres-host" "PostgreSQL hangs, and a standby is promoted";
    ClockStep "clock-step" "the wall clock of a replica steps by 5 s, and back";
    ShiftedBootTime "shifted-boot-time" "replicas restart with other times since boot";
    SharedPrefix "shared-prefix" "another database has the same key prefix; FLUSHALL";
}

impl Fault {
    /// Returns the fleet that the fault requires.
    pub fn fleet_kind(self) -> FleetKind {
        match self {
            Fault::Restart => FleetKind::OwnPostgres,
            Fault::HangingPostgresHost => FleetKind::TwoPostgresHosts,
            Fault::ClockStep => FleetKind::OwnClocks,
            _other => FleetKind::Usual,
        }
    }

    /// Returns the reason why this machine can't inject the fault.
    pub fn missing_requirement(self) -> Option<&'static str> {
        match self {
            Fault::ClockStep if !cfg!(target_os = "linux") => Some("the fault requires Linux"),
            Fault::ShiftedBootTime if !boot_time::can_shift() => {
                Some("time namespaces require root on Linux")
            }
            _other => None,
        }
    }

    /// Injects the fault once. The target and the duration depend on the round.
    pub async fn inject(self, fleet: &mut Fleet, load: &Arc<Load>, round: usize) {
        match self {
            Fault::None => {}
            Fault::StoppedReplica => processes::pause_replica(fleet, round).await,
            Fault::KilledReplica => processes::kill_replica(fleet, round).await,
            Fault::KilledRedis => redis::kill(fleet, round).await,
            Fault::PausedRedis => redis::pause(fleet, round).await,
            Fault::FlushedRedis => redis::flush(fleet).await,
            Fault::LostLog => redis::delete_key(fleet, "log").await,
            Fault::LostState => redis::delete_key(fleet, "state").await,
            Fault::Failover => failover::fail_over(fleet, load).await,
            Fault::DemotedRedis => demotion::demote(fleet, round).await,
            Fault::TwoPrimaries => demotion::keep_two_primaries(fleet, load, round).await,
            Fault::SlowConnections => connections::slow_down(fleet, round).await,
            Fault::CutConnections => connections::cut(fleet, round).await,
            Fault::HalfOpenConnections => connections::half_open(fleet, round).await,
            Fault::Flood => load.flood(FLOOD_SIZE).await,
            Fault::Restart => processes::restart_everything(fleet).await,
            Fault::HangingPostgresHost => postgres_hosts::hang_primary(fleet).await,
            Fault::ClockStep => clock::step(fleet, load, round).await,
            Fault::ShiftedBootTime => boot_time::shift(fleet, round).await,
            Fault::SharedPrefix => shared_prefix::flush(fleet, round).await,
        }
    }
}
