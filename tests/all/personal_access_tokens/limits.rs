//! How many there may be, how long they live, and who may make them.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::{get, make, want};
use crate::{
    browser::{NAME, open},
    test_server::{PASSWORD, Session, TestServer},
    test_stores::{ask, execute},
};

const MOST: usize = 50;

async fn count(server: &TestServer) -> String {
    ask(server, "select count(*) from personal_access_tokens").await
}

#[tokio::test]
async fn a_token_has_no_more_than_the_one_that_asks_for_it() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let form = [
        ("username", "john"),
        ("password", PASSWORD),
        ("scope", "user:write items:read"),
    ];
    let narrow = Session::of(server.form("/login", &form).await.is(200, ""));
    for (asks, scope) in [
        (&john, "admin"),
        (&john, "items:read admin"),
        (&john, "revocations:read"),
        (&john, "items:delete"),
        (&john, ""),
        (&john, " "),
        (&narrow, "items:write"),
        (&narrow, "items:read user:read"),
    ] {
        let refused = want(
            &server,
            &asks.access_token,
            json!({"name": "job", "scope": scope}),
        )
        .await;
        assert_eq!(
            refused.is(400, "invalid_request").body["errors"][0]["field"],
            "scope",
            "{scope}"
        );
    }
    assert_eq!(count(&server).await, "0");
    make(&server, &narrow, "items:read user:write").await;
}

#[tokio::test]
async fn wrong_wishes_are_refused() {
    let server = TestServer::shared().await;
    let john = server.sign_up("john").await;
    let of_year = |year: &str| {
        json!({
            "name": "job",
            "scope": "user:read",
            "expires_at": format!("{year}-01-01T00:00:00Z"),
        })
    };
    for (wanted, member) in [
        (json!({"scope": "user:read"}), "name"),
        (json!({"name": "", "scope": "user:read"}), "name"),
        (json!({"name": "a\u{202e}b", "scope": "user:read"}), "name"),
        (json!({"name": "job"}), "scope"),
        (of_year("2020"), "expires_at"),
        (of_year("2999"), "expires_at"),
        (of_year("soon"), "expires_at"),
        (
            json!({"name": "job", "scope": "user:read", "token": "lkp_mine"}),
            "token",
        ),
        (
            json!({"name": "job", "scope": "user:read", "user_id": "x"}),
            "user_id",
        ),
    ] {
        let refused = want(&server, &john.access_token, wanted).await;
        assert_eq!(
            refused.is(400, "invalid_request").body["errors"][0]["field"],
            member
        );
    }
    assert_eq!(count(&server).await, "0");
}

/// What outlives the session wants somebody who has just proved to know the password, and is no
/// program.
#[tokio::test]
async fn it_wants_a_fresh_sign_in_by_a_person() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let (_, personal) = make(&server, &john, "user:read user:write").await;
    let wanted = json!({"name": "job", "scope": "user:read"});
    want(&server, &personal, wanted.clone())
        .await
        .is(403, "forbidden");
    let forge = crate::token_signer::TokenSigner::of(&server).await;
    let mut claims = john.claims();
    claims["auth_time"] = json!(claims["auth_time"].as_u64().expect("seconds") - 301);
    want(&server, &forge.sign(&claims), wanted.clone())
        .await
        .is(403, "reauthentication_required");
    assert_eq!(count(&server).await, "1");
    // A browser may, if its page asks.
    let cookie = format!("{NAME}={}", open(&server, "john").await);
    let asks = || {
        server
            .request(Method::POST, "/user/tokens")
            .header("cookie", &cookie)
            .json(&wanted)
    };
    server.send(asks()).await.is(403, "csrf");
    server
        .send(asks().header("x-latchkey-request", "1"))
        .await
        .is(201, "");
}

/// Exactly so many, however many are asked for at once; those that are over do not count.
#[tokio::test]
async fn there_are_fifty_at_most() {
    let server = TestServer::with(&[("LATCHKEY_DATABASE_CONNECTIONS", "24")]).await;
    let (john, mary) = (server.sign_up("john").await, server.sign_up("mary").await);
    let wanted = json!({"name": "job", "scope": "user:read"});
    let ask_for = |_| want(&server, &john.access_token, wanted.clone());
    let responses = join_all((0..MOST + 10).map(ask_for)).await;
    let refused: Vec<_> = responses
        .iter()
        .filter(|response| response.status != 201)
        .collect();
    assert_eq!(
        (refused.len(), count(&server).await),
        (10, MOST.to_string())
    );
    for response in refused {
        assert!(
            response
                .is(400, "invalid_request")
                .text("detail")
                .contains("50")
        );
    }
    want(&server, &mary.access_token, wanted.clone())
        .await
        .is(201, "");
    let page = get(&server, &john.access_token, "/user/tokens?limit=30").await;
    let after = page.is(200, "").text("next");
    let rest = get(
        &server,
        &john.access_token,
        &format!("/user/tokens?limit=30&after={after}"),
    )
    .await;
    assert_eq!(
        rest.is(200, "").body["data"].as_array().map(Vec::len),
        Some(20)
    );
    assert_eq!(rest.body["next"], Value::Null);
    execute(
        &server,
        "update personal_access_tokens set expires_at = now() \
         where id = (select min(id::text)::uuid from personal_access_tokens)",
    )
    .await;
    want(&server, &john.access_token, wanted.clone())
        .await
        .is(201, "");
    want(&server, &john.access_token, wanted)
        .await
        .is(400, "invalid_request");
}

#[tokio::test]
async fn it_ends_when_its_time_has_come() {
    let server = TestServer::start().await;
    let replica = server.replica().await;
    let john = server.sign_up("john").await;
    let made = want(
        &server,
        &john.access_token,
        json!({"name": "job", "scope": "user:read"}),
    )
    .await;
    let days = "select round(extract(epoch from expires_at - created_at) / 86400) \
         from personal_access_tokens";
    assert_eq!(
        ask(&server, days).await,
        "90",
        "where nobody says otherwise"
    );
    let token = made.is(201, "").text("token");
    assert_eq!(server.verify(&token).await.0, 204);
    execute(
        &server,
        "update personal_access_tokens set expires_at = now()",
    )
    .await;
    // One who has not read it yet.
    assert_eq!(replica.verify(&token).await, (401, "token_expired".into()));
    assert_eq!(
        get(&server, &john.access_token, "/user/tokens")
            .await
            .is(200, "")
            .body["data"],
        json!([])
    );
    // One who has, and whose claims say when it ends.
    execute(
        &server,
        "update personal_access_tokens set expires_at = now() + interval '2 seconds'",
    )
    .await;
    let third = server.replica().await;
    crate::test_server::until("it expires", || async {
        let verdict = third.verify(&token).await;
        assert!(
            verdict.0 == 204 || verdict.1 == "token_expired",
            "{verdict:?}"
        );
        verdict.0 == 401
    })
    .await;
}
