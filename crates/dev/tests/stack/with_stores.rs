//! Tests of `latchkey-dev with-stores`, which runs a command with temporary stores.

use std::path::Path;

use super::{TestFolder, latchkey_dev};

/// Prints a result of PostgreSQL and the path of Redis's socket, and exits with an unusual code.
const SCRIPT: &str = r#"
psql -tAqc 'select 40 + 2' "$LATCHKEY_DEV_DATABASE_URL"
redis=${LATCHKEY_DEV_REDIS_URL#redis+unix://}
test -S "$redis" && echo "$redis"
exit 7"#;

#[test]
fn command_uses_stores_and_returns_its_exit_code() {
    let folder = TestFolder::new();
    let output = latchkey_dev(folder.path(), &["with-stores", "sh", "-c", SCRIPT])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let [result, socket] = printed.lines().collect::<Vec<_>>()[..] else {
        panic!("{output:?}");
    };
    assert_eq!(result, "42");
    assert!(!Path::new(socket).exists(), "the socket is removed");
}

#[test]
fn missing_program_prints_one_error() {
    let folder = TestFolder::new();
    let output = latchkey_dev(folder.path(), &["with-stores", "./no-such-program"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert!(errors.contains("no-such-program"), "{errors}");
    assert!(errors.starts_with("error: "), "{errors}");
    assert_eq!(errors.trim().lines().count(), 2, "{errors}");
}

#[test]
fn command_is_required() {
    let folder = TestFolder::new();
    let output = latchkey_dev(folder.path(), &["with-stores"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("COMMAND"), "{errors}");
}
