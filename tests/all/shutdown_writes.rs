//! What a replica has seen and not yet written when it is stopped: it writes that first, also where
//! a write was under way.

use tokio::net::TcpStream;

use crate::{
    test_server::{TestServer, until},
    test_stores::{Held, ask},
};

/// Stops it while this statement waits; the write fails, when nothing else is left to do.
async fn stop_while_it_writes(server: &mut TestServer, held: Held, statement: &str) {
    held.until_waits(statement).await;
    server.terminate();
    until("nobody new is let in", || async {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    held.cut_who_waits().await;
    held.release().await;
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn what_was_refused_is_recorded_though_the_write_failed_that_was_under_way() {
    let mut server = TestServer::start().await;
    server.sign_up("john").await;
    let held = Held::table(&server, "audit_events").await;
    server
        .log_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    stop_while_it_writes(&mut server, held, "insert into audit_events").await;
    let counted = "select sum(count) from audit_events where event = 'sign_in_failed'";
    assert_eq!(ask(&server, counted).await, "1");
}

#[tokio::test]
async fn refreshes_are_recorded_though_the_write_failed_that_was_under_way() {
    let mut server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let held = Held::table(&server, "sessions").await;
    server.refresh(&session.refresh_token).await.is(200, "");
    stop_while_it_writes(&mut server, held, "update sessions").await;
    assert_eq!(
        ask(&server, "select rotation_counter from sessions").await,
        "1"
    );
}
