//! Tests of the contract: which changes of the OpenAPI document break clients.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{
    super::{assert_generated, is_blessed, path},
    FILE, Promises,
};
use crate::contract::DOCUMENT;

/// Compares two contracts. Returns the report, or the reason for which the test fails.
fn compare(old: &Promises, new: &Promises, is_blessed: bool) -> Result<String, String> {
    let changes = new.breaking_changes(old).join("\n");
    if changes.is_empty() {
        Ok(String::new())
    } else if new.is_pre_release() {
        Ok(format!(
            "{} is a pre-release version, so these breaking changes are allowed:\n{changes}",
            new.version
        ))
    } else if is_blessed && new.can_break_clients_of(old) {
        Ok(format!(
            "{} breaks clients of {}:\n{changes}",
            new.version, old.version
        ))
    } else {
        Err(format!(
            "these changes break clients of {}; increase the version in Cargo.toml, then bless \
             them:\n{changes}",
            old.version
        ))
    }
}

#[test]
fn contract_is_unchanged_while_version_is_unchanged() {
    let old = fs::read_to_string(path(FILE)).expect("the file is checked in");
    let (old, new) = (Promises::read(&old), Promises::of(&DOCUMENT));
    match compare(&old, &new, is_blessed()) {
        Ok(report) => println!("{report}"),
        Err(failure) => panic!("{failure}"),
    }
    assert_generated(FILE, &new.write());
}

/// The breaking changes that result from a change of the OpenAPI document.
fn breaking_changes_of(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut document = DOCUMENT.clone();
    change(&mut document);
    Promises::of(&document).breaking_changes(&Promises::of(&DOCUMENT))
}

fn at<'a>(document: &'a mut Value, pointer: &str) -> &'a mut Value {
    document
        .pointer_mut(pointer)
        .unwrap_or_else(|| panic!("no value at {pointer}"))
}

fn without(document: &mut Value, pointer: &str, field: &str) {
    at(document, pointer)
        .as_object_mut()
        .expect("an object")
        .shift_remove(field)
        .expect("an existing field");
}

const EVENTS: &str = "/paths/~1revocations/get/responses/200/x-events";
const CREATE: &str = "/paths/~1items/post";
const BODY: &str = "/components/schemas/CreateItemRequest";
const ITEM: &str = "/components/schemas/Item";

