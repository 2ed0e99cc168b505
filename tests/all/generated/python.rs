//! openapi-python-client writes a package, mypy checks the package and the program, and Python
//! runs the program.

use std::fs;

use super::{
    client_folder, create_empty_folder, documented_command, example_path,
    recipe::{Recipe, pinned_package},
};
use crate::tools;

/// The generator warns because it does not find ruff, which would change types so that mypy
/// rejects them.
const KNOWN_WARNINGS: [&str; 1] =
    ["Warning(s) encountered while generating. Client was generated, but some pieces"];

pub fn recipe(address: &str) -> Recipe {
    modified_recipe("python", str::to_owned, address)
}

/// Creates the recipe of a modified program in a separate folder.
pub fn modified_recipe(folder: &str, modify: impl Fn(&str) -> String, address: &str) -> Recipe {
    let folder = create_empty_folder(client_folder(folder));
    let program = fs::read_to_string(example_path("python/example.py")).expect("the program");
    fs::write(folder.join("example.py"), modify(&program)).expect("a written file");
    let [mut compile, mut run] = ["mypy", "python"].map(tools::python);
    compile.args([
        "--strict",
        "latchkey-api-client/latchkey_api_client",
        "example.py",
    ]);
    compile
        .env("MYPYPATH", "latchkey-api-client")
        .current_dir(&folder);
    run.args(["example.py", address])
        .env("PYTHONPATH", "latchkey-api-client")
        .current_dir(&folder);
    Recipe {
        generator: pinned_package("openapi-python-client"),
        known_warnings: &KNOWN_WARNINGS,
        generate: documented_command::command("Python", &folder, address),
        compile: vec![compile],
        run,
    }
}
