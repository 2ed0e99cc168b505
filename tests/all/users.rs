//! User administration: authorization, validation, and effects of changes.

mod changes; // changes that revoke credentials on every replica
mod group_tokens; // groups in tokens, forward authentication, and races
mod groups; // groups, and the groups of users
mod invitations; // users without a password, invited by email
mod last_admin; // the last administrator can't be removed
mod lists; // pagination and search
mod recent_sign_in; // operations that require a recent sign-in
mod set_passwords; // passwords that an administrator has set

use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    contract::{operations, with_example},
    test_server::{PASSWORD, Session, TestResponse, TestServer},
    test_stores::query_value,
};

/// A server and an administrator.
struct Fixture {
    server: TestServer,
    admin: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let server = TestServer::with(changes).await;
        let admin = server.admin("root").await;
        Fixture { server, admin }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> TestResponse {
        self.server
            .with_token(method, path, &self.admin.access_token, body)
            .await
    }

    async fn get(&self, path: &str) -> TestResponse {
        self.call(Method::GET, path, Value::Null).await
    }

    async fn create(&self, body: Value) -> TestResponse {
        self.call(Method::POST, "/users", body).await
    }

    /// Signs up a user, and returns the path and the session of the user.
    async fn sign_up(&self, username: &str) -> (String, Session) {
        let session = self
            .server
            .sign_up_with_email(username, &format!("{username}@example.com"))
            .await;
        (session.user_path(), session)
    }

    async fn patch(&self, path: &str, change: Value) -> TestResponse {
        self.call(Method::PATCH, path, change).await
    }
}

/// Every operation on users, with this user ID.
fn user_operations(id: &str) -> Vec<(Method, String, &'static Value)> {
    let found: Vec<_> = operations(id)
        .into_iter()
        .filter(|(_, path, _)| *path == "/users" || path.starts_with("/users/"))
        .collect();
    assert!(
        found.len() >= 8,
        "the OpenAPI document lists the operations"
    );
    found
}

async fn send(
    server: &TestServer,
    method: &Method,
    path: &str,
    operation: &Value,
    session: Option<&Session>,
) -> TestResponse {
    let request = server.request(method.clone(), path);
    let request = session.iter().fold(request, |request, session| {
        request.bearer_auth(&session.access_token)
    });
    server.send(with_example(request, operation)).await
}

#[tokio::test]
async fn only_current_administrators_can_administer_users() {
    let fixture = Fixture::new().await;
    let (user_path, _) = fixture.sign_up("mary").await;
    let (revoked, demoted) = (
        fixture.server.admin("revoked").await,
        fixture.server.admin("demoted").await,
    );
    let non_admin = fixture.server.sign_up("user").await;
    fixture
        .call(
            Method::POST,
            &format!("{}/revoke", revoked.user_path()),
            Value::Null,
        )
        .await
        .is(204, "");
    fixture
        .patch(&demoted.user_path(), json!({"role": "user"}))
        .await
        .is(200, "");
    let table_text =
        |table: &str| format!("(select string_agg(t::text, ';' order by t::text) from {table} t)");
    let fingerprint = format!(
        "select {} || {}",
        table_text("users"),
        table_text("sessions")
    );
    let before = query_value(&fixture.server, &fingerprint).await;
    let operations = user_operations(user_path.rsplit('/').next().expect("an id"));
    let cases = [
        (None, 401, "unauthenticated"),
        (Some(&non_admin), 403, "forbidden"),
        (Some(&revoked), 401, "token_revoked"),
        (Some(&demoted), 401, "token_revoked"),
    ];
    for (method, path, operation) in &operations {
        for (session, status, code) in cases {
            let response = send(&fixture.server, method, path, operation, session).await;
            assert_eq!(
                (response.status, response.code().as_str()),
                (status, code),
                "{method} {path}"
            );
        }
    }
    assert_eq!(
        query_value(&fixture.server, &fingerprint).await,
        before,
        "rejected requests change nothing"
    );
    // The same operations succeed for an administrator. The deletion comes last.
    for (method, path, _) in operations
        .iter()
        .filter(|(method, _, _)| *method != Method::DELETE)
    {
        let body = match (method.as_str(), path.as_str()) {
            ("POST", "/users") => json!({"username": "new", "password": PASSWORD}),
            ("PUT", _) => {
                json!({
                    "username": "mary",
                    "email": null,
                    "name": null,
                    "role": "user",
                    "disabled": false,
                })
            }
            ("PATCH", _) => json!({}),
            _other => Value::Null,
        };
        let response = fixture.call(method.clone(), path, body).await;
        assert!(
            (200..300).contains(&response.status),
            "{method} {path}: {}",
            response.string()
        );
    }
    fixture
        .call(Method::DELETE, &user_path, Value::Null)
        .await
        .is(204, "");
}

