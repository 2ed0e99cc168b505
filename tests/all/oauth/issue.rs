//! `POST /oauth/token`: the errors of RFC 6749 section 5.2, and the issued tokens.

use latchkey_domain::opaque_token::OpaqueTokenKind;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, FORM, Fixture, assert_oauth_error, check, forged};
use crate::{
    test_server::{Session, TestResponse},
    test_stores::query_value,
};

/// Invalid forms and their errors. Names in braces are placeholders for values of the fixture.
const INVALID_FORMS: &[(&str, u16, &str)] = &[
    ("", 400, "invalid_request"),
    ("refresh_token={refresh}", 400, "invalid_request"),
    (
        "grant_type=&refresh_token={refresh}",
        400,
        "invalid_request",
    ),
    (
        "grant_type=password&username=john&password=secret123",
        400,
        "unsupported_grant_type",
    ),
    (
        "grant_type=authorization_code&code=x",
        400,
        "unsupported_grant_type",
    ),
    (
        "grant_type=Refresh_Token&refresh_token={refresh}",
        400,
        "unsupported_grant_type",
    ),
    ("grant_type=refresh_token", 400, "invalid_request"),
    (
        "grant_type=refresh_token&refresh_token=",
        400,
        "invalid_request",
    ),
    (
        "grant_type=refresh_token&refresh_token=garbage",
        400,
        "invalid_grant",
    ),
    (
        "grant_type=refresh_token&refresh_token={access}",
        400,
        "invalid_grant",
    ),
    (
        "grant_type=refresh_token&refresh_token=%FF",
        400,
        "invalid_request",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&refresh_token={refresh}",
        400,
        "invalid_request",
    ),
    (
        "grant_type=refresh_token&grant_type=refresh_token&refresh_token={refresh}",
        400,
        "invalid_request",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&unknown=1&unknown=2",
        400,
        "invalid_request",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&scope=items:delete",
        400,
        "invalid_scope",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&scope=items:read%20admin",
        400,
        "invalid_scope",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&scope=%20",
        400,
        "invalid_scope",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&scope=items:read%09user:read",
        400,
        "invalid_scope",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&scope=items:read&scope=user:read",
        400,
        "invalid_request",
    ),
    // Unknown clients, and registered clients with a refresh token of a user.
    (
        "grant_type=refresh_token&refresh_token={refresh}&client_id=Latchkey",
        401,
        "invalid_client",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&client_id=latchkey&client_secret=x",
        401,
        "invalid_client",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&client_id={id}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=refresh_token&refresh_token={refresh}&client_id={id}&client_secret={secret}",
        400,
        "invalid_grant",
    ),
    ("grant_type=client_credentials", 401, "invalid_client"),
    (
        "grant_type=client_credentials&client_id=latchkey",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret=",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret=wrong",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={other secret}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={forged}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={other id}&client_secret={secret}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={secret}A",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret=%20{secret}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={ID}&client_secret={secret}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={plain id}&client_secret={secret}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_secret={secret}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={personal}",
        401,
        "invalid_client",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_id={id}&client_secret={secret}",
        400,
        "invalid_request",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=items:write",
        400,
        "invalid_scope",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=everything",
        400,
        "invalid_scope",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={secret}\
         &resource=https://other.example.com",
        400,
        "invalid_target",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={secret}\
         &resource=https://auth.example.com/",
        400,
        "invalid_target",
    ),
    (
        "grant_type=client_credentials&client_id={id}&client_secret={secret}\
         &resource={aud}&resource={aud}",
        400,
        "invalid_request",
    ),
];

