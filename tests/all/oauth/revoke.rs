//! `POST /oauth/revoke`: whoever has a token may end it, and nobody else.

use serde_json::json;

use super::{Client, Fixture, check, is_refusal};
use crate::{
    test_server::Session,
    test_stores::ask,
    token_signer::{TokenSigner, with},
};

/// Hints are of no consequence, neither right ones nor wrong ones.
const HINTS: [&str; 4] = ["", "access_token", "refresh_token", "something"];

async fn give_back(fixture: &Fixture, form: &[(&str, &str)]) {
    let response = fixture.server.form("/oauth/revoke", form).await;
    assert!(response.is(200, "").bytes.is_empty());
}

#[tokio::test]
async fn each_kind_ends_at_once_on_every_replica_and_again() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for hint in HINTS {
        let mary = fixture.server.sign_in("john").await;
        let personal = fixture.personal("items:read").await.1;
        let of_client = fixture.client.token(&fixture.server).await;
        for token in [&mary.access_token, &personal, &of_client] {
            assert_eq!(check(&replica, token).await.0, 204);
            let with_hint = [("token", token.as_str()), ("token_type_hint", hint)];
            let form = if *token == of_client {
                fixture.client.form(&with_hint)
            } else {
                with_hint.to_vec()
            };
            for _ in 0..2 {
                give_back(&fixture, &form).await;
                assert_eq!(
                    check(&replica, token).await,
                    (401, "token_revoked".into()),
                    "{hint}"
                );
            }
        }
        // Its session goes on, until the refresh token is given back.
        let next = Session::of(replica.refresh(&mary.refresh_token).await.is(200, ""));
        assert_eq!(check(&fixture.server, &next.access_token).await.0, 204);
        for _ in 0..2 {
            give_back(
                &fixture,
                &[
                    ("token", &next.refresh_token),
                    ("token_type_hint", hint),
                    ("client_id", "latchkey"),
                ],
            )
            .await;
        }
        assert_eq!(
            check(&replica, &next.access_token).await,
            (401, "token_revoked".into()),
            "{hint}"
        );
        replica
            .refresh(&next.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }
    // Whoever posts one again and again fills no table: an access token of John's and one of the
    // client's for each hint.
    let events = "select count(*) from audit_events where event = 'token_revoked'";
    assert_eq!(
        ask(&fixture.server, events).await,
        (HINTS.len() * 2).to_string()
    );
    assert_eq!(
        check(&fixture.server, &fixture.john.access_token).await.0,
        204,
        "nothing else is concerned"
    );
    assert!(
        fixture
            .is_active(&fixture.client.token(&fixture.server).await)
            .await,
        "nor the client's next one"
    );
}

/// RFC 7009 section 2.2: whoever gives back what is none wants nothing more than that it is none.
#[tokio::test]
async fn what_is_none_is_fine_and_leaves_nothing_behind() {
    let fixture = Fixture::new().await;
    let (forge, claims) = (
        TokenSigner::of(&fixture.server).await,
        fixture.john.claims(),
    );
    // For so long that no clock says otherwise.
    let expired = json!(claims["iat"].as_u64().expect("seconds") - 301);
    let expired = forge.sign(&with(&claims, "exp", expired));
    let unknown_personal = fixture
        .personal("items:read")
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
            give_back(&fixture, &form).await;
        }
    }
    assert_eq!(
        ask(&fixture.server, "select count(*) from revocations").await,
        "0"
    );
    assert_eq!(
        check(&fixture.server, &fixture.john.access_token).await.0,
        204
    );
}

#[tokio::test]
async fn what_is_of_others_stays() {
    let fixture = Fixture::new().await;
    let other = Client::register(&fixture.server, &fixture.admin, "items:read").await;
    let (of_client, personal) = (
        fixture.client.token(&fixture.server).await,
        fixture.personal("items:read").await.1,
    );
    let (access, refresh) = (&fixture.john.access_token, &fixture.john.refresh_token);
    let refused = [
        (
            "a client's by another",
            other.form(&[("token", &of_client)]),
        ),
        ("John's by a client", other.form(&[("token", access)])),
        (
            "John's refresh token by a client",
            other.form(&[("token", refresh)]),
        ),
        (
            "John's personal one by a client",
            other.form(&[("token", &personal)]),
        ),
    ];
    for (name, form) in refused {
        let response = fixture.server.form("/oauth/revoke", &form).await;
        is_refusal(&response, 400, "unauthorized_client", name);
    }
    // Nobody proves to be the client.
    for form in [
        vec![("token", of_client.as_str())],
        vec![("token", of_client.as_str()), ("client_id", "latchkey")],
    ] {
        is_refusal(
            &fixture.server.form("/oauth/revoke", &form).await,
            401,
            "invalid_client",
            "a client's by people",
        );
    }
    for token in [access, &personal, &of_client] {
        assert_eq!(check(&fixture.server, token).await.0, 204);
    }
    fixture.server.refresh(refresh).await.is(200, "");
    assert_eq!(
        ask(&fixture.server, "select count(*) from revocations").await,
        "0"
    );
}

#[tokio::test]
async fn wrong_forms_end_nothing() {
    let fixture = Fixture::new().await;
    let (token, id) = (
        format!("token={}", fixture.john.access_token),
        &fixture.client.id,
    );
    let wrong = [
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
    for (form, status, error) in wrong {
        let response = fixture
            .server
            .send(fixture.raw("/oauth/revoke", &form))
            .await;
        is_refusal(&response, status, error, &form);
    }
    let json = fixture
        .server
        .post("/oauth/revoke", json!({"token": fixture.john.access_token}))
        .await;
    is_refusal(&json, 400, "invalid_request", "JSON");
    assert_eq!(
        check(&fixture.server, &fixture.john.access_token).await.0,
        204
    );
}
