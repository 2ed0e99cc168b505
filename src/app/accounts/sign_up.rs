//! Signing up: an account and its first session, at once.

use latchkey_domain::{
    account::{Account, DisplayName, EmailAddress, Role, Username},
    audit::{Actor, EventKind},
    password::Password,
    session::{BROWSER_CLIENT, FIRST_PARTY_CLIENT, Session},
};
use uuid::Uuid;

use crate::{
    app::{Cookie, Gateway, Origin, TokenPair},
    config::Signup,
    error::Error,
    postgres::NewUser,
};

/// What it takes.
pub struct SignUp {
    /// The user name; this, an address, or both.
    pub username: Option<Username>,
    /// The address.
    pub email: Option<EmailAddress>,
    /// The password.
    pub password: Password,
    /// The display name.
    pub name: Option<DisplayName>,
}

impl Gateway {
    /// Whether anybody may make an account of their own.
    pub fn signup_is_open(&self) -> bool {
        self.config.signup == Signup::Open
    }

    /// Makes the account and signs it in.
    ///
    /// # Errors
    /// `signup_closed`, `invalid_request`, `weak_password`, `username_taken`, `email_taken`,
    /// `too_many_requests`, `busy`, `unavailable`.
    pub async fn sign_up(
        &self,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(TokenPair, Account), Error> {
        let (session, account) = self
            .create_account(FIRST_PARTY_CLIENT, request, origin)
            .await?;
        Ok((self.first_pair(&session, &account).await?, account))
    }

    /// The same for a browser, which gets a cookie.
    ///
    /// # Errors
    /// As [`Gateway::sign_up`].
    pub async fn sign_up_browser(
        &self,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(Cookie, Account), Error> {
        let (session, account) = self.create_account(BROWSER_CLIENT, request, origin).await?;
        Ok((self.first_cookie(&session, &account).await?, account))
    }

    async fn create_account(
        &self,
        client: &str,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        if !self.signup_is_open() {
            return Err(Error::SignupClosed);
        }
        self.rate_limited(
            self.sign_up_attempt(origin),
            &origin.request_limits,
            self.try_create(client, request, origin),
        )
        .await
    }

    async fn try_create(
        &self,
        client: &str,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        if request.username.is_none() && request.email.is_none() {
            return Err(Error::invalid_field(
                "username",
                "provide `username` or `email`",
            ));
        }
        request
            .password
            .check(self.config.password_min)
            .map_err(Error::WeakPassword)?;
        self.require_loaded()?;
        let password_hash = self.hasher.hash(request.password.into()).await?;
        let user = NewUser {
            id: Uuid::now_v7(),
            username: request.username.as_ref().map(Username::as_str),
            email: request.email.as_ref().map(EmailAddress::as_str),
            password_hash: &password_hash,
            name: request.name.as_ref().map(DisplayName::as_str),
            role: Role::User,
        };
        // The column's default: the first generation.
        let session = self.new_session(client, user.id, 1, Role::User.scopes());
        let address = origin.address.to_string();
        let event = origin
            .event(EventKind::SignUp, Actor::User(user.id), Some(user.id))
            .of_session(session.sid);
        let account = self
            .postgres
            .create_account(&user, &self.row(&session, &address, origin), &event)
            .await?
            .account;
        Ok((session, account))
    }
}
