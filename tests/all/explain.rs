//! `latchkey explain`: one sentence about one token, from the settings of the replicas, without
//! using it up.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::open,
    oauth::Client,
    personal_access_tokens, program,
    test_server::{PASSWORD, Session, TestServer, until},
    test_stores::{ask, execute},
    token_signer::{TokenSigner, with, without},
};

/// The exit code, and what was said on standard output and on standard error.
fn run(settings: &[(String, String)], input: &str) -> (i32, String, String) {
    let output = program::run(&["explain"], settings.iter().cloned(), input);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (
        output.status.code().expect("no signal"),
        text(output.stdout),
        text(output.stderr),
    )
}

/// Asserts what is said of a token: one sentence, an exit code that goes with it, and never the
/// token.
pub async fn says(settings: Vec<(String, String)>, token: &str, part: &str) {
    let given = token.to_owned();
    let (code, said, errors) = tokio::task::spawn_blocking(move || run(&settings, &given))
        .await
        .expect("it runs");
    assert!(said.contains(part), "{said:?} lacks {part:?}; {errors}");
    assert_eq!(code, i32::from(!said.starts_with("Valid: ")), "{said}");
    assert!(
        said.ends_with(".\n") && said.lines().count() == 1,
        "{said:?}"
    );
    assert_eq!(errors, "");
    assert!(!said.contains(token), "{said}");
}

#[tokio::test]
async fn good_tokens_are_refused_by_nothing_and_not_used_up() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    says(
        server.settings(),
        &john.access_token,
        "the token is an access token and expires at 20",
    )
    .await;
    says(
        server.settings(),
        &format!("Bearer {}\n", john.access_token),
        "the token is an access token",
    )
    .await;
    for _ in 0..2 {
        says(
            server.settings(),
            &john.refresh_token,
            "this is the current refresh token of the session",
        )
        .await;
    }
    let next = Session::of(server.refresh(&john.refresh_token).await.is(200, ""));
    says(
        server.settings(),
        &john.refresh_token,
        "this is the previous refresh token of the session",
    )
    .await;
    server.refresh(&next.refresh_token).await.is(200, "");
    let grandparent = "this is refresh token 0 of the session, and the current one is 2";
    says(server.settings(), &john.refresh_token, grandparent).await;
    // Redis, where another prefix knows nothing, is as if it were flushed: the record says the
    // same.
    let recorded = || async { ask(&server, "select rotation_counter from sessions").await == "2" };
    until("the counter is recorded", recorded).await;
    says(
        server.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]),
        &john.refresh_token,
        grandparent,
    )
    .await;
    assert_eq!(
        server.verify(&john.access_token).await.0,
        204,
        "nobody was signed out by asking"
    );
}

#[tokio::test]
async fn the_value_of_a_cookie_is_explained_like_a_token() {
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
    server.log_out(&cookie).await.is(204, "");
    says(server.settings(), &cookie, "Z (sign-out).").await;
}

#[tokio::test]
async fn what_is_no_token_for_here_is_told_by_its_flaw() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let (forge, claims) = (TokenSigner::of(&server).await, john.claims());
    let seconds = |ahead: i64| json!(claims["iat"].as_i64().expect("seconds") + ahead);
    let mut unknown = forge.header();
    unknown["kid"] = json!("another");
    let strange = TestServer::start().await.sign_up("john").await;
    let cases = [
        (
            "garbage".to_owned(),
            "not an access token, refresh token, or personal",
        ),
        (
            forge.sign_as(&unknown, &claims.to_string()),
            "the signing key is unknown to this server or has expired",
        ),
        (forge.stranger().sign(&claims), "the signature is invalid"),
        (
            forge.sign(&without(&claims, "sid")),
            "the claims are not those of an access token",
        ),
        (
            forge.sign(&with(&claims, "iss", json!("https://other.example.com"))),
            "the token was issued by https://other.example.com, but LATCHKEY_ISSUER is \
             https://auth.example.com",
        ),
        (
            forge.sign(&with(&claims, "aud", json!("https://api.example.com"))),
            "the audience is https://api.example.com, but LATCHKEY_AUDIENCE is \
             https://auth.example.com",
        ),
        (
            forge.sign(&with(&claims, "nbf", seconds(3600))),
            "more than LATCHKEY_CLOCK_SKEW (5 s) in the future",
        ),
        (
            forge.sign(&with(&claims, "exp", seconds(-10))),
            "the token expired at 20",
        ),
        (
            strange.access_token,
            "the signing key is unknown to this server or has expired",
        ),
        (
            strange.refresh_token,
            "modified or issued under another LATCHKEY_SECRET",
        ),
    ];
    for (token, part) in cases {
        says(server.settings(), &token, part).await;
    }
}

