//! Sign-up and sign-in.

use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use futures_util::future::join_all;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    test_server::{PASSWORD, Session, TestResponse, TestServer},
    test_stores::{execute, query_value},
};

const COUNT_USERS: &str = "select count(*) from users";

#[tokio::test]
async fn sign_up_returns_a_session() {
    let server = TestServer::shared().await;
    let body = json!({
        "username": "John",
        "email": " john@example.com ",
        "password": "secret123",
        "name": "John Doe",
    });
    let response = server.post("/signup", body).await;
    response.is(201, "");
    assert_eq!(
        (
            response.header("location"),
            response.header("cache-control")
        ),
        ("/user", "no-store")
    );
    let user = &response.body["user"];
    assert_eq!(
        (&user["username"], &user["email"]),
        (&json!("John"), &json!("john@example.com"))
    );
    assert_eq!(
        (&user["name"], &user["role"], &user["email_verified"]),
        (&json!("John Doe"), &json!("user"), &json!(false))
    );
    assert_eq!(response.body["token_type"], "bearer");
    assert_eq!(
        server.verify(&Session::of(&response).access_token).await.0,
        204
    );
}

#[tokio::test]
async fn sign_up_requires_username_or_email() {
    let server = TestServer::shared().await;
    for identifiers in [
        json!({"username": "john"}),
        json!({"email": "jane@example.com"}),
        json!({"username": null, "email": "joe@example.com"}),
    ] {
        let mut body = identifiers.clone();
        body["password"] = json!(PASSWORD);
        server.post("/signup", body).await.is(201, "");
    }
    let neither = server.post("/signup", json!({"password": PASSWORD})).await;
    neither.is(400, "invalid_request");
    assert_eq!(neither.body["errors"][0]["field"], "username");
    assert_eq!(query_value(&server, COUNT_USERS).await, "3");
}

#[tokio::test]
async fn taken_username_or_email_is_rejected_in_any_case() {
    let server = TestServer::shared().await;
    server.sign_up_with_email("john", "john@example.com").await;
    let taken = [
        (
            json!({"username": "JOHN", "password": PASSWORD}),
            "username_taken",
        ),
        (
            json!({"email": "John@Example.COM", "password": PASSWORD}),
            "email_taken",
        ),
        (
            json!({"username": "jane", "email": "john@example.com", "password": PASSWORD}),
            "email_taken",
        ),
    ];
    for (body, code) in taken {
        server.post("/signup", body).await.is(409, code);
    }
    assert_eq!(query_value(&server, COUNT_USERS).await, "1");
    assert_eq!(
        query_value(&server, "select count(*) from sessions").await,
        "1",
        "a rejected sign-up creates no session"
    );
}

#[tokio::test]
async fn one_of_32_concurrent_sign_ups_gets_the_username() {
    let server = TestServer::start().await;
    let (second, spellings) = (server.replica().await, ["john", "John", "JOHN", "jOHN"]);
    let sign_ups = (0..32).map(|number| {
        let replica = if number % 2 == 0 { &server } else { &second };
        replica.post(
            "/signup",
            json!({"username": spellings[number % 4], "password": PASSWORD}),
        )
    });
    let responses = join_all(sign_ups).await;
    assert_eq!(
        responses
            .iter()
            .filter(|response| response.status == 201)
            .count(),
        1
    );
    for rejected in responses.iter().filter(|response| response.status != 201) {
        rejected.is(409, "username_taken");
    }
    assert_eq!(query_value(&server, COUNT_USERS).await, "1");
}

#[tokio::test]
async fn weak_passwords_are_rejected() {
    let server = TestServer::start().await;
    for weak in [
        "short",
        "1234567",
        "ümläute",
        "password",
        "PASSWORD",
        "12345678",
        "qwertyuiop",
    ] {
        let response = server
            .post("/signup", json!({"username": "john", "password": weak}))
            .await;
        response.is(400, "weak_password");
        assert!(
            weak == "password" || !response.string().contains(weak),
            "{}",
            response.string()
        );
    }
    let strict = server
        .replica_with(&[("LATCHKEY_PASSWORD_MIN", "15")])
        .await;
    strict
        .post(
            "/signup",
            json!({"username": "john", "password": "fourteen chars"}),
        )
        .await
        .is(400, "weak_password");
    assert_eq!(query_value(&server, COUNT_USERS).await, "0");
}

