//! The state of a search for the primary: which hosts have not responded, and the error to report.

use std::collections::BTreeSet;

use super::{
    error::ConnectError,
    target::{HostAddress, Target},
};

/// A search for the primary.
#[derive(Default)]
pub(super) struct Search {
    /// The addresses that have not responded yet.
    pub pending: BTreeSet<HostAddress>,
    /// The most important error so far.
    pub error: Option<ConnectError>,
    /// Whether a server rejected the credentials.
    pub was_rejected: bool,
}

impl Search {
    /// Keeps an error if it is more important than the previous one: a standby is normal.
    pub fn add_error(&mut self, error: ConnectError) {
        self.was_rejected |= error.is_authentication_failure();
        let importance = |error: &ConnectError| match error {
            rejected if rejected.is_authentication_failure() => 4,
            ConnectError::Standby(_) | ConnectError::Interrupted | ConnectError::Moved(_) => 0,
            ConnectError::Unresolved(..) => 1,
            ConnectError::TimedOut(_) | ConnectError::Failed(..) | ConnectError::ReadOnly(_) => 2,
            ConnectError::Deposed(_) => 3,
        };
        let is_more_important = self
            .error
            .as_ref()
            .is_none_or(|previous| importance(&error) > importance(previous));
        if is_more_important {
            self.error = Some(error);
        }
    }

    /// Adds that a host did not respond in time.
    pub fn add_timeout(&mut self, target: &Target) {
        let pending = self.pending.first().cloned();
        if let Some(address) = pending.or_else(|| target.hosts().into_iter().next()) {
            self.add_error(ConnectError::TimedOut(address));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_important_error_is_reported() {
        let hosts = Target::parse("postgres://u@one,two/x?sslmode=disable")
            .unwrap()
            .hosts();
        let mut search = Search::default();
        search.add_error(ConnectError::Standby(hosts[0].clone()));
        search.add_error(ConnectError::TimedOut(hosts[1].clone()));
        search.add_error(ConnectError::Standby(hosts[1].clone()));
        let text = search.error.unwrap().to_string();
        assert!(
            text.starts_with("PostgreSQL at two did not respond"),
            "{text}"
        );
    }
}
