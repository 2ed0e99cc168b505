//! Use cases of administrators: update, disable, and delete a user, and revoke all of its sessions.

use std::sync::Arc;

use latchkey_domain::{
    audit::{AuditEvent, EventKind},
    password::Password,
    revocation::{RevocationBatch, RevocationReason},
    user_change::AccountChange,
};
use uuid::Uuid;

use crate::{
    app::{
        admin::users::{AdminActor, ManagedUser, Users},
        revocation::WaitFor,
    },
    error::Error,
};

impl Users {
    /// Updates a user.
    ///
    /// A new role, a new password, and disabling the user revoke all sessions of the user. A retry
    /// publishes a change that was committed but not published.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `weak_password`, `username_taken`, `email_taken`,
    /// `invalid_request`, `busy`, `unavailable`.
    pub async fn update_managed_user(
        self: &Arc<Self>,
        actor: AdminActor,
        id: Uuid,
        change: AccountChange,
        new_password: Option<Password>,
    ) -> Result<ManagedUser, Error> {
        let hash = match new_password {
            None => None,
            Some(password) => {
                password
                    .check(self.settings.password_min)
                    .map_err(Error::WeakPassword)?;
                Some(self.hasher.hash(password.into()).await?)
            }
        };
        // The transaction replaces the kind of the event, because it depends on the changed fields.
        let (users, event) = (self.clone(), actor.event(EventKind::ProfileUpdated, id));
        self.tasks
            .run_to_completion(async move {
                users
                    .store_change(event, id, &change, hash.as_deref())
                    .await
            })
            .await
    }

    async fn store_change(
        &self,
        event: AuditEvent,
        id: Uuid,
        change: &AccountChange,
        new_hash: Option<&str>,
    ) -> Result<ManagedUser, Error> {
        let changed = self
            .postgres
            .update_managed_user(id, change, new_hash, Uuid::now_v7(), &event)
            .await?;
        let changed = changed.ok_or(Error::NotFound)?;
        self.mail.notify();
        match &changed.batch {
            Some(batch) => self.revocations.publish(batch).await?,
            // This might be a retry of a change that was committed but not published.
            None if change.role.is_some() || change.disabled.is_some() => {
                self.revocations
                    .republish(&RevocationBatch::of_user(
                        id,
                        changed.user.generation,
                        RevocationReason::Revoked,
                    ))
                    .await?;
            }
            None => {}
        }
        self.revocations
            .publish_identity(id, &changed.user.account.identity)
            .await?;
        Ok(changed.user.into())
    }

    /// Deletes a user with all of the user's data, and revokes all of the user's tokens.
    ///
    /// A retry publishes a deletion that was committed but not published, as long as PostgreSQL
    /// stores its revocation.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `unavailable`.
    pub async fn delete_user(self: &Arc<Self>, actor: AdminActor, id: Uuid) -> Result<(), Error> {
        let (users, event) = (self.clone(), actor.event(EventKind::UserDeleted, id));
        self.tasks
            .run_to_completion(async move {
                let Some(batch) = users.postgres.delete_user(id, &event).await? else {
                    let batch = users
                        .postgres
                        .find_user_deletion(id)
                        .await?
                        .ok_or(Error::NotFound)?;
                    return users.revocations.republish(&batch).await;
                };
                users.revocations.publish(&batch).await
            })
            .await
    }

    /// Revokes all sessions of a user, and waits as the caller requests.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_user_sessions(
        self: &Arc<Self>,
        actor: AdminActor,
        id: Uuid,
        wait_for: WaitFor,
    ) -> Result<(), Error> {
        let (users, reason) = (self.clone(), RevocationReason::Revoked);
        let event = actor
            .event(EventKind::SessionsRevoked, id)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                let batch = users
                    .postgres
                    .revoke_all_sessions(id, reason, &event)
                    .await?;
                users
                    .revocations
                    .publish_for(&batch.ok_or(Error::NotFound)?, wait_for)
                    .await
            })
            .await
    }
}