#[tokio::test]
async fn passwords_are_not_trimmed_folded_or_truncated() {
    let server = TestServer::shared().await;
    let password = format!(" Pässwörd\u{0}\t{} ", "x".repeat(200));
    server
        .post("/signup", json!({"username": "john", "password": password}))
        .await
        .is(201, "");
    for wrong in [
        password.trim(),
        &password.to_lowercase(),
        &password[..72],
        &password.replace('\u{0}', ""),
        &format!("{password}x"),
    ] {
        server
            .try_sign_in("john", wrong)
            .await
            .is(401, "invalid_credentials");
    }
    server.try_sign_in("john", &password).await.is(200, "");
}

#[tokio::test]
async fn sign_in_fields_accept_username_or_email() {
    let server = TestServer::shared().await;
    let user_id = server
        .sign_up_with_email("john", "john@example.com")
        .await
        .claims()["sub"]
        .clone();
    for field in ["username", "email"] {
        for name in [
            "john",
            "JOHN",
            "john@example.com",
            "John@Example.com",
            " john@example.com ",
        ] {
            let response = server
                .post("/login", json!({field: name, "password": PASSWORD}))
                .await;
            response.is(200, "");
            assert_eq!(
                (
                    &Session::of(&response).claims()["sub"],
                    response.header("cache-control")
                ),
                (&user_id, "no-store")
            );
        }
    }
    for (body, error_field) in [
        (json!({"password": PASSWORD}), "username"),
        (
            json!({"username": "john", "email": "john@example.com", "password": PASSWORD}),
            "email",
        ),
    ] {
        let response = server.post("/login", body).await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            error_field
        );
    }
}

#[tokio::test]
async fn sign_in_form_of_swagger_ui_is_accepted() {
    let server = TestServer::shared().await;
    server.sign_up_with_email("john", "john@example.com").await;
    server
        .form(
            "/login",
            &[("username", "john@example.com"), ("password", PASSWORD)],
        )
        .await
        .is(200, "");
    let form = [
        ("grant_type", "password"),
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", ""),
        ("client_id", ""),
        ("client_secret", ""),
    ];
    for authorization in ["Basic Og==", "Basic "] {
        let request = server
            .request(Method::POST, "/login")
            .header(header::AUTHORIZATION, authorization);
        server.send(request.form(&form)).await.is(200, "");
    }
    let unknown = server
        .form(
            "/login",
            &[
                ("username", "john"),
                ("password", PASSWORD),
                ("role", "admin"),
            ],
        )
        .await;
    unknown.is(400, "invalid_request");
    let duplicate = [
        ("username", "john"),
        ("username", "jane"),
        ("password", PASSWORD),
    ];
    server
        .form("/login", &duplicate)
        .await
        .is(400, "invalid_request");
}

#[tokio::test]
async fn failed_sign_ins_are_indistinguishable() {
    let server = TestServer::shared().await;
    for name in ["john", "jane", "joe"] {
        server.sign_up(name).await;
    }
    execute(
        &server,
        "update users set disabled = true where username in ('jane', 'joe')",
    )
    .await;
    let wrong = server.try_sign_in("john", "wrong-password").await;
    wrong.is(401, "invalid_credentials");
    let stable_body = |response: &TestResponse| response.without_request_id();
    assert_eq!(
        wrong.header("www-authenticate"),
        "Bearer realm=\"latchkey\""
    );
    let attempts = [
        ("unknown", PASSWORD),
        ("unknown@example.com", PASSWORD),
        ("jane", PASSWORD),
        ("joe", "wrong-password"),
    ];
    for (name, password) in attempts {
        let response = server.try_sign_in(name, password).await;
        assert_eq!(
            (
                response.status,
                stable_body(&response),
                stable_headers(&response),
            ),
            (401, stable_body(&wrong), stable_headers(&wrong)),
            "{name}"
        );
    }
    assert_eq!(
        query_value(&server, "select count(*) from sessions").await,
        "3",
        "only the sign-ups created sessions"
    );
}

/// Returns all headers except those that differ in every response.
fn stable_headers(response: &TestResponse) -> Vec<(String, String)> {
    let text = |value: &header::HeaderValue| value.to_str().expect("plain text").to_owned();
    let mut headers: Vec<_> = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), text(value)))
        .collect();
    headers.retain(|(name, _)| name != "date" && name != "x-request-id");
    headers.sort();
    headers
}

#[tokio::test]
async fn each_sign_in_creates_a_session() {
    let server = TestServer::shared().await;
    let first = server.sign_up("john").await;
    let (second, third) = (server.sign_in("john").await, server.sign_in("john").await);
    let refreshed = Session::of(&server.refresh(&third.refresh_token).await);
    let sessions = [
        first.claims(),
        second.claims(),
        third.claims(),
        refreshed.claims(),
    ];
    let count_distinct = |name: &str| {
        let mut values: Vec<String> = sessions
            .iter()
            .map(|claims| claims[name].to_string())
            .collect();
        values.sort();
        values.dedup();
        values.len()
    };
    assert_eq!(
        (
            count_distinct("sub"),
            count_distinct("sid"),
            count_distinct("jti")
        ),
        (1, 3, 4)
    );
}

