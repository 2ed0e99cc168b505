//! openapi-generator writes a crate, and cargo builds it with the program.

use std::{fs, process::Command};

use super::{empty, example, openapi_generator, readme_command, recipe::Recipe, workshop};

/// Words of the language, and names of media types that become names of types which nothing uses.
const KNOWN_WARNINGS: [&str; 5] = [
    "type cannot be used as a field/variable name. Renamed to r#type",
    "use cannot be used as a field/variable name. Renamed to r#use",
    "ApplicationJson cannot be used as a model name. Renamed to ApplicationSlashJson",
    "ApplicationProblem+json cannot be used as a model name. Renamed to \
     ApplicationSlashProblemPlusJson",
    "TextEventStream cannot be used as a model name. Renamed to TextSlashEventStream",
];

pub fn recipe(address: &str) -> Recipe {
    let folder = workshop("rust");
    empty(folder.join("latchkey-rust"));
    let program = empty(folder.join("example"));
    fs::create_dir(program.join("src")).expect("a folder can be made");
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        fs::copy(example("rust").join(name), program.join(name)).expect("it can be copied");
    }
    let mut compile = Command::new("cargo");
    // Not `--locked`: the lock file pins all crates, but the generated one has our version.
    compile
        .args(["build", "--quiet"])
        .current_dir(program)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    // Those of the tests are not its own.
    compile.env_remove("RUSTFLAGS");
    let mut run = Command::new(folder.join("target/debug/latchkey-client-example"));
    run.arg(address);
    Recipe {
        generator: openapi_generator(),
        known_warnings: &KNOWN_WARNINGS,
        generate: readme_command::command("Rust", &folder, address),
        compile: vec![compile],
        run,
    }
}
