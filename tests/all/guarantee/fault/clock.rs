//! The wall clock of a replica steps while it runs.

use std::sync::Arc;

use time::OffsetDateTime;

use crate::{
    guarantee::{
        fleet::{Fleet, REPLICA_COUNT},
        load::Load,
    },
    test_server::wait_until,
};

/// The length of a step in seconds. The clocks of two replicas differ by at most twice as much,
/// because a clock of a replica stops after a step backward. The default of `LATCHKEY_CLOCK_SKEW`
/// is larger.
const STEP_SECONDS: i64 = 5;

/// Steps the clock of one replica forward or backward. When the replica issues tokens with this
/// time, which all replicas must accept, its clock steps back.
pub async fn step(fleet: &Fleet, load: &Arc<Load>, round: usize) {
    let replica = &fleet.replicas[round % REPLICA_COUNT];
    let clock = replica.clock.as_ref().expect("a clock");
    let offset = if round.is_multiple_of(2) {
        STEP_SECONDS
    } else {
        -STEP_SECONDS
    };
    clock.set_offset(offset);
    // The clock of the server never runs backward, so it reaches a time in the past later.
    wait_until("the replica issues tokens with this time", || async {
        let before = OffsetDateTime::now_utc().unix_timestamp();
        let difference = load.revoke_issued_token(&replica.server).await - before;
        difference.signum() == offset.signum() && difference.abs() >= STEP_SECONDS - 1
    })
    .await;
    clock.set_offset(0);
}
