//! Commands that describe the program or a running replica: `version`, `completions`, `man`,
//! `config`, and `health`. They require no store.

mod build_commit; // the commit that `release/cargo` adds to the binary
mod health; // the readiness of a running replica

use std::process::{Command, Output, Stdio};

use latchkey::config::SETTINGS;
use serde_json::{Value, json};

use crate::program;

/// Runs a command without settings.
fn latchkey(arguments: &[&str]) -> Output {
    program::run::<&str>(arguments, [], "")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// Runs a command without settings, asserts success, and returns standard output.
#[track_caller]
fn output_of(arguments: &[&str]) -> String {
    let output = latchkey(arguments);
    let errors = text(&output.stderr);
    assert_eq!((output.status.code(), errors.as_str()), (Some(0), ""));
    text(&output.stdout)
}

#[test]
fn version_contains_commit_and_build() {
    let version = output_of(&["version", "--output", "json"]);
    let version: Value = serde_json::from_str(&version).expect("JSON");
    // Cargo builds the program and the tests with the same environment.
    let commit = option_env!("SOURCE_COMMIT").filter(|commit| !commit.is_empty());
    let expected = json!({
        "version": latchkey::VERSION,
        "commit": commit,
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "features": [],
        "os": std::env::consts::OS,
        "arch": std::env::consts::ARCH,
    });
    assert_eq!(version, expected);
    let lines = output_of(&["version"]);
    let commit = commit.unwrap_or("unknown");
    for line in [
        format!("version   {}\n", latchkey::VERSION),
        format!("commit    {commit}\n"),
        "features  none\n".to_owned(),
    ] {
        assert!(lines.contains(&line), "{line}: {lines}");
    }
    let short = output_of(&["--version"]);
    assert_eq!(short, format!("latchkey {}\n", latchkey::VERSION));
}

#[test]
fn config_prints_settings_as_json_without_secrets() {
    let settings = [
        (
            "DATABASE_URL",
            "postgres://user:hunter2@db.example/latchkey",
        ),
        ("LATCHKEY_ISSUER", "https://auth.example.com"),
    ];
    let output = program::run(&["config", "--output", "json"], settings, "");
    // Required settings are missing.
    assert_eq!(output.status.code(), Some(2));
    let printed = text(&output.stdout);
    assert!(!printed.contains("hunter2"), "{printed}");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    let values = printed["settings"].as_object().expect("an object");
    let variables: Vec<&str> = values.keys().map(String::as_str).collect();
    let expected: Vec<&str> = SETTINGS.iter().map(|setting| setting.variable).collect();
    assert_eq!(variables, expected);
    for (variable, value) in [
        ("DATABASE_URL", json!("(set, not shown)")),
        ("REDIS_URL", Value::Null),
        ("LATCHKEY_ISSUER", json!("https://auth.example.com")),
        ("LATCHKEY_LISTEN", json!("127.0.0.1:8000")),
        ("LATCHKEY_AUDIENCE", Value::Null),
    ] {
        assert_eq!(values[variable], value, "{variable}");
    }
}

/// Runs bash with the completion script, and returns the words that it offers at the end of a line.
fn complete_in_bash(line: &[&str]) -> Vec<String> {
    let script = output_of(&["completions", "bash"]);
    let [.., previous, current] = line else {
        panic!("two words: {line:?}")
    };
    let program = format!(
        "{script}\nCOMP_WORDS=(\"$@\")\nCOMP_CWORD=$(($# - 1))\n\
         _latchkey latchkey '{current}' '{previous}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\""
    );
    let output = Command::new("bash")
        .args(["-c", &program, "bash"])
        .args(line)
        .output()
        .expect("bash runs");
    assert_eq!(text(&output.stderr), "");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    for (line, words) in [
        (&["latchkey", "comp"][..], &["completions"][..]),
        (
            &["latchkey", "user", "s"],
            &["show", "set-role", "sign-out"],
        ),
        (&["latchkey", "user", "show", "--o"], &["--output"]),
        (
            &["latchkey", "user", "show", "--output", ""],
            &["text", "json"],
        ),
        (&["latchkey", "serve", "--metr"], &["--metrics-listen"]),
        // Flags that `--help` omits.
        (&["latchkey", "--li"], &[]),
        (&["latchkey", "config", "--li"], &[]),
    ] {
        let mut offered = complete_in_bash(line);
        offered.retain(|word| !word.is_empty());
        assert_eq!(offered, words, "{line:?}");
    }
}

#[test]
fn each_shell_has_a_completion_script() {
    for (shell, start) in [
        ("bash", "_latchkey() {\n"),
        ("zsh", "#compdef latchkey\n"),
        ("fish", "# Print an optspec "),
    ] {
        let script = output_of(&["completions", shell]);
        assert!(script.starts_with(start), "{script}");
        assert!(script.contains("reset-password"), "{script}");
        // bash displays no descriptions.
        let has_description = script.contains("IP address and port of the API") || shell == "bash";
        assert!(has_description, "{script}");
    }
    assert_eq!(latchkey(&["completions"]).status.code(), Some(2));
    let other = latchkey(&["completions", "cmd"]);
    assert_eq!(other.status.code(), Some(2));
    let errors = text(&other.stderr);
    assert!(errors.contains("bash, zsh, fish"), "{errors}");
}

#[test]
fn each_command_has_a_manual_page() {
    for (name, _) in program::help_pages() {
        let words: Vec<&str> = name.split(' ').collect();
        let page = output_of(&[&["man"], &words[1..]].concat());
        let title = format!(".TH {} 1 ", words.join("-"));
        for part in [
            &title,
            ".SH NAME\n",
            ".SH SYNOPSIS\n",
            ".SH DESCRIPTION\n",
            ".SH EXAMPLES\n",
            ".SH \"EXIT STATUS\"\n",
        ] {
            assert!(page.contains(part), "{name} lacks {part}: {page}");
        }
        assert!(!page.contains("\\-help(1)"), "{name}: {page}");
    }
    let page = output_of(&["man", "user", "set-role"]);
    assert!(
        page.contains("latchkey user set\\-role john admin\n"),
        "{page}"
    );
    let page = output_of(&["man", "serve"]);
    assert!(page.contains("[env: LATCHKEY_LISTEN]"), "{page}");
    let page = output_of(&["man", "settings"]);
    assert!(page.contains("LATCHKEY_LISTEN"), "{page}");
    let unknown = latchkey(&["man", "user", "nonsense"]);
    assert_eq!(unknown.status.code(), Some(2));
    let error = "error: `latchkey user nonsense` isn't a command\nhint: ";
    assert!(text(&unknown.stderr).starts_with(error));
}

/// Without groff, the formatter of `man`, the test has nothing to check.
#[test]
fn manual_pages_are_formatted_without_warnings() {
    for command in [
        &["man"][..],
        &["man", "serve"],
        &["man", "settings"],
        &["man", "client", "show"],
    ] {
        let groff = Command::new("groff")
            .args(["-man", "-Tutf8", "-Kutf8", "-ww"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut groff) = groff else {
            println!("groff isn't installed");
            return;
        };
        let mut input = groff.stdin.take().expect("a pipe");
        let page = output_of(command);
        std::io::Write::write_all(&mut input, page.as_bytes()).expect("groff reads");
        drop(input);
        let output = groff.wait_with_output().expect("groff runs");
        assert_eq!(text(&output.stderr), "", "{command:?}");
        let last_part = match command {
            [_, "settings"] => "LATCHKEY_LIMIT_",
            _other => "README.md",
        };
        assert!(text(&output.stdout).contains(last_part), "{command:?}");
    }
}
