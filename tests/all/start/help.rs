//! The help of all commands, and the text of all configuration errors.

use super::{latchkey, stderr, stdout, valid_with};

/// Returns the paths of all commands, read from the rendered help.
fn list_commands() -> Vec<Vec<String>> {
    let mut found = vec![Vec::new()];
    let mut index = 0;
    while index < found.len() {
        let path: Vec<String> = found[index].clone();
        let help = read_help(&path, "--help");
        let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
        let names = list
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next())
            .filter(|name| *name != "help");
        for name in names {
            found.push([path.clone(), vec![name.to_owned()]].concat());
        }
        index += 1;
    }
    found
}

/// Returns the help of a command, which requires no settings.
fn read_help(path: &[String], flag: &str) -> String {
    let arguments: Vec<&str> = path.iter().map(String::as_str).chain([flag]).collect();
    let output = latchkey(&arguments, &[]);
    assert!(output.status.success(), "{path:?}: {}", stderr(&output));
    stdout(&output)
}

#[test]
fn every_command_has_short_and_long_help() {
    let commands = list_commands();
    let names: Vec<String> = commands.iter().map(|path| path.join(" ")).collect();
    for name in [
        "",
        "serve",
        "user set-role",
        "user reset-password",
        "client show",
        "client rotate-secret",
        "keys revoke",
        "revocations rebuild",
        "explain",
        "openapi",
        "health",
        "version",
        "completions",
        "man",
    ] {
        assert!(names.iter().any(|one| one == name), "{name:?}: {names:?}");
    }
    for path in &commands {
        let (short, long) = (read_help(path, "-h"), read_help(path, "--help"));
        assert!(short.len() < long.len(), "{path:?}");
        for part in [
            "Usage: latchkey",
            "Examples:\n  latchkey ",
            "Exit codes:\n  0  ",
            "Docs: README.md",
        ] {
            assert!(long.contains(part), "{path:?} lacks {part}: {long}");
        }
        assert!(!short.contains("Exit codes:"), "{path:?}: {short}");
        // The flags are part of the long help of `serve` only.
        let has_flags = path[..] == ["serve"];
        assert_eq!(long.contains("--access-lifetime"), has_flags, "{path:?}");
        assert!(!short.contains("--access-lifetime"), "{path:?}");
        let administers = matches!(
            path.first().map(String::as_str),
            Some("user" | "client" | "keys" | "revocations" | "explain")
        );
        assert!(
            !administers || long.contains("See `latchkey help settings`"),
            "{path:?}: {long}"
        );
    }
}

/// Each command that lists or shows can print JSON, and `--help` describes it.
#[test]
fn listing_commands_describe_their_json() {
    for path in [
        "config",
        "check",
        "health",
        "version",
        "explain",
        "user list",
        "user show",
        "user create",
        "user reset-password",
        "group list",
        "group create",
        "client list",
        "client show",
        "client create",
        "client rotate-secret",
        "keys list",
        "keys rotate",
    ] {
        let path: Vec<String> = path.split(' ').map(str::to_owned).collect();
        let help = read_help(&path, "--help");
        assert!(help.contains("--output <FORMAT>"), "{path:?}: {help}");
        assert!(help.contains("The JSON is "), "{path:?}: {help}");
    }
}

/// Only the commands that run, migrate, or examine the configuration of a server have its flags.
#[test]
fn admin_commands_reject_flags_of_the_server() {
    for command in [
        "check", "client", "explain", "health", "keys", "user", "version",
    ] {
        let output = latchkey(&[command, "--listen", "127.0.0.1:0"], &valid_with(&[]));
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{command}: {errors}");
        assert!(errors.contains("'--listen'"), "{command}: {errors}");
    }
    for command in ["config", "migrate", "serve"] {
        let output = latchkey(&[command, "--listen", "nonsense"], &valid_with(&[]));
        assert!(!stderr(&output).contains("'--listen'"), "{command}");
    }
}

