//! Signing in with a password.

use std::sync::Arc;

use latchkey_domain::{
    account::{Account, SignInName},
    audit::{Actor, Kind},
    password::{Password, Verdict},
    scope::Scopes,
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
};

use crate::{
    app::{Cookie, Gateway, Origin, Pair},
    error::Error,
    postgres::{Credentials, StoredUser},
};

impl Gateway {
    /// Signs in by user name or address. Unknown, disabled and wrong look alike, and cost the same
    /// hash. The session may be used for what is wanted of all that the account may do.
    ///
    /// # Errors
    /// `invalid_credentials`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn log_in(
        self: &Arc<Self>,
        name: &SignInName,
        password: Password,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<Pair, Error> {
        let (session, account) = self
            .sign_in(FIRST_PARTY_CLIENT, name, password, wanted, origin)
            .await?;
        self.first_pair(&session, &account).await
    }

    /// The same for a browser, which gets a cookie.
    ///
    /// # Errors
    /// As [`Gateway::log_in`].
    pub async fn log_in_browser(
        self: &Arc<Self>,
        name: &SignInName,
        password: Password,
        origin: &Origin,
    ) -> Result<(Cookie, Account), Error> {
        let (session, account) = self
            .sign_in(BROWSER_CLIENT, name, password, None, origin)
            .await?;
        Ok((self.first_cookie(&session, &account).await?, account))
    }

    async fn sign_in(
        self: &Arc<Self>,
        client: &str,
        name: &SignInName,
        password: Password,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        let attempt = self.sign_in_attempt(name.as_str(), origin);
        let story = self.try_log_in(client, name, password, wanted, origin);
        let outcome = match self.hasher.admit() {
            Ok(()) => self.counted(attempt, &origin.allowance, story).await,
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

    async fn try_log_in(
        self: &Arc<Self>,
        client: &str,
        name: &SignInName,
        password: Password,
        wanted: Option<Scopes>,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        self.wants_keys()?;
        let password = Arc::new(password);
        let known = self.record.find_user_to_sign_in(name.as_str()).await?;
        let stored = known.as_ref().map(|known| known.password_hash.as_str());
        let verdict = self.hasher.verify(&password, stored).await?;
        let known = match (verdict, known) {
            (Verdict::Right, Some(known)) if !known.user.disabled => known,
            (Verdict::RightButWeaklyHashed, Some(known)) if !known.user.disabled => {
                self.raise_hash(known, password).await?
            }
            (_, known) => {
                return Err(self.refuse_sign_in(known.map(|known| known.user).as_ref(), origin));
            }
        };
        let user = &known.user;
        let may = user.account.identity.role.scopes();
        let scopes = wanted.map_or(may, |wanted| wanted.and(may));
        let session = self.new_session(client, user.account.id, user.generation, scopes);
        let address = origin.address.to_string();
        let event = origin
            .event(Kind::SignIn, Actor::User(session.sub), Some(session.sub))
            .of_session(session.sid);
        // Between the look at the row and now the password may have been changed; the statement
        // decides.
        match self
            .record
            .open_session(&known, &self.row(&session, &address, origin), &event)
            .await?
        {
            None => return Err(self.refuse_sign_in(Some(user), origin)),
            Some(opened) if opened.crowded => self.end_oldest_sessions(user.account.id),
            Some(_) => {}
        }
        Ok((session, known.user.account))
    }

    /// Stores the password under today's parameters.
    async fn raise_hash(
        &self,
        known: Credentials,
        password: Arc<Password>,
    ) -> Result<Credentials, Error> {
        let stronger = self.hasher.hash(password).await?;
        let raised = self.record.raise_password_hash(&known, &stronger).await?;
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
    fn refuse_sign_in(&self, user: Option<&StoredUser>, origin: &Origin) -> Error {
        let reason = match user {
            None => "unknown_user",
            Some(user) if user.disabled => "user_disabled",
            Some(_) => "incorrect_password",
        };
        let event = origin.event(
            Kind::SignInRefused,
            Actor::Stranger,
            user.map(|user| user.account.id),
        );
        self.refuse(event.because(reason), origin);
        Error::InvalidCredentials
    }
}
