//! Signing in by cookie, and what counts as one.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{
    NAME, SetCookie, aged, altered, bare, by_cookie, claims, get, john, open, opening, page, verify,
};
use crate::{
    contract::{json_body, operations},
    test_server::{PASSWORD, Session, TestServer},
    test_stores::{ask, execute},
};

#[tokio::test]
async fn signing_in_gives_a_cookie_and_tells_no_token() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let response = server.send(opening(&server, "john", PASSWORD)).await;
    let cookie = SetCookie::of(response.is(200, "")).expect("a cookie");
    assert_eq!(cookie.name, NAME);
    let attributes: Vec<_> = cookie
        .attributes
        .iter()
        .filter(|attribute| !attribute.starts_with("Max-Age"))
        .collect();
    assert_eq!(attributes, ["Path=/", "Secure", "HttpOnly", "SameSite=Lax"]);
    let max_age: u64 = cookie
        .attribute("Max-Age")
        .and_then(|seconds| seconds.parse().ok())
        .expect("seconds");
    assert!(max_age > 0 && max_age <= 600, "{max_age}");
    let said = claims(&cookie.value);
    assert_eq!(
        said["exp"].as_u64(),
        said["iat"].as_u64().map(|iat| iat + 600)
    );
    assert_eq!(said["client_id"], "latchkey-browser");
    let members: Vec<_> = response
        .body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        (members, &response.body["user"]["username"]),
        (vec!["user", "expires_at"], &json!("john"))
    );
    assert!(!response.string().contains("eyJ"), "{}", response.string());

    let state = get(&server, "/session", &cookie.value).await;
    assert_eq!(state.is(200, "").body, response.body);
    assert_eq!(SetCookie::of(&state), None, "it is fresh");
    let expires_at = ask(
        &server,
        &format!("to_timestamp({}) at time zone 'utc'", said["exp"]),
    )
    .await;
    assert_eq!(
        state
            .text("expires_at")
            .replace('T', " ")
            .trim_end_matches('Z'),
        expires_at
    );
}

#[tokio::test]
async fn signing_up_in_a_page_gives_a_cookie_and_no_tokens() {
    let server = TestServer::shared().await;
    let request = server
        .request(Method::POST, "/signup")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let response = server.send(request.header("x-latchkey-request", "1")).await;
    let cookie = SetCookie::of(response.is(201, "")).expect("a cookie").value;
    assert_eq!(response.header("location"), "/user");
    assert!(
        response
            .body
            .as_object()
            .is_some_and(|members| members.keys().eq(["user"])),
        "{}",
        response.body
    );
    assert_eq!(
        get(&server, "/session", &cookie).await.is(200, "").body["user"],
        response.body["user"]
    );

    let other = server
        .post("/signup", json!({"username": "jane", "password": PASSWORD}))
        .await;
    assert_eq!(
        SetCookie::of(other.is(201, "")),
        None,
        "a program gets no cookie"
    );
    assert!(other.body["access_token"].is_string());
}

#[tokio::test]
async fn a_wrong_password_gives_no_cookie() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    for (username, password) in [("john", "wrong"), ("nobody", PASSWORD)] {
        let response = server.send(opening(&server, username, password)).await;
        assert_eq!(SetCookie::of(response.is(401, "invalid_credentials")), None);
    }
    execute(&server, "update users set disabled = true").await;
    server
        .send(opening(&server, "john", PASSWORD))
        .await
        .is(401, "invalid_credentials");
    let form = server
        .request(Method::POST, "/session")
        .header("x-latchkey-request", "1");
    let form = form.form(&[("username", "john"), ("password", PASSWORD)]);
    server.send(form).await.is(415, "unsupported_media_type");
}

#[tokio::test]
async fn with_a_domain_the_cookie_is_that_of_all_its_hosts() {
    let server = TestServer::with(&[("LATCHKEY_COOKIE_DOMAIN", "Example.com")]).await;
    server.sign_up("john").await;
    let response = server.send(opening(&server, "john", PASSWORD)).await;
    let cookie = SetCookie::of(response.is(200, "")).expect("a cookie");
    assert_eq!(
        (cookie.name.as_str(), cookie.attribute("Domain")),
        ("__Secure-latchkey", Some("example.com"))
    );
    get(&server, "/session", &cookie.value)
        .await
        .is(401, "unauthenticated");
    let own = |method| {
        let request = server.request(method, "/session").header(
            header::COOKIE,
            format!("__Secure-latchkey={}", cookie.value),
        );
        request.header("x-latchkey-request", "1")
    };
    server.send(own(Method::GET)).await.is(200, "");
    let out = server.send(own(Method::DELETE)).await;
    let cleared = SetCookie::of(out.is(204, "")).expect("it is cleared");
    assert!(
        cleared.clears()
            && cleared.name == "__Secure-latchkey"
            && cleared.attribute("Domain") == Some("example.com")
    );
}

