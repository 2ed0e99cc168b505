//! `release/cargo` adds the commit of the sources to the binary.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

use super::text;

/// A folder with a copy of `release/cargo`, and with a program `cargo` that prints the commit.
fn checkout() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(root.join("release/cargo")).expect("a script");
    for (name, script) in [
        ("release/cargo", script.as_str()),
        (
            "programs/cargo",
            "#!/bin/sh\necho \"[${SOURCE_COMMIT-unset}]\"\n",
        ),
    ] {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(&path, script).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    folder
}

fn run(folder: &Path, program: &str, arguments: &[&str], commit: Option<&str>) -> Output {
    let path = std::env::var("PATH").expect("a path");
    let path = format!("{}:{path}", folder.join("programs").display());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(folder);
    command.env("PATH", path).env_remove("SOURCE_COMMIT");
    // Independent of the configuration of this machine.
    command.env("GIT_CONFIG_GLOBAL", "/dev/null");
    command.env(
        "GIT_CEILING_DIRECTORIES",
        folder.parent().expect("a folder"),
    );
    if let Some(commit) = commit {
        command.env("SOURCE_COMMIT", commit);
    }
    let output = command.output().expect("the program runs");
    assert!(output.status.success(), "{}", text(&output.stderr));
    output
}

/// Returns the commit that `cargo` receives.
fn commit(folder: &Path, variable: Option<&str>) -> String {
    let script = folder.join("release/cargo").display().to_string();
    text(&run(folder, &script, &["build"], variable).stdout)
}

fn git(folder: &Path, arguments: &[&str]) {
    let identity = ["-c", "user.name=John", "-c", "user.email=john@example.com"];
    run(folder, "git", &[&identity, arguments].concat(), None);
}

#[test]
fn release_contains_commit_of_checkout() {
    let folder = checkout();
    let folder = folder.path();
    assert_eq!(commit(folder, None), "[unset]\n");
    git(folder, &["init", "--quiet"]);
    git(folder, &["add", "."]);
    git(
        folder,
        &["commit", "--quiet", "--message", "tests: add a file"],
    );
    git(folder, &["tag", "--annotate", "v1", "--message", "v1"]);
    let clean = commit(folder, None);
    let hash = clean.trim_matches(['[', ']', '\n']);
    let is_hash = hash.len() == 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(is_hash, "{clean}");
    // The build of the image has no checkout.
    assert_eq!(commit(folder, Some("0123abc")), "[0123abc]\n");
    assert_eq!(commit(folder, Some("")), clean);
    fs::write(folder.join("programs/other"), "text").expect("a file");
    git(folder, &["add", "."]);
    assert_eq!(commit(folder, None), format!("[{hash}-dirty]\n"));
}

/// The checkout of another project that contains the sources has another commit.
#[test]
fn commit_of_surrounding_checkout_is_ignored() {
    let outer = tempfile::tempdir().expect("a folder");
    let sources = checkout();
    let copy = outer.path().join("sources");
    fs::rename(sources.path(), &copy).expect("a moved folder");
    git(outer.path(), &["init", "--quiet"]);
    fs::write(outer.path().join("file"), "text").expect("a file");
    git(outer.path(), &["add", "file"]);
    let arguments = ["commit", "--quiet", "--message", "tests: add a file"];
    git(outer.path(), &arguments);
    let script = copy.join("release/cargo").display().to_string();
    let path = std::env::var("PATH").expect("a path");
    let output = Command::new(script)
        .env(
            "PATH",
            format!("{}:{path}", copy.join("programs").display()),
        )
        .env_remove("SOURCE_COMMIT")
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        .output()
        .expect("the script runs");
    assert_eq!(text(&output.stdout), "[unset]\n");
}
