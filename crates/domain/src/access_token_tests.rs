use jsonwebtoken::{EncodingKey, Validation};
use proptest::prelude::*;
use serde_json::{Value, json};

use uuid::Uuid;

use super::*;
use crate::{
    account::{Identity, Role},
    session::Session,
};

const NOW: u64 = 1_800_000_000;

fn key() -> SigningKey {
    SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap()
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: "https://auth.example.com".into(),
        audience: "https://api.example.com".into(),
        clock_skew: 5,
    }
}

fn good() -> Claims {
    let session = Session {
        sid: Uuid::from_u128(1),
        sub: Uuid::from_u128(2),
        generation: 1,
        client_id: "latchkey".into(),
        scope: "user:read".into(),
        auth_time: NOW,
        ends_at: NOW + 1000,
    };
    let identity = Identity {
        version: 1,
        role: Role::User,
        username: Some("john".into()),
        email: None,
        email_verified: false,
        name: None,
    };
    claims(&policy(), &session, &identity, Uuid::from_u128(3), NOW, 900)
}

/// Any error: these tests are not about its kind.
#[derive(Debug, PartialEq, Eq)]
struct Rejected;

/// Verifies the signature and validates the claims.
fn open(
    token: &str,
    keys: &VerifyingKeys,
    policy: &TokenPolicy,
    now: u64,
) -> Result<Validity, Rejected> {
    diagnose(token, keys, policy, now).map_err(|_| Rejected)
}

fn told(key: &SigningKey) -> SignedToken {
    SignedToken {
        kid: key.kid(),
        claims: good().into(),
    }
}

fn trusting(key: &SigningKey) -> VerifyingKeys {
    let mut keys = VerifyingKeys::default();
    keys.add(key.public());
    keys
}

/// Signs any header and any claims with a real key.
fn forge(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    signed(key, &message)
}

fn signed(key: &SigningKey, message: &str) -> String {
    format!(
        "{message}.{}",
        URL_SAFE_NO_PAD.encode(key.pair.sign(message.as_bytes()))
    )
}

fn header(key: &SigningKey) -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid().to_string()})
}

#[test]
fn a_good_token_opens_until_its_exp() {
    let key = key();
    let token = key.sign(&good()).unwrap();
    assert_eq!(
        open(&token, &trusting(&key), &policy(), NOW + 899),
        Ok(Validity::Valid(told(&key)))
    );
    assert_eq!(
        open(&token, &trusting(&key), &policy(), NOW + 900),
        Ok(Validity::Expired(told(&key)))
    );
    assert_eq!(
        open(&token, &VerifyingKeys::default(), &policy(), NOW),
        Err(Rejected)
    );
}

/// Signing is ours, so somebody else must be able to read it.
#[test]
fn another_implementation_reads_our_tokens() {
    let key = key();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[policy().issuer]);
    validation.set_audience(&[policy().audience]);
    let theirs = DecodingKey::from_ed_der(key.public());
    let read =
        jsonwebtoken::decode::<Claims>(key.sign(&good()).unwrap(), &theirs, &validation).unwrap();
    assert_eq!(
        (read.claims, read.header.kid.as_deref()),
        (good(), Some(key.kid().to_string().as_str()))
    );
    assert_eq!(read.header.typ.as_deref(), Some(TYPE));
}

