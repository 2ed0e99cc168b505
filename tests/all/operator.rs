//! `latchkey user …` and `latchkey client …` beside a server: output, changes, and errors.

mod json; // `--output json`, compared with the API
mod sign_out; // all users at once
mod support; // commands that help a user
mod terminal; // prompts

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    program,
    proxy::Proxy,
    test_server::{PASSWORD, Session, TestServer},
    test_stores::{execute, query_value},
};

const NEW_PASSWORD: &str = "correct horse 9";

/// The exit code and the output of a command.
pub struct CommandOutput {
    code: Option<i32>,
    out: String,
    err: String,
}

impl CommandOutput {
    fn of(output: Output) -> CommandOutput {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        CommandOutput {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Asserts success, and returns standard output.
    #[track_caller]
    pub fn well(self) -> String {
        assert_eq!(
            (self.code, self.err.as_str()),
            (Some(0), ""),
            "{}",
            self.out
        );
        self.out
    }

    /// Asserts success with a hint on standard error, which must contain this text.
    #[track_caller]
    pub fn expect_hint(&self, part: &str) {
        let is_hint = self
            .err
            .lines()
            .any(|line| line.starts_with("hint: ") && line.contains(part));
        assert!(self.code == Some(0) && is_hint, "{}", self.err);
    }

    /// Asserts the exit code and the error message, which must contain this text.
    #[track_caller]
    pub fn expect_error(self, code: i32, part: &str) {
        assert_eq!(
            (self.code, self.out.as_str()),
            (Some(code), ""),
            "{}",
            self.err
        );
        // Log warnings can precede the error.
        let is_error = self.err.lines().any(|line| line.starts_with("error: "));
        assert!(is_error && self.err.contains(part), "{}", self.err);
    }
}

/// Runs a command of the binary with the settings of this server.
pub async fn command(server: &TestServer, arguments: &[&str]) -> CommandOutput {
    let (settings, arguments) = (
        server.settings(),
        arguments
            .iter()
            .map(|&argument| argument.to_owned())
            .collect::<Vec<_>>(),
    );
    let run_blocking = move || {
        run_program(
            settings,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            "",
        )
    };
    tokio::task::spawn_blocking(run_blocking)
        .await
        .expect("the task runs")
}

fn run_user_with_settings(
    settings: Vec<(String, String)>,
    arguments: &[&str],
    input: &str,
) -> CommandOutput {
    run_program(settings, &[&["user"], arguments].concat(), input)
}

fn run_program(settings: Vec<(String, String)>, arguments: &[&str], input: &str) -> CommandOutput {
    CommandOutput::of(program::run(arguments, settings, input))
}

/// Runs `latchkey user …` with the settings of this server and this standard input.
async fn run_user_with_input(
    server: &TestServer,
    arguments: &[&str],
    input: &str,
) -> CommandOutput {
    let (settings, input) = (server.settings(), input.to_owned());
    let arguments: Vec<String> = arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect();
    let run_blocking = move || {
        run_user_with_settings(
            settings,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            &input,
        )
    };
    tokio::task::spawn_blocking(run_blocking)
        .await
        .expect("the task runs")
}

async fn run_user(server: &TestServer, arguments: &[&str]) -> CommandOutput {
    run_user_with_input(server, arguments, "").await
}

async fn run_user_ok(server: &TestServer, arguments: &[&str]) -> String {
    run_user(server, arguments).await.well()
}

/// Runs `latchkey user …`, asserts success, and returns standard output.
pub async fn run_user_command(server: &TestServer, arguments: &[&str], input: &str) -> String {
    run_user_with_input(server, arguments, input).await.well()
}

#[tokio::test]
async fn operator_creates_first_administrator() {
    let server = TestServer::with(&[("LATCHKEY_SIGNUP", "admin")]).await;
    let out = run_user_ok(
        &server,
        &["create", "--username", "root", "--role", "admin"],
    )
    .await;
    let password = out
        .lines()
        .find_map(|line| line.strip_prefix("Password (shown once): "))
        .expect("a password");
    assert!(
        password.len() >= 26 && out.contains("Created user root with the role admin."),
        "{out}"
    );
    let root = Session::of(server.try_sign_in("root", password).await.is(200, ""));
    server
        .with_token(Method::GET, "/users", &root.access_token, Value::Null)
        .await
        .is(200, "");
}

#[tokio::test]
async fn password_from_stdin_is_not_printed() {
    let server = TestServer::start().await;
    let create = [
        "create",
        "--email",
        "john@example.com",
        "--name",
        "John Doe",
        "--password-stdin",
    ];
    for (input, part) in [
        ("short\n", "at least 8"),
        ("", "must not be empty"),
        ("password\n", "most common"),
    ] {
        run_user_with_input(&server, &create, input)
            .await
            .expect_error(1, part);
    }
    let out = run_user_with_input(&server, &create, &format!("{PASSWORD}\n"))
        .await
        .well();
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(
        out.starts_with("Created user john@example.com with the role user.")
            && !out.contains(PASSWORD)
    );
    server
        .try_sign_in("john@example.com", PASSWORD)
        .await
        .is(200, "");
    run_user_with_input(&server, &create, PASSWORD)
        .await
        .expect_error(1, "the email address is in use or was in use recently");
}

#[tokio::test]
async fn invalid_arguments_exit_with_code_2() {
    let server = TestServer::start().await;
    let invalid_arguments: [&[&str]; 15] = [
        &[],
        &["nonsense"],
        &["create"],
        &["create", "--username", "a b"],
        &["create", "--username", "a", "--role", "root"],
        &["create", "--username", "a", "--password", "secret123"],
        &["show"],
        &["set-role", "john"],
        &["set-role", "john", "root"],
        &["list", "--limit", "0"],
        &["list", "--output", "yaml"],
        // With a password from the input, there is no code to print.
        &[
            "reset-password",
            "john",
            "--password-stdin",
            "--output",
            "json",
        ],
        // The flags of the server.
        &["--rate-limits", "off", "list"],
        // Former names.
        &["role", "john", "admin"],
        &["reset", "john"],
    ];
    for arguments in invalid_arguments {
        let output = run_user(&server, arguments).await;
        assert_eq!(output.code, Some(2), "{arguments:?}: {}", output.err);
    }
    assert_eq!(
        query_value(&server, "select count(*) from users").await,
        "0"
    );
}

#[tokio::test]
async fn invalid_settings_and_store_outage_are_reported() {
    let server = TestServer::start().await;
    let output = run_user_with_settings(Vec::new(), &["list"], "");
    assert!(
        output.err.contains("DATABASE_URL") && output.err.contains("LATCHKEY_SECRET"),
        "{}",
        output.err
    );
    output.expect_error(2, "error: invalid configuration\n  DATABASE_URL: required");
    let changed_settings = |name: &str, value: &str| server.settings_with(&[(name, value)]);
    run_user_with_settings(
        changed_settings("LATCHKEY_ISSUER", "https://other.example.com"),
        &["list"],
        "",
    )
    .expect_error(2, "LATCHKEY_ISSUER");
    run_user_with_settings(
        changed_settings(
            "LATCHKEY_SECRET",
            "tKzMlbZ5Jm0dBCq2WcPzqDVYxJYkzQb1rA8m3vHn0sE=",
        ),
        &["list"],
        "",
    )
    .expect_error(2, "LATCHKEY_SECRET");
    run_user_with_settings(
        changed_settings("DATABASE_URL", "postgres://unknown@127.0.0.1:1/none"),
        &["list"],
        "",
    )
    .expect_error(3, "store unavailable: ");
}

#[tokio::test]
async fn users_are_listed_searched_and_shown() {
    let server = TestServer::start().await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    server.sign_up("johnny").await;
    server.sign_up("mary").await;
    let list_usernames = async |arguments: &[&str]| {
        let out = run_user_ok(&server, arguments).await;
        let usernames = out
            .lines()
            .map(|line| line.split_whitespace().nth(1).expect("a name").to_owned());
        usernames.collect::<Vec<_>>()
    };
    assert_eq!(
        list_usernames(&["list"]).await,
        ["USERNAME", "john", "johnny", "mary"]
    );
    assert_eq!(
        list_usernames(&["list", "--search", "JOHN"]).await,
        ["USERNAME", "john", "johnny"]
    );
    let limited = run_user(&server, &["list", "--limit", "2"]).await;
    assert!(
        limited.code == Some(0)
            && limited.out.lines().count() == 3
            && limited.err.contains("hint: more users match"),
        "{}",
        limited.err
    );
    let details = run_user_ok(&server, &["show", "John@example.com"]).await;
    for part in [
        "username  john\n",
        "email     john@example.com (not verified)\n",
        "role      user\n",
        "status    enabled\n",
    ] {
        assert!(details.contains(part), "{part}: {details}");
    }
    assert!(details.contains(&session.claim("sid")), "{details}");
    server.sign_out(&session.access_token).await.is(204, "");
    assert!(
        run_user_ok(&server, &["show", "john"])
            .await
            .contains("No sessions.")
    );
    run_user(&server, &["show", "unknown"])
        .await
        .expect_error(1, "user not found");
}

/// The list exceeds the page size of the server.
#[tokio::test]
async fn long_list_is_printed_completely() {
    let server = TestServer::start().await;
    let insert_users = "insert into users (id, username, password_hash) \
                select gen_random_uuid(), 'u' || n, 'x' from generate_series(1, 250) n";
    crate::test_stores::execute(&server, insert_users).await;
    assert_eq!(
        run_user_ok(&server, &["list", "--limit", "1000"])
            .await
            .lines()
            .count(),
        251
    );
    assert_eq!(
        run_user_ok(&server, &["list", "--limit", "250"])
            .await
            .lines()
            .count(),
        251
    );
    let limited = run_user(&server, &["list", "--limit", "201"]).await;
    assert_eq!(
        (limited.out.lines().count(), limited.err.is_empty()),
        (202, false)
    );
}

#[tokio::test]
async fn revoking_commands_take_effect_immediately() {
    let server = TestServer::start().await;
    server.sign_up_with_email("john", "john@example.com").await;
    run_user_ok(
        &server,
        &["create", "--username", "root", "--role", "admin"],
    )
    .await;
    for (arguments, signs_in) in [
        (&["revoke", "john", "--yes"][..], true),
        (&["set-role", "john", "admin", "--yes"], true),
        (&["disable", "john@example.com", "--yes"], false),
    ] {
        let session = server.sign_in("john").await;
        run_user_ok(&server, arguments).await;
        assert_eq!(
            server.verify(&session.access_token).await,
            (401, "token_revoked".into()),
            "{arguments:?}"
        );
        server
            .refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
        assert_eq!(
            server.try_sign_in("john", PASSWORD).await.status == 200,
            signs_in,
            "{arguments:?}"
        );
    }
    assert!(
        run_user_ok(&server, &["show", "john"])
            .await
            .contains("status    disabled")
    );
    assert!(
        run_user_ok(&server, &["enable", "john"])
            .await
            .contains("Enabled john.")
    );
    let admin = server.sign_in("john").await;
    server
        .with_token(Method::GET, "/users", &admin.access_token, Value::Null)
        .await
        .is(200, "");
    run_user_ok(&server, &["set-role", "root", "user", "--yes"]).await;
    assert_eq!(
        run_user_ok(&server, &["set-role", "root", "user", "--yes"]).await,
        "root already has the role user.\n"
    );
    for arguments in [
        &["set-role", "john", "user", "--yes"][..],
        &["disable", "john", "--yes"],
        &["delete", "john", "--yes"],
    ] {
        run_user(&server, arguments)
            .await
            .expect_error(1, "at least one enabled administrator must remain");
    }
    assert_eq!(server.verify(&admin.access_token).await.0, 204);
}

#[tokio::test]
async fn commands_that_revoke_require_confirmation() {
    let server = TestServer::start().await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    for (arguments, action) in [
        (&["delete", "john"][..], "delete"),
        (&["disable", "john"], "disable the user"),
        (&["revoke", "john"], "revoke"),
        (&["set-role", "john", "admin"], "change the role"),
        (
            &["reset-password", "john", "--password-stdin"],
            "set the password",
        ),
    ] {
        let hint = format!("hint: pass --yes to {action} without confirmation\n");
        run_user_with_input(&server, arguments, "y\n")
            .await
            .expect_error(2, &format!("stdin is not a terminal\n{hint}"));
    }
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    assert_eq!(
        run_user_ok(&server, &["delete", "john@example.com", "--yes"]).await,
        "Deleted john.\n"
    );
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
    run_user(&server, &["delete", "john", "--yes"])
        .await
        .expect_error(1, "user not found");
}

/// Every command finds a user by each name.
#[tokio::test]
async fn users_are_addressed_by_id_username_or_email() {
    let server = TestServer::start().await;
    let session = server.sign_up_with_email("john", "john@example.com").await;
    let id = session.claim("sub");
    for user in [&id, &id.to_uppercase(), "john", "JOHN@example.com"] {
        for arguments in [
            &["show", user][..],
            &["reset-password", user],
            &["revoke", user, "--yes"],
            &["disable", user, "--yes"],
            &["enable", user],
            &["set-role", user, "user", "--yes"],
        ] {
            run_user_ok(&server, arguments).await;
        }
    }
    // An older version allowed the ID of another user as username.
    server.sign_up("mary").await;
    let rename = format!("update users set username = '{id}' where username = 'mary'");
    execute(&server, &rename).await;
    let details = run_user_ok(&server, &["show", &id]).await;
    assert!(details.contains("username  john\n"), "{details}");
    run_user_ok(&server, &["delete", &id, "--yes"]).await;
    run_user(&server, &["show", &id])
        .await
        .expect_error(1, "user not found");
    let users = run_user_ok(&server, &["list", "--search", &id]).await;
    assert_eq!(users.lines().count(), 2, "{users}");
}

#[tokio::test]
async fn printed_reset_code_works_once_and_verifies_no_email() {
    let server = TestServer::start().await;
    let old_session = server.sign_up_with_email("john", "john@example.com").await;
    let create_code = async || {
        let out = run_user_ok(&server, &["reset-password", "john"]).await;
        out.lines()
            .find_map(|line| line.strip_prefix("Password reset code: "))
            .expect("a code")
            .to_owned()
    };
    let reset = async |code: &str, password: &str| {
        server
            .reset_password("john@example.com", code, password)
            .await
    };
    let (older, newer) = (create_code().await, create_code().await);
    reset(&older, NEW_PASSWORD).await.is(400, "invalid_code");
    reset(&newer, NEW_PASSWORD).await.is(204, "");
    reset(&newer, "another one 77")
        .await
        .is(400, "invalid_code");
    assert_eq!(
        server.verify(&old_session.access_token).await,
        (401, "token_revoked".into())
    );
    let session = Session::of(server.try_sign_in("john", NEW_PASSWORD).await.is(200, ""));
    assert_eq!(
        session.claims()["email_verified"],
        false,
        "no email proved access to the mailbox"
    );
    // A password change voids the code.
    let code = create_code().await;
    let change = json!({"current_password": NEW_PASSWORD, "new_password": PASSWORD});
    server
        .with_token(
            Method::POST,
            "/user/password",
            &session.access_token,
            change,
        )
        .await
        .is(204, "");
    reset(&code, NEW_PASSWORD).await.is(400, "invalid_code");
}

#[tokio::test]
async fn reset_error_names_the_alternative() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    run_user(&server, &["reset-password", "john"])
        .await
        .expect_error(1, "--password-stdin");
    run_user_with_input(
        &server,
        &["reset-password", "john", "--password-stdin", "--yes"],
        "short\n",
    )
    .await
    .expect_error(1, "at least 8");
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    run_user_with_input(
        &server,
        &["reset-password", "john", "--password-stdin", "--yes"],
        &format!("{NEW_PASSWORD}\r\n"),
    )
    .await
    .well();
    assert_eq!(
        server.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
    server.sign_up_with_email("mary", "mary@example.com").await;
    run_user_ok(&server, &["disable", "mary", "--yes"]).await;
    run_user(&server, &["reset-password", "mary"])
        .await
        .expect_error(1, "enable");
}

#[tokio::test]
async fn unpublished_revocation_is_reported() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let proxy = Proxy::to_redis().await;
    proxy.set(crate::proxy::ConnectionState::Cut);
    let settings = server.settings_with(&[("REDIS_URL", &proxy.redis_url())]);
    let output = tokio::task::spawn_blocking(move || {
        run_user_with_settings(settings, &["revoke", "john", "--yes"], "")
    })
    .await
    .expect("the task runs");
    // The change is committed, and Redis is unavailable.
    assert_eq!(output.code, Some(3));
    assert!(
        output.err.contains("error: The change is saved")
            && !output.err.contains("store unavailable"),
        "{}",
        output.err
    );
    crate::test_server::wait_until("a server has published the revocation", || async {
        server.verify(&session.access_token).await.0 == 401
    })
    .await;
}

#[tokio::test]
async fn operator_creates_rotates_and_deletes_clients() {
    let server = TestServer::start().await;
    let client_command =
        async |arguments: &[&str]| command(&server, &[&["client"], arguments].concat()).await;
    let list_clients = async || {
        let table = client_command(&["list"]).await.well();
        let mut lines = table.lines().map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        assert_eq!(
            lines.next().expect("a header line").join(" "),
            "CLIENT ID SCOPE AUDIENCE SECRET CREATED NAME"
        );
        lines.collect::<Vec<_>>()
    };
    assert!(list_clients().await.is_empty());
    let created = client_command(&[
        "create",
        "billing",
        "--scope",
        "items:read revocations:read",
    ])
    .await
    .well();
    let field = |text: &str, name: &str| {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .expect("the field is printed");
        line.trim().to_owned()
    };
    let (id, secret) = (
        field(&created, "client_id:"),
        field(&created, "client_secret (shown once):"),
    );
    let token = async |secret: &str| {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id.as_str()),
            ("client_secret", secret),
        ];
        server.form("/oauth/token", &form).await
    };
    let first = token(&secret).await.is(200, "").text("access_token");
    assert_eq!(
        server
            .verify_at("/auth/verify?scope=items:read", &first)
            .await
            .0,
        204
    );
    let clients = &list_clients().await[..];
    let [words] = clients else {
        panic!("one client: {clients:?}")
    };
    assert_eq!(
        words[..4],
        [
            id.as_str(),
            "items:read",
            "revocations:read",
            "https://auth.example.com"
        ]
    );
    assert_eq!(words[words.len() - 1], "billing");
    let shown = client_command(&["show", &id]).await.well();
    assert!(
        shown.starts_with(&format!("client_id       {id}\nname            billing\n")),
        "{shown}"
    );
    assert!(!shown.contains(&secret), "{shown}");
    let renamed = client_command(&["update", &id, "--name", "invoices"]).await;
    assert!(renamed.well().contains("name            invoices\n"));
    let narrowing = ["update", &id, "--scope", "items:read", "--yes"];
    client_command(&narrowing[..4])
        .await
        .expect_error(2, "--yes");
    client_command(&["update", &id])
        .await
        .expect_error(2, "--name");
    client_command(&narrowing).await.well();
    assert_eq!(
        server.verify(&first).await,
        (401, "token_revoked".into()),
        "revoked immediately"
    );
    let first = token(&secret).await.is(200, "").text("access_token");
    client_command(&["rotate-secret", &id])
        .await
        .expect_error(2, "--yes");
    assert_eq!(token(&secret).await.status, 200);
    let rotated = client_command(&["rotate-secret", &id, "--yes"])
        .await
        .well();
    assert_eq!(
        server
            .verify_at("/auth/verify?scope=items:read", &first)
            .await,
        (401, "token_revoked".into()),
        "revoked immediately"
    );
    token(&secret).await.is(401, "");
    let secret = field(&rotated, "client_secret (shown once):");
    let second = token(&secret).await.is(200, "").text("access_token");
    client_command(&["delete", &id])
        .await
        .expect_error(2, "--yes");
    assert_eq!(
        client_command(&["delete", &id, "--yes"]).await.well(),
        format!("Deleted {id} and revoked its tokens.\n")
    );
    assert_eq!(
        client_command(&["delete", &id, "--yes"]).await.well(),
        format!("{id} is already deleted.\n")
    );
    assert_eq!(
        server
            .verify_at("/auth/verify?scope=items:read", &second)
            .await,
        (401, "token_revoked".into()),
        "revoked immediately"
    );
    token(&secret).await.is(401, "");
    client_command(&["rotate-secret", &id, "--yes"])
        .await
        .expect_error(1, "client not found");
    client_command(&["show", &id])
        .await
        .expect_error(1, "client not found");
    client_command(&["delete", "1", "--yes"])
        .await
        .expect_error(2, "not a client ID (UUID)");
    client_command(&["create", "x", "--scope", "items:delete"])
        .await
        .expect_error(2, "items:read");
    let events = "select string_agg(event || ' ' || actor, ', ' order by id) from audit_events \
        where event like '%client%' and actor = 'operator'";
    assert_eq!(
        query_value(&server, events).await,
        "oauth_client_created operator, oauth_client_updated operator, \
         oauth_client_updated operator, client_secret_rotated operator, oauth_client_deleted operator"
    );
}
