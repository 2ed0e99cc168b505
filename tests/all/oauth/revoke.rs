//! `POST /oauth/revoke`: only the holder or the client of a token can revoke it.

use serde_json::json;

use super::{Client, Fixture, assert_oauth_error, check};
use crate::{
    test_server::Session,
    test_stores::query_value,
    token_signer::{TokenSigner, with},
};

/// Values of `token_type_hint`, which the server ignores.
const HINTS: [&str; 4] = ["", "access_token", "refresh_token", "something"];

async fn revoke(fixture: &Fixture, form: &[(&str, &str)]) {
    let response = fixture.server.form("/oauth/revoke", form).await;
    assert!(response.is(200, "").bytes.is_empty());
}

#[tokio::test]
async fn each_token_kind_is_revoked_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for hint in HINTS {
        let session = fixture.server.sign_in("john").await;
        let personal = fixture.create_personal_token("items:read").await.1;
        let client_token = fixture.client.token(&fixture.server).await;
        for token in [&session.access_token, &personal, &client_token] {
            assert_eq!(check(&replica, token).await.0, 204);
            let with_hint = [("token", token.as_str()), ("token_type_hint", hint)];
            let form = if *token == client_token {
                fixture.client.form(&with_hint)
            } else {
                with_hint.to_vec()
            };
            for _ in 0..2 {
                revoke(&fixture, &form).await;
                assert_eq!(
                    check(&replica, token).await,
                    (401, "token_revoked".into()),
                    "{hint}"
                );
            }
        }
        // The session stays valid until its refresh token is revoked.
        let refreshed = Session::of(replica.refresh(&session.refresh_token).await.is(200, ""));
        assert_eq!(check(&fixture.server, &refreshed.access_token).await.0, 204);
        for _ in 0..2 {
            revoke(
                &fixture,
                &[
                    ("token", &refreshed.refresh_token),
                    ("token_type_hint", hint),
                    ("client_id", "latchkey"),
                ],
            )
            .await;
        }
        assert_eq!(
            check(&replica, &refreshed.access_token).await,
            (401, "token_revoked".into()),
            "{hint}"
        );
        replica
            .refresh(&refreshed.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    // A repeat records no event: for each hint, an access token and a client token were revoked.
    let events = "select count(*) from audit_events where event = 'token_revoked'";
    assert_eq!(
        query_value(&fixture.server, events).await,
        (HINTS.len() * 2).to_string()
    );
    assert_eq!(
        check(&fixture.server, &fixture.session.access_token)
            .await
            .0,
        204,
        "other sessions stay valid"
    );
    assert!(
        fixture
            .is_active(&fixture.client.token(&fixture.server).await)
            .await,
        "new client tokens are active"
    );
}

/// RFC 7009 section 2.2: an invalid token returns 200, because it is already unusable.
#[tokio::test]
async fn invalid_token_returns_200_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let (signer, claims) = (
        TokenSigner::of(&fixture.server).await,
        fixture.session.claims(),
    );
    // Longer than any tolerated clock skew.
    let expired = json!(claims["iat"].as_u64().expect("seconds") - 301);
    let expired = signer.sign(&with(&claims, "exp", expired));
    let unknown_personal = fixture
        .create_personal_token("items:read")
        .await
        .1
        .replace("lkp_", "lkp_A");
    for token in [
        "garbage",
        "a.b.c",
        "lkr_garbage",
        "lkp_garbage",
        &expired,
        &unknown_personal,
        &fixture.client.secret,
    ] {
        for form in [
            vec![("token", token)],
            fixture.client.form(&[("token", token)]),
        ] {
            revoke(&fixture, &form).await;
        }
    }
    assert_eq!(
        query_value(&fixture.server, "select count(*) from revocations").await,
        "0"
    );
    assert_eq!(
        check(&fixture.server, &fixture.session.access_token)
            .await
            .0,
        204
    );
}

#[tokio::test]
async fn tokens_of_others_cannot_be_revoked() {
    let fixture = Fixture::new().await;
    let other = Client::register(&fixture.server, &fixture.admin, "items:read").await;
    let (client_token, personal) = (
        fixture.client.token(&fixture.server).await,
        fixture.create_personal_token("items:read").await.1,
    );
    let (access, refresh) = (
        &fixture.session.access_token,
        &fixture.session.refresh_token,
    );
    let cases = [
        (
            "a client token by another client",
            other.form(&[("token", &client_token)]),
        ),
        (
            "an access token by a client",
            other.form(&[("token", access)]),
        ),
        (
            "a refresh token by a client",
            other.form(&[("token", refresh)]),
        ),
        (
            "a personal access token by a client",
            other.form(&[("token", &personal)]),
        ),
    ];
    for (name, form) in cases {
        let response = fixture.server.form("/oauth/revoke", &form).await;
        assert_oauth_error(&response, 400, "unauthorized_client", name);
    }
    // Client tokens require client authentication.
    for form in [
        vec![("token", client_token.as_str())],
        vec![("token", client_token.as_str()), ("client_id", "latchkey")],
    ] {
        assert_oauth_error(
            &fixture.server.form("/oauth/revoke", &form).await,
            401,
            "invalid_client",
            "a client token without client authentication",
        );
    }
    for token in [access, &personal, &client_token] {
        assert_eq!(check(&fixture.server, token).await.0, 204);
    }
    fixture.server.refresh(refresh).await.is(200, "");
    assert_eq!(
        query_value(&fixture.server, "select count(*) from revocations").await,
        "0"
    );
}

#[tokio::test]
async fn invalid_forms_revoke_nothing() {
    let fixture = Fixture::new().await;
    let (token, id) = (
        format!("token={}", fixture.session.access_token),
        &fixture.client.id,
    );
    let invalid = [
        (String::new(), 400, "invalid_request"),
        ("token=".to_owned(), 400, "invalid_request"),
        (format!("{token}&{token}"), 400, "invalid_request"),
        (format!("{token}&client_id={id}"), 401, "invalid_client"),
        (
            format!("{token}&client_id={id}&client_secret=wrong"),
            401,
            "invalid_client",
        ),
        (format!("{token}&client_id=LATCHKEY"), 401, "invalid_client"),
        (format!("{token}&client_secret=x"), 401, "invalid_client"),
    ];
    for (form, status, error) in invalid {
        let response = fixture
            .server
            .send(fixture.form_request("/oauth/revoke", &form))
            .await;
        assert_oauth_error(&response, status, error, &form);
    }
    let json = fixture
        .server
        .post(
            "/oauth/revoke",
            json!({"token": fixture.session.access_token}),
        )
        .await;
    assert_oauth_error(&json, 400, "invalid_request", "JSON");
    assert_eq!(
        check(&fixture.server, &fixture.session.access_token)
            .await
            .0,
        204
    );
}
