//! Why a token is refused, for the operator who asks: one sentence, which names the rule and never
//! repeats the token.
//!
//! The rules come in the order in which the gateway asks them, and what the record says comes
//! before what Redis says: the record decides, and Redis has to agree.

mod evidence;
mod wording;

pub use crate::explanation::evidence::{
    CacheReading, CachedSession, DenylistState, Evidence, RevocationRecord, SessionEvidence,
    UserEvidence,
};
use crate::{
    access_token::{Claims, Holder, TokenError, TokenPolicy},
    explanation::wording::{listed, moment, second, told},
    refresh_token::RefreshToken,
    revocation::Reason,
    session::BROWSER_CLIENT,
};

/// What was found out about a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether something refuses it.
    pub refused: bool,
    /// One sentence.
    pub sentence: String,
}

/// How long refresh tokens are good, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// How long a session lives without a refresh.
    pub idle: u64,
    /// How long the parent of an unused token gives the same child again.
    pub grace: u64,
}

fn refused(why: impl Into<String>) -> Explanation {
    Explanation {
        refused: true,
        sentence: format!("Rejected: {}.", why.into()),
    }
}

fn good(what: impl Into<String>) -> Explanation {
    Explanation {
        refused: false,
        sentence: format!("Valid: {}.", what.into()),
    }
}

/// A text that is neither an access token of ours nor a refresh token.
pub fn flawed(flaw: &TokenError, policy: &TokenPolicy) -> Explanation {
    let TokenPolicy {
        issuer,
        audience,
        clock_skew,
    } = policy;
    match flaw {
        TokenError::Malformed => refused(
            "the text is not an access token, refresh token, or personal access token of this \
             server",
        ),
        TokenError::UnknownKey(_) => {
            refused("the signing key is unknown to this server or has expired")
        }
        TokenError::Signature => {
            refused("the signature is invalid; the token was modified or signed with another key")
        }
        TokenError::Claims => {
            refused("the signature is valid, but the claims are not those of an access token")
        }
        TokenError::Issuer(theirs) => refused(format!(
            "the token was issued by {theirs}, but LATCHKEY_ISSUER is {issuer}"
        )),
        TokenError::Audience(theirs) => refused(format!(
            "the audience is {theirs}, but LATCHKEY_AUDIENCE is {audience}"
        )),
        TokenError::NotYetValid(begins) => refused(format!(
            "the token is valid from {}, which is more than LATCHKEY_CLOCK_SKEW ({clock_skew} s) \
             in the future",
            second(*begins)
        )),
    }
}

/// A text with the mark of refresh tokens that was not made under this secret.
pub fn strange_refresh_token() -> Explanation {
    refused(
        "the text has the prefix of a refresh token, but was modified or issued under another \
         LATCHKEY_SECRET",
    )
}

/// A text with the mark of personal access tokens that was not made here.
pub fn strange_personal_token() -> Explanation {
    refused(
        "the text has the prefix of a personal access token, but was modified or not issued by \
         this server",
    )
}

/// A personal access token that the record does not have any more.
pub fn no_personal_token(deleted: Option<RevocationRecord>) -> Explanation {
    refused(match deleted {
        Some(deleted) => format!("this token was revoked {}", told(deleted)),
        None => {
            "PostgreSQL does not contain this personal access token; the token or its user was \
                 deleted earlier"
                .to_owned()
        }
    })
}

/// A token that was good until its `exp`.
pub fn expired(claims: &Claims) -> Explanation {
    refused(format!("the token expired at {}", second(claims.exp)))
}

/// An access token whose signature and times are right.
pub fn access(claims: &Claims, known: &Evidence, denylist: DenylistState) -> Explanation {
    let by_holder = match claims.holder() {
        Holder::User { sid } => by_account(known)
            .or_else(|| by_session(known, sid))
            .or_else(|| by_generation(known, "user", known.account?.generation, claims.generation)),
        Holder::PersonalAccessToken => by_account(known)
            .or_else(|| by_generation(known, "user", known.account?.generation, claims.generation)),
        Holder::Client => by_client(known, claims.generation),
    };
    let by_record = by_holder
        .or_else(|| {
            known
                .token
                .map(|ended| format!("this token was revoked {}", told(ended)))
        })
        .or_else(|| {
            known
                .key
                .map(|ended| format!("the signing key was revoked {}", told(ended)))
        });
    match (by_record, denylist) {
        (Some(why), DenylistState::Listed(_)) => refused(why),
        (Some(why), DenylistState::NotListed) => refused(format!(
            "{why}; the revocation log in Redis does not contain the revocation yet"
        )),
        (Some(why), DenylistState::LogLost) => {
            refused(format!("{why}; Redis has lost the revocation log"))
        }
        (Some(why), DenylistState::Unreachable) => {
            refused(format!("{why}; Redis does not respond"))
        }
        (None, DenylistState::Listed(subject)) => {
            let what = listed(subject);
            refused(format!(
                "the revocation log in Redis contains {what}, but PostgreSQL contains no revocation"
            ))
        }
        (None, DenylistState::NotListed) => passes(claims, ""),
        (None, DenylistState::LogLost) => passes(
            claims,
            "; only PostgreSQL was checked, because Redis has lost the revocation log",
        ),
        (None, DenylistState::Unreachable) => passes(
            claims,
            "; only PostgreSQL was checked, because Redis does not respond",
        ),
    }
}

fn passes(claims: &Claims, but: &str) -> Explanation {
    let what = match claims.holder() {
        Holder::User { .. } if claims.client_id == BROWSER_CLIENT => "a session cookie",
        Holder::User { .. } => "an access token",
        Holder::Client => "an access token of an OAuth client",
        Holder::PersonalAccessToken => "a personal access token",
    };
    good(format!(
        "the token is {what} and expires at {}{but}",
        second(claims.exp)
    ))
}

