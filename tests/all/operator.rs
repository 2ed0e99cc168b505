//! `latchkey user …` and `latchkey client …` beside a server: output, changes, and errors.

mod terminal; // prompts

use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    program,
    proxy::Proxy,
    test_server::{PASSWORD, Session, TestServer},
    test_stores::ask,
};

const NEW: &str = "correct horse 9";

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

    /// An error on standard error, and how to fix it.
    #[track_caller]
    pub fn refused(self, code: i32, part: &str) {
        assert_eq!(
            (self.code, self.out.as_str()),
            (Some(code), ""),
            "{}",
            self.err
        );
        // Warnings of the log can come first.
        let is_error = self.err.lines().any(|line| line.starts_with("error: "));
        assert!(is_error && self.err.contains(part), "{}", self.err);
    }
}

/// A command of the program, with the settings of this gateway.
pub async fn command(server: &TestServer, arguments: &[&str]) -> CommandOutput {
    let (settings, arguments) = (
        server.settings(),
        arguments
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>(),
    );
    let story = move || {
        run_program(
            settings,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            "",
        )
    };
    tokio::task::spawn_blocking(story).await.expect("it ends")
}

fn run(settings: Vec<(String, String)>, arguments: &[&str], input: &str) -> CommandOutput {
    run_program(settings, &[&["user"], arguments].concat(), input)
}

fn run_program(settings: Vec<(String, String)>, arguments: &[&str], input: &str) -> CommandOutput {
    CommandOutput::of(program::run(arguments, settings, input))
}

/// With the settings of this gateway, and with this on standard input.
async fn user_with(server: &TestServer, arguments: &[&str], input: &str) -> CommandOutput {
    let (settings, input) = (server.settings(), input.to_owned());
    let arguments: Vec<String> = arguments
        .iter()
        .map(|&argument| argument.to_owned())
        .collect();
    let story = move || {
        run(
            settings,
            &arguments.iter().map(String::as_str).collect::<Vec<_>>(),
            &input,
        )
    };
    tokio::task::spawn_blocking(story).await.expect("it runs")
}

async fn user(server: &TestServer, arguments: &[&str]) -> CommandOutput {
    user_with(server, arguments, "").await
}

async fn told(server: &TestServer, arguments: &[&str]) -> String {
    user(server, arguments).await.well()
}

/// Runs a command that must succeed, with this on standard input; what it printed.
pub async fn told_with(server: &TestServer, arguments: &[&str], input: &str) -> String {
    user_with(server, arguments, input).await.well()
}

#[tokio::test]
async fn the_first_administrator_comes_from_here() {
    let server = TestServer::with(&[("LATCHKEY_SIGNUP", "admin")]).await;
    let out = told(
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
    let root = Session::of(server.log_in("root", password).await.is(200, ""));
    server
        .with_token(Method::GET, "/users", &root.access_token, Value::Null)
        .await
        .is(200, "");
}

#[tokio::test]
async fn a_password_from_standard_input_is_not_printed() {
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
        user_with(&server, &create, input).await.refused(1, part);
    }
    let out = user_with(&server, &create, &format!("{PASSWORD}\n"))
        .await
        .well();
    assert_eq!(out.lines().count(), 1, "{out}");
    assert!(
        out.starts_with("Created user john@example.com with the role user.")
            && !out.contains(PASSWORD)
    );
    server
        .log_in("john@example.com", PASSWORD)
        .await
        .is(200, "");
    user_with(&server, &create, PASSWORD)
        .await
        .refused(1, "the email address is already in use");
}

#[tokio::test]
async fn what_is_typed_wrong_is_told_with_the_usage() {
    let server = TestServer::start().await;
    let wrong: [&[&str]; 12] = [
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
        // Former names.
        &["role", "john", "admin"],
        &["reset", "john"],
    ];
    for arguments in wrong {
        let told = user(&server, arguments).await;
        assert_eq!(told.code, Some(2), "{arguments:?}: {}", told.err);
    }
    assert_eq!(ask(&server, "select count(*) from users").await, "0");
}

#[tokio::test]
async fn wrong_settings_are_told_and_a_store_that_is_down_as_well() {
    let server = TestServer::start().await;
    let told = run(Vec::new(), &["list"], "");
    assert!(
        told.err.contains("DATABASE_URL") && told.err.contains("LATCHKEY_SECRET"),
        "{}",
        told.err
    );
    told.refused(2, "error: invalid configuration\n  DATABASE_URL: required");
    let but = |name: &str, value: &str| server.settings_with(&[(name, value)]);
    run(
        but("LATCHKEY_ISSUER", "https://other.example.com"),
        &["list"],
        "",
    )
    .refused(2, "LATCHKEY_ISSUER");
    run(
        but(
            "LATCHKEY_SECRET",
            "tKzMlbZ5Jm0dBCq2WcPzqDVYxJYkzQb1rA8m3vHn0sE=",
        ),
        &["list"],
        "",
    )
    .refused(2, "LATCHKEY_SECRET");
    run(
        but("DATABASE_URL", "postgres://nobody@127.0.0.1:1/none"),
        &["list"],
        "",
    )
    .refused(3, "store unavailable: ");
}

