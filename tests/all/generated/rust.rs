//! openapi-generator writes a crate, and cargo builds it with the program.

use std::{fs, process::Command};

use super::{
    client_folder, create_empty_folder, documented_command, example_path, openapi_generator,
    recipe::Recipe,
};

/// Warnings about reserved words, and about unused types named after media types.
const KNOWN_WARNINGS: [&str; 5] = [
    "type cannot be used as a field/variable name. Renamed to r#type",
    "use cannot be used as a field/variable name. Renamed to r#use",
    "ApplicationJson cannot be used as a model name. Renamed to ApplicationSlashJson",
    "ApplicationProblem+json cannot be used as a model name. Renamed to \
     ApplicationSlashProblemPlusJson",
    "TextEventStream cannot be used as a model name. Renamed to TextSlashEventStream",
];

pub fn recipe(address: &str) -> Recipe {
    let folder = client_folder("rust");
    create_empty_folder(folder.join("latchkey-rust"));
    let program = create_empty_folder(folder.join("example"));
    fs::create_dir(program.join("src")).expect("a new folder");
    for name in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        fs::copy(example_path("rust").join(name), program.join(name)).expect("a copied file");
    }
    let mut compile = Command::new("cargo");
    // Without `--locked`, because the generated crate has the version of the server, which is not
    // in the lock file.
    compile
        .args(["build", "--quiet"])
        .current_dir(program)
        .env("CARGO_TARGET_DIR", folder.join("target"));
    // The compiler flags of the tests do not apply to the client.
    compile.env_remove("RUSTFLAGS");
    let mut run = Command::new(folder.join("target/debug/latchkey-client-example"));
    run.arg(address);
    Recipe {
        generator: openapi_generator(),
        known_warnings: &KNOWN_WARNINGS,
        generate: documented_command::command("Rust", &folder, address),
        compile: vec![compile],
        run,
    }
}
