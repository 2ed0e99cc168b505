//! Tests of `latchkey explain`, which prints one sentence about a token and doesn't consume it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::open,
    oauth::Client,
    personal_access_tokens, program,
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::{execute, query_value},
    token_signer::{TokenSigner, with, without},
};

/// Runs the command; returns the exit code, the standard output, and the standard error.
fn run(settings: &[(String, String)], input: &str) -> (i32, String, String) {
    let output = program::run(&["explain"], settings.iter().cloned(), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code().expect("an exit code"),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Asserts that the explanation of a token contains a text.
///
/// The output must be one sentence without the token, and the exit code must match it.
pub async fn says(settings: Vec<(String, String)>, token: &str, part: &str) {
    let input = token.to_owned();
    let (code, output, errors) = tokio::task::spawn_blocking(move || run(&settings, &input))
        .await
        .expect("the command completes");
    assert!(
        output.contains(part),
        "{output:?} doesn't contain {part:?}; {errors}"
    );
    assert_eq!(code, i32::from(!output.starts_with("Valid: ")), "{output}");
    assert!(
        output.ends_with(".\n") && output.lines().count() == 1,
        "{output:?}"
    );
    assert_eq!(errors, "");
    assert!(!output.contains(token), "{output}");
}

#[tokio::test]
async fn valid_tokens_are_explained_and_not_consumed() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    says(
        server.settings(),
        &user.access_token,
        "the token is an access token and expires at 20",
    )
    .await;
    says(
        server.settings(),
        &format!("Bearer {}\n", user.access_token),
        "the token is an access token",
    )
    .await;
    for _ in 0..2 {
        says(
            server.settings(),
            &user.refresh_token,
            "this is the current refresh token of the session",
        )
        .await;
    }
    let rotated = Session::of(server.refresh(&user.refresh_token).await.is(200, ""));
    says(
        server.settings(),
        &user.refresh_token,
        "this is the previous refresh token of the session",
    )
    .await;
    server.refresh(&rotated.refresh_token).await.is(200, "");
    let reused = "this is refresh token 0 of the session, and the current one is 2";
    says(server.settings(), &user.refresh_token, reused).await;
    // Another key prefix simulates a flushed Redis, so the explanation comes from PostgreSQL.
    let is_written =
        || async { query_value(&server, "select rotation_counter from sessions").await == "2" };
    wait_until("PostgreSQL contains the rotation counter", is_written).await;
    says(
        server.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]),
        &user.refresh_token,
        reused,
    )
    .await;
    assert_eq!(
        server.verify(&user.access_token).await.0,
        204,
        "the command doesn't revoke the session"
    );
}

#[tokio::test]
async fn cookie_value_is_explained_like_token() {
    let server = TestServer::start().await;
    server.sign_up("john").await;
    let cookie = open(&server, "john").await;
    says(
        server.settings(),
        &cookie,
        "the token is a session cookie and expires at 20",
    )
    .await;
    says(
        server.settings(),
        &format!("Cookie: __Host-latchkey={cookie}"),
        "the token is a session cookie",
    )
    .await;
    says(
        server.settings(),
        &format!("__Secure-latchkey_staging={cookie}"),
        "the token is a session cookie",
    )
    .await;
    server.sign_out(&cookie).await.is(204, "");
    says(server.settings(), &cookie, "Z (sign-out).").await;
}

