//! `latchkey user sign-out --all-users`.

use super::{command, run_user_ok};
use crate::{
    personal_access_tokens,
    test_server::TestServer,
    test_stores::{execute, query_value},
};

/// More users than one transaction examines, before all others, and without a session.
const USERS_WITHOUT_SESSION: &str = "
    insert into users (id, username, password_hash)
    select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'user' || n, 'x'
    from generate_series(1, 150) n";

/// The number of users whose generation was incremented.
const INCREMENTED: &str = "select count(*) from users where generation > 1";

#[tokio::test]
async fn sign_out_of_all_users_is_immediate_and_repeatable() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    execute(&server, USERS_WITHOUT_SESSION).await;
    let (john, mary) = (server.sign_up("john").await, server.sign_up("mary").await);
    let jane = server.sign_up("jane").await;
    server.sign_out(&jane.access_token).await.is(204, "");
    let (_, token) = personal_access_tokens::make(&server, &john, "user:read").await;
    for server in [&server, &replica] {
        for token in [&john.access_token, &mary.access_token, &token] {
            assert_eq!(server.verify(token).await.0, 204);
        }
    }
    let sign_out = ["user", "sign-out", "--all-users", "--yes"];
    command(&server, &sign_out[..3])
        .await
        .expect_error(2, "pass --yes to sign out all users");
    command(&server, &["user", "sign-out", "--yes"])
        .await
        .expect_error(2, "--all-users");
    assert_eq!(query_value(&server, INCREMENTED).await, "0");

    let output = run_user_ok(&server, &sign_out[1..]).await;
    assert_eq!(
        output,
        "Revoked all sessions and personal access tokens of 2 users.\n"
    );
    for server in [&server, &replica] {
        for token in [&john.access_token, &mary.access_token, &token] {
            assert_eq!(
                server.verify(token).await,
                (401, "token_revoked".into()),
                "revoked immediately"
            );
        }
        for session in [&john, &mary] {
            server
                .refresh(&session.refresh_token)
                .await
                .is(401, "invalid_refresh_token");
        }
    }
    // The revocation log gets an entry only for users with a session or token in force.
    assert_eq!(query_value(&server, INCREMENTED).await, "2");
    let entries = "select count(*) from revocations where kind = 'user'";
    assert_eq!(query_value(&server, entries).await, "2");
    let events = "select string_agg(distinct concat_ws(' ', actor, reason, u.username), ', ') \
        from audit_events e join users u on u.id = e.subject_id where event = 'sessions_revoked'";
    assert_eq!(
        query_value(&server, events).await,
        "operator revoked john, operator revoked mary"
    );

    // Users can sign in again, and a repetition revokes only what is new.
    let new = server.sign_in("mary").await;
    assert_eq!(replica.verify(&new.access_token).await.0, 204);
    let output = run_user_ok(&server, &sign_out[1..]).await;
    assert!(output.contains("of 1 users"), "{output}");
    server.rejects(&new).await;
    let output = run_user_ok(&server, &sign_out[1..]).await;
    assert!(output.contains("of 0 users"), "{output}");
}

/// A personal access token is in force without a session.
#[tokio::test]
async fn sign_out_of_all_users_includes_users_with_tokens_only() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let (_, token) = personal_access_tokens::make(&server, &john, "user:read").await;
    server.sign_out(&john.access_token).await.is(204, "");
    assert_eq!(server.verify(&token).await.0, 204);
    run_user_ok(&server, &["sign-out", "--all-users", "--yes"]).await;
    assert_eq!(server.verify(&token).await, (401, "token_revoked".into()));
}
