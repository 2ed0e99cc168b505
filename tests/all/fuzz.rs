//! What nobody thought of: schemathesis reads the document and sends what it permits and what it
//! forbids, one call after the other, and judges each answer by all its checks.
//! `tests/tools/schemathesis.toml` says what is excepted and why, and
//! `tests/clients/with_schemathesis.py` who asks. `./dev fuzz` is the long run.

use std::{path::Path, process::Command};

use reqwest::Method;
use serde_json::Value;

use crate::{
    mail::MailServer,
    outage::OwnRedis,
    test_server::{Session, TestServer},
    tools,
};

/// The same cases in every run of the tests: what fails here failed before, or is new.
const SEED: &str = "7";

/// Who asks.
enum As<'a> {
    /// Somebody to whom every operation is open, and who signs in anew whenever that ended.
    Admin,
    /// Somebody whose token this was.
    Revoked(&'a Session),
}

/// The tool with its configuration, and with all that the gateway's own program needs.
fn schemathesis(server: &TestServer, who: &As, arguments: &[&str]) -> Command {
    let file = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests")
            .join(name)
    };
    let (who, token) = match who {
        As::Admin => ("admin", ""),
        As::Revoked(session) => ("revoked", session.access_token.as_str()),
    };
    let mut command = tools::python("schemathesis");
    command
        .env_clear()
        .envs(server.settings())
        .current_dir(std::env::temp_dir());
    command
        .env("FUZZ_AS", who)
        .env("FUZZ_TOKEN", token)
        .env("FUZZ_URL", server.url(""));
    command
        .env("FUZZ_PROGRAM", crate::test_server::binary())
        .env("FUZZ_HOOKS", file("clients/with_schemathesis.py"));
    // It draws in characters that an empty environment does not promise.
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

/// A run of the tests, in which nothing may fail; with the tool's own summary. It is bounded by the
/// number of cases, so that it is the same on a busy machine.
async fn finds_nothing(mut command: Command, refused: std::ops::RangeInclusive<usize>) {
    command.args(["--no-color", "--continue-on-failure", "--seed", SEED]);
    let told = tools::succeeds(command, String::new()).await;
    let summary = told.split("= SUMMARY =").last().expect("a text");
    println!("{summary}");
    let operations = crate::contract::operations("").len();
    assert!(
        summary.contains(&format!("Tested: {operations}")),
        "each of {operations} operations was requested: {told}"
    );
    let closed = told
        .split("Authentication failed: ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    assert!(
        refused.contains(&closed.unwrap_or(0)),
        "operations that answered 401 and 403 only: {closed:?} {told}"
    );
}

/// An administrator is refused where a secret is asked for that the tool can't guess: of the many
/// operations, few.
const FEW: std::ops::RangeInclusive<usize> = 0..=8;

/// Whose token was revoked is refused at all that are not open to anybody; without Redis some of
/// them cannot say so, and are 503.
const MOST: std::ops::RangeInclusive<usize> = 20..=51;

/// With a mailbox, so that nothing is off, and with the person of the document's examples.
async fn server() -> (TestServer, MailServer) {
    let (server, mail) = TestServer::with_mail(&[]).await;
    server.sign_up_with_email("john", "john@example.com").await;
    (server, mail)
}

/// Each rule of the document once, kept and broken.
#[tokio::test]
async fn each_rule_of_the_document_is_the_gateways() {
    let (server, _mail) = server().await;
    finds_nothing(
        schemathesis(&server, &As::Admin, &["--phases", "examples,coverage"]),
        FEW,
    )
    .await;
}

/// Whatever a machine thinks of, and one call after the other with what the ones before gave.
#[tokio::test]
async fn nothing_that_a_machine_thinks_of_breaks_a_rule() {
    let (server, _mail) = server().await;
    finds_nothing(
        schemathesis(
            &server,
            &As::Admin,
            &["--phases", "fuzzing,stateful", "--max-examples", "10"],
        ),
        FEW,
    )
    .await;
}

/// An administrator, to whom every operation was open until now.
async fn revoked(server: &TestServer) -> Session {
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
async fn whatever_is_sent_a_revoked_token_opens_nothing() {
    let (server, _mail) = server().await;
    let revoked = revoked(&server).await;
    finds_nothing(
        schemathesis(&server, &As::Revoked(&revoked), &["--max-examples", "3"]),
        MOST,
    )
    .await;
}

/// Nothing but 503 where Redis is needed, and all else as ever.
#[tokio::test]
async fn without_redis_no_answer_is_worse_than_503() {
    let (mail, mut own) = (MailServer::start().await, OwnRedis::start());
    let server = TestServer::with(&[
        ("LATCHKEY_SMTP_URL", &mail.url()),
        ("REDIS_URL", &own.redis.url()),
    ])
    .await;
    own.redis.kill();
    let mut command = schemathesis(
        &server,
        &As::Admin,
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
    finds_nothing(command, FEW).await;
}

/// What was revoked before stays so.
#[tokio::test]
async fn without_redis_a_revoked_token_opens_nothing() {
    let (mail, mut own) = (MailServer::start().await, OwnRedis::start());
    let server = TestServer::with(&[
        ("LATCHKEY_SMTP_URL", &mail.url()),
        ("REDIS_URL", &own.redis.url()),
    ])
    .await;
    let revoked = revoked(&server).await;
    own.redis.kill();
    let mut command = schemathesis(
        &server,
        &As::Revoked(&revoked),
        &["--phases", "fuzzing", "--max-examples", "3"],
    );
    command
        .env("FUZZ_REDIS", "stopped")
        .args(["--exclude-checks", "not_a_server_error"]);
    finds_nothing(command, MOST).await;
}

/// `./dev fuzz`: with a seed of its own, which the tool prints, and with what the command line
/// says.
#[tokio::test]
#[ignore = "takes as long as one likes"]
async fn the_long_run() {
    let (server, _mail) = server().await;
    let arguments = std::env::var("LATCHKEY_FUZZ").unwrap_or_default();
    let mut command = schemathesis(
        &server,
        &As::Admin,
        &arguments.split_whitespace().collect::<Vec<_>>(),
    );
    // Its progress is drawn where it is run.
    let ended = tokio::task::spawn_blocking(move || {
        command.status().expect("`./dev install` has fetched it")
    });
    assert!(ended.await.expect("it ends").success());
}
