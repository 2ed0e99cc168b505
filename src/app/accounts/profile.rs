//! One's own account.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{Account, DisplayName, Identity, Username},
    audit::EventKind,
    revocation::{Reason, RevocationBatch},
};

use crate::{
    app::{Gateway, Origin},
    error::Error,
};

/// How long a sign-in is fresh enough for what cannot be undone, in seconds.
const RECENT_SIGN_IN_SECONDS: u64 = 300;

/// A change of names: `None` leaves one as it is, `Some(None)` clears it.
pub struct ProfileChange {
    /// The user name.
    pub username: Option<Option<Username>>,
    /// The display name.
    pub name: Option<Option<DisplayName>>,
}

impl ProfileChange {
    fn changes_nothing(&self, identity: &Identity) -> bool {
        let username = self
            .username
            .as_ref()
            .map(|username| username.as_ref().map(Username::as_str));
        let name = self
            .name
            .as_ref()
            .map(|name| name.as_ref().map(DisplayName::as_str));
        username.is_none_or(|username| username == identity.username.as_deref())
            && name.is_none_or(|name| name == identity.name.as_deref())
    }
}

impl Gateway {
    /// The caller's account as the record has it. An account that is gone has taken its tokens
    /// along.
    ///
    /// # Errors
    /// `token_revoked`, `unavailable`.
    pub async fn get_account(&self, caller: &Claims) -> Result<Account, Error> {
        Ok(self
            .postgres
            .find_user(caller.sub)
            .await?
            .ok_or(Error::TokenRevoked)?
            .account)
    }

    /// Changes names. The caller's next tokens say the new ones. A user name counts like a sign-up:
    /// the answer tells as much about others.
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
        if change.changes_nothing(&account.identity) {
            return Ok(account);
        }
        if change.username.is_none() {
            return self.store_profile(caller, change, origin).await;
        }
        self.rate_limited(
            self.sign_up_attempt(origin),
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
        let (gateway, sub) = (self.clone(), caller.sub);
        let event = origin.self_event(EventKind::ProfileUpdated, caller);
        self.run_to_completion(async move {
            let username = change
                .username
                .as_ref()
                .map(|username| username.as_ref().map(Username::as_str));
            let name = change
                .name
                .as_ref()
                .map(|name| name.as_ref().map(DisplayName::as_str));
            let user = gateway
                .postgres
                .update_user(sub, username, name, &event)
                .await?
                .ok_or(Error::TokenRevoked)?;
            gateway
                .publish_identity(sub, &user.account.identity)
                .await?;
            Ok(user.account)
        })
        .await
    }

    /// Refuses what cannot be undone, or outlives the session, to whoever has not just proved to
    /// know the password.
    pub(crate) fn require_recent_sign_in(&self, caller: &Claims) -> Result<(), Error> {
        let is_fresh = |auth_time| self.clock.now() <= auth_time + RECENT_SIGN_IN_SECONDS;
        if caller.auth_time.is_some_and(is_fresh) {
            Ok(())
        } else {
            Err(Error::ReauthenticationRequired)
        }
    }

    /// Deletes the caller's account with everything in it; every token of it is refused from now
    /// on. Repeating it is fine, and finishes what could not be published.
    ///
    /// # Errors
    /// `reauthentication_required`, `last_admin`, `unavailable`.
    pub async fn delete_own_user(
        self: &Arc<Self>,
        caller: &Claims,
        origin: &Origin,
    ) -> Result<(), Error> {
        self.require_recent_sign_in(caller)?;
        let (gateway, sub, generation) = (self.clone(), caller.sub, caller.generation);
        let event = origin.self_event(EventKind::UserDeleted, caller);
        self.run_to_completion(async move {
            // A live token has the user's generation; where the row is gone already, only the entry
            // was missing.
            let gone = || RevocationBatch::of_user(sub, generation + 1, Reason::AccountDeleted);
            let ending = gateway
                .postgres
                .delete_user(sub, &event)
                .await?
                .unwrap_or_else(gone);
            gateway.publish(&ending).await
        })
        .await
    }
}
