//! Third-party crates: license notices, the exceptions of `deny.toml`, and binaries without build
//! paths.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
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

/// Names and versions of the third-party crates in the binary.
fn crates() -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "-p", "latchkey", "-e", "normal"])
        .args(["--prefix", "none", "--format", "{p}"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", error_of(&output));
    let tree = String::from_utf8(output.stdout).expect("text");
    let mut crates: Vec<String> = tree
        .lines()
        .filter(|line| !line.contains(" (/"))
        .map(|line| {
            let mut words = line.split(' ');
            let (name, version) = (words.next(), words.next());
            let version = version.and_then(|version| version.strip_prefix('v'));
            format!("{} {}", name.expect("a name"), version.expect("a version"))
        })
        .collect();
    crates.sort_unstable();
    crates.dedup();
    crates
}

#[test]
fn license_notices_cover_every_crate() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("notices");
    let output = run("release/licenses", &file)
        .output()
        .expect("the script runs");
    assert!(output.status.success(), "{}", error_of(&output));
    let notices = fs::read_to_string(file).expect("a notices file");
    let (components, texts) = notices.split_once("\n======== ").expect("texts");
    let entries: Vec<&str> = components.split("\n\n").collect();
    let entry = |name: &str| -> &str {
        let found = entries
            .iter()
            .find(|entry| entry.lines().next() == Some(name));
        found.unwrap_or_else(|| panic!("{name} has no license notices"))
    };
    let crates = crates();
    assert!(crates.len() > 200, "{}", crates.len());
    for name in crates {
        let lines: Vec<&str> = entry(&name).lines().collect();
        assert!(lines.len() >= 3, "{name} has no license text");
    }
    let assert_notice = |name: &str, text: &str| {
        let start = components
            .lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("{name} has no license notices"));
        assert!(entry(start).contains(text), "{start}: {text}");
    };
    assert_notice("aws-lc-sys ", "aws-lc/LICENSE");
    assert_notice("libmimalloc-sys ", "c_src/mimalloc/v3/LICENSE");
    assert_notice("Swagger UI ", "notices");
    assert_notice("Rust standard library ", "COPYRIGHT-library");
    assert_notice("Rust standard library ", "Unicode-3.0.txt");
    let last = texts.matches("\n======== ").count() + 1;
    assert!(
        texts.contains(&format!("text {last}\n")),
        "{last} numbered texts"
    );
    assert!(!components.contains(&format!("text {}:", last + 1)));
}

/// Runs `release/licenses` with a fake `cargo` that lists one crate without a license text.
fn crate_without_text(folder: &Path, license: &str) -> Output {
    let sources: PathBuf = folder.join("registry/src/index/odd-1.0.0");
    fs::create_dir_all(&sources).expect("a folder");
    fs::write(sources.join("Cargo.toml"), "authors = [\"Jane Doe\"]\n").expect("a manifest");
    let cargo = folder.join("cargo");
    let script = format!("#!/bin/sh\necho 'odd v1.0.0|{license}'\n");
    fs::write(&cargo, script).expect("a script");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = std::env::var("PATH").expect("a path");
    run("release/licenses", &folder.join("notices"))
        .env("CARGO_HOME", folder)
        .env("PATH", format!("{}:{path}", folder.display()))
        .output()
        .expect("the script runs")
}

#[test]
fn crate_without_text_gets_standard_text_or_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = crate_without_text(folder.path(), "MIT OR Apache-2.0");
    assert!(output.status.success(), "{}", error_of(&output));
    let notices = fs::read_to_string(folder.path().join("notices")).expect("a notices file");
    assert!(notices.contains("Copyright (c) Jane Doe\n"));
    let output = crate_without_text(folder.path(), "MPL-2.0");
    assert!(!output.status.success());
    assert!(error_of(&output).contains("odd 1.0.0 has the license `MPL-2.0`"));
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
        let output = run("release/check", &binary)
            .output()
            .expect("the script runs");
        let error = error_of(&output);
        assert_eq!(output.status.success(), is_clean, "{content}: {error}");
    }
}

#[test]
fn exceptions_of_deny_toml_have_reasons() {
    let rules = fs::read_to_string(path("deny.toml")).expect("the file exists");
    for list in ["ignore", "deny", "skip"] {
        let (_, entries) = rules
            .split_once(&format!("\n{list} = [\n"))
            .unwrap_or_else(|| panic!("no list {list}"));
        for entry in entries.lines().take_while(|line| *line != "]") {
            assert!(entry.contains(" reason = \""), "{entry}");
        }
    }
}

/// `deny.toml` ignores advisories about quick-xml for this reason.
#[test]
fn no_operation_accepts_xml() {
    let document = latchkey::http::document::json();
    assert!(!document.contains("/xml") && !document.contains("+xml"));
}
