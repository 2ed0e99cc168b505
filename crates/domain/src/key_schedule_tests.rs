use proptest::prelude::*;

use super::*;

const START: u64 = 1_800_000_000_000;

/// No access token lives longer, in ms.
const LONGEST_TOKEN: u64 = 3_600_000;

/// What happens to the keys.
#[derive(Debug, Clone, Copy)]
enum Happens {
    /// Some replica looks whether a key is due.
    Look,
    /// The operator wants a new key.
    Rotate,
    /// The operator takes back the n-th of those that are there.
    Revoke(usize),
    /// What is gone is removed.
    Tidy,
}

/// The record, as its transactions change it.
struct Record {
    keys: Vec<ScheduledKey>,
    made: u32,
    /// When each key was published.
    published: Vec<(Kid, u64)>,
    /// Those that were taken back.
    revoked: Vec<Kid>,
    pace: KeyRotationPolicy,
}

fn kid(number: u32) -> Kid {
    format!("{number:0>16}").parse().unwrap()
}

impl Record {
    fn new(pace: KeyRotationPolicy) -> Record {
        let mut record = Record {
            keys: Vec::new(),
            made: 0,
            published: Vec::new(),
            revoked: Vec::new(),
            pace,
        };
        record.make(START, 0);
        record
    }

    fn make(&mut self, now: u64, delay: u64) {
        self.made += 1;
        self.published.push((kid(self.made), now));
        self.keys.push(ScheduledKey {
            kid: kid(self.made),
            signs_from: now + delay,
            revoked_at: None,
        });
    }

    fn happen(&mut self, what: Happens, now: u64) {
        match what {
            Happens::Look => {
                if let Some(delay) = self.pace.due(&self.keys, now) {
                    self.make(now, delay);
                }
            }
            Happens::Rotate => {
                if waiting(&self.keys, now).is_none() {
                    self.make(now, self.pace.lead());
                }
            }
            Happens::Revoke(which) => self.revoke(which % self.keys.len(), now),
            Happens::Tidy => {
                let all = self.keys.clone();
                self.keys
                    .retain(|key| state(&all, key, now) != KeyState::Expired);
            }
        }
    }

    /// Whoever takes the signer back lets the next one sign, or makes one, in the same moment.
    fn revoke(&mut self, which: usize, now: u64) {
        let signed =
            signer(&self.keys, now).is_some_and(|signer| signer.kid == self.keys[which].kid);
        if self.keys[which].revoked_at.is_some() {
            return;
        }
        self.keys[which].revoked_at = Some(now);
        self.revoked.push(self.keys[which].kid);
        let next = waiting(&self.keys, now).map(|key| key.kid);
        match self.keys.iter_mut().find(|key| Some(key.kid) == next) {
            Some(next) if signed => next.signs_from = now,
            None if signed => self.make(now, 0),
            _others => {}
        }
    }

    fn states(&self, now: u64) -> Vec<KeyState> {
        self.keys
            .iter()
            .map(|key| state(&self.keys, key, now))
            .collect()
    }
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Look),
        2 => Just(Happens::Rotate),
        1 => (0usize..8).prop_map(Happens::Revoke),
        2 => Just(Happens::Tidy),
    ]
}

fn pace() -> impl Strategy<Value = KeyRotationPolicy> {
    (0u64..100_000_000, 1_000u64..3_600_000)
        .prop_map(|(rotation, max_age)| KeyRotationPolicy { rotation, max_age })
}

/// Moments that matter: short and long pauses.
fn pauses() -> impl Strategy<Value = u64> {
    prop_oneof![0u64..5, 0u64..10_000, 0u64..8_000_000]
}

