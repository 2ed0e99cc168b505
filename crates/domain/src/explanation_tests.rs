use time::{OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::*;
use crate::{account::Role, revocation::Subject, session::FIRST_PARTY_CLIENT};

/// 2026-11-20 08:00:00 UTC.
const NOW: u64 = 1_795_161_600;
const THEN: OffsetDateTime = datetime!(2026-11-20 07:00:00.123 UTC);
const LIFETIMES: Lifetimes = Lifetimes {
    idle: 3600,
    grace: 10,
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
        ends_at: NOW + 86_400,
        ended: None,
    }
}

fn known() -> Evidence {
    let account = UserEvidence {
        generation: 2,
        disabled: false,
    };
    Evidence {
        account: Some(account),
        session: Some(session()),
        ..Evidence::default()
    }
}

fn with(session: SessionEvidence) -> Evidence {
    Evidence {
        session: Some(session),
        ..known()
    }
}

fn ended(reason: Option<Reason>) -> Option<RevocationRecord> {
    Some(RevocationRecord { at: THEN, reason })
}

fn deleted() -> Evidence {
    Evidence {
        closed_at: Some(THEN),
        ..Evidence::default()
    }
}

fn disabled() -> Evidence {
    let account = UserEvidence {
        generation: 3,
        disabled: true,
    };
    Evidence {
        account: Some(account),
        closed_at: Some(THEN),
        ..known()
    }
}

fn past(everything: Option<RevocationRecord>) -> Evidence {
    Evidence {
        account: Some(UserEvidence {
            generation: 3,
            disabled: false,
        }),
        everything,
        ..known()
    }
}

const CLEAN: DenylistState = DenylistState::NotListed;
const SESSION: DenylistState = DenylistState::Listed(Subject::Session(Uuid::max()));
const BELOW: DenylistState = DenylistState::Listed(Subject::User(Uuid::max()));
const TOKEN: DenylistState = DenylistState::Listed(Subject::Token(Uuid::max()));

#[test]
fn access_tokens_are_explained_by_the_first_rule_that_refuses_them() {
    let max = "ffffffff-ffff-ffff-ffff-ffffffffffff";
    let change = Evidence {
        session: Some(SessionEvidence {
            ended: ended(Some(Reason::PasswordChange)),
            ..session()
        }),
        ..known()
    };
    let key = Evidence {
        key: ended(Some(Reason::Revoked)),
        ..known()
    };
    let revoked = Evidence {
        token: ended(Some(Reason::Revoked)),
        ..known()
    };
    let kid = "AAAAAAAAAAAAAAAA".parse().unwrap();
    let good = "Valid: the token is an access token and expires at 2026-11-20T08:14:00Z";
    let cases = [
        (known(), CLEAN, format!("{good}.")),
        (
            deleted(),
            BELOW,
            "Rejected: the user was deleted at 2026-11-20T07:00:00Z.".to_owned(),
        ),
        (
            Evidence::default(),
            BELOW,
            "Rejected: the user was deleted.".to_owned(),
        ),
        (
            disabled(),
            BELOW,
            "Rejected: the user was disabled at 2026-11-20T07:00:00Z.".to_owned(),
        ),
        (
            change.clone(),
            SESSION,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change)."
            ),
        ),
        (
            change.clone(),
            CLEAN,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change); \
                 the revocation log in Redis does not contain the revocation yet."
            ),
        ),
        (
            change.clone(),
            DenylistState::LogLost,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change); \
                 Redis has lost the revocation log."
            ),
        ),
        (
            change,
            DenylistState::Unreachable,
            format!(
                "Rejected: session {max} was revoked at 2026-11-20T07:00:00Z (password change); \
                 Redis does not respond."
            ),
        ),
        (
            past(ended(Some(Reason::LogoutAll))),
            BELOW,
            "Rejected: all tokens of the user were revoked at 2026-11-20T07:00:00Z (sign-out of \
             all sessions); the token has generation 2, the user has 3."
                .to_owned(),
        ),
        (
            past(ended(None)),
            BELOW,
            "Rejected: all tokens of the user were revoked at 2026-11-20T07:00:00Z; the token has \
             generation 2, the user has 3."
                .to_owned(),
        ),
        (
            past(None),
            BELOW,
            "Rejected: all tokens of the user were revoked; the token has generation 2, the user \
             has 3."
                .to_owned(),
        ),
        (
            key,
            DenylistState::Listed(Subject::Key(kid)),
            "Rejected: the signing key was revoked at 2026-11-20T07:00:00Z (by an \
             administrator)."
                .to_owned(),
        ),
        (
            revoked,
            TOKEN,
            "Rejected: this token was revoked at 2026-11-20T07:00:00Z (by an administrator)."
                .to_owned(),
        ),
        (
            known(),
            SESSION,
            "Rejected: the revocation log in Redis contains the session, but PostgreSQL contains no \
             revocation."
                .to_owned(),
        ),
        (
            known(),
            BELOW,
            "Rejected: the revocation log in Redis contains a higher generation of the user, but \
             PostgreSQL contains no revocation."
                .to_owned(),
        ),
        (
            known(),
            DenylistState::LogLost,
            format!("{good}; only PostgreSQL was checked, because Redis has lost the revocation log."),
        ),
        (
            known(),
            DenylistState::Unreachable,
            format!("{good}; only PostgreSQL was checked, because Redis does not respond."),
        ),
    ];
    for (known, denylist, sentence) in cases {
        let explanation = access(&claims(), &known, denylist);
        assert_eq!(
            explanation,
            Explanation {
                refused: !sentence.starts_with("Valid: "),
                sentence
            }
        );
    }
}

