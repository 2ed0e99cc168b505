//! Generated files that are checked in must match the code: the OpenAPI document, the Postman
//! collection, `.env.example`, `sql/schema.sql`, the tables of the README. `LATCHKEY_BLESS=1`
//! rewrites them.

mod postman; // the collection, and a whole life by it
mod promises; // what clients rely on, and that it stays
mod schema; // the schema of the database
mod supply_chain; // third-party crates: their notices, rules and paths

use std::{fs, path::PathBuf};

use latchkey::{config, error::Code};
use serde_json::Value;

use crate::contract::{DOCUMENT, is_open};

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Whether what is generated is to be written anew.
fn is_blessed() -> bool {
    std::env::var_os("LATCHKEY_BLESS").is_some()
}

/// Compares a file with what it should be, byte for byte, or rewrites it where that is wanted.
fn same(name: &str, expected: &str) {
    if is_blessed() {
        fs::write(path(name), expected).expect("it can be written");
    }
    let found = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        found == expected,
        "{name} is not what the code says; run: LATCHKEY_BLESS=1 ./dev test published::"
    );
}

/// The README with the text between two marks replaced.
fn readme_with(tables: &[(&str, String)]) -> String {
    let readme = fs::read_to_string(path("README.md")).expect("there is a README");
    tables.iter().fold(readme, |readme, (name, table)| {
        let (before, rest) = readme
            .split_once(&format!("<!-- {name} -->\n"))
            .expect("a mark");
        let (_, after) = rest
            .split_once(&format!("<!-- /{name} -->"))
            .expect("a closing mark");
        format!("{before}<!-- {name} -->\n{table}<!-- /{name} -->{after}")
    })
}

/// Who may call it, and with which scope.
fn who(operation: &Value) -> String {
    let ways: Vec<&Value> = operation["security"]
        .as_array()
        .into_iter()
        .flatten()
        .collect();
    if is_open(operation) {
        return "public".to_owned();
    }
    if ways.iter().any(|way| way.get("clientBasic").is_some()) {
        return "OAuth clients".to_owned();
    }
    let scopes = ways
        .iter()
        .filter_map(|way| {
            way["password"]
                .as_array()
                .or(way["clientCredentials"].as_array())
        })
        .flatten();
    let scopes: Vec<&str> = scopes.filter_map(Value::as_str).collect();
    match scopes.as_slice() {
        [] => "user token".to_owned(),
        ["admin"] => "admin, `admin`".to_owned(),
        [scope] => format!("user token, `{scope}`"),
        _several => format!("admin or OAuth client, `{}`", scopes.join("`, `")),
    }
}

fn operations() -> String {
    let mut rows = String::from("| Operation | Description | Access |\n|---|---|---|\n");
    for (path, operations) in DOCUMENT["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let who = who(operation);
            rows += &format!(
                "| `{} {path}` | {} | {who} |\n",
                method.to_uppercase(),
                operation["summary"].as_str().unwrap_or_default()
            );
        }
    }
    rows
}

fn problems() -> String {
    let row = |code: &Code| {
        format!(
            "| {} | `{}` | {} | {} |\n",
            code.status(),
            code.slug(),
            code.title(),
            code.fix()
        )
    };
    Code::ALL.iter().fold(
        String::from("| status | code | meaning | what to do |\n|---|---|---|---|\n"),
        |rows, code| rows + &row(code),
    )
}

#[test]
fn the_document_is_the_one_that_is_checked_in() {
    same(
        "openapi/latchkey.json",
        &latchkey::http::openapi::document::json(),
    );
}

#[test]
fn the_tables_of_the_readme_are_true() {
    same(
        "README.md",
        &readme_with(&[
            ("operations", operations()),
            ("problems", problems()),
            ("settings", config::readme_table()),
        ]),
    );
}

#[test]
fn every_limit_is_argued_for() {
    let readme = fs::read_to_string(path("README.md")).expect("there is a README");
    let (_, limits) = readme.split_once("\n## Limits\n").expect("a section");
    let limits = limits.split("\n## ").next().unwrap_or_default();
    for setting in config::SETTINGS
        .iter()
        .filter(|setting| setting.variable.starts_with("LATCHKEY_LIMIT_"))
    {
        let row = format!(
            "| `{}` | `{}` | ",
            setting.variable,
            setting.default.expect("a default")
        );
        assert!(limits.contains(&row), "{row}");
    }
}

#[test]
fn the_example_of_the_settings_is_true() {
    same(".env.example", &config::env_example());
}

