//! Tests of browser sign-in and of the acceptance of session cookies.

use reqwest::{Method, header};
use serde_json::{Value, json};

use super::{
    NAME, SetCookie, aged, claims, cookie_request, get_with_cookie, open, page_request,
    replace_claim, send_page_request, sign_in_request, start_signed_in, verify_cookie,
};
use crate::{
    contract::{json_body, operations},
    test_server::{PASSWORD, Session, TestServer},
    test_stores::{execute, query_value},
};

#[tokio::test]
async fn browser_sign_in_sets_cookie_without_tokens() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    let response = server
        .send(sign_in_request(&server, "john", PASSWORD))
        .await;
    let cookie = SetCookie::from_response(response.is(200, "")).expect("a cookie");
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
    let month = 30 * 86_400;
    assert!(
        (month - 60..=month).contains(&max_age),
        "the browser keeps it for the rest of the session: {max_age}"
    );
    let cookie_claims = claims(&cookie.value);
    assert_eq!(
        cookie_claims["exp"].as_u64(),
        cookie_claims["iat"].as_u64().map(|iat| iat + 600)
    );
    assert_eq!(cookie_claims["client_id"], "latchkey-browser");
    let fields: Vec<_> = response
        .body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        (fields, &response.body["user"]["username"]),
        (vec!["user", "expires_at"], &json!("john"))
    );
    assert!(!response.string().contains("eyJ"), "{}", response.string());

    let state = get_with_cookie(&server, "/session", &cookie.value).await;
    assert_eq!(state.is(200, "").body, response.body);
    assert_eq!(
        SetCookie::from_response(&state),
        None,
        "a new cookie isn't renewed"
    );
    let expires_at = query_value(
        &server,
        &format!("to_timestamp({}) at time zone 'utc'", cookie_claims["exp"]),
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
async fn browser_sign_up_sets_cookie_without_tokens() {
    let server = TestServer::shared().await;
    let request = server
        .request(Method::POST, "/signup")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let response = server.send(request.header("x-latchkey-request", "1")).await;
    let cookie = SetCookie::from_response(response.is(201, ""))
        .expect("a cookie")
        .value;
    assert_eq!(response.header("location"), "/user");
    assert!(
        response
            .body
            .as_object()
            .is_some_and(|fields| fields.keys().eq(["user"])),
        "{}",
        response.body
    );
    assert_eq!(
        get_with_cookie(&server, "/session", &cookie)
            .await
            .is(200, "")
            .body["user"],
        response.body["user"]
    );

    let other = server
        .post("/signup", json!({"username": "jane", "password": PASSWORD}))
        .await;
    assert_eq!(
        SetCookie::from_response(other.is(201, "")),
        None,
        "an API client gets no cookie"
    );
    assert!(other.body["access_token"].is_string());
}

#[tokio::test]
async fn failed_sign_in_sets_no_cookie() {
    let server = TestServer::shared().await;
    server.sign_up("john").await;
    for (username, password) in [("john", "wrong"), ("unknown", PASSWORD)] {
        let response = server
            .send(sign_in_request(&server, username, password))
            .await;
        assert_eq!(
            SetCookie::from_response(response.is(401, "invalid_credentials")),
            None
        );
    }
    execute(&server, "update users set disabled = true").await;
    server
        .send(sign_in_request(&server, "john", PASSWORD))
        .await
        .is(401, "invalid_credentials");
    let form = server
        .request(Method::POST, "/session")
        .header("x-latchkey-request", "1");
    let form = form.form(&[("username", "john"), ("password", PASSWORD)]);
    server.send(form).await.is(415, "unsupported_media_type");
}

#[tokio::test]
async fn cookie_domain_changes_name_and_domain_of_cookie() {
    let server = TestServer::with(&[("LATCHKEY_COOKIE_DOMAIN", "Example.com")]).await;
    server.sign_up("john").await;
    let response = server
        .send(sign_in_request(&server, "john", PASSWORD))
        .await;
    let cookie = SetCookie::from_response(response.is(200, "")).expect("a cookie");
    assert_eq!(
        (cookie.name.as_str(), cookie.attribute("Domain")),
        ("__Secure-latchkey", Some("example.com"))
    );
    get_with_cookie(&server, "/session", &cookie.value)
        .await
        .is(401, "unauthenticated");
    let request_with_cookie = |method| {
        let request = server.request(method, "/session").header(
            header::COOKIE,
            format!("__Secure-latchkey={}", cookie.value),
        );
        request.header("x-latchkey-request", "1")
    };
    server
        .send(request_with_cookie(Method::GET))
        .await
        .is(200, "");
    let sign_out = server.send(request_with_cookie(Method::DELETE)).await;
    let removal = SetCookie::from_response(sign_out.is(204, "")).expect("a removed cookie");
    assert!(
        removal.is_removal()
            && removal.name == "__Secure-latchkey"
            && removal.attribute("Domain") == Some("example.com")
    );
}

/// All claims of the cookie have their maximum length, and the name has four bytes per character.
#[tokio::test]
async fn cookie_with_longest_claims_stays_below_4096_bytes() {
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
        ("LATCHKEY_COOKIE_NAME", "latchkey_12345678901234567890123"),
        ("LATCHKEY_COOKIE_IDLE_TIMEOUT", "1h"),
    ];
    assert_eq!(issuer.len(), 255);
    let server = TestServer::with(&settings).await;
    let groups: Vec<String> = (0..32)
        .map(|number| format!("{number:02}{}", "h".repeat(30)))
        .collect();
    let list = groups.join(",");
    let insert = format!("insert into groups (name) select unnest('{{{list}}}'::text[])");
    execute(&server, &insert).await;
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
        // `SetCookie::from_response` asserts the length.
        let cookie =
            SetCookie::from_response(server.send(request).await.is(201, "")).expect("a cookie");
        let state = server
            .request(Method::GET, "/session")
            .header(header::COOKIE, format!("{}={}", cookie.name, cookie.value));
        assert_eq!(
            server.send(state).await.is(200, "").body["user"]["name"],
            symbol.repeat(200)
        );
        // With all groups, the token omits the display name if it is too long.
        for (name, is_contained) in [
            (symbol.repeat(200), false),
            ("n".repeat(200), true),
            ("\u{2028}".repeat(93), true),
        ] {
            let change = format!(
                "update users set groups = '{{{list}}}', name = '{name}', role = 'admin' \
                 where username = '{username}'"
            );
            execute(&server, &change).await;
            let request = sign_in_request(&server, &username, PASSWORD);
            let cookie =
                SetCookie::from_response(server.send(request).await.is(200, "")).expect("a cookie");
            let claims = claims(&cookie.value);
            assert_eq!(claims["groups"], json!(groups));
            assert_eq!(claims.get("name").is_some(), is_contained);
            let session = server.sign_in(&username).await;
            assert_eq!(server.verify(&session.access_token).await.0, 204);
        }
    }
}

