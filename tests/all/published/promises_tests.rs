//! Which changes of the document break clients, and which do not.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::Promises;
use crate::contract::DOCUMENT;

/// What becomes of the promises when the document is changed there.
fn harm_of(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut document = DOCUMENT.clone();
    change(&mut document);
    Promises::of(&document).harm(&Promises::of(&DOCUMENT))
}

fn at<'a>(document: &'a mut Value, way: &str) -> &'a mut Value {
    document
        .pointer_mut(way)
        .unwrap_or_else(|| panic!("there is no {way}"))
}

fn without(document: &mut Value, way: &str, member: &str) {
    at(document, way)
        .as_object_mut()
        .expect("an object")
        .shift_remove(member)
        .expect("it was there");
}

const EVENTS: &str = "/paths/~1revocations/get/responses/200/x-events";
const CREATE: &str = "/paths/~1items/post";
const BODY: &str = "/components/schemas/ItemBody";
const ITEM: &str = "/components/schemas/Item";

#[test]
fn what_breaks_clients_is_found() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("gone: createItem is POST /items", |document| {
            without(document, "/paths/~1items", "post")
        }),
        ("gone: createItem is for cookie", |document| {
            *at(document, &format!("{CREATE}/security")) = json!([{ "session": ["items:write"] }])
        }),
        ("gone: createItem is for session items:write", |document| {
            *at(document, &format!("{CREATE}/security/0/session")) = json!(["admin"])
        }),
        ("gone: createItem answers 201 ETag", |document| {
            without(document, &format!("{CREATE}/responses/201/headers"), "ETag")
        }),
        ("new: createItem may answer 202", |document| {
            at(document, &format!("{CREATE}/responses"))["202"] = json!({})
        }),
        (
            "gone: logIn accepts application/x-www-form-urlencoded LoginForm",
            |document| without(document, "/paths/~1login/post/requestBody", "x-form"),
        ),
        ("gone: logOut:scope accepts others", |document| {
            *at(document, "/paths/~1logout/post/parameters/0/schema/enum") =
                json!(["session", "all"])
        }),
        ("new: listItems:limit must be there", |document| {
            at(document, "/paths/~1items/get/parameters/0")["required"] = json!(true)
        }),
        ("new: listItems:limit must keep maximum 50", |document| {
            *at(document, "/paths/~1items/get/parameters/0/schema/maximum") = json!(50)
        }),
        ("gone: ItemBody.description accepts string", |document| {
            without(document, &format!("{BODY}/properties"), "description")
        }),
        ("gone: ItemBody.description accepts null", |document| {
            without(
                document,
                &format!("{BODY}/properties/description"),
                "nullable",
            )
        }),
        ("new: ItemBody.description must be there", |document| {
            *at(document, &format!("{BODY}/required")) = json!(["name", "description"])
        }),
        ("new: ItemBody.colour must be there", |document| {
            at(document, &format!("{BODY}/properties"))["colour"] = json!({ "type": "string" });
            *at(document, &format!("{BODY}/required")) = json!(["name", "colour"]);
        }),
        ("new: ItemBody.name must keep maxLength 100", |document| {
            *at(document, &format!("{BODY}/properties/name/maxLength")) = json!(100)
        }),
        ("gone: Item.description is string", |document| {
            without(document, &format!("{ITEM}/properties"), "description")
        }),
        ("gone: Item.name is string", |document| {
            *at(document, &format!("{ITEM}/properties/name/type")) = json!("integer")
        }),
        ("new: Item.name may be null", |document| {
            at(document, &format!("{ITEM}/properties/name"))["nullable"] = json!(true)
        }),
        ("new: Item.name may be left out", |document| {
            *at(document, &format!("{ITEM}/required")) = json!(["id"])
        }),
        ("gone: signUp answers 409 username_taken", |document| {
            without(document, "/paths/~1signup/post/responses", "409")
        }),
        ("gone: signUp answers 429 Retry-After", |document| {
            without(
                document,
                "/paths/~1signup/post/responses/429/headers",
                "Retry-After",
            )
        }),
        (
            "gone: createItem answers 400 application/problem+json Problem",
            |document| {
                let content = at(document, &format!("{CREATE}/responses/400/content"));
                *content = json!({ "application/json": content["application/problem+json"] });
            },
        ),
        (
            "gone: followRevocations answers 200 event degraded",
            |document| without(document, EVENTS, "degraded"),
        ),
        (
            "gone: followRevocations.revoked.kind is string",
            |document| without(document, &format!("{EVENTS}/revoked/properties"), "kind"),
        ),
        ("gone: createItem is for cookie", |document| {
            *at(document, &format!("{CREATE}/security/1")) = json!({ "cookie": [], "client": [] })
        }),
        (
            "gone: scheme:cookie is apiKey cookie __Host-latchkey",
            |document| *at(document, "/components/securitySchemes/cookie/name") = json!("other"),
        ),
        (
            "gone: scheme:service is had by clientCredentials at /oauth/token",
            |document| {
                *at(
                    document,
                    "/components/securitySchemes/service/flows/clientCredentials/tokenUrl",
                ) = json!("/token")
            },
        ),
        ("new: SignUpBody must keep minProperties 3", |document| {
            at(document, "/components/schemas/SignUpBody")["minProperties"] = json!(3)
        }),
        ("new: TokenForm must have no other members", |document| {
            at(document, "/components/schemas/TokenForm")["additionalProperties"] = json!(false)
        }),
        ("new: Role may be owner", |document| {
            at(document, "/components/schemas/Role")["enum"] = json!(["user", "admin", "owner"])
        }),
    ];
    for (found, change) in changes {
        let harm = harm_of(change);
        assert!(harm.iter().any(|harm| harm == found), "{found}: {harm:?}");
    }
}

