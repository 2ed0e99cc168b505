//! Signing in with a password.

use std::sync::Arc;

use latchkey_domain::{
    account::{Account, SignInName},
    audit::{Actor, EventKind},
    password::{Password, PasswordMatch},
    scope::Scopes,
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
};

use crate::{
    app::{Cookie, Gateway, Origin, TokenPair},
    error::Error,
    postgres::{Credentials, StoredUser},
};

impl Gateway {
    /// Signs in by user name or address. Unknown, disabled and wrong look alike, and cost the same
    /// hash. The session may be used for what is wanted of all that the account may do.
    ///
    /// # Errors
    /// `invalid_credentials`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn sign_in(
        self: &Arc<Self>,
        name: &SignInName,
        password: Password,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<TokenPair, Error> {
        let (session, account) = self
            .authenticate(FIRST_PARTY_CLIENT, name, password, wanted, origin)
            .await?;
        self.first_pair(&session, &account).await
    }

    /// The same for a browser, which gets a cookie.
    ///
    /// # Errors
    /// As [`Gateway::sign_in`].
    pub async fn sign_in_browser(
        self: &Arc<Self>,
        name: &SignInName,
        password: Password,
        origin: &Origin,
    ) -> Result<(Cookie, Account), Error> {
        let (session, account) = self
            .authenticate(BROWSER_CLIENT, name, password, None, origin)
            .await?;
        Ok((self.first_cookie(&session, &account).await?, account))
    }

    async fn authenticate(
        self: &Arc<Self>,
        client: &str,
        name: &SignInName,
        password: Password,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        let attempt = self.sign_in_attempt(name.as_str(), origin);
        let task = self.try_authenticate(client, name, password, wanted, origin);
        let outcome = match self.hasher.admit() {
            Ok(()) => {
                self.rate_limited(attempt, &origin.request_limits, task)
                    .await
            }
            // In a storm nobody asks the stores in vain.
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
        client: &str,
        name: &SignInName,
        password: Password,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        self.require_loaded()?;
        let password = Arc::new(password);
        let known = self.postgres.find_user_to_sign_in(name.as_str()).await?;
        let stored = known.as_ref().map(|known| known.password_hash.as_str());
        let verdict = self.hasher.verify(&password, stored).await?;
        let known = match (verdict, known) {
            (PasswordMatch::Match, Some(known)) if !known.user.disabled => known,
            (PasswordMatch::MatchNeedsRehash, Some(known)) if !known.user.disabled => {
                self.upgrade_hash(known, password).await?
            }
            (_, known) => {
                return Err(self.deny_sign_in(known.map(|known| known.user).as_ref(), origin));
            }
        };
        let user = &known.user;
        let may = user.account.identity.role.scopes();
        let scopes = wanted.map_or(may, |wanted| wanted.and(may));
        let session = self.new_session(client, user.account.id, user.generation, scopes);
        let address = origin.address.to_string();
        let event = origin
            .event(
                EventKind::SignIn,
                Actor::User(session.sub),
                Some(session.sub),
            )
            .of_session(session.sid);
        // Between the look at the row and now the password may have been changed; the statement
        // decides.
        match self
            .postgres
            .create_session(&known, &self.row(&session, &address, origin), &event)
            .await?
        {
            None => return Err(self.deny_sign_in(Some(user), origin)),
            Some(opened) if opened.crowded => self.revoke_oldest_sessions(user.account.id),
            Some(_) => {}
        }
        Ok((session, known.user.account))
    }

    /// Stores the password under today's parameters.
    async fn upgrade_hash(
        &self,
        known: Credentials,
        password: Arc<Password>,
    ) -> Result<Credentials, Error> {
        let stronger = self.hasher.hash(password).await?;
        let raised = self
            .postgres
            .upgrade_password_hash(&known, &stronger)
            .await?;
        Ok(if raised {
            Credentials {
                password_hash: stronger,
                ..known
            }
        } else {
            known
        })
    }

    /// The answer does not say which it was; the owner and administrators may know. Of a disabled
    /// account it is not told whether the password was right.
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
        self.record_denied(event.with_reason(reason), origin);
        Error::InvalidCredentials
    }
}