/// Invalid `Authorization` headers, further parameters of an otherwise valid form, and the errors.
/// The test encodes the credentials of `Basic`.
const INVALID_HEADERS: &[(&str, &str, u16, &str)] = &[
    ("Basic {id}:wrong", "", 401, "invalid_client"),
    ("Basic {id}:", "", 401, "invalid_client"),
    ("Basic :{secret}", "", 401, "invalid_client"),
    ("Basic {id}:{other secret}", "", 401, "invalid_client"),
    ("Basic {ID}:{secret}", "", 401, "invalid_client"),
    ("Basic latchkey:", "", 401, "invalid_client"),
    ("Basic {id}{secret}", "", 401, "invalid_client"),
    ("Bearer {access}", "", 401, "invalid_client"),
    ("Digest {id}:{secret}", "", 401, "invalid_client"),
    (
        "Basic {id}:{secret}",
        "&client_id={id}&client_secret={secret}",
        400,
        "invalid_request",
    ),
    (
        "Basic {id}:{secret}",
        "&client_secret=wrong",
        400,
        "invalid_request",
    ),
    (
        "Basic {id}:{secret}",
        "&client_id={other id}",
        400,
        "invalid_request",
    ),
    ("Basic {id}:wrong", "&client_id={id}", 401, "invalid_client"),
];

/// Placeholders and their values.
struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    async fn new(fixture: &Fixture) -> Placeholders {
        let other = Client::register(&fixture.server, &fixture.admin, "items:read").await;
        let (Client { id, secret }, user) = (&fixture.client, &fixture.session);
        Placeholders(vec![
            ("{ID}", id.to_uppercase()),
            ("{plain id}", id.replace('-', "")),
            ("{id}", id.clone()),
            ("{secret}", secret.clone()),
            ("{other id}", other.id),
            ("{other secret}", other.secret),
            ("{refresh}", user.refresh_token.clone()),
            ("{access}", user.access_token.clone()),
            (
                "{personal}",
                fixture.create_personal_token("items:read").await.1,
            ),
            ("{forged}", forged(OpaqueTokenKind::ClientSecret, id)),
            ("{aud}", "https://auth.example.com".to_owned()),
        ])
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(name, value)
        })
    }

    /// Asserts that a response repeats no value except the audience.
    fn assert_absent(&self, response: &TestResponse) {
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "{aud}") {
            assert!(
                !response.string().contains(value),
                "{name} in {}",
                response.string()
            );
        }
    }
}

fn encode_basic(credentials: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(credentials))
}

#[tokio::test]
async fn invalid_forms_return_their_error_and_change_nothing() {
    let fixture = Fixture::new().await;
    let placeholders = Placeholders::new(&fixture).await;
    for (form, status, error) in INVALID_FORMS {
        let response = fixture
            .server
            .send(fixture.form_request("/oauth/token", &placeholders.fill(form)))
            .await;
        assert_oauth_error(&response, *status, error, form);
        placeholders.assert_absent(&response);
    }
    // The session and the refresh token are still valid.
    assert_eq!(
        query_value(
            &fixture.server,
            "select count(*) from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
    fixture
        .server
        .refresh(&fixture.session.refresh_token)
        .await
        .is(200, "");
    fixture.client.token(&fixture.server).await;
}

#[tokio::test]
async fn invalid_authorization_headers_are_rejected() {
    let fixture = Fixture::new().await;
    let placeholders = Placeholders::new(&fixture).await;
    for (header, parameters, status, error) in INVALID_HEADERS {
        let header = placeholders.fill(header);
        let header = header
            .strip_prefix("Basic ")
            .map_or_else(|| header.clone(), encode_basic);
        let form = placeholders.fill(&format!("grant_type=client_credentials{parameters}"));
        let response = fixture
            .server
            .send(
                fixture
                    .form_request("/oauth/token", &form)
                    .header("authorization", &header),
            )
            .await;
        assert_oauth_error(&response, *status, error, &format!("{header} {parameters}"));
        placeholders.assert_absent(&response);
    }
    let valid = encode_basic(&placeholders.fill("{id}:{secret}"));
    let malformed = [
        valid.replace("Basic ", "Basic"),
        valid.replace("Basic ", "Basic !"),
        "Basic".into(),
        "Basic /w==".into(),
    ];
    for header in malformed {
        let request = fixture
            .form_request("/oauth/token", "grant_type=client_credentials")
            .header("authorization", &header);
        assert_oauth_error(
            &fixture.server.send(request).await,
            401,
            "invalid_client",
            &header,
        );
    }
    let duplicate = fixture
        .form_request("/oauth/token", "grant_type=client_credentials")
        .header("authorization", &valid);
    let response = fixture
        .server
        .send(duplicate.header("authorization", &valid))
        .await;
    assert_oauth_error(&response, 400, "invalid_request", "duplicate header");
}

#[tokio::test]
async fn other_media_types_are_rejected() {
    let fixture = Fixture::new().await;
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        fixture.session.refresh_token
    );
    let json =
        json!({"grant_type": "refresh_token", "refresh_token": fixture.session.refresh_token})
            .to_string();
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        for (media_type, body) in [
            ("application/json", &json),
            ("text/plain", &form),
            ("multipart/form-data", &form),
        ] {
            let request = fixture
                .server
                .request(Method::POST, path)
                .header("content-type", media_type);
            let response = fixture.server.send(request.body(body.clone())).await;
            assert_oauth_error(&response, 400, "invalid_request", media_type);
        }
        let untyped = fixture
            .server
            .send(
                fixture
                    .server
                    .request(Method::POST, path)
                    .body(form.clone()),
            )
            .await;
        assert_oauth_error(&untyped, 400, "invalid_request", "no media type");
        assert_eq!(
            fixture
                .server
                .get(path)
                .await
                .is(405, "method_not_allowed")
                .header("allow"),
            "POST"
        );
    }
    assert_eq!(
        check(&fixture.server, &fixture.session.access_token)
            .await
            .0,
        204
    );
    fixture
        .server
        .refresh(&fixture.session.refresh_token)
        .await
        .is(200, "");
}

