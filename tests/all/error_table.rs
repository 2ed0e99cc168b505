//! Every error code: one request that causes it, and the exact texts of the response.

use std::collections::BTreeSet;

use latchkey::error::Code;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    personal_access_tokens,
    proxy::{ConnectionState, Proxy},
    test_server::{ISSUER, PASSWORD, Session, TestResponse, TestServer},
    test_stores::execute,
    token_signer::{TokenSigner, with},
};

/// The tested servers, and the error codes received so far.
struct Fixture {
    server: TestServer,
    /// A replica with limits: no registration, one sign-in attempt, one stream, no reuse interval.
    strict: TestServer,
    session: Session,
    received: BTreeSet<String>,
}

impl Fixture {
    async fn new() -> Fixture {
        let server = TestServer::start().await;
        let strict = server
            .replica_with(&[
                ("LATCHKEY_SIGNUP", "admin"),
                ("LATCHKEY_RATE_LIMITS", "on"),
                ("LATCHKEY_LIMIT_SIGN_IN", "1/1d"),
                ("LATCHKEY_REVOCATION_STREAMS", "1"),
                ("LATCHKEY_REFRESH_REUSE_INTERVAL", "0s"),
            ])
            .await;
        let session = server.sign_up_with_email("john", "john@example.com").await;
        Fixture {
            server,
            strict,
            session,
            received: BTreeSet::new(),
        }
    }

    /// Asserts all fields of an error response. `{n}` stands for the value of `Retry-After`, and
    /// `{id}` for the request ID.
    #[track_caller]
    fn check(
        &mut self,
        response: &TestResponse,
        status: u16,
        code: &str,
        title: &str,
        detail: &str,
    ) {
        response.is(status, code);
        let detail = detail
            .replace("{n}", response.header("retry-after"))
            .replace("{id}", response.header("x-request-id"));
        assert_eq!(
            (
                response.text("title").as_str(),
                response.text("detail").as_str()
            ),
            (title, detail.as_str())
        );
        assert_eq!(response.text("type"), format!("{ISSUER}/problems/{code}"));
        assert_eq!(response.text("request_id"), response.header("x-request-id"));
        assert_eq!(response.body["status"], status);
        self.received.insert(code.to_owned());
    }

    async fn send_as_user(&self, method: Method, path: &str, body: Value) -> TestResponse {
        self.server
            .with_token(method, path, &self.session.access_token, body)
            .await
    }

    async fn get_user(&self, token: &str) -> TestResponse {
        self.server
            .with_token(Method::GET, "/user", token, Value::Null)
            .await
    }

    fn user_request(&self, method: Method, path: &str) -> RequestBuilder {
        self.server
            .request(method, path)
            .bearer_auth(&self.session.access_token)
    }
}

#[tokio::test]
async fn every_error_states_cause_and_fix() {
    let mut fixture = Fixture::new().await;
    check_invalid_input(&mut fixture).await;
    check_credentials(&mut fixture).await;
    check_refresh_tokens(&mut fixture).await;
    check_permissions(&mut fixture).await;
    check_cross_site(&mut fixture).await;
    check_protocol(&mut fixture).await;
    check_conflicts(&mut fixture).await;
    check_groups(&mut fixture).await;
    check_server_errors(&mut fixture).await;
    let all_codes: BTreeSet<_> = Code::ALL
        .iter()
        .map(|code| code.slug().to_owned())
        .collect();
    assert_eq!(fixture.received, all_codes);
}

async fn check_invalid_input(fixture: &mut Fixture) {
    let title = "Invalid request";
    let response = fixture
        .server
        .post("/login", json!({"username": 1, "pasword": "x"}))
        .await;
    fixture.check(
        &response,
        400,
        "invalid_request",
        title,
        "`username`: must be a string; `password`: is missing; `pasword`: is unknown; did you mean \
         `password`? Valid fields: `username`, `email`, `password`.",
    );
    let response = fixture
        .server
        .post("/login", json!({"password": PASSWORD}))
        .await;
    let detail = "`username`: provide `username` or `email`.";
    fixture.check(&response, 400, "invalid_request", title, detail);
    assert_eq!(
        response.body["errors"],
        json!([{"field": "username", "reason": "provide `username` or `email`"}])
    );
    let response = fixture
        .server
        .post("/signup", json!({"username": "mary", "password": "short"}))
        .await;
    fixture.check(
        &response,
        400,
        "weak_password",
        "Password too weak",
        "The password must have at least 8 characters.",
    );
    let code = json!({"code": "00000-00000"});
    let response = fixture
        .send_as_user(Method::POST, "/user/email/confirm", code)
        .await;
    fixture.check(
        &response,
        400,
        "invalid_code",
        "Invalid or expired code",
        "The code is wrong, expired, or already used. Request a new code.",
    );
}

