use proptest::prelude::*;

use super::*;

const START: u64 = 1_800_000_000_000;

/// The maximum lifetime of an access token, in ms.
const MAX_TOKEN_LIFETIME_MS: u64 = 3_600_000;

/// An event that can change the keys.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A replica checks whether a new key is due.
    Poll,
    /// The operator requests a new key.
    Rotate,
    /// The operator revokes the n-th of the existing keys.
    Revoke(usize),
    /// The cleanup worker deletes expired keys.
    Cleanup,
}

/// A model of the keys in PostgreSQL and of the transactions that change them.
struct KeyTable {
    keys: Vec<ScheduledKey>,
    created: u32,
    /// The time at which each key was published.
    published: Vec<(Kid, u64)>,
    /// The revoked keys.
    revoked: Vec<Kid>,
    policy: KeyRotationPolicy,
}

fn kid(number: u32) -> Kid {
    format!("{number:0>16}").parse().unwrap()
}

impl KeyTable {
    fn new(policy: KeyRotationPolicy) -> KeyTable {
        let mut table = KeyTable {
            keys: Vec::new(),
            created: 0,
            published: Vec::new(),
            revoked: Vec::new(),
            policy,
        };
        table.create(START, 0);
        table
    }

    fn create(&mut self, now: u64, delay: u64) {
        self.created += 1;
        self.published.push((kid(self.created), now));
        self.keys.push(ScheduledKey {
            kid: kid(self.created),
            signs_from: now + delay,
            revoked_at: None,
        });
    }

    fn apply(&mut self, event: Event, now: u64) {
        match event {
            Event::Poll => {
                if let Some(delay) = self.policy.due(&self.keys, now) {
                    self.create(now, delay);
                }
            }
            Event::Rotate => {
                if let Some(delay) = self.policy.delay_on_request(&self.keys, now) {
                    self.create(now, delay);
                }
            }
            Event::Revoke(index) => self.revoke(self.keys[index % self.keys.len()].kid, now),
            Event::Cleanup => {
                let keys = self.keys.clone();
                self.keys
                    .retain(|key| state(&keys, key, now) != KeyState::Expired);
            }
        }
    }

    fn revoke(&mut self, kid: Kid, now: u64) {
        let KeyRevocation::Revoke(successor) = decide_revocation(&self.keys, kid, now) else {
            return;
        };
        self.revoked.push(kid);
        self.key(kid).revoked_at = Some(now);
        match successor {
            KeySuccessor::Unchanged => {}
            KeySuccessor::NextKey(next) => self.key(next).signs_from = now,
            KeySuccessor::NewKey => self.create(now, 0),
        }
    }

    fn key(&mut self, kid: Kid) -> &mut ScheduledKey {
        let mut keys = self.keys.iter_mut();
        keys.find(|key| key.kid == kid).unwrap()
    }

    fn states(&self, now: u64) -> Vec<KeyState> {
        self.keys
            .iter()
            .map(|key| state(&self.keys, key, now))
            .collect()
    }
}

fn events() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => Just(Event::Poll),
        2 => Just(Event::Rotate),
        1 => (0usize..8).prop_map(Event::Revoke),
        2 => Just(Event::Cleanup),
    ]
}

fn policies() -> impl Strategy<Value = KeyRotationPolicy> {
    (0u64..100_000_000, 1_000u64..3_600_000)
        .prop_map(|(rotation, max_age)| KeyRotationPolicy { rotation, max_age })
}

/// Delays between two events: short and long ones.
fn delays() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, 0u64..10_000, 0u64..8_000_000]
}

