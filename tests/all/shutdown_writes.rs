//! Pending writes of a replica that stops: it completes them before it exits, even if a write in
//! progress fails.

use tokio::net::TcpStream;

use crate::{
    test_server::{TestServer, wait_until},
    test_stores::{RowLock, query_value},
};

/// Stops the server while this statement waits for a lock, and then terminates the statement.
async fn stop_during_write(server: &mut TestServer, lock: RowLock, statement: &str) {
    lock.wait_until_statement_blocked(statement).await;
    server.terminate();
    wait_until("the listener is closed", || async {
        TcpStream::connect(server.address).await.is_err()
    })
    .await;
    lock.terminate_blocked().await;
    lock.release().await;
    assert_eq!(server.wait(), Some(0));
}

#[tokio::test]
async fn denied_events_survive_failed_write_at_shutdown() {
    let mut server = TestServer::start().await;
    server.sign_up("john").await;
    let lock = RowLock::table(&server, "audit_events").await;
    server
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    stop_during_write(&mut server, lock, "insert into audit_events").await;
    let query = "select sum(count) from audit_events where event = 'sign_in_failed'";
    assert_eq!(query_value(&server, query).await, "1");
}

#[tokio::test]
async fn rotations_survive_failed_write_at_shutdown() {
    let mut server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let lock = RowLock::table(&server, "sessions").await;
    server.refresh(&session.refresh_token).await.is(200, "");
    stop_during_write(&mut server, lock, "update sessions").await;
    assert_eq!(
        query_value(&server, "select rotation_counter from sessions").await,
        "1"
    );
}
