//! Use cases: get, update, and delete the caller's own user.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{Account, DisplayName, Identity, Username},
    audit::EventKind,
    revocation::{RevocationBatch, RevocationReason},
};

use crate::{
    app::{accounts::Accounts, origin::Origin},
    error::Error,
};

/// A change of the profile: `None` keeps a field, `Some(None)` clears it.
pub struct ProfileChange {
    pub username: Option<Option<Username>>,
    pub name: Option<Option<DisplayName>>,
}

impl ProfileChange {
    fn username(&self) -> Option<Option<&str>> {
        self.username
            .as_ref()
            .map(|username| username.as_ref().map(Username::as_str))
    }

    fn name(&self) -> Option<Option<&str>> {
        self.name
            .as_ref()
            .map(|name| name.as_ref().map(DisplayName::as_str))
    }

    fn has_new_username(&self, identity: &Identity) -> bool {
        self.username()
            .flatten()
            .is_some_and(|username| Some(username) != identity.username.as_deref())
    }

    /// Returns the new username, unless only the case of its letters is new.
    fn chosen_username(&self, identity: &Identity) -> Option<&Username> {
        let current = identity.username.as_deref().unwrap_or_default();
        let new = self.username.as_ref().and_then(Option::as_ref);
        new.filter(|new| !new.as_str().eq_ignore_ascii_case(current))
    }

    fn has_no_effect(&self, identity: &Identity) -> bool {
        self.username()
            .is_none_or(|username| username == identity.username.as_deref())
            && self
                .name()
                .is_none_or(|name| name == identity.name.as_deref())
    }
}

impl Accounts {
    /// Returns the caller's user from PostgreSQL.
    ///
    /// # Errors
    /// `token_revoked` if the user is deleted; `unavailable`.
    pub async fn get_account(&self, caller: &Claims) -> Result<Account, Error> {
        Ok(self
            .postgres
            .find_user(caller.sub)
            .await?
            .ok_or(Error::TokenRevoked)?
            .account)
    }

    /// Updates the username and the display name. The user's next tokens contain the new values.
    ///
    /// A new username counts against the sign-up limit, because the response reveals whether the
    /// username is taken. If nothing changes, publishes the stored values again.
    ///
    /// # Errors
    /// `username_taken`, `invalid_request`, `too_many_requests`, `token_revoked`, `unavailable`.
    pub async fn update_profile(
        self: &Arc<Self>,
        caller: &Claims,
        change: ProfileChange,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let account = self.get_account(caller).await?;
        if change.has_no_effect(&account.identity) {
            // An earlier attempt might have failed after the commit.
            self.revocations
                .publish_identity(account.id, &account.identity)
                .await?;
            return Ok(account);
        }
        if !change.has_new_username(&account.identity) {
            return self.store_profile(caller, change, origin).await;
        }
        self.require_unreserved(change.chosen_username(&account.identity))?;
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.sign_up_attempt(origin),
                &origin.request_limits,
                self.store_profile(caller, change, origin),
            )
            .await
    }

    async fn store_profile(
        self: &Arc<Self>,
        caller: &Claims,
        change: ProfileChange,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let (accounts, user_id) = (self.clone(), caller.sub);
        let event = origin.self_event(EventKind::ProfileUpdated, caller);
        self.tasks
            .run_to_completion(async move {
                let user = accounts
                    .postgres
                    .update_user(user_id, change.username(), change.name(), &event)
                    .await?
                    .ok_or(Error::TokenRevoked)?;
                accounts
                    .revocations
                    .publish_identity(user_id, &user.account.identity)
                    .await?;
                Ok(user.account)
            })
            .await
    }

    /// Deletes the caller's user with all of the user's data, and revokes all of the user's tokens.
    ///
    /// A retry publishes a deletion that was committed but not published.
    ///
    /// # Errors
    /// `reauthentication_required`, `last_admin`, `unavailable`.
    pub async fn delete_own_user(
        self: &Arc<Self>,
        caller: &Claims,
        origin: &Origin,
    ) -> Result<(), Error> {
        self.tokens.require_recent_sign_in(caller)?;
        let (accounts, user_id, generation) = (self.clone(), caller.sub, caller.generation);
        let event = origin.self_event(EventKind::UserDeleted, caller);
        self.tasks
            .run_to_completion(async move {
                // If the row is missing, an earlier attempt deleted it and might not have published
                // the deletion. A valid token contains the user's last generation.
                let deleted_earlier = || {
                    RevocationBatch::of_user(user_id, generation + 1, RevocationReason::UserDeleted)
                };
                let batch = accounts
                    .postgres
                    .delete_user(user_id, &event)
                    .await?
                    .unwrap_or_else(deleted_earlier);
                accounts.revocations.publish(&batch).await
            })
            .await
    }
}
