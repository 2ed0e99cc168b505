//! The decisions of the key worker: when to reload the keys, when to create the next key, and
//! which changes to log.

use std::time::Duration;

use super::{KeyRotationPolicy, ScheduledKey};
use crate::access_token::Kid;

/// Maximum interval between two reloads, in milliseconds.
///
/// A key is published for longer before it signs, so that each replica loads it in time.
const MAX_RELOAD_INTERVAL_MS: u64 = 30_000;

/// Reloads within the `max-age` of the JWK set (RFC 7517).
///
/// A short `max-age` therefore shortens the interval.
const RELOADS_PER_MAX_AGE: u64 = 10;

/// The next action of the key worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyWorkerAction {
    /// Wait for this time, or until a key is revoked.
    Wait(Duration),
    /// Reload the keys from PostgreSQL.
    Reload,
    /// Create the next key, unless another replica was faster.
    CreateNextKey,
}

/// The state machine of the key worker.
///
/// A round reloads the keys and creates at most one key. A failed action ends the round, so that
/// the worker waits before the next query.
#[derive(Debug, Clone, Copy)]
pub struct KeyWorker {
    policy: KeyRotationPolicy,
    step: Step,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Wait,
    Reload,
    Create,
    /// Reloads the keys after a creation, also if another replica created the key.
    ReloadCreated,
}

impl KeyWorker {
    /// Creates a worker that waits first, because the start has loaded the keys.
    pub fn new(policy: KeyRotationPolicy) -> KeyWorker {
        KeyWorker {
            policy,
            step: Step::Wait,
        }
    }

    /// Returns the action to perform.
    pub fn action(&self) -> KeyWorkerAction {
        match self.step {
            Step::Wait => KeyWorkerAction::Wait(self.reload_interval()),
            Step::Reload | Step::ReloadCreated => KeyWorkerAction::Reload,
            Step::Create => KeyWorkerAction::CreateNextKey,
        }
    }

    /// Selects the next action after the current one has finished.
    ///
    /// `keys` are the keys in memory, and `now` is in milliseconds since the Unix epoch.
    pub fn on_finished(
        &mut self,
        has_succeeded: bool,
        keys: &[ScheduledKey],
        now: u64,
    ) -> KeyWorkerAction {
        self.step = match self.step {
            Step::Wait => Step::Reload,
            Step::Reload if has_succeeded && self.policy.due(keys, now).is_some() => Step::Create,
            Step::Create if has_succeeded => Step::ReloadCreated,
            Step::Reload | Step::Create | Step::ReloadCreated => Step::Wait,
        };
        self.action()
    }

    fn reload_interval(&self) -> Duration {
        let interval = self.policy.max_age / RELOADS_PER_MAX_AGE;
        Duration::from_millis(interval.min(MAX_RELOAD_INTERVAL_MS))
    }
}

/// The result of a round, as far as it is logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyWorkerReport {
    /// The key that signs, if there is one.
    pub signer: Option<Kid>,
    /// Whether a key that signs now or later is encrypted with another master secret.
    pub has_undecryptable_key: bool,
    /// Whether an action of the round failed.
    pub has_failed: bool,
}

/// A change that the key worker logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyChange {
    /// Another key signs.
    SignerActive(Kid),
    /// A key that signs now or later can't be decrypted.
    KeyUndecryptable,
    /// An action failed.
    RoundFailed,
}

impl KeyWorkerReport {
    /// Returns the changes since the previous round.
    ///
    /// Only changes are logged, because an outage would otherwise repeat a line in each round.
    pub fn changes_since(&self, previous: &KeyWorkerReport) -> Vec<KeyChange> {
        let new_signer = self
            .signer
            .filter(|_| self.signer != previous.signer)
            .map(KeyChange::SignerActive);
        let is_undecryptable = self.has_undecryptable_key && !previous.has_undecryptable_key;
        let is_failure = self.has_failed && !previous.has_failed;
        [
            new_signer,
            is_undecryptable.then_some(KeyChange::KeyUndecryptable),
            is_failure.then_some(KeyChange::RoundFailed),
        ]
        .into_iter()
        .flatten()
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        KeyWorkerAction::{CreateNextKey, Reload},
        *,
    };

    /// A key signs for 100 s and is published for 20 s before it signs.
    const POLICY: KeyRotationPolicy = KeyRotationPolicy {
        rotation: 100_000,
        max_age: 10_000,
    };

    /// A tenth of the `max-age`.
    const WAIT: KeyWorkerAction = KeyWorkerAction::Wait(Duration::from_secs(1));

    const NOT_DUE: u64 = 79_999;
    const DUE: u64 = 80_000;

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