proptest! {
    #[test]
    fn at_each_moment_one_key_signs_and_its_tokens_are_accepted_for_as_long_as_they_live(
        pace in pace(),
        story in proptest::collection::vec((happens(), pauses()), 1..40),
    ) {
        let (mut record, mut now) = (Record::new(pace), START);
        // Whatever was signed, by which key and until when it lives.
        let mut tokens: Vec<(Kid, u64)> = Vec::new();
        for (what, pause) in story {
            now += pause;
            record.happen(what, now);
            let states = record.states(now);
            prop_assert_eq!(
                states
                    .iter()
                    .filter(|state| **state == KeyState::Current)
                    .count(),
                1,
                "{:?}",
                record.keys
            );
            prop_assert!(
                states
                    .iter()
                    .filter(|state| **state == KeyState::Next)
                    .count()
                    <= 1,
                "{:?}",
                record.keys
            );
            let current = *signer(&record.keys, now).unwrap();
            prop_assert!(current.revoked_at.is_none());
            tokens.push((current.kid, now + LONGEST_TOKEN));
            tokens.retain(|(_, exp)| *exp > now);
            for (kid, _) in &tokens {
                let key = record.keys.iter().find(|key| key.kid == *kid);
                let good = key.is_some_and(|key| state(&record.keys, key, now).verifies());
                prop_assert!(
                    good || record.revoked.contains(kid),
                    "{kid} of {:?} at {now}",
                    record.keys
                );
            }
        }
    }

    #[test]
    fn a_key_is_published_for_the_age_of_what_others_keep_before_it_signs(
        pace in pace(),
        looks in proptest::collection::vec((any::<bool>(), pauses()), 1..60),
    ) {
        let (mut record, mut now) = (Record::new(pace), START);
        for (rotate, pause) in looks {
            now += pause;
            record.happen(if rotate { Happens::Rotate } else { Happens::Look }, now);
            let (kid, published) = record.published[record.published.len() - 1];
            let key = record.keys.iter().find(|key| key.kid == kid).unwrap();
            prop_assert!(kid == self::kid(1) || key.signs_from >= published + 2 * pace.max_age);
        }
    }

    #[test]
    fn a_rotation_that_is_looked_after_is_never_late_by_more_than_the_lead(
        pace in pace(),
        looks in 1usize..200,
    ) {
        let pace = KeyRotationPolicy { rotation: pace.rotation.max(1), ..pace };
        let (mut record, mut now) = (Record::new(pace), START);
        for _ in 0..looks {
            now += 30_000;
            record.happen(Happens::Look, now);
            let since = signer(&record.keys, now).unwrap().signs_from;
            prop_assert!(now - since <= pace.rotation + pace.lead() + 30_000);
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
fn a_key_goes_through_its_life() {
    let keys = [key(1, 0, None), key(2, 1_000, None)];
    let at = |number: usize, moment: u64| state(&keys, &keys[number], START + moment);
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

/// A replica hears that the key was taken back before it has read what follows it.
#[test]
fn where_the_signer_was_taken_back_the_next_one_signs_before_its_time_and_never_an_older_one() {
    let (old, revoked, next) = (
        key(1, 0, None),
        key(2, 1_000, Some(2_000)),
        key(3, 9_000, None),
    );
    assert_eq!(signer(&[old, revoked], START + 3_000), None);
    assert_eq!(signer(&[old, revoked, next], START + 3_000), Some(&next));
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
fn a_key_that_was_taken_back_before_its_time_follows_nobody() {
    let (current, revoked) = (key(1, 0, None), key(2, 1_000, Some(500)));
    assert_eq!(signer(&[current, revoked], START + 5_000), Some(&current));
    assert_eq!(ends_at(&[current, revoked], &current), None);
}

/// Its own clock is behind that of the record.
#[test]
fn a_replica_whose_clock_is_behind_signs_with_the_first_key() {
    let first = key(1, 60_000, None);
    assert_eq!(signer(&[first], START), Some(&first));
}

#[test]
fn without_a_rotation_nobody_makes_a_key() {
    let pace = KeyRotationPolicy {
        rotation: 0,
        max_age: 1_000,
    };
    assert_eq!(
        pace.due(&[key(1, 0, None)], START + 1_000_000_000_000),
        None
    );
}
