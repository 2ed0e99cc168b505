use jsonwebtoken::{EncodingKey, Validation};
use proptest::prelude::*;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use uuid::Uuid;

use super::*;
use crate::{
    account::{Identity, Role},
    session::Session,
};

const NOW: u64 = 1_800_000_000;

fn key() -> SigningKey {
    SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose_secret()).unwrap()
}

fn policy() -> TokenPolicy {
    TokenPolicy {
        issuer: "https://auth.example.com".into(),
        audience: "https://api.example.com".into(),
        clock_skew: 5,
    }
}

fn valid_claims() -> Claims {
    let session = Session {
        session_id: Uuid::from_u128(1),
        user_id: Uuid::from_u128(2),
        generation: 1,
        client_id: "latchkey".into(),
        scope: "user:read".into(),
        auth_time: NOW,
        expires_at: NOW + 1000,
    };
    let identity = Identity {
        version: 1,
        role: Role::User,
        username: Some("john".into()),
        email: None,
        email_verified: false,
        name: None,
        groups: Default::default(),
    };
    claims(&policy(), &session, &identity, Uuid::from_u128(3), NOW, 900)
}

/// Any error, because these tests do not compare its kind.
#[derive(Debug, PartialEq, Eq)]
struct Rejected;

/// Verifies the signature and validates the claims.
fn validate(
    token: &str,
    keys: &VerifyingKeys,
    policy: &TokenPolicy,
    now: u64,
) -> Result<Validity, Rejected> {
    diagnose(token, keys, policy, now).map_err(|_| Rejected)
}

fn signed_token(key: &SigningKey) -> SignedToken {
    SignedToken {
        kind: TokenKind::Access,
        kid: key.kid(),
        claims: valid_claims().into(),
    }
}

fn trust_key(key: &SigningKey) -> VerifyingKeys {
    let mut keys = VerifyingKeys::default();
    keys.add(key.public());
    keys
}

/// Signs an arbitrary header and arbitrary claims with a trusted key.
fn sign_token(key: &SigningKey, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    sign_message(key, &message)
}

fn sign_message(key: &SigningKey, message: &str) -> String {
    format!(
        "{message}.{}",
        URL_SAFE_NO_PAD.encode(key.pair.sign(message.as_bytes()))
    )
}

fn valid_header(key: &SigningKey) -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": key.kid().to_string()})
}

#[test]
fn token_is_valid_until_exp() {
    let key = key();
    let token = key.sign(&valid_claims()).unwrap();
    assert_eq!(
        validate(&token, &trust_key(&key), &policy(), NOW + 899),
        Ok(Validity::Valid(signed_token(&key)))
    );
    assert_eq!(
        validate(&token, &trust_key(&key), &policy(), NOW + 900),
        Ok(Validity::Expired(signed_token(&key)))
    );
    assert_eq!(
        validate(&token, &VerifyingKeys::default(), &policy(), NOW),
        Err(Rejected)
    );
}

/// An independent implementation must accept the tokens, because this crate signs them itself.
#[test]
fn jsonwebtoken_decodes_signed_token() {
    let key = key();
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.set_issuer(&[policy().issuer]);
    validation.set_audience(&[policy().audience]);
    let public_key = DecodingKey::from_ed_der(key.public());
    let decoded = jsonwebtoken::decode::<Claims>(
        key.sign(&valid_claims()).unwrap(),
        &public_key,
        &validation,
    )
    .unwrap();
    assert_eq!(
        (decoded.claims, decoded.header.kid.as_deref()),
        (valid_claims(), Some(key.kid().to_string().as_str()))
    );
    assert_eq!(
        decoded.header.typ.as_deref(),
        Some(TokenKind::Access.header_type())
    );
}

