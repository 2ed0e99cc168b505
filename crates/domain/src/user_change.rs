//! What administrators change about accounts, and what comes along with it.

use crate::{
    account::{DisplayName, EmailAddress, Identity, Role, Username},
    audit::EventKind,
    revocation::Reason,
};

/// What changes: `None` leaves a member as it is, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// The user name.
    pub username: Option<Option<Username>>,
    /// The address.
    pub email: Option<Option<EmailAddress>>,
    /// The display name.
    pub name: Option<Option<DisplayName>>,
    /// What the account may do.
    pub role: Option<Role>,
    /// Whether signing in is refused.
    pub disabled: Option<bool>,
}

/// Who somebody is, and whether they may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// What goes into tokens.
    pub identity: Identity,
    /// Whether signing in is refused.
    pub disabled: bool,
}

impl UserState {
    /// The standing after a change. The version rises where anything of the identity differs.
    pub fn changed(&self, change: &AccountChange) -> UserState {
        let Identity {
            version,
            role,
            username,
            email,
            email_verified,
            name,
        } = self.identity.clone();
        let text =
            |change: Option<Option<&str>>, old| change.map_or(old, |new| new.map(str::to_owned));
        let email_now = text(
            change
                .email
                .as_ref()
                .map(|new| new.as_ref().map(EmailAddress::as_str)),
            email.clone(),
        );
        let mut identity = Identity {
            version,
            role: change.role.unwrap_or(role),
            username: text(
                change
                    .username
                    .as_ref()
                    .map(|new| new.as_ref().map(Username::as_str)),
                username,
            ),
            // An address that nobody has proved to read is unverified; one that is only respelled
            // stays what it was.
            email_verified: email_verified && is_same(email.as_deref(), email_now.as_deref()),
            email: email_now,
            name: text(
                change
                    .name
                    .as_ref()
                    .map(|new| new.as_ref().map(DisplayName::as_str)),
                name,
            ),
        };
        identity.version += i64::from(identity != self.identity);
        UserState {
            identity,
            disabled: change.disabled.unwrap_or(self.disabled),
        }
    }

    /// Whether it administers.
    pub fn administers(&self) -> bool {
        self.identity.role == Role::Admin && !self.disabled
    }

    /// Why every session ends on the way from here to there, if it does.
    pub fn ends(&self, after: &UserState, new_password: bool) -> Option<Reason> {
        if after.disabled && !self.disabled {
            Some(Reason::Disabled)
        } else if new_password {
            Some(Reason::PasswordReset)
        } else {
            (after.identity.role != self.identity.role).then_some(Reason::RoleChange)
        }
    }

    /// What happens to the account on the way from here to there. Those that end every session say
    /// so as their reason.
    pub fn events(
        &self,
        after: &UserState,
        new_password: bool,
    ) -> Vec<(EventKind, Option<Reason>)> {
        let (old, new) = (&self.identity, &after.identity);
        let events = [
            (
                after.disabled && !self.disabled,
                EventKind::UserDisabled,
                Some(Reason::Disabled),
            ),
            (
                self.disabled && !after.disabled,
                EventKind::UserEnabled,
                None,
            ),
            (
                new_password,
                EventKind::PasswordReset,
                Some(Reason::PasswordReset),
            ),
            (
                old.role != new.role,
                EventKind::RoleChanged,
                Some(Reason::RoleChange),
            ),
            (old.email != new.email, EventKind::EmailChanged, None),
            (
                (&old.username, &old.name) != (&new.username, &new.name),
                EventKind::ProfileUpdated,
                None,
            ),
        ];
        events
            .into_iter()
            .filter(|(is_so, ..)| *is_so)
            .map(|(_, kind, reason)| (kind, reason))
            .collect()
    }

    /// Whether there is another address afterwards, so that codes which were mailed to this one
    /// must not work any more.
    pub fn moves(&self, after: &UserState) -> bool {
        !is_same(
            self.identity.email.as_deref(),
            after.identity.email.as_deref(),
        )
    }
}

