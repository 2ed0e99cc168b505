use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::revocation::{EntryState, Subject, lease::drained_at};

const LEASE: Duration = Duration::from_millis(250);
const OWN_ID: u8 = 0;

const ENTRY: Entry = Entry {
    subject: Subject::Session(Uuid::nil()),
    state: EntryState {
        value: EntryState::FLAG,
        expires_at: 0,
    },
};

type Action = RenewalAction<char, u8>;

fn position(epoch: char, applied: u64) -> LogPosition<char> {
    LogPosition { epoch, applied }
}

/// A replica that has applied three entries and begins a renewal.
fn renewer() -> LeaseRenewer<char, u8> {
    LeaseRenewer::at(Some(OWN_ID), position('a', 3))
}

fn page(numbers: impl IntoIterator<Item = u64>, last: u64) -> LogPage<u8> {
    LogPage {
        lease: LEASE,
        last,
        entries: numbers
            .into_iter()
            .map(|number| (number, Ok(ENTRY)))
            .collect(),
        members: Vec::new(),
    }
}

fn joined(epoch: char, applied: u64) -> JoinOutcome<char> {
    JoinOutcome::Joined {
        before: position(epoch, applied),
        lease: LEASE,
    }
}

fn extension(action: Action) -> Option<LeaseExtension<char, u8>> {
    match action {
        RenewalAction::Apply { extension, .. } => extension,
        other => panic!("{other:?}"),
    }
}

#[test]
fn first_renewal_joins_log_before_it_reads_entries() {
    let mut renewer = LeaseRenewer::<char, u8>::new(Some(OWN_ID));
    assert_eq!(renewer.begin(), RenewalAction::Join);
    assert_eq!(
        renewer.on_join(joined('a', 7)),
        RenewalAction::FollowLog {
            before: position('a', 7),
            lease: LEASE
        }
    );
    assert_eq!(
        renewer.next_action(),
        RenewalAction::Renew(position('a', 7))
    );
}

#[test]
fn applied_entries_are_acknowledged_by_another_request() {
    let mut renewer = renewer();
    assert_eq!(renewer.begin(), RenewalAction::Renew(position('a', 3)));
    let action = renewer.on_renewal(10, 20, RenewOutcome::Page(page([4, 5], 5)));
    let RenewalAction::Apply { entries, extension } = action else {
        panic!("{action:?}");
    };
    assert_eq!(entries, [(4, ENTRY), (5, ENTRY)]);
    let extension = extension.expect("the page reaches the end of the log");
    assert_eq!(extension.lease_end, Some(10 + 250_000_000));
    assert_eq!(
        (extension.acknowledged.epoch, extension.acknowledged.last),
        ('a', 5)
    );
    assert_eq!(
        renewer.next_action(),
        RenewalAction::Renew(position('a', 5))
    );
    extension_of_empty_page(&mut renewer);
    assert_eq!(
        renewer.next_action(),
        RenewalAction::Finish(LogHealth::Complete)
    );
    assert_eq!(renewer.begin(), RenewalAction::Renew(position('a', 5)));
}

fn extension_of_empty_page(renewer: &mut LeaseRenewer<char, u8>) {
    let action = renewer.on_renewal(30, 40, RenewOutcome::Page(page([], 5)));
    assert_eq!(
        extension(action).and_then(|extension| extension.lease_end),
        Some(30 + 250_000_000)
    );
}

#[test]
fn partial_page_does_not_extend_lease() {
    let mut renewer = renewer();
    renewer.begin();
    let action = renewer.on_renewal(10, 20, RenewOutcome::Page(page([4, 5], 9)));
    assert_eq!(extension(action), None);
    assert_eq!(
        renewer.next_action(),
        RenewalAction::Renew(position('a', 5))
    );
}

#[test]
fn reader_without_member_id_gets_no_lease() {
    let mut renewer = LeaseRenewer::<char, u8>::at(None, position('a', 3));
    renewer.begin();
    let action = renewer.on_renewal(10, 20, RenewOutcome::Page(page([], 3)));
    let extension = extension(action).expect("the page reaches the end of the log");
    assert_eq!(extension.lease_end, None);
}