    /// Returns the first action, and the action after each finished one.
    fn actions(keys: &[ScheduledKey], finished: &[(bool, u64)]) -> Vec<KeyWorkerAction> {
        let mut worker = KeyWorker::new(POLICY);
        let mut actions = vec![worker.action()];
        for (has_succeeded, now) in finished {
            actions.push(worker.on_finished(*has_succeeded, keys, *now));
            assert_eq!(actions.last(), Some(&worker.action()));
        }
        actions
    }

    #[test]
    fn round_creates_a_key_exactly_when_due() {
        let current = [key(1, 0, None)];
        assert_eq!(
            actions(&current, &[(true, NOT_DUE), (true, NOT_DUE)]),
            [WAIT, Reload, WAIT]
        );
        assert_eq!(
            actions(&current, &[(true, DUE), (true, DUE)]),
            [WAIT, Reload, CreateNextKey]
        );
        // The key becomes due during the reload.
        assert_eq!(
            actions(&current, &[(true, NOT_DUE), (true, DUE)]),
            [WAIT, Reload, CreateNextKey]
        );
    }

    /// With a clock ahead of PostgreSQL, the replica requests a key that PostgreSQL rejects.
    #[test]
    fn rejected_key_is_requested_once_per_round() {
        let still_due = [(true, DUE); 6];
        assert_eq!(
            actions(&[key(1, 0, None)], &still_due),
            [
                WAIT,
                Reload,
                CreateNextKey,
                Reload,
                WAIT,
                Reload,
                CreateNextKey
            ]
        );
    }

    #[test]
    fn failed_action_ends_the_round() {
        let current = [key(1, 0, None)];
        assert_eq!(
            actions(&current, &[(true, DUE), (false, DUE), (true, DUE)]),
            [WAIT, Reload, WAIT, Reload],
            "reload failed"
        );
        assert_eq!(
            actions(
                &current,
                &[(true, DUE), (true, DUE), (false, DUE), (true, DUE)]
            ),
            [WAIT, Reload, CreateNextKey, WAIT, Reload],
            "creation failed"
        );
        assert_eq!(
            actions(
                &current,
                &[
                    (true, DUE),
                    (true, DUE),
                    (true, DUE),
                    (false, DUE),
                    (true, DUE)
                ]
            ),
            [WAIT, Reload, CreateNextKey, Reload, WAIT, Reload],
            "second reload failed"
        );
    }

    #[test]
    fn revoked_signer_without_successor_creates_no_key() {
        let revoked = [key(1, 0, Some(50_000))];
        assert_eq!(
            actions(&revoked, &[(true, DUE), (true, DUE)]),
            [WAIT, Reload, WAIT],
            "the revocation itself creates the successor"
        );
        // The next key signs early, so the rotation counts from its own start.
        let with_next = [key(1, 0, Some(50_000)), key(2, 100_000, None)];
        assert_eq!(
            actions(&with_next, &[(true, DUE), (true, DUE)]),
            [WAIT, Reload, WAIT]
        );
    }

    #[test]
    fn reload_interval_follows_the_max_age() {
        for (max_age, interval) in [
            (1_000, 100),
            (10_000, 1_000),
            (300_000, 30_000),
            (3_600_000, 30_000),
        ] {
            let worker = KeyWorker::new(KeyRotationPolicy { max_age, ..POLICY });
            assert_eq!(
                worker.action(),
                KeyWorkerAction::Wait(Duration::from_millis(interval)),
                "{max_age}"
            );
        }
    }

    #[test]
    fn only_changes_are_logged() {
        let signer = |number| KeyWorkerReport {
            signer: Some(kid(number)),
            ..KeyWorkerReport::default()
        };
        let failed = KeyWorkerReport {
            has_failed: true,
            ..signer(1)
        };
        let undecryptable = KeyWorkerReport {
            has_undecryptable_key: true,
            ..failed
        };
        let no_signer = KeyWorkerReport::default();
        for (before, after, changes) in [
            (signer(1), signer(1), vec![]),
            (signer(1), signer(2), vec![KeyChange::SignerActive(kid(2))]),
            (signer(1), no_signer, vec![]),
            (no_signer, signer(1), vec![KeyChange::SignerActive(kid(1))]),
            (signer(1), failed, vec![KeyChange::RoundFailed]),
            (failed, failed, vec![]),
            (failed, signer(1), vec![]),
            (failed, undecryptable, vec![KeyChange::KeyUndecryptable]),
            (undecryptable, undecryptable, vec![]),
            (
                no_signer,
                undecryptable,
                vec![
                    KeyChange::SignerActive(kid(1)),
                    KeyChange::KeyUndecryptable,
                    KeyChange::RoundFailed,
                ],
            ),
        ] {
            assert_eq!(after.changes_since(&before), changes, "{before:?}");
        }
    }
}