#[test]
fn what_is_no_token_for_here_is_explained_by_its_flaw() {
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
    for (flaw, part) in cases {
        let Explanation { refused, sentence } = flawed(&flaw, &policy);
        assert!(refused && sentence.contains(part), "{sentence}");
    }
    assert_eq!(
        expired(&claims()).sentence,
        "Rejected: the token expired at 2026-11-20T08:14:00Z."
    );
    assert!(strange_refresh_token().refused);
}

fn remembered(counter: u64, ended: Option<&str>) -> CacheReading<Option<CachedSession>> {
    let rotated_at = (NOW - 5) * 1000;
    let ended = ended.map(str::to_owned);
    CacheReading::Read(Some(CachedSession {
        at_home: true,
        counter,
        rotated_at,
        generations: (2, 2),
        ended,
        scope: None,
    }))
}

fn stale(told: CacheReading<Option<CachedSession>>) -> CacheReading<Option<CachedSession>> {
    let CacheReading::Read(Some(remembered)) = told else {
        return told;
    };
    CacheReading::Read(Some(CachedSession {
        at_home: false,
        ..remembered
    }))
}

#[test]
fn refresh_tokens_are_explained_by_the_first_rule_that_refuses_them() {
    let nobody = CacheReading::Read(None);
    let reuse = with(SessionEvidence {
        ended: ended(Some(Reason::Reuse)),
        ..session()
    });
    let idle = with(SessionEvidence {
        refreshed_at: NOW - 3600,
        ..session()
    });
    let over = with(SessionEvidence {
        ends_at: NOW,
        ..session()
    });
    let gone = Evidence {
        session: None,
        ..known()
    };
    let cases = [
        (
            7,
            known(),
            remembered(7, None),
            "Valid: this is the current refresh token of the session.",
        ),
        (
            6,
            known(),
            remembered(7, None),
            "returns the same new tokens until 2026-11-20T08:00:05Z.",
        ),
        (
            5,
            known(),
            remembered(7, None),
            "refresh token 5 of the session, and the current one is 7",
        ),
        (
            8,
            known(),
            remembered(7, None),
            "refresh token 8 of the session, and the current one is 7",
        ),
        // Redis has nothing to rely on: adoption decides.
        (7, known(), nobody.clone(), "Valid: this is the current"),
        (8, known(), nobody.clone(), "Valid: this is the current"),
        (6, known(), nobody.clone(), "Valid: this is the previous"),
        (5, known(), nobody.clone(), "the current one is 7"),
        (
            7,
            known(),
            stale(remembered(9, None)),
            "the current one is 9",
        ),
        (
            7,
            known(),
            stale(remembered(3, None)),
            "Valid: this is the current",
        ),
        (
            7,
            known(),
            stale(remembered(3, Some("refresh_token_reused"))),
            "the session was revoked in Redis (refresh token reuse), but not yet in PostgreSQL",
        ),
        (
            7,
            known(),
            remembered(7, Some("of another version")),
            "reason unknown to this version",
        ),
        (
            7,
            known(),
            CacheReading::Unreachable,
            "PostgreSQL accepts the token, but Redis does not respond",
        ),
        (
            7,
            reuse.clone(),
            remembered(7, Some("refresh_token_reused")),
            "revoked at 2026-11-20T07:00:00Z (refresh token reuse).",
        ),
        (
            7,
            reuse,
            remembered(7, None),
            "(refresh token reuse); Redis does not contain the revocation yet.",
        ),
        (
            7,
            idle,
            nobody.clone(),
            "the session was last refreshed at 2026-11-20T07:00:00Z, and expired at \
             2026-11-20T08:00:00Z (LATCHKEY_SESSION_IDLE_TIMEOUT).",
        ),
        (
            7,
            over,
            nobody.clone(),
            "the session expired at 2026-11-20T08:00:00Z.",
        ),
        (
            7,
            past(ended(Some(Reason::RoleChange))),
            nobody.clone(),
            "all tokens of the user were revoked at 2026-11-20T07:00:00Z (role change)",
        ),
        (
            7,
            gone,
            nobody.clone(),
            "PostgreSQL does not contain session ffffffff-ffff-ffff-ffff-ffffffffffff.",
        ),
        (
            7,
            deleted(),
            nobody.clone(),
            "the user was deleted at 2026-11-20T07:00:00Z.",
        ),
        (
            7,
            disabled(),
            nobody,
            "the user was disabled at 2026-11-20T07:00:00Z.",
        ),
    ];
    for (counter, known, redis, part) in cases {
        let token = RefreshToken {
            sub: Uuid::nil(),
            sid: Uuid::max(),
            counter,
        };
        let Explanation { refused, sentence } =
            refresh(&token, &known, &redis, LIFETIMES, NOW * 1000);
        assert!(sentence.contains(part), "{sentence} lacks {part}");
        assert_eq!(
            refused,
            !part.starts_with("Valid: ") && !part.starts_with("returns the same"),
            "{sentence}"
        );
    }
}

#[test]
fn a_generation_that_only_redis_has_raised_is_told() {
    let redis = CacheReading::Read(Some(CachedSession {
        at_home: true,
        counter: 7,
        rotated_at: NOW * 1000,
        generations: (2, 3),
        ended: None,
        scope: None,
    }));
    let token = RefreshToken {
        sub: Uuid::nil(),
        sid: Uuid::max(),
        counter: 7,
    };
    let explanation = refresh(&token, &known(), &redis, LIFETIMES, NOW * 1000);
    assert!(
        explanation.refused
            && explanation
                .sentence
                .contains("revoked in Redis, but not in PostgreSQL")
    );
}
