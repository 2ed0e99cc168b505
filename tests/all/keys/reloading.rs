//! Keys that a replica hasn't loaded yet.

use std::time::Instant;

use futures_util::future::join_all;
use serde_json::json;
use uuid::Uuid;

use super::{kid, kid_in_state, published_kids, run_keys_command};
use crate::{
    metrics::value,
    proxy::{ConnectionState, Proxy},
    test_server::{TestServer, wait_until},
    test_stores::execute,
    token_signer::TokenSigner,
};

const RELOADS_METRIC: &str = "latchkey_signing_key_reloads_total";

/// Starts a replica behind a proxy for PostgreSQL. Keys are reloaded every 30 seconds.
async fn start_behind_proxy(direct: &TestServer) -> (TestServer, Proxy) {
    let proxy = Proxy::to_postgres().await;
    let url = proxy.postgres_url(direct.setting("DATABASE_URL"));
    (direct.replica_with(&[("DATABASE_URL", &url)]).await, proxy)
}

#[tokio::test]
async fn unknown_key_is_reloaded_before_rejection() {
    let first = TestServer::start().await;
    let (isolated, proxy) = start_behind_proxy(&first).await;
    let earlier_session = first.sign_up("john").await;
    assert_eq!(
        isolated.verify(&earlier_session.access_token).await,
        (204, String::new())
    );
    proxy.set(ConnectionState::Cut);
    run_keys_command(&first, &["rotate"]).await.well();
    execute(
        &first,
        "update signing_keys set signs_from = now() where signs_from > now()",
    )
    .await;
    // This replica loads the new key at its start.
    let new_replica = first.replica().await;
    let session = new_replica.sign_in("john").await;
    assert_ne!(
        kid(&session.access_token),
        kid(&earlier_session.access_token)
    );
    // Without PostgreSQL, tokens of an unknown key can't be checked. Known keys stay valid.
    assert_eq!(
        isolated.verify(&session.access_token).await,
        (503, "unavailable".into())
    );
    assert_eq!(
        isolated.verify(&earlier_session.access_token).await,
        (204, String::new())
    );
    proxy.set(ConnectionState::Open);
    let is_accepted = || async {
        match isolated.verify(&session.access_token).await {
            (204, _) => true,
            rejection => {
                assert_eq!(
                    rejection,
                    (503, "unavailable".into()),
                    "the token is never rejected"
                );
                false
            }
        }
    };
    wait_until("the keys are reloaded", is_accepted).await;
    assert!(
        published_kids(&isolated)
            .await
            .contains(&kid(&session.access_token))
    );
    assert_eq!(
        kid(&isolated.sign_in("john").await.access_token),
        kid(&session.access_token),
        "this replica signs with the new key"
    );
}

#[tokio::test]
async fn first_token_of_new_key_can_sign_out() {
    let first = TestServer::start().await;
    let (unloaded, _proxy) = start_behind_proxy(&first).await;
    first.sign_up("john").await;
    run_keys_command(&first, &["rotate"]).await.well();
    execute(
        &first,
        "update signing_keys set signs_from = now() where signs_from > now()",
    )
    .await;
    let session = first.replica().await.sign_in("john").await;
    unloaded.sign_out(&session.access_token).await.is(204, "");
    assert_eq!(
        first.verify(&session.access_token).await,
        (401, "token_revoked".into())
    );
}

#[tokio::test]
async fn unknown_key_ids_cause_few_reloads() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let (signer, claims) = (TokenSigner::of(&server).await, session.claims().to_string());
    let sign_with_unknown_kid = || {
        let kid = Uuid::new_v4().simple().to_string()[..16].to_owned();
        signer.sign_as(
            &json!({"typ": "at+jwt", "alg": "EdDSA", "kid": kid}),
            &claims,
        )
    };
    let (before, started_at) = (value(&server, RELOADS_METRIC).await, Instant::now());
    for _ in 0..3 {
        let tokens: Vec<_> = (0..100).map(|_| sign_with_unknown_kid()).collect();
        let (results, valid) = tokio::join!(
            join_all(tokens.iter().map(|token| server.verify(token))),
            server.verify(&session.access_token)
        );
        assert!(
            results
                .iter()
                .all(|result| *result == (401, "invalid_token".to_owned())),
            "{results:?}"
        );
        assert_eq!(valid, (204, String::new()));
    }
    // A repeated unknown key ID doesn't trigger another reload.
    let repeated = sign_with_unknown_kid();
    assert_eq!(
        server.verify(&repeated).await,
        (401, "invalid_token".into())
    );
    let before_repeats = value(&server, RELOADS_METRIC).await;
    for _ in 0..20 {
        assert_eq!(
            server.verify(&repeated).await,
            (401, "invalid_token".into())
        );
    }
    // At most one reload per second for unknown key IDs, and one every 30 seconds.
    let seconds = started_at.elapsed().as_secs_f64();
    let after = value(&server, RELOADS_METRIC).await;
    assert!(
        after - before <= 2.0 + seconds * 31.0 / 30.0,
        "{} reloads in {seconds} s",
        after - before
    );
    assert!(
        after - before_repeats <= 1.0 + seconds / 30.0,
        "the repeated key ID triggered a reload"
    );
    assert!(!kid_in_state(&server, "current").await.is_empty());
}
