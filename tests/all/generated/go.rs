//! openapi-generator writes a package, and the Go toolchain of `tests/tools/clients.in` builds it
//! with the program. The one package that it imports, golang.org/x/oauth2, is Debian's: so nothing
//! is fetched from where Go fetches from.

use std::{fs, path::Path, process::Command};

use super::{empty, example, openapi_generator, readme_command, recipe::Recipe, workshop};

/// Where Debian keeps sources.
const DEBIAN: &str = "/usr/share/gocode";

pub fn recipe(address: &str) -> Recipe {
    let folder = workshop("go");
    let sources = empty(folder.join("src"));
    fs::create_dir(sources.join("example")).expect("a folder can be made");
    fs::copy(example("go/main.go"), sources.join("example/main.go")).expect("it can be copied");
    let [mut compile, mut vet] = [go(&folder), go(&folder)];
    compile.args(["build", "-o", "life", "example"]);
    vet.args(["vet", "example"]);
    let mut run = Command::new(folder.join("life"));
    run.arg(address);
    Recipe {
        generator: openapi_generator(),
        known_warnings: &[],
        generate: readme_command::command("Go", &sources, address),
        compile: vec![compile, vet],
        run,
    }
}

/// With packages as they lie in folders.
fn go(folder: &Path) -> Command {
    let mut command = Command::new(workshop("tools").join("bin/go"));
    command
        .current_dir(folder)
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOTOOLCHAIN", "local");
    command
        .env("GOCACHE", folder.join("cache"))
        .env("GOPATH", format!("{}:{DEBIAN}", folder.display()));
    command
}
