//! Signs a user in with a password. The session gets a token pair or a session cookie.

use std::sync::Arc;

use latchkey_domain::{
    account::{Account, SignInName},
    audit::{Actor, EventKind},
    password::{Password, PasswordMatch},
    scope::Scopes,
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
};

use crate::{
    app::{
        origin::Origin,
        sessions::{
            Sessions,
            issue::{Cookie, TokenPair},
        },
    },
    error::Error,
    postgres::{Credentials, StoredUser},
};

impl Sessions {
    /// Signs a user in by username or email address. An unknown user, a disabled user, and an
    /// incorrect password cause the same error after the same hash computation, so that an attacker
    /// can't discover users.
    ///
    /// The session has the requested scopes that the role of the user allows, by default all of
    /// them.
    ///
    /// # Errors
    /// `invalid_credentials`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn sign_in(
        self: &Arc<Self>,
        name: &SignInName,
        password: Password,
        requested: Option<Scopes>,
        origin: &Origin,
    ) -> Result<TokenPair, Error> {
        let (session, account) = self
            .authenticate(FIRST_PARTY_CLIENT, name, password, requested, origin)
            .await?;
        self.issue_first_pair(&session, &account).await
    }

    /// Signs a user in from a browser, like [`Sessions::sign_in`], and issues a session cookie.
    ///
    /// # Errors
    /// `invalid_credentials`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn sign_in_browser(
        self: &Arc<Self>,
        name: &SignInName,
        password: Password,
        origin: &Origin,
    ) -> Result<(Cookie, Account), Error> {
        let (session, account) = self
            .authenticate(BROWSER_CLIENT, name, password, None, origin)
            .await?;
        Ok((self.issue_first_cookie(&session, &account).await?, account))
    }

    async fn authenticate(
        self: &Arc<Self>,
        client_id: &str,
        name: &SignInName,
        password: Password,
        requested: Option<Scopes>,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        let attempt = self.rate_limits.sign_in_attempt(name.as_str(), origin);
        let task = self.try_authenticate(client_id, name, password, requested, origin);
        let outcome = match self.hasher.check_capacity() {
            Ok(()) => {
                self.rate_limits
                    .run_rate_limited(attempt, &origin.request_limits, task)
                    .await
            }
            // Overload: reject the request before it uses the stores.
            Err(busy) => Err(busy),
        };
        let label = match &outcome {
            Ok(_) => "success",
            Err(Error::InvalidCredentials) => "failure",
            Err(Error::TooManyRequests { .. }) => "rate_limited",
            Err(_) => "error",
        };
        metrics::counter!("latchkey_sign_ins_total", "outcome" => label).increment(1);
        outcome
    }

    async fn try_authenticate(
        self: &Arc<Self>,
        client_id: &str,
        name: &SignInName,
        password: Password,
        requested: Option<Scopes>,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        self.keys.require_loaded()?;
        let password = Arc::new(password);
        let stored = self.postgres.find_user_to_sign_in(name.as_str()).await?;
        let hash = stored.as_ref().map(|stored| stored.password_hash.as_str());
        let password_match = self.hasher.verify(&password, hash).await?;
        let credentials = match (password_match, stored) {
            (PasswordMatch::Match, Some(stored)) if !stored.user.disabled => stored,
            (PasswordMatch::MatchNeedsRehash, Some(stored)) if !stored.user.disabled => {
                self.upgrade_hash(stored, password).await?
            }
            (_, stored) => {
                let user = stored.map(|stored| stored.user);
                return Err(self.deny_sign_in(user.as_ref(), origin));
            }
        };
        let user = &credentials.user;
        let allowed = user.account.identity.role.scopes();
        let scopes = requested.map_or(allowed, |requested| requested.and(allowed));
        let session = self.build_session(client_id, user.account.id, user.generation, scopes);
        let address = origin.address.to_string();
        let event = origin
            .event(
                EventKind::SignIn,
                Actor::User(session.user_id),
                Some(session.user_id),
            )
            .of_session(session.session_id);
        // The password might have changed since the row was read. The statement checks it again.
        match self
            .postgres
            .create_session(&credentials, &self.row(&session, &address, origin), &event)
            .await?
        {
            None => return Err(self.deny_sign_in(Some(user), origin)),
            Some(created) if created.crowded => self.revoke_oldest_sessions(user.account.id),
            Some(_) => {}
        }
        Ok((session, credentials.user.account))
    }

    /// Replaces a hash that was computed with outdated parameters. After a concurrent password
    /// change, the stored hash stays.
    async fn upgrade_hash(
        &self,
        credentials: Credentials,
        password: Arc<Password>,
    ) -> Result<Credentials, Error> {
        let new_hash = self.hasher.hash(password).await?;
        let is_upgraded = self
            .postgres
            .upgrade_password_hash(&credentials, &new_hash)
            .await?;
        Ok(if is_upgraded {
            Credentials {
                password_hash: new_hash,
                ..credentials
            }
        } else {
            credentials
        })
    }

    /// Writes the reason to the audit log, and returns an error without it. For a disabled user,
    /// the reason doesn't depend on the password, so that the log doesn't confirm a password.
    fn deny_sign_in(&self, user: Option<&StoredUser>, origin: &Origin) -> Error {
        let reason = match user {
            None => "unknown_user",
            Some(user) if user.disabled => "user_disabled",
            Some(_) => "incorrect_password",
        };
        let event = origin.event(
            EventKind::SignInFailed,
            Actor::Unauthenticated,
            user.map(|user| user.account.id),
        );
        self.audit.record_denied(event.with_reason(reason), origin);
        Error::InvalidCredentials
    }
}
