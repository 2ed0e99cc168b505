use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::{key_that_is, keys, kid, published};
use crate::{
    metrics::value,
    proxy::{Line, Proxy},
    test_server::{TestServer, until},
    test_stores::execute,
    token_signer::TokenSigner,
};

const LOOKS: &str = "latchkey_signing_key_reloads_total";

/// Keys are looked at by themselves every thirty seconds here.
async fn behind_a_line(direct: &TestServer) -> (TestServer, Proxy) {
    let line = Proxy::to_postgres().await;
    let url = line.postgres_url(direct.setting("DATABASE_URL"));
    (direct.replica_with(&[("DATABASE_URL", &url)]).await, line)
}

#[tokio::test]
async fn a_token_of_a_key_that_was_not_seen_yet_is_a_reason_to_look_and_not_to_refuse() {
    let first = TestServer::start().await;
    let (away, line) = behind_a_line(&first).await;
    let before = first.sign_up("john").await;
    assert_eq!(
        away.verify(&before.access_token).await,
        (204, String::new())
    );
    line.set(Line::Cut);
    keys(&first, &["rotate"]).await.well();
    execute(
        &first,
        "update signing_keys set signs_from = now() where signs_from > now()",
    )
    .await;
    // It has read the keys when it started.
    let other = first.replica().await;
    let john = other.sign_in("john").await;
    assert_ne!(kid(&john.access_token), kid(&before.access_token));
    // Nobody knows whether it is good, and those that are known go on.
    assert_eq!(
        away.verify(&john.access_token).await,
        (503, "unavailable".into())
    );
    assert_eq!(
        away.verify(&before.access_token).await,
        (204, String::new())
    );
    line.set(Line::Open);
    let accepted = || async {
        match away.verify(&john.access_token).await {
            (204, _) => true,
            refused => {
                assert_eq!(refused, (503, "unavailable".into()), "not for a moment");
                false
            }
        }
    };
    until("it has looked", accepted).await;
    assert!(published(&away).await.contains(&kid(&john.access_token)));
    assert_eq!(
        kid(&away.sign_in("john").await.access_token),
        kid(&john.access_token),
        "it signs here as well"
    );
}

#[tokio::test]
async fn the_first_token_of_a_new_key_ends_its_session_as_well() {
    let first = TestServer::start().await;
    let (away, _line) = behind_a_line(&first).await;
    first.sign_up("john").await;
    keys(&first, &["rotate"]).await.well();
    execute(
        &first,
        "update signing_keys set signs_from = now() where signs_from > now()",
    )
    .await;
    let john = first.replica().await.sign_in("john").await;
    away.log_out(&john.access_token).await.is(204, "");
    assert_eq!(
        first.verify(&john.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn a_flood_of_keys_that_nobody_knows_makes_no_flood_of_looks() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let (forge, claims) = (TokenSigner::of(&server).await, john.claims().to_string());
    let strange = || {
        let kid = Uuid::new_v4().simple().to_string()[..16].to_owned();
        forge.sign_as(
            &json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}),
            &claims,
        )
    };
    let (before, began) = (value(&server, LOOKS).await, Instant::now());
    for _ in 0..3 {
        let tokens: Vec<_> = (0..100).map(|_| strange()).collect();
        let (refused, good) = tokio::join!(
            join_all(tokens.iter().map(|token| server.verify(token))),
            server.verify(&john.access_token)
        );
        assert!(
            refused
                .iter()
                .all(|refused| *refused == (401, "invalid_token".to_owned())),
            "{refused:?}"
        );
        assert_eq!(good, (204, String::new()));
    }
    // The same token again is no reason to look again.
    let same = strange();
    assert_eq!(server.verify(&same).await, (401, "invalid_token".into()));
    let looks = value(&server, LOOKS).await;
    for _ in 0..20 {
        assert_eq!(server.verify(&same).await, (401, "invalid_token".into()));
    }
    // One a second for them, and one in thirty by itself.
    let seconds = began.elapsed().as_secs_f64();
    let after = value(&server, LOOKS).await;
    assert!(
        after - before <= 2.0 + seconds * 31.0 / 30.0,
        "{} looks in {seconds} s",
        after - before
    );
    assert!(
        after - looks <= 1.0 + seconds / 30.0,
        "the same key was looked for again"
    );
    assert!(!key_that_is(&server, "current").await.is_empty());
}