#[test]
fn what_harms_nobody_passes() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("an operation", |document| {
            let mut other = at(document, CREATE).clone();
            other["operationId"] = json!("createBook");
            at(document, "/paths")["/books"] = json!({ "post": other });
        }),
        ("a member that may be sent, with its limits", |document| {
            at(document, &format!("{BODY}/properties"))["colour"] =
                json!({ "type": "string", "maxLength": 10, "nullable": true });
        }),
        ("a member that is given", |document| {
            at(document, &format!("{ITEM}/properties"))["colour"] =
                json!({ "type": "string", "nullable": true })
        }),
        ("a parameter that may be sent", |document| {
            let parameter =
                json!({ "name": "colour", "in": "query", "schema": { "type": "string" } });
            at(document, "/paths/~1items/get/parameters")
                .as_array_mut()
                .expect("a list")
                .push(parameter);
        }),
        ("more room", |document| {
            *at(document, &format!("{BODY}/properties/name/maxLength")) = json!(300)
        }),
        ("another way to be allowed", |document| {
            at(document, &format!("{CREATE}/security"))
                .as_array_mut()
                .expect("a list")
                .push(json!({}))
        }),
        ("other words", |document| {
            *at(document, &format!("{CREATE}/description")) = json!("Makes one.")
        }),
        ("another refusal", |document| {
            let refusal = at(document, &format!("{CREATE}/responses/401")).clone();
            at(document, &format!("{CREATE}/responses"))["402"] = refusal;
        }),
        ("fewer members that must be sent", |document| {
            at(document, "/components/schemas/LoginBody")["minProperties"] = json!(1)
        }),
        ("no more null", |document| {
            without(
                document,
                &format!("{ITEM}/properties/description"),
                "nullable",
            )
        }),
    ];
    for (name, change) in changes {
        assert_eq!(harm_of(change), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn only_another_version_may_break_clients() {
    let of = |version: &str| Promises {
        version: version.to_owned(),
        sentences: BTreeSet::new(),
    };
    for (old, new, may) in [
        ("0.1.0", "0.1.0", false),
        ("0.1.0", "0.1.9", false),
        ("0.1.9", "0.2.0", true),
        ("0.9.0", "0.10.0", true),
        ("0.9.0", "1.0.0", true),
        ("1.1.0", "1.2.0", false),
        ("1.9.0", "2.0.0", true),
        ("2.0.0", "1.9.0", false),
    ] {
        assert_eq!(
            of(new).is_another_version_than(&of(old)),
            may,
            "{old} → {new}"
        );
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let promises = Promises::of(&DOCUMENT);
    let read = Promises::read(&promises.write());
    assert_eq!(
        (&read.version, &read.sentences),
        (&promises.version, &promises.sentences)
    );
}
