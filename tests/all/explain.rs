//! `latchkey explain`: one sentence about one token, from the settings of the replicas, without
//! using it up.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::open,
    forge::{Forge, with, without},
    gateway::{Gateway, PASSWORD, Session, until},
    oauth::Client,
    personal_tokens, program,
    stack::{ask, execute},
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
    let gateway = Gateway::start().await;
    let john = gateway.sign_up("john").await;
    says(
        gateway.settings(),
        &john.access_token,
        "the token is an access token and expires at 20",
    )
    .await;
    says(
        gateway.settings(),
        &format!("Bearer {}\n", john.access_token),
        "the token is an access token",
    )
    .await;
    for _ in 0..2 {
        says(
            gateway.settings(),
            &john.refresh_token,
            "this is the current refresh token of the session",
        )
        .await;
    }
    let next = Session::of(gateway.refresh(&john.refresh_token).await.is(200, ""));
    says(
        gateway.settings(),
        &john.refresh_token,
        "this is the previous refresh token of the session",
    )
    .await;
    gateway.refresh(&next.refresh_token).await.is(200, "");
    let grandparent = "this is refresh token 0 of the session, and the current one is 2";
    says(gateway.settings(), &john.refresh_token, grandparent).await;
    // Redis, where another prefix knows nothing, is as if it were flushed: the record says the
    // same.
    let recorded = || async { ask(&gateway, "select rotation_counter from sessions").await == "2" };
    until("the counter is recorded", recorded).await;
    says(
        gateway.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]),
        &john.refresh_token,
        grandparent,
    )
    .await;
    assert_eq!(
        gateway.verify(&john.access_token).await.0,
        204,
        "nobody was signed out by asking"
    );
}

#[tokio::test]
async fn the_value_of_a_cookie_is_explained_like_a_token() {
    let gateway = Gateway::start().await;
    gateway.sign_up("john").await;
    let cookie = open(&gateway, "john").await;
    says(
        gateway.settings(),
        &cookie,
        "the token is a session cookie and expires at 20",
    )
    .await;
    says(
        gateway.settings(),
        &format!("Cookie: __Host-latchkey={cookie}"),
        "the token is a session cookie",
    )
    .await;
    gateway.log_out(&cookie).await.is(204, "");
    says(gateway.settings(), &cookie, "Z (sign-out).").await;
}

#[tokio::test]
async fn what_is_no_token_for_here_is_told_by_its_flaw() {
    let gateway = Gateway::start().await;
    let john = gateway.sign_up("john").await;
    let (forge, claims) = (Forge::of(&gateway).await, john.claims());
    let seconds = |ahead: i64| json!(claims["iat"].as_i64().expect("seconds") + ahead);
    let mut unknown = forge.header();
    unknown["kid"] = json!("another");
    let strange = Gateway::start().await.sign_up("john").await;
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
        says(gateway.settings(), &token, part).await;
    }
}

#[tokio::test]
async fn what_was_taken_back_is_told_with_when_and_why() {
    let gateway = Gateway::start().await;
    let john = gateway.sign_up("john").await;
    let call = |method, path: &'static str, session: &Session, body| {
        let token = session.access_token.clone();
        async {
            gateway
                .with_token(method, path, &{ token }, body)
                .await
                .is(204, "")
                .status
        }
    };
    let both = async |session: &Session, part: &str| {
        for token in [&session.access_token, &session.refresh_token] {
            says(gateway.settings(), token, part).await;
        }
    };
    let out = gateway.sign_in("john").await;
    gateway.log_out(&out.access_token).await.is(204, "");
    both(
        &out,
        &format!("session {} was revoked at 20", out.claim("sid")),
    )
    .await;
    both(&out, "Z (sign-out).").await;
    let other = gateway.sign_in("john").await;
    call(
        Method::POST,
        "/user/password",
        &john,
        json!({"current_password": PASSWORD, "new_password": "another one 7"}),
    )
    .await;
    both(&other, "Z (password change).").await;
    let first = Session::of(&gateway.log_in("john", "another one 7").await);
    let second = Session::of(&gateway.refresh(&first.refresh_token).await);
    gateway.refresh(&second.refresh_token).await.is(200, "");
    gateway
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    both(&second, "Z (refresh token reuse).").await;

    call(Method::POST, "/logout?scope=all", &john, Value::Null).await;
    both(&john, "Z (sign-out of all sessions).").await;
    let new = Session::of(&gateway.log_in("john", "another one 7").await);
    let past = Forge::of(&gateway)
        .await
        .sign(&with(&new.claims(), "generation", json!(1)));
    let everything = "all tokens of the user were revoked at 20";
    says(gateway.settings(), &past, everything).await;
    says(
        gateway.settings(),
        &past,
        "(sign-out of all sessions); the token has generation 1, the user has 2.",
    )
    .await;
    // The events remember for longer than the revocations.
    execute(&gateway, "delete from revocations").await;
    says(
        gateway.settings(),
        &past,
        "Z (sign-out of all sessions); the token has generation 1",
    )
    .await;
    execute(&gateway, "delete from audit_events").await;
    says(
        gateway.settings(),
        &past,
        "all tokens of the user were revoked; the token has generation 1",
    )
    .await;

    execute(&gateway, "update users set disabled = true").await;
    both(&new, "the user was disabled").await;
    execute(&gateway, "update users set disabled = false").await;
    call(Method::DELETE, "/user", &new, Value::Null).await;
    both(&new, "the user was deleted at 20").await;
}

