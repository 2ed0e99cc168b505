//! Several hosts in `DATABASE_URL`, slow connections, and changed passwords.

use std::{fs, time::Duration};

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use crate::{
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, TestServer, settings, wait_until},
    test_stores::{STACK, connect, fresh_database, own_stack},
};

/// Returns a URL with the hosts of both URLs.
fn join_hosts(first: &str, second: &str) -> String {
    let host = |url: &str| {
        let (_, rest) = url.split_once('@').expect("a user");
        rest.rsplit_once('/').expect("a database").0.to_owned()
    };
    let (_, database) = first.rsplit_once('/').expect("a database");
    format!(
        "postgres://latchkey@{},{}/{database}",
        host(first),
        host(second)
    )
}

/// Waits until users can sign in.
async fn wait_for_sign_in(server: &TestServer, username: &str) {
    wait_until("users can sign in", || async {
        server.try_sign_in(username, PASSWORD).await.status == 200
    })
    .await;
}

/// Starts a server with two hosts, of which the first one hangs. Returns both and the server.
async fn start_with_hanging_host(timeout: &str) -> (Proxy, Proxy, TestServer) {
    let database = fresh_database().await;
    let (first, second) = (Proxy::to_postgres().await, Proxy::to_postgres().await);
    let url = join_hosts(
        &first.postgres_url(&database),
        &second.postgres_url(&database),
    );
    first.set(ConnectionState::Lost);
    let server = TestServer::with(&[
        ("DATABASE_URL", url.as_str()),
        ("LATCHKEY_DATABASE_TIMEOUT", timeout),
        // The hanging host would use all of it.
        ("LATCHKEY_DATABASE_CONNECT_TIMEOUT", "1m"),
    ])
    .await;
    (first, second, server)
}

#[tokio::test]
async fn hanging_host_does_not_prevent_connections() {
    let (first, second, server) = start_with_hanging_host("10s").await;
    server.sign_up("john").await;
    // The other way round, while the server has connections.
    first.set(ConnectionState::Open);
    second.set(ConnectionState::Lost);
    wait_for_sign_in(&server, "john").await;
}

/// After one statement without a response, the server tests its other open connections.
#[tokio::test]
async fn hanging_connections_cost_one_timeout() {
    let (first, second, server) = start_with_hanging_host("5s").await;
    let names: Vec<String> = (0..6).map(|number| format!("user{number}")).collect();
    join_all(names.iter().map(|name| server.sign_up(name))).await;
    first.set(ConnectionState::Open);
    second.set(ConnectionState::Lost);
    let mut failures = 0;
    while server.try_sign_in("user0", PASSWORD).await.status == 503 {
        failures += 1;
        assert!(failures < 2, "each open connection costs one timeout");
    }
    server.sign_in("user0").await;
}

#[tokio::test]
async fn promoted_standby_replaces_hanging_primary() {
    let (stack, database) = own_stack();
    let standby = stack.start_standby().expect("a standby");
    let url = join_hosts(&database, &standby.postgres.url("latchkey"));
    let server = TestServer::with(&[
        ("DATABASE_URL", url.as_str()),
        ("LATCHKEY_DATABASE_TIMEOUT", "2s"),
    ])
    .await;
    server.sign_up("john").await;
    wait_until("the standby has the user", || async {
        let client = connect(&standby.postgres.url("latchkey")).await;
        let count = "select count(*) from users where username = 'john'";
        let row = client.query_one(count, &[]).await.expect("a count");
        row.get::<_, i64>(0) == 1
    })
    .await;
    stack.postgres.pause();
    let signup = json!({"username": "jane", "password": PASSWORD});
    server.post("/signup", signup).await.is(503, "unavailable");
    standby.postgres.promote().expect("a promotion");
    wait_for_sign_in(&server, "john").await;
    server.sign_up("jane").await;
    // The deposed primary accepts writes again, but is not the primary any longer.
    stack.postgres.resume();
    for _ in 0..20 {
        server.sign_in("jane").await;
    }
    let replica = server.replica().await;
    wait_for_sign_in(&replica, "jane").await;
}

