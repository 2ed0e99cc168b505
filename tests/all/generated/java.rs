//! openapi-generator writes classes, and javac compiles them with the program. Jackson comes out of
//! the generator's own archive, and what it has not, from Debian: so nothing is fetched from where
//! Maven fetches from.

use std::process::Command;

use super::{empty, example, openapi_generator, readme_command, recipe::Recipe, workshop};

/// Debian's archives.
const DEBIAN: &str = "/usr/share/java/httpmime.jar:/usr/share/java/jakarta-annotation-api.jar";

pub fn recipe(address: &str) -> Recipe {
    let folder = empty(workshop("java"));
    let generators = readme_command::package("openapi_generator_cli").join("openapi-generator.jar");
    let classes = format!("{DEBIAN}:{}:classes", generators.display());
    let mut compile = Command::new("sh");
    compile.args([
        "-c",
        r#"javac -nowarn -d classes -cp "$0" "$1" $(find latchkey-java/src/main -name '*.java')"#,
    ]);
    compile
        .arg(&classes)
        .arg(example("java/Example.java"))
        .current_dir(&folder);
    let mut run = Command::new("java");
    run.args(["-cp", &classes, "Example", address])
        .current_dir(&folder);
    Recipe {
        generator: openapi_generator(),
        known_warnings: &[],
        generate: readme_command::command("Java", &folder, address),
        compile: vec![compile],
        run,
    }
}
