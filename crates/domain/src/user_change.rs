//! Changes of users by administrators, with the resulting revocations and audit events.

use crate::{
    account::{DisplayName, EmailAddress, Identity, Role, Username},
    audit::EventKind,
    group::GroupsChange,
    revocation::RevocationReason,
};

/// A change of a user. `None` keeps the value of a field, `Some(None)` clears it.
#[derive(Debug, Clone, Default)]
pub struct AccountChange {
    /// The new username.
    pub username: Option<Option<Username>>,
    /// The new email address.
    pub email: Option<Option<EmailAddress>>,
    /// The new display name.
    pub name: Option<Option<DisplayName>>,
    /// The new role.
    pub role: Option<Role>,
    /// The change of the groups.
    pub groups: Option<GroupsChange>,
    /// Whether the user is disabled after the change.
    pub disabled: Option<bool>,
}

impl AccountChange {
    /// Returns whether the change contains a field whose new value can revoke all sessions.
    pub fn can_revoke(&self) -> bool {
        self.role.is_some() || self.groups.is_some() || self.disabled.is_some()
    }
}

/// The state of a user that a change can affect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserState {
    /// The data that tokens contain.
    pub identity: Identity,
    /// Whether the user is disabled.
    pub disabled: bool,
}

impl UserState {
    /// Returns the state after a change. If the identity differs, its version is incremented.
    pub fn changed(&self, change: &AccountChange) -> UserState {
        let Identity {
            version,
            role,
            username,
            email,
            email_verified,
            name,
            groups,
        } = self.identity.clone();
        let apply =
            |change: Option<Option<&str>>, old| change.map_or(old, |new| new.map(str::to_owned));
        let new_email = apply(
            change
                .email
                .as_ref()
                .map(|new| new.as_ref().map(EmailAddress::as_str)),
            email.clone(),
        );
        let mut identity = Identity {
            version,
            role: change.role.unwrap_or(role),
            username: apply(
                change
                    .username
                    .as_ref()
                    .map(|new| new.as_ref().map(Username::as_str)),
                username,
            ),
            // A new address is unverified. A change of case keeps the verification.
            email_verified: email_verified
                && is_same_address(email.as_deref(), new_email.as_deref()),
            email: new_email,
            name: apply(
                change
                    .name
                    .as_ref()
                    .map(|new| new.as_ref().map(DisplayName::as_str)),
                name,
            ),
            groups: match &change.groups {
                Some(change) => change.apply(&groups),
                None => groups,
            },
        };
        identity.version += i64::from(identity != self.identity);
        UserState {
            identity,
            disabled: change.disabled.unwrap_or(self.disabled),
        }
    }

    /// Returns whether the user is an administrator who is not disabled.
    pub fn administers(&self) -> bool {
        self.identity.role == Role::Admin && !self.disabled
    }

    /// Returns the reason why the change revokes all sessions, or `None` if it does not.
    pub fn ends(&self, after: &UserState, new_password: bool) -> Option<RevocationReason> {
        if after.disabled && !self.disabled {
            Some(RevocationReason::Disabled)
        } else if new_password {
            Some(RevocationReason::PasswordReset)
        } else {
            let (old, new) = (&self.identity, &after.identity);
            let role = (old.role != new.role).then_some(RevocationReason::RoleChange);
            role.or((old.groups != new.groups).then_some(RevocationReason::GroupChange))
        }
    }

    /// Returns whether the change requires a recent sign-in of the administrator.
    ///
    /// This applies to a new username, email address, password, or role, to other groups, and to
    /// enabling a user.
    pub fn requires_recent_sign_in(&self, after: &UserState, new_password: bool) -> bool {
        let (old, new) = (&self.identity, &after.identity);
        new_password
            || (old.role, &old.groups) != (new.role, &new.groups)
            || (&old.username, &old.email) != (&new.username, &new.email)
            || (self.disabled && !after.disabled)
    }