#[tokio::test]
async fn user_is_created_read_replaced_updated_and_deleted() {
    let fixture = Fixture::new().await;
    let body = json!({
        "username": "john",
        "email": "john@example.com",
        "name": "John",
        "password": PASSWORD,
    });
    let created = fixture.create(body).await;
    let path = created.is(201, "").header("location").to_owned();
    assert_eq!(path, format!("/users/{}", created.text("id")));
    let read = fixture.get(&path).await;
    assert_eq!(read.is(200, "").body, created.body);
    assert_eq!(
        (&read.body["role"], &read.body["disabled"]),
        (&json!("user"), &json!(false))
    );
    assert_eq!(read.header("cache-control"), "no-store");
    fixture
        .server
        .try_sign_in("john", PASSWORD)
        .await
        .is(200, "");

    let replacement =
        json!({"username": "jane", "email": null, "name": null, "role": "user", "disabled": false});
    let replaced = fixture.call(Method::PUT, &path, replacement.clone()).await;
    assert_eq!(
        (
            replaced.is(200, "").text("username"),
            &replaced.body["email"]
        ),
        ("jane".into(), &Value::Null)
    );
    for field in ["username", "email", "name", "role", "disabled"] {
        let mut incomplete = replacement.clone();
        incomplete.as_object_mut().expect("an object").remove(field);
        let response = fixture.call(Method::PUT, &path, incomplete).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            field
        );
    }
    let changed = fixture.patch(&path, json!({"name": "Jane"})).await;
    assert_eq!(
        (changed.is(200, "").text("name"), changed.text("username")),
        ("Jane".into(), "jane".into())
    );
    fixture
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(204, "");
    fixture.get(&path).await.is(404, "not_found");
    fixture
        .server
        .try_sign_in("jane", PASSWORD)
        .await
        .is(401, "invalid_credentials");
}

#[tokio::test]
async fn unknown_user_is_not_found() {
    let fixture = Fixture::new().await;
    for id in [
        Uuid::now_v7().to_string(),
        "1".into(),
        "root".into(),
        "%00".into(),
        "..%2Fuser".into(),
    ] {
        for (method, path, operation) in user_operations(&id)
            .iter()
            .filter(|(_, path, _)| path != "/users")
        {
            let response = send(
                &fixture.server,
                method,
                path,
                operation,
                Some(&fixture.admin),
            )
            .await;
            assert_eq!(
                (response.status, response.code().as_str()),
                (404, "not_found"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn read_only_fields_and_invalid_values_are_rejected() {
    let fixture = Fixture::new().await;
    let (path, _) = fixture.sign_up("john").await;
    let before = fixture.get(&path).await.body;
    for field in [
        "id",
        "generation",
        "created_at",
        "email_verified",
        "identity_version",
        "password_hash",
        "roles",
        "scope",
    ] {
        let new = json!({"username": "new", "password": PASSWORD, field: "1"});
        let replacement = json!({
            "username": "a",
            "email": null,
            "name": null,
            "role": "user",
            "disabled": false,
            field: "1",
        });
        for response in [
            fixture.create(new).await,
            fixture.call(Method::PUT, &path, replacement).await,
            fixture.patch(&path, json!({field: "1"})).await,
        ] {
            assert_eq!(
                response.is(400, "invalid_request").body["errors"][0]["field"],
                field
            );
        }
    }
    for (field, value) in [
        ("role", json!("root")),
        ("role", Value::Null),
        ("disabled", json!("yes")),
        ("disabled", json!(1)),
    ] {
        let response = fixture.patch(&path, json!({field: value})).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            field
        );
    }
    assert_eq!(fixture.get(&path).await.body, before);
    assert_eq!(
        query_value(&fixture.server, "select count(*) from users").await,
        "2"
    );
}

#[tokio::test]
async fn invalid_new_user_is_rejected() {
    let fixture = Fixture::new().await;
    fixture.sign_up("john").await;
    let cases = [
        (json!({"password": PASSWORD}), 400, "invalid_request"),
        (
            json!({"username": "new", "password": "short"}),
            400,
            "weak_password",
        ),
        (
            json!({"username": "JOHN", "password": PASSWORD}),
            409,
            "username_taken",
        ),
        (
            json!({"email": "John@Example.com", "password": PASSWORD}),
            409,
            "email_taken",
        ),
        // Without email, the user can't be invited.
        (json!({"email": "new@example.com"}), 501, "email_disabled"),
        (json!({"username": "new"}), 400, "invalid_request"),
        (json!({}), 400, "invalid_request"),
    ];
    for (body, status, code) in cases {
        fixture.create(body).await.is(status, code);
    }
    assert_eq!(
        query_value(&fixture.server, "select count(*) from users").await,
        "2"
    );
    let admin = fixture
        .create(json!({"username": "new", "role": "admin", "password": PASSWORD}))
        .await;
    assert_eq!(admin.is(201, "").text("role"), "admin");
    let new = fixture.server.sign_in("new").await;
    fixture
        .server
        .with_token(Method::GET, "/users", &new.access_token, Value::Null)
        .await
        .is(200, "");
}

#[tokio::test]
async fn administrators_create_users_if_sign_up_is_closed() {
    let open = Fixture::new().await;
    let closed = open
        .server
        .replica_with(&[("LATCHKEY_SIGNUP", "admin")])
        .await;
    let new_user = json!({"username": "john", "password": PASSWORD});
    closed
        .post("/signup", new_user.clone())
        .await
        .is(403, "signup_closed");
    assert_eq!(
        query_value(&closed, "select count(*) from users").await,
        "1"
    );
    closed
        .with_token(Method::POST, "/users", &open.admin.access_token, new_user)
        .await
        .is(201, "");
    closed.sign_in("john").await;
    let pages = (
        open.server.get("/").await.string(),
        closed.get("/").await.string(),
    );
    assert!(
        pages.0.contains("Create an account") && !pages.1.contains("Create an account"),
        "{}",
        pages.1
    );
}