async fn check_credentials(fixture: &mut Fixture) {
    let (title, code) = ("Authentication required", "unauthenticated");
    let response = fixture.server.get("/user").await;
    fixture.check(
        &response,
        401,
        code,
        title,
        "The request has no access token or session cookie. Send `Authorization: Bearer TOKEN`.",
    );
    let response = fixture.server.get("/session").await;
    fixture.check(
        &response,
        401,
        code,
        title,
        "The request has no valid session cookie. Sign in with `POST /session`.",
    );
    let response = fixture.get_user("garbage").await;
    fixture.check(
        &response,
        401,
        "invalid_token",
        "Invalid access token",
        "The access token is malformed or wasn't issued by this server for this audience. Sign in \
         again or request a new token.",
    );
    let signer = TokenSigner::of(&fixture.server).await;
    let expired = signer.sign(&with(&fixture.session.claims(), "exp", json!(1)));
    let response = fixture.get_user(&expired).await;
    fixture.check(
        &response,
        401,
        "token_expired",
        "Access token expired",
        "The access token has expired. Use the refresh token, sign in again, or request a new \
         token.",
    );
    let revoked = fixture.server.sign_in("john").await;
    fixture
        .server
        .sign_out(&revoked.access_token)
        .await
        .is(204, "");
    let response = fixture.get_user(&revoked.access_token).await;
    fixture.check(
        &response,
        401,
        "token_revoked",
        "Access token revoked",
        "The access token has been revoked. Use the refresh token, sign in again, or request a new \
         token.",
    );
    let response = fixture.server.try_sign_in("john", "wrong-password").await;
    fixture.check(
        &response,
        401,
        "invalid_credentials",
        "Incorrect username or password",
        "The username or password is incorrect.",
    );
    for (path, body) in [
        (
            "/user/password",
            json!({"current_password": "wrong-password", "new_password": "correct horse 9"}),
        ),
        (
            "/user/email",
            json!({"email": "new@example.com", "password": "wrong-password"}),
        ),
    ] {
        let response = fixture.send_as_user(Method::POST, path, body).await;
        fixture.check(
            &response,
            403,
            "incorrect_password",
            "Incorrect password",
            "The current password is incorrect.",
        );
        assert_eq!(response.header("www-authenticate"), "");
    }
}

async fn check_refresh_tokens(fixture: &mut Fixture) {
    let response = fixture.server.refresh("garbage").await;
    fixture.check(
        &response,
        401,
        "invalid_refresh_token",
        "Invalid refresh token",
        "The refresh token is invalid, expired, or revoked. Sign in again.",
    );
    let session = fixture.server.sign_in("john").await;
    let token = &session.refresh_token;
    fixture.strict.refresh(token).await.is(200, "");
    let response = fixture.strict.refresh(token).await;
    fixture.check(
        &response,
        401,
        "refresh_token_reused",
        "Refresh token reuse detected",
        "This refresh token was already used, so the session was revoked. Sign in again.",
    );
}

async fn check_permissions(fixture: &mut Fixture) {
    let (title, code) = ("Permission denied", "forbidden");
    let response = fixture
        .send_as_user(Method::GET, "/users", Value::Null)
        .await;
    let detail = "This operation requires the `admin` role. A token without the scope `admin` has \
                  the role `user`.";
    fixture.check(&response, 403, code, title, detail);
    let (_, personal_token) =
        personal_access_tokens::make(&fixture.server, &fixture.session, "user:read user:write")
            .await;
    let response = fixture
        .server
        .with_token(Method::DELETE, "/user", &personal_token, Value::Null)
        .await;
    fixture.check(
        &response,
        403,
        code,
        title,
        "This operation requires a user session; personal access tokens and OAuth clients can't \
         use it.",
    );
    let response = fixture
        .server
        .with_token(Method::GET, "/items", &personal_token, Value::Null)
        .await;
    fixture.check(
        &response,
        403,
        "insufficient_scope",
        "Insufficient scope",
        "This operation requires the scope `items:read`.",
    );
    let path = "/auth/verify?scope=items:read%20items:write";
    let response = fixture
        .server
        .with_token(Method::GET, path, &personal_token, Value::Null)
        .await;
    fixture.check(
        &response,
        403,
        "insufficient_scope",
        "Insufficient scope",
        "This operation requires the scopes `items:read items:write`.",
    );
    let mut claims = fixture.session.claims();
    claims["auth_time"] = json!(claims["auth_time"].as_u64().expect("seconds") - 301);
    let token = TokenSigner::of(&fixture.server).await.sign(&claims);
    let response = fixture
        .server
        .with_token(Method::DELETE, "/user", &token, Value::Null)
        .await;
    fixture.check(
        &response,
        403,
        "reauthentication_required",
        "Recent sign-in required",
        "This operation requires a sign-in within the last five minutes. Sign in again.",
    );
}