/// A refresh token that was made under this secret. `now` is in ms since the epoch.
pub fn refresh(
    token: &RefreshToken,
    known: &Evidence,
    redis: &CacheReading<Option<CachedSession>>,
    lifetimes: Lifetimes,
    now: u64,
) -> Explanation {
    let Some(session) = known.session else {
        return refused(
            by_account(known)
                .unwrap_or_else(|| format!("PostgreSQL does not contain session {}", token.sid)),
        );
    };
    let by_record = by_account(known)
        .or_else(|| by_session(known, token.sid))
        .or_else(|| by_generation(known, "user", known.account?.generation, session.generation))
        .or_else(|| by_time(&session, lifetimes.idle, now / 1000));
    match (by_record, redis) {
        (Some(why), CacheReading::Read(Some(remembered))) if lets_pass(remembered) => {
            refused(format!("{why}; Redis does not contain the revocation yet"))
        }
        (Some(why), _) => refused(why),
        (None, CacheReading::Unreachable) => refused(
            "PostgreSQL accepts the token, but Redis does not respond, and a refresh requires \
             Redis",
        ),
        (
            None,
            CacheReading::Read(Some(CachedSession {
                ended: Some(word), ..
            })),
        ) => refused(format!(
            "the session was revoked in Redis ({}), but not yet in PostgreSQL",
            Reason::from_name(word).map_or("reason unknown to this version", Reason::told)
        )),
        (None, CacheReading::Read(Some(remembered)))
            if remembered.at_home && !lets_pass(remembered) =>
        {
            refused("all sessions of the user were revoked in Redis, but not in PostgreSQL")
        }
        (None, CacheReading::Read(remembered)) => {
            let (counter, reached_at) = current(token, &session, remembered.as_ref());
            by_counter(token, counter, reached_at, lifetimes.grace, now)
        }
    }
}

/// The counter that a presented token is compared with, and when it was reached (ms): that of Redis
/// where it is at home, else the larger of what is known, as adoption takes it.
fn current(
    token: &RefreshToken,
    session: &SessionEvidence,
    remembered: Option<&CachedSession>,
) -> (u64, u64) {
    let recorded = (session.counter, session.refreshed_at * 1000);
    let (counter, at) = match remembered {
        Some(remembered) if remembered.at_home => {
            return (remembered.counter, remembered.rotated_at);
        }
        Some(remembered) if remembered.counter > session.counter => {
            (remembered.counter, remembered.rotated_at)
        }
        _away => recorded,
    };
    // Only we can have made the token: where the record is late, its counter was reached all the
    // same.
    (counter.max(token.counter), at)
}

fn by_account(known: &Evidence) -> Option<String> {
    let at = known
        .closed_at
        .map(|at| format!(" at {}", moment(at)))
        .unwrap_or_default();
    match known.account {
        None => Some(format!("the user was deleted{at}")),
        Some(account) if account.disabled => Some(format!("the user was disabled{at}")),
        Some(_) => None,
    }
}

fn by_session(known: &Evidence, sid: uuid::Uuid) -> Option<String> {
    let ended = known.session.and_then(|session| session.ended)?;
    Some(format!("session {sid} was revoked {}", told(ended)))
}

fn by_client(known: &Evidence, generation: i64) -> Option<String> {
    match known.client {
        None => Some("the OAuth client was deleted".to_owned()),
        Some(current) => by_generation(known, "OAuth client", current, generation),
    }
}

/// `whose` is the account or the client, which is of the current generation.
fn by_generation(known: &Evidence, whose: &str, current: i64, generation: i64) -> Option<String> {
    let by = known
        .everything
        .map(|ended| format!(" {}", told(ended)))
        .unwrap_or_default();
    (generation < current).then(|| {
        format!(
            "all tokens of the {whose} were revoked{by}; the token has generation {generation}, \
             the {whose} has {current}"
        )
    })
}

/// The two ends of a session. `idle` and `now` are in seconds.
fn by_time(session: &SessionEvidence, idle: u64, now: u64) -> Option<String> {
    let idle_end = session.refreshed_at + idle;
    match () {
        () if session.ends_at <= now => Some(format!(
            "the session expired at {}",
            second(session.ends_at)
        )),
        () if idle_end <= now => Some(format!(
            "the session was last refreshed at {}, and expired at {} \
             (LATCHKEY_SESSION_IDLE_TIMEOUT)",
            second(session.refreshed_at),
            second(idle_end)
        )),
        () => None,
    }
}

/// `rotated_at` and `now` are in ms, `grace` in seconds.
fn by_counter(
    token: &RefreshToken,
    current: u64,
    rotated_at: u64,
    grace: u64,
    now: u64,
) -> Explanation {
    let presented = token.counter;
    if presented == current {
        return good("this is the current refresh token of the session");
    }
    if presented + 1 == current && now < rotated_at + grace * 1000 {
        return good(format!(
            "this is the previous refresh token of the session; it returns the same new tokens \
             until {}",
            second((rotated_at + grace * 1000) / 1000)
        ));
    }
    refused(format!(
        "this is refresh token {presented} of the session, and the current one is {current}; it \
         was used before, and another use revokes the session"
    ))
}

/// Whether Redis, as far as it may be relied on, has nothing against the session.
fn lets_pass(remembered: &CachedSession) -> bool {
    let (session, account) = remembered.generations;
    remembered.at_home && remembered.ended.is_none() && session >= account
}

#[cfg(test)]
#[path = "explanation_tests.rs"]
mod tests;