/// The reason of the larger generation, whichever came first within the hour.
#[tokio::test]
async fn what_ended_everything_last_is_what_is_told() {
    let gateway = Gateway::start().await;
    for _ in 0..2 {
        let session = match gateway.log_in("john", PASSWORD).await {
            answer if answer.status == 200 => Session::of(&answer),
            _nobody_yet => gateway.sign_up("john").await,
        };
        let all = gateway
            .with_token(
                Method::POST,
                "/logout?scope=all",
                &session.access_token,
                Value::Null,
            )
            .await;
        all.is(204, "");
        execute(
            &gateway,
            "update revocations set reason = 'role_change' where min_generation = 2",
        )
        .await;
    }
    assert_eq!(
        ask(
            &gateway,
            "select min_generation || reason from revocations where kind = 'user'"
        )
        .await,
        "3sign_out_all"
    );
}

#[tokio::test]
async fn the_two_ends_of_a_session_are_told() {
    let gateway = Gateway::start().await;
    let (idle, over) = (gateway.sign_up("john").await, gateway.sign_up("jane").await);
    let back = |session: &Session, column: &str| {
        format!(
            "update sessions set {column} = now() - interval '8 days' where id = '{}'",
            session.claim("sid")
        )
    };
    execute(&gateway, &back(&idle, "last_used_at")).await;
    execute(&gateway, &back(&over, "expires_at")).await;
    let flushed = gateway.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]);
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
    execute(&gateway, "delete from sessions").await;
    says(
        gateway.settings(),
        &over.refresh_token,
        "PostgreSQL does not contain session",
    )
    .await;
}

#[tokio::test]
async fn a_redis_that_says_something_else_is_told() {
    let gateway = Gateway::start().await;
    let (john, out) = (gateway.sign_up("john").await, gateway.sign_in("john").await);
    gateway.log_out(&out.access_token).await.is(204, "");
    let (lost, gone) = (
        gateway.settings_with(&[("LATCHKEY_REDIS_PREFIX", "flushed")]),
        gateway.settings_with(&[("REDIS_URL", "redis://127.0.0.1:1")]),
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
        &gateway,
        "update sessions set revoked_at = null, revoked_reason = null",
    )
    .await;
    says(
        gateway.settings(),
        &out.access_token,
        "the revocation log in Redis contains the session, but PostgreSQL contains no revocation",
    )
    .await;
    says(
        gateway.settings(),
        &out.refresh_token,
        "the session was revoked in Redis (sign-out), but not yet in PostgreSQL",
    )
    .await;
    execute(
        &gateway,
        "update sessions set revoked_at = now(), revoked_reason = 'revoked'",
    )
    .await;
    says(
        gateway.settings(),
        &john.access_token,
        "by an administrator); the revocation log in Redis does not contain the revocation yet",
    )
    .await;
    says(
        gateway.settings(),
        &john.refresh_token,
        "by an administrator); Redis does not contain the revocation yet",
    )
    .await;
}

#[tokio::test]
async fn wrong_usage_and_a_record_that_is_away_have_codes_of_their_own() {
    let gateway = Gateway::start().await;
    let token = gateway.sign_up("john").await.access_token;
    let strange = Gateway::start().await;
    let cases = [
        (
            gateway.settings(),
            String::new(),
            2,
            "standard input must contain exactly one token",
        ),
        (
            gateway.settings(),
            " \n".to_owned(),
            2,
            "standard input must contain exactly one token",
        ),
        (
            gateway.settings(),
            format!("{token}\n{token}"),
            2,
            "standard input must contain exactly one token",
        ),
        (
            gateway.settings_with(&[("LATCHKEY_ISSUER", "nonsense")]),
            token.clone(),
            2,
            "LATCHKEY_ISSUER",
        ),
        (
            gateway.settings_with(&[("LATCHKEY_SECRET", strange.setting("LATCHKEY_SECRET"))]),
            token.clone(),
            2,
            "LATCHKEY_SECRET differs",
        ),
        (
            gateway.settings_with(&[("DATABASE_URL", "postgres://127.0.0.1:1/x")]),
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
    let gateway = Gateway::start().await;
    let (john, admin) = (gateway.sign_up("john").await, gateway.admin("root").await);
    let (id, text) = personal_tokens::make(&gateway, &john, "items:read").await;
    says(
        gateway.settings(),
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
        gateway.settings(),
        &changed,
        "modified or not issued by this server",
    )
    .await;
    gateway
        .with_token(
            Method::DELETE,
            &format!("/user/tokens/{id}"),
            &john.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    says(gateway.settings(), &text, "Z (by the user).").await;
    execute(&gateway, "delete from revocations where kind = 'token'").await;
    says(
        gateway.settings(),
        &text,
        "PostgreSQL does not contain this personal access token",
    )
    .await;

    let client = Client::register(&gateway, &admin, "items:read").await;
    let (id, token) = (&client.id, client.token(&gateway).await);
    says(
        gateway.settings(),
        &token,
        "the token is an access token of an OAuth client",
    )
    .await;
    let rotate = format!("/clients/{id}/rotate");
    gateway
        .with_token(Method::POST, &rotate, &admin.access_token, Value::Null)
        .await
        .is(200, "");
    says(
        gateway.settings(),
        &token,
        "all tokens of the OAuth client were revoked",
    )
    .await;
    gateway
        .with_token(
            Method::DELETE,
            &format!("/clients/{id}"),
            &admin.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    says(gateway.settings(), &token, "the OAuth client was deleted").await;
}
