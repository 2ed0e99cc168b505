//! One's own items: create, read, update, delete, pages, lost updates.

use std::collections::HashSet;

use reqwest::{Method, header};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    test_server::{Session, TestResponse, TestServer},
    test_stores::{ask, execute},
};

/// Somebody with items.
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

    /// The path of a new item.
    async fn make(&self, name: &str) -> String {
        let response = self
            .call(
                Method::POST,
                "/items",
                json!({"name": name, "description": "as made"}),
            )
            .await;
        response.is(201, "").header("location").to_owned()
    }

    /// With these `If-Match` fields.
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
async fn an_item_is_made_read_changed_and_deleted() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    let made = john
        .call(
            Method::POST,
            "/items",
            json!({"name": "Book", "description": "A nice book"}),
        )
        .await;
    let path = made.is(201, "").header("location").to_owned();
    assert_eq!(path, format!("/items/{}", made.text("id")));
    let read = john.get(&path).await;
    assert_eq!(
        (&read.is(200, "").body, read.header("etag")),
        (&made.body, made.header("etag"))
    );
    let changed = john
        .call(Method::PATCH, &path, json!({"name": "Better book"}))
        .await;
    assert_eq!(
        (
            changed.is(200, "").text("name"),
            changed.text("description")
        ),
        ("Better book".into(), "A nice book".into())
    );
    assert_ne!(changed.header("etag"), made.header("etag"));
    assert_eq!(changed.body["created_at"], made.body["created_at"]);
    john.call(Method::DELETE, &path, Value::Null)
        .await
        .is(204, "");
    john.get(&path).await.is(404, "not_found");
    john.call(Method::DELETE, &path, Value::Null)
        .await
        .is(404, "not_found");
    john.call(Method::PATCH, &path, json!({"name": "x"}))
        .await
        .is(404, "not_found");
}

#[tokio::test]
async fn a_slash_at_the_end_is_tolerated() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    let made = john
        .call(Method::POST, "/items/", json!({"name": "Book"}))
        .await;
    let path = format!("{}/", made.is(201, "").header("location"));
    john.get(&path).await.is(200, "");
    assert_eq!(
        john.get("/items/").await.is(200, "").body["data"]
            .as_array()
            .map(Vec::len),
        Some(1)
    );
    john.call(Method::DELETE, &path, Value::Null)
        .await
        .is(204, "");
}

#[tokio::test]
async fn lengths_are_counted_in_characters() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    let (name, description) = ("ü".repeat(200), "😀".repeat(10_000));
    let made = john
        .call(
            Method::POST,
            "/items",
            json!({"name": name, "description": description}),
        )
        .await;
    assert_eq!(
        (made.is(201, "").text("name"), made.text("description")),
        (name.clone(), description.clone())
    );
    let path = made.header("location").to_owned();
    for (member, value) in [
        ("name", format!("{name}ü")),
        ("name", String::new()),
        ("description", "a".repeat(10_001)),
    ] {
        let response = john
            .call(Method::PATCH, &path, json!({member: value}))
            .await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            member
        );
    }
    john.call(
        Method::PATCH,
        &path,
        json!({"description": "line\n\tline\r\n"}),
    )
    .await
    .is(200, "");
    john.call(Method::PATCH, &path, json!({"name": "two\nlines"}))
        .await
        .is(400, "invalid_request");
    assert_eq!(john.get(&path).await.text("name"), name);
}

#[tokio::test]
async fn put_replaces_and_patch_changes() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    let path = john.make("Book").await;
    let cases = [
        (Method::PATCH, json!({}), Some(("Book", json!("as made")))),
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
        let response = john.call(method.clone(), &path, body.clone()).await;
        match expected {
            None => {
                assert_eq!(
                    response.is(400, "invalid_request").body["errors"][0]["field"],
                    "name",
                    "{method} {body}"
                )
            }
            Some((name, description)) => {
                let now = john.get(&path).await.body;
                assert_eq!(
                    (
                        response.is(200, "").body["name"].clone(),
                        &now["name"],
                        &now["description"]
                    ),
                    (json!(name), &json!(name), &description),
                    "{method} {body}"
                );
            }
        }
    }
}

#[tokio::test]
async fn somebody_elses_item_is_not_there() {
    let server = TestServer::shared().await;
    let (john, jane) = (
        Owner::new(&server, "john").await,
        Owner::new(&server, "jane").await,
    );
    let path = john.make("Book").await;
    let before = john.get(&path).await.body;
    let nobodys = format!("/items/{}", Uuid::now_v7());
    for path in [
        path.as_str(),
        &nobodys,
        "/items/1",
        "/items/not-a-uuid",
        "/items/%00",
        "/items/..%2Fuser",
    ] {
        jane.get(path).await.is(404, "not_found");
        jane.call(Method::PUT, path, json!({"name": "Mine"}))
            .await
            .is(404, "not_found");
        jane.call(Method::PATCH, path, json!({"name": "Mine"}))
            .await
            .is(404, "not_found");
        jane.call(Method::DELETE, path, Value::Null)
            .await
            .is(404, "not_found");
        jane.call_if(Method::DELETE, path, &["\"1\""], Value::Null)
            .await
            .is(404, "not_found");
        jane.call_if(Method::PATCH, path, &["*"], json!({"name": "Mine"}))
            .await
            .is(404, "not_found");
    }
    assert_eq!(john.get(&path).await.body, before);
    assert_eq!(
        jane.get("/items").await.body,
        json!({"data": [], "next": null})
    );
}

