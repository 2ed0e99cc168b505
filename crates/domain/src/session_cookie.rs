//! Session cookies and application cookies: tokens that are renewed while they are used, which is
//! called sliding expiration.
//!
//! A renewal never exceeds the maximum lifetime of the session.

use uuid::Uuid;

use crate::{
    access_token::{Claims, TokenKind},
    account::Identity,
    session::{APPLICATION_CLIENT, BROWSER_CLIENT},
};

/// Returns whether the token can be used as a session cookie.
///
/// Other access tokens must not be renewed, because an attacker could then extend the lifetime of a
/// stolen token.
pub fn is_cookie(claims: &Claims) -> bool {
    claims.client_id == BROWSER_CLIENT
}

/// Returns the kind of the cookie with these claims.
pub fn kind(claims: &Claims) -> TokenKind {
    if claims.client_id == APPLICATION_CLIENT {
        TokenKind::Application
    } else {
        TokenKind::Access
    }
}

/// Returns the elapsed quarters of the cookie's lifetime if the cookie must be renewed.
///
/// A cookie is not renewed in its first quarter, because each renewal costs a signature. It is also
/// not renewed if the next cookie would not expire later. `now` is in seconds since the Unix epoch,
/// `idle` (the idle timeout) in seconds.
pub fn renewal_due(claims: &Claims, now: u64, idle: u64) -> Option<u64> {
    let age = now.saturating_sub(claims.iat);
    let quarters = age * 4 / claims.exp.saturating_sub(claims.iat).max(1);
    (quarters > 0 && expires_at(claims, now, idle) > claims.exp).then_some(quarters)
}

/// Returns the claims of the next cookie of the session.
///
/// Without a new identity, the claims keep the identity of the previous cookie. `now` is in seconds
/// since the Unix epoch, `idle` (the idle timeout) in seconds.
pub fn renewed_claims(
    claims: &Claims,
    identity: Option<&Identity>,
    jti: Uuid,
    now: u64,
    idle: u64,
) -> Claims {
    let mut renewed = Claims {
        jti,
        iat: now,
        nbf: now,
        exp: expires_at(claims, now, idle),
        ..claims.clone()
    };
    if let Some(identity) = identity {
        renewed = renewed.with_identity(identity);
    }
    renewed
}

/// Returns the claims of the next cookie of the session after the user has confirmed the password.
///
/// Its sign-in is recent again, from `now` on. The session and its maximum lifetime stay the same,
/// and earlier cookies keep their time of sign-in. The parameters are those of [`renewed_claims`].
pub fn confirmed_claims(
    claims: &Claims,
    identity: &Identity,
    jti: Uuid,
    now: u64,
    idle: u64,
) -> Claims {
    Claims {
        auth_time: Some(now),
        ..renewed_claims(claims, Some(identity), jti, now, idle)
    }
}

/// Returns the expiry of a renewed cookie, at most the expiry of the session.
fn expires_at(claims: &Claims, now: u64, idle: u64) -> u64 {
    (now + idle).min(claims.session_exp.unwrap_or(claims.exp))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        access_token::{self, TokenPolicy},
        account::Role,
        session::Session,
    };

    const NOW: u64 = 1_800_000_000;

    fn identity(name: &str) -> Identity {
        Identity {
            version: 1,
            role: Role::User,
            username: Some(name.into()),
            email: None,
            email_verified: false,
            name: None,
            groups: Default::default(),
        }
    }

    fn cookie(idle: u64, max_lifetime: u64) -> Claims {
        let session = Session {
            session_id: Uuid::from_u128(1),
            user_id: Uuid::from_u128(2),
            generation: 1,
            client_id: BROWSER_CLIENT.into(),
            scope: "user:read".into(),
            auth_time: NOW,
            expires_at: NOW + max_lifetime,
        };
        let policy = TokenPolicy {
            issuer: "i".into(),
            audience: "a".into(),
            clock_skew: 5,
        };
        access_token::claims(
            &policy,
            &session,
            &identity("john"),
            Uuid::from_u128(3),
            NOW,
            idle,
        )
    }

    #[test]
    fn cookie_is_renewed_after_quarter_of_its_lifetime() {
        let claims = cookie(600, 86_400);
        let cases = [
            (0, None),
            (149, None),
            (150, Some(1)),
            (299, Some(1)),
            (300, Some(2)),
            (599, Some(3)),
        ];
        for (age, quarters) in cases {
            assert_eq!(renewal_due(&claims, NOW + age, 600), quarters, "{age}");
        }
        assert_eq!(
            renewal_due(&claims, NOW - 5, 600),
            None,
            "the clock of the issuer is ahead"
        );
    }

    #[test]
    fn renewal_never_exceeds_session_expiry() {
        let claims = cookie(600, 700);
        let renewed = renewed_claims(&claims, None, Uuid::from_u128(4), NOW + 200, 600);
        assert_eq!(
            (renewed.exp, renewed.session_exp),
            (NOW + 700, Some(NOW + 700))
        );
        assert_eq!(
            renewal_due(&renewed, NOW + 650, 600),
            None,
            "the cookie already expires with the session"
        );
    }

    #[test]
    fn renewed_cookie_contains_current_identity() {
        let claims = cookie(600, 86_400);
        let unchanged = renewed_claims(&claims, None, Uuid::from_u128(4), NOW + 200, 600);
        assert_eq!(
            (unchanged.username.as_deref(), unchanged.iat, unchanged.exp),
            (Some("john"), NOW + 200, NOW + 800)
        );
        let renamed = renewed_claims(
            &claims,
            Some(&Identity {
                role: Role::Admin,
                ..identity("jane")
            }),
            Uuid::nil(),
            NOW,
            600,
        );
        assert_eq!(
            (renamed.username.as_deref(), renamed.roles),
            (Some("jane"), vec![Role::User]),
            "the token does not have the scope admin"
        );
        assert_eq!(
            (renamed.sid, renamed.generation, renamed.auth_time),
            (claims.sid, 1, Some(NOW))
        );
    }

    #[test]
    fn confirmed_password_is_recent_sign_in_in_same_session() {
        let claims = cookie(600, 700);
        let now = NOW + 400;
        assert!(claims.require_recent_sign_in(now).is_err());
        let confirmed = confirmed_claims(&claims, &identity("jane"), Uuid::nil(), now, 600);
        assert!(confirmed.require_recent_sign_in(now + 300).is_ok());
        assert!(confirmed.require_recent_sign_in(now + 301).is_err());
        assert_eq!(
            (confirmed.sid, confirmed.exp, confirmed.session_exp),
            (claims.sid, NOW + 700, claims.session_exp)
        );
        assert_eq!(confirmed.username.as_deref(), Some("jane"));
    }

    proptest! {
        #[test]
        fn renewal_extends_cookie_up_to_session_expiry(
            idle in 1u64..4000,
            max_lifetime in 1u64..100_000,
            age in 0u64..4000,
            new_idle in 1u64..4000,
        ) {
            let claims = cookie(idle, max_lifetime);
            let now = NOW + age;
            if renewal_due(&claims, now, new_idle).is_some() {
                let renewed = renewed_claims(&claims, None, Uuid::nil(), now, new_idle);
                prop_assert!(renewed.exp > claims.exp && Some(renewed.exp) <= claims.session_exp);
            }
        }
    }
}