#[test]
fn the_document_has_no_member_twice() {
    /// Refuses what JSON allows and parsers silently drop.
    struct Unique;

    impl<'de> serde::Deserialize<'de> for Unique {
        fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_any(Unique)
        }
    }

    impl<'de> serde::de::Visitor<'de> for Unique {
        type Value = Unique;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("JSON without duplicates")
        }
        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Unique, A::Error> {
            let mut seen = std::collections::HashSet::new();
            while let Some((name, Unique)) = map.next_entry::<String, Unique>()? {
                if !seen.insert(name.clone()) {
                    return Err(serde::de::Error::custom(format!("{name} is there twice")));
                }
            }
            Ok(Unique)
        }
        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
            while items.next_element::<Unique>()?.is_some() {}
            Ok(Unique)
        }
        fn visit_str<E>(self, _: &str) -> Result<Unique, E> {
            Ok(Unique)
        }
        fn visit_u64<E>(self, _: u64) -> Result<Unique, E> {
            Ok(Unique)
        }
        fn visit_i64<E>(self, _: i64) -> Result<Unique, E> {
            Ok(Unique)
        }
        fn visit_f64<E>(self, _: f64) -> Result<Unique, E> {
            Ok(Unique)
        }
        fn visit_bool<E>(self, _: bool) -> Result<Unique, E> {
            Ok(Unique)
        }
        fn visit_unit<E>(self) -> Result<Unique, E> {
            Ok(Unique)
        }
    }

    let read: Result<Unique, _> = serde_json::from_str(&latchkey::http::openapi::document::json());
    if let Err(error) = read {
        panic!("{error}");
    }
}

/// Descriptions in the code that several operations share.
const UNSPECIFIC: [&str; 2] = ["The request succeeded.", "The request was accepted."];

#[test]
fn every_operation_says_what_it_is() {
    for (path, operations) in DOCUMENT["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let said = |member: &str| {
                operation[member]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            };
            assert!(said("operationId") && said("summary"), "{method} {path}");
            assert!(
                operation["tags"]
                    .as_array()
                    .is_some_and(|tags| tags.len() == 1),
                "{method} {path}"
            );
            for (status, response) in operation["responses"].as_object().expect("responses") {
                assert!(
                    response["description"]
                        .as_str()
                        .is_some_and(|text| !text.is_empty() && !UNSPECIFIC.contains(&text)),
                    "{method} {path} {status}"
                );
            }
        }
    }
    let schemas = DOCUMENT["components"]["schemas"]
        .as_object()
        .expect("schemas");
    let bodies = schemas.iter().filter(|(name, _)| name.ends_with("Request"));
    for (name, schema) in bodies {
        // Of the forms of OAuth a standard wants the rest ignored.
        let is_open = [
            "IssueTokenRequest",
            "RevokeTokenRequest",
            "IntrospectTokenRequest",
        ]
        .contains(&name.as_str());
        assert_eq!(schema["additionalProperties"] == false, !is_open, "{name}");
        assert!(schema["example"].is_object(), "{name}");
    }
}

#[test]
fn compose_brings_up_three_replicas_behind_a_balancer() {
    let compose = fs::read_to_string(path("docker-compose.yml")).expect("it is there");
    let mut compose: serde_yaml::Value = serde_yaml::from_str(&compose).expect("it is YAML");
    compose.apply_merge().expect("its anchors fit");
    let services = compose["services"]
        .as_mapping()
        .expect("there are services");
    let nginx = fs::read_to_string(path("deploy/nginx.conf")).expect("it is there");
    for replica in ["latchkey-1", "latchkey-2", "latchkey-3"] {
        assert_eq!(services[replica]["build"], ".", "{replica}");
        let secret = services[replica]["environment"]["LATCHKEY_SECRET"]
            .as_str()
            .expect("a secret");
        assert!(
            secret.starts_with("${LATCHKEY_SECRET:?"),
            "{replica}: a secret must come from outside"
        );
        assert!(
            nginx.contains(&format!("server {replica}:8000")),
            "{replica} is not behind nginx"
        );
        assert_eq!(
            services["balancer"]["depends_on"][replica]["condition"],
            "service_healthy"
        );
    }
    for service in ["postgres", "redis", "mail", "balancer"] {
        assert!(services[service]["image"].is_string(), "{service}");
    }
    let balancer = services["balancer"]["networks"]["front"]["ipv4_address"]
        .as_str()
        .expect("a fixed address");
    let believed = services["latchkey-1"]["environment"]["LATCHKEY_TRUSTED_PROXIES"]
        .as_str()
        .expect("whom it believes");
    assert_eq!(believed, format!("{balancer}/32"), "and nobody else");
    let mounted = services["balancer"]["volumes"][0]
        .as_str()
        .expect("its configuration");
    assert!(mounted.starts_with("./deploy/nginx.conf:"), "{mounted}");
}