#[tokio::test]
async fn sign_in_replaces_planted_cookie() {
    let (server, planted) = start_signed_in().await;
    server.sign_up("jane").await;
    let request = sign_in_request(&server, "jane", PASSWORD)
        .header(header::COOKIE, format!("{NAME}={planted}"));
    let own = SetCookie::from_response(server.send(request).await.is(200, ""))
        .expect("a cookie")
        .value;
    let (planted_claims, own_claims) = (claims(&planted), claims(&own));
    assert!(
        planted_claims["sid"] != own_claims["sid"]
            && planted_claims["jti"] != own_claims["jti"]
            && planted_claims["sub"] != own_claims["sub"]
    );
    assert_eq!(
        get_with_cookie(&server, "/session", &planted).await.body["user"]["username"],
        "john"
    );
    assert_eq!(
        get_with_cookie(&server, "/session", &own).await.body["user"]["username"],
        "jane"
    );

    // With two cookies of its own, the server rejects the request instead of choosing one.
    for both in [
        format!("{NAME}={planted}; {NAME}={own}"),
        format!("{NAME}={own};{NAME}={own}"),
    ] {
        for path in ["/session", "/user", "/auth/verify"] {
            let response = server
                .send(
                    server
                        .request(Method::GET, path)
                        .header(header::COOKIE, &both),
                )
                .await;
            assert_eq!(
                SetCookie::from_response(response.is(400, "invalid_request")),
                None
            );
        }
    }
    let two_headers = page_request(&server, Method::GET, "/user", &own)
        .header(header::COOKIE, format!("{NAME}={planted}"));
    server.send(two_headers).await.is(400, "invalid_request");
    let second_sign_in = sign_in_request(&server, "jane", PASSWORD)
        .header(header::COOKIE, format!("{NAME}={planted}; {NAME}={own}"));
    server.send(second_sign_in).await.is(200, "");
}

#[tokio::test]
async fn cookie_with_api_access_token_is_rejected() {
    let (server, cookie) = start_signed_in().await;
    let session = server.sign_in("john").await;
    let api_tokens = [
        session.access_token.clone(),
        replace_claim(&server, &cookie, "client_id", json!("latchkey")).await,
    ];
    for token in &api_tokens {
        for token in [token.clone(), aged(&server, token, 300).await] {
            for path in ["/user", "/auth/verify", "/items"] {
                let response = get_with_cookie(&server, path, &token).await;
                assert_eq!(
                    SetCookie::from_response(response.is(401, "invalid_token")),
                    None,
                    "{path}"
                );
            }
            let state = get_with_cookie(&server, "/session", &token).await;
            assert_eq!(
                SetCookie::from_response(state.is(401, "unauthenticated")),
                None
            );
        }
    }
    assert_eq!(
        server.verify(&session.access_token).await.0,
        204,
        "the token stays valid as a bearer token"
    );
}

