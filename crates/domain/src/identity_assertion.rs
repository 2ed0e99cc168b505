//! Assertions: who is behind a request, signed for one upstream, so that it need not trust plain
//! headers. They are JWTs (RFC 7519), and no access tokens: the type in their header says so, and
//! nothing here accepts them.
//!
//! They have no `jti`: one serves all requests of half a minute, and an upstream that takes an id
//! for "used once" would refuse all but the first.

use aws_lc_rs::error::Unspecified;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    access_token::{Claims, SigningKey},
    account::Role,
    web_origin::WebOrigin,
};

/// The type in the header. Access tokens have `at+jwt` there, and whoever accepts one kind refuses
/// the other.
const TYPE: &str = "JWT";

/// Seconds that an assertion is good for: what was taken back is known by the proxy at once, and by
/// whoever has an assertion in hand after so long.
pub const LIFETIME: u64 = 60;

/// What an upstream is told.
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
    #[serde(skip_serializing_if = "Option::is_none")]
    username: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    email_verified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

/// Which half of a lifetime it is, counted from the epoch: what was signed in one is used in that
/// one alone, so that an upstream always gets what is good for half a lifetime more, unless the
/// token ends before. `now` is in seconds.
pub fn half(now: u64) -> u64 {
    now / (LIFETIME / 2)
}

/// What a good token says, for this upstream alone. It never outlives the token.
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
        exp: (now + LIFETIME).min(claims.exp),
        client_id: &claims.client_id,
        sid: claims.sid,
        scope: &claims.scope,
        roles: &claims.roles,
        username: claims.username.as_deref(),
        email: claims.email.as_deref(),
        email_verified: claims.email_verified,
        name: claims.name.as_deref(),
    };
    key.sign_as(TYPE, &assertion)
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::{Algorithm, DecodingKey, Validation};
    use serde_json::Value;

    use super::*;
    use crate::{
        access_token::{self, TokenError, TokenPolicy, VerifyingKeys},
        account::Identity,
        session::Session,
    };

    const NOW: u64 = 4_000_000_000;

    fn key() -> SigningKey {
        SigningKey::from_pkcs8(&SigningKey::generate().unwrap()).unwrap()
    }

    fn upstream() -> WebOrigin {
        WebOrigin::parse("https://app.example.com").unwrap()
    }

    fn claims(lifetime: u64) -> Claims {
        // For the upstream itself, so that nothing but the type tells the two kinds apart.
        let policy = TokenPolicy {
            issuer: "https://a.example".into(),
            audience: upstream().as_str().into(),
            clock_skew: 5,
        };
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
            name: Some("Jöhn".into()),
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

    /// An upstream with a library of its own.
    fn read(key: &SigningKey, token: &str) -> Value {
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&["https://a.example"]);
        validation.set_audience(&[upstream().as_str()]);
        jsonwebtoken::decode::<Value>(token, &DecodingKey::from_ed_der(key.public()), &validation)
            .unwrap()
            .claims
    }

    #[test]
    fn an_upstream_reads_who_it_is_and_for_whom() {
        let key = key();
        let token = sign(&key, &claims(900), &upstream(), NOW).unwrap();
        assert_eq!(
            (
                header(&token)["typ"].as_str(),
                header(&token)["kid"].as_str()
            ),
            (Some("JWT"), Some(&*key.kid().to_string()))
        );
        let read = read(&key, &token);
        let members: Vec<&str> = read
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
        assert_eq!(members, expected);
        assert_eq!(
            (&read["aud"], &read["exp"], &read["name"]),
            (
                &"https://app.example.com".into(),
                &(NOW + 60).into(),
                &"Jöhn".into()
            )
        );
    }

    #[test]
    fn it_never_outlives_its_token() {
        let key = key();
        assert_eq!(
            read(&key, &sign(&key, &claims(20), &upstream(), NOW).unwrap())["exp"],
            NOW + 20
        );
    }

    #[test]
    fn it_is_no_access_token_and_an_access_token_is_none() {
        let (key, claims) = (key(), claims(900));
        let mut keys = VerifyingKeys::default();
        keys.add(key.public());
        let (access, assertion) = (
            key.sign(&claims).unwrap(),
            sign(&key, &claims, &upstream(), NOW).unwrap(),
        );
        assert!(access_token::verify_signature(&access, &keys).is_ok());
        assert_eq!(
            access_token::verify_signature(&assertion, &keys),
            Err(TokenError::Malformed)
        );
        assert_ne!(header(&access)["typ"], header(&assertion)["typ"]);
    }

    #[test]
    fn a_signature_is_used_for_half_a_life() {
        assert_eq!(half(NOW), half(NOW / 30 * 30 + 29));
        assert_ne!(half(NOW), half(NOW + 30));
    }
}
