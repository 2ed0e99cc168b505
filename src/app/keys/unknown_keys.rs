//! Decides about tokens whose key isn't among the keys that verify. Without I/O.

use latchkey_domain::access_token::{Kid, TokenError};
use quick_cache::sync::Cache;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{app::keys::KeySnapshot, error::Error};

/// Token checks that can wait for a reload at the same time. Further checks fail immediately with
/// `busy`.
const MAX_WAITING_CHECKS: usize = 1024;

/// Unknown key IDs in the cache.
const UNKNOWN_KID_CACHE_SIZE: usize = 1024;

/// The unknown key IDs, and the checks that wait for a reload.
pub struct UnknownKeys {
    /// Key IDs of tokens that matched no key in PostgreSQL. They never will, because a key ID is
    /// derived from the key, and a key is stored before it signs.
    kids: Cache<Kid, ()>,
    waiting: Semaphore,
}

impl Default for UnknownKeys {
    fn default() -> UnknownKeys {
        UnknownKeys {
            kids: Cache::new(UNKNOWN_KID_CACHE_SIZE),
            waiting: Semaphore::new(MAX_WAITING_CHECKS),
        }
    }
}

impl UnknownKeys {
    /// Decides whether the check of a token waits for a reload, at `now` (ms since the epoch). The
    /// check keeps the permit while it waits.
    ///
    /// # Errors
    /// `unavailable`, if the keys aren't loaded yet. `token_revoked` and `invalid_token`, if no
    /// reload can make the key valid. `busy`, if too many checks wait.
    pub fn on_unknown_key(
        &self,
        keys: &KeySnapshot,
        kid: Kid,
        now: u64,
    ) -> Result<SemaphorePermit<'_>, Error> {
        keys.require_loaded()?;
        if keys.is_revoked(kid) {
            return Err(Error::TokenRevoked);
        }
        if keys.is_expired(kid, now) || self.kids.get(&kid).is_some() {
            return Err(Error::InvalidToken);
        }
        self.waiting.try_acquire().map_err(|_| Error::Busy)
    }

    /// Decides the check of a token after a reload. `verified` is the result with the new `keys`.
    ///
    /// # Errors
    /// `invalid_token`, `token_revoked`.
    pub fn on_reloaded<T>(
        &self,
        keys: &KeySnapshot,
        kid: Kid,
        verified: Result<T, TokenError>,
    ) -> Result<T, Error> {
        match verified {
            Ok(verified) => Ok(verified),
            Err(TokenError::UnknownKey(_)) if keys.is_revoked(kid) => Err(Error::TokenRevoked),
            Err(TokenError::UnknownKey(_)) => {
                self.kids.insert(kid, ());
                Err(Error::InvalidToken)
            }
            Err(_) => Err(Error::InvalidToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap};

    use latchkey_domain::key_schedule::ScheduledKey;

    use super::*;
    use crate::error::Code;

    const NOW: u64 = 1_800_000_000_000;

    const YEAR_MS: u64 = 31_536_000_000;

    fn kid(number: u32) -> Kid {
        format!("{number:0>16}").parse().unwrap()
    }

    fn key(number: u32, signs_from: u64, revoked_at: Option<u64>) -> ScheduledKey {
        ScheduledKey {
            kid: kid(number),
            signs_from,
            revoked_at,
        }
    }

    fn snapshot(schedule: Vec<ScheduledKey>, revoked: &[Kid]) -> KeySnapshot {
        let revoked: BTreeSet<Kid> = revoked.iter().copied().collect();
        KeySnapshot::new(schedule, HashMap::new(), revoked, NOW)
    }

    /// An expired key (1), the current key (2), a key that PostgreSQL lists as revoked (3), and a
    /// key whose revocation arrived before the key (4).
    fn loaded() -> KeySnapshot {
        let schedule = vec![
            key(1, NOW - 2 * YEAR_MS, None),
            key(2, NOW - YEAR_MS, None),
            key(3, NOW - 5_000, Some(NOW - 5_000)),
        ];
        snapshot(schedule, &[kid(4)])
    }

    /// The error code of a rejection; `None` if the check waits for a reload.
    fn rejection(unknown_keys: &UnknownKeys, keys: &KeySnapshot, number: u32) -> Option<Code> {
        let decision = unknown_keys.on_unknown_key(keys, kid(number), NOW);
        decision.err().map(|error| error.code())
    }

    #[test]
    fn only_a_key_that_can_exist_causes_a_reload() {
        let unknown_keys = UnknownKeys::default();
        for (number, expected) in [
            (1, Some(Code::InvalidToken)),
            (3, Some(Code::TokenRevoked)),
            (4, Some(Code::TokenRevoked)),
            (9, None),
        ] {
            let rejected = rejection(&unknown_keys, &loaded(), number);
            assert_eq!(rejected, expected, "{number}");
        }
        assert_eq!(
            rejection(&unknown_keys, &snapshot(Vec::new(), &[kid(4)]), 4),
            Some(Code::Unavailable),
            "no keys are loaded"
        );
    }

    #[test]
    fn unknown_key_id_is_cached_after_a_reload() {
        let unknown_keys = UnknownKeys::default();
        let after_reload = |number, result: Result<(), TokenError>| {
            let decision = unknown_keys.on_reloaded(&loaded(), kid(number), result);
            decision.err().map(|error| error.code())
        };
        let unknown = |number| Err(TokenError::UnknownKey(Some(kid(number))));
        for (number, verified, expected, is_cached) in [
            (7, Ok(()), None, false),
            (
                8,
                Err(TokenError::Signature),
                Some(Code::InvalidToken),
                false,
            ),
            (4, unknown(4), Some(Code::TokenRevoked), false),
            (9, unknown(9), Some(Code::InvalidToken), true),
        ] {
            assert_eq!(after_reload(number, verified), expected, "{number}");
            let cached = unknown_keys.kids.get(&kid(number)).is_some();
            assert_eq!(cached, is_cached, "{number}");
        }
        assert_eq!(
            rejection(&unknown_keys, &loaded(), 9),
            Some(Code::InvalidToken),
            "without another reload"
        );
    }

    #[test]
    fn checks_beyond_the_limit_are_rejected_until_one_finishes() {
        let (unknown_keys, keys) = (UnknownKeys::default(), loaded());
        let mut permits: Vec<_> = (0..MAX_WAITING_CHECKS)
            .map(|_| unknown_keys.on_unknown_key(&keys, kid(9), NOW).unwrap())
            .collect();
        assert_eq!(rejection(&unknown_keys, &keys, 9), Some(Code::Busy));
        permits.pop();
        assert_eq!(rejection(&unknown_keys, &keys, 9), None);
    }
}
