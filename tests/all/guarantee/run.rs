//! One run: a fleet, a load, a fault that is injected repeatedly, and the verdict.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    check_sources::CheckCounts,
    checker::Verdict,
    fault::Fault,
    fleet::Fleet,
    load::{Load, Recovery},
    sessions::Sessions,
};

/// The size of a run and its time limit.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// The minimum number of successful sign-outs.
    pub revocations: usize,
    /// The number of concurrent actors. Each signs out one session after another.
    pub actors: usize,
    /// The minimum time of an actor per session.
    pub pace: Duration,
    /// The minimum number of injections of the fault.
    pub rounds: usize,
    /// The maximum duration of a run.
    pub limit: Duration,
    /// Settings of the replicas.
    pub settings: &'static [(&'static str, &'static str)],
}

/// The results of a run.
pub struct Outcome {
    pub fault: Fault,
    pub verdict: Verdict,
    /// One recovery per injection of the fault.
    pub recoveries: Vec<Recovery>,
    /// The number of revoked sessions that not all replicas reject with 401 at the end.
    pub not_rejected: usize,
    pub duration: Duration,
    pub check_counts: CheckCounts,
}

pub async fn run(fault: Fault, scale: Scale) -> Outcome {
    let mut fleet = Fleet::start(fault.fleet_kind(), scale.settings).await;
    // Floods and slow rounds revoke more than the minimum.
    let count = scale.revocations * 2 + 2_000;
    let sessions = Sessions::create(&fleet.replicas[0].server, &fleet.database, count).await;
    let load = Load::new(fleet.targets.clone(), sessions);
    let started_at = Instant::now();
    load.start(scale.actors, scale.pace);
    let recoveries = inject_repeatedly(fault, &mut fleet, &load, scale).await;
    load.stop().await;
    let duration = started_at.elapsed();
    let not_rejected = load.sweep().await;
    Outcome {
        fault,
        verdict: load.verdict(),
        recoveries,
        not_rejected,
        duration,
        check_counts: CheckCounts::read(&fleet).await,
    }
}

/// Injects the fault repeatedly, each time after a period of undisturbed load.
async fn inject_repeatedly(
    fault: Fault,
    fleet: &mut Fleet,
    load: &Arc<Load>,
    scale: Scale,
) -> Vec<Recovery> {
    let (deadline, mut recoveries) = (Instant::now() + scale.limit, Vec::new());
    while recoveries.len() < scale.rounds || load.revoked() < scale.revocations {
        assert!(
            Instant::now() < deadline,
            "{fault:?}: too slow: {}",
            load.verdict()
        );
        load.wait_for_sign_outs(scale.actors * 2).await;
        fault.inject(fleet, load, recoveries.len()).await;
        recoveries.push(load.measure_recovery().await);
    }
    recoveries
}
