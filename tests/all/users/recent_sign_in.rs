//! Operations that create or change a credential, a role, groups, or an email address, or the
//! username of another user, require a sign-in within the last five minutes. Tokens of programs
//! can't use them.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    browser::{NAME, open},
    contract::operations,
    personal_access_tokens,
    test_server::{PASSWORD, TestResponse, claims},
    test_stores::query_value,
    token_signer::{TokenSigner, with},
};

const NEW_PASSWORD: &str = "correct horse 9";

/// Operations that require a recent sign-in, by operation ID.
const REQUIRING: [&str; 11] = [
    "createApplication",
    "createOAuthClient",
    "createPersonalAccessToken",
    "createUser",
    "deleteApplication",
    "deleteCurrentUser",
    "replaceUser",
    "rotateOAuthClientSecret",
    "updateApplication",
    "updateOAuthClient",
    "updateUser",
];

/// Operations with a token that write, and the reason why they require no recent sign-in.
const NOT_REQUIRING: [(&str, &str); 19] = [
    ("changePassword", "the body contains the current password"),
    (
        "requestEmailChange",
        "the body contains the current password",
    ),
    (
        "requestEmailVerification",
        "the code only verifies the stored address",
    ),
    ("verifyEmail", "the emailed code"),
    ("updateCurrentUser", "only the names"),
    ("createItem", "no credential"),
    ("replaceItem", "no credential"),
    ("updateItem", "no credential"),
    ("deleteItem", "no credential"),
    ("signOut", "only revokes"),
    ("revokeSession", "only revokes"),
    ("revokePersonalAccessToken", "only revokes"),
    ("revokeUserSession", "only revokes"),
    ("revokeUserCredentials", "only revokes"),
    ("deleteUser", "only revokes"),
    ("deleteOAuthClient", "only revokes"),
    ("createGroup", "a group gives no rights"),
    ("updateGroup", "only the description"),
    ("deleteGroup", "a group without members gives no rights"),
];

/// A request that writes a hash, a role, an address, or a secret.
struct Write {
    operation: &'static str,
    method: Method,
    path: String,
    body: Value,
}

impl Write {
    fn new(operation: &'static str, method: Method, path: &str, body: Value) -> Write {
        Write {
            operation,
            method,
            path: path.to_owned(),
            body,
        }
    }
}

fn replacement(changes: &[(&str, Value)]) -> Value {
    let mut body = json!({
        "username": "john",
        "email": "john@example.com",
        "name": null,
        "role": "user",
        "disabled": false,
    });
    for (field, value) in changes {
        body[*field] = value.clone();
    }
    body
}

/// Every write, about the user at `john`, the disabled user at `disabled`, an OAuth client, and an
/// application.
fn writes(john: &str, disabled: &str, client: &str, application: &str) -> Vec<Write> {
    let changes = [
        ("groups", json!(["finance"])),
        ("password", json!(NEW_PASSWORD)),
        ("role", json!("admin")),
        ("email", json!("j@example.com")),
        ("email", Value::Null),
        ("username", json!("jane")),
    ];
    let patches = changes.iter().map(|(field, value)| {
        Write::new("updateUser", Method::PATCH, john, json!({*field: value}))
    });
    let puts = changes.iter().map(|(field, value)| {
        let body = replacement(&[(field, value.clone())]);
        Write::new("replaceUser", Method::PUT, john, body)
    });
    let client = format!("/clients/{client}");
    let rotation = format!("{client}/rotate");
    let (user, admin) = (
        json!({"username": "new", "password": PASSWORD}),
        json!({"username": "new", "password": PASSWORD, "role": "admin"}),
    );
    let registration = json!({"name": "job", "scope": "items:read"});
    let others = [
        Write::new(
            "updateUser",
            Method::PATCH,
            disabled,
            json!({"disabled": false}),
        ),
        Write::new("createUser", Method::POST, "/users", user),
        Write::new("createUser", Method::POST, "/users", admin),
        Write::new(
            "createOAuthClient",
            Method::POST,
            "/clients",
            registration.clone(),
        ),
        Write::new(
            "rotateOAuthClientSecret",
            Method::POST,
            &rotation,
            Value::Null,
        ),
        Write::new(
            "updateOAuthClient",
            Method::PATCH,
            &client,
            json!({"scope": "items:read admin"}),
        ),
        Write::new(
            "createPersonalAccessToken",
            Method::POST,
            "/user/tokens",
            registration,
        ),
        Write::new(
            "createApplication",
            Method::POST,
            "/applications",
            json!({"origin": "https://new.example.net"}),
        ),
        Write::new(
            "updateApplication",
            Method::PATCH,
            application,
            json!({"role": "admin"}),
        ),
        Write::new(
            "deleteApplication",
            Method::DELETE,
            application,
            Value::Null,
        ),
        Write::new("deleteCurrentUser", Method::DELETE, "/user", Value::Null),
    ];
    patches.chain(puts).chain(others).collect()
}