proptest! {
    #[test]
    fn one_key_signs_and_its_tokens_verify_until_they_expire(
        policy in policies(),
        history in proptest::collection::vec((events(), delays()), 1..40),
    ) {
        let (mut table, mut now) = (KeyTable::new(policy), START);
        // The key and the expiry of each issued token.
        let mut tokens: Vec<(Kid, u64)> = Vec::new();
        for (event, delay) in history {
            now += delay;
            table.apply(event, now);
            let states = table.states(now);
            prop_assert_eq!(
                states
                    .iter()
                    .filter(|state| **state == KeyState::Current)
                    .count(),
                1,
                "{:?}",
                table.keys
            );
            prop_assert!(
                states
                    .iter()
                    .filter(|state| **state == KeyState::Next)
                    .count()
                    <= 1,
                "{:?}",
                table.keys
            );
            let current = *find_signer(&table.keys, now).unwrap();
            prop_assert!(current.revoked_at.is_none());
            tokens.push((current.kid, now + MAX_TOKEN_LIFETIME_MS));
            tokens.retain(|(_, exp)| *exp > now);
            for (kid, _) in &tokens {
                let key = table.keys.iter().find(|key| key.kid == *kid);
                let verifies = key.is_some_and(|key| state(&table.keys, key, now).verifies());
                prop_assert!(
                    verifies || table.revoked.contains(kid),
                    "{kid} of {:?} at {now}",
                    table.keys
                );
            }
        }
    }

    #[test]
    fn key_is_published_for_twice_the_max_age_before_it_signs(
        policy in policies(),
        history in proptest::collection::vec((any::<bool>(), delays()), 1..60),
    ) {
        let (mut table, mut now) = (KeyTable::new(policy), START);
        for (rotate, delay) in history {
            now += delay;
            table.apply(if rotate { Event::Rotate } else { Event::Poll }, now);
            let (kid, published) = table.published[table.published.len() - 1];
            let key = table.keys.iter().find(|key| key.kid == kid).unwrap();
            prop_assert!(kid == self::kid(1) || key.signs_from >= published + 2 * policy.max_age);
        }
    }

    #[test]
    fn rotation_is_late_by_at_most_the_lead(
        policy in policies(),
        polls in 1usize..200,
    ) {
        let policy = KeyRotationPolicy { rotation: policy.rotation.max(1), ..policy };
        let (mut table, mut now) = (KeyTable::new(policy), START);
        for _ in 0..polls {
            now += 30_000;
            table.apply(Event::Poll, now);
            let signs_from = find_signer(&table.keys, now).unwrap().signs_from;
            prop_assert!(now - signs_from <= policy.rotation + policy.lead() + 30_000);
        }
    }
}

fn key(number: u32, signs_from: u64, revoked_at: Option<u64>) -> ScheduledKey {
    ScheduledKey {
        kid: kid(number),
        signs_from: START + signs_from,
        revoked_at: revoked_at.map(|at| START + at),
    }
}

#[test]
fn key_passes_through_all_states() {
    let keys = [key(1, 0, None), key(2, 1_000, None)];
    let at = |index: usize, time: u64| state(&keys, &keys[index], START + time);
    assert_eq!((at(0, 0), at(1, 0)), (KeyState::Current, KeyState::Next));
    assert_eq!(
        (at(0, 999), at(1, 999)),
        (KeyState::Current, KeyState::Next)
    );
    assert_eq!(
        (at(0, 1_000), at(1, 1_000)),
        (KeyState::Retiring, KeyState::Current)
    );
    assert_eq!(
        (
            at(0, 1_000 + VERIFY_AFTER_RETIREMENT_MS - 1),
            at(1, 1_000 + VERIFY_AFTER_RETIREMENT_MS)
        ),
        (KeyState::Retiring, KeyState::Current)
    );
    assert_eq!(at(0, 1_000 + VERIFY_AFTER_RETIREMENT_MS), KeyState::Expired);
}

/// A replica can receive the revocation of a key before it has read the next key.
#[test]
fn next_key_replaces_revoked_signer_before_its_start() {
    let (old, revoked, next) = (
        key(1, 0, None),
        key(2, 1_000, Some(2_000)),
        key(3, 9_000, None),
    );
    assert_eq!(find_signer(&[old, revoked], START + 3_000), None);
    assert_eq!(
        find_signer(&[old, revoked, next], START + 3_000),
        Some(&next)
    );
    assert_eq!(
        state(&[old, revoked, next], &revoked, START + 3_000),
        KeyState::Revoked
    );
    assert_eq!(
        state(
            &[old, revoked, next],
            &revoked,
            START + 2_000 + VERIFY_AFTER_RETIREMENT_MS
        ),
        KeyState::Expired
    );
}

#[test]
fn key_revoked_before_its_start_replaces_no_key() {
    let (current, revoked) = (key(1, 0, None), key(2, 1_000, Some(500)));
    assert_eq!(
        find_signer(&[current, revoked], START + 5_000),
        Some(&current)
    );
    assert_eq!(find_end(&[current, revoked], &current), None);
}

/// The clock of the replica is behind that of PostgreSQL.
#[test]
fn clock_behind_postgres_signs_with_first_key() {
    let first = key(1, 60_000, None);
    assert_eq!(find_signer(&[first], START), Some(&first));
}

/// A key signs for 100 s and is published for 20 s before it signs.
const POLICY: KeyRotationPolicy = KeyRotationPolicy {
    rotation: 100_000,
    max_age: 10_000,
};