/// Unknown parameters and those without a value are ignored (RFC 6749 section 3.2), and names of
/// schemes are case-insensitive.
#[tokio::test]
async fn valid_forms_of_client_authentication_are_accepted() {
    let fixture = Fixture::new().await;
    let Client { id, secret } = &fixture.client;
    let token = |form: &str| {
        fixture.form_request(
            "/oauth/token",
            &format!("grant_type=client_credentials&{form}"),
        )
    };
    let escape = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    let requests = [
        token(&format!(
            "client_id={id}&client_secret={secret}&unknown=1&scope=&resource="
        )),
        token("client_id=&client_secret=")
            .header("authorization", encode_basic(&format!("{id}:{secret}"))),
        token(&format!("client_id={id}"))
            .header("authorization", encode_basic(&format!("{id}:{secret}"))),
        token("").header(
            "authorization",
            encode_basic(&format!("{}:{}", escape(id), escape(secret))),
        ),
        token("").header(
            "authorization",
            encode_basic(&format!("{id}:{secret}")).replace("Basic", "bAsIc "),
        ),
        token(&format!("client_id={id}&client_secret={secret}"))
            .header("authorization", encode_basic(":")),
    ];
    for request in requests {
        let response = fixture.server.send(request).await;
        assert_eq!(
            (
                response.is(200, "").header("cache-control"),
                response.header("pragma")
            ),
            ("no-store", "no-cache")
        );
        assert_eq!(
            (response.text("token_type"), response.text("scope")),
            ("Bearer".into(), "user:read items:read".into())
        );
        assert_eq!(
            (
                &response.body["refresh_token"],
                &response.body["expires_in"]
            ),
            (&Value::Null, &json!(900))
        );
        assert_eq!(
            check(&fixture.server, &response.text("access_token"))
                .await
                .0,
            204
        );
    }
    let form = format!(
        "grant_type=refresh_token&refresh_token={}&client_id=latchkey",
        fixture.session.refresh_token
    );
    let request = fixture
        .server
        .request(Method::POST, "/oauth/token")
        .body(form);
    let request = request
        .header("content-type", format!("{FORM}; charset=UTF-8"))
        .header("authorization", encode_basic(":"));
    let response = fixture.server.send(request).await;
    assert_eq!(
        (
            response.is(200, "").header("cache-control"),
            response.header("pragma")
        ),
        ("no-store", "no-cache")
    );
}

async fn refresh(fixture: &Fixture, token: &str, scope: &str) -> TestResponse {
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token),
        ("scope", scope),
    ];
    fixture.server.form("/oauth/token", &form).await
}