#[test]
fn a_signature_that_is_known_saves_no_other_check() {
    let (key, other) = (key(), key());
    let keys = trusting(&key);
    let signed = verify_signature(&key.sign(&good()).unwrap(), &keys).unwrap();
    assert_eq!(
        signed.validate_claims(&keys, &policy(), NOW),
        Ok(Validity::Valid(told(&key)))
    );
    assert_eq!(
        signed.validate_claims(&keys, &policy(), NOW + 900),
        Ok(Validity::Expired(told(&key)))
    );
    assert_eq!(
        signed.validate_claims(&keys, &policy(), NOW - 6),
        Err(TokenError::NotYetValid(NOW))
    );
    assert_eq!(
        signed.validate_claims(&trusting(&other), &policy(), NOW),
        Err(TokenError::UnknownKey(Some(key.kid())))
    );
    let elsewhere = TokenPolicy {
        issuer: "https://other.example".into(),
        ..policy()
    };
    assert_eq!(
        signed.validate_claims(&keys, &elsewhere, NOW),
        Err(TokenError::Issuer(policy().issuer))
    );
    let elsewhere = TokenPolicy {
        audience: "https://other.example".into(),
        ..policy()
    };
    assert_eq!(
        signed.validate_claims(&keys, &elsewhere, NOW),
        Err(TokenError::Audience(policy().audience))
    );
}

#[test]
fn exp_never_lies_after_the_end_of_the_session() {
    assert_eq!(good().exp, NOW + 900);
    let session = Session {
        ends_at: NOW + 10,
        sid: Uuid::nil(),
        sub: Uuid::nil(),
        generation: 1,
        client_id: String::new(),
        scope: String::new(),
        auth_time: NOW,
    };
    let identity = Identity {
        version: 1,
        role: Role::User,
        username: None,
        email: None,
        email_verified: false,
        name: None,
    };
    assert_eq!(
        claims(&policy(), &session, &identity, Uuid::nil(), NOW, 900).exp,
        NOW + 10
    );
}

#[test]
fn clocks_may_disagree_by_the_skew_and_no_more() {
    let key = key();
    let token = key.sign(&good()).unwrap();
    assert!(open(&token, &trusting(&key), &policy(), NOW - 5).is_ok());
    assert_eq!(
        open(&token, &trusting(&key), &policy(), NOW - 6),
        Err(Rejected)
    );
}

#[test]
fn issuer_and_audience_are_exact() {
    let key = key();
    let token = key.sign(&good()).unwrap();
    for other in [
        "https://auth.example.com/",
        "https://AUTH.example.com",
        "https://api.example.com",
    ] {
        let policy = TokenPolicy {
            issuer: other.into(),
            ..policy()
        };
        assert_eq!(open(&token, &trusting(&key), &policy, NOW), Err(Rejected));
    }
    let policy = TokenPolicy {
        audience: "https://auth.example.com".into(),
        ..policy()
    };
    assert_eq!(open(&token, &trusting(&key), &policy, NOW), Err(Rejected));
}

/// Headers of the well-known attacks, each under a signature that is right.
#[test]
fn no_other_header_is_accepted() {
    let key = key();
    let claims = serde_json::to_value(good()).unwrap();
    let mut attacks = vec![
        json!({}),
        json!({"alg": "EdDSA", "typ": "at+jwt"}),
        json!([]),
    ];
    for alg in [
        "none", "None", "HS256", "HS384", "HS512", "RS256", "ES256", "eddsa", "Ed25519",
    ] {
        attacks.push(json!({"alg": alg, "typ": "at+jwt", "kid": key.kid().to_string()}));
    }
    for typ in ["JWT", "jwt", "application/at+jwt", "AT+JWT", "rt+jwt", ""] {
        attacks.push(json!({"alg": "EdDSA", "typ": typ, "kid": key.kid().to_string()}));
    }
    for (name, value) in [
        ("jku", json!("https://evil.example")),
        ("jwk", json!({})),
        ("x5u", json!("x")),
        ("x5c", json!([])),
        ("crit", json!(["exp"])),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
    ] {
        let mut header = header(&key);
        header[name] = value;
        attacks.push(header);
    }
    attacks.push(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "../../etc/passwd"}));
    for attack in attacks {
        assert_eq!(
            open(
                &forge(&key, &attack, &claims),
                &trusting(&key),
                &policy(),
                NOW
            ),
            Err(Rejected),
            "{attack}"
        );
    }
    assert!(
        open(
            &forge(&key, &header(&key), &claims),
            &trusting(&key),
            &policy(),
            NOW
        )
        .is_ok()
    );
}

