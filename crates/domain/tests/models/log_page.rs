//! Pages of the revocation log, as the models of the lease worker receive them.

use std::time::Duration;

use latchkey_domain::revocation::{
    Entry, EntryState, Subject,
    lease_renewer::{LogPage, RenewOutcome},
};
use uuid::Uuid;

/// An entry of the log. The models distinguish entries by their numbers only.
const ENTRY: Entry = Entry {
    subject: Subject::Session(Uuid::nil()),
    state: EntryState {
        value: EntryState::FLAG,
        expires_at: 0,
    },
};

/// The page after `position` of a log that ends at `last`, with at most `max_entries` entries.
pub fn page_after(position: u8, last: u8, max_entries: u8, lease: Duration) -> RenewOutcome<usize> {
    let numbers = position + 1..=last.min(position + max_entries);
    RenewOutcome::Page(LogPage {
        lease,
        last: u64::from(last),
        entries: numbers
            .map(|number| (u64::from(number), Ok(ENTRY)))
            .collect(),
        members: Vec::new(),
    })
}

/// Converts a sequence number or a time of a model.
pub fn to_u8(number: u64) -> u8 {
    u8::try_from(number).expect("the models use small numbers")
}
