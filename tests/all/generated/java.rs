//! openapi-generator writes classes, and javac compiles them with the program.
//!
//! Jackson is part of the generator's own archive, and the other dependencies are packages of
//! Debian, so that nothing is downloaded from Maven repositories.

use std::process::Command;

use super::{
    client_folder, create_empty_folder, documented_command, example_path, openapi_generator,
    recipe::Recipe,
};

/// The archives that Debian packages install.
const DEBIAN_JARS: &str = "/usr/share/java/httpmime.jar:/usr/share/java/jakarta-annotation-api.jar";

pub fn recipe(address: &str) -> Recipe {
    let folder = create_empty_folder(client_folder("java"));
    let generator_jar =
        documented_command::package("openapi_generator_cli").join("openapi-generator.jar");
    let class_path = format!("{DEBIAN_JARS}:{}:classes", generator_jar.display());
    let mut compile = Command::new("sh");
    compile.args([
        "-c",
        r#"javac -nowarn -d classes -cp "$0" "$1" $(find latchkey-java/src/main -name '*.java')"#,
    ]);
    compile
        .arg(&class_path)
        .arg(example_path("java/Example.java"))
        .current_dir(&folder);
    let mut run = Command::new("java");
    run.args(["-cp", &class_path, "Example", address])
        .current_dir(&folder);
    Recipe {
        generator: openapi_generator(),
        known_warnings: &[],
        generate: documented_command::command("Java", &folder, address),
        compile: vec![compile],
        run,
    }
}
