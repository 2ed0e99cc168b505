//! Startup: settings, migrations, and the settings that replicas must share.
//!
//! A configuration error contains the variable and never its value.

mod database; // migrations, roles, encodings, and defaults of the database
mod env_file; // `.env` and its example
mod help; // the help of all commands
mod sources; // the precedence of the environment and `.env`

use std::{fs, net::TcpListener, path::Path, process::Output, sync::LazyLock};

use futures_util::future::join_all;
use latchkey::config::SETTINGS;
use uuid::Uuid;

use crate::{
    program,
    test_server::{TestServer, change, random_secret, settings, wait_until},
    test_stores::{STACK, connect, fresh_database},
};

static SECRET: LazyLock<String> = LazyLock::new(random_secret);

fn as_str_pairs(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

fn latchkey(arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    program::run(arguments, settings.iter().copied(), "")
}

fn latchkey_in(folder: &Path, arguments: &[&str], settings: &[(&str, &str)]) -> Output {
    program::run_in(folder, arguments, settings.iter().copied(), "")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A valid configuration. The command `config` does not connect to the stores.
static VALID: LazyLock<[(&str, &str); 5]> = LazyLock::new(|| {
    [
        (
            "DATABASE_URL",
            "postgres://user:hunter2hunter2@db.example/latchkey",
        ),
        ("REDIS_URL", "redis://:hunter2hunter2@redis.example"),
        ("LATCHKEY_SECRET", SECRET.as_str()),
        ("LATCHKEY_ISSUER", "https://auth.example.com"),
        (
            "LATCHKEY_SMTP_URL",
            "smtps://user:hunter2hunter2@mail.example",
        ),
    ]
});

fn valid_with<'a>(changes: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let unchanged = VALID
        .iter()
        .copied()
        .filter(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    unchanged.chain(changes.iter().copied()).collect()
}

/// Creates a database without a schema.
async fn create_empty_database() -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let admin = connect(&STACK.postgres_url("postgres")).await;
    admin
        .batch_execute(&format!("create database {name}"))
        .await
        .expect("a new database");
    STACK.postgres_url(&name)
}

#[test]
fn missing_settings_are_listed() {
    for arguments in [&["serve"][..], &[], &["config"]] {
        let output = latchkey(arguments, &[]);
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        for (variable, _) in *VALID {
            assert!(
                errors.contains(variable),
                "{variable} is not listed: {errors}"
            );
        }
        assert!(
            errors.starts_with("error: invalid configuration\n  ") && errors.contains("\nhint: "),
            "{errors}"
        );
        assert!(
            errors.contains("./dev up"),
            "the hint contains the first command: {errors}"
        );
    }
}

#[test]
fn all_configuration_errors_are_listed_without_values() {
    let wrong = [
        ("DATABASE_URL", "hunter2"),
        ("REDIS_URL", "hunter2"),
        ("LATCHKEY_LISTEN", "hunter2"),
        ("LATCHKEY_METRICS_LISTEN", "hunter2"),
        ("LATCHKEY_SECRET", "hunter2"),
        ("LATCHKEY_ISSUER", "hunter2"),
        ("LATCHKEY_INSECURE_HTTP", "hunter2"),
        ("LATCHKEY_ACCESS_LIFETIME", "hunter2"),
        ("LATCHKEY_SMTP_URL", "hunter2"),
        ("LATCHKEY_PASSWORD_MIN", "hunter2"),
        ("LATCHKEY_TRUSTED_PROXIES", "hunter2"),
        ("LATCHKEY_CORS_ORIGINS", "hunter2"),
        ("LATCHKEY_HASH_IMPLEMENTATION", "hunter2"),
        ("LATCHKEY_HASH_THREADS", "hunter2"),
        // Well-formed and out of bounds.
        ("LATCHKEY_CODE_LIFETIME", "11m"),
        ("LATCHKEY_DATABASE_CONNECTIONS", "9"),
        ("LATCHKEY_SESSION_IDLE_TIMEOUT", "31d"),
    ];
    let errors = stderr(&latchkey(&["serve"], &wrong));
    // The URLs of the stores are parsed after all other settings are valid.
    for (variable, _) in wrong
        .iter()
        .filter(|(name, _)| name.starts_with("LATCHKEY_"))
    {
        assert!(
            errors.contains(variable),
            "{variable} is not listed: {errors}"
        );
    }
    let output = latchkey(
        &["serve"],
        &valid_with(&[wrong[0], wrong[1], ("LATCHKEY_EMAIL_FROM", "hunter2")]),
    );
    for variable in ["DATABASE_URL", "REDIS_URL", "LATCHKEY_EMAIL_FROM"] {
        assert!(
            stderr(&output).contains(variable),
            "{variable} is not listed: {}",
            stderr(&output)
        );
    }
    assert_eq!(output.status.code(), Some(2));
    assert!(
        !errors.contains("hunter2") && !stderr(&output).contains("hunter2"),
        "{errors}"
    );
}

#[test]
fn unsafe_and_invalid_values_are_rejected_by_variable() {
    let cases = [
        ("LATCHKEY_SECRET", "c2hvcnQ="),
        (
            "LATCHKEY_SECRET",
            "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ),
        ("LATCHKEY_SECRET", "change-me"),
        ("LATCHKEY_SECRET", &format!("{},c2hvcnQ=", *SECRET)),
        ("LATCHKEY_SECRET", &format!("{0},{0}", *SECRET)),
        ("LATCHKEY_SECRET", &format!("{},", *SECRET)),
        ("LATCHKEY_KEY_ROTATION", "59m"),
        ("LATCHKEY_JWKS_MAX_AGE", "999ms"),
        ("LATCHKEY_JWKS_MAX_AGE", "3601s"),
        ("LATCHKEY_ISSUER", "http://auth.example.com"),
        ("LATCHKEY_ACCESS_LIFETIME", "2h"),
        ("LATCHKEY_ACCESS_LIFETIME", "0s"),
        ("LATCHKEY_CODE_LIFETIME", "11m"),
        ("LATCHKEY_SESSION_IDLE_TIMEOUT", "31d"),
        ("LATCHKEY_PASSWORD_MIN", "7"),
        ("LATCHKEY_HASH_THREADS", "0"),
        ("LATCHKEY_DATABASE_CONNECTIONS", "9"),
        ("LATCHKEY_REDIS_TIMEOUT", "0ms"),
        ("LATCHKEY_LEASE", "19ms"),
        ("LATCHKEY_LEASE", "3001ms"),
        ("LATCHKEY_LOG", "latchkey=loud"),
        ("LATCHKEY_EMAIL_FROM", "no-one"),
        ("LATCHKEY_SMTP_URL", "http://mail.example"),
        ("LATCHKEY_SMTP_URL", "file:relative"),
        // The issuer of these settings is not a loopback address.
        ("LATCHKEY_SMTP_URL", "file:/absolute"),
        ("DATABASE_URL", "mysql://db.example"),
        ("REDIS_URL", "http://redis.example"),
    ];
    for (variable, value) in cases {
        for command in ["serve", "config"] {
            let output = latchkey(
                &[command, "--listen", "127.0.0.1:0"],
                &valid_with(&[(variable, value)]),
            );
            let errors = stderr(&output);
            assert_eq!(
                output.status.code(),
                Some(2),
                "{variable}={value}: {errors}"
            );
            assert!(
                errors.contains(variable) && !errors.contains(value),
                "{variable}={value}: {errors}"
            );
        }
    }
    let allowed = valid_with(&[
        ("LATCHKEY_ISSUER", "http://auth.example.com"),
        ("LATCHKEY_INSECURE_HTTP", "yes"),
    ]);
    assert!(latchkey(&["config"], &allowed).status.success());
}

#[test]
fn verified_sign_up_requires_mail_server() {
    for (smtp_url, is_valid) in [("off", false), ("smtp://mail.example.com", true)] {
        let settings = valid_with(&[
            ("LATCHKEY_SIGNUP", "verify"),
            ("LATCHKEY_SMTP_URL", smtp_url),
        ]);
        let output = latchkey(&["config"], &settings);
        let errors = stderr(&output);
        assert_eq!(output.status.success(), is_valid, "{errors}");
        let reason =
            "LATCHKEY_SIGNUP: can be `verify` only with a mail server in LATCHKEY_SMTP_URL";
        assert_eq!(errors.contains(reason), !is_valid, "{errors}");
        if !is_valid {
            let served = latchkey(&["serve", "--listen", "127.0.0.1:0"], &settings);
            assert_eq!(served.status.code(), Some(2), "{}", stderr(&served));
        }
    }
}

#[test]
fn misspelled_setting_is_rejected() {
    let output = latchkey(
        &["serve"],
        &valid_with(&[
            ("LATCHKEY_SINGUP", "admin"),
            ("LATCHKEY_LIMIT_SIGNIN", "1/1m"),
        ]),
    );
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for part in [
        "LATCHKEY_SINGUP: unknown setting; did you mean LATCHKEY_SIGNUP?",
        "did you mean LATCHKEY_LIMIT_SIGN_IN?",
    ] {
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn config_prints_every_setting_and_no_secret() {
    let output = latchkey(&["config"], &*VALID);
    let printed = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for setting in SETTINGS {
        assert!(
            printed.contains(setting.variable),
            "{} is missing: {printed}",
            setting.variable
        );
    }
    assert!(
        printed.contains("LATCHKEY_ISSUER=https://auth.example.com")
            && printed.contains("LATCHKEY_ACCESS_LIFETIME=15m")
    );
    for secret in ["hunter2", SECRET.as_str(), "db.example", "mail.example"] {
        assert!(!printed.contains(secret), "{printed}");
    }
}

#[test]
fn secrets_can_be_read_from_files() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, format!("{text}\n")).expect("a written file");
        path.display().to_string()
    };
    let secrets = VALID
        .iter()
        .copied()
        .filter(|(name, _)| *name != "LATCHKEY_ISSUER");
    let mut variables: Vec<_> = secrets
        .map(|(name, value)| (format!("{name}_FILE"), file(name, value)))
        .collect();
    variables.push(("LATCHKEY_ISSUER".into(), "https://auth.example.com".into()));
    let mut variables = as_str_pairs(&variables);
    let output = latchkey(&["config"], &variables);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(stdout(&output).matches("(set, not shown)").count(), 4);
    variables.retain(|(name, _)| *name != "LATCHKEY_SECRET_FILE");
    variables.push(("LATCHKEY_SECRET_FILE", "/nowhere/secret"));
    let output = latchkey(&["config"], &variables);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("LATCHKEY_SECRET"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn flags_override_environment_and_env_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = "LATCHKEY_ACCESS_LIFETIME=1m\nLATCHKEY_CODE_LIFETIME=1m\nLATCHKEY_SESSION_MAX_LIFETIME=20d\n";
    fs::write(folder.path().join(".env"), file).expect("a written file");
    let variables = valid_with(&[
        ("LATCHKEY_ACCESS_LIFETIME", "2m"),
        ("LATCHKEY_CODE_LIFETIME", "2m"),
    ]);
    let output = latchkey_in(
        folder.path(),
        &["config", "--access-lifetime", "3m"],
        &variables,
    );
    let printed = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    for expected in [
        "LATCHKEY_ACCESS_LIFETIME=3m",
        "LATCHKEY_CODE_LIFETIME=2m",
        "LATCHKEY_SESSION_MAX_LIFETIME=20d",
    ] {
        assert!(printed.contains(expected), "{expected}: {printed}");
    }
}

#[test]
fn secrets_are_not_accepted_as_flags() {
    for flag in [
        "--secret",
        "--latchkey-secret",
        "--database-url",
        "--redis-url",
        "--smtp-url",
    ] {
        let output = latchkey(&["serve", flag, SECRET.as_str()], &*VALID);
        assert_eq!(output.status.code(), Some(2), "{flag}");
        assert!(stderr(&output).contains(flag), "{}", stderr(&output));
    }
}

#[test]
fn help_contains_every_setting() {
    for arguments in [&["help", "settings"], &["serve", "--help"]] {
        let output = latchkey(arguments, &[]);
        assert!(output.status.success());
        for setting in SETTINGS {
            assert!(
                stdout(&output).contains(setting.variable),
                "{}",
                setting.variable
            );
        }
    }
}

#[test]
fn openapi_command_requires_no_settings() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".env"), "LATCHKEY_LISTEN=nonsense\n").expect("a written file");
    let output = latchkey_in(folder.path(), &["openapi"], &[]);
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        stderr(&output)
    );
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert!(document["paths"]["/login"].is_object());
}