#[tokio::test]
async fn what_was_taken_back_is_told_with_when_and_why() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let call = |method, path: &'static str, session: &Session, body| {
        let token = session.access_token.clone();
        async {
            server
                .with_token(method, path, &{ token }, body)
                .await
                .is(204, "")
                .status
        }
    };
    let both = async |session: &Session, part: &str| {
        for token in [&session.access_token, &session.refresh_token] {
            says(server.settings(), token, part).await;
        }
    };
    let out = server.sign_in("john").await;
    server.log_out(&out.access_token).await.is(204, "");
    both(
        &out,
        &format!("session {} was revoked at 20", out.claim("sid")),
    )
    .await;
    both(&out, "Z (sign-out).").await;
    let other = server.sign_in("john").await;
    call(
        Method::POST,
        "/user/password",
        &john,
        json!({"current_password": PASSWORD, "new_password": "another one 7"}),
    )
    .await;
    both(&other, "Z (password change).").await;
    let first = Session::of(&server.log_in("john", "another one 7").await);
    let second = Session::of(&server.refresh(&first.refresh_token).await);
    server.refresh(&second.refresh_token).await.is(200, "");
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    both(&second, "Z (refresh token reuse).").await;

    call(Method::POST, "/logout?scope=all", &john, Value::Null).await;
    both(&john, "Z (sign-out of all sessions).").await;
    let new = Session::of(&server.log_in("john", "another one 7").await);
    let past = TokenSigner::of(&server)
        .await
        .sign(&with(&new.claims(), "generation", json!(1)));
    let everything = "all tokens of the user were revoked at 20";
    says(server.settings(), &past, everything).await;
    says(
        server.settings(),
        &past,
        "(sign-out of all sessions); the token has generation 1, the user has 2.",
    )
    .await;
    // The events remember for longer than the revocations.
    execute(&server, "delete from revocations").await;
    says(
        server.settings(),
        &past,
        "Z (sign-out of all sessions); the token has generation 1",
    )
    .await;
    execute(&server, "delete from audit_events").await;
    says(
        server.settings(),
        &past,
        "all tokens of the user were revoked; the token has generation 1",
    )
    .await;

    execute(&server, "update users set disabled = true").await;
    both(&new, "the user was disabled").await;
    execute(&server, "update users set disabled = false").await;
    call(Method::DELETE, "/user", &new, Value::Null).await;
    both(&new, "the user was deleted at 20").await;
}

/// The reason of the larger generation, whichever came first within the hour.
#[tokio::test]
async fn what_ended_everything_last_is_what_is_told() {
    let server = TestServer::start().await;
    for _ in 0..2 {
        let session = match server.log_in("john", PASSWORD).await {
            response if response.status == 200 => Session::of(&response),
            _nobody_yet => server.sign_up("john").await,
        };
        let all = server
            .with_token(
                Method::POST,
                "/logout?scope=all",
                &session.access_token,
                Value::Null,
            )
            .await;
        all.is(204, "");
        execute(
            &server,
            "update revocations set reason = 'role_change' where min_generation = 2",
        )
        .await;
    }
    assert_eq!(
        ask(
            &server,
            "select min_generation || reason from revocations where kind = 'user'"
        )
        .await,
        "3sign_out_all"
    );
}

