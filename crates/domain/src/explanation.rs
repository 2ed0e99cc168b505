//! Explanations of `latchkey explain`: one sentence with the rule that rejects a token.
//!
//! The sentence never contains the token. The rules have the same order as in the server.
//! PostgreSQL comes before Redis, because it is the system of record.

mod evidence;
mod wording;

pub use crate::explanation::evidence::{
    CacheReading, CachedSession, DenylistState, Evidence, RevocationRecord, SessionEvidence,
    UserEvidence,
};
use crate::{
    access_token::{Claims, Holder, TokenError, TokenPolicy},
    explanation::wording::{describe_revocation, describe_subject, format_seconds, format_time},
    refresh_token::RefreshToken,
    revocation::RevocationReason,
    session::BROWSER_CLIENT,
};

/// The explanation of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the token is rejected.
    pub is_rejected: bool,
    /// The explanation, one sentence.
    pub sentence: String,
}

/// The lifetimes of refresh tokens, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefreshLifetimes {
    /// The idle timeout: the maximum time between two refreshes of a session.
    pub idle_timeout: u64,
    /// The reuse interval: the time in which the previous token returns the same new refresh token.
    pub reuse_interval: u64,
}

fn reject(reason: impl Into<String>) -> Explanation {
    Explanation {
        is_rejected: true,
        sentence: format!("Rejected: {}.", reason.into()),
    }
}

fn accept(description: impl Into<String>) -> Explanation {
    Explanation {
        is_rejected: false,
        sentence: format!("Valid: {}.", description.into()),
    }
}

/// Explains a text that is neither a valid access token nor a refresh token.
pub fn explain_invalid_token(error: &TokenError, policy: &TokenPolicy) -> Explanation {
    let TokenPolicy {
        issuer,
        audience,
        clock_skew,
    } = policy;
    match error {
        TokenError::Malformed => reject(
            "the text is not an access token, refresh token, or personal access token of this \
             server",
        ),
        TokenError::UnknownKey(_) => {
            reject("the signing key is unknown to this server or has expired")
        }
        TokenError::Signature => {
            reject("the signature is invalid; the token was modified or signed with another key")
        }
        TokenError::Claims => {
            reject("the signature is valid, but the claims are not those of an access token")
        }
        TokenError::Issuer(other) => reject(format!(
            "the token was issued by {other}, but LATCHKEY_ISSUER is {issuer}"
        )),
        TokenError::Audience(other) => reject(format!(
            "the audience is {other}, but LATCHKEY_AUDIENCE is {audience}"
        )),
        TokenError::NotYetValid(valid_from) => reject(format!(
            "the token is valid from {}, which is more than LATCHKEY_CLOCK_SKEW ({clock_skew} s) \
             in the future",
            format_seconds(*valid_from)
        )),
    }
}

/// Explains a text with the prefix of refresh tokens that was not issued under this master secret.
pub fn explain_unknown_refresh_token() -> Explanation {
    reject(
        "the text has the prefix of a refresh token, but was modified or issued under another \
         LATCHKEY_SECRET",
    )
}

/// Explains a text with the prefix of personal access tokens that this server did not issue.
pub fn explain_unknown_personal_access_token() -> Explanation {
    reject(
        "the text has the prefix of a personal access token, but was modified or not issued by \
         this server",
    )
}

/// Explains a personal access token that PostgreSQL does not contain. `deleted` is its revocation.
pub fn explain_missing_personal_access_token(deleted: Option<RevocationRecord>) -> Explanation {
    reject(match deleted {
        Some(deleted) => format!("this token was revoked {}", describe_revocation(deleted)),
        None => {
            "PostgreSQL does not contain this personal access token; the token or its user was \
                 deleted earlier"
                .to_owned()
        }
    })
}

/// Explains an access token or a personal access token that has expired.
pub fn explain_expired(claims: &Claims) -> Explanation {
    reject(format!(
        "the token expired at {}",
        format_seconds(claims.exp)
    ))
}

