//! `.env`: what it says is read, or its line is a mistake; and its example is a good one.

use std::fs;

use super::{VALID, latchkey_in, stderr, stdout};

/// `latchkey config` in a folder with this `.env`: the exit code, what it shows, and what it
/// complains of.
fn config_with(file: &str, settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".env"), file).expect("it is ours");
    let output = latchkey_in(folder.path(), &["config"], settings);
    (output.status.code(), stdout(&output), stderr(&output))
}

#[test]
fn a_line_that_cannot_be_read_is_a_mistake() {
    for line in [
        "LATCHKEY_EMAIL_FROM=Latchkey <hunter2@example.com>",
        "LATCHKEY_EMAIL_FROM='hunter2",
        "hunter2",
    ] {
        let (code, _, told) =
            config_with(&format!("LATCHKEY_ACCESS_LIFETIME=1m\n{line}\n"), &*VALID);
        assert_eq!(code, Some(2), "{line}: {told}");
        assert!(
            told.contains("\n  .env: ") && !told.contains("hunter2"),
            "{line}: {told}"
        );
    }
}

#[test]
fn the_example_loads_once_the_required_values_are_filled_in() {
    let example = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example"))
        .expect("it is there");
    let filled = VALID.iter().fold(example, |text, (name, value)| {
        let empty = format!("\n{name}=\n");
        assert!(text.contains(&empty), "{name} is there to be filled in");
        text.replace(&empty, &format!("\n{name}={value}\n"))
    });
    // As it is, and with every default said aloud.
    for file in [
        filled.clone(),
        filled.replace("\n# LATCHKEY_", "\nLATCHKEY_"),
    ] {
        let (code, shown, told) = config_with(&file, &[]);
        assert_eq!(code, Some(0), "{told}");
        assert!(
            shown.contains("LATCHKEY_EMAIL_FROM=\"Latchkey <no-reply@localhost>\"\n"),
            "{shown}"
        );
        assert_eq!(shown.matches("(set, not shown)").count(), 4, "{shown}");
    }
}
