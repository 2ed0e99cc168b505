//! The programs in `examples/`, run against a server: 200 before the sign-out, 401 after it, and
//! 503 without the server.
//!
//! Python and Node run with all tests. `./dev clients` also compiles and runs Rust and Go.

mod programs;

use std::process::Command;

use programs::Program;
use reqwest::StatusCode;
use serde_json::json;

use crate::test_server::TestServer;

/// Runs the program of a language in front of a server, and checks all its responses.
async fn check_example(start: fn(&TestServer) -> Program) {
    let mut server = TestServer::start().await;
    let program = start(&server);
    let session = server.sign_up("john").await;
    let form = [
        ("username", "john"),
        ("password", "secret123"),
        ("scope", "user:read"),
    ];
    let limited = server.form("/login", &form).await.text("access_token");
    let admin = server.admin("admin").await;
    let token = session.access_token.as_str();

    let response = program.get_with_server("/me", None).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let challenge = &response.headers()["www-authenticate"];
    assert!(challenge.to_str().expect("text").starts_with("Bearer"));

    let response = program.get_with_server("/me", Some(token)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(
        body,
        json!({"id": session.claim("sub"), "username": "john"})
    );

    let response = program.get_with_server("/items", Some(token)).await;
    assert_eq!(response.status(), StatusCode::OK);
    let body: serde_json::Value = response.json().await.expect("JSON");
    assert_eq!(body, json!(["Book", "Lamp"]));

    let response = program.get_with_server("/items", Some(&limited)).await;
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
    let challenge = &response.headers()["www-authenticate"];
    assert!(
        challenge
            .to_str()
            .expect("text")
            .contains("insufficient_scope")
    );

    for (token, status) in [
        (token, StatusCode::FORBIDDEN),
        (&admin.access_token, StatusCode::OK),
    ] {
        assert_eq!(
            program
                .get_with_server("/admin", Some(token))
                .await
                .status(),
            status
        );
    }
    let response = program.get_with_server("/me", Some("not.a.token")).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);

    server.sign_out(token).await.is(204, "");
    for path in ["/me", "/items"] {
        let response = program.get_with_server(path, Some(token)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{path}");
    }
    server.kill();
    for token in [None, Some(token), Some(admin.access_token.as_str())] {
        let response = program.get("/me", token).await;
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}

#[tokio::test]
async fn fastapi_example_follows_the_sign_out() {
    check_example(programs::fastapi).await;
}

#[tokio::test]
async fn express_example_follows_the_sign_out() {
    check_example(programs::express).await;
}

/// A program that doesn't compile can't follow a later change of the API.
#[tokio::test]
async fn express_example_has_no_type_error() {
    let folder = programs::express_folder("express-types");
    let mut check = Command::new(programs::node());
    check
        .arg("node_modules/typescript/bin/tsc")
        .current_dir(folder);
    crate::tools::succeeds(check, String::new()).await;
}

#[tokio::test]
#[ignore = "compiles for minutes: `./dev clients rust`"]
async fn axum_example_follows_the_sign_out() {
    programs::build_axum();
    check_example(programs::axum).await;
}

#[tokio::test]
#[ignore = "requires Go: `./dev clients go`"]
async fn go_example_follows_the_sign_out() {
    programs::build_go();
    check_example(programs::go).await;
}
