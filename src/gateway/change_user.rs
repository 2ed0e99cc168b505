//! What administrators do to accounts: changing, disabling, deleting, taking everything back.

use std::sync::Arc;

use uuid::Uuid;

use super::{Administrator, Gateway, ManagedUser};
use crate::{
    domain::{
        administration::AccountChange,
        password::Password,
        revocation::{Ending, Reason},
    },
    error::Error,
};

impl Gateway {
    /// Changes an account. Another role, a new password, and disabling it end all its sessions everywhere. Repeating it is
    /// fine, and finishes what could not be published.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `weak_password`, `username_taken`, `email_taken`, `invalid_request`, `busy`,
    /// `unavailable`.
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
                password.check(self.config.password_min).map_err(Error::WeakPassword)?;
                Some(self.hasher.hash(password.into()).await?)
            }
        };
        let gateway = self.clone();
        self.uncancelled(async move { gateway.store_change(by, id, &change, hash.as_deref()).await }).await
    }

    async fn store_change(
        &self,
        by: Administrator,
        id: Uuid,
        change: &AccountChange,
        new_hash: Option<&str>,
    ) -> Result<ManagedUser, Error> {
        let changed = self.record.change_user(id, change, new_hash, Uuid::now_v7()).await?.ok_or(Error::NotFound)?;
        self.mail_bell.notify_one();
        tracing::info!(event = "user_changed", sub = %id, %by, "account changed");
        match &changed.ending {
            Some(ending) => self.publish(ending).await?,
            // A repeat, maybe of what was committed and not published.
            None if change.role.is_some() || change.disabled.is_some() => {
                self.republish(&Ending::of_user(id, changed.user.generation, Reason::Revoked)).await?;
            }
            None => {}
        }
        self.publish_identity(id, &changed.user.account.identity).await?;
        Ok(changed.user.into())
    }

    /// Deletes an account with everything in it. Repeating it is fine for a while, and finishes what could not be
    /// published.
    ///
    /// # Errors
    /// `not_found`, `last_admin`, `unavailable`.
    pub async fn delete_user(self: &Arc<Self>, by: Administrator, id: Uuid) -> Result<(), Error> {
        let gateway = self.clone();
        self.uncancelled(async move {
            let Some(ending) = gateway.record.delete_user(id).await? else {
                let ending = gateway.record.find_deletion(id).await?.ok_or(Error::NotFound)?;
                return gateway.republish(&ending).await;
            };
            tracing::info!(event = "user_deleted", sub = %id, %by, "account deleted");
            gateway.publish(&ending).await
        })
        .await
    }

    /// Ends every session of an account.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn revoke_user(self: &Arc<Self>, by: Administrator, id: Uuid) -> Result<(), Error> {
        let gateway = self.clone();
        self.uncancelled(async move {
            let ending = gateway.record.end_all_sessions(id, Reason::Revoked).await?.ok_or(Error::NotFound)?;
            tracing::info!(event = "user_revoked", sub = %id, %by, "everything of an account taken back");
            gateway.publish(&ending).await
        })
        .await
    }
}
