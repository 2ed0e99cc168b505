//! Replicas whose wall clock differs from those of both stores: first a warning in the log, then
//! degraded, then not ready.

use crate::{
    test_server::{TestServer, wait_until},
    wall_clock::WallClock,
};

/// Starts a server whose clock differs by these seconds, beside a replica whose clock doesn't.
async fn start(seconds: i64) -> (TestServer, TestServer, WallClock) {
    let replica = TestServer::start().await;
    let clock = WallClock::new();
    clock.set_offset(seconds);
    let mut settings = replica.settings();
    settings.extend(clock.variables());
    (TestServer::launch(settings), replica, clock)
}

/// Waits until the server reports this reason for the component `clock`.
async fn wait_for_reason(server: &TestServer, reason: &str) {
    wait_until(reason, || async {
        let readiness = server.readiness().await;
        let degraded = readiness.body["degraded"].as_array().expect("a list");
        degraded.iter().any(|entry| {
            let text = entry["reason"].as_str().expect("a text");
            entry["component"] == "clock" && text.contains(reason)
        })
    })
    .await;
}

#[tokio::test]
async fn small_difference_is_logged() {
    let (server, _replica, _clock) = start(3).await;
    server.wait_until_ready().await;
    server
        .wait_for_log(&[
            "clocks differ",
            "3 s ahead of those of PostgreSQL and Redis",
        ])
        .await;
    let readiness = server.readiness().await.body;
    let degraded = readiness["degraded"].as_array().expect("a list");
    assert!(
        degraded.iter().all(|entry| entry["component"] != "clock"),
        "{readiness}"
    );
    let offset = "latchkey_clock_offset_seconds{store=\"redis\"}";
    // A probe that takes too long on a busy machine has no offset, so the gauge can follow later.
    wait_until("the metric contains the offset", || async {
        let seconds = crate::metrics::value(&server, offset).await;
        (-3.5..-2.5).contains(&seconds)
    })
    .await;
}

#[tokio::test]
async fn larger_difference_is_degraded_and_tokens_are_valid() {
    let (server, replica, _clock) = start(30).await;
    server.wait_until_ready().await;
    wait_for_reason(&server, "The clock of this replica is 30 s ahead of").await;
    server
        .wait_for_log(&["degraded", "\"component\":\"clock\""])
        .await;
    let session = server.sign_up("john").await;
    assert_eq!(replica.verify(&session.access_token).await.0, 204);
    let session = replica.sign_in("john").await;
    assert_eq!(server.verify(&session.access_token).await.0, 204);
}

/// Both stores might have the same wrong clock.
#[tokio::test]
async fn replica_beyond_the_tolerance_is_ready_if_no_other_agrees_with_the_stores() {
    let (server, mut replica, _clock) = start(90).await;
    replica.kill();
    server.wait_until_ready().await;
    wait_for_reason(&server, "90 s ahead of those of PostgreSQL and Redis").await;
}

#[tokio::test]
async fn replica_beyond_the_tolerance_is_not_ready() {
    for (seconds, reason) in [
        (-3_600, "3600 s behind those of PostgreSQL and Redis"),
        (90, "90 s ahead of those of PostgreSQL and Redis"),
    ] {
        let (server, replica, clock) = start(seconds).await;
        wait_for_reason(&server, reason).await;
        wait_until("the replica is not ready", || async {
            let ready = server.get("/health/ready").await;
            (ready.status, ready.text("status")) == (503, "down".into())
        })
        .await;
        assert_eq!(replica.get("/health/ready").await.status, 200);
        clock.set_offset(0);
        // The clock of a replica never runs backward, so a replica that was ahead recovers later.
        if seconds < 0 {
            server.wait_until_ready().await;
        }
    }
}
