use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::*;
use crate::{account::Role, revocation::Subject, session::FIRST_PARTY_CLIENT};

/// 2026-11-20 08:00:00 UTC.
const NOW: u64 = 1_795_161_600;
const REVOKED_AT: OffsetDateTime = datetime!(2026-11-20 07:00:00.123 UTC);
const LIFETIMES: RefreshLifetimes = RefreshLifetimes {
    idle_timeout: 3600,
    reuse_interval: 10,
};

fn claims() -> Claims {
    Claims {
        iss: "https://auth.example.com".into(),
        aud: "https://auth.example.com".into(),
        sub: Uuid::nil(),
        client_id: FIRST_PARTY_CLIENT.into(),
        sid: Some(Uuid::max()),
        jti: Uuid::nil(),
        iat: NOW - 60,
        nbf: NOW - 60,
        exp: NOW + 840,
        scope: "user:read".into(),
        roles: vec![Role::User],
        groups: Default::default(),
        generation: 2,
        auth_time: Some(NOW - 60),
        session_exp: Some(NOW + 86_400),
        username: None,
        email: None,
        email_verified: false,
        name: None,
    }
}

fn session() -> SessionEvidence {
    SessionEvidence {
        generation: 2,
        counter: 7,
        refreshed_at: NOW - 5,
        expires_at: NOW + 86_400,
        revocation: None,
    }
}

fn evidence() -> Evidence {
    let user = UserEvidence {
        generation: 2,
        disabled: false,
    };
    Evidence {
        user: Some(user),
        session: Some(session()),
        ..Evidence::default()
    }
}

fn with_session(session: SessionEvidence) -> Evidence {
    Evidence {
        session: Some(session),
        ..evidence()
    }
}

fn revocation(reason: Option<RevocationReason>) -> Option<RevocationRecord> {
    Some(RevocationRecord {
        at: REVOKED_AT,
        reason,
    })
}

fn with_deleted_user() -> Evidence {
    Evidence {
        closed_at: Some(REVOKED_AT),
        ..Evidence::default()
    }
}

fn with_disabled_user() -> Evidence {
    let user = UserEvidence {
        generation: 3,
        disabled: true,
    };
    Evidence {
        user: Some(user),
        closed_at: Some(REVOKED_AT),
        ..evidence()
    }
}

fn with_incremented_generation(everything: Option<RevocationRecord>) -> Evidence {
    Evidence {
        user: Some(UserEvidence {
            generation: 3,
            disabled: false,
        }),
        everything,
        ..evidence()
    }
}

const NOT_LISTED: DenylistState = DenylistState::NotListed;
const SESSION_LISTED: DenylistState = DenylistState::Listed(Subject::Session(Uuid::max()));
const USER_LISTED: DenylistState = DenylistState::Listed(Subject::User(Uuid::max()));
const TOKEN_LISTED: DenylistState = DenylistState::Listed(Subject::Token(Uuid::max()));

