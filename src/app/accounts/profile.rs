//! One's own account.

use std::sync::Arc;

use latchkey_domain::{
    access_token::Claims,
    account::{Account, DisplayName, Identity, Username},
    audit::Kind,
    revocation::{Ending, Reason},
};

use crate::{
    app::{Gateway, Origin},
    error::Error,
};

/// How long a sign-in is fresh enough for what cannot be undone, in seconds.
const FRESH_SECONDS: u64 = 300;

/// A change of names: `None` leaves one as it is, `Some(None)` clears it.
pub struct Rename {
    /// The user name.
    pub username: Option<Option<Username>>,
    /// The display name.
    pub name: Option<Option<DisplayName>>,
}

impl Rename {
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
    pub async fn show_account(&self, caller: &Claims) -> Result<Account, Error> {
        Ok(self
            .record
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
    pub async fn rename_account(
        self: &Arc<Self>,
        caller: &Claims,
        change: Rename,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let account = self.show_account(caller).await?;
        if change.changes_nothing(&account.identity) {
            return Ok(account);
        }
        if change.username.is_none() {
            return self.store_names(caller, change, origin).await;
        }
        self.counted(
            self.sign_up_attempt(origin),
            &origin.allowance,
            self.store_names(caller, change, origin),
        )
        .await
    }

    async fn store_names(
        self: &Arc<Self>,
        caller: &Claims,
        change: Rename,
        origin: &Origin,
    ) -> Result<Account, Error> {
        let (gateway, sub) = (self.clone(), caller.sub);
        let event = origin.own(Kind::Renamed, caller);
        self.uncancelled(async move {
            let username = change
                .username
                .as_ref()
                .map(|username| username.as_ref().map(Username::as_str));
            let name = change
                .name
                .as_ref()
                .map(|name| name.as_ref().map(DisplayName::as_str));
            let user = gateway
                .record
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
    pub(crate) fn check_fresh(&self, caller: &Claims) -> Result<(), Error> {
        let is_fresh = |auth_time| self.clock.now() <= auth_time + FRESH_SECONDS;
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
    pub async fn delete_account(
        self: &Arc<Self>,
        caller: &Claims,
        origin: &Origin,
    ) -> Result<(), Error> {
        self.check_fresh(caller)?;
        let (gateway, sub, generation) = (self.clone(), caller.sub, caller.generation);
        let event = origin.own(Kind::AccountDeleted, caller);
        self.uncancelled(async move {
            // A live token has the user's generation; where the row is gone already, only the entry
            // was missing.
            let gone = || Ending::of_user(sub, generation + 1, Reason::AccountDeleted);
            let ending = gateway
                .record
                .delete_user(sub, &event)
                .await?
                .unwrap_or_else(gone);
            gateway.publish(&ending).await
        })
        .await
    }
}