#[tokio::test]
async fn refresh_can_reduce_scope_but_not_extend_it() {
    let fixture = Fixture::new().await;
    let reduced = refresh(&fixture, &fixture.session.refresh_token, "user:read").await;
    assert_eq!(reduced.is(200, "").text("scope"), "user:read");
    let reduced = Session::of(&reduced);
    assert_eq!(reduced.claims()["scope"], "user:read");
    let rename = json!({"name": "Changed"});
    let rejected = fixture
        .server
        .with_token(Method::PATCH, "/user", &reduced.access_token, rename)
        .await;
    rejected.is(403, "insufficient_scope");
    // The refresh token keeps the scope of the sign-in (RFC 6749 section 6), so that a later
    // refresh returns it again.
    assert_oauth_error(
        &refresh(&fixture, &reduced.refresh_token, "admin").await,
        400,
        "invalid_scope",
        "extended scope",
    );
    let full = refresh(&fixture, &reduced.refresh_token, "").await;
    assert_eq!(
        full.is(200, "").text("scope"),
        "user:read user:write items:read items:write"
    );
    // After a sign-in with a reduced scope, a refresh cannot extend it.
    let form = [
        ("username", "john"),
        ("password", crate::test_server::PASSWORD),
        ("scope", "items:read"),
    ];
    let reduced = Session::of(fixture.server.form("/login", &form).await.is(200, ""));
    assert_oauth_error(
        &refresh(&fixture, &reduced.refresh_token, "user:read").await,
        400,
        "invalid_scope",
        "extended scope",
    );
    let reduced = refresh(&fixture, &reduced.refresh_token, "").await;
    assert_eq!(reduced.is(200, "").text("scope"), "items:read");
}

#[tokio::test]
async fn reuse_at_the_token_endpoint_revokes_the_session() {
    let fixture = Fixture::new().await;
    let second = Session::of(
        refresh(&fixture, &fixture.session.refresh_token, "")
            .await
            .is(200, ""),
    );
    let third = Session::of(
        refresh(&fixture, &second.refresh_token, "")
            .await
            .is(200, ""),
    );
    // The requested scope is irrelevant.
    assert_oauth_error(
        &refresh(&fixture, &fixture.session.refresh_token, "items:read").await,
        400,
        "invalid_grant",
        "refresh_token_reused",
    );
    assert_oauth_error(
        &refresh(&fixture, &third.refresh_token, "").await,
        400,
        "invalid_grant",
        "the newest refresh token",
    );
    fixture
        .server
        .refresh(&third.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    assert_eq!(
        check(&fixture.server, &third.access_token).await,
        (401, "token_revoked".into())
    );
    assert_eq!(
        query_value(&fixture.server, "select reason from revocations").await,
        "refresh_token_reused"
    );
}

#[tokio::test]
async fn client_gets_tokens_for_its_audiences_only() {
    let fixture = Fixture::new().await;
    let (first, second) = ("https://billing.example.com", "https://auth.example.com");
    let body = json!({"name": "b", "scope": "items:read", "audience": format!("{first} {second}")});
    let client = Client::register_with(&fixture.server, &fixture.admin, body).await;
    for (resource, aud, status) in [("", first, 401), (first, first, 401), (second, second, 204)] {
        let response = client
            .request_token(&fixture.server, &[("resource", resource)])
            .await;
        let token = response.is(200, "").text("access_token");
        let claims = Session {
            access_token: token.clone(),
            refresh_token: String::new(),
        }
        .claims();
        assert_eq!(
            (&claims["aud"], &claims["sub"], &claims["client_id"]),
            (&json!(aud), &json!(client.id), &json!(client.id))
        );
        // A token for another audience is rejected here, and other clients cannot read its claims
        // (RFC 7662 section 4).
        assert_eq!(check(&fixture.server, &token).await.0, status);
        let body = client.introspect(&fixture.server, &token).await;
        assert_eq!((&body["active"], &body["aud"]), (&json!(true), &json!(aud)));
        assert_eq!(fixture.is_active(&token).await, aud == second);
    }
}

/// A token without scopes would be useless, so none is issued.
#[tokio::test]
async fn client_without_scopes_can_only_introspect() {
    let fixture = Fixture::new().await;
    let client = Client::register(&fixture.server, &fixture.admin, "").await;
    assert_oauth_error(
        &client.request_token(&fixture.server, &[]).await,
        400,
        "invalid_scope",
        "no scope",
    );
    assert_eq!(
        client
            .introspect(&fixture.server, &fixture.session.access_token)
            .await["active"],
        true
    );
}
