//! openapi-typescript writes the types, openapi-fetch is the client, the compiler of TypeScript
//! checks the program, and Node runs it.

use std::{fs, os::unix::fs::symlink};

use super::{
    empty, example, readme_command,
    recipe::{Recipe, pinned},
    workshop,
};
use crate::tools::{self, installed};

/// What the program wants of Node's own types.
const NODE_TYPES: &str = "declare const process: { argv: string[] }\n";

/// As people have it: the program, and packages beside it.
pub fn recipe(address: &str) -> Recipe {
    of("typescript", str::to_owned, address)
}

/// The same of a program that was changed, in a folder of its own.
pub fn of(folder: &str, change: impl Fn(&str) -> String, address: &str) -> Recipe {
    let folder = empty(workshop(folder));
    let program = fs::read_to_string(example("typescript/example.ts")).expect("it is there");
    let package = r#"{ "type": "module" }"#;
    for (name, text) in [
        ("example.ts", change(&program).as_str()),
        ("node.d.ts", NODE_TYPES),
        ("package.json", package),
    ] {
        fs::write(folder.join(name), text).expect("it can be written");
    }
    symlink(
        installed().join("node/node_modules"),
        folder.join("node_modules"),
    )
    .expect("a link can be made");
    let node = || {
        let mut command = tools::node();
        command.current_dir(&folder);
        command
    };
    let [mut compile, mut run] = [node(), node()];
    compile.args([
        "node_modules/typescript/bin/tsc",
        "--noEmit",
        "--strict",
        "--noUncheckedIndexedAccess",
    ]);
    compile.args([
        "--erasableSyntaxOnly",
        "--target",
        "esnext",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
    ]);
    compile.args(["example.ts", "node.d.ts"]);
    run.args(["example.ts", address]);
    Recipe {
        generator: format!(
            "{}, {}",
            pinned("openapi-typescript"),
            pinned("openapi-fetch")
        ),
        known_warnings: &[],
        generate: readme_command::command("TypeScript", &folder, address),
        compile: vec![compile],
        run,
    }
}