/// Every required claim: absent, null, and of the wrong type (jsonwebtoken CVE-2026-25537).
#[test]
fn claims_are_required_and_typed() {
    let key = key();
    for member in [
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
        "auth_time",
        "session_exp",
        "email_verified",
    ] {
        for wrong in [
            None,
            Some(Value::Null),
            Some(json!({"a": 1})),
            Some(json!(["x"])),
            Some(json!(-1.5)),
        ] {
            let mut claims = serde_json::to_value(good()).unwrap();
            match &wrong {
                None => drop(claims.as_object_mut().unwrap().remove(member)),
                Some(wrong) => claims[member] = wrong.clone(),
            }
            let token = forge(&key, &header(&key), &claims);
            assert_eq!(
                open(&token, &trusting(&key), &policy(), NOW),
                Err(Rejected),
                "{member} {wrong:?}"
            );
        }
    }
    for exp in [
        "\"9999999999\"",
        "1e400",
        "-1",
        "99999999999999999999999",
        "[9999999999]",
    ] {
        let claims = serde_json::to_string(&good()).unwrap().replace(
            &format!("\"exp\":{}", good().exp),
            &format!("\"exp\":{exp}"),
        );
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header(&key).to_string()),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let token = signed(&key, &message);
        assert_eq!(
            open(&token, &trusting(&key), &policy(), NOW),
            Err(Rejected),
            "exp {exp}"
        );
    }
}

#[test]
fn duplicate_members_are_refused() {
    let key = key();
    let claims = serde_json::to_string(&good())
        .unwrap()
        .replacen('{', "{\"generation\":99,", 1);
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(header(&key).to_string()),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let token = signed(&key, &message);
    assert_eq!(open(&token, &trusting(&key), &policy(), NOW), Err(Rejected));
}

/// HMAC with our public key as the secret, in every encoding that was ever confused with it.
#[test]
fn hmac_under_our_public_key_is_refused() {
    let key = key();
    let der = [
        &[
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ],
        key.public(),
    ]
    .concat();
    let base64 = base64::engine::general_purpose::STANDARD.encode(&der);
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(key.public())})
        .to_string();
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n");
    for secret in [
        key.public().to_vec(),
        der,
        base64.into_bytes(),
        jwk.into_bytes(),
        pem.into_bytes(),
    ] {
        for alg in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
            let header = Header {
                typ: Some(TYPE.into()),
                kid: Some(key.kid().to_string()),
                ..Header::new(alg)
            };
            let token =
                jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(&secret)).unwrap();
            assert_eq!(open(&token, &trusting(&key), &policy(), NOW), Err(Rejected));
        }
    }
}

#[test]
fn other_serializations_are_refused() {
    let key = key();
    let token = key.sign(&good()).unwrap();
    let parts: Vec<_> = token.split('.').collect();
    let json =
        json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    let others = [
        json,
        format!("{token}."),
        format!(".{token}"),
        format!("{token}="),
        format!(" {token}"),
        format!("{}..{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{token}.{}", parts[2]),
        String::new(),
        "..".into(),
        "x".repeat(5000),
    ];
    for other in others {
        assert_eq!(
            open(&other, &trusting(&key), &policy(), NOW),
            Err(Rejected),
            "{other}"
        );
    }
}

proptest! {
    #[test]
    fn a_token_changed_anywhere_is_refused(at: proptest::sample::Index, with in "[A-Za-z0-9_.-]") {
        let key = key();
        let token = key.sign(&good()).unwrap();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &with);
        prop_assert_eq!(open(&changed, &trusting(&key), &policy(), NOW).is_ok(), changed == token);
    }

    #[test]
    fn any_text_is_refused_without_a_panic(text in "\\PC{0,300}") {
        prop_assert_eq!(open(&text, &trusting(&key()), &policy(), NOW), Err(Rejected));
    }
}