#[test]
fn access_token_is_explained_by_first_rejecting_rule() {
    let max = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let password_changed = Evidence {
        session: Some(SessionEvidence {
            revocation: revocation(Some(RevocationReason::PasswordChange)),
            ..session()
        }),
        ..evidence()
    };
    let key_revoked = Evidence {
        key: revocation(Some(RevocationReason::Revoked)),
        ..evidence()
    };
    let token_revoked = Evidence {
        token: revocation(Some(RevocationReason::Revoked)),
        ..evidence()
    };
    let kid = "AAAAAAAAAAAAAAAA".parse().unwrap();
    let valid = "Valid: the token is an access token and expires at 2026-11-20T08:14:00Z";
    let cases = [
        (evidence(), NOT_LISTED, format!("{valid}.")),
        (
            with_deleted_user(),
            USER_LISTED,
            "Rejected: the user was deleted at 2026-11-20T07:00:00Z.".to_owned(),
        ),
        (
            Evidence::default(),
            USER_LISTED,
            "Rejected: the user was deleted.".to_owned(),
        ),
        (
            with_disabled_user(),
            USER_LISTED,
            "Rejected: the user was disabled at 2026-11-20T07:00:00Z.".to_owned(),
        ),
        (
            password_changed.clone(),
            SESSION_LISTED,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change)."
            ),
        ),
        (
            password_changed.clone(),
            NOT_LISTED,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change); \
                 the revocation log in Redis does not contain the revocation yet."
            ),
        ),
        (
            password_changed.clone(),
            DenylistState::LogLost,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change); \
                 Redis has lost the revocation log."
            ),
        ),
        (
            password_changed,
            DenylistState::Unreachable,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change); \
                 Redis does not respond."
            ),
        ),
        (
            with_incremented_generation(revocation(Some(RevocationReason::SignOutAll))),
            USER_LISTED,
            "Rejected: all tokens of the user were revoked at 2026-11-20T07:00:00Z (sign-out of \
             all sessions); the token has generation 2, the user has 3."
                .to_owned(),
        ),
        (
            with_incremented_generation(revocation(None)),
            USER_LISTED,
            "Rejected: all tokens of the user were revoked at 2026-11-20T07:00:00Z; the token has \
             generation 2, the user has 3."
                .to_owned(),
        ),
        (
            with_incremented_generation(None),
            USER_LISTED,
            "Rejected: all tokens of the user were revoked; the token has generation 2, the user \
             has 3."
                .to_owned(),
        ),
        (
            key_revoked,
            DenylistState::Listed(Subject::Key(kid)),
            "Rejected: the signing key was revoked at 2026-11-20T07:00:00Z (by an \
             administrator)."
                .to_owned(),
        ),
        (
            token_revoked,
            TOKEN_LISTED,
            "Rejected: this token was revoked at 2026-11-20T07:00:00Z (by an administrator)."
                .to_owned(),
        ),
        (
            evidence(),
            SESSION_LISTED,
            "Rejected: the revocation log in Redis contains the session, but PostgreSQL contains no \
             revocation."
                .to_owned(),
        ),
        (
            evidence(),
            USER_LISTED,
            "Rejected: the revocation log in Redis contains a higher generation of the user, but \
             PostgreSQL contains no revocation."
                .to_owned(),
        ),
        (
            evidence(),
            DenylistState::LogLost,
            format!("{valid}; only PostgreSQL was checked, because Redis has lost the revocation log."),
        ),
        (
            evidence(),
            DenylistState::Unreachable,
            format!("{valid}; only PostgreSQL was checked, because Redis does not respond."),
        ),
    ];
    for (evidence, denylist, sentence) in cases {
        let explanation = explain_access_token(&claims(), &evidence, denylist);
        assert_eq!(
            explanation,
            Explanation {
                is_rejected: !sentence.starts_with("Valid: "),
                sentence
            }
        );
    }
}

#[test]
fn invalid_access_token_is_explained_by_its_error() {
    let policy = TokenPolicy {
        issuer: "https://auth.example.com".into(),
        audience: "https://api.example.com".into(),
        clock_skew: 5,
    };
    let cases = [
        (
            TokenError::Malformed,
            "not an access token, refresh token, or personal",
        ),
        (TokenError::UnknownKey(None), "the signing key is unknown"),
        (TokenError::Signature, "the signature is invalid"),
        (
            TokenError::Claims,
            "the claims are not those of an access token",
        ),
        (
            TokenError::Issuer("https://other.example.com".into()),
            "issued by https://other.example.com, but LATCHKEY_ISSUER is https://auth.example.com",
        ),
        (
            TokenError::Audience("https://other.example.com".into()),
            "audience is https://other.example.com, but LATCHKEY_AUDIENCE is \
             https://api.example.com",
        ),
        (
            TokenError::NotYetValid(NOW),
            "valid from 2026-11-20T08:00:00Z, which is more than LATCHKEY_CLOCK_SKEW (5 s) in the \
             future",
        ),
    ];
    for (error, expected) in cases {
        let Explanation {
            is_rejected,
            sentence,
        } = explain_invalid_token(&error, &policy);
        assert!(is_rejected && sentence.contains(expected), "{sentence}");
    }
    assert_eq!(
        explain_expired(&claims()).sentence,
        "Rejected: the token expired at 2026-11-20T08:14:00Z."
    );
    assert!(explain_unknown_refresh_token().is_rejected);
}

fn cached(counter: u64, revoked_reason: Option<&str>) -> CacheReading<Option<CachedSession>> {
    let rotated_at = (NOW - 5) * 1000;
    let revoked_reason = revoked_reason.map(str::to_owned);
    CacheReading::Read(Some(CachedSession {
        history_matches: true,
        counter,
        rotated_at,
        generations: (2, 2),
        revoked_reason,
        scope: None,
    }))
}

fn with_other_history(
    reading: CacheReading<Option<CachedSession>>,
) -> CacheReading<Option<CachedSession>> {
    let CacheReading::Read(Some(cached)) = reading else {
        return reading;
    };
    CacheReading::Read(Some(CachedSession {
        history_matches: false,
        ..cached
    }))
}