#[tokio::test]
async fn invalid_token_is_explained_with_reason() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    let (signer, claims) = (TokenSigner::of(&server).await, user.claims());
    let issued_at_plus =
        |seconds: i64| json!(claims["iat"].as_i64().expect("a timestamp") + seconds);
    let mut unknown_key = signer.header();
    unknown_key["kid"] = json!("another");
    let other_server = TestServer::start().await.sign_up("john").await;
    let cases = [
        (
            "garbage".to_owned(),
            "not an access token, refresh token, or personal",
        ),
        (
            signer.sign_as(&unknown_key, &claims.to_string()),
            "the signing key is unknown to this server or has expired",
        ),
        (
            signer.with_unrelated_key().sign(&claims),
            "the signature is invalid",
        ),
        (
            signer.sign(&without(&claims, "sid")),
            "the claims are not those of an access token",
        ),
        (
            signer.sign(&with(&claims, "iss", json!("https://other.example.com"))),
            "the token was issued by https://other.example.com, but LATCHKEY_ISSUER is \
             https://auth.example.com",
        ),
        (
            signer.sign(&with(&claims, "aud", json!("https://api.example.com"))),
            "the audience is https://api.example.com, but LATCHKEY_AUDIENCE is \
             https://auth.example.com",
        ),
        (
            signer.sign(&with(&claims, "nbf", issued_at_plus(3600))),
            "more than LATCHKEY_CLOCK_SKEW (60 s) in the future",
        ),
        (
            signer.sign(&with(&claims, "exp", issued_at_plus(-10))),
            "the token expired at 20",
        ),
        (
            other_server.access_token,
            "the signing key is unknown to this server or has expired",
        ),
        (
            other_server.refresh_token,
            "modified or issued under another LATCHKEY_SECRET",
        ),
    ];
    for (token, part) in cases {
        says(server.settings(), &token, part).await;
    }
}

#[tokio::test]
async fn revoked_token_is_explained_with_time_and_reason() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    let send = |method, path: &'static str, session: &Session, body| {
        let token = session.access_token.clone();
        async {
            server
                .with_token(method, path, &{ token }, body)
                .await
                .is(204, "")
                .status
        }
    };
    let assert_both_explained = async |session: &Session, part: &str| {
        for token in [&session.access_token, &session.refresh_token] {
            says(server.settings(), token, part).await;
        }
    };
    let signed_out = server.sign_in("john").await;
    server.sign_out(&signed_out.access_token).await.is(204, "");
    assert_both_explained(
        &signed_out,
        &format!("session {} was revoked at 20", signed_out.claim("sid")),
    )
    .await;
    assert_both_explained(&signed_out, "Z (sign-out).").await;
    let other_session = server.sign_in("john").await;
    send(
        Method::POST,
        "/user/password",
        &user,
        json!({"current_password": PASSWORD, "new_password": "another one 7"}),
    )
    .await;
    assert_both_explained(&other_session, "Z (password change).").await;
    let first = Session::of(&server.try_sign_in("john", "another one 7").await);
    let second = Session::of(&server.refresh(&first.refresh_token).await);
    server.refresh(&second.refresh_token).await.is(200, "");
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    assert_both_explained(&second, "Z (refresh token reuse).").await;

    send(Method::POST, "/logout?scope=all", &user, Value::Null).await;
    assert_both_explained(&user, "Z (sign-out of all sessions).").await;
    let new = Session::of(&server.try_sign_in("john", "another one 7").await);
    let old_generation =
        TokenSigner::of(&server)
            .await
            .sign(&with(&new.claims(), "generation", json!(1)));
    says(
        server.settings(),
        &old_generation,
        "all tokens of the user were revoked at 20",
    )
    .await;
    says(
        server.settings(),
        &old_generation,
        "(sign-out of all sessions); the token has generation 1, the user has 2.",
    )
    .await;
    // Audit events are kept longer than rows of `revocations`.
    execute(&server, "delete from revocations").await;
    says(
        server.settings(),
        &old_generation,
        "Z (sign-out of all sessions); the token has generation 1",
    )
    .await;
    execute(&server, "delete from audit_events").await;
    says(
        server.settings(),
        &old_generation,
        "all tokens of the user were revoked; the token has generation 1",
    )
    .await;

    execute(&server, "update users set disabled = true").await;
    assert_both_explained(&new, "the user was disabled").await;
    execute(&server, "update users set disabled = false").await;
    send(Method::DELETE, "/user", &new, Value::Null).await;
    assert_both_explained(&new, "the user was deleted at 20").await;
}