#[tokio::test]
async fn accounts_are_listed_and_shown() {
    let server = TestServer::start().await;
    let john = server.sign_up_with_email("john", "john@example.com").await;
    server.sign_up("johnny").await;
    server.sign_up("mary").await;
    let lines = async |arguments: &[&str]| {
        let out = told(&server, arguments).await;
        let names = out
            .lines()
            .map(|line| line.split_whitespace().nth(1).expect("a name").to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(
        lines(&["list"]).await,
        ["USERNAME", "john", "johnny", "mary"]
    );
    assert_eq!(
        lines(&["list", "--search", "JOHN"]).await,
        ["USERNAME", "john", "johnny"]
    );
    let some = user(&server, &["list", "--limit", "2"]).await;
    assert!(
        some.code == Some(0)
            && some.out.lines().count() == 3
            && some.err.contains("hint: more users match"),
        "{}",
        some.err
    );
    let shown = told(&server, &["show", "John@example.com"]).await;
    for part in [
        "username  john\n",
        "email     john@example.com (not verified)\n",
        "role      user\n",
        "status    enabled\n",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(shown.contains(&john.claim("sid")), "{shown}");
    server.log_out(&john.access_token).await.is(204, "");
    assert!(
        told(&server, &["show", "john"])
            .await
            .contains("No sessions.")
    );
    user(&server, &["show", "nobody"])
        .await
        .refused(1, "user not found");
}

/// More than one page of the gateway's.
#[tokio::test]
async fn a_long_list_is_printed_whole() {
    let server = TestServer::start().await;
    let many = "insert into users (id, username, password_hash) \
                select gen_random_uuid(), 'u' || n, 'x' from generate_series(1, 250) n";
    crate::test_stores::execute(&server, many).await;
    assert_eq!(
        told(&server, &["list", "--limit", "1000"])
            .await
            .lines()
            .count(),
        251
    );
    assert_eq!(
        told(&server, &["list", "--limit", "250"])
            .await
            .lines()
            .count(),
        251
    );
    let some = user(&server, &["list", "--limit", "201"]).await;
    assert_eq!(
        (some.out.lines().count(), some.err.is_empty()),
        (202, false)
    );
}

#[tokio::test]
async fn what_it_takes_back_is_refused_at_once() {
    let server = TestServer::start().await;
    server.sign_up_with_email("john", "john@example.com").await;
    told(
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
        told(&server, arguments).await;
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
            server.log_in("john", PASSWORD).await.status == 200,
            signs_in,
            "{arguments:?}"
        );
    }
    assert!(
        told(&server, &["show", "john"])
            .await
            .contains("status    disabled")
    );
    assert!(
        told(&server, &["enable", "john"])
            .await
            .contains("Enabled john.")
    );
    let admin = server.sign_in("john").await;
    server
        .with_token(Method::GET, "/users", &admin.access_token, Value::Null)
        .await
        .is(200, "");
    told(&server, &["set-role", "root", "user", "--yes"]).await;
    assert_eq!(
        told(&server, &["set-role", "root", "user", "--yes"]).await,
        "root already has the role user.\n"
    );
    for arguments in [
        &["set-role", "john", "user", "--yes"][..],
        &["disable", "john", "--yes"],
        &["delete", "john", "--yes"],
    ] {
        user(&server, arguments)
            .await
            .refused(1, "at least one enabled administrator must remain");
    }
    assert_eq!(server.verify(&admin.access_token).await.0, 204);
}

#[tokio::test]
async fn commands_that_revoke_require_confirmation() {
    let server = TestServer::start().await;
    let john = server.sign_up_with_email("john", "john@example.com").await;
    for (arguments, action) in [
        (&["delete", "john"][..], "delete"),
        (&["disable", "john"], "disable the user"),
        (&["revoke", "john"], "revoke"),
        (&["set-role", "john", "admin"], "change the role"),
    ] {
        let hint = format!("hint: pass --yes to {action} without confirmation\n");
        user_with(&server, arguments, "y\n")
            .await
            .refused(2, &format!("stdin is not a terminal\n{hint}"));
    }
    assert_eq!(server.verify(&john.access_token).await.0, 204);
    assert_eq!(
        told(&server, &["delete", "john@example.com", "--yes"]).await,
        "Deleted john.\n"
    );
    assert_eq!(
        server.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
    user(&server, &["delete", "john", "--yes"])
        .await
        .refused(1, "user not found");
}

#[tokio::test]
async fn a_code_that_is_handed_over_works_once_where_mail_is_off_and_proves_no_address() {
    let server = TestServer::start().await;
    let john = server.sign_up_with_email("john", "john@example.com").await;
    let code = async || {
        let out = told(&server, &["reset-password", "john"]).await;
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
    let (older, newer) = (code().await, code().await);
    reset(&older, NEW).await.is(400, "invalid_code");
    reset(&newer, NEW).await.is(204, "");
    reset(&newer, "another one 77")
        .await
        .is(400, "invalid_code");
    assert_eq!(
        server.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
    let session = Session::of(server.log_in("john", NEW).await.is(200, ""));
    assert_eq!(
        session.claims()["email_verified"],
        false,
        "nobody has read a mail"
    );
    // A change of password voids it like any other.
    let code = code().await;
    let change = json!({"current_password": NEW, "new_password": PASSWORD});
    server
        .with_token(
            Method::POST,
            "/user/password",
            &session.access_token,
            change,
        )
        .await
        .is(204, "");
    reset(&code, NEW).await.is(400, "invalid_code");
}

#[tokio::test]
async fn who_has_no_address_or_is_disabled_is_told_what_helps() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    user(&server, &["reset-password", "john"])
        .await
        .refused(1, "--password-stdin");
    user_with(
        &server,
        &["reset-password", "john", "--password-stdin"],
        "short\n",
    )
    .await
    .refused(1, "at least 8");
    assert_eq!(server.verify(&john.access_token).await.0, 204);
    user_with(
        &server,
        &["reset-password", "john", "--password-stdin"],
        &format!("{NEW}\r\n"),
    )
    .await
    .well();
    assert_eq!(
        server.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
    server.log_in("john", NEW).await.is(200, "");
    server.sign_up_with_email("mary", "mary@example.com").await;
    told(&server, &["disable", "mary", "--yes"]).await;
    user(&server, &["reset-password", "mary"])
        .await
        .refused(1, "enable");
}

#[tokio::test]
async fn what_could_not_be_published_says_so() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let proxy = Proxy::to_redis().await;
    proxy.set(crate::proxy::Line::Cut);
    let settings = server.settings_with(&[("REDIS_URL", &proxy.redis_url())]);
    let cut = tokio::task::spawn_blocking(move || run(settings, &["revoke", "john", "--yes"], ""))
        .await
        .expect("it runs");
    // The change is committed, and Redis is unavailable.
    assert_eq!(cut.code, Some(3));
    assert!(
        cut.err.contains("error: The change is saved") && !cut.err.contains("store unavailable"),
        "{}",
        cut.err
    );
    crate::test_server::until("a server has published it", || async {
        server.verify(&john.access_token).await.0 == 401
    })
    .await;
}

#[tokio::test]
async fn clients_are_registered_rotated_and_deleted_at_the_machine() {
    let server = TestServer::start().await;
    let told =
        async |arguments: &[&str]| command(&server, &[&["client"], arguments].concat()).await;
    let listed = async || {
        let table = told(&["list"]).await.well();
        let mut lines = table.lines().map(|line| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        });
        assert_eq!(
            lines.next().expect("a head").join(" "),
            "CLIENT ID SCOPE AUDIENCE SECRET CREATED NAME"
        );
        lines.collect::<Vec<_>>()
    };
    assert!(listed().await.is_empty());
    let made = told(&[
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
            .expect("it is told");
        line.trim().to_owned()
    };
    let (id, secret) = (
        field(&made, "client_id:"),
        field(&made, "client_secret (shown once):"),
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
    let one = &listed().await[..];
    let [words] = one else {
        panic!("one client: {one:?}")
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
    told(&["rotate-secret", &id]).await.refused(2, "--yes");
    assert_eq!(token(&secret).await.status, 200);
    let rotated = told(&["rotate-secret", &id, "--yes"]).await.well();
    assert_eq!(
        server
            .verify_at("/auth/verify?scope=items:read", &first)
            .await,
        (401, "token_revoked".into()),
        "at once"
    );
    token(&secret).await.is(401, "");
    let secret = field(&rotated, "client_secret (shown once):");
    let second = token(&secret).await.is(200, "").text("access_token");
    told(&["delete", &id]).await.refused(2, "--yes");
    assert_eq!(
        told(&["delete", &id, "--yes"]).await.well(),
        format!("Deleted {id} and revoked its tokens.\n")
    );
    assert_eq!(
        told(&["delete", &id, "--yes"]).await.well(),
        format!("{id} is already deleted.\n")
    );
    assert_eq!(
        server
            .verify_at("/auth/verify?scope=items:read", &second)
            .await,
        (401, "token_revoked".into()),
        "at once"
    );
    token(&secret).await.is(401, "");
    told(&["rotate-secret", &id, "--yes"])
        .await
        .refused(1, "client not found");
    told(&["delete", "1", "--yes"])
        .await
        .refused(2, "not a client ID (UUID)");
    told(&["create", "x", "--scope", "items:delete"])
        .await
        .refused(2, "items:read");
    let events = "select string_agg(event || ' ' || actor, ', ' order by id) from audit_events \
        where event like '%client%' and actor = 'operator'";
    assert_eq!(
        ask(&server, events).await,
        "oauth_client_created operator, client_secret_rotated operator, \
         oauth_client_deleted operator"
    );
}
