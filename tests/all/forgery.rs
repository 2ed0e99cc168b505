//! Forged tokens at every protected operation: with a wrong signature, header, or claims.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    caller_check::{Fixture, invalid},
    token_signer::{TokenSigner, assemble, with, without},
};

#[tokio::test]
async fn token_with_forged_signature_is_rejected() {
    let fixture = Fixture::new().await;
    let (signer, claims) = (
        TokenSigner::of(&fixture.server).await,
        fixture.session.claims(),
    );
    let (public, payload) = (signer.public().to_vec(), claims.to_string());
    let der = [
        &[
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ],
        public.as_slice(),
    ]
    .concat();
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        STANDARD.encode(&der)
    );
    let mut cases = vec![invalid(
        "another key with the same ID",
        &signer.with_unrelated_key().sign(&claims),
    )];
    for alg in ["none", "None", "nOnE", ""] {
        cases.push(invalid(
            format!("alg {alg}"),
            &assemble(&with(&signer.header(), "alg", json!(alg)), &payload, |_| {
                Vec::new()
            }),
        ));
    }
    let macs = [
        ("HS256", hmac::HMAC_SHA256),
        ("HS384", hmac::HMAC_SHA384),
        ("HS512", hmac::HMAC_SHA512),
    ];
    let keys = [
        ("raw", public.clone()),
        ("DER", der),
        ("PEM", pem.into_bytes()),
        ("base64", STANDARD.encode(&public).into_bytes()),
    ];
    for (alg, algorithm) in macs {
        for (encoding, key) in &keys {
            let sign = |message: &[u8]| {
                hmac::sign(&hmac::Key::new(algorithm, key), message)
                    .as_ref()
                    .to_vec()
            };
            let token = assemble(&with(&signer.header(), "alg", json!(alg)), &payload, sign);
            cases.push(invalid(
                format!("{alg} with the public key as {encoding}"),
                &token,
            ));
        }
    }
    fixture.check(&cases).await;
}

#[tokio::test]
async fn token_with_wrong_header_is_rejected() {
    let fixture = Fixture::new().await;
    let signer = TokenSigner::of(&fixture.server).await;
    let (header, payload) = (signer.header(), fixture.session.claims().to_string());
    let mut headers = vec![
        without(&header, "typ"),
        without(&header, "kid"),
        without(&header, "alg"),
    ];
    for (parameter, value) in [
        ("typ", json!("JWT")),
        ("typ", json!("AT+JWT2")),
        ("typ", Value::Null),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("Ed448")),
        ("kid", json!("unknown")),
        ("kid", json!("../../dev/null")),
        ("kid", json!(1)),
        ("kid", json!("k".repeat(2000))),
        ("crit", json!(["exp"])),
        ("jku", json!("https://evil.example/jwks.json")),
        (
            "jwk",
            json!({"kty": "OKP", "crv": "Ed25519", "x": STANDARD.encode(signer.public())}),
        ),
        ("x5u", json!("https://evil.example/cert.pem")),
        ("x5c", json!(["MII"])),
        ("cty", json!("JWT")),
        ("zip", json!("DEF")),
    ] {
        headers.push(with(&header, parameter, value));
    }
    let cases: Vec<_> = headers
        .iter()
        .map(|header| invalid(header.to_string(), &signer.sign_as(header, &payload)))
        .collect();
    fixture.check(&cases).await;
}

#[tokio::test]
async fn token_with_wrong_claims_is_rejected() {
    let fixture = Fixture::new().await;
    let (signer, claims) = (
        TokenSigner::of(&fixture.server).await,
        fixture.session.claims(),
    );
    let now = claims["iat"].as_u64().expect("seconds");
    let mut wrong_claims: Vec<Value> = [
        "iss",
        "aud",
        "sub",
        "client_id",
        "sid",
        "jti",
        "iat",
        "nbf",
        "exp",
        "scope",
        "roles",
        "generation",
    ]
    .map(|name| without(&claims, name))
    .into();
    for value in [
        json!("9999999999"),
        Value::Null,
        json!([9_999_999_999_u64]),
        json!(-1),
        json!(9_999_999_999.5),
        json!({}),
    ] {
        wrong_claims.extend(["exp", "nbf", "iat"].map(|name| with(&claims, name, value.clone())));
    }
    wrong_claims.extend([
        with(&claims, "iss", json!("https://evil.example.com")),
        with(&claims, "iss", json!("https://auth.example.com/")),
        with(&claims, "aud", json!("https://api.example.com")),
        with(
            &claims,
            "aud",
            json!(["https://auth.example.com", "https://evil.example.com"]),
        ),
        with(&claims, "sub", json!("john")),
        with(&claims, "roles", json!(["root"])),
        with(&claims, "generation", json!("1")),
        with(&claims, "nbf", json!(now + 300)),
        with(&claims, "iat", json!(now + 300)),
    ]);
    let mut cases: Vec<_> = wrong_claims
        .iter()
        .map(|claims| invalid(claims.to_string(), &signer.sign(claims)))
        .collect();
    let raw =
        |payload: String| invalid(payload.clone(), &signer.sign_as(&signer.header(), &payload));
    let text = claims.to_string();
    cases.push(raw(
        text.replace(&format!("\"exp\":{}", claims["exp"]), "\"exp\":1e400")
    ));
    cases.push(raw(text.replacen('{', "{\"exp\":9999999999,", 1)));
    cases.extend([
        raw("[]".to_owned()),
        raw("null".to_owned()),
        raw(String::new()),
        raw(format!("{text} x")),
    ]);
    fixture.check(&cases).await;
}
