//! Items of a user: create, read, update, delete, pages, and lost updates.

use std::collections::HashSet;

use reqwest::{Method, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    test_server::{Session, TestResponse, TestServer},
    test_stores::{execute, query_value},
};

/// A user with items.
struct Owner<'a> {
    server: &'a TestServer,
    session: Session,
}

impl<'a> Owner<'a> {
    async fn new(server: &'a TestServer, username: &str) -> Owner<'a> {
        Owner {
            server,
            session: server.sign_up(username).await,
        }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> TestResponse {
        self.server
            .with_token(method, path, &self.session.access_token, body)
            .await
    }

    async fn get(&self, path: &str) -> TestResponse {
        self.call(Method::GET, path, Value::Null).await
    }

    /// Creates an item and returns its path.
    async fn create(&self, name: &str) -> String {
        let response = self
            .call(
                Method::POST,
                "/items",
                json!({"name": name, "description": "initial"}),
            )
            .await;
        response.is(201, "").header("location").to_owned()
    }

    /// Sends a request with these `If-Match` headers.
    async fn call_if(
        &self,
        method: Method,
        path: &str,
        tags: &[&str],
        body: Value,
    ) -> TestResponse {
        let request = self
            .server
            .request(method, path)
            .bearer_auth(&self.session.access_token);
        let request = tags.iter().fold(request, |request, tag| {
            request.header(header::IF_MATCH, *tag)
        });
        self.server
            .send(if body.is_null() {
                request
            } else {
                request.json(&body)
            })
            .await
    }
}

#[tokio::test]
async fn item_is_created_read_updated_and_deleted() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    let created = owner
        .call(
            Method::POST,
            "/items",
            json!({"name": "Book", "description": "A nice book"}),
        )
        .await;
    let path = created.is(201, "").header("location").to_owned();
    assert_eq!(path, format!("/items/{}", created.text("id")));
    let read = owner.get(&path).await;
    assert_eq!(
        (&read.is(200, "").body, read.header("etag")),
        (&created.body, created.header("etag"))
    );
    let updated = owner
        .call(Method::PATCH, &path, json!({"name": "Better book"}))
        .await;
    assert_eq!(
        (
            updated.is(200, "").text("name"),
            updated.text("description")
        ),
        ("Better book".into(), "A nice book".into())
    );
    assert_ne!(updated.header("etag"), created.header("etag"));
    assert_eq!(updated.body["created_at"], created.body["created_at"]);
    owner
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(204, "");
    owner.get(&path).await.is(404, "not_found");
    owner
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(404, "not_found");
    owner
        .call(Method::PATCH, &path, json!({"name": "x"}))
        .await
        .is(404, "not_found");
}

#[tokio::test]
async fn trailing_slash_is_accepted() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    let created = owner
        .call(Method::POST, "/items/", json!({"name": "Book"}))
        .await;
    let path = format!("{}/", created.is(201, "").header("location"));
    owner.get(&path).await.is(200, "");
    assert_eq!(
        owner.get("/items/").await.is(200, "").body["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    owner
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(204, "");
}

#[tokio::test]
async fn item_lengths_are_counted_in_characters() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    let (name, description) = ("ü".repeat(200), "😀".repeat(10_000));
    let created = owner
        .call(
            Method::POST,
            "/items",
            json!({"name": name, "description": description}),
        )
        .await;
    assert_eq!(
        (
            created.is(201, "").text("name"),
            created.text("description")
        ),
        (name.clone(), description.clone())
    );
    let path = created.header("location").to_owned();
    for (field, value) in [
        ("name", format!("{name}ü")),
        ("name", String::new()),
        ("description", "a".repeat(10_001)),
    ] {
        let response = owner
            .call(Method::PATCH, &path, json!({field: value}))
            .await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            field
        );
    }
    owner
        .call(
            Method::PATCH,
            &path,
            json!({"description": "line\n\tline\r\n"}),
        )
        .await
        .is(200, "");
    owner
        .call(Method::PATCH, &path, json!({"name": "two\nlines"}))
        .await
        .is(400, "invalid_request");
    assert_eq!(owner.get(&path).await.text("name"), name);
}