async fn check_cross_site(fixture: &mut Fixture) {
    let sign_in = || {
        fixture
            .server
            .request(Method::POST, "/session")
            .json(&json!({"username": "john", "password": PASSWORD}))
    };
    let sign_in_from_page = || sign_in().header("x-latchkey-request", "1");
    let responses = [
        (
            fixture.server.send(sign_in()).await,
            "The header `X-Latchkey-Request: 1` is missing. Browser apps must send it.",
        ),
        (
            fixture
                .server
                .send(sign_in_from_page().header("origin", "https://evil.example"))
                .await,
            "The origin is not allowed. The operator can allow it in `LATCHKEY_CORS_ORIGINS`.",
        ),
        (
            fixture
                .server
                .send(sign_in_from_page().header("sec-fetch-site", "cross-site"))
                .await,
            "The browser reports a cross-site request (`Sec-Fetch-Site`). Send the request from an \
             allowed origin.",
        ),
    ];
    for (response, detail) in responses {
        fixture.check(&response, 403, "csrf", "Cross-site request blocked", detail);
    }
}

async fn check_protocol(fixture: &mut Fixture) {
    let response = fixture
        .send_as_user(Method::GET, "/items/nope", Value::Null)
        .await;
    fixture.check(
        &response,
        404,
        "not_found",
        "Not found",
        "The resource doesn't exist, or you don't have access to it.",
    );
    for (method, detail) in [
        ("PUT", "PUT is not supported here. Allowed: POST."),
        ("BREW", "This method is not supported here. Allowed: POST."),
    ] {
        let request = fixture
            .server
            .request(method.parse().expect("a method"), "/login");
        let response = fixture.server.send(request).await;
        let title = "Method not allowed";
        fixture.check(&response, 405, "method_not_allowed", title, detail);
    }
    for (path, media_type) in [
        ("/user", "application/json"),
        ("/revocations", "text/event-stream"),
    ] {
        let request = fixture
            .user_request(Method::GET, path)
            .header("accept", "text/html");
        let response = fixture.server.send(request).await;
        let detail = format!("This endpoint returns {media_type}. Change or omit `Accept`.");
        fixture.check(&response, 406, "not_acceptable", "Not acceptable", &detail);
    }
    let response = fixture
        .server
        .post("/login", json!({"username": "x".repeat(70_000)}))
        .await;
    fixture.check(
        &response,
        413,
        "too_large",
        "Request body too large",
        "The request body exceeds 65,536 bytes.",
    );
    let request = fixture
        .user_request(Method::POST, "/items")
        .body("name=Book");
    let response = fixture.server.send(request).await;
    fixture.check(
        &response,
        415,
        "unsupported_media_type",
        "Unsupported media type",
        "Send the body as `application/json`.",
    );
}

async fn check_conflicts(fixture: &mut Fixture) {
    let new_user = json!({"username": "mary", "password": PASSWORD});
    let response = fixture.strict.post("/signup", new_user.clone()).await;
    fixture.check(
        &response,
        403,
        "signup_closed",
        "Registration not allowed here",
        "Only administrators can create users on this server.",
    );
    let admin = fixture.server.admin("root").await;
    let response = fixture
        .server
        .with_token(Method::DELETE, "/user", &admin.access_token, Value::Null)
        .await;
    fixture.check(
        &response,
        403,
        "last_admin",
        "Last administrator",
        "At least one enabled administrator must remain. Grant the role to another user first.",
    );
    let taken = json!({"username": "John", "password": PASSWORD});
    let response = fixture.server.post("/signup", taken).await;
    fixture.check(
        &response,
        409,
        "username_taken",
        "Username already in use",
        "This username is in use or was in use recently.",
    );
    let taken = json!({"email": "john@example.com", "password": PASSWORD});
    let response = fixture.server.post("/signup", taken).await;
    fixture.check(
        &response,
        409,
        "email_taken",
        "Email address already in use",
        "This email address is in use or was in use recently.",
    );
    let item = fixture.server.create_item(&fixture.session, "Book").await;
    let request = fixture
        .user_request(
            Method::PATCH,
            &format!("/items/{}", item.is(201, "").text("id")),
        )
        .header("if-match", "\"99\"")
        .json(&json!({"name": "Lost"}));
    let response = fixture.server.send(request).await;
    fixture.check(
        &response,
        412,
        "precondition_failed",
        "Precondition failed",
        "The item changed since you read it. Get it again and retry with the new ETag.",
    );
    let response = fixture.server.forgot_password("john@example.com").await;
    fixture.check(
        &response,
        501,
        "email_disabled",
        "Email disabled",
        "This server doesn't send email. Contact the operator for a reset code.",
    );
}