/// The OpenAPI document contains no operation that the lists of this test don't contain.
#[test]
fn every_write_is_classified() {
    let classified: BTreeSet<&str> = REQUIRING
        .into_iter()
        .chain(NOT_REQUIRING.map(|(operation, _)| operation))
        .collect();
    let documented: BTreeSet<&str> = operations("id")
        .into_iter()
        .filter(|(method, _, operation)| {
            let alternatives = operation["security"].as_array().into_iter().flatten();
            *method != Method::GET
                && alternatives
                    .into_iter()
                    .any(|alternative| alternative.get("bearer").is_some())
        })
        .map(|(_, _, operation)| operation["operationId"].as_str().expect("an operation ID"))
        .collect();
    assert_eq!(documented, classified);
}

#[tokio::test]
async fn credentials_require_recent_sign_in_of_user() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    server.admin("second").await;
    let (john, _) = fixture.sign_up("john").await;
    let (disabled, _) = fixture.sign_up("mary").await;
    fixture
        .patch(&disabled, json!({"disabled": true}))
        .await
        .is(200, "");
    let registration = json!({"name": "client", "scope": "items:read"});
    let client = fixture
        .call(Method::POST, "/clients", registration)
        .await
        .is(201, "")
        .text("client_id");
    let application = json!({"origin": "https://app.example.net"});
    let application = fixture
        .call(Method::POST, "/applications", application)
        .await
        .is(201, "")
        .header("location")
        .to_owned();
    let scopes = "admin user:read user:write items:read";
    let (_, personal) = personal_access_tokens::make(server, &fixture.admin, scopes).await;
    let signer = TokenSigner::of(server).await;
    let signed_in_before = |claims: &Value, seconds: u64| {
        let now = claims["iat"].as_u64().expect("a timestamp");
        signer.sign(&with(claims, "auth_time", json!(now - seconds)))
    };
    let bearer = fixture.admin.claims();
    let (stale, recent) = (
        signed_in_before(&bearer, 301),
        signed_in_before(&bearer, 240),
    );
    let cookie = open(server, "root").await;
    let stale_cookie = signed_in_before(&claims(&cookie), 301);
    let create_group = "insert into groups values ('finance')";
    crate::test_stores::execute(server, create_group).await;
    let fingerprint = "select md5(
        coalesce((select string_agg(u::text, ';' order by id) from users u), '')
        || coalesce((select string_agg(a::text, ';' order by id) from applications a), '')
        || coalesce((select string_agg(c::text, ';' order by id) from oauth_clients c), '')
        || coalesce((select string_agg(id || scope || expires_at, ';' order by id) from personal_access_tokens), ''))";
    let before = query_value(server, fingerprint).await;
    let writes = writes(&john, &disabled, &client, &application);
    let operations: BTreeSet<&str> = writes.iter().map(|write| write.operation).collect();
    assert_eq!(operations, BTreeSet::from(REQUIRING));
    for write in &writes {
        let context = format!("{} {}", write.operation, write.body);
        let send =
            |token| server.with_token(write.method.clone(), &write.path, token, write.body.clone());
        let rejected = |response: TestResponse, code: &str| {
            assert_eq!(
                (response.status, response.code().as_str()),
                (403, code),
                "{context}"
            );
        };
        rejected(send(&stale).await, "reauthentication_required");
        rejected(send(&personal).await, "forbidden");
        let request = server
            .request(write.method.clone(), &write.path)
            .header("cookie", format!("{NAME}={stale_cookie}"))
            .header("x-latchkey-request", "1")
            .json(&write.body);
        rejected(server.send(request).await, "reauthentication_required");
    }
    assert_eq!(query_value(server, fingerprint).await, before);
    for write in writes {
        reset(&fixture, &john, &disabled).await;
        let response = server
            .with_token(write.method, &write.path, &recent, write.body.clone())
            .await;
        assert!(
            (200..300).contains(&response.status),
            "{} {}: {}",
            write.operation,
            write.body,
            response.string()
        );
    }
}

