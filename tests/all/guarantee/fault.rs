//! What can go wrong. Each fault is a function that breaks the real thing beside the running load,
//! and returns when the cause is gone.

mod failover;
mod lines;
mod processes;
mod redis;

use std::sync::Arc;

use super::{fleet::Fleet, load::Load};

/// Logouts at once.
const FLOOD: usize = 200;

/// Declares [`Fault`]: variant, its name for whoever selects some, and what happens.
macro_rules! faults {
    ($($variant:ident $name:literal $told:literal;)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Fault { $($variant,)* }

        impl Fault {
            pub const ALL: &[Fault] = &[$(Fault::$variant,)*];

            pub const fn name(self) -> &'static str {
                match self { $(Fault::$variant => $name,)* }
            }

            pub const fn told(self) -> &'static str {
                match self { $(Fault::$variant => $told,)* }
            }
        }
    };
}

faults! {
    None "none" "none";
    StoppedReplica "stopped-replica" "a replica stands still for 1–2 s (SIGSTOP)";
    KilledReplica "killed-replica" "a replica is killed and started again";
    KilledRedis "killed-redis" "Redis is killed and comes back empty";
    PausedRedis "paused-redis" "Redis responds to no client for 0.2–1.4 s (CLIENT PAUSE)";
    FlushedRedis "flushed-redis" "FLUSHALL";
    LostLog "lost-log" "the log is deleted";
    LostState "lost-state" "the state is deleted";
    Failover "failover" "failover to a Redis that lags";
    LateLines "late-lines" "lines to a store are slow, or stand still one way";
    CutLines "cut-lines" "lines to a store are cut";
    HalfOpenLines "half-open-lines" "lines to a store are half open";
    Flood "flood" "200 logouts at once";
    Restart "restart" "everything is killed at once, PostgreSQL too";
}

impl Fault {
    /// Whether it kills PostgreSQL.
    pub fn needs_own_postgres(self) -> bool {
        self == Fault::Restart
    }

    /// Strikes for this time, and returns when the cause is gone. Rounds differ in whom it strikes,
    /// and how long.
    pub async fn strike(self, fleet: &mut Fleet, load: &Arc<Load>, round: usize) {
        match self {
            Fault::None => {}
            Fault::StoppedReplica => processes::stop_a_replica(fleet, round).await,
            Fault::KilledReplica => processes::kill_a_replica(fleet, round).await,
            Fault::KilledRedis => redis::kill(fleet, round).await,
            Fault::PausedRedis => redis::pause(fleet, round).await,
            Fault::FlushedRedis => redis::flush(fleet).await,
            Fault::LostLog => redis::lose(fleet, "log").await,
            Fault::LostState => redis::lose(fleet, "state").await,
            Fault::Failover => failover::fail_over(fleet, load).await,
            Fault::LateLines => lines::delay(fleet, round).await,
            Fault::CutLines => lines::cut(fleet, round).await,
            Fault::HalfOpenLines => lines::lose(fleet, round).await,
            Fault::Flood => load.flood(FLOOD).await,
            Fault::Restart => processes::restart_everything(fleet).await,
        }
    }
}