#[test]
fn the_image_is_small_not_root_and_without_the_local_stack() {
    let dockerfile = fs::read_to_string(path("Dockerfile")).expect("it is there");
    let last_stage = dockerfile.rsplit("\nFROM ").next().expect("stages");
    assert!(last_stage.starts_with("debian:bookworm-slim"));
    assert!(last_stage.contains("\nUSER 65532:65532") && last_stage.contains("\nHEALTHCHECK "));
    let builds = dockerfile.matches("release/cargo build ").count();
    let of_server = "release/cargo build --locked --release -p latchkey";
    assert_eq!((builds, dockerfile.matches(of_server).count()), (2, 2));
    assert!(last_stage.contains("\nCOPY --from=build /build/target/release/latchkey /usr/"));
    assert!(dockerfile.contains("release/check target/release/latchkey "));
    assert!(dockerfile.contains("release/licenses target/THIRD-PARTY-LICENSES\n"));
    let documents = last_stage
        .lines()
        .find(|line| line.ends_with(" /usr/share/doc/latchkey/"))
        .expect("the license texts");
    for file in ["LICENSE-APACHE", "LICENSE-MIT", "THIRD-PARTY-LICENSES"] {
        assert!(documents.contains(&format!("/{file} ")), "{file}");
    }
    let ignored = fs::read_to_string(path(".dockerignore")).expect("it is there");
    let needs = [
        "Cargo.toml",
        "Cargo.lock",
        "crates/*/Cargo.toml",
        "src",
        "sql",
        "askama.toml",
        "release",
        "LICENSE-APACHE",
        "LICENSE-MIT",
    ];
    for needed in needs {
        assert!(
            ignored.lines().any(|line| line == format!("!{needed}")),
            "{needed} does not get into the build"
        );
    }
    // Cargo builds no package without the manifests of all, and one source file of each.
    let members = fs::read_dir(path("crates")).expect("it is there");
    for member in members {
        let name = member.expect("an entry").file_name();
        let copy = format!(
            "\nCOPY crates/{0}/Cargo.toml crates/{0}/\n",
            name.to_string_lossy()
        );
        assert!(dockerfile.contains(&copy), "missing: {copy}");
        let stub = format!(" crates/{}/src/", name.to_string_lossy());
        let touch = dockerfile.lines().find(|line| line.contains("touch "));
        assert!(
            touch.is_some_and(|line| line.contains(&stub)),
            "missing: {stub}"
        );
    }
}

#[test]
fn compose_and_nginx_name_the_settings_that_there_are() {
    let compose = fs::read_to_string(path("docker-compose.yml")).expect("it is there");
    let names = compose
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .filter(|word| word.starts_with("LATCHKEY_") && *word != "LATCHKEY_");
    for name in names {
        assert!(
            config::SETTINGS
                .iter()
                .any(|setting| setting.variable == name),
            "{name} is no setting"
        );
    }
}

#[test]
fn what_the_pages_tell_to_set_and_to_watch_is_there() {
    let metrics = fs::read_to_string(path("src/http/metrics.rs")).expect("it is there");
    let stack = fs::read_to_string(path("crates/dev/src/cli.rs")).expect("it is there");
    for page in ["README.md", "deploy/README.md", "deploy/SCALING.md"] {
        let text = fs::read_to_string(path(page)).expect("it is there");
        for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            // A histogram has no value of its own, but that of how often.
            let metric = word.strip_suffix("_count").unwrap_or(word);
            let is_metric = metrics.contains(&format!("\"{metric}\""));
            assert!(
                !word.starts_with("latchkey_") || is_metric,
                "{page}: {word} is no metric"
            );
            let is_setting = config::SETTINGS
                .iter()
                .any(|setting| setting.variable == word);
            let is_mark = word == "LATCHKEY_BLESS";
            let is_of_stack = word.starts_with("LATCHKEY_DEV_") && stack.contains(word);
            assert!(
                !word.starts_with("LATCHKEY_") || is_setting || is_mark || is_of_stack,
                "{page}: {word} is no setting"
            );
        }
    }
}
