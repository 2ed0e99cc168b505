//! Identity assertions: JWTs (RFC 7519) with the identity of a caller, signed for one upstream.
//!
//! With an assertion, the upstream does not have to trust plain headers.
//!
//! The `typ` header differs from that of access tokens, so that this server rejects assertions as
//! credentials. Assertions have no `jti`, because one assertion serves all requests within half of
//! its lifetime. An upstream that accepts each `jti` only once would reject all but the first.

use aws_lc_rs::error::Unspecified;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    access_token::{Claims, SigningKey},
    account::Role,
    group::GroupNames,
    web_origin::WebOrigin,
};

/// The `typ` header. Access tokens have `at+jwt`, so that neither kind is accepted as the other.
const HEADER_TYPE: &str = "JWT";

/// The lifetime of an assertion, in seconds.
///
/// The proxy enforces a revocation immediately. An assertion that an upstream has already received
/// stays valid for at most this time.
pub const LIFETIME_SECONDS: u64 = 60;

/// The claims of an assertion.
#[derive(Serialize)]
struct Assertion<'a> {
    iss: &'a str,
    sub: Uuid,
    aud: &'a str,
    iat: u64,
    exp: u64,
    client_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<Uuid>,
    scope: &'a str,
    roles: &'a [Role],
    #[serde(skip_serializing_if = "GroupNames::is_empty")]
    groups: &'a GroupNames,
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    /// Only a verified address: an upstream that ignores `email_verified` must not trust another.
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Returns the number of the half lifetime that contains `now` (seconds since the Unix epoch).
///
/// A cached assertion is used only within the half lifetime in which it was signed. The upstream
/// receives it at least half a lifetime before it expires, unless the token expires earlier.
pub fn half(now: u64) -> u64 {
    now / (LIFETIME_SECONDS / 2)
}

/// Signs an assertion with the identity of a valid token, for one upstream.
///
/// It expires no later than the token. `now` is in seconds since the Unix epoch.
///
/// # Errors
/// If serialization or signing fails.
pub fn sign(
    key: &SigningKey,
    claims: &Claims,
    upstream: &WebOrigin,
    now: u64,
) -> Result<String, Unspecified> {
    let assertion = Assertion {
        iss: &claims.iss,
        sub: claims.sub,
        aud: upstream.as_str(),
        iat: now,
        exp: (now + LIFETIME_SECONDS).min(claims.exp),
        client_id: &claims.client_id,
        sid: claims.sid,
        scope: &claims.scope,
        roles: &claims.roles,
        groups: &claims.groups,
        username: claims.username.as_deref(),
        email: claims.verified_email(),
        email_verified: claims.email_verified,
        name: claims.name.as_deref(),
    };
    key.sign_with_type(HEADER_TYPE, &assertion)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    use secrecy::ExposeSecret;

    use super::*;
    use crate::{
        access_token::{self, TokenError, TokenKind, TokenPolicy, VerifyingKeys},
        account::Identity,
        session::Session,
    };

    const NOW: u64 = 4_000_000_000;

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(SigningKey::generate().unwrap().expose_secret()).unwrap()
    }

    fn upstream() -> WebOrigin {
        WebOrigin::parse("https://app.example.com").unwrap()
    }

    fn claims(lifetime: u64) -> Claims {
        // The audience is the upstream, so that only the `typ` header distinguishes the two kinds.
        let policy = TokenPolicy {
            issuer: "https://a.example".into(),
            audience: upstream().as_str().into(),
            clock_skew: 5,
        };
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
            name: Some("Jöhn".into()),
            groups: Default::default(),
        };
        access_token::claims(
            &policy,
            &session,
            &identity,
            Uuid::from_u128(3),
            NOW,
            lifetime,
        )
    }

    fn header(token: &str) -> Value {
        serde_json::from_slice(
            &URL_SAFE_NO_PAD
                .decode(token.split('.').next().unwrap())
                .unwrap(),
        )
        .unwrap()
    }

    /// Validates an assertion as an upstream does, with an independent implementation.
    fn validate(key: &SigningKey, token: &str) -> Value {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&["https://a.example"]);
        validation.set_audience(&[upstream().as_str()]);
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_ed_der(key.public()), &validation)
            .unwrap()
            .claims
    }

    #[test]
    fn upstream_validates_assertion_and_reads_identity() {
        let key = key();
        let token = sign(&key, &claims(900), &upstream(), NOW).unwrap();
        assert_eq!(
            (
                header(&token)["typ"].as_str(),
                header(&token)["kid"].as_str()
            ),
            (Some("JWT"), Some(&*key.kid().to_string()))
        );
        let assertion = validate(&key, &token);
        let names: Vec<&str> = assertion
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let expected = [
            "iss",
            "sub",
            "aud",
            "iat",
            "exp",
            "client_id",
            "sid",
            "scope",
            "roles",
            "username",
            "email_verified",
            "name",
        ];
        assert_eq!(names, expected);
        assert_eq!(
            (&assertion["aud"], &assertion["exp"], &assertion["name"]),
            (
                &"https://app.example.com".into(),
                &(NOW + 60).into(),
                &"Jöhn".into()
            )
        );
    }

    #[test]
    fn assertion_expires_no_later_than_its_token() {
        let key = key();
        assert_eq!(
            validate(&key, &sign(&key, &claims(20), &upstream(), NOW).unwrap())["exp"],
            NOW + 20
        );
    }

    #[test]
    fn assertion_is_rejected_as_access_token() {
        let (key, claims) = (key(), claims(900));
        let mut keys = VerifyingKeys::default();
        keys.add(key.public());
        let (access, assertion) = (
            key.sign(&claims).unwrap(),
            sign(&key, &claims, &upstream(), NOW).unwrap(),
        );
        assert!(access_token::verify_signature(&access, TokenKind::Access, &keys).is_ok());
        for kind in [TokenKind::Access, TokenKind::Application] {
            assert_eq!(
                access_token::verify_signature(&assertion, kind, &keys),
                Err(TokenError::Malformed)
            );
        }
        assert_ne!(header(&access)["typ"], header(&assertion)["typ"]);
    }

    #[test]
    fn half_changes_every_30_seconds() {
        assert_eq!(half(NOW), half(NOW / 30 * 30 + 29));
        assert_ne!(half(NOW), half(NOW + 30));
    }
}