#[tokio::test]
async fn session_state_is_unauthenticated_for_any_invalid_cookie() {
    let (server, cookie) = start_signed_in().await;
    let session = server.sign_in("john").await;
    let revoked = open(&server, "john").await;
    send_page_request(&server, Method::DELETE, "/session", &revoked)
        .await
        .is(204, "");
    let invalid = [
        String::new(),
        "garbage".into(),
        session.refresh_token.clone(),
        format!("{cookie}A"),
        aged(&server, &cookie, 600).await,
        replace_claim(&server, &cookie, "iss", json!("https://elsewhere.example")).await,
        revoked,
    ];
    for cookie in invalid {
        let response = get_with_cookie(&server, "/session", &cookie).await;
        assert_eq!(
            SetCookie::from_response(response.is(401, "unauthenticated")),
            None,
            "{cookie}"
        );
        assert_eq!(response.header("vary"), "Authorization, Cookie");
    }
    server.get("/session").await.is(401, "unauthenticated");
    // The server ignores the cookie of a request with a bearer token.
    server
        .send(
            page_request(&server, Method::GET, "/session", &cookie)
                .bearer_auth(&session.access_token),
        )
        .await
        .is(401, "unauthenticated");
    let deleted_user = server.sign_up("jane").await;
    let deleted_user_cookie = open(&server, "jane").await;
    server
        .with_token(
            Method::DELETE,
            "/user",
            &deleted_user.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    get_with_cookie(&server, "/session", &deleted_user_cookie)
        .await
        .is(401, "unauthenticated");
}

#[tokio::test]
async fn every_protected_operation_accepts_session_cookie() {
    let (server, cookie) = start_signed_in().await;
    let request =
        page_request(&server, Method::POST, "/items", &cookie).json(&json!({"name": "Book"}));
    let item = server.send(request).await.is(201, "").text("id");
    let mut tested = 0;
    for (method, path, operation) in operations(&item) {
        let schemes = operation["security"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        // Skips operations that can revoke the session, because the test needs the cookie later.
        if !schemes.contains(&json!({"sessionCookie": []}))
            || schemes.contains(&json!({}))
            || method == Method::DELETE
        {
            continue;
        }
        let request = page_request(&server, method.clone(), &path, &cookie);
        let response = server
            .send(match json_body(operation) {
                Some(schema) => request.json(&schema["example"]),
                None => request,
            })
            .await;
        let authentication_errors = [
            "unauthenticated",
            "invalid_token",
            "token_expired",
            "token_revoked",
            "csrf",
        ];
        assert!(
            !authentication_errors.contains(&response.code().as_str()),
            "{method} {path}: {}",
            response.string()
        );
        tested += 1;
    }
    assert!(tested >= 10, "operations with a cookie: {tested}");
}

#[tokio::test]
async fn bearer_token_takes_precedence_over_cookie() {
    let (server, cookie) = start_signed_in().await;
    let other_user = server.sign_up("jane").await;
    let old = aged(&server, &cookie, 300).await;
    let both =
        |path, token: &str| page_request(&server, Method::GET, path, &old).bearer_auth(token);
    let response = server.send(both("/user", &other_user.access_token)).await;
    assert_eq!(
        (
            SetCookie::from_response(response.is(200, "")),
            &response.body["username"]
        ),
        (None, &json!("jane"))
    );
    let rejected = server.send(both("/user", "garbage")).await;
    assert_eq!(
        SetCookie::from_response(rejected.is(401, "invalid_token")),
        None
    );
    // A request with a bearer token needs no CSRF header, because browsers don't add the token.
    let write =
        cookie_request(&server, Method::PATCH, "/user", &old).bearer_auth(&other_user.access_token);
    server
        .send(write.json(&json!({"name": "Jane"})))
        .await
        .is(200, "");

    for scheme in ["Basic Og==", "DPoP x", "Bearer", "nonsense"] {
        let request = page_request(&server, Method::GET, "/user", &cookie)
            .header(header::AUTHORIZATION, scheme);
        assert_eq!(
            server.send(request).await.is(200, "").body["username"],
            "john",
            "{scheme}"
        );
    }
    let two_headers = page_request(&server, Method::GET, "/user", &cookie)
        .header(header::AUTHORIZATION, "Basic Og==");
    server
        .send(two_headers.header(header::AUTHORIZATION, "Basic Og=="))
        .await
        .is(400, "invalid_request");
}

/// A browser session has no refresh token, and its cookie doesn't work as one.
#[tokio::test]
async fn cookie_as_bearer_token_is_not_renewed() {
    let (server, cookie) = start_signed_in().await;
    let old = aged(&server, &cookie, 300).await;
    for path in ["/auth/verify", "/user"] {
        let response = server
            .with_token(Method::GET, path, &old, Value::Null)
            .await;
        assert!(
            response.status < 300 && SetCookie::from_response(&response).is_none(),
            "{path}"
        );
    }
    server
        .refresh(&cookie)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(verify_cookie(&server, &cookie).await.0, 204);
    let session = Session::of(&server.try_sign_in("john", PASSWORD).await);
    assert_eq!(server.verify(&session.access_token).await.0, 204);
}