#[test]
fn page_with_gap_is_discarded_and_log_read_again() {
    for (numbers, last) in [(vec![5], 5), (vec![], 9), (vec![], 2)] {
        let mut renewer = renewer();
        renewer.begin();
        let outcome = RenewOutcome::Page(page(numbers, last));
        assert_eq!(
            renewer.on_renewal(10, 20, outcome),
            RenewalAction::ForgetStream
        );
        assert_eq!(renewer.next_action(), RenewalAction::Join);
    }
}

#[test]
fn changed_epoch_joins_new_log_once_per_renewal() {
    let mut renewer = renewer();
    renewer.begin();
    assert_eq!(
        renewer.on_renewal(10, 20, RenewOutcome::EpochChanged),
        RenewalAction::Join
    );
    renewer.on_join(joined('b', 0));
    assert_eq!(
        renewer.next_action(),
        RenewalAction::Renew(position('b', 0))
    );
    assert_eq!(
        renewer.on_renewal(30, 40, RenewOutcome::EpochChanged),
        RenewalAction::Finish(LogHealth::Lost),
        "the log was replaced again"
    );
    assert_eq!(renewer.begin(), RenewalAction::Join);
}

#[test]
fn lost_log_is_joined_again_by_next_renewal() {
    let lost = RenewalAction::Finish(LogHealth::Lost);
    let mut renewer = renewer();
    renewer.begin();
    assert_eq!(renewer.on_renewal(10, 20, RenewOutcome::Lost), lost);
    assert_eq!(renewer.begin(), RenewalAction::Join);
    assert_eq!(renewer.on_join(JoinOutcome::Lost), lost);
    assert_eq!(renewer.begin(), RenewalAction::Join);
}

#[test]
fn eviction_and_failed_request_keep_position() {
    let evicting = RenewalAction::Finish(LogHealth::EvictionEnabled);
    let mut renewer = renewer();
    renewer.begin();
    assert_eq!(
        renewer.on_renewal(10, 20, RenewOutcome::EvictionEnabled),
        evicting
    );
    assert_eq!(renewer.begin(), RenewalAction::Renew(position('a', 3)));
    // The request fails, so there is no response.
    assert_eq!(renewer.begin(), RenewalAction::Renew(position('a', 3)));
    renewer.forget_position();
    assert_eq!(renewer.begin(), RenewalAction::Join);
    assert_eq!(renewer.on_join(JoinOutcome::EvictionEnabled), evicting);
}

#[test]
fn unknown_entry_is_not_applied_and_log_is_left() {
    let mut renewer = renewer();
    renewer.begin();
    let mut unknown = page([4, 5], 5);
    unknown.entries[1].1 = Err(UnknownEntry);
    assert_eq!(
        renewer.on_renewal(10, 20, RenewOutcome::Page(unknown)),
        RenewalAction::Finish(LogHealth::NewerVersion)
    );
    assert_eq!(renewer.position(), None);
}

#[test]
fn unchanged_member_is_unreachable_after_drain_period() {
    let member = |id, renewal_counter| LogMember {
        id,
        acknowledged: 3,
        renewal_counter,
    };
    let mut renewer = renewer();
    let mut unreachable = |now, members: &[LogMember<u8>]| {
        renewer.begin();
        let page = LogPage {
            members: members.to_vec(),
            ..page([], 3)
        };
        let action = renewer.on_renewal(now, now, RenewOutcome::Page(page));
        extension(action)
            .expect("the page reaches the end of the log")
            .unreachable
    };
    let first_seen = 100;
    let members = [member(OWN_ID, 1), member(1, 1), member(2, 1)];
    let drained = drained_at(first_seen, LEASE);
    assert_eq!(unreachable(first_seen, &members), []);
    let renewed = [member(OWN_ID, 1), member(1, 1), member(2, 2)];
    assert_eq!(unreachable(drained, &renewed), []);
    assert_eq!(
        unreachable(drained + 1, &renewed),
        [member(1, 1)],
        "not the replica itself, and not the member that has renewed"
    );
    assert_eq!(
        unreachable(drained + 2, &renewed),
        [],
        "the removal of the member is in progress"
    );
    let left = [member(OWN_ID, 1), member(2, 2)];
    assert_eq!(unreachable(drained + 3, &left), []);
    let again = drained_at(drained, LEASE) + 1;
    assert_eq!(
        unreachable(again, &renewed),
        [member(2, 2)],
        "a member that returned is observed from then on"
    );
}