/// Everything that a cookie holds is as long as it may be: names in characters of four bytes, and
/// the addresses too.
#[tokio::test]
async fn the_longest_names_fit_into_a_cookie() {
    let label = "a".repeat(63);
    let domain = format!("{label}.{label}.{}.example", "b".repeat(40));
    let issuer = format!(
        "https://auth.{domain}/{}",
        "c".repeat(255 - 14 - domain.len())
    );
    let audience = "d".repeat(255);
    let settings = [
        ("LATCHKEY_ISSUER", issuer.as_str()),
        ("LATCHKEY_AUDIENCE", &audience),
        ("LATCHKEY_COOKIE_DOMAIN", &domain),
        ("LATCHKEY_COOKIE_IDLE_TIMEOUT", "1h"),
    ];
    assert_eq!(issuer.len(), 255);
    let server = TestServer::with(&settings).await;
    for (number, symbol) in ["\u{1f511}", "\"", "\u{2028}"].into_iter().enumerate() {
        let email = format!(
            "{number}{}@{label}.{label}.{}.example",
            "e".repeat(63),
            "f".repeat(52)
        );
        let username = format!("{number}{}", "g".repeat(63));
        let body = json!({
            "username": username,
            "email": email,
            "password": PASSWORD,
            "name": symbol.repeat(200),
        });
        let request = server
            .request(Method::POST, "/signup")
            .header("x-latchkey-request", "1")
            .json(&body);
        // Its length is asserted where it is read.
        let cookie = SetCookie::of(server.send(request).await.is(201, "")).expect("a cookie");
        let state = server
            .request(Method::GET, "/session")
            .header(header::COOKIE, format!("{}={}", cookie.name, cookie.value));
        assert_eq!(
            server.send(state).await.is(200, "").body["user"]["name"],
            symbol.repeat(200)
        );
    }
}

#[tokio::test]
async fn a_planted_cookie_never_survives_a_sign_in() {
    let (server, mallory) = john().await;
    server.sign_up("jane").await;
    let request =
        opening(&server, "jane", PASSWORD).header(header::COOKIE, format!("{NAME}={mallory}"));
    let jane = SetCookie::of(server.send(request).await.is(200, ""))
        .expect("a cookie")
        .value;
    let (planted, own) = (claims(&mallory), claims(&jane));
    assert!(
        planted["sid"] != own["sid"]
            && planted["jti"] != own["jti"]
            && planted["sub"] != own["sub"]
    );
    assert_eq!(
        get(&server, "/session", &mallory).await.body["user"]["username"],
        "john"
    );
    assert_eq!(
        get(&server, "/session", &jane).await.body["user"]["username"],
        "jane"
    );

    // Beside one that was planted from elsewhere, neither counts.
    for both in [
        format!("{NAME}={mallory}; {NAME}={jane}"),
        format!("{NAME}={jane};{NAME}={jane}"),
    ] {
        for path in ["/session", "/user", "/auth/verify"] {
            let response = server
                .send(
                    server
                        .request(Method::GET, path)
                        .header(header::COOKIE, &both),
                )
                .await;
            assert_eq!(SetCookie::of(response.is(400, "invalid_request")), None);
        }
    }
    let two = page(&server, Method::GET, "/user", &jane)
        .header(header::COOKIE, format!("{NAME}={mallory}"));
    server.send(two).await.is(400, "invalid_request");
    let again = opening(&server, "jane", PASSWORD)
        .header(header::COOKIE, format!("{NAME}={mallory}; {NAME}={jane}"));
    server.send(again).await.is(200, "");
}

#[tokio::test]
async fn only_a_browsers_token_counts_as_a_cookie() {
    let (server, cookie) = john().await;
    let session = server.sign_in("john").await;
    let stolen = [
        session.access_token.clone(),
        altered(&server, &cookie, "client_id", json!("latchkey")).await,
    ];
    for token in &stolen {
        for token in [token.clone(), aged(&server, token, 300).await] {
            for path in ["/user", "/auth/verify", "/items"] {
                let response = get(&server, path, &token).await;
                assert_eq!(
                    SetCookie::of(response.is(401, "invalid_token")),
                    None,
                    "{path}"
                );
            }
            let state = get(&server, "/session", &token).await;
            assert_eq!(SetCookie::of(state.is(401, "unauthenticated")), None);
        }
    }
    assert_eq!(
        server.verify(&session.access_token).await.0,
        204,
        "as a bearer token it is as good as before"
    );
}