#[tokio::test]
async fn access_token_contains_the_documented_claims() {
    let server = TestServer::with(&[("LATCHKEY_AUDIENCE", "https://api.example.com")]).await;
    let claims = server
        .sign_up_with_email("john", "john@example.com")
        .await
        .claims();
    let expected = json!({
        "iss": "https://auth.example.com",
        "aud": "https://api.example.com",
        "client_id": "latchkey",
        "generation": 1,
        "scope": "user:read user:write items:read items:write",
        "roles": ["user"],
        "username": "john",
        "email": "john@example.com",
        "email_verified": false,
    });
    for (name, value) in expected.as_object().expect("an object") {
        assert_eq!(&claims[name], value, "{name}");
    }
    let seconds = |name: &str| claims[name].as_u64().expect(name);
    assert_eq!(
        (
            seconds("exp") - seconds("iat"),
            seconds("session_exp") - seconds("auth_time")
        ),
        (900, 30 * 86_400)
    );
    assert_eq!(claims["name"], Value::Null);
}

#[tokio::test]
async fn sign_in_upgrades_a_weak_password_hash() {
    let server = TestServer::shared().await;
    let session = server.sign_up("john").await;
    execute(
        &server,
        &format!(
            "update users set password_hash = '{}'",
            hash_password(PASSWORD, 1024, 1)
        ),
    )
    .await;
    server
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    assert!(
        read_password_hash(&server).await.contains("m=1024,t=1,"),
        "a wrong password upgrades nothing"
    );
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    let upgraded = read_password_hash(&server).await;
    assert!(
        upgraded.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"),
        "{upgraded}"
    );
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    assert_eq!(
        read_password_hash(&server).await,
        upgraded,
        "the hash is upgraded once"
    );
    assert_eq!(server.verify(&session.access_token).await.0, 204);
}

#[tokio::test]
async fn hashes_of_both_implementations_are_accepted() {
    let implementation = |name| [("LATCHKEY_HASH_IMPLEMENTATION", name)];
    let default = TestServer::with(&implementation("rustcrypto")).await;
    let fast = default.replica_with(&implementation("argon2-rust")).await;
    for (signs_up, signs_in, username) in [(&default, &fast, "john"), (&fast, &default, "mary")] {
        signs_up.sign_up(username).await;
        for (password, status, code) in [
            (PASSWORD, 200, ""),
            ("wrong-password", 401, "invalid_credentials"),
        ] {
            let response = signs_in.try_sign_in(username, password).await;
            response.is(status, code);
        }
    }
    assert!(!fast.has_logged(&["self-test"]), "{:?}", fast.log());
}

async fn read_password_hash(server: &TestServer) -> String {
    query_value(server, "select password_hash from users").await
}

/// Returns an Argon2id hash with these parameters in the PHC format.
pub fn hash_password(password: &str, memory: u32, passes: u32) -> String {
    let (mut salt, mut hash) = ([0; 16], [0; 32]);
    rand::fill(&mut salt).expect("random bytes");
    let params = argon2::Params::new(memory, passes, 1, None).expect("valid parameters");
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    argon2
        .hash_password_into(password.as_bytes(), &salt, &mut hash)
        .expect("a hash");
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(hash));
    format!("$argon2id$v=19$m={memory},t={passes},p=1${salt}${hash}")
}

#[tokio::test]
async fn passwords_of_the_list_are_rejected() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let list = folder.path().join("passwords.txt");
    std::fs::write(&list, "Correct-Horse-9\n").expect("a file");
    let list = list.to_str().expect("UTF-8").to_owned();
    let server = TestServer::with(&[("LATCHKEY_PASSWORD_LIST", &list)]).await;
    let sign_up = |password: &str| {
        let body = json!({"username": "john", "password": password});
        let server = &server;
        async move { server.post("/signup", body).await }
    };
    sign_up("correct-horse-9").await.is(400, "weak_password");
    sign_up("correct-horse-8").await.is(201, "");
    // A file that can't be read is a configuration error.
    let missing = format!("{list}.missing");
    let settings = server.settings_with(&[("LATCHKEY_PASSWORD_LIST", &missing)]);
    let output = crate::program::run(&["config"], settings, "");
    let errors = String::from_utf8(output.stderr).expect("text");
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(
        errors.contains("LATCHKEY_PASSWORD_LIST: must be the path"),
        "{errors}"
    );
}