#[tokio::test]
async fn pages_show_every_item_once_while_others_come() {
    let server = TestServer::shared().await;
    let (john, jane) = (
        Owner::new(&server, "john").await,
        Owner::new(&server, "jane").await,
    );
    jane.make("Not John's").await;
    let mut made = Vec::new();
    for number in 0..23 {
        made.push(john.make(&format!("Item {number}")).await);
    }
    let (mut seen, mut path, mut pages) = (Vec::new(), "/items?limit=5".to_owned(), 0);
    loop {
        let page = john.get(&path).await;
        let items = page.is(200, "").body["data"].as_array().expect("a list");
        assert!((1..=5).contains(&items.len()));
        seen.extend(
            items
                .iter()
                .map(|item| format!("/items/{}", item["id"].as_str().expect("an id"))),
        );
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/items?limit=5&after={next}");
        if pages < 3 {
            made.push(john.make("Came meanwhile").await);
        }
        pages += 1;
    }
    assert_eq!(seen, made, "in order of making, each once");
}

#[tokio::test]
async fn limits_and_cursors_are_checked() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    for number in 0..21 {
        john.make(&number.to_string()).await;
    }
    for (path, count) in [
        ("/items", 20),
        ("/items?limit=1", 1),
        ("/items?limit=100", 21),
    ] {
        assert_eq!(
            john.get(path).await.is(200, "").body["data"]
                .as_array()
                .map(Vec::len),
            Some(count),
            "{path}"
        );
    }
    for bad in [
        "0",
        "101",
        "-1",
        "1.5",
        "x",
        "",
        "%31%30%30%30",
        "99999999999999999999",
    ] {
        let response = john.get(&format!("/items?limit={bad}")).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            "limit",
            "{bad}"
        );
    }
    let next = john.get("/items?limit=1").await.text("next");
    for bad in [
        "x",
        "",
        &next[1..],
        &format!("{next}A"),
        &format!("{next}=="),
        &Uuid::now_v7().to_string(),
    ] {
        let response = john.get(&format!("/items?after={bad}")).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            "after",
            "{bad}"
        );
    }
    john.get("/items?limit=1&limit=2")
        .await
        .is(400, "invalid_request");
}

/// Between the check and the insert the account may go: the row behind the gateway's back does the
/// same.
#[tokio::test]
async fn an_account_that_is_gone_makes_no_items() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    execute(&server, "delete from users").await;
    john.call(Method::POST, "/items", json!({"name": "Book"}))
        .await
        .is(401, "token_revoked");
    john.get("/dashboard").await.is(401, "token_revoked");
    john.call(Method::PATCH, "/user", json!({"name": "John"}))
        .await
        .is(401, "token_revoked");
}

/// The cursor of one's own list shows nothing of another's.
#[tokio::test]
async fn a_strangers_cursor_is_only_a_position() {
    let server = TestServer::shared().await;
    let (john, jane) = (
        Owner::new(&server, "john").await,
        Owner::new(&server, "jane").await,
    );
    for number in 0..3 {
        john.make(&number.to_string()).await;
    }
    let path = jane.make("Hers").await;
    let johns = john.get("/items?limit=2").await.text("next");
    let page = jane.get(&format!("/items?after={johns}")).await;
    let ids: Vec<_> = page.body["data"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|item| format!("/items/{}", item["id"].as_str().expect("an id")))
        .collect();
    assert_eq!(ids, [path]);
}

#[tokio::test]
async fn of_two_writers_with_one_tag_one_wins() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    let path = john.make("Book").await;
    let mut names = HashSet::new();
    for round in 0..10 {
        let etag = john.get(&path).await.header("etag").to_owned();
        let write = |name: String| {
            let (john, path, tag) = (&john, &path, etag.as_str());
            async move {
                (
                    john.call_if(Method::PATCH, path, &[tag], json!({"name": name}))
                        .await,
                    name,
                )
            }
        };
        let (first, second) = tokio::join!(
            write(format!("first {round}")),
            write(format!("second {round}"))
        );
        let (won, lost) = if first.0.status == 200 {
            (first, second)
        } else {
            (second, first)
        };
        won.0.is(200, "");
        lost.0.is(412, "precondition_failed");
        assert_eq!(john.get(&path).await.text("name"), won.1);
        names.insert(won.1);
    }
    assert_eq!(names.len(), 10);
}

#[tokio::test]
async fn if_match_is_read_as_the_standard_says() {
    let server = TestServer::shared().await;
    let john = Owner::new(&server, "john").await;
    for method in [Method::PUT, Method::PATCH, Method::DELETE] {
        let path = john.make("Book").await;
        let body = if method == Method::DELETE {
            Value::Null
        } else {
            json!({"name": "Changed"})
        };
        let refused: [&[&str]; 6] = [
            &["\"2\""],
            &["W/\"1\""],
            &["1"],
            &["\"abc\", \"7\""],
            &["\"2\"", "\"3\""],
            &[""],
        ];
        for tags in refused {
            john.call_if(method.clone(), &path, tags, body.clone())
                .await
                .is(412, "precondition_failed");
        }
        assert_eq!(john.get(&path).await.text("name"), "Book", "{method}");
        let done = if method == Method::DELETE { 204 } else { 200 };
        john.call_if(method.clone(), &path, &["\"abc\", \"1\""], body.clone())
            .await
            .is(done, "");
        let again = john.make("Book").await;
        john.call_if(method.clone(), &again, &["\"9\"", "\"1\""], body.clone())
            .await
            .is(done, "");
        let any = john.make("Book").await;
        john.call_if(method.clone(), &any, &["*"], body.clone())
            .await
            .is(done, "");
    }
    assert_eq!(ask(&server, "select count(*) from items").await, "6");
}