#[tokio::test]
async fn url_of_a_standby_is_reported() {
    let (stack, database) = own_stack();
    let server = TestServer::with(&[("DATABASE_URL", database.as_str())]).await;
    let standby = stack.start_standby().expect("a standby");
    let url = standby.postgres.url("latchkey");
    let misdirected = TestServer::launch(server.settings_with(&[("DATABASE_URL", &url)]));
    misdirected
        .wait_for_log(&["is a standby; add the primary to `DATABASE_URL`"])
        .await;
    assert_eq!(misdirected.get("/health/ready").await.status, 503);
}

/// Connecting takes three round trips, and a lookup two.
#[tokio::test]
async fn connecting_can_take_longer_than_a_transaction() {
    let database = fresh_database().await;
    let proxy = Proxy::to_postgres().await;
    let server = TestServer::with(&[
        ("DATABASE_URL", proxy.postgres_url(&database).as_str()),
        ("LATCHKEY_DATABASE_TIMEOUT", "550ms"),
    ])
    .await;
    let session = server.sign_up("john").await;
    proxy.set(ConnectionState::Cut);
    let get_user = || {
        server.with_token(
            reqwest::Method::GET,
            "/user",
            &session.access_token,
            json!(null),
        )
    };
    wait_until("the connections are cut", || async {
        get_user().await.status == 503
    })
    .await;
    proxy.set(ConnectionState::Late(Duration::from_millis(100)));
    wait_until("a lookup succeeds", || async {
        get_user().await.status == 200
    })
    .await;
}

#[tokio::test]
async fn changed_password_file_is_read_again() {
    let (stack, database) = own_stack();
    let admin = connect(&database).await;
    let role = format!("role_{}", Uuid::new_v4().simple());
    let statements = format!("create role {role} login superuser password 'first'");
    admin.batch_execute(&statements).await.expect("a role");
    // Local connections of this role need the password.
    let rules = "select current_setting('hba_file')";
    let row = admin.query_one(rules, &[]).await.expect("a path");
    let path: String = row.get(0);
    let text = fs::read_to_string(&path).expect("the rules");
    fs::write(&path, format!("local all {role} scram-sha-256\n{text}")).expect("changed rules");
    let reload = "select pg_reload_conf()";
    admin.query_one(reload, &[]).await.expect("a reload");

    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    let url = |password: &str| database.replace("latchkey@", &format!("{role}:{password}@"));
    fs::write(&file, url("first")).expect("a file");
    let file_path = file.display().to_string();
    let mut settings = settings(
        "",
        &STACK.redis_url(),
        &format!("t{}", Uuid::new_v4().simple()),
    );
    settings.retain(|(name, _)| name != "DATABASE_URL");
    settings.push(("DATABASE_URL_FILE".into(), file_path));
    let server = TestServer::run(settings).await;
    server.sign_up("john").await;

    let change = format!(
        "alter role {role} password 'second';
        select pg_terminate_backend(pid) from pg_stat_activity where usename = '{role}'"
    );
    admin
        .batch_execute(&change)
        .await
        .expect("another password");
    wait_until("the password is rejected", || async {
        server.try_sign_in("john", PASSWORD).await.status == 503
    })
    .await;
    fs::write(&file, url("second")).expect("a file");
    wait_for_sign_in(&server, "john").await;
    drop(stack);
}

#[tokio::test]
async fn changed_url_file_is_read_again_at_sighup() {
    let database = fresh_database().await;
    let (previous, next) = (Proxy::to_postgres().await, Proxy::to_postgres().await);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("url");
    fs::write(&file, previous.postgres_url(&database)).expect("a file");
    let prefix = format!("t{}", Uuid::new_v4().simple());
    let mut settings = settings("", &STACK.redis_url(), &prefix);
    settings.retain(|(name, _)| name != "DATABASE_URL");
    settings.push(("DATABASE_URL_FILE".into(), file.display().to_string()));
    let server = TestServer::run(settings).await;
    server.sign_up("john").await;

    fs::write(&file, next.postgres_url(&database)).expect("a file");
    server.hang_up();
    server
        .wait_for_log(&["reloaded setting from file", "DATABASE_URL"])
        .await;
    previous.set(ConnectionState::Lost);
    // Without a timeout: no request uses the connections to the previous host.
    server.sign_in("john").await;
}