#[tokio::test]
async fn the_two_ends_of_a_session_are_told() {
    let server = TestServer::start().await;
    let (idle, over) = (server.sign_up("john").await, server.sign_up("jane").await);
    let back = |session: &Session, column: &str| {
        format!(
            "update sessions set {column} = now() - interval '8 days' where id = '{}'",
            session.claim("sid")
        )
    };
    execute(&server, &back(&idle, "last_used_at")).await;
    execute(&server, &back(&over, "expires_at")).await;
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
    says(flushed, &over.refresh_token, "the session expired at 20").await;
    execute(&server, "delete from sessions").await;
    says(
        server.settings(),
        &over.refresh_token,
        "PostgreSQL does not contain session",
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_says_something_else_is_told() {
    let server = TestServer::start().await;
    let (john, out) = (server.sign_up("john").await, server.sign_in("john").await);
    server.log_out(&out.access_token).await.is(204, "");
    let (lost, gone) = (
        server.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]),
        server.settings_with(&[("REDIS_URL", "redis://127.0.0.1:1")]),
    );
    says(
        lost.clone(),
        &john.access_token,
        "; only PostgreSQL was checked, because Redis has lost the revocation log.",
    )
    .await;
    says(
        gone.clone(),
        &john.access_token,
        "; only PostgreSQL was checked, because Redis does not respond.",
    )
    .await;
    says(
        gone.clone(),
        &john.refresh_token,
        "Redis does not respond, and a refresh requires Redis",
    )
    .await;
    says(
        lost,
        &out.access_token,
        "Z (sign-out); Redis has lost the revocation log.",
    )
    .await;
    says(
        gone,
        &out.access_token,
        "Z (sign-out); Redis does not respond.",
    )
    .await;
    // The other way round: what Redis has, and the record has not.
    execute(
        &server,
        "update sessions set revoked_at = null, revoked_reason = null",
    )
    .await;
    says(
        server.settings(),
        &out.access_token,
        "the revocation log in Redis contains the session, but PostgreSQL contains no revocation",
    )
    .await;
    says(
        server.settings(),
        &out.refresh_token,
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
        &john.access_token,
        "by an administrator); the revocation log in Redis does not contain the revocation yet",
    )
    .await;
    says(
        server.settings(),
        &john.refresh_token,
        "by an administrator); Redis does not contain the revocation yet",
    )
    .await;
}

#[tokio::test]
async fn wrong_usage_and_a_record_that_is_away_have_codes_of_their_own() {
    let server = TestServer::start().await;
    let token = server.sign_up("john").await.access_token;
    let strange = TestServer::start().await;
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
            server.settings_with(&[("LATCHKEY_SECRET", strange.setting("LATCHKEY_SECRET"))]),
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
    for (settings, input, code, part) in cases {
        let (found, said, errors) = tokio::task::spawn_blocking(move || run(&settings, &input))
            .await
            .expect("it runs");
        assert_eq!((found, said.as_str()), (code, ""), "{errors}");
        assert!(
            errors.contains(part) && !errors.contains(&token),
            "{errors}"
        );
    }
}

#[tokio::test]
async fn personal_and_client_tokens_are_explained() {
    let server = TestServer::start().await;
    let (john, admin) = (server.sign_up("john").await, server.admin("root").await);
    let (id, text) = personal_access_tokens::make(&server, &john, "items:read").await;
    says(
        server.settings(),
        &text,
        "the token is a personal access token and expires at 20",
    )
    .await;
    let changed = format!(
        "{}{}",
        &text[..text.len() - 1],
        if text.ends_with('A') { 'B' } else { 'A' }
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
            &john.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    says(server.settings(), &text, "Z (by the user).").await;
    execute(&server, "delete from revocations where kind = 'token'").await;
    says(
        server.settings(),
        &text,
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
