//! Use cases of administrators: create, list, get, update, and delete groups.
//!
//! A group on its own gives no rights, so these changes require no recent sign-in. A change of the
//! groups of a user does: it is a change of the user.

use std::sync::Arc;

use latchkey_domain::{
    audit::{AuditEvent, EventKind},
    group::{GroupDescription, GroupName},
};

pub use crate::postgres::StoredGroup;

use crate::{app::admin::actor::AdminActor, error::Error, postgres::Postgres};

/// Administers groups.
pub struct Groups {
    pub(crate) postgres: Arc<Postgres>,
}

/// A page of groups.
pub struct GroupPage {
    /// The groups in ascending order of names.
    pub groups: Vec<StoredGroup>,
    /// The cursor of the next page: the last name of this page; `None` for the last page.
    pub next: Option<String>,
}

impl Groups {
    /// Creates a group.
    ///
    /// # Errors
    /// `group_taken`, `invalid_request` if there are too many groups, `unavailable`.
    pub async fn create_group(
        &self,
        actor: &AdminActor,
        name: &GroupName,
        description: Option<&GroupDescription>,
    ) -> Result<StoredGroup, Error> {
        self.postgres
            .create_group(
                name.as_str(),
                description.map(GroupDescription::as_str),
                &event(actor, EventKind::GroupCreated, name),
            )
            .await
    }

    /// Returns the groups after a name, at most `limit`.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_groups(
        &self,
        after: Option<&GroupName>,
        limit: u8,
    ) -> Result<GroupPage, Error> {
        let after = after.map_or("", GroupName::as_str);
        // The additional group shows whether a next page exists.
        let mut groups = self
            .postgres
            .list_groups(after, i64::from(limit) + 1)
            .await?;
        let has_more = groups.len() > usize::from(limit);
        groups.truncate(usize::from(limit));
        let next = groups
            .last()
            .filter(|_| has_more)
            .map(|group| group.name.clone());
        Ok(GroupPage { groups, next })
    }

    /// Returns a group.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_group(&self, name: &GroupName) -> Result<StoredGroup, Error> {
        self.postgres
            .find_group(name.as_str())
            .await?
            .ok_or(Error::NotFound)
    }

    /// Updates the description of a group. `None` keeps it, `Some(None)` clears it.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn update_group(
        &self,
        actor: &AdminActor,
        name: &GroupName,
        description: Option<Option<&GroupDescription>>,
    ) -> Result<StoredGroup, Error> {
        let description = description.map(|new| new.map(GroupDescription::as_str));
        self.postgres
            .update_group(
                name.as_str(),
                description,
                &event(actor, EventKind::GroupUpdated, name),
            )
            .await?
            .ok_or(Error::NotFound)
    }

    /// Deletes a group without members.
    ///
    /// A deletion that also removed the members would revoke the sessions of any number of users in
    /// one request.
    ///
    /// # Errors
    /// `not_found`, `group_has_members`, `unavailable`.
    pub async fn delete_group(&self, actor: &AdminActor, name: &GroupName) -> Result<(), Error> {
        let is_deleted = self
            .postgres
            .delete_group(name.as_str(), &event(actor, EventKind::GroupDeleted, name))
            .await?;
        if is_deleted {
            Ok(())
        } else {
            Err(Error::NotFound)
        }
    }
}

/// An event about a group has no subject, because a group has no ID. Its reason is the name.
fn event(actor: &AdminActor, kind: EventKind, name: &GroupName) -> AuditEvent {
    actor.event(kind, None).of_group(name)
}
