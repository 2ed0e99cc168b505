//! openapi-typescript writes the types, openapi-fetch is the client, the TypeScript compiler checks
//! the program, and Node runs it.

use std::{fs, os::unix::fs::symlink};

use super::{
    client_folder, create_empty_folder, documented_command, example_path,
    recipe::{Recipe, pinned_package},
};
use crate::tools::{self, installed};

/// Creates the recipe of the program beside its packages, as in a project of a user.
pub fn recipe(address: &str) -> Recipe {
    modified_recipe("typescript", str::to_owned, address)
}

/// Creates the recipe of a modified program in a separate folder.
pub fn modified_recipe(folder: &str, modify: impl Fn(&str) -> String, address: &str) -> Recipe {
    let folder = create_empty_folder(client_folder(folder));
    let program = fs::read_to_string(example_path("typescript/example.ts")).expect("the program");
    let package = r#"{ "type": "module" }"#;
    for (name, text) in [
        ("example.ts", modify(&program).as_str()),
        ("package.json", package),
    ] {
        fs::write(folder.join(name), text).expect("a written file");
    }
    symlink(
        installed().join("node/node_modules"),
        folder.join("node_modules"),
    )
    .expect("a symbolic link");
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
    compile.args(["--types", "node", "example.ts"]);
    run.args(["example.ts", address]);
    Recipe {
        generator: format!(
            "{}, {}",
            pinned_package("openapi-typescript"),
            pinned_package("openapi-fetch")
        ),
        known_warnings: &[],
        generate: documented_command::command("TypeScript", &folder, address),
        compile: vec![compile],
        run,
    }
}
