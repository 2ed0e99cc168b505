//! One run: a fleet, a load, a fault that strikes again and again, and the verdict.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    check_sources::Rungs,
    checker::Verdict,
    fault::Fault,
    fleet::Fleet,
    load::{Load, Recovery},
    sessions::Sessions,
};

/// How large a run is, and how patient.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// At least so many logouts are answered.
    pub revocations: usize,
    /// People who sign out one after the other.
    pub actors: usize,
    /// How long each of them takes for a session, at least.
    pub pace: Duration,
    /// At least so often the fault strikes.
    pub rounds: usize,
    /// No run takes longer.
    pub limit: Duration,
    /// Settings of the replicas.
    pub settings: &'static [(&'static str, &'static str)],
}

/// What came of a run.
pub struct Outcome {
    pub fault: Fault,
    pub verdict: Verdict,
    /// One for each time that the fault struck.
    pub recoveries: Vec<Recovery>,
    /// Sessions that were signed out and were not refused with 401 by all replicas in the end.
    pub unrefused: usize,
    pub took: Duration,
    pub rungs: Rungs,
}

/// Runs it to its end.
pub async fn run(fault: Fault, scale: Scale) -> Outcome {
    let mut fleet = Fleet::start(fault.needs_own_postgres(), scale.settings).await;
    // Floods and slow rounds take more than was asked for.
    let enough = scale.revocations * 2 + 2_000;
    let sessions = Sessions::make(&fleet.replicas[0].server, &fleet.database, enough).await;
    let (load, began) = (Load::of(fleet.targets.clone(), sessions), Instant::now());
    load.begin(scale.actors, scale.pace);
    let recoveries = strike(fault, &mut fleet, &load, scale).await;
    load.finish().await;
    let took = began.elapsed();
    let unrefused = load.sweep().await;
    Outcome {
        fault,
        verdict: load.verdict(),
        recoveries,
        unrefused,
        took,
        rungs: Rungs::of(&fleet).await,
    }
}

/// Again and again, each time after a while at full speed.
async fn strike(fault: Fault, fleet: &mut Fleet, load: &Arc<Load>, scale: Scale) -> Vec<Recovery> {
    let (deadline, mut recoveries) = (Instant::now() + scale.limit, Vec::new());
    while recoveries.len() < scale.rounds || load.revoked() < scale.revocations {
        assert!(
            Instant::now() < deadline,
            "{fault:?}: too slow: {}",
            load.verdict()
        );
        load.advances(scale.actors * 2).await;
        fault.strike(fleet, load, recoveries.len()).await;
        recoveries.push(load.recovers().await);
    }
    recoveries
}