#[tokio::test]
async fn explanation_is_printed_as_json() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    let explain = async |token: &str| {
        let (settings, input) = (server.settings(), token.to_owned());
        let run = move || program::run(&["explain", "--output", "json"], settings, &input);
        let output = tokio::task::spawn_blocking(run)
            .await
            .expect("the command completes");
        let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), json)
    };
    let (code, json) = explain(&user.access_token).await;
    assert_eq!((code, &json["accepted"]), (Some(0), &json!(true)), "{json}");
    let (code, json) = explain("garbage").await;
    assert_eq!(code, Some(1));
    let explanation = "Rejected: the text is not an access token, refresh token, or personal";
    let text = json["explanation"].as_str().expect("a sentence");
    assert!(text.starts_with(explanation), "{text}");
    assert_eq!(json["accepted"], false);
}

/// The row of a user keeps the reason of the larger generation, regardless of the order.
#[tokio::test]
async fn last_revocation_of_user_determines_reason() {
    let server = TestServer::start().await;
    for _ in 0..2 {
        let session = match server.try_sign_in("john", PASSWORD).await {
            response if response.status == 200 => Session::of(&response),
            _no_user => server.sign_up("john").await,
        };
        let response = server
            .with_token(
                Method::POST,
                "/logout?scope=all",
                &session.access_token,
                Value::Null,
            )
            .await;
        response.is(204, "");
        execute(
            &server,
            "update revocations set reason = 'role_change' where min_generation = 2",
        )
        .await;
    }
    assert_eq!(
        query_value(
            &server,
            "select min_generation || reason from revocations where kind = 'user'"
        )
        .await,
        "3sign_out_all"
    );
}

#[tokio::test]
async fn expired_sessions_are_explained_with_reason() {
    let server = TestServer::start().await;
    let (idle, expired) = (server.sign_up("john").await, server.sign_up("jane").await);
    let backdate = |session: &Session, column: &str| {
        format!(
            "update sessions set {column} = now() - interval '8 days' where id = '{}'",
            session.claim("sid")
        )
    };
    execute(&server, &backdate(&idle, "last_used_at")).await;
    execute(&server, &backdate(&expired, "expires_at")).await;
    let flushed = server.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]);
    says(
        flushed.clone(),
        &idle.refresh_token,
        "the session was last refreshed at 20",
    )
    .await;
    says(
        flushed.clone(),
        &idle.refresh_token,
        "Z (LATCHKEY_SESSION_IDLE_TIMEOUT).",
    )
    .await;
    says(flushed, &expired.refresh_token, "the session expired at 20").await;
    execute(&server, "delete from sessions").await;
    says(
        server.settings(),
        &expired.refresh_token,
        "PostgreSQL does not contain session",
    )
    .await;
}

#[tokio::test]
async fn disagreement_of_redis_and_postgres_is_explained() {
    let server = TestServer::start().await;
    let (user, signed_out) = (server.sign_up("john").await, server.sign_in("john").await);
    server.sign_out(&signed_out.access_token).await.is(204, "");
    let (flushed, unreachable) = (
        server.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]),
        server.settings_with(&[("REDIS_URL", "redis://127.0.0.1:1")]),
    );
    says(
        flushed.clone(),
        &user.access_token,
        "; only PostgreSQL was checked, because Redis has lost the revocation log.",
    )
    .await;
    says(
        unreachable.clone(),
        &user.access_token,
        "; only PostgreSQL was checked, because Redis does not respond.",
    )
    .await;
    says(
        unreachable.clone(),
        &user.refresh_token,
        "Redis does not respond, and a refresh requires Redis",
    )
    .await;
    says(
        flushed,
        &signed_out.access_token,
        "Z (sign-out); Redis has lost the revocation log.",
    )
    .await;
    says(
        unreachable,
        &signed_out.access_token,
        "Z (sign-out); Redis does not respond.",
    )
    .await;
    // The reverse case: Redis contains a revocation, and PostgreSQL doesn't.
    execute(
        &server,
        "update sessions set revoked_at = null, revoked_reason = null",
    )
    .await;
    says(
        server.settings(),
        &signed_out.access_token,
        "the revocation log in Redis contains the session, but PostgreSQL contains no revocation",
    )
    .await;
    says(
        server.settings(),
        &signed_out.refresh_token,
        "the session was revoked in Redis (sign-out), but not yet in PostgreSQL",
    )
    .await;
    execute(
        &server,
        "update sessions set revoked_at = now(), revoked_reason = 'revoked'",
    )
    .await;
    says(
        server.settings(),
        &user.access_token,
        "by an administrator); the revocation log in Redis does not contain the revocation yet",
    )
    .await;
    says(
        server.settings(),
        &user.refresh_token,
        "by an administrator); Redis does not contain the revocation yet",
    )
    .await;
}

