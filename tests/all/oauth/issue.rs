//! `POST /oauth/token`: every refusal of RFC 6749 section 5.2, and what is granted.

use latchkey_domain::opaque_token::OpaqueTokenKind;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Client, FORM, Fixture, check, forged, is_refusal};
use crate::{
    test_server::{Session, TestResponse},
    test_stores::ask,
};

/// What is sent as a form, and what is refused about it. `{…}` stands for what the scene has.
const FORMS: &[(&str, u16, &str)] = &[
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
    // Nobody knows these clients; and what is of people is not for those that are registered.
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

/// `Authorization` beside a form that is right but for the client, and what is refused about it.
/// What stands before the colon and behind it is encoded.
const FIELDS: &[(&str, &str, u16, &str)] = &[
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

/// The scene's words.
struct Words(Vec<(&'static str, String)>);

impl Words {
    async fn of(fixture: &Fixture) -> Words {
        let other = Client::register(&fixture.server, &fixture.admin, "items:read").await;
        let (Client { id, secret }, john) = (&fixture.client, &fixture.john);
        Words(vec![
            ("{ID}", id.to_uppercase()),
            ("{plain id}", id.replace('-', "")),
            ("{id}", id.clone()),
            ("{secret}", secret.clone()),
            ("{other id}", other.id),
            ("{other secret}", other.secret),
            ("{refresh}", john.refresh_token.clone()),
            ("{access}", john.access_token.clone()),
            ("{personal}", fixture.personal("items:read").await.1),
            ("{forged}", forged(OpaqueTokenKind::ClientSecret, id)),
            ("{aud}", "https://auth.example.com".to_owned()),
        ])
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (word, value)| {
            text.replace(word, value)
        })
    }

    /// Nothing that was sent is repeated.
    fn are_not_in(&self, response: &TestResponse) {
        for (word, value) in self.0.iter().filter(|(word, _)| *word != "{aud}") {
            assert!(
                !response.string().contains(value),
                "{word} in {}",
                response.string()
            );
        }
    }
}

fn basic(pair: &str) -> String {
    use base64::{Engine, engine::general_purpose::STANDARD};
    format!("Basic {}", STANDARD.encode(pair))
}

#[tokio::test]
async fn every_wrong_form_is_refused_by_its_word_and_costs_nothing() {
    let fixture = Fixture::new().await;
    let words = Words::of(&fixture).await;
    for (form, status, error) in FORMS {
        let response = fixture
            .server
            .send(fixture.raw("/oauth/token", &words.fill(form)))
            .await;
        is_refusal(&response, *status, error, form);
        words.are_not_in(&response);
    }
    // Neither the refresh token nor the session has suffered.
    assert_eq!(
        ask(
            &fixture.server,
            "select count(*) from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
    fixture
        .server
        .refresh(&fixture.john.refresh_token)
        .await
        .is(200, "");
    fixture.client.token(&fixture.server).await;
}

#[tokio::test]
async fn every_wrong_proof_in_the_header_is_refused() {
    let fixture = Fixture::new().await;
    let words = Words::of(&fixture).await;
    for (field, more, status, error) in FIELDS {
        let field = words.fill(field);
        let field = field
            .strip_prefix("Basic ")
            .map_or_else(|| field.clone(), basic);
        let form = words.fill(&format!("grant_type=client_credentials{more}"));
        let response = fixture
            .server
            .send(
                fixture
                    .raw("/oauth/token", &form)
                    .header("authorization", &field),
            )
            .await;
        is_refusal(&response, *status, error, &format!("{field} {more}"));
        words.are_not_in(&response);
    }
    let pair = basic(&words.fill("{id}:{secret}"));
    let broken = [
        pair.replace("Basic ", "Basic"),
        pair.replace("Basic ", "Basic !"),
        "Basic".into(),
        "Basic /w==".into(),
    ];
    for field in broken {
        let request = fixture
            .raw("/oauth/token", "grant_type=client_credentials")
            .header("authorization", &field);
        is_refusal(
            &fixture.server.send(request).await,
            401,
            "invalid_client",
            &field,
        );
    }
    let twice = fixture
        .raw("/oauth/token", "grant_type=client_credentials")
        .header("authorization", &pair);
    let twice = fixture
        .server
        .send(twice.header("authorization", &pair))
        .await;
    is_refusal(&twice, 400, "invalid_request", "twice");
}

#[tokio::test]
async fn other_media_types_are_refused() {
    let fixture = Fixture::new().await;
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        fixture.john.refresh_token
    );
    let json = json!({"grant_type": "refresh_token", "refresh_token": fixture.john.refresh_token})
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
            is_refusal(&response, 400, "invalid_request", media_type);
        }
        let bare = fixture
            .server
            .send(
                fixture
                    .server
                    .request(Method::POST, path)
                    .body(form.clone()),
            )
            .await;
        is_refusal(&bare, 400, "invalid_request", "no type");
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
        check(&fixture.server, &fixture.john.access_token).await.0,
        204
    );
    fixture
        .server
        .refresh(&fixture.john.refresh_token)
        .await
        .is(200, "");
}

/// Parameters that nobody knows, and those without a value, count as not sent; names of schemes
/// have no case.
#[tokio::test]
async fn what_a_standard_allows_is_understood() {
    let fixture = Fixture::new().await;
    let Client { id, secret } = &fixture.client;
    let token = |form: &str| {
        fixture.raw(
            "/oauth/token",
            &format!("grant_type=client_credentials&{form}"),
        )
    };
    let escape = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect::<String>()
    };
    let proofs = [
        token(&format!(
            "client_id={id}&client_secret={secret}&unknown=1&scope=&resource="
        )),
        token("client_id=&client_secret=")
            .header("authorization", basic(&format!("{id}:{secret}"))),
        token(&format!("client_id={id}")).header("authorization", basic(&format!("{id}:{secret}"))),
        token("").header(
            "authorization",
            basic(&format!("{}:{}", escape(id), escape(secret))),
        ),
        token("").header(
            "authorization",
            basic(&format!("{id}:{secret}")).replace("Basic", "bAsIc "),
        ),
        token(&format!("client_id={id}&client_secret={secret}"))
            .header("authorization", basic(":")),
    ];
    for request in proofs {
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
        fixture.john.refresh_token
    );
    let charset = fixture
        .server
        .request(Method::POST, "/oauth/token")
        .body(form);
    let charset = charset
        .header("content-type", format!("{FORM}; charset=UTF-8"))
        .header("authorization", basic(":"));
    let response = fixture.server.send(charset).await;
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
async fn a_refresh_narrows_and_never_grows() {
    let fixture = Fixture::new().await;
    let narrow = refresh(&fixture, &fixture.john.refresh_token, "user:read").await;
    assert_eq!(narrow.is(200, "").text("scope"), "user:read");
    let narrow = Session::of(&narrow);
    assert_eq!(narrow.claims()["scope"], "user:read");
    let rename = json!({"name": "Changed"});
    let refused = fixture
        .server
        .with_token(Method::PATCH, "/user", &narrow.access_token, rename)
        .await;
    refused.is(403, "insufficient_scope");
    // The refresh token keeps what the sign-in gave (RFC 6749 section 6), whatever else was wished
    // in between.
    is_refusal(
        &refresh(&fixture, &narrow.refresh_token, "admin").await,
        400,
        "invalid_scope",
        "more",
    );
    let whole = refresh(&fixture, &narrow.refresh_token, "").await;
    assert_eq!(
        whole.is(200, "").text("scope"),
        "user:read user:write items:read items:write"
    );
    // A sign-in that asked for less never has more.
    let form = [
        ("username", "john"),
        ("password", crate::test_server::PASSWORD),
        ("scope", "items:read"),
    ];
    let less = Session::of(fixture.server.form("/login", &form).await.is(200, ""));
    is_refusal(
        &refresh(&fixture, &less.refresh_token, "user:read").await,
        400,
        "invalid_scope",
        "more",
    );
    let less = refresh(&fixture, &less.refresh_token, "").await;
    assert_eq!(less.is(200, "").text("scope"), "items:read");
}

#[tokio::test]
async fn reuse_ends_the_session_here_as_well() {
    let fixture = Fixture::new().await;
    let second = Session::of(
        refresh(&fixture, &fixture.john.refresh_token, "")
            .await
            .is(200, ""),
    );
    let third = Session::of(
        refresh(&fixture, &second.refresh_token, "")
            .await
            .is(200, ""),
    );
    // Whatever it is wanted for.
    is_refusal(
        &refresh(&fixture, &fixture.john.refresh_token, "items:read").await,
        400,
        "invalid_grant",
        "refresh_token_reused",
    );
    is_refusal(
        &refresh(&fixture, &third.refresh_token, "").await,
        400,
        "invalid_grant",
        "the thief's",
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
        ask(&fixture.server, "select reason from revocations").await,
        "refresh_token_reused"
    );
}

#[tokio::test]
async fn a_client_has_tokens_for_its_audiences_only() {
    let fixture = Fixture::new().await;
    let (first, second) = ("https://billing.example.com", "https://auth.example.com");
    let body = json!({"name": "b", "scope": "items:read", "audience": format!("{first} {second}")});
    let client = Client::register_as(&fixture.server, &fixture.admin, body).await;
    for (wanted, aud, verdict) in [("", first, 401), (first, first, 401), (second, second, 204)] {
        let response = client.ask(&fixture.server, &[("resource", wanted)]).await;
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
        // What is for somebody else opens nothing here, and nobody else is told what it says (RFC
        // 7662 section 4).
        assert_eq!(check(&fixture.server, &token).await.0, verdict);
        let told = client.introspect(&fixture.server, &token).await;
        assert_eq!((&told["active"], &told["aud"]), (&json!(true), &json!(aud)));
        assert_eq!(fixture.is_active(&token).await, aud == second);
    }
}

/// It may look at tokens, and that is all; a token that may be used for nothing is not made.
#[tokio::test]
async fn a_client_without_scopes_has_no_token_and_may_look_at_others() {
    let fixture = Fixture::new().await;
    let client = Client::register(&fixture.server, &fixture.admin, "").await;
    is_refusal(
        &client.ask(&fixture.server, &[]).await,
        400,
        "invalid_scope",
        "no scope",
    );
    assert_eq!(
        client
            .introspect(&fixture.server, &fixture.john.access_token)
            .await["active"],
        true
    );
}