#[test]
fn help_topic_settings_is_also_a_command() {
    let topic = latchkey(&["help", "settings"], &[]);
    let command = latchkey(&["settings"], &[]);
    assert!(topic.status.success() && command.status.success());
    assert_eq!(stdout(&topic).trim(), stdout(&command).trim());
    let text = stdout(&topic);
    for part in [
        "\nRequired:\n  DATABASE_URL *\n      URL of PostgreSQL",
        "\n  LATCHKEY_LISTEN=127.0.0.1:8000\n",
        "\nRate limits:\n",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

/// An invalid value of each kind, and its error.
const ERRORS: &[(&str, &str, &str)] = &[
    (
        "DATABASE_URL",
        "mysql://db.example",
        "must be a URL, for example `postgres://USER:PASSWORD@HOST/DATABASE`",
    ),
    (
        "REDIS_URL",
        "http://redis.example",
        "must be a URL, for example `redis://USER:PASSWORD@HOST`",
    ),
    (
        "LATCHKEY_SECRET",
        "change-me",
        "looks like a placeholder; generate one with `openssl rand -base64 32`",
    ),
    (
        "LATCHKEY_SECRET",
        "c2hvcnQ=",
        "must have at least 32 random bytes; generate one with `openssl rand -base64 32`",
    ),
    (
        "LATCHKEY_ISSUER",
        "nowhere",
        "must be a URL without user information, query, and fragment, for example \
         `https://auth.example.com`",
    ),
    (
        "LATCHKEY_ISSUER",
        "https://auth.example.com/a/../b",
        "must not contain a path segment `.` or `..`, because clients remove it",
    ),
    (
        "LATCHKEY_ISSUER",
        "http://auth.example.com",
        "must be an `https://` URL (the proxy terminates TLS). To run without TLS, set \
         LATCHKEY_INSECURE_HTTP=yes.",
    ),
    (
        "LATCHKEY_SMTP_URL",
        "http://mail.example",
        "must start with `smtp://`, `smtps://`, or `file:/`, or be `off`",
    ),
    (
        "LATCHKEY_SMTP_URL",
        "file:relative",
        "must be a `file:` URL with an absolute path, for example `file:/srv/email`",
    ),
    (
        "LATCHKEY_SMTP_URL",
        "file:/absolute",
        "must be an SMTP server or `off`. `file:` requires a loopback LATCHKEY_ISSUER, because it \
         is for development only.",
    ),
    (
        "LATCHKEY_LISTEN",
        "localhost",
        "must be an IP address and a port, for example `127.0.0.1:8000`",
    ),
    ("LATCHKEY_INSECURE_HTTP", "perhaps", "must be `yes` or `no`"),
    ("LATCHKEY_RATE_LIMITS", "perhaps", "must be `on` or `off`"),
    (
        "LATCHKEY_TRUSTED_PROXIES",
        "proxy",
        "must be comma-separated IP addresses or CIDR ranges, for example `10.0.0.5`",
    ),
    (
        "LATCHKEY_CORS_ORIGINS",
        "*",
        "must be comma-separated origins, for example `https://app.example.com`",
    ),
    (
        "LATCHKEY_SIGNUP",
        "closed",
        "must be `open`, `verify`, or `admin`",
    ),
    ("LATCHKEY_PASSWORD_MIN", "7", "must be at least 8"),
    (
        "LATCHKEY_EMAIL_FROM",
        "no-one",
        "must be a sender, for example `Latchkey <no-reply@example.com>`",
    ),
    (
        "LATCHKEY_ACCESS_LIFETIME",
        "soon",
        "must be a duration, for example `500ms`, `10s`, `15m`, `12h`, or `7d`",
    ),
    ("LATCHKEY_ACCESS_LIFETIME", "2h", "must be at most 1h"),
    ("LATCHKEY_LEASE", "19ms", "must be at least 20ms"),
    (
        "LATCHKEY_SESSION_IDLE_TIMEOUT",
        "31d",
        "must be at most LATCHKEY_SESSION_MAX_LIFETIME",
    ),
    (
        "LATCHKEY_COOKIE_DOMAIN",
        "com",
        "must be a domain, for example `example.com`",
    ),
    (
        "LATCHKEY_COOKIE_DOMAIN",
        "other.example.org",
        "must be the host of LATCHKEY_ISSUER or a parent domain of it, otherwise browsers reject \
         the cookie",
    ),
    (
        "LATCHKEY_LIMIT_SIGN_IN",
        "many",
        "must be a number and a period from `1s` to `1d`, for example `5/1m` for five per minute",
    ),
    ("LATCHKEY_BODY_LIMIT", "much", "must be a whole number"),
    (
        "LATCHKEY_SECURITY_CONTACT",
        "security@example.com",
        "must be a `mailto:`, `https://`, or `tel:+` URI, for example \
         `mailto:security@example.com`",
    ),
    (
        "LATCHKEY_LOG",
        "latchkey=loud",
        "must be a level (`error`, `warn`, `info`, `debug`, `trace`, or `off`), or a filter such as \
         `warn,audit=info`",
    ),
    (
        "LATCHKEY_LOG",
        "verbose",
        "must be a level (`error`, `warn`, `info`, `debug`, `trace`, or `off`), or a filter such as \
         `warn,audit=info`",
    ),
    (
        "LATCHKEY_MAIL_FROM",
        "Latchkey <no-reply@example.com>",
        "unknown setting; did you mean LATCHKEY_EMAIL_FROM?",
    ),
    (
        "LATCHKEY_FAVORITE_COLOR",
        "red",
        "unknown setting; remove it",
    ),
];

#[test]
fn every_configuration_error_states_the_fix() {
    for (variable, value, error) in ERRORS {
        let output = latchkey(&["config"], &valid_with(&[(variable, value)]));
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{variable}={value}: {text}");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            [
                "error: invalid configuration",
                &format!("  {variable}: {error}")
            ],
            "{variable}={value}"
        );
        assert!(
            lines.len() == 3 && lines[2].starts_with("hint: `latchkey help settings`"),
            "{text}"
        );
    }
}
