//! `latchkey-dev with-stores`: temporary stores around a command.

use std::path::Path;

use super::{Place, latchkey_dev};

/// The paths of both sockets, an answer of PostgreSQL, and an exit code that no shell uses.
const SCRIPT: &str = r#"
psql -tAqc 'select 40 + 2' "$LATCHKEY_DEV_DATABASE_URL"
redis=${LATCHKEY_DEV_REDIS_URL#redis+unix://}
test -S "$redis" && echo "$redis"
exit 7"#;

#[test]
fn command_uses_stores_and_returns_its_exit_code() {
    let place = Place::new();
    let output = latchkey_dev(place.path(), &["with-stores", "sh", "-c", SCRIPT])
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let [answer, socket] = printed.lines().collect::<Vec<_>>()[..] else {
        panic!("{output:?}");
    };
    assert_eq!(answer, "42");
    assert!(!Path::new(socket).exists(), "the stores are stopped");
}

#[test]
fn missing_program_is_one_error() {
    let place = Place::new();
    let output = latchkey_dev(place.path(), &["with-stores", "./no-such-program"])
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
    let place = Place::new();
    let output = latchkey_dev(place.path(), &["with-stores"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("COMMAND"), "{errors}");
}
