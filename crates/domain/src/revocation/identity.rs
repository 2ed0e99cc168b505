//! Changes of identities, which invalidate cached personal access tokens.
//!
//! A replica caches the claims of a personal access token, and with them the identity of its user.
//! The entry of a change contains the new version of the identity. It revokes nothing: a replica
//! that has applied it reads the token again before the next check.

use uuid::Uuid;

use super::{ENTRY_SECONDS, Entry, EntryState, Subject};

/// The version of the identity of a new user. No cached claims contain an earlier one.
const FIRST_VERSION: i64 = 1;

impl Entry {
    /// Returns the entry for an identity with this version, to publish at `now` (seconds since the
    /// Unix epoch).
    ///
    /// Returns `None` for the first version.
    pub fn of_identity(user_id: Uuid, version: i64, now: u64) -> Option<Entry> {
        (version > FIRST_VERSION).then_some(Entry {
            subject: Subject::Identity(user_id),
            state: EntryState {
                value: version,
                expires_at: now + ENTRY_SECONDS,
            },
        })
    }
}

/// Returns whether cached claims with this version of the identity can be used.
///
/// `entry_value` is the value of the user's entry in the revocation set. It is `None` if the set
/// contains no entry. The caller must read it while the replica holds a lease.
pub const fn is_identity_current(cached_version: i64, entry_value: Option<i64>) -> bool {
    match entry_value {
        Some(version) => cached_version >= version,
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::revocation::PERSONAL_ACCESS_TOKEN_SECONDS;

    #[test]
    fn later_version_invalidates_cached_claims() {
        for (cached, entry, is_current) in [
            (1, None, true),
            (1, Some(2), false),
            (2, Some(2), true),
            (3, Some(2), true),
        ] {
            assert_eq!(
                is_identity_current(cached, entry),
                is_current,
                "{cached} {entry:?}"
            );
        }
    }

    #[test]
    fn identity_entry_outlives_cached_token() {
        let entry = Entry::of_identity(Uuid::nil(), 2, 5).unwrap();
        assert_eq!(entry.state.value, 2);
        assert!(entry.state.expires_at > 5 + PERSONAL_ACCESS_TOKEN_SECONDS);
        assert_eq!(Entry::of_identity(Uuid::nil(), 1, 5), None);
    }
}
