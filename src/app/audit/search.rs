//! Searches the audit events of all users, for administrators and the operator.

use std::net::IpAddr;

use latchkey_domain::{
    audit::EventKind,
    page::{self, Page},
};
use time::{Duration, OffsetDateTime, macros::datetime};
use uuid::Uuid;

use super::{Audit, AuditEventPage};
use crate::{app::origin, error::Error, postgres::AuditSearch};

/// Later than every event.
const END_OF_TIME: OffsetDateTime = datetime!(9999-12-31 0:00 UTC);

/// The filters of a search. `None` selects all values.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// The affected user or OAuth client.
    pub subject_id: Option<Uuid>,
    /// The acting user or OAuth client.
    pub actor_id: Option<Uuid>,
    /// The IP address of the request. Events that contain only its network also match.
    pub address: Option<IpAddr>,
    /// The kinds of events.
    pub kinds: Option<Vec<EventKind>>,
    /// The time of the oldest event.
    pub since: Option<OffsetDateTime>,
    /// The time before which the events occurred.
    pub until: Option<OffsetDateTime>,
}

impl AuditFilter {
    /// Returns the search of the page after an event.
    fn search(&self, after: Uuid) -> AuditSearch {
        let since = self.since.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let until = start_of(self.until.unwrap_or(END_OF_TIME));
        let before = if after.is_nil() {
            until
        } else {
            until.min((crate::postgres::time_of(after), after))
        };
        let address = self.address.map(|address| address.to_canonical());
        // An IPv4 address is its own network. It must not select the same events twice.
        let network = address.filter(IpAddr::is_ipv6).map(origin::network_of);
        AuditSearch {
            subject_id: self.subject_id,
            actor_id: self.actor_id,
            address: address.map(|address| address.to_string()),
            network,
            kinds: self.kinds.as_ref().map(|kinds| {
                // The statement reads each kind separately.
                let mut names: Vec<_> = kinds.iter().map(|kind| kind.as_str()).collect();
                names.sort_unstable();
                names.dedup();
                names
            }),
            since: start_of(since),
            before,
        }
    }
}

/// Returns the first time and the smallest ID of the events from `time` on. The time of an event is
/// that of its ID, in milliseconds.
fn start_of(time: OffsetDateTime) -> (OffsetDateTime, Uuid) {
    let time = time.min(END_OF_TIME);
    let nanoseconds = (time.unix_timestamp_nanos() + 999_999).max(0);
    let milliseconds = i64::try_from(nanoseconds / 1_000_000).unwrap_or_default();
    let id = Uuid::from_u64_pair(milliseconds.unsigned_abs() << 16, 0);
    let start = OffsetDateTime::UNIX_EPOCH + Duration::milliseconds(milliseconds);
    (start, id)
}

impl Audit {
    /// Returns a page of the audit events of all users that match the filter.
    ///
    /// If few events match, a page can contain fewer events than its limit, or none, although a
    /// next page exists.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn search_audit_events(
        &self,
        filter: &AuditFilter,
        page: Page,
    ) -> Result<AuditEventPage, Error> {
        let search = filter.search(page.after);
        let (events, last) = self
            .postgres
            .search_audit_events(&search, page.limit)
            .await?;
        let (events, next) = page.cut(events, |event| event.id);
        Ok(AuditEventPage {
            events,
            next: next.or_else(|| last.map(page::encode_cursor)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: OffsetDateTime = datetime!(2026-11-20 10:00:00 UTC);

    fn search(filter: AuditFilter, after: Uuid) -> AuditSearch {
        filter.search(after)
    }

    #[test]
    fn bounds_follow_milliseconds_of_ids() {
        let filter = AuditFilter {
            since: Some(SECOND + Duration::microseconds(1)),
            until: Some(SECOND + Duration::milliseconds(2)),
            ..Default::default()
        };
        let found = search(filter, Uuid::nil());
        let milliseconds = |(_, id): (OffsetDateTime, Uuid)| id.as_u128() >> 80;
        let first = milliseconds(start_of(SECOND));
        assert_eq!(found.since.0, SECOND + Duration::milliseconds(1));
        assert_eq!(milliseconds(found.since), first + 1);
        assert_eq!(found.before.0, SECOND + Duration::milliseconds(2));
        assert_eq!(milliseconds(found.before), first + 2);
        let before_1970 = start_of(datetime!(1969-01-01 0:00 UTC));
        assert_eq!(before_1970, (OffsetDateTime::UNIX_EPOCH, Uuid::nil()));
        let last = datetime!(9999-12-31 23:59:59.9999 UTC);
        assert_eq!(start_of(last), start_of(END_OF_TIME));
    }

    #[test]
    fn page_starts_at_the_earlier_of_cursor_and_until() {
        let (_, start) = start_of(SECOND);
        let cursor = Uuid::from_u128(start.as_u128() + 7);
        let until = |until| AuditFilter {
            until,
            ..Default::default()
        };
        assert_eq!(search(until(None), cursor).before, (SECOND, cursor));
        assert_eq!(search(until(Some(SECOND)), cursor).before, (SECOND, start));
        let later = SECOND + Duration::seconds(1);
        assert_eq!(search(until(Some(later)), cursor).before, (SECOND, cursor));
    }

    #[test]
    fn address_also_selects_its_network() {
        let filter = AuditFilter {
            address: Some("2001:db8:1:2::7".parse().unwrap()),
            ..Default::default()
        };
        let found = search(filter, Uuid::nil());
        assert_eq!(found.address.as_deref(), Some("2001:db8:1:2::7"));
        assert_eq!(found.network.as_deref(), Some("2001:db8:1:2::/64"));
        let filter = AuditFilter {
            address: Some("::ffff:192.0.2.7".parse().unwrap()),
            ..Default::default()
        };
        let found = search(filter, Uuid::nil());
        assert_eq!(found.address.as_deref(), Some("192.0.2.7"));
        assert_eq!(found.network, None);
    }
    #[test]
    fn repeated_kind_is_searched_once() {
        let filter = AuditFilter {
            kinds: Some(vec![EventKind::SignIn, EventKind::SignIn]),
            ..Default::default()
        };
        assert_eq!(search(filter, Uuid::nil()).kinds, Some(vec!["sign_in"]));
    }
}
