use reqwest::header;

use super::{fleet::Fleet, key_that_is, keys, kid, listed, published};
use crate::{
    metrics::value,
    test_server::{TestServer, until},
    test_stores::{ask, execute},
};

/// As short as a busy machine allows: a key is published for eight seconds before it signs.
const SHORT: (&str, &str) = ("LATCHKEY_JWKS_MAX_AGE", "4s");

#[tokio::test]
async fn keys_follow_each_other_under_load_and_nobody_notices() {
    let fleet = Fleet::start(&[SHORT]).await;
    fleet.any().sign_up("john").await;
    let first = key_that_is(&fleet.any(), "current").await;
    let checks = fleet
        .under_load(async {
            for _ in 0..2 {
                let before = key_that_is(&fleet.any(), "current").await;
                let told = keys(&fleet.any(), &["rotate"]).await.well();
                let next = told.split([' ', '.']).nth(3).expect("its ID").to_owned();
                assert!(
                    told.starts_with(&format!("Created signing key {next}. It signs from 20")),
                    "{told}"
                );
                keys(&fleet.any(), &["rotate"])
                    .await
                    .refused(1, "the next signing key already exists");
                // Everybody publishes it, while the one before still signs.
                for replica in fleet.all() {
                    until("it is published", || async {
                        published(&replica).await.contains(&next)
                    })
                    .await;
                    assert!(published(&replica).await.contains(&before));
                }
                for replica in fleet.all() {
                    let signs =
                        || async { kid(&replica.sign_in("john").await.access_token) == next };
                    until("it signs", signs).await;
                    replica.until_logged(&["signing key active", &next]).await;
                }
                assert_eq!(key_that_is(&fleet.any(), "current").await, next);
            }
        })
        .await;
    assert!(checks > 20, "people were let in {checks} times");
    let states: Vec<_> = listed(&fleet.any())
        .await
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(states, ["current", "retiring", "retiring"]);
    for replica in fleet.all() {
        assert!(
            published(&replica).await.contains(&first),
            "its tokens still live"
        );
    }
    let events = "select string_agg(
            concat_ws(' ', event, outcome, actor, reason), ',' order by id)
        from audit_events where event like 'signing_key%'";
    let made: Vec<_> = listed(&fleet.any())
        .await
        .into_iter()
        .map(|(kid, _)| kid)
        .collect();
    let expected = format!(
        "signing_key_rotated success operator {},signing_key_rotated success operator {}",
        made[1], made[0]
    );
    assert_eq!(ask(&fleet.any(), events).await, expected);
}

#[tokio::test]
async fn when_a_key_has_signed_for_long_enough_one_replica_makes_the_next() {
    let fleet = Fleet::start(&[SHORT]).await;
    fleet.any().sign_up("john").await;
    let never = TestServer::with(&[SHORT, ("LATCHKEY_KEY_ROTATION", "0s")]).await;
    let before = key_that_is(&fleet.any(), "current").await;
    let old = "update signing_keys set signs_from = now() - interval '31 days'";
    execute(&never, old).await;
    fleet
        .under_load(async {
            execute(&fleet.any(), old).await;
            until("there is another", || async {
                ask(&fleet.any(), "select count(*) from signing_keys").await == "2"
            })
            .await;
            let waits =
                "select signs_from - created_at between interval '8 s' and interval '1 minute'
                 from signing_keys order by signs_from desc limit 1";
            assert_eq!(
                ask(&fleet.any(), waits).await,
                "true",
                "it is published first"
            );
            for replica in fleet.all() {
                let signs = || async { kid(&replica.sign_in("john").await.access_token) != before };
                until("it signs", signs).await;
            }
        })
        .await;
    assert_eq!(
        ask(&fleet.any(), "select count(*) from signing_keys").await,
        "2",
        "only one was made"
    );
    let event = "select string_agg(concat_ws(' ', actor, reason), ',') from audit_events \
        where event = 'signing_key_rotated'";
    assert_eq!(
        ask(&fleet.any(), event).await,
        format!("server {}", key_that_is(&fleet.any(), "current").await)
    );
    let age = || async { value(&fleet.any(), "latchkey_signing_key_age_seconds").await < 60.0 };
    until("its age is of the one that signs", age).await;
    for (state, count) in [("current", 1.0), ("retiring", 1.0), ("next", 0.0)] {
        let series = format!("latchkey_signing_keys{{state=\"{state}\"}}");
        until(&series, || async {
            value(&fleet.any(), &series).await == count
        })
        .await;
    }
    // Who is never to make one has looked at its old key as well by now.
    let looks = value(&never, "latchkey_signing_key_reloads_total").await;
    let looked =
        || async { value(&never, "latchkey_signing_key_reloads_total").await > looks + 2.0 };
    until("it has looked", looked).await;
    assert_eq!(ask(&never, "select count(*) from signing_keys").await, "1");
}

#[tokio::test]
async fn others_may_keep_the_keys_for_a_while() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    let response = server.get("/.well-known/jwks.json").await;
    assert_eq!(
        response.is(200, "").header(header::CACHE_CONTROL.as_str()),
        "public, max-age=300"
    );
    assert_eq!(response.header("set-cookie"), "");
    let key = &response.body["keys"][0];
    let members: Vec<_> = key
        .as_object()
        .expect("a key")
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(
        members,
        ["kty", "crv", "x", "kid", "alg", "use"],
        "the public half, and nothing else"
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
    assert_eq!(key["kid"], kid(&john.access_token).as_str());
    assert_eq!(response.body["keys"].as_array().expect("keys").len(), 1);
    // With it alone, others verify.
    let x = base64::Engine::decode(
        &base64::engine::general_purpose::URL_SAFE_NO_PAD,
        key["x"].as_str().expect("text"),
    );
    let (message, signature) = john.access_token.rsplit_once('.').expect("three parts");
    let signature =
        base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, signature)
            .expect("base64url");
    let public = aws_lc_rs::signature::UnparsedPublicKey::new(
        &aws_lc_rs::signature::ED25519,
        x.expect("base64url"),
    );
    public
        .verify(message.as_bytes(), &signature)
        .expect("its signature is right");
}