#[tokio::test]
async fn concurrent_starts_on_an_empty_database_do_not_race() {
    for round in 0..5 {
        let prefix = format!("race{round}{}", Uuid::new_v4().simple());
        let variables = settings(&create_empty_database().await, &STACK.redis_url(), &prefix);
        // Starting a process and waiting for its address blocks the thread.
        let launch = || {
            let variables = variables.clone();
            tokio::task::spawn_blocking(|| TestServer::launch(variables))
        };
        let replicas: Vec<_> = join_all([launch(), launch(), launch()])
            .await
            .into_iter()
            .map(Result::unwrap)
            .collect();
        for replica in &replicas {
            wait_until("the replica is ready", || async {
                replica.get("/health/ready").await.status == 200
            })
            .await;
        }
        let session = replicas[0].sign_up("john").await;
        for replica in &replicas {
            assert_eq!(
                replica.verify(&session.access_token).await.0,
                204,
                "all replicas use the same keys"
            );
        }
        let database = connect(replicas[0].setting("DATABASE_URL")).await;
        for table in ["signing_keys", "settings"] {
            let count = database
                .query_one(&format!("select count(*) from {table}"), &[])
                .await
                .expect("a count");
            assert_eq!(count.get::<_, i64>(0), 1, "{table}");
        }
    }
}