#[test]
fn signed_token_claims_are_validated_each_time() {
    let (key, other) = (key(), key());
    let keys = trust_key(&key);
    let signed = verify_signature(
        &key.sign(&valid_claims()).unwrap(),
        TokenKind::Access,
        &keys,
    )
    .unwrap();
    assert_eq!(
        signed.validate_claims(&keys, &policy(), NOW),
        Ok(Validity::Valid(signed_token(&key)))
    );
    assert_eq!(
        signed.validate_claims(&keys, &policy(), NOW + 900),
        Ok(Validity::Expired(signed_token(&key)))
    );
    assert_eq!(
        signed.validate_claims(&keys, &policy(), NOW - 6),
        Err(TokenError::NotYetValid(NOW))
    );
    assert_eq!(
        signed.validate_claims(&trust_key(&other), &policy(), NOW),
        Err(TokenError::UnknownKey(Some(key.kid())))
    );
    let other_policy = TokenPolicy {
        issuer: "https://other.example".into(),
        ..policy()
    };
    assert_eq!(
        signed.validate_claims(&keys, &other_policy, NOW),
        Err(TokenError::Issuer(policy().issuer))
    );
    let other_policy = TokenPolicy {
        audience: "https://other.example".into(),
        ..policy()
    };
    assert_eq!(
        signed.validate_claims(&keys, &other_policy, NOW),
        Err(TokenError::Audience(policy().audience))
    );
}

#[test]
fn exp_is_at_most_session_expiry() {
    assert_eq!(valid_claims().exp, NOW + 900);
    let session = Session {
        expires_at: NOW + 10,
        session_id: Uuid::nil(),
        user_id: Uuid::nil(),
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
        groups: Default::default(),
    };
    assert_eq!(
        claims(&policy(), &session, &identity, Uuid::nil(), NOW, 900).exp,
        NOW + 10
    );
}

#[test]
fn iat_in_future_is_accepted_within_clock_skew() {
    let key = key();
    let token = key.sign(&valid_claims()).unwrap();
    assert!(validate(&token, &trust_key(&key), &policy(), NOW - 5).is_ok());
    assert_eq!(
        validate(&token, &trust_key(&key), &policy(), NOW - 6),
        Err(Rejected)
    );
}

#[test]
fn issuer_and_audience_must_match_exactly() {
    let key = key();
    let token = key.sign(&valid_claims()).unwrap();
    for other in [
        "https://auth.example.com/",
        "https://AUTH.example.com",
        "https://api.example.com",
    ] {
        let policy = TokenPolicy {
            issuer: other.into(),
            ..policy()
        };
        assert_eq!(
            validate(&token, &trust_key(&key), &policy, NOW),
            Err(Rejected)
        );
    }
    let policy = TokenPolicy {
        audience: "https://auth.example.com".into(),
        ..policy()
    };
    assert_eq!(
        validate(&token, &trust_key(&key), &policy, NOW),
        Err(Rejected)
    );
}

/// Headers of well-known attacks, each with a valid signature.
#[test]
fn headers_of_known_attacks_are_rejected() {
    let key = key();
    let claims = serde_json::to_value(valid_claims()).unwrap();
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
        let mut header = valid_header(&key);
        header[name] = value;
        attacks.push(header);
    }
    attacks.push(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "../../etc/passwd"}));
    for attack in attacks {
        assert_eq!(
            validate(
                &sign_token(&key, &attack, &claims),
                &trust_key(&key),
                &policy(),
                NOW
            ),
            Err(Rejected),
            "{attack}"
        );
    }
    assert!(
        validate(
            &sign_token(&key, &valid_header(&key), &claims),
            &trust_key(&key),
            &policy(),
            NOW
        )
        .is_ok()
    );
}

