//! Use cases of administrators: update, disable, and delete a user, and revoke all of its sessions.

use std::sync::Arc;

use latchkey_domain::{
    audit::EventKind,
    password::Password,
    revocation::{RevocationBatch, RevocationReason},
    user_change::AccountChange,
};
use uuid::Uuid;

use crate::{
    app::{
        admin::{
            actor::AdminActor,
            users::{ManagedUser, Users},
        },
        revocation::WaitFor,
    },
    error::Error,
    postgres::UserUpdate,
};

impl Users {
    /// Updates a user.
    ///
    /// A new role, other groups, a new password, and disabling the user revoke all sessions of the
    /// user. A retry publishes a change that was committed but not published.
    ///
    /// A change of a credential, role, group, username, or email address requires a recent sign-in.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, `reauthentication_required`, `last_admin`, `weak_password`,
    /// `username_taken`, `email_taken`, `invalid_request`, `busy`, `unavailable`.
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
                actor.require_recent_sign_in()?;
                self.check_new_password(id, &change, &password).await?;
                Some(self.hasher.hash(password.into()).await?)
            }
        };
        // The transaction replaces the kind of the event, because it depends on the changed fields.
        let (users, event) = (self.clone(), actor.event(EventKind::ProfileUpdated, id));
        let update = UserUpdate {
            change,
            new_hash: hash,
            notification_id: Uuid::now_v7(),
            recent_sign_in: actor.require_recent_sign_in(),
            event,
        };
        self.tasks
            .run_to_completion(async move { users.store_update(id, &update).await })
            .await
    }

    /// Checks a new password against the policy, and against the names after the change.
    async fn check_new_password(
        &self,
        id: Uuid,
        change: &AccountChange,
        password: &Password,
    ) -> Result<(), Error> {
        let user = self.postgres.find_user(id).await?.ok_or(Error::NotFound)?;
        let after = user.state().changed(change);
        self.settings
            .password_policy
            .check(password, after.identity.identifiers())
            .map_err(Error::WeakPassword)
    }

    async fn store_update(&self, id: Uuid, update: &UserUpdate) -> Result<ManagedUser, Error> {
        let changed = self.postgres.update_managed_user(id, update).await?;
        let (changed, change) = (changed.ok_or(Error::NotFound)?, &update.change);
        self.mail.notify();
        match &changed.batch {
            Some(batch) => self.revocations.publish(batch).await?,
            // This might be a retry of a change that was committed but not published.
            None if change.can_revoke() => {
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

    /// Revokes one session of a user, and waits as the caller requests. A repetition publishes a
    /// revocation that is committed but not published.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_user_session(
        self: &Arc<Self>,
        actor: AdminActor,
        id: Uuid,
        session_id: Uuid,
        wait_for: WaitFor,
    ) -> Result<(), Error> {
        let (users, reason) = (self.clone(), RevocationReason::SessionRevoked);
        let event = actor
            .event(EventKind::SessionRevoked, id)
            .of_session(session_id)
            .with_reason(reason.as_str());
        self.tasks
            .run_to_completion(async move {
                if !users.postgres.has_session(id, session_id).await? {
                    return Err(Error::NotFound);
                }
                users
                    .revocations
                    .revoke_session(id, session_id, reason, wait_for, &event)
                    .await
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
