//! `latchkey version`: the version, the commit, and the kind of the build, for bug reports.

use std::{env::consts, process::ExitCode};

use clap::{ArgMatches, Command};
use serde_json::json;

use super::{
    arguments::{output_flag, render},
    help::add_help_without_configuration,
    show,
};
use crate::print;

/// The commit of the sources. `release/cargo` reads it from the checkout, and the image from a
/// build argument. The name has no prefix of a setting, because the server rejects unknown
/// settings.
const COMMIT: Option<&str> = option_env!("SOURCE_COMMIT");

/// The kind of the build.
const BUILD: &str = if cfg!(debug_assertions) {
    "debug"
} else {
    "release"
};

/// The features that a release doesn't contain.
const FEATURES: &[&str] = if cfg!(latchkey_mutant) {
    &["mutant"]
} else {
    &[]
};

/// Builds the command.
pub fn command() -> Command {
    let command = Command::new("version")
        .about("Print the version, the commit, and the build")
        .long_about(
            "Prints the version, the commit of the sources, the kind of the build, the features \
             that a release doesn't contain, and the platform. It requires no configuration and \
             no store. The commit is `unknown` if the program was built without `release/cargo` \
             or without a checkout.",
        )
        .arg(output_flag(
            "an object with `version`, `commit`, which is null if it is unknown, `build`, \
             `features`, a list, `os`, and `arch`",
        ));
    add_help_without_configuration(
        command,
        "latchkey version
         latchkey version --output json",
    )
}

/// Prints the version.
pub fn run(matches: &ArgMatches) -> ExitCode {
    let commit = COMMIT.filter(|commit| !commit.is_empty());
    let (os, arch) = (consts::OS, consts::ARCH);
    let features = if FEATURES.is_empty() {
        "none".to_owned()
    } else {
        FEATURES.join(", ")
    };
    let to_text = || {
        show::fields(&[
            ("version", latchkey::VERSION.to_owned()),
            ("commit", commit.unwrap_or("unknown").to_owned()),
            ("build", BUILD.to_owned()),
            ("features", features),
            ("platform", format!("{os} {arch}")),
        ])
    };
    let to_json = || {
        json!({
            "version": latchkey::VERSION,
            "commit": commit,
            "build": BUILD,
            "features": FEATURES,
            "os": os,
            "arch": arch,
        })
    };
    print(&render(matches, to_text, to_json))
}