/// Explains an access token with a valid signature and valid claims.
pub fn explain_access_token(
    claims: &Claims,
    evidence: &Evidence,
    denylist: DenylistState,
) -> Explanation {
    let reason_of_holder = match claims.holder() {
        Holder::User { session_id } => check_user(evidence)
            .or_else(|| check_session(evidence, session_id))
            .or_else(|| check_user_generation(evidence, claims.generation)),
        Holder::PersonalAccessToken => {
            check_user(evidence).or_else(|| check_user_generation(evidence, claims.generation))
        }
        Holder::Client => check_client(evidence, claims.generation),
    };
    let reason_in_postgres = reason_of_holder
        .or_else(|| {
            evidence.token.map(|revocation| {
                format!("this token was revoked {}", describe_revocation(revocation))
            })
        })
        .or_else(|| {
            evidence.key.map(|revocation| {
                format!(
                    "the signing key was revoked {}",
                    describe_revocation(revocation)
                )
            })
        });
    match (reason_in_postgres, denylist) {
        (Some(reason), DenylistState::Listed(_)) => reject(reason),
        (Some(reason), DenylistState::NotListed) => reject(format!(
            "{reason}; the revocation log in Redis does not contain the revocation yet"
        )),
        (Some(reason), DenylistState::LogLost) => {
            reject(format!("{reason}; Redis has lost the revocation log"))
        }
        (Some(reason), DenylistState::Unreachable) => {
            reject(format!("{reason}; Redis does not respond"))
        }
        (None, DenylistState::Listed(subject)) => {
            let entry = describe_subject(subject);
            reject(format!(
                "the revocation log in Redis contains {entry}, but PostgreSQL contains no revocation"
            ))
        }
        (None, DenylistState::NotListed) => accept_claims(claims, ""),
        (None, DenylistState::LogLost) => accept_claims(
            claims,
            "; only PostgreSQL was checked, because Redis has lost the revocation log",
        ),
        (None, DenylistState::Unreachable) => accept_claims(
            claims,
            "; only PostgreSQL was checked, because Redis does not respond",
        ),
    }
}

fn accept_claims(claims: &Claims, note: &str) -> Explanation {
    let kind = match claims.holder() {
        Holder::User { .. } if claims.client_id == BROWSER_CLIENT => "a session cookie",
        Holder::User { .. } => "an access token",
        Holder::Client => "an access token of an OAuth client",
        Holder::PersonalAccessToken => "a personal access token",
    };
    accept(format!(
        "the token is {kind} and expires at {}{note}",
        format_seconds(claims.exp)
    ))
}

/// Explains a refresh token that was issued under this master secret.
///
/// `now` is in ms since the Unix epoch.
pub fn explain_refresh_token(
    token: &RefreshToken,
    evidence: &Evidence,
    redis: &CacheReading<Option<CachedSession>>,
    lifetimes: RefreshLifetimes,
    now: u64,
) -> Explanation {
    let Some(session) = evidence.session else {
        return reject(check_user(evidence).unwrap_or_else(|| {
            format!("PostgreSQL does not contain session {}", token.session_id)
        }));
    };
    let reason_in_postgres = check_user(evidence)
        .or_else(|| check_session(evidence, token.session_id))
        .or_else(|| check_user_generation(evidence, session.generation))
        .or_else(|| check_expiry(&session, lifetimes.idle_timeout, now / 1000));
    match (reason_in_postgres, redis) {
        (Some(reason), CacheReading::Read(Some(cached))) if is_accepted_by_redis(cached) => reject(
            format!("{reason}; Redis does not contain the revocation yet"),
        ),
        (Some(reason), _) => reject(reason),
        (None, CacheReading::Unreachable) => reject(
            "PostgreSQL accepts the token, but Redis does not respond, and a refresh requires \
             Redis",
        ),
        (
            None,
            CacheReading::Read(Some(CachedSession {
                revoked_reason: Some(name),
                ..
            })),
        ) => reject(format!(
            "the session was revoked in Redis ({}), but not yet in PostgreSQL",
            name.parse().map_or(
                "reason unknown to this version",
                RevocationReason::description
            )
        )),
        (None, CacheReading::Read(Some(cached)))
            if cached.history_matches && !is_accepted_by_redis(cached) =>
        {
            reject("all sessions of the user were revoked in Redis, but not in PostgreSQL")
        }
        (None, CacheReading::Read(cached)) => {
            let (counter, rotated_at) = current_counter(token, &session, cached.as_ref());
            explain_counter(token, counter, rotated_at, lifetimes.reuse_interval, now)
        }
    }
}

