//! Generated files that are checked in must match the code: the OpenAPI document, the Postman
//! collection, `.env.example`, `sql/schema.sql`, and parts of the pages in `docs/reference`.
//! `LATCHKEY_BLESS=1` rewrites them.

mod postman; // the Postman collection, and a run of its walkthrough
mod promises; // the contract with API clients
mod reference; // the generated parts of the reference pages
mod schema; // the database schema
mod supply_chain; // third-party crates: license notices, rules, and paths in binaries

use std::{fs, path::PathBuf};

use latchkey::config;

use crate::contract::DOCUMENT;

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Whether the test run rewrites the generated files.
fn is_blessed() -> bool {
    std::env::var_os("LATCHKEY_BLESS").is_some()
}

/// Asserts that a file has this content. If the test run blesses files, rewrites it first.
fn assert_generated(name: &str, expected: &str) {
    if is_blessed() {
        fs::write(path(name), expected).expect("a writable file");
    }
    let found = fs::read_to_string(path(name)).unwrap_or_default();
    assert!(
        found == expected,
        "{name} doesn't match the code; run: LATCHKEY_BLESS=1 ./dev test published::"
    );
}

#[test]
fn openapi_document_is_current() {
    assert_generated("openapi/latchkey.json", &latchkey::http::document::json());
}

#[test]
fn env_example_is_current() {
    assert_generated(".env.example", &config::env_example());
}

#[test]
fn openapi_document_has_no_duplicate_names() {
    /// Rejects duplicate names, which JSON allows and parsers silently drop.
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
                    return Err(serde::de::Error::custom(format!("{name} is duplicated")));
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

    let parsed: Result<Unique, _> = serde_json::from_str(&latchkey::http::document::json());
    if let Err(error) = parsed {
        panic!("{error}");
    }
}

/// Generic response descriptions, which are too unspecific for the OpenAPI document.
const GENERIC_DESCRIPTIONS: [&str; 2] = ["The request succeeded.", "The request was accepted."];

#[test]
fn every_operation_is_described() {
    for (path, operations) in DOCUMENT["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let is_present = |field: &str| {
                operation[field]
                    .as_str()
                    .is_some_and(|text| !text.is_empty())
            };
            assert!(
                is_present("operationId") && is_present("summary"),
                "{method} {path}"
            );
            assert!(
                operation["tags"]
                    .as_array()
                    .is_some_and(|tags| tags.len() == 1),
                "{method} {path}"
            );
            for (status, response) in operation["responses"].as_object().expect("responses") {
                assert!(
                    response["description"].as_str().is_some_and(
                        |text| !text.is_empty() && !GENERIC_DESCRIPTIONS.contains(&text)
                    ),
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
        // RFC 6749 requires that unknown parameters of OAuth requests are ignored.
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
fn compose_file_starts_three_replicas_behind_nginx() {
    let compose = fs::read_to_string(path("docker-compose.yml")).expect("the file exists");
    let mut compose: serde_yaml::Value = serde_yaml::from_str(&compose).expect("YAML");
    compose.apply_merge().expect("valid merge keys");
    let services = compose["services"].as_mapping().expect("services");
    let nginx = fs::read_to_string(path("deploy/nginx.conf")).expect("the file exists");
    for replica in ["latchkey-1", "latchkey-2", "latchkey-3"] {
        assert_eq!(services[replica]["build"], ".", "{replica}");
        let secret = services[replica]["environment"]["LATCHKEY_SECRET"]
            .as_str()
            .expect("a secret");
        assert!(
            secret.starts_with("${LATCHKEY_SECRET:?"),
            "{replica}: the secret must come from the environment"
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
    let trusted_proxies = services["latchkey-1"]["environment"]["LATCHKEY_TRUSTED_PROXIES"]
        .as_str()
        .expect("trusted proxies");
    assert_eq!(
        trusted_proxies,
        format!("{balancer}/32"),
        "only the balancer"
    );
    let mounted = services["balancer"]["volumes"][0]
        .as_str()
        .expect("a configuration file");
    assert!(mounted.starts_with("./deploy/nginx.conf:"), "{mounted}");
}

#[test]
fn image_is_slim_unprivileged_and_complete() {
    let dockerfile = fs::read_to_string(path("Dockerfile")).expect("the file exists");
    let last_stage = dockerfile.rsplit("\nFROM ").next().expect("stages");
    assert!(last_stage.starts_with("debian:bookworm-slim"));
    assert!(last_stage.contains("\nUSER 65532:65532") && last_stage.contains("\nHEALTHCHECK "));
    assert!(last_stage.contains(r#" CMD ["/usr/local/bin/latchkey", "health"]"#));
    let builds = dockerfile.matches("release/cargo build ").count();
    let server_build = "release/cargo build --locked --release -p latchkey";
    assert_eq!((builds, dockerfile.matches(server_build).count()), (2, 2));
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
    let dockerignore = fs::read_to_string(path(".dockerignore")).expect("the file exists");
    let build_files = [
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
    for file in build_files {
        assert!(
            dockerignore.lines().any(|line| line == format!("!{file}")),
            "{file} is missing in the build context"
        );
    }
    // Cargo requires the manifest and one source file of every workspace member.
    let members = fs::read_dir(path("crates")).expect("the folder exists");
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
fn compose_file_uses_existing_settings() {
    let compose = fs::read_to_string(path("docker-compose.yml")).expect("the file exists");
    let names = compose
        .split(|c: char| !(c.is_ascii_uppercase() || c == '_'))
        .filter(|word| word.starts_with("LATCHKEY_") && *word != "LATCHKEY_");
    for name in names {
        assert!(
            config::SETTINGS
                .iter()
                .any(|setting| setting.variable == name),
            "{name} isn't a setting"
        );
    }
}
