//! What administrators do to accounts: changing, disabling, deleting, taking everything back.

use std::sync::Arc;

use latchkey_domain::{
    audit::{AuditEvent, EventKind},
    password::Password,
    revocation::{Reason, RevocationBatch},
    user_change::AccountChange,
};
use uuid::Uuid;

use crate::{
    app::{AdminActor, Gateway, ManagedUser, revocation::WaitFor},
    error::Error,
};

impl Gateway {
    /// Changes an account. Another role, a new password, and disabling it end all its sessions
    /// everywhere. Repeating it is fine, and finishes what could not be published.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `weak_password`, `username_taken`, `email_taken`,
    /// `invalid_request`, `busy`, `unavailable`.
    pub async fn update_managed_user(
        self: &Arc<Self>,
        by: AdminActor,
        id: Uuid,
        change: AccountChange,
        new_password: Option<Password>,
    ) -> Result<ManagedUser, Error> {
        let hash = match new_password {
            None => None,
            Some(password) => {
                password
                    .check(self.config.password_min)
                    .map_err(Error::WeakPassword)?;
                Some(self.hasher.hash(password.into()).await?)
            }
        };
        // Which events they are shows when it is known what changes.
        let (gateway, event) = (self.clone(), by.event(EventKind::ProfileUpdated, id));
        self.run_to_completion(async move {
            gateway
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
        self.mail_ready.notify_one();
        match &changed.ending {
            Some(ending) => self.publish(ending).await?,
            // A repeat, maybe of what was committed and not published.
            None if change.role.is_some() || change.disabled.is_some() => {
                self.republish(&RevocationBatch::of_user(
                    id,
                    changed.user.generation,
                    Reason::Revoked,
                ))
                .await?;
            }
            None => {}
        }
        self.publish_identity(id, &changed.user.account.identity)
            .await?;
        Ok(changed.user.into())
    }

    /// Deletes an account with everything in it. Repeating it is fine for a while, and finishes
    /// what could not be published.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `unavailable`.
    pub async fn delete_user(self: &Arc<Self>, by: AdminActor, id: Uuid) -> Result<(), Error> {
        let (gateway, event) = (self.clone(), by.event(EventKind::UserDeleted, id));
        self.run_to_completion(async move {
            let Some(ending) = gateway.postgres.delete_user(id, &event).await? else {
                let ending = gateway
                    .postgres
                    .find_user_deletion(id)
                    .await?
                    .ok_or(Error::NotFound)?;
                return gateway.republish(&ending).await;
            };
            gateway.publish(&ending).await
        })
        .await
    }

    /// Ends every session of an account.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_user_sessions(
        self: &Arc<Self>,
        by: AdminActor,
        id: Uuid,
        patience: WaitFor,
    ) -> Result<(), Error> {
        let (gateway, reason) = (self.clone(), Reason::Revoked);
        let event = by
            .event(EventKind::SessionsRevoked, id)
            .with_reason(reason.as_str());
        self.run_to_completion(async move {
            let ending = gateway
                .postgres
                .revoke_all_sessions(id, reason, &event)
                .await?;
            gateway
                .publish_for(&ending.ok_or(Error::NotFound)?, patience)
                .await
        })
        .await
    }
}
