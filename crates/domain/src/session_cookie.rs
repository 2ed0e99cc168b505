//! The browser's cookie: an access token that is signed anew while it is used, so that silence
//! alone ends it.

use uuid::Uuid;

use crate::{access_token::Claims, account::Identity, session::BROWSER_CLIENT};

/// Whether a token may come as a cookie. Any other would live for ever if a thief could have it
/// signed anew.
pub fn is_cookie(claims: &Claims) -> bool {
    claims.client_id == BROWSER_CLIENT
}

/// Which quarter of its life the cookie is in, from 1 to 3, if it is to be signed anew: not in the
/// first, so that few requests cost a signature, and only where the next one lives longer. `idle`
/// is in seconds.
pub fn renewal_due(claims: &Claims, now: u64, idle: u64) -> Option<u64> {
    let age = now.saturating_sub(claims.iat);
    let quarter = age * 4 / claims.exp.saturating_sub(claims.iat).max(1);
    (quarter > 0 && end(claims, now, idle) > claims.exp).then_some(quarter)
}

/// The next cookie of the same session; without an identity it says of the user what this one says.
pub fn renewed_claims(
    claims: &Claims,
    identity: Option<&Identity>,
    jti: Uuid,
    now: u64,
    idle: u64,
) -> Claims {
    let mut renewed_claims = Claims {
        jti,
        iat: now,
        nbf: now,
        exp: end(claims, now, idle),
        ..claims.clone()
    };
    if let Some(identity) = identity {
        renewed_claims = renewed_claims.of(identity);
    }
    renewed_claims
}

/// No slide moves the absolute end.
fn end(claims: &Claims, now: u64, idle: u64) -> u64 {
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
        }
    }

    fn cookie(idle: u64, whole: u64) -> Claims {
        let session = Session {
            sid: Uuid::from_u128(1),
            sub: Uuid::from_u128(2),
            generation: 1,
            client_id: BROWSER_CLIENT.into(),
            scope: "user:read".into(),
            auth_time: NOW,
            ends_at: NOW + whole,
        };
        let realm = TokenPolicy {
            issuer: "i".into(),
            audience: "a".into(),
            clock_skew: 5,
        };
        access_token::claims(
            &realm,
            &session,
            &identity("john"),
            Uuid::from_u128(3),
            NOW,
            idle,
        )
    }

    #[test]
    fn it_slides_once_a_quarter_of_its_life_has_passed() {
        let claims = cookie(600, 86_400);
        let quarters = [
            (0, None),
            (149, None),
            (150, Some(1)),
            (299, Some(1)),
            (300, Some(2)),
            (599, Some(3)),
        ];
        for (age, quarter) in quarters {
            assert_eq!(renewal_due(&claims, NOW + age, 600), quarter, "{age}");
        }
        assert_eq!(
            renewal_due(&claims, NOW - 5, 600),
            None,
            "a clock that is ahead"
        );
    }

    #[test]
    fn no_slide_moves_the_absolute_end() {
        let claims = cookie(600, 700);
        let slid = renewed_claims(&claims, None, Uuid::from_u128(4), NOW + 200, 600);
        assert_eq!((slid.exp, slid.session_exp), (NOW + 700, Some(NOW + 700)));
        assert_eq!(
            renewal_due(&slid, NOW + 650, 600),
            None,
            "it lives as long as it may"
        );
    }

    #[test]
    fn the_next_one_says_who_the_user_is_by_now() {
        let claims = cookie(600, 86_400);
        let kept = renewed_claims(&claims, None, Uuid::from_u128(4), NOW + 200, 600);
        assert_eq!(
            (kept.username.as_deref(), kept.iat, kept.exp),
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
            "no scope for more"
        );
        assert_eq!(
            (renamed.sid, renamed.generation, renamed.auth_time),
            (claims.sid, 1, Some(NOW))
        );
    }

    proptest! {
        #[test]
        fn a_slide_never_shortens_a_life_nor_outlives_the_session(
            idle in 1u64..4000,
            whole in 1u64..100_000,
            age in 0u64..4000,
            later in 1u64..4000,
        ) {
            let claims = cookie(idle, whole);
            let now = NOW + age;
            if renewal_due(&claims, now, later).is_some() {
                let slid = renewed_claims(&claims, None, Uuid::nil(), now, later);
                prop_assert!(slid.exp > claims.exp && Some(slid.exp) <= claims.session_exp);
            }
        }
    }
}