#[test]
fn breaking_changes_are_found() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("removed: createItem is POST /items", |document| {
            without(document, "/paths/~1items", "post")
        }),
        ("removed: createItem is for sessionCookie", |document| {
            *at(document, &format!("{CREATE}/security")) = json!([{ "password": ["items:write"] }])
        }),
        (
            "removed: createItem is for password items:write",
            |document| *at(document, &format!("{CREATE}/security/1/password")) = json!(["admin"]),
        ),
        ("removed: createItem returns 201 ETag", |document| {
            without(document, &format!("{CREATE}/responses/201/headers"), "ETag")
        }),
        ("added: createItem may return 202", |document| {
            at(document, &format!("{CREATE}/responses"))["202"] = json!({})
        }),
        (
            "removed: signIn accepts application/x-www-form-urlencoded SignInForm",
            |document| without(document, "/paths/~1login/post/requestBody", "x-form"),
        ),
        ("removed: signOut:scope accepts others", |document| {
            *at(document, "/paths/~1logout/post/parameters/0/schema/enum") =
                json!(["session", "all"])
        }),
        ("added: listItems:limit must be present", |document| {
            at(document, "/paths/~1items/get/parameters/0")["required"] = json!(true)
        }),
        ("added: listItems:limit must keep maximum 50", |document| {
            *at(document, "/paths/~1items/get/parameters/0/schema/maximum") = json!(50)
        }),
        (
            "removed: CreateItemRequest.description accepts string",
            |document| without(document, &format!("{BODY}/properties"), "description"),
        ),
        (
            "removed: CreateItemRequest.description accepts null",
            |document| {
                without(
                    document,
                    &format!("{BODY}/properties/description"),
                    "nullable",
                )
            },
        ),
        (
            "added: CreateItemRequest.description must be present",
            |document| *at(document, &format!("{BODY}/required")) = json!(["name", "description"]),
        ),
        (
            "added: CreateItemRequest.unplanned_field must be present",
            |document| {
                at(document, &format!("{BODY}/properties"))["unplanned_field"] =
                    json!({ "type": "string" });
                *at(document, &format!("{BODY}/required")) = json!(["name", "unplanned_field"]);
            },
        ),
        (
            "added: CreateItemRequest.name must keep maxLength 100",
            |document| *at(document, &format!("{BODY}/properties/name/maxLength")) = json!(100),
        ),
        ("removed: Item.description is string", |document| {
            without(document, &format!("{ITEM}/properties"), "description")
        }),
        ("removed: Item.name is string", |document| {
            *at(document, &format!("{ITEM}/properties/name/type")) = json!("integer")
        }),
        ("added: Item.name may be null", |document| {
            at(document, &format!("{ITEM}/properties/name"))["nullable"] = json!(true)
        }),
        ("added: Item.name may be absent", |document| {
            *at(document, &format!("{ITEM}/required")) = json!(["id"])
        }),
        ("removed: signUp returns 409 username_taken", |document| {
            without(document, "/paths/~1signup/post/responses", "409")
        }),
        ("removed: signUp returns 429 Retry-After", |document| {
            without(
                document,
                "/paths/~1signup/post/responses/429/headers",
                "Retry-After",
            )
        }),
        (
            "removed: createItem returns 400 application/problem+json ErrorResponse",
            |document| {
                let content = at(document, &format!("{CREATE}/responses/400/content"));
                *content = json!({ "application/json": content["application/problem+json"] });
            },
        ),
        (
            "removed: streamRevocations returns 200 event degraded",
            |document| without(document, EVENTS, "degraded"),
        ),
        (
            "removed: streamRevocations.revoked.kind is string",
            |document| without(document, &format!("{EVENTS}/revoked/properties"), "kind"),
        ),
        ("removed: createItem is for sessionCookie", |document| {
            *at(document, &format!("{CREATE}/security/2")) =
                json!({ "sessionCookie": [], "clientBasic": [] })
        }),
        (
            "removed: scheme:sessionCookie is apiKey cookie __Host-latchkey",
            |document| {
                *at(document, "/components/securitySchemes/sessionCookie/name") = json!("other")
            },
        ),
        (
            "removed: scheme:clientCredentials uses clientCredentials at /oauth/token",
            |document| {
                *at(
                    document,
                    "/components/securitySchemes/clientCredentials/flows/clientCredentials/tokenUrl",
                ) = json!("/token")
            },
        ),
        (
            "added: SignUpRequest must keep minProperties 3",
            |document| {
                at(document, "/components/schemas/SignUpRequest")["minProperties"] = json!(3)
            },
        ),
        (
            "added: IssueTokenRequest must have no other fields",
            |document| {
                at(document, "/components/schemas/IssueTokenRequest")["additionalProperties"] =
                    json!(false)
            },
        ),
        ("added: Role may be owner", |document| {
            at(document, "/components/schemas/Role")["enum"] = json!(["user", "admin", "owner"])
        }),
    ];
    for (expected, change) in changes {
        let found = breaking_changes_of(change);
        assert!(
            found.iter().any(|change| change == expected),
            "{expected}: {found:?}"
        );
    }
}