#[tokio::test]
async fn whatever_is_wrong_with_the_cookie_the_state_is_the_same() {
    let (server, cookie) = john().await;
    let session = server.sign_in("john").await;
    let revoked = open(&server, "john").await;
    by_cookie(&server, Method::DELETE, "/session", &revoked)
        .await
        .is(204, "");
    let wrong = [
        String::new(),
        "garbage".into(),
        session.refresh_token.clone(),
        format!("{cookie}A"),
        aged(&server, &cookie, 600).await,
        altered(&server, &cookie, "iss", json!("https://elsewhere.example")).await,
        revoked,
    ];
    for cookie in wrong {
        let response = get(&server, "/session", &cookie).await;
        assert_eq!(
            SetCookie::of(response.is(401, "unauthenticated")),
            None,
            "{cookie}"
        );
        assert_eq!(response.header("vary"), "Authorization, Cookie");
    }
    server.get("/session").await.is(401, "unauthenticated");
    // With a bearer token the cookie is not read.
    server
        .send(page(&server, Method::GET, "/session", &cookie).bearer_auth(&session.access_token))
        .await
        .is(401, "unauthenticated");
    let gone = server.sign_up("jane").await;
    let jane = open(&server, "jane").await;
    server
        .with_token(Method::DELETE, "/user", &gone.access_token, Value::Null)
        .await
        .is(204, "");
    get(&server, "/session", &jane)
        .await
        .is(401, "unauthenticated");
}

#[tokio::test]
async fn every_protected_operation_takes_a_cookie() {
    let (server, cookie) = john().await;
    let request = page(&server, Method::POST, "/items", &cookie).json(&json!({"name": "Book"}));
    let item = server.send(request).await.is(201, "").text("id");
    let mut taken = 0;
    for (method, path, operation) in operations(&item) {
        let ways = operation["security"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        // What may end the session is another matter.
        if !ways.contains(&json!({"sessionCookie": []}))
            || ways.contains(&json!({}))
            || method == Method::DELETE
        {
            continue;
        }
        let request = page(&server, method.clone(), &path, &cookie);
        let response = server
            .send(match json_body(operation) {
                Some(schema) => request.json(&schema["example"]),
                None => request,
            })
            .await;
        let refused = [
            "unauthenticated",
            "invalid_token",
            "token_expired",
            "token_revoked",
            "csrf",
        ];
        assert!(
            !refused.contains(&response.code().as_str()),
            "{method} {path}: {}",
            response.string()
        );
        taken += 1;
    }
    assert!(
        taken >= 10,
        "the document lists what takes a cookie: {taken}"
    );
}

#[tokio::test]
async fn beside_a_bearer_token_the_cookie_is_not_read() {
    let (server, cookie) = john().await;
    let jane = server.sign_up("jane").await;
    let old = aged(&server, &cookie, 300).await;
    let both = |path, token: &str| page(&server, Method::GET, path, &old).bearer_auth(token);
    let response = server.send(both("/user", &jane.access_token)).await;
    assert_eq!(
        (
            SetCookie::of(response.is(200, "")),
            &response.body["username"]
        ),
        (None, &json!("jane"))
    );
    let bad = server.send(both("/user", "garbage")).await;
    assert_eq!(SetCookie::of(bad.is(401, "invalid_token")), None);
    // No page is asked after: a bearer token comes from a program.
    let write = bare(&server, Method::PATCH, "/user", &old).bearer_auth(&jane.access_token);
    server
        .send(write.json(&json!({"name": "Jane"})))
        .await
        .is(200, "");

    for scheme in ["Basic Og==", "DPoP x", "Bearer", "nonsense"] {
        let request =
            page(&server, Method::GET, "/user", &cookie).header(header::AUTHORIZATION, scheme);
        assert_eq!(
            server.send(request).await.is(200, "").body["username"],
            "john",
            "{scheme}"
        );
    }
    let twice =
        page(&server, Method::GET, "/user", &cookie).header(header::AUTHORIZATION, "Basic Og==");
    server
        .send(twice.header(header::AUTHORIZATION, "Basic Og=="))
        .await
        .is(400, "invalid_request");
}

/// A browser session has no refresh token, and none that was made for it by hand works.
#[tokio::test]
async fn a_cookie_as_a_bearer_token_is_never_slid() {
    let (server, cookie) = john().await;
    let old = aged(&server, &cookie, 300).await;
    for path in ["/auth/verify", "/user"] {
        let response = server
            .with_token(Method::GET, path, &old, Value::Null)
            .await;
        assert!(
            response.status < 300 && SetCookie::of(&response).is_none(),
            "{path}"
        );
    }
    server
        .refresh(&cookie)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(verify(&server, &cookie).await.0, 204);
    let session = Session::of(&server.log_in("john", PASSWORD).await);
    assert_eq!(server.verify(&session.access_token).await.0, 204);
}
