//! The precedence of the environment and `.env`.

use std::{
    ffi::{OsStr, OsString},
    fs,
    os::unix::ffi::OsStrExt,
};

use super::{SECRET, VALID, latchkey_in, stderr, stdout, valid_with};
use crate::program;

/// Runs `latchkey config` in a folder with this `.env`. Returns the output, or the errors.
fn run_config(file: &str, settings: &[(&str, &str)]) -> Result<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join(".env"), file).expect("a written file");
    let output = latchkey_in(folder.path(), &["config"], settings);
    if output.status.success() {
        Ok(stdout(&output))
    } else {
        Err(stderr(&output))
    }
}

#[test]
fn empty_variable_does_not_hide_env_file() {
    let settings = valid_with(&[("LATCHKEY_CODE_LIFETIME", ""), ("LATCHKEY_SECRET", "")]);
    let file = format!("LATCHKEY_CODE_LIFETIME=1m\nLATCHKEY_SECRET={}\n", *SECRET);
    let output = run_config(&file, &settings).expect("valid settings");
    assert!(output.contains("LATCHKEY_CODE_LIFETIME=1m\n"), "{output}");
}

#[test]
fn secret_file_in_environment_overrides_env_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("secret");
    fs::write(&path, &*SECRET).expect("a written file");
    let path = path.display().to_string();
    let without_secret: Vec<_> = VALID
        .iter()
        .copied()
        .filter(|(name, _)| *name != "LATCHKEY_SECRET")
        .collect();
    let with_file = |path| [&without_secret[..], &[("LATCHKEY_SECRET_FILE", path)]].concat();
    // The placeholder is invalid, so the result shows which source is used.
    run_config("LATCHKEY_SECRET=change-me\n", &with_file(&path)).expect("valid settings");
    let valid = format!("LATCHKEY_SECRET={}\n", *SECRET);
    let errors = run_config(&valid, &with_file("/nowhere/secret")).expect_err("an error");
    assert!(errors.contains("LATCHKEY_SECRET_FILE"), "{errors}");
    // An empty form counts as unset.
    run_config(&valid, &with_file("")).expect("valid settings");
}

#[test]
fn secret_in_environment_overrides_file_of_env_file() {
    run_config("LATCHKEY_SECRET_FILE=/nowhere/secret\n", &*VALID).expect("valid settings");
}

#[test]
fn value_that_is_not_utf8_is_a_configuration_error() {
    for variable in ["LATCHKEY_EMAIL_FROM", "LATCHKEY_SECRET"] {
        let valid = VALID.iter().filter(|(name, _)| *name != variable);
        let mut settings: Vec<(OsString, OsString)> = valid
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let invalid = OsStr::from_bytes(b"hunter2\xff").to_owned();
        settings.push((variable.into(), invalid));
        let output = program::run(&["config"], settings, "");
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{errors}");
        let error = format!("{variable}: the environment variable {variable} must be UTF-8 text");
        assert!(
            errors.contains(&error) && !errors.contains("hunter2"),
            "{errors}"
        );
    }
}