/// Restores the users and removes the created ones, so that each write changes something.
async fn reset(fixture: &Fixture, john: &str, disabled: &str) {
    let (john, disabled) = (id(john), id(disabled));
    let restore = format!(
        "with john as (
            update users set username = 'john', email = 'john@example.com', role = 'user',
                groups = '{{}}'
            where id = '{john}'
        ), mary as (update users set disabled = true where id = '{disabled}')
        delete from users where username = 'new'"
    );
    crate::test_stores::execute(&fixture.server, &restore).await;
    let release = "delete from reserved_names where reserved_until is not null";
    crate::test_stores::execute(&fixture.server, release).await;
}

fn id(path: &str) -> &str {
    path.rsplit('/').next().expect("an ID")
}

/// A change of the display name, the same values, and disabling are possible without a recent
/// sign-in, so that a program can react to an incident.
#[tokio::test]
async fn other_changes_require_no_recent_sign_in() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    let (_, personal) = personal_access_tokens::make(server, &fixture.admin, "admin").await;
    let claims = fixture.admin.claims();
    let now = claims["iat"].as_u64().expect("a timestamp");
    let signer = TokenSigner::of(server).await;
    let stale = signer.sign(&with(&claims, "auth_time", json!(now - 301)));
    for (number, token) in [stale, personal].iter().enumerate() {
        let (path, session) = fixture.sign_up(&format!("john{number}")).await;
        let mut same = fixture.get(&path).await.body;
        let fields = ["username", "email", "name", "role", "groups", "disabled"];
        same.as_object_mut()
            .expect("an object")
            .retain(|field, _| fields.contains(&field.as_str()));
        for (method, path, body) in [
            (Method::PUT, path.clone(), same),
            (Method::PATCH, path.clone(), json!({"name": "John"})),
            (Method::PATCH, path.clone(), json!({"disabled": true})),
        ] {
            server
                .with_token(method, &path, token, body)
                .await
                .is(200, "");
        }
        server.rejects(&session).await;
        server
            .with_token(Method::DELETE, &path, token, Value::Null)
            .await
            .is(204, "");
    }
}

/// Also with a recent sign-in, administrators change their own user only with `/user`.
#[tokio::test]
async fn administrator_cannot_change_own_user_as_administrator() {
    let fixture = Fixture::new().await;
    fixture.server.admin("second").await;
    let path = fixture.admin.user_path();
    let replacement = replacement(&[("username", json!("root")), ("role", json!("admin"))]);
    for (method, body) in [
        (Method::PATCH, json!({"password": NEW_PASSWORD})),
        (Method::PATCH, json!({"name": "Root"})),
        (Method::PUT, replacement),
        (Method::DELETE, Value::Null),
    ] {
        fixture.call(method, &path, body).await.is(403, "forbidden");
    }
    fixture.server.sign_in("root").await;
}