/// Asserts that a replica with another value of this setting exits, and that the others still work.
async fn assert_mismatch_is_rejected(variable: &str, value: &str) {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let output = latchkey(
        &["serve"],
        &as_str_pairs(&server.settings_with(&[(variable, value)])),
    );
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains(variable) && !errors.contains(SECRET.as_str()),
        "{errors}"
    );
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    assert!(
        server.replica().await.verify(&session.access_token).await.0 == 204,
        "a replica with the same settings starts"
    );
}

#[tokio::test]
async fn replica_with_another_issuer_is_rejected() {
    assert_mismatch_is_rejected("LATCHKEY_ISSUER", "https://other.example.com").await;
}

#[tokio::test]
async fn replica_with_another_secret_is_rejected() {
    assert_mismatch_is_rejected("LATCHKEY_SECRET", SECRET.as_str()).await;
}

#[tokio::test]
async fn used_port_is_one_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    for variable in ["LATCHKEY_LISTEN", "LATCHKEY_METRICS_LISTEN"] {
        let variables = settings(&fresh_database().await, &STACK.redis_url(), "taken");
        let variables = change(variables, &[(variable, &address)]);
        let output = latchkey(&["serve"], &as_str_pairs(&variables));
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{errors}");
        assert!(
            errors.contains(&address) && errors.contains(variable),
            "{errors}"
        );
        let lines: Vec<_> = errors.lines().collect();
        assert!(
            lines.len() == 2 && lines[0].starts_with("error: ") && lines[1].starts_with("hint: "),
            "{errors}"
        );
    }
}