#[test]
fn next_key_is_due_at_the_lead_before_rotation() {
    let current = key(1, 0, None);
    let revoked_next = key(2, 100_000, Some(50_000));
    let next = key(3, 100_000, None);
    // The time, the keys, and the delay of the new key.
    for (now, keys, delay) in [
        (0, vec![current], None),
        (79_999, vec![current], None),
        (80_000, vec![current], Some(20_000)),
        (90_000, vec![current], Some(20_000)),
        (900_000, vec![current], Some(20_000)),
        (80_000, vec![current, next], None),
        (80_000, vec![current, revoked_next], Some(20_000)),
        (80_000, vec![], None),
        (80_000, vec![key(1, 0, Some(70_000))], None),
    ] {
        assert_eq!(POLICY.due(&keys, START + now), delay, "{now}: {keys:?}");
    }
}

/// The first key starts to sign at the time of PostgreSQL, and the replica has another time.
#[test]
fn clock_difference_shifts_the_due_time_only() {
    let first = key(1, 60_000, None);
    for (now, delay) in [
        (0, None),
        (59_999, None),
        (139_999, None),
        (140_000, Some(20_000)),
    ] {
        assert_eq!(POLICY.due(&[first], START + now), delay, "{now}");
    }
}

#[test]
fn requested_key_is_created_unless_a_next_key_exists() {
    let (current, next) = (key(1, 0, None), key(2, 30_000, None));
    for (now, keys, delay) in [
        (0, vec![current], Some(20_000)),
        (29_999, vec![current, next], None),
        (30_000, vec![current, next], Some(20_000)),
        (0, vec![current, key(2, 30_000, Some(0))], Some(20_000)),
    ] {
        assert_eq!(
            POLICY.delay_on_request(&keys, START + now),
            delay,
            "{now}: {keys:?}"
        );
    }
}

#[test]
fn revocation_of_the_signer_activates_a_successor() {
    let (retiring, current, next) = (key(1, 0, None), key(2, 10_000, None), key(3, 90_000, None));
    let revoked = key(4, 5_000, Some(6_000));
    let keys = [retiring, current, next, revoked];
    let revoke =
        |keys: &[ScheduledKey], number, now| decide_revocation(keys, kid(number), START + now);
    for (number, now, decision) in [
        (9, 20_000, KeyRevocation::UnknownKey),
        (4, 20_000, KeyRevocation::AlreadyRevoked),
        (1, 20_000, KeyRevocation::Revoke(KeySuccessor::Unchanged)),
        (3, 20_000, KeyRevocation::Revoke(KeySuccessor::Unchanged)),
        (
            2,
            20_000,
            KeyRevocation::Revoke(KeySuccessor::NextKey(kid(3))),
        ),
        (3, 90_000, KeyRevocation::Revoke(KeySuccessor::NewKey)),
    ] {
        assert_eq!(revoke(&keys, number, now), decision, "{number} at {now}");
    }
    assert_eq!(
        revoke(&[next], 3, 0),
        KeyRevocation::Revoke(KeySuccessor::NewKey),
        "a key that signs before its start is not its own successor"
    );
}

#[test]
fn scheduled_state_ends_at_takeover_or_expiry() {
    let (retiring, current, next) = (key(1, 0, None), key(2, 10_000, None), key(3, 90_000, None));
    let keys = [retiring, current, next, key(4, 5_000, Some(6_000))];
    let ends = keys
        .map(|key| find_state_end(&keys, &key, START + 20_000))
        .map(|end| end.map(|end| end - START));
    assert_eq!(
        ends,
        [
            Some(5_000 + VERIFY_AFTER_RETIREMENT_MS),
            Some(90_000),
            None,
            Some(6_000 + VERIFY_AFTER_RETIREMENT_MS)
        ]
    );
    assert_eq!(
        find_state_end(&[current], &current, START + 20_000),
        None,
        "no next key exists"
    );
}

#[test]
fn private_key_is_needed_until_the_key_stops_signing() {
    let needing = KeyState::VARIANTS
        .iter()
        .filter(|state| state.needs_private_key());
    assert!(needing.eq(&[KeyState::Next, KeyState::Current]));
}

#[test]
fn no_key_is_due_if_rotation_is_disabled() {
    let policy = KeyRotationPolicy {
        rotation: 0,
        max_age: 1_000,
    };
    assert_eq!(
        policy.due(&[key(1, 0, None)], START + 1_000_000_000_000),
        None
    );
}
