//! Fuzzes the API with schemathesis, which generates valid and invalid requests from the OpenAPI
//! document and checks each response against it.
//!
//! `tests/tools/schemathesis.toml` contains the exceptions with their reasons, and
//! `tests/clients/with_schemathesis.py` authenticates the requests. `./dev fuzz` runs for longer.

use std::{path::Path, process::Command};

use reqwest::Method;
use serde_json::Value;

use crate::{
    mail::MailServer,
    outage::OwnRedis,
    test_server::{Session, TestServer},
    tools,
};

/// The seed is fixed, so that every test run sends the same requests.
const SEED: &str = "7";

/// The caller of the operations.
enum Caller<'a> {
    /// An administrator, who signs in again after a revocation.
    Admin,
    /// A user with this revoked session.
    Revoked(&'a Session),
}

/// Returns the schemathesis command with its configuration and the settings of the server.
fn schemathesis(server: &TestServer, caller: &Caller, arguments: &[&str]) -> Command {
    let file = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name)
    };
    let (caller_name, token) = match caller {
        Caller::Admin => ("admin", ""),
        Caller::Revoked(session) => ("revoked", session.access_token.as_str()),
    };
    let mut command = tools::python("schemathesis");
    command
        .env_clear()
        .envs(server.settings())
        .current_dir(std::env::temp_dir());
    command
        .env("FUZZ_CALLER", caller_name)
        .env("FUZZ_TOKEN", token)
        .env("FUZZ_URL", server.url(""));
    command
        .env("FUZZ_PROGRAM", crate::test_server::binary())
        .env("FUZZ_HOOKS", file("clients/with_schemathesis.py"));
    // The output of schemathesis requires UTF-8, which isn't the default of an empty environment.
    command
        .env("PYTHONUTF8", "1")
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command
        .arg("--config-file")
        .arg(file("tools/schemathesis.toml"));
    command
        .args([
            "run",
            &server.url("/openapi.json"),
            "--url",
            &server.url(""),
        ])
        .args(arguments);
    command
}

/// Asserts that schemathesis finds no failure, and that the number of operations with only 401 and
/// 403 responses is in the range.
///
/// The number of cases bounds the run instead of a duration, so that a busy machine sends the same
/// requests.
async fn assert_no_failures(mut command: Command, denied: std::ops::RangeInclusive<usize>) {
    command.args(["--no-color", "--continue-on-failure", "--seed", SEED]);
    let output = tools::succeeds(command, String::new()).await;
    let summary = output.split("= SUMMARY =").last().expect("a summary");
    println!("{summary}");
    let operations = crate::contract::operations("").len();
    assert!(
        summary.contains(&format!("Tested: {operations}")),
        "each of {operations} operations was requested: {output}"
    );
    let denied_operations = output
        .split("Authentication failed: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(
        denied.contains(&denied_operations.unwrap_or(0)),
        "operations with only 401 and 403 responses: {denied_operations:?} {output}"
    );
}

/// Some operations deny even an administrator, because they require a secret that the tool can't
/// guess.
const DENIED_TO_ADMIN: std::ops::RangeInclusive<usize> = 0..=8;

/// All protected operations deny a revoked token. Without Redis, some return 503 instead.
const DENIED_TO_REVOKED: std::ops::RangeInclusive<usize> = 20..=51;

/// Starts a server with email and with the user of the examples in the OpenAPI document.
async fn start_server() -> (TestServer, MailServer) {
    let (server, mail_server) = TestServer::with_mail(&[]).await;
    server.sign_up_with_email("john", "john@example.com").await;
    (server, mail_server)
}

/// Covers each rule of the OpenAPI document with valid and invalid values.
#[tokio::test]
async fn examples_and_boundary_values_conform_to_document() {
    let (server, _mail_server) = start_server().await;
    assert_no_failures(
        schemathesis(&server, &Caller::Admin, &["--phases", "examples,coverage"]),
        DENIED_TO_ADMIN,
    )
    .await;
}

/// Sends random values, and sequences of requests that reuse values of earlier responses.
#[tokio::test]
async fn random_requests_conform_to_document() {
    let (server, _mail_server) = start_server().await;
    assert_no_failures(
        schemathesis(
            &server,
            &Caller::Admin,
            &["--phases", "fuzzing,stateful", "--max-examples", "10"],
        ),
        DENIED_TO_ADMIN,
    )
    .await;
}

/// Creates an administrator, revokes all sessions, and returns the revoked session.
async fn create_revoked_admin(server: &TestServer) -> Session {
    let admin = server.admin("revoked").await;
    server.admin("another").await;
    server
        .with_token(
            Method::POST,
            "/logout?scope=all",
            &admin.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    admin
}

#[tokio::test]
async fn fuzzing_with_revoked_token_is_denied() {
    let (server, _mail_server) = start_server().await;
    let session = create_revoked_admin(&server).await;
    assert_no_failures(
        schemathesis(
            &server,
            &Caller::Revoked(&session),
            &["--max-examples", "3"],
        ),
        DENIED_TO_REVOKED,
    )
    .await;
}

/// Operations that require Redis return 503, and all others work.
#[tokio::test]
async fn redis_outage_causes_no_error_except_503() {
    let (mail_server, mut own_redis) = (MailServer::start().await, OwnRedis::start());
    let server = TestServer::with(&[
        ("LATCHKEY_SMTP_URL", &mail_server.url()),
        ("REDIS_URL", &own_redis.redis.url()),
    ])
    .await;
    own_redis.redis.kill();
    let mut command = schemathesis(
        &server,
        &Caller::Admin,
        &[
            "--phases",
            "examples,fuzzing,stateful",
            "--max-examples",
            "3",
        ],
    );
    command
        .env("FUZZ_REDIS", "stopped")
        .args(["--exclude-checks", "not_a_server_error"]);
    assert_no_failures(command, DENIED_TO_ADMIN).await;
}

/// Revocations from before the outage stay in force.
#[tokio::test]
async fn redis_outage_keeps_revoked_token_denied() {
    let (mail_server, mut own_redis) = (MailServer::start().await, OwnRedis::start());
    let server = TestServer::with(&[
        ("LATCHKEY_SMTP_URL", &mail_server.url()),
        ("REDIS_URL", &own_redis.redis.url()),
    ])
    .await;
    let session = create_revoked_admin(&server).await;
    own_redis.redis.kill();
    let mut command = schemathesis(
        &server,
        &Caller::Revoked(&session),
        &["--phases", "fuzzing", "--max-examples", "3"],
    );
    command
        .env("FUZZ_REDIS", "stopped")
        .args(["--exclude-checks", "not_a_server_error"]);
    assert_no_failures(command, DENIED_TO_REVOKED).await;
}

/// Runs for `./dev fuzz` with its arguments and a new seed, which schemathesis prints.
#[tokio::test]
#[ignore = "its duration is an argument"]
async fn the_long_run() {
    let (server, _mail_server) = start_server().await;
    let arguments = std::env::var("LATCHKEY_FUZZ").unwrap_or_default();
    let mut command = schemathesis(
        &server,
        &Caller::Admin,
        &arguments.split_whitespace().collect::<Vec<_>>(),
    );
    // The command inherits the terminal, so that it displays its progress.
    let status = tokio::task::spawn_blocking(move || {
        command
            .status()
            .expect("schemathesis is installed (`./dev install`)")
    });
    assert!(status.await.expect("an exit status").success());
}