#[tokio::test]
async fn put_replaces_and_patch_updates_an_item() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    let path = owner.create("Book").await;
    let cases = [
        (Method::PATCH, json!({}), Some(("Book", json!("initial")))),
        (
            Method::PATCH,
            json!({"description": null}),
            Some(("Book", Value::Null)),
        ),
        (
            Method::PATCH,
            json!({"description": ""}),
            Some(("Book", json!(""))),
        ),
        (Method::PATCH, json!({"name": null}), None),
        (
            Method::PUT,
            json!({"name": "New", "description": "whole"}),
            Some(("New", json!("whole"))),
        ),
        (
            Method::PUT,
            json!({"name": "Newer"}),
            Some(("Newer", Value::Null)),
        ),
        (Method::PUT, json!({"description": "nameless"}), None),
    ];
    for (method, body, expected) in cases {
        let response = owner.call(method.clone(), &path, body.clone()).await;
        match expected {
            None => {
                assert_eq!(
                    response.is(400, "invalid_request").body["errors"][0]["field"],
                    "name",
                    "{method} {body}"
                )
            }
            Some((name, description)) => {
                let current = owner.get(&path).await.body;
                assert_eq!(
                    (
                        response.is(200, "").body["name"].clone(),
                        &current["name"],
                        &current["description"]
                    ),
                    (json!(name), &json!(name), &description),
                    "{method} {body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn items_of_other_users_are_not_found() {
    let server = TestServer::shared().await;
    let (owner, other) = (
        Owner::new(&server, "john").await,
        Owner::new(&server, "jane").await,
    );
    let path = owner.create("Book").await;
    let before = owner.get(&path).await.body;
    let nonexistent = format!("/items/{}", Uuid::now_v7());
    for path in [
        path.as_str(),
        &nonexistent,
        "/items/1",
        "/items/not-a-uuid",
        "/items/%00",
        "/items/..%2Fuser",
    ] {
        other.get(path).await.is(404, "not_found");
        other
            .call(Method::PUT, path, json!({"name": "Mine"}))
            .await
            .is(404, "not_found");
        other
            .call(Method::PATCH, path, json!({"name": "Mine"}))
            .await
            .is(404, "not_found");
        other
            .call(Method::DELETE, path, Value::Null)
            .await
            .is(404, "not_found");
        other
            .call_if(Method::DELETE, path, &["\"1\""], Value::Null)
            .await
            .is(404, "not_found");
        other
            .call_if(Method::PATCH, path, &["*"], json!({"name": "Mine"}))
            .await
            .is(404, "not_found");
    }
    assert_eq!(owner.get(&path).await.body, before);
    assert_eq!(
        other.get("/items").await.body,
        json!({"data": [], "next": null})
    );
}

#[tokio::test]
async fn pages_contain_every_item_once_despite_inserts() {
    let server = TestServer::shared().await;
    let (owner, other) = (
        Owner::new(&server, "john").await,
        Owner::new(&server, "jane").await,
    );
    other.create("Not John's").await;
    let mut created = Vec::new();
    for number in 0..23 {
        created.push(owner.create(&format!("Item {number}")).await);
    }
    let (mut listed, mut path, mut pages) = (Vec::new(), "/items?limit=5".to_owned(), 0);
    loop {
        let page = owner.get(&path).await;
        let items = page.is(200, "").body["data"].as_array().expect("a list");
        assert!((1..=5).contains(&items.len()));
        listed.extend(
            items
                .iter()
                .map(|item| format!("/items/{}", item["id"].as_str().expect("an ID"))),
        );
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/items?limit=5&after={next}");
        if pages < 3 {
            created.push(owner.create("Inserted meanwhile").await);
        }
        pages += 1;
    }
    assert_eq!(listed, created, "each item once, in the order of creation");
}

#[tokio::test]
async fn invalid_limits_and_cursors_are_rejected() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    for number in 0..21 {
        owner.create(&number.to_string()).await;
    }
    for (path, count) in [
        ("/items", 20),
        ("/items?limit=1", 1),
        ("/items?limit=100", 21),
    ] {
        assert_eq!(
            owner.get(path).await.is(200, "").body["data"]
                .as_array()
                .map(Vec::len),
            Some(count),
            "{path}"
        );
    }
    for invalid in [
        "0",
        "101",
        "-1",
        "1.5",
        "x",
        "",
        "%31%30%30%30",
        "99999999999999999999",
    ] {
        let response = owner.get(&format!("/items?limit={invalid}")).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            "limit",
            "{invalid}"
        );
    }
    let next = owner.get("/items?limit=1").await.text("next");
    for invalid in [
        "x",
        "",
        &next[1..],
        &format!("{next}A"),
        &format!("{next}=="),
        &Uuid::now_v7().to_string(),
    ] {
        let response = owner.get(&format!("/items?after={invalid}")).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            "after",
            "{invalid}"
        );
    }
    owner
        .get("/items?limit=1&limit=2")
        .await
        .is(400, "invalid_request");
}

