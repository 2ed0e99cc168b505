//! openapi-python-client writes a package, mypy checks all of it and the program, and Python runs
//! it.

use std::fs;

use super::{
    empty, example, readme_command,
    recipe::{Recipe, pinned},
    workshop,
};
use crate::tools;

/// It would run ruff over what it wrote, where it finds it, which changes types to such as mypy
/// refuses.
const KNOWN_WARNINGS: [&str; 1] =
    ["Warning(s) encountered while generating. Client was generated, but some pieces"];

pub fn recipe(address: &str) -> Recipe {
    of("python", str::to_owned, address)
}

/// The same of a program that was changed, in a folder of its own.
pub fn of(folder: &str, change: impl Fn(&str) -> String, address: &str) -> Recipe {
    let folder = empty(workshop(folder));
    let program = fs::read_to_string(example("python/example.py")).expect("it is there");
    fs::write(folder.join("example.py"), change(&program)).expect("it can be written");
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
        generator: pinned("openapi-python-client"),
        known_warnings: &KNOWN_WARNINGS,
        generate: readme_command::command("Python", &folder, address),
        compile: vec![compile],
        run,
    }
}