/// Every required claim: absent, null, and of the wrong type (jsonwebtoken CVE-2026-25537).
#[test]
fn missing_or_mistyped_claims_are_rejected() {
    let key = key();
    for claim in [
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
            let mut claims = serde_json::to_value(valid_claims()).unwrap();
            match &wrong {
                None => drop(claims.as_object_mut().unwrap().remove(claim)),
                Some(wrong) => claims[claim] = wrong.clone(),
            }
            let token = sign_token(&key, &valid_header(&key), &claims);
            assert_eq!(
                validate(&token, &trust_key(&key), &policy(), NOW),
                Err(Rejected),
                "{claim} {wrong:?}"
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
        let claims = serde_json::to_string(&valid_claims()).unwrap().replace(
            &format!("\"exp\":{}", valid_claims().exp),
            &format!("\"exp\":{exp}"),
        );
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(valid_header(&key).to_string()),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let token = sign_message(&key, &message);
        assert_eq!(
            validate(&token, &trust_key(&key), &policy(), NOW),
            Err(Rejected),
            "exp {exp}"
        );
    }
}

#[test]
fn duplicate_claims_are_rejected() {
    let key = key();
    let claims =
        serde_json::to_string(&valid_claims())
            .unwrap()
            .replacen('{', "{\"generation\":99,", 1);
    let message = format!(
        "{}.{}",
        URL_SAFE_NO_PAD.encode(valid_header(&key).to_string()),
        URL_SAFE_NO_PAD.encode(claims)
    );
    let token = sign_message(&key, &message);
    assert_eq!(
        validate(&token, &trust_key(&key), &policy(), NOW),
        Err(Rejected)
    );
}

/// Algorithm confusion: HMAC with the public key as the secret, in each of its encodings.
#[test]
fn hmac_with_public_key_as_secret_is_rejected() {
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
                typ: Some(TokenKind::Access.header_type().into()),
                kid: Some(key.kid().to_string()),
                ..Header::new(alg)
            };
            let token =
                jsonwebtoken::encode(&header, &valid_claims(), &EncodingKey::from_secret(&secret))
                    .unwrap();
            assert_eq!(
                validate(&token, &trust_key(&key), &policy(), NOW),
                Err(Rejected)
            );
        }
    }
}

#[test]
fn other_serializations_are_rejected() {
    let key = key();
    let token = key.sign(&valid_claims()).unwrap();
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
            validate(&other, &trust_key(&key), &policy(), NOW),
            Err(Rejected),
            "{other}"
        );
    }
}

proptest! {
    #[test]
    fn modified_token_is_rejected(at: proptest::sample::Index, replacement in "[A-Za-z0-9_.-]") {
        let key = key();
        let token = key.sign(&valid_claims()).unwrap();
        let at = at.index(token.len());
        let mut changed = token.clone();
        changed.replace_range(at..=at, &replacement);
        let is_valid = validate(&changed, &trust_key(&key), &policy(), NOW).is_ok();
        prop_assert_eq!(is_valid, changed == token);
    }

    #[test]
    fn arbitrary_text_is_rejected_without_panic(text in "\\PC{0,300}") {
        prop_assert_eq!(validate(&text, &trust_key(&key()), &policy(), NOW), Err(Rejected));
    }
}

/// Tokens of a version without groups lack the claim.
#[test]
fn groups_are_optional_claim() {
    let json = serde_json::to_value(valid_claims()).unwrap();
    assert!(json.get("groups").is_none());
    let groups = crate::group::GroupNames::parse_list(["b", "a"].into_iter()).unwrap();
    let key = key();
    let token = key
        .sign(&Claims {
            groups: groups.clone(),
            ..valid_claims()
        })
        .unwrap();
    let verified = verify_signature(&token, TokenKind::Access, &trust_key(&key)).unwrap();
    assert_eq!(verified.claims.groups, groups);
    for wrong in [Value::Null, json!("a"), json!([1])] {
        let mut claims = json.clone();
        claims["groups"] = wrong;
        let token = sign_token(&key, &valid_header(&key), &claims);
        assert!(verify_signature(&token, TokenKind::Access, &trust_key(&key)).is_err());
    }
}

/// No permission depends on the display name, so it is omitted if the token would be too long.
#[test]
fn display_name_is_omitted_beside_many_groups() {
    let names: Vec<String> = (0..32).map(|number| format!("{number:a>32}")).collect();
    let identity = |name: String, count: usize| Identity {
        version: 1,
        role: Role::User,
        username: None,
        email: None,
        email_verified: false,
        name: Some(name),
        groups: crate::group::GroupNames::parse_list(names[..count].iter().map(String::as_str))
            .unwrap(),
    };
    for (name, count, is_contained) in [
        ("n".repeat(200), 32, true),
        ("n".repeat(281), 32, true),
        ("n".repeat(282), 32, false),
        ("\"".repeat(140), 32, true),
        ("\"".repeat(141), 32, false),
        ("\u{1f511}".repeat(200), 0, true),
        ("\u{1f511}".repeat(200), 17, true),
        ("\u{1f511}".repeat(200), 18, false),
    ] {
        let claims = valid_claims().with_identity(&identity(name, count));
        assert_eq!(claims.name.is_some(), is_contained, "{count}");
        assert_eq!(claims.groups.iter().count(), count);
    }
}
