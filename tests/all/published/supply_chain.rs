//! Third-party crates: the exceptions of deny.toml, and binaries without paths of the machine that
//! built them.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use super::path;

fn run(script: &str, argument: &Path) -> Command {
    let mut command = Command::new(path(script));
    command.arg(argument);
    command
}

fn error_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn binary_with_build_path_fails_the_check() {
    let folder = tempfile::tempdir().expect("a folder");
    let binary = folder.path().join("binary");
    for (content, is_clean) in [
        ("\0/rustc/5980/library/core/src/str.rs\0", true),
        ("\0/cargo/registry/src/index/odd-1.0.0/src/lib.rs\0", true),
        ("\0/home/jane/latchkey/src/main.rs\0", false),
        (concat!("\0", env!("CARGO_MANIFEST_DIR"), "/x.rs\0"), false),
    ] {
        fs::write(&binary, content).expect("a file");
        let output = run("release/check", &binary).output().expect("it runs");
        let error = error_of(&output);
        assert_eq!(output.status.success(), is_clean, "{content}: {error}");
    }
}

#[test]
fn exceptions_of_deny_toml_have_reasons() {
    let rules = fs::read_to_string(path("deny.toml")).expect("it is there");
    for list in ["ignore", "deny", "skip"] {
        let (_, entries) = rules
            .split_once(&format!("\n{list} = [\n"))
            .unwrap_or_else(|| panic!("no list {list}"));
        for entry in entries.lines().take_while(|line| *line != "]") {
            assert!(entry.contains(" reason = \""), "{entry}");
        }
    }
}

/// The reason for which deny.toml ignores advisories about quick-xml.
#[test]
fn no_operation_accepts_xml() {
    let document = latchkey::http::document::json();
    assert!(!document.contains("/xml") && !document.contains("+xml"));
}