    /// Returns the audit events of the change.
    ///
    /// The events of changes that revoke all sessions contain a reason.
    pub fn events(
        &self,
        after: &UserState,
        new_password: bool,
    ) -> Vec<(EventKind, Option<RevocationReason>)> {
        let (old, new) = (&self.identity, &after.identity);
        let events = [
            (
                after.disabled && !self.disabled,
                EventKind::UserDisabled,
                Some(RevocationReason::Disabled),
            ),
            (
                self.disabled && !after.disabled,
                EventKind::UserEnabled,
                None,
            ),
            (
                new_password,
                EventKind::PasswordReset,
                Some(RevocationReason::PasswordReset),
            ),
            (
                old.role != new.role,
                EventKind::RoleChanged,
                Some(RevocationReason::RoleChange),
            ),
            (
                old.groups != new.groups,
                EventKind::GroupsChanged,
                Some(RevocationReason::GroupChange),
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
            .filter(|(has_occurred, ..)| *has_occurred)
            .map(|(_, kind, reason)| (kind, reason))
            .collect()
    }

    /// Returns whether the change removes or replaces a verified email address.
    pub fn has_lost_verified_address(&self, after: &UserState) -> bool {
        self.identity.email_verified && self.moves(after)
    }

    /// Returns whether the email address changes. Earlier one-time codes must then be invalidated.
    pub fn moves(&self, after: &UserState) -> bool {
        !is_same_address(
            self.identity.email.as_deref(),
            after.identity.email.as_deref(),
        )
    }
}

/// Compares email addresses without regard to case.
fn is_same_address(one: Option<&str>, other: Option<&str>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (None, None) => true,
        _only_one => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{group::GroupNames, text::ParsedText};

    fn john() -> UserState {
        let identity = Identity {
            version: 3,
            role: Role::User,
            username: Some("john".into()),
            email: Some("john@example.com".into()),
            email_verified: true,
            name: None,
            groups: Default::default(),
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
    fn change_to_same_values_keeps_version() {
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
    fn each_change_is_a_separate_event() {
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
        let (first, others) = (
            [EventKind::UserDisabled, EventKind::PasswordReset],
            [EventKind::RoleChanged, EventKind::EmailChanged],
        );
        assert_eq!(
            kinds,
            [first.as_slice(), &others, &[EventKind::ProfileUpdated]].concat()
        );
    }

    #[test]
    fn credentials_role_and_addresses_require_recent_sign_in() {
        let disabled = UserState {
            disabled: true,
            ..john()
        };
        let requires = |before: &UserState, change: AccountChange| {
            before.requires_recent_sign_in(&before.changed(&change), false)
        };
        let role = |role| AccountChange {
            role: Some(role),
            ..Default::default()
        };
        let username = |name| AccountChange {
            username: Some(name),
            ..Default::default()
        };
        assert!(john().requires_recent_sign_in(&john(), true));
        assert!(requires(&john(), role(Role::Admin)));
        assert!(requires(&john(), username(None)));
        assert!(requires(&john(), email("j@example.com")));
        assert!(requires(&john(), email("John@example.com")));
        assert!(disabled.requires_recent_sign_in(&john(), false));
        // The same values, another display name, and disabling.
        assert!(!requires(&john(), role(Role::User)));
        assert!(!requires(&john(), email("john@example.com")));
        let name = AccountChange {
            name: Some(Some(DisplayName::parse("J").unwrap())),
            ..Default::default()
        };
        assert!(!requires(&john(), name));
        assert!(!john().requires_recent_sign_in(&disabled, false));
    }

    #[test]
    fn new_email_is_unverified_unless_only_case_differs() {
        let (new_address, other_case) = (
            john().changed(&email("j@example.com")),
            john().changed(&email("John@Example.com")),
        );
        assert!(!new_address.identity.email_verified && john().moves(&new_address));
        assert!(other_case.identity.email_verified && !john().moves(&other_case));
        assert_eq!(
            (new_address.identity.version, other_case.identity.version),
            (4, 4)
        );
        let cleared = john().changed(&AccountChange {
            email: Some(None),
            ..Default::default()
        });
        assert!(
            cleared.identity.email.is_none()
                && !cleared.identity.email_verified
                && john().moves(&cleared)
        );
    }

    #[test]
    fn only_disabling_password_and_role_revoke_sessions() {
        let disabled = UserState {
            disabled: true,
            ..john()
        };
        let admin = john().changed(&AccountChange {
            role: Some(Role::Admin),
            ..Default::default()
        });
        assert_eq!(
            john().ends(&disabled, true),
            Some(RevocationReason::Disabled)
        );
        assert_eq!(
            john().ends(&admin, true),
            Some(RevocationReason::PasswordReset)
        );
        assert_eq!(
            john().ends(&admin, false),
            Some(RevocationReason::RoleChange)
        );
        assert_eq!(
            admin.ends(&john(), false),
            Some(RevocationReason::RoleChange)
        );
        assert_eq!(disabled.ends(&john(), false), None);
        assert_eq!(
            john().ends(&john().changed(&email("j@example.com")), false),
            None
        );
    }

    #[test]
    fn only_role_groups_and_disabling_can_revoke() {
        let name = AccountChange {
            username: Some(None),
            name: Some(None),
            ..email("j@example.com")
        };
        assert!(!name.can_revoke() && !AccountChange::default().can_revoke());
        let role = AccountChange {
            role: Some(Role::User),
            ..Default::default()
        };
        let groups = AccountChange {
            groups: Some(GroupsChange::Replace(GroupNames::default())),
            ..Default::default()
        };
        let disabled = AccountChange {
            disabled: Some(true),
            ..Default::default()
        };
        for change in [role, groups, disabled] {
            assert!(change.can_revoke(), "{change:?}");
        }
    }

    #[test]
    fn change_of_groups_is_like_a_change_of_the_role() {
        let groups = |names: &[&str]| AccountChange {
            groups: Some(GroupsChange::Replace(
                GroupNames::parse_list(names.iter().copied()).unwrap(),
            )),
            ..Default::default()
        };
        let member = john().changed(&groups(&["finance"]));
        assert_eq!(member.identity.version, 4);
        let (reason, kind) = (RevocationReason::GroupChange, EventKind::GroupsChanged);
        for (before, after) in [(john(), member.clone()), (member.clone(), john())] {
            assert_eq!(before.ends(&after, false), Some(reason));
            assert!(before.requires_recent_sign_in(&after, false));
            assert_eq!(before.events(&after, false), [(kind, Some(reason))]);
        }
        assert_eq!(member.changed(&groups(&["finance"])), member);
        assert_eq!(member.changed(&AccountChange::default()), member);
    }

    #[test]
    fn disabled_administrator_does_not_count() {
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
