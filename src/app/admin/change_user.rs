//! What administrators do to accounts: changing, disabling, deleting, taking everything back.

use std::sync::Arc;

use latchkey_domain::{
    audit::{Event, Kind},
    password::Password,
    revocation::{Ending, Reason},
    user_change::AccountChange,
};
use uuid::Uuid;

use crate::{
    app::{Administrator, Gateway, ManagedUser, revocation::Patience},
    error::Error,
};

impl Gateway {
    /// Changes an account. Another role, a new password, and disabling it end all its sessions
    /// everywhere. Repeating it is fine, and finishes what could not be published.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `weak_password`, `username_taken`, `email_taken`,
    /// `invalid_request`, `busy`, `unavailable`.
    pub async fn change_user(
        self: &Arc<Self>,
        by: Administrator,
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
        let (gateway, event) = (self.clone(), by.event(Kind::Renamed, id));
        self.uncancelled(async move {
            gateway
                .store_change(event, id, &change, hash.as_deref())
                .await
        })
        .await
    }

    async fn store_change(
        &self,
        event: Event,
        id: Uuid,
        change: &AccountChange,
        new_hash: Option<&str>,
    ) -> Result<ManagedUser, Error> {
        let changed = self
            .record
            .change_user(id, change, new_hash, Uuid::now_v7(), &event)
            .await?;
        let changed = changed.ok_or(Error::NotFound)?;
        self.mail_bell.notify_one();
        match &changed.ending {
            Some(ending) => self.publish(ending).await?,
            // A repeat, maybe of what was committed and not published.
            None if change.role.is_some() || change.disabled.is_some() => {
                self.republish(&Ending::of_user(
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
    pub async fn delete_user(self: &Arc<Self>, by: Administrator, id: Uuid) -> Result<(), Error> {
        let (gateway, event) = (self.clone(), by.event(Kind::AccountDeleted, id));
        self.uncancelled(async move {
            let Some(ending) = gateway.record.delete_user(id, &event).await? else {
                let ending = gateway
                    .record
                    .find_deletion(id)
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
    pub async fn revoke_user(
        self: &Arc<Self>,
        by: Administrator,
        id: Uuid,
        patience: Patience,
    ) -> Result<(), Error> {
        let (gateway, reason) = (self.clone(), Reason::Revoked);
        let event = by.event(Kind::SessionsRevoked, id).because(reason.as_str());
        self.uncancelled(async move {
            let ending = gateway.record.end_all_sessions(id, reason, &event).await?;
            gateway
                .publish_for(&ending.ok_or(Error::NotFound)?, patience)
                .await
        })
        .await
    }
}
