//! `--output json`: the same values as the API, with the secrets of the text output only.

use reqwest::Method;
use serde_json::{Value, json};

use super::{NEW_PASSWORD, command, run_user_command};
use crate::test_server::{PASSWORD, Session, TestServer};

/// Runs a command with `--output json`, asserts success, and returns the JSON.
async fn run_json(server: &TestServer, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--output", "json"]].concat();
    let output = command(server, &arguments).await.well();
    serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"))
}

/// Returns the response of an operation for administrators.
async fn get(server: &TestServer, admin: &Session, path: &str) -> Value {
    let response = server.with_token(Method::GET, path, &admin.access_token, Value::Null);
    response.await.is(200, "").body.clone()
}

#[tokio::test]
async fn users_and_sessions_equal_those_of_the_api() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let john = server.sign_up_with_email("john", "john@example.com").await;
    let sign_in = server
        .request(Method::POST, "/login")
        .header("user-agent", "curl/8.5.0")
        .json(&json!({"username": "john", "password": PASSWORD}));
    server.send(sign_in).await.is(200, "");
    let users = run_json(&server, &["user", "list"]).await;
    assert_eq!(users, get(&server, &admin, "/users").await);
    assert_eq!(users["data"].as_array().map(Vec::len), Some(2));
    let path = john.user_path();
    let shown = run_json(&server, &["user", "show", "john"]).await;
    assert_eq!(shown["user"], get(&server, &admin, &path).await);
    let sessions = get(&server, &admin, &format!("{path}/sessions")).await;
    assert_eq!(shown["sessions"], sessions["data"]);
    assert_eq!(shown["sessions"].as_array().map(Vec::len), Some(2));
}

#[tokio::test]
async fn incomplete_list_of_users_contains_cursor_of_the_api() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    for username in ["john", "mary"] {
        server.sign_up(username).await;
    }
    let arguments = ["user", "list", "--limit", "1", "--output", "json"];
    let limited = command(&server, &arguments).await;
    assert!(limited.err.contains("hint: more users match"));
    let limited: Value = serde_json::from_str(&limited.out).expect("JSON");
    let next = limited["next"].as_str().expect("a cursor");
    let rest = get(&server, &admin, &format!("/users?after={next}")).await;
    let usernames: Vec<&str> = [&limited, &rest]
        .into_iter()
        .flat_map(|page| page["data"].as_array().expect("a list"))
        .filter_map(|user| user["username"].as_str())
        .collect();
    assert_eq!(usernames, ["root", "john", "mary"]);
    assert_eq!(rest["next"], Value::Null);
}

#[tokio::test]
async fn created_user_and_reset_code_are_printed() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let arguments = ["user", "create", "--email", "john@example.com"];
    let created = run_json(&server, &arguments).await;
    let path = format!("/users/{}", created["user"]["id"].as_str().expect("an ID"));
    assert_eq!(created["user"], get(&server, &admin, &path).await);
    let password = created["password"].as_str().expect("a password");
    server
        .try_sign_in("john@example.com", password)
        .await
        .is(200, "");
    let arguments = ["create", "--username", "mary", "--password-stdin"];
    let arguments = [&arguments[..], &["--output", "json"]].concat();
    let created = run_user_command(&server, &arguments, NEW_PASSWORD).await;
    assert!(!created.contains(NEW_PASSWORD), "{created}");
    let created: Value = serde_json::from_str(&created).expect("JSON");
    assert_eq!(created["password"], Value::Null);
    server.try_sign_in("mary", NEW_PASSWORD).await.is(200, "");

    let arguments = ["user", "reset-password", "john@example.com"];
    let reset = run_json(&server, &arguments).await;
    assert_eq!(reset["expires_in"], 600);
    let code = reset["code"].as_str().expect("a code");
    let email = "john@example.com";
    server
        .reset_password(email, code, NEW_PASSWORD)
        .await
        .is(204, "");
}

#[tokio::test]
async fn clients_equal_those_of_the_api() {
    let server = TestServer::start().await;
    let admin = server.admin("root").await;
    let register = ["client", "create", "billing", "--scope", "items:read"];
    let created = run_json(&server, &register).await;
    let id = created["client_id"].as_str().expect("an ID");
    let path = format!("/clients/{id}");
    let client = get(&server, &admin, &path).await;
    assert_eq!(created["client"], client);
    assert_eq!(run_json(&server, &["client", "show", id]).await, client);
    let clients = get(&server, &admin, "/clients").await;
    assert_eq!(run_json(&server, &["client", "list"]).await, clients);
    let token = async |created: &Value| {
        let secret = created["client_secret"].as_str().expect("a secret");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret),
        ];
        server.form("/oauth/token", &form).await.status
    };
    assert_eq!(token(&created).await, 200);
    let rotated = run_json(&server, &["client", "rotate-secret", id, "--yes"]).await;
    assert_eq!((token(&created).await, token(&rotated).await), (401, 200));
    assert_eq!(rotated["client"], get(&server, &admin, &path).await);
}

#[tokio::test]
async fn signing_keys_are_printed_as_json() {
    let server = TestServer::start().await;
    let rotated = run_json(&server, &["keys", "rotate"]).await;
    let keys = run_json(&server, &["keys", "list"]).await;
    assert_eq!(keys["next"], Value::Null);
    let [next, current] = &keys["data"].as_array().expect("a list")[..] else {
        panic!("two keys: {keys}")
    };
    assert_eq!(next["state"], "next");
    assert_eq!(current["state"], "current");
    assert_eq!(current["until"], next["since"]);
    for field in ["kid", "state", "since"] {
        assert_eq!(rotated[field], next[field], "{field}: {rotated}");
    }
}
