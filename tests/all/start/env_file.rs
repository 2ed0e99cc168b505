//! `.env`: unreadable files and invalid lines are configuration errors, and the example file is
//! valid.

use std::fs;

use super::{VALID, latchkey_in, stderr, stdout};

/// Runs `latchkey config` in a folder with this `.env`. Returns the exit code, the output, and the
/// errors.
fn run_config(file: &str, settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".env"), file).expect("a written file");
    let output = latchkey_in(folder.path(), &["config"], settings);
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn invalid_line_is_a_configuration_error() {
    for line in [
        "LATCHKEY_EMAIL_FROM=Latchkey <hunter2@example.com>",
        "LATCHKEY_EMAIL_FROM='hunter2",
        "hunter2",
    ] {
        let (code, _, errors) =
            run_config(&format!("LATCHKEY_ACCESS_LIFETIME=1m\n{line}\n"), &*VALID);
        assert_eq!(code, Some(2), "{line}: {errors}");
        assert!(
            errors.contains("\n  .env: ") && !errors.contains("hunter2"),
            "{line}: {errors}"
        );
    }
}

#[test]
fn directory_is_a_configuration_error() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join(".env")).expect("a directory");
    let output = latchkey_in(folder.path(), &["config"], &*VALID);
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    for part in ["\n  .env: can't be read (", "); make it a readable file"] {
        assert!(errors.contains(part), "{errors}");
    }
}

#[test]
fn example_is_valid_with_the_required_values() {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example"))
        .expect("the example file");
    let filled = VALID.iter().fold(example, |text, (name, value)| {
        let empty = format!("\n{name}=\n");
        assert!(text.contains(&empty), "{name} is listed without a value");
        text.replace(&empty, &format!("\n{name}={value}\n"))
    });
    // Unchanged, and with all defaults uncommented.
    for file in [
        filled.clone(),
        filled.replace("\n# LATCHKEY_", "\nLATCHKEY_"),
    ] {
        let (code, output, errors) = run_config(&file, &[]);
        assert_eq!(code, Some(0), "{errors}");
        assert!(
            output.contains("LATCHKEY_EMAIL_FROM=\"Latchkey <no-reply@localhost>\"\n"),
            "{output}"
        );
        assert_eq!(output.matches("(set, not shown)").count(), 4, "{output}");
    }
}