/// Returns the current rotation counter of the session, and the time of its rotation (ms).
///
/// The counter of Redis decides if the replication history matches. Otherwise the largest counter
/// decides, as when the session is restored.
fn current_counter(
    token: &RefreshToken,
    session: &SessionEvidence,
    cached: Option<&CachedSession>,
) -> (u64, u64) {
    let stored = (session.counter, session.refreshed_at * 1000);
    let (counter, rotated_at) = match cached {
        Some(cached) if cached.history_matches => {
            return (cached.counter, cached.rotated_at);
        }
        Some(cached) if cached.counter > session.counter => (cached.counter, cached.rotated_at),
        _not_cached => stored,
    };
    // The token is authentic, so the session has reached its counter, although the write to
    // PostgreSQL can still be pending.
    (counter.max(token.counter), rotated_at)
}

/// Returns the reason why a token is rejected, or `None`. The checks below do the same.
fn check_user(evidence: &Evidence) -> Option<String> {
    let at = evidence
        .closed_at
        .map(|at| format!(" at {}", format_time(at)))
        .unwrap_or_default();
    match evidence.user {
        None => Some(format!("the user was deleted{at}")),
        Some(user) if user.disabled => Some(format!("the user was disabled{at}")),
        Some(_) => None,
    }
}

fn check_session(evidence: &Evidence, session_id: uuid::Uuid) -> Option<String> {
    let revocation = evidence.session.and_then(|session| session.revocation)?;
    Some(format!(
        "session {session_id} was revoked {}",
        describe_revocation(revocation)
    ))
}

fn check_client(evidence: &Evidence, generation: i64) -> Option<String> {
    match evidence.client {
        None => Some("the OAuth client was deleted".to_owned()),
        Some(current) => check_generation(evidence, "OAuth client", current, generation),
    }
}

fn check_user_generation(evidence: &Evidence, generation: i64) -> Option<String> {
    check_generation(evidence, "user", evidence.user?.generation, generation)
}

/// Compares the generation of a token with that of its owner ("user" or "OAuth client").
fn check_generation(
    evidence: &Evidence,
    owner: &str,
    current: i64,
    generation: i64,
) -> Option<String> {
    let revoked = evidence
        .everything
        .map(|revocation| format!(" {}", describe_revocation(revocation)))
        .unwrap_or_default();
    (generation < current).then(|| {
        format!(
            "all tokens of the {owner} were revoked{revoked}; the token has generation {generation}, \
             the {owner} has {current}"
        )
    })
}

/// Checks the maximum lifetime and the idle timeout. `idle` and `now` are in seconds.
fn check_expiry(session: &SessionEvidence, idle: u64, now: u64) -> Option<String> {
    let idle_expiry = session.refreshed_at + idle;
    match () {
        () if session.expires_at <= now => Some(format!(
            "the session expired at {}",
            format_seconds(session.expires_at)
        )),
        () if idle_expiry <= now => Some(format!(
            "the session was last refreshed at {}, and expired at {} \
             (LATCHKEY_SESSION_IDLE_TIMEOUT)",
            format_seconds(session.refreshed_at),
            format_seconds(idle_expiry)
        )),
        () => None,
    }
}

/// Explains the counter of a refresh token. `rotated_at` and `now` are in ms, `reuse_interval` in
/// seconds.
fn explain_counter(
    token: &RefreshToken,
    current: u64,
    rotated_at: u64,
    reuse_interval: u64,
    now: u64,
) -> Explanation {
    let presented = token.counter;
    if presented == current {
        return accept("this is the current refresh token of the session");
    }
    if presented + 1 == current && now < rotated_at + reuse_interval * 1000 {
        return accept(format!(
            "this is the previous refresh token of the session; it returns the same new refresh \
             token until {}",
            format_seconds((rotated_at + reuse_interval * 1000) / 1000)
        ));
    }
    reject(format!(
        "this is refresh token {presented} of the session, and the current one is {current}; it \
         was used before, and another use revokes the session"
    ))
}

/// Returns whether Redis accepts the session.
///
/// If the replication history differs, the cached session must be restored from PostgreSQL first.
fn is_accepted_by_redis(cached: &CachedSession) -> bool {
    let (session, user) = cached.generations;
    cached.history_matches && cached.revoked_reason.is_none() && session >= user
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