#[test]
fn compatible_changes_pass() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("an operation", |document| {
            let mut operation = at(document, CREATE).clone();
            operation["operationId"] = json!("createBook");
            at(document, "/paths")["/books"] = json!({ "post": operation });
        }),
        ("an optional request field with limits", |document| {
            at(document, &format!("{BODY}/properties"))["unplanned_field"] =
                json!({ "type": "string", "maxLength": 10, "nullable": true });
        }),
        ("a response field", |document| {
            at(document, &format!("{ITEM}/properties"))["unplanned_field"] =
                json!({ "type": "string", "nullable": true })
        }),
        ("an optional parameter", |document| {
            let parameter =
                json!({ "name": "unplanned_field", "in": "query", "schema": { "type": "string" } });
            at(document, "/paths/~1items/get/parameters")
                .as_array_mut()
                .expect("a list")
                .push(parameter);
        }),
        ("a higher limit", |document| {
            *at(document, &format!("{BODY}/properties/name/maxLength")) = json!(300)
        }),
        ("an alternative security requirement", |document| {
            at(document, &format!("{CREATE}/security"))
                .as_array_mut()
                .expect("a list")
                .push(json!({}))
        }),
        ("another description", |document| {
            *at(document, &format!("{CREATE}/description")) = json!("Makes one.")
        }),
        ("another error response", |document| {
            let error = at(document, &format!("{CREATE}/responses/401")).clone();
            at(document, &format!("{CREATE}/responses"))["402"] = error;
        }),
        ("fewer required fields", |document| {
            at(document, "/components/schemas/SignInRequest")["minProperties"] = json!(1)
        }),
        ("a field that is no longer nullable", |document| {
            without(
                document,
                &format!("{ITEM}/properties/description"),
                "nullable",
            )
        }),
    ];
    for (name, change) in changes {
        assert_eq!(breaking_changes_of(change), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn only_new_versions_can_break_clients() {
    let promises = |version: &str| Promises {
        version: version.to_owned(),
        sentences: BTreeSet::new(),
    };
    for (old, new, can_break) in [
        ("0.1.0", "0.1.0", false),
        ("0.1.0", "0.1.9", false),
        ("0.1.9", "0.2.0", true),
        ("0.9.0", "0.10.0", true),
        ("0.9.0", "1.0.0", true),
        ("1.1.0", "1.2.0", false),
        ("1.9.0", "2.0.0", true),
        ("2.0.0", "1.9.0", false),
        ("0.1.0-dev", "0.1.0-dev", true),
        ("0.1.0-dev", "0.1.0", true),
        ("0.1.0", "0.1.1-dev", false),
    ] {
        assert_eq!(
            promises(new).can_break_clients_of(&promises(old)),
            can_break,
            "{old} → {new}"
        );
    }
}

#[test]
fn written_contract_is_read_unchanged() {
    let promises = Promises::of(&DOCUMENT);
    let parsed = Promises::read(&promises.write());
    assert_eq!(
        (&parsed.version, &parsed.sentences),
        (&promises.version, &promises.sentences)
    );
}

#[test]
fn pre_release_versions_report_changes_and_pass() {
    let promises = |version: &str, sentence: &str| Promises {
        version: version.to_owned(),
        sentences: BTreeSet::from([sentence.to_owned()]),
    };
    let (unchanged_sentence, changed_sentence) =
        ("getUser is GET /users/{id}", "getUser is GET /people/{id}");
    let compare_versions = |old: &str, new: &str, sentence: &str, is_blessed: bool| {
        compare(
            &promises(old, unchanged_sentence),
            &promises(new, sentence),
            is_blessed,
        )
    };
    let unchanged = compare_versions("0.1.0", "0.1.0", unchanged_sentence, false);
    assert_eq!(unchanged, Ok(String::new()));
    for (old, new, is_blessed) in [
        ("0.1.0-dev", "0.1.0-dev", false),
        ("0.1.0", "0.2.0-rc.1", false),
        ("0.1.0-dev", "0.1.0", true),
        ("0.1.0", "0.2.0", true),
    ] {
        let report = compare_versions(old, new, changed_sentence, is_blessed).expect("a report");
        assert!(
            report.contains(&format!("removed: {unchanged_sentence}")),
            "{old} → {new}: {report}"
        );
    }
    for (old, new, is_blessed) in [
        ("0.1.0", "0.1.0", false),
        ("0.1.0", "0.1.0", true),
        ("0.1.0-dev", "0.1.0", false),
        ("0.1.0", "0.2.0", false),
    ] {
        let failure =
            compare_versions(old, new, changed_sentence, is_blessed).expect_err("a failure");
        assert!(
            failure.contains(&format!("removed: {unchanged_sentence}")),
            "{old} → {new}: {failure}"
        );
    }
}