async fn check_groups(fixture: &mut Fixture) {
    let admin = fixture.server.admin("group-admin").await;
    let insert = "insert into groups values ('finance'); \
        insert into applications (id, origin) values (gen_random_uuid(), 'https://app.example.net'); \
        update users set groups = '{finance}' where username = 'group-admin'";
    execute(&fixture.server, insert).await;
    let cases = [
        (
            (Method::POST, "/groups", json!({"name": "finance"})),
            ("group_taken", "Group already exists"),
            "A group with this name exists.",
        ),
        (
            (
                Method::POST,
                "/applications",
                json!({"origin": "https://app.example.net"}),
            ),
            ("application_taken", "Application already exists"),
            "An application with this origin exists.",
        ),
        (
            (Method::DELETE, "/groups/finance", Value::Null),
            ("group_has_members", "Group has members"),
            "The group has members; remove them first.",
        ),
    ];
    for ((method, path, body), (code, title), detail) in cases {
        let token = &admin.access_token;
        let response = fixture.server.with_token(method, path, token, body).await;
        fixture.check(&response, 409, code, title, detail);
    }
}

async fn check_server_errors(fixture: &mut Fixture) {
    fixture
        .strict
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    let response = fixture.strict.try_sign_in("john", "wrong-password").await;
    fixture.check(
        &response,
        429,
        "too_many_requests",
        "Too many requests",
        "Rate limit exceeded. Try again in {n} seconds.",
    );
    let admin = fixture.server.sign_in("root").await;
    let stream = || {
        fixture
            .strict
            .request(Method::GET, "/revocations")
            .bearer_auth(&admin.access_token)
    };
    let first = stream().send().await.expect("a stream");
    assert_eq!(first.status(), 200);
    let response = fixture.strict.send(stream()).await;
    let plural = if response.header("retry-after") == "1" {
        ""
    } else {
        "s"
    };
    let detail = format!("The server is busy. Try again in {{n}} second{plural}.");
    fixture.check(&response, 503, "busy", "Server busy", &detail);

    let proxy = Proxy::to_redis().await;
    let disconnected = fixture
        .server
        .replica_with(&[("REDIS_URL", &proxy.redis_url())])
        .await;
    proxy.set(ConnectionState::Cut);
    let response = disconnected.refresh(&fixture.session.refresh_token).await;
    let plural = if response.header("retry-after") == "1" {
        ""
    } else {
        "s"
    };
    let detail = format!("A required service is unavailable. Try again in {{n}} second{plural}.");
    let title = "Temporarily unavailable";
    fixture.check(&response, 503, "unavailable", title, &detail);

    execute(&fixture.server, "alter table items rename to broken").await;
    let response = fixture
        .send_as_user(Method::GET, "/items", Value::Null)
        .await;
    fixture.check(
        &response,
        500,
        "internal",
        "Internal server error",
        "An internal error occurred. If it persists, contact the operator with request ID {id}.",
    );
}

/// Fields of a form.
type Form<'a> = &'a [(&'a str, &'a str)];

#[tokio::test]
async fn oauth_errors_describe_cause_in_ascii() {
    let server = TestServer::shared().await;
    let grant = ("grant_type", "refresh_token");
    let token = ("refresh_token", "garbage");
    let invalid_client = "Client authentication failed. Send the client_id and client_secret of a \
        registered client.";
    let cases: [(&str, Form, u16, &str, &str); 7] = [
        (
            "/oauth/introspect",
            &[("token", "garbage")],
            401,
            "invalid_client",
            invalid_client,
        ),
        (
            "/oauth/token",
            &[("grant_type", "client_credentials")],
            401,
            "invalid_client",
            invalid_client,
        ),
        (
            "/oauth/token",
            &[("grant_type", "password")],
            400,
            "unsupported_grant_type",
            "Supported grant types: client_credentials, refresh_token. Users sign in at POST \
             /login.",
        ),
        (
            "/oauth/token",
            &[grant, token],
            400,
            "invalid_grant",
            "The refresh token is invalid, expired, revoked, or was issued to another client.",
        ),
        (
            "/oauth/token",
            &[grant, token, ("scope", "nonsense")],
            400,
            "invalid_scope",
            "The requested scope is unknown or exceeds the scope granted.",
        ),
        (
            "/oauth/token",
            &[grant, token, ("resource", "https://other.example.com")],
            400,
            "invalid_target",
            "The requested resource is not allowed for this client.",
        ),
        (
            "/oauth/token",
            &[grant],
            400,
            "invalid_request",
            "`refresh_token`: is missing.",
        ),
    ];
    for (path, form, status, error, description) in cases {
        let response = server.form(path, form).await;
        assert_eq!(
            (response.status, response.body.clone()),
            (
                status,
                json!({"error": error, "error_description": description})
            )
        );
        assert!(response.bytes.is_ascii());
    }
}