#[tokio::test]
async fn invalid_input_and_unavailable_postgres_set_exit_code() {
    let server = TestServer::start().await;
    let token = server.sign_up("john").await.access_token;
    let other_server = TestServer::start().await;
    let cases = [
        (
            server.settings(),
            String::new(),
            2,
            "standard input must contain exactly one token",
        ),
        (
            server.settings(),
            " \n".to_owned(),
            2,
            "standard input must contain exactly one token",
        ),
        (
            server.settings(),
            format!("{token}\n{token}"),
            2,
            "standard input must contain exactly one token",
        ),
        (
            server.settings_with(&[("LATCHKEY_ISSUER", "nonsense")]),
            token.clone(),
            2,
            "LATCHKEY_ISSUER",
        ),
        (
            server.settings_with(&[("LATCHKEY_SECRET", other_server.setting("LATCHKEY_SECRET"))]),
            token.clone(),
            2,
            "LATCHKEY_SECRET differs",
        ),
        (
            server.settings_with(&[("DATABASE_URL", "postgres://127.0.0.1:1/x")]),
            token.clone(),
            3,
            "PostgreSQL is unavailable",
        ),
    ];
    for (settings, input, expected_code, part) in cases {
        let (code, output, errors) = tokio::task::spawn_blocking(move || run(&settings, &input))
            .await
            .expect("the command completes");
        assert_eq!((code, output.as_str()), (expected_code, ""), "{errors}");
        assert!(
            errors.contains(part) && !errors.contains(&token),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn personal_access_and_client_tokens_are_explained() {
    let server = TestServer::start().await;
    let (user, admin) = (server.sign_up("john").await, server.admin("root").await);
    let (id, token) = personal_access_tokens::make(&server, &user, "items:read").await;
    says(
        server.settings(),
        &token,
        "the token is a personal access token and expires at 20",
    )
    .await;
    let changed = format!(
        "{}{}",
        &token[..token.len() - 1],
        if token.ends_with('A') { 'B' } else { 'A' }
    );
    says(
        server.settings(),
        &changed,
        "modified or not issued by this server",
    )
    .await;
    server
        .with_token(
            Method::DELETE,
            &format!("/user/tokens/{id}"),
            &user.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    says(server.settings(), &token, "Z (by the user).").await;
    execute(&server, "delete from revocations where kind = 'token'").await;
    says(
        server.settings(),
        &token,
        "PostgreSQL does not contain this personal access token",
    )
    .await;

    let client = Client::register(&server, &admin, "items:read").await;
    let (id, token) = (&client.id, client.token(&server).await);
    says(
        server.settings(),
        &token,
        "the token is an access token of an OAuth client",
    )
    .await;
    let rotate = format!("/clients/{id}/rotate");
    server
        .with_token(Method::POST, &rotate, &admin.access_token, Value::Null)
        .await
        .is(200, "");
    says(
        server.settings(),
        &token,
        "all tokens of the OAuth client were revoked",
    )
    .await;
    server
        .with_token(
            Method::DELETE,
            &format!("/clients/{id}"),
            &admin.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    says(server.settings(), &token, "the OAuth client was deleted").await;
}