/// Addresses are unique without regard to case.
fn is_same(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => true,
        _one_of_them => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::ParsedText;

    fn john() -> UserState {
        let identity = Identity {
            version: 3,
            role: Role::User,
            username: Some("john".into()),
            email: Some("john@example.com".into()),
            email_verified: true,
            name: None,
        };
        UserState {
            identity,
            disabled: false,
        }
    }

    fn email(text: &str) -> AccountChange {
        AccountChange {
            email: Some(Some(EmailAddress::parse(text).unwrap())),
            ..Default::default()
        }
    }

    #[test]
    fn what_changes_nothing_raises_no_version() {
        let same = AccountChange {
            username: Some(Some(Username::parse("john").unwrap())),
            role: Some(Role::User),
            disabled: Some(false),
            ..email("john@example.com")
        };
        assert_eq!(john().changed(&same), john());
        assert_eq!(john().changed(&AccountChange::default()), john());
        assert_eq!(
            (john().ends(&john(), false), john().moves(&john())),
            (None, false)
        );
    }

    #[test]
    fn everything_that_changes_is_an_event_of_its_own() {
        let disabled = UserState {
            disabled: true,
            ..john()
        };
        assert_eq!(john().events(&john(), false), []);
        assert_eq!(
            disabled.events(&john(), false),
            [(EventKind::UserEnabled, None)]
        );
        let all = AccountChange {
            name: Some(Some(DisplayName::parse("J").unwrap())),
            role: Some(Role::Admin),
            disabled: Some(true),
            ..email("j@example.com")
        };
        let kinds: Vec<EventKind> = john()
            .events(&john().changed(&all), true)
            .into_iter()
            .map(|(kind, _)| kind)
            .collect();
        let (first, rest) = (
            [EventKind::UserDisabled, EventKind::PasswordReset],
            [EventKind::RoleChanged, EventKind::EmailChanged],
        );
        assert_eq!(
            kinds,
            [first.as_slice(), &rest, &[EventKind::ProfileUpdated]].concat()
        );
    }

    #[test]
    fn another_address_is_unverified_and_a_respelled_one_stays_verified() {
        let (moved, respelled) = (
            john().changed(&email("j@example.com")),
            john().changed(&email("John@Example.com")),
        );
        assert!(!moved.identity.email_verified && john().moves(&moved));
        assert!(respelled.identity.email_verified && !john().moves(&respelled));
        assert_eq!((moved.identity.version, respelled.identity.version), (4, 4));
        let none = john().changed(&AccountChange {
            email: Some(None),
            ..Default::default()
        });
        assert!(
            none.identity.email.is_none() && !none.identity.email_verified && john().moves(&none)
        );
    }

    #[test]
    fn disabling_a_new_password_and_another_role_end_everything_and_nothing_else_does() {
        let disabled = UserState {
            disabled: true,
            ..john()
        };
        let admin = john().changed(&AccountChange {
            role: Some(Role::Admin),
            ..Default::default()
        });
        assert_eq!(john().ends(&disabled, true), Some(Reason::Disabled));
        assert_eq!(john().ends(&admin, true), Some(Reason::PasswordReset));
        assert_eq!(john().ends(&admin, false), Some(Reason::RoleChange));
        assert_eq!(admin.ends(&john(), false), Some(Reason::RoleChange));
        assert_eq!(disabled.ends(&john(), false), None);
        assert_eq!(
            john().ends(&john().changed(&email("j@example.com")), false),
            None
        );
    }

    #[test]
    fn an_administrator_who_is_disabled_administers_nothing() {
        let admin = john().changed(&AccountChange {
            role: Some(Role::Admin),
            ..Default::default()
        });
        assert!(admin.administers() && !john().administers());
        assert!(
            !UserState {
                disabled: true,
                ..admin
            }
            .administers()
        );
    }
}
