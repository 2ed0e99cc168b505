//! Rotation of the signing key, and the JSON Web Key Set.

use reqwest::header;

use super::{fleet::Fleet, kid, kid_in_state, listed_keys, published_kids, run_keys_command};
use crate::{
    metrics::value,
    test_server::{TestServer, wait_until},
    test_stores::{execute, query_value},
};

/// As short as a busy machine allows. A key is published for eight seconds before it signs.
const SHORT_JWKS_MAX_AGE: (&str, &str) = ("LATCHKEY_JWKS_MAX_AGE", "4s");

#[tokio::test]
async fn rotation_under_load_rejects_no_valid_token() {
    let fleet = Fleet::start(&[SHORT_JWKS_MAX_AGE]).await;
    fleet.next_replica().sign_up("john").await;
    let first = kid_in_state(&fleet.next_replica(), "current").await;
    let checks = fleet
        .under_load(async {
            for _ in 0..2 {
                let before = kid_in_state(&fleet.next_replica(), "current").await;
                let output = run_keys_command(&fleet.next_replica(), &["rotate"])
                    .await
                    .well();
                let next = output
                    .split([' ', '.'])
                    .nth(3)
                    .expect("a key ID")
                    .to_owned();
                assert!(
                    output.starts_with(&format!("Created signing key {next}. It signs from 20")),
                    "{output}"
                );
                run_keys_command(&fleet.next_replica(), &["rotate"])
                    .await
                    .expect_error(1, "the next signing key already exists");
                // Every replica publishes the new key while the previous key still signs.
                for replica in fleet.replicas() {
                    wait_until("the new key is published", || async {
                        published_kids(&replica).await.contains(&next)
                    })
                    .await;
                    assert!(published_kids(&replica).await.contains(&before));
                }
                for replica in fleet.replicas() {
                    let signs =
                        || async { kid(&replica.sign_in("john").await.access_token) == next };
                    wait_until("the new key signs", signs).await;
                    replica.wait_for_log(&["signing key active", &next]).await;
                }
                assert_eq!(kid_in_state(&fleet.next_replica(), "current").await, next);
            }
        })
        .await;
    assert!(checks > 20, "only {checks} checks passed");
    let states: Vec<_> = listed_keys(&fleet.next_replica())
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, ["current", "retiring", "retiring"]);
    for replica in fleet.replicas() {
        assert!(
            published_kids(&replica).await.contains(&first),
            "tokens of the key are still valid"
        );
    }
    let events = "select string_agg(
            concat_ws(' ', event, outcome, actor, reason), ',' order by id)
        from audit_events where event like 'signing_key%'";
    let kids: Vec<_> = listed_keys(&fleet.next_replica())
        .await
        .into_iter()
        .map(|(kid, _)| kid)
        .collect();
    let expected = format!(
        "signing_key_rotated success operator {},signing_key_rotated success operator {}",
        kids[1], kids[0]
    );
    assert_eq!(query_value(&fleet.next_replica(), events).await, expected);
}

#[tokio::test]
async fn one_replica_rotates_the_key_when_due() {
    let fleet = Fleet::start(&[SHORT_JWKS_MAX_AGE]).await;
    fleet.next_replica().sign_up("john").await;
    let without_rotation =
        TestServer::with(&[SHORT_JWKS_MAX_AGE, ("LATCHKEY_KEY_ROTATION", "0s")]).await;
    let before = kid_in_state(&fleet.next_replica(), "current").await;
    let age_keys = "update signing_keys set signs_from = now() - interval '31 days'";
    execute(&without_rotation, age_keys).await;
    fleet
        .under_load(async {
            execute(&fleet.next_replica(), age_keys).await;
            wait_until("the next key is created", || async {
                query_value(&fleet.next_replica(), "select count(*) from signing_keys").await == "2"
            })
            .await;
            let query =
                "select signs_from - created_at between interval '8 s' and interval '1 minute'
                 from signing_keys order by signs_from desc limit 1";
            assert_eq!(
                query_value(&fleet.next_replica(), query).await,
                "true",
                "the key is published before it signs"
            );
            for replica in fleet.replicas() {
                let signs = || async { kid(&replica.sign_in("john").await.access_token) != before };
                wait_until("the new key signs", signs).await;
            }
        })
        .await;
    assert_eq!(
        query_value(&fleet.next_replica(), "select count(*) from signing_keys").await,
        "2",
        "only one key is created"
    );
    let event = "select string_agg(concat_ws(' ', actor, reason), ',') from audit_events \
        where event = 'signing_key_rotated'";
    assert_eq!(
        query_value(&fleet.next_replica(), event).await,
        format!(
            "server {}",
            kid_in_state(&fleet.next_replica(), "current").await
        )
    );
    let is_recent =
        || async { value(&fleet.next_replica(), "latchkey_signing_key_age_seconds").await < 60.0 };
    wait_until("the age is that of the current key", is_recent).await;
    for (state, count) in [("current", 1.0), ("retiring", 1.0), ("next", 0.0)] {
        let series = format!("latchkey_signing_keys{{state=\"{state}\"}}");
        wait_until(&series, || async {
            value(&fleet.next_replica(), &series).await == count
        })
        .await;
    }
    // The server without rotation has checked its old key as well by now.
    let reloads = value(&without_rotation, "latchkey_signing_key_reloads_total").await;
    let has_reloaded = || async {
        value(&without_rotation, "latchkey_signing_key_reloads_total").await > reloads + 2.0
    };
    wait_until("the keys are reloaded", has_reloaded).await;
    assert_eq!(
        query_value(&without_rotation, "select count(*) from signing_keys").await,
        "1"
    );
}

#[tokio::test]
async fn jwks_is_cacheable_and_has_public_keys_only() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let response = server.get("/.well-known/jwks.json").await;
    assert_eq!(
        response.is(200, "").header(header::CACHE_CONTROL.as_str()),
        "public, max-age=300"
    );
    assert_eq!(response.header("set-cookie"), "");
    let key = &response.body["keys"][0];
    let names: Vec<_> = key
        .as_object()
        .expect("a key")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        names,
        ["kty", "crv", "x", "kid", "alg", "use"],
        "only the public key"
    );
    assert_eq!(
        (&key["kty"], &key["crv"], &key["alg"], &key["use"]),
        (
            &"OKP".into(),
            &"Ed25519".into(),
            &"EdDSA".into(),
            &"sig".into()
        )
    );
    assert_eq!(key["kid"], kid(&session.access_token).as_str());
    assert_eq!(response.body["keys"].as_array().expect("keys").len(), 1);
    // The published key is sufficient to verify a token.
    let x = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        key["x"].as_str().expect("text"),
    );
    let (message, signature) = session.access_token.rsplit_once('.').expect("three parts");
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature)
            .expect("base64url");
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ED25519,
        x.expect("base64url"),
    );
    public
        .verify(message.as_bytes(), &signature)
        .expect("a valid signature");
}