#[test]
fn refresh_token_is_explained_by_first_rejecting_rule() {
    let not_cached = CacheReading::Read(None);
    let reused = with_session(SessionEvidence {
        revocation: revocation(Some(RevocationReason::RefreshTokenReused)),
        ..session()
    });
    let idle = with_session(SessionEvidence {
        refreshed_at: NOW - 3600,
        ..session()
    });
    let expired = with_session(SessionEvidence {
        expires_at: NOW,
        ..session()
    });
    let no_session = Evidence {
        session: None,
        ..evidence()
    };
    let cases = [
        (
            7,
            evidence(),
            cached(7, None),
            "Valid: this is the current refresh token of the session.",
        ),
        (
            6,
            evidence(),
            cached(7, None),
            "returns the same new refresh token until 2026-11-20T08:00:05Z.",
        ),
        (
            5,
            evidence(),
            cached(7, None),
            "refresh token 5 of the session, and the current one is 7",
        ),
        (
            8,
            evidence(),
            cached(7, None),
            "refresh token 8 of the session, and the current one is 7",
        ),
        // Without a current session in Redis, the rules are those of a restored session.
        (
            7,
            evidence(),
            not_cached.clone(),
            "Valid: this is the current",
        ),
        (
            8,
            evidence(),
            not_cached.clone(),
            "Valid: this is the current",
        ),
        (
            6,
            evidence(),
            not_cached.clone(),
            "Valid: this is the previous",
        ),
        (5, evidence(), not_cached.clone(), "the current one is 7"),
        (
            7,
            evidence(),
            with_other_history(cached(9, None)),
            "the current one is 9",
        ),
        (
            7,
            evidence(),
            with_other_history(cached(3, None)),
            "Valid: this is the current",
        ),
        (
            7,
            evidence(),
            with_other_history(cached(3, Some("refresh_token_reused"))),
            "the session was revoked in Redis (refresh token reuse), but not yet in PostgreSQL",
        ),
        (
            7,
            evidence(),
            cached(7, Some("of another version")),
            "reason unknown to this version",
        ),
        (
            7,
            evidence(),
            CacheReading::Unreachable,
            "PostgreSQL accepts the token, but Redis does not respond",
        ),
        (
            7,
            reused.clone(),
            cached(7, Some("refresh_token_reused")),
            "revoked at 2026-11-20T07:00:00Z (refresh token reuse).",
        ),
        (
            7,
            reused,
            cached(7, None),
            "(refresh token reuse); Redis does not contain the revocation yet.",
        ),
        (
            7,
            idle,
            not_cached.clone(),
            "the session was last refreshed at 2026-11-20T07:00:00Z, and expired at \
             2026-11-20T08:00:00Z (LATCHKEY_SESSION_IDLE_TIMEOUT).",
        ),
        (
            7,
            expired,
            not_cached.clone(),
            "the session expired at 2026-11-20T08:00:00Z.",
        ),
        (
            7,
            with_incremented_generation(revocation(Some(RevocationReason::RoleChange))),
            not_cached.clone(),
            "all tokens of the user were revoked at 2026-11-20T07:00:00Z (role change)",
        ),
        (
            7,
            no_session,
            not_cached.clone(),
            "PostgreSQL does not contain session ffffffff-ffff-ffff-ffff-ffffffffffff.",
        ),
        (
            7,
            with_deleted_user(),
            not_cached.clone(),
            "the user was deleted at 2026-11-20T07:00:00Z.",
        ),
        (
            7,
            with_disabled_user(),
            not_cached,
            "the user was disabled at 2026-11-20T07:00:00Z.",
        ),
    ];
    for (counter, evidence, redis, expected) in cases {
        let token = RefreshToken {
            user_id: Uuid::nil(),
            session_id: Uuid::max(),
            counter,
        };
        let Explanation {
            is_rejected,
            sentence,
        } = explain_refresh_token(&token, &evidence, &redis, LIFETIMES, NOW * 1000);
        assert!(sentence.contains(expected), "{sentence} lacks {expected}");
        assert_eq!(
            is_rejected,
            !expected.starts_with("Valid: ") && !expected.starts_with("returns the same"),
            "{sentence}"
        );
    }
}

#[test]
fn generation_incremented_only_in_redis_is_explained() {
    let redis = CacheReading::Read(Some(CachedSession {
        history_matches: true,
        counter: 7,
        rotated_at: NOW * 1000,
        generations: (2, 3),
        revoked_reason: None,
        scope: None,
    }));
    let token = RefreshToken {
        user_id: Uuid::nil(),
        session_id: Uuid::max(),
        counter: 7,
    };
    let explanation = explain_refresh_token(&token, &evidence(), &redis, LIFETIMES, NOW * 1000);
    assert!(
        explanation.is_rejected
            && explanation
                .sentence
                .contains("revoked in Redis, but not in PostgreSQL")
    );
}
