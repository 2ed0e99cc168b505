//! Searches the audit events of all users.

use time::OffsetDateTime;
use uuid::Uuid;

use super::{StoredAuditEvent, read_event};
use crate::{error::Error, postgres::Postgres};

const SEARCH_AUDIT_EVENTS: &str = include_str!("../../../sql/queries/search_audit_events.sql");

/// A search of audit events. `None` selects all values.
pub struct AuditSearch {
    /// The affected user or OAuth client.
    pub subject_id: Option<Uuid>,
    /// The acting user or OAuth client.
    pub actor_id: Option<Uuid>,
    /// The IP address of the request.
    pub address: Option<String>,
    /// The network of an IPv6 address, which counted events contain.
    pub network: Option<String>,
    /// The stored texts of the event kinds.
    pub kinds: Option<Vec<&'static str>>,
    /// The time of the oldest event, and the smallest ID of that time.
    pub since: (OffsetDateTime, Uuid),
    /// Selects the events before this time and ID.
    pub before: (OffsetDateTime, Uuid),
}

impl Postgres {
    /// Searches audit events, newest first. Returns one more than `limit` if there is a next page.
    ///
    /// If the search stopped before the oldest event, it also returns the ID of the last examined
    /// event.
    pub async fn search_audit_events(
        &self,
        search: &AuditSearch,
        limit: u8,
    ) -> Result<(Vec<StoredAuditEvent>, Option<Uuid>), Error> {
        let params: crate::postgres::Params = &[
            &search.subject_id,
            &search.actor_id,
            &search.address,
            &search.network,
            &search.kinds,
            &search.since.0,
            &search.since.1,
            &search.before.0,
            &search.before.1,
            &(i64::from(limit) + 1),
        ];
        let rows = self
            .connection()
            .await?
            .query(SEARCH_AUDIT_EVENTS, params)
            .await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            // A search without a match returns one row without an event.
            if row.try_get::<_, Option<Uuid>>("id")?.is_some() {
                events.push(read_event(row)?);
            }
        }
        let last = rows.first().map(|row| row.try_get("last")).transpose()?;
        Ok((events, last.flatten()))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use latchkey_domain::page::MAX_LIMIT;

    use super::*;

    /// The maximum number of events that a search examines, as the OpenAPI document states.
    const MAX_EXAMINED_EVENTS: u32 = 10_000;

    /// Returns the numbers that follow a text in the statement.
    fn numbers_after(text: &str) -> Vec<u32> {
        let code = SEARCH_AUDIT_EVENTS
            .lines()
            .filter(|line| !line.starts_with("--"));
        let code = code.collect::<Vec<_>>().join("\n");
        let numbers = code.split(text).skip(1);
        numbers
            .filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next())
            .filter_map(|number| number.parse().ok())
            .collect()
    }

    #[test]
    fn limits_of_statement_fit_largest_page() {
        let one_more_than_a_page = u32::from(MAX_LIMIT) + 1;
        // `limit 1` selects the last examined event.
        let limits = numbers_after("limit ").into_iter().filter(|n| *n > 1);
        let limits: BTreeSet<u32> = limits.collect();
        assert_eq!(limits, [one_more_than_a_page, MAX_EXAMINED_EVENTS].into());
        assert_eq!(numbers_after("count(*) >= "), [MAX_EXAMINED_EVENTS]);
    }
}
