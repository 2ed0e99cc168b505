//! What a replica has seen and not yet written when it is stopped: it writes that first, also where
//! a write was under way.

use tokio::net::TcpStream;

use crate::{
    gateway::{Gateway, until},
    stack::{Held, ask},
};

/// Stops it while this statement waits; the write fails, when nothing else is left to do.
async fn stop_while_it_writes(gateway: &mut Gateway, held: Held, statement: &str) {
    held.until_waits(statement).await;
    gateway.terminate();
    until("nobody new is let in", || async {
        TcpStream::connect(gateway.address).await.is_err()
    })
    .await;
    held.cut_who_waits().await;
    held.release().await;
    assert_eq!(gateway.wait(), Some(0));
}

#[tokio::test]
async fn what_was_refused_is_recorded_though_the_write_failed_that_was_under_way() {
    let mut gateway = Gateway::start().await;
    gateway.sign_up("john").await;
    let held = Held::table(&gateway, "audit_events").await;
    gateway
        .log_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    stop_while_it_writes(&mut gateway, held, "insert into audit_events").await;
    let counted = "select sum(count) from audit_events where event = 'sign_in_failed'";
    assert_eq!(ask(&gateway, counted).await, "1");
}

#[tokio::test]
async fn refreshes_are_recorded_though_the_write_failed_that_was_under_way() {
    let mut gateway = Gateway::start().await;
    let session = gateway.sign_up("john").await;
    let held = Held::table(&gateway, "sessions").await;
    gateway.refresh(&session.refresh_token).await.is(200, "");
    stop_while_it_writes(&mut gateway, held, "update sessions").await;
    assert_eq!(
        ask(&gateway, "select rotation_counter from sessions").await,
        "1"
    );
}
