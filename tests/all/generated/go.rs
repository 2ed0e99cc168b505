//! openapi-generator writes a package, and the Go toolchain of `tests/tools/clients.in` builds it
//! with the program.
//!
//! Its only dependency, golang.org/x/oauth2, is a package of Debian, so that nothing is downloaded
//! from the Go module proxy.

use std::{fs, path::Path, process::Command};

use super::{
    client_folder, create_empty_folder, documented_command, example_path, openapi_generator,
    recipe::Recipe,
};

/// The folder of the Go sources that Debian packages install.
const DEBIAN_GOPATH: &str = "/usr/share/gocode";

pub fn recipe(address: &str) -> Recipe {
    let folder = client_folder("go");
    let sources = create_empty_folder(folder.join("src"));
    fs::create_dir(sources.join("example")).expect("a new folder");
    fs::copy(example_path("go/main.go"), sources.join("example/main.go")).expect("a copied file");
    let [mut compile, mut vet] = [create_command(&folder), create_command(&folder)];
    compile.args(["build", "-o", "life", "example"]);
    vet.args(["vet", "example"]);
    let mut run = Command::new(folder.join("life"));
    run.arg(address);
    Recipe {
        generator: openapi_generator(),
        known_warnings: &[],
        generate: documented_command::command("Go", &sources, address),
        compile: vec![compile, vet],
        run,
    }
}

/// Creates a `go` command that finds packages in `GOPATH` instead of modules.
fn create_command(folder: &Path) -> Command {
    let mut command = Command::new(client_folder("tools").join("bin/go"));
    command
        .current_dir(folder)
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOTOOLCHAIN", "local");
    command
        .env("GOCACHE", folder.join("cache"))
        .env("GOPATH", format!("{}:{DEBIAN_GOPATH}", folder.display()));
    command
}