#[test]
fn next_renewal_is_due_at_a_fifth_of_the_lease() {
    assert_eq!(
        renewal_delay(LogHealth::Complete, Some(LEASE)),
        Duration::from_millis(50)
    );
    assert_eq!(
        renewal_delay(LogHealth::NewerVersion, Some(LEASE)),
        VERSION_RETRY_DELAY
    );
    for health in [
        LogHealth::Lost,
        LogHealth::Unreachable,
        LogHealth::EvictionEnabled,
    ] {
        assert_eq!(
            renewal_delay(health, Some(Duration::from_secs(10))),
            RETRY_DELAY
        );
    }
}

/// One response, chosen at random.
#[derive(Debug, Clone)]
enum Response {
    Page {
        count: u64,
        skipped: u64,
        remaining: u64,
    },
    Lost,
    EpochChanged,
    Missing,
}

fn responses() -> impl Strategy<Value = Vec<Response>> {
    let page = (0u64..3, 0u64..2, 0u64..2).prop_map(|(count, skipped, remaining)| Response::Page {
        count,
        skipped,
        remaining,
    });
    let response = prop_oneof![
        4 => page,
        1 => Just(Response::Lost),
        1 => Just(Response::EpochChanged),
        1 => Just(Response::Missing),
    ];
    proptest::collection::vec(response, 0..20)
}

proptest! {
    /// Whatever the responses are, a lease counts from its own request, and the replica has
    /// applied every entry up to the end of the log.
    #[test]
    fn lease_is_extended_only_with_all_entries_applied(responses in responses()) {
        let mut renewer = LeaseRenewer::<char, u8>::new(Some(OWN_ID));
        let (mut applied, mut sent) = (0, 0);
        let mut action = renewer.begin();
        for response in responses {
            // Until the next request.
            loop {
                action = match action {
                    RenewalAction::Join => {
                        applied = 0;
                        renewer.on_join(joined('a', 0))
                    }
                    RenewalAction::Finish(_) => renewer.begin(),
                    RenewalAction::Renew(_) => break,
                    RenewalAction::Apply { .. }
                    | RenewalAction::FollowLog { .. }
                    | RenewalAction::ForgetStream => renewer.next_action(),
                };
            }
            sent += 10;
            let Response::Page { count, skipped, remaining } = response else {
                action = match response {
                    Response::Lost => renewer.on_renewal(sent, sent + 5, RenewOutcome::Lost),
                    Response::EpochChanged => {
                        renewer.on_renewal(sent, sent + 5, RenewOutcome::EpochChanged)
                    }
                    Response::Missing | Response::Page { .. } => renewer.begin(),
                };
                continue;
            };
            let first = applied + 1 + skipped;
            let last = applied + skipped + count + remaining;
            let page = page(first..first + count, last);
            action = renewer.on_renewal(sent, sent + 5, RenewOutcome::Page(page));
            if let RenewalAction::Apply { entries, extension } = &action {
                for (number, _) in entries {
                    prop_assert_eq!(*number, applied + 1);
                    applied = *number;
                }
                if let Some(extension) = extension {
                    prop_assert_eq!(applied, last);
                    prop_assert_eq!(extension.lease_end, Some(lease_end(sent, LEASE)));
                }
            }
        }
    }
}