/// A user can be deleted between the check and the insert. Deleting the row has the same effect.
#[tokio::test]
async fn deleted_user_cannot_create_items() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    execute(&server, "delete from users").await;
    owner
        .call(Method::POST, "/items", json!({"name": "Book"}))
        .await
        .is(401, "token_revoked");
    owner.get("/dashboard").await.is(401, "token_revoked");
    owner
        .call(Method::PATCH, "/user", json!({"name": "John"}))
        .await
        .is(401, "token_revoked");
}

/// A cursor is a position and grants no access.
#[tokio::test]
async fn cursor_of_another_user_reveals_no_items() {
    let server = TestServer::shared().await;
    let (owner, other) = (
        Owner::new(&server, "john").await,
        Owner::new(&server, "jane").await,
    );
    for number in 0..3 {
        owner.create(&number.to_string()).await;
    }
    let path = other.create("Hers").await;
    let cursor = owner.get("/items?limit=2").await.text("next");
    let page = other.get(&format!("/items?after={cursor}")).await;
    let ids: Vec<_> = page.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| format!("/items/{}", item["id"].as_str().expect("an ID")))
        .collect();
    assert_eq!(ids, [path]);
}

#[tokio::test]
async fn one_of_two_writers_with_the_same_etag_succeeds() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    let path = owner.create("Book").await;
    let mut names = HashSet::new();
    for round in 0..10 {
        let etag = owner.get(&path).await.header("etag").to_owned();
        let write = |name: String| {
            let (owner, path, etag) = (&owner, &path, etag.as_str());
            async move {
                (
                    owner
                        .call_if(Method::PATCH, path, &[etag], json!({"name": name}))
                        .await,
                    name,
                )
            }
        };
        let (first, second) = tokio::join!(
            write(format!("first {round}")),
            write(format!("second {round}"))
        );
        let (succeeded, failed) = if first.0.status == 200 {
            (first, second)
        } else {
            (second, first)
        };
        succeeded.0.is(200, "");
        failed.0.is(412, "precondition_failed");
        assert_eq!(owner.get(&path).await.text("name"), succeeded.1);
        names.insert(succeeded.1);
    }
    assert_eq!(names.len(), 10);
}

#[tokio::test]
async fn if_match_follows_rfc_9110() {
    let server = TestServer::shared().await;
    let owner = Owner::new(&server, "john").await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let path = owner.create("Book").await;
        let body = if method == Method::DELETE {
            Value::Null
        } else {
            json!({"name": "Changed"})
        };
        let mismatches: [&[&str]; 6] = [
            &["\"2\""],
            &["W/\"1\""],
            &["1"],
            &["\"abc\", \"7\""],
            &["\"2\"", "\"3\""],
            &[""],
        ];
        for tags in mismatches {
            owner
                .call_if(method.clone(), &path, tags, body.clone())
                .await
                .is(412, "precondition_failed");
        }
        assert_eq!(owner.get(&path).await.text("name"), "Book", "{method}");
        let status = if method == Method::DELETE { 204 } else { 200 };
        owner
            .call_if(method.clone(), &path, &["\"abc\", \"1\""], body.clone())
            .await
            .is(status, "");
        let other_path = owner.create("Book").await;
        owner
            .call_if(
                method.clone(),
                &other_path,
                &["\"9\"", "\"1\""],
                body.clone(),
            )
            .await
            .is(status, "");
        let third_path = owner.create("Book").await;
        owner
            .call_if(method.clone(), &third_path, &["*"], body.clone())
            .await
            .is(status, "");
    }
    assert_eq!(
        query_value(&server, "select count(*) from items").await,
        "6"
    );
}
