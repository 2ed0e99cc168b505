//! Tests of the program `baseline`.

use std::process::Command;

#[test]
fn invalid_argument_exits_with_1() {
    for arguments in [&[][..], &["many"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_baseline"))
            .args(arguments)
            .output()
            .expect("the program runs");
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(
            error.starts_with("error: BYTES must be a number"),
            "{error}"
        );
        assert!(output.stdout.is_empty());
    }
}
