//! Use case: register a user and create the first session, in one transaction.

use latchkey_domain::{
    account::{self, Account, DisplayName, EmailAddress, Role, Username},
    audit::{Actor, EventKind},
    group::GroupNames,
    password::Password,
    session::Session,
};
use uuid::Uuid;

use crate::{
    app::{
        accounts::Accounts,
        origin::Origin,
        sessions::issue::{CredentialKind, FirstCredential},
    },
    config::Signup,
    error::Error,
    postgres::NewUser,
};

/// The parameters of a sign-up.
pub struct SignUp {
    /// Required without `email`.
    pub username: Option<Username>,
    /// Required without `username`.
    pub email: Option<EmailAddress>,
    pub password: Password,
    pub name: Option<DisplayName>,
}

impl Accounts {
    /// Whether users can register themselves, at once or with a code.
    pub fn allows_sign_up(&self) -> bool {
        self.settings.signup != Signup::Admin
    }

    /// Whether a registration requires a code that is sent to the email address.
    pub fn verifies_sign_ups(&self) -> bool {
        self.settings.signup == Signup::Verify
    }

    /// Registers a user, and issues the first credential of the session.
    ///
    /// # Errors
    /// `signup_closed`, `invalid_request`, `weak_password`, `username_taken`, `email_taken`,
    /// `too_many_requests`, `busy`, `unavailable`.
    pub async fn sign_up(
        &self,
        kind: CredentialKind,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(FirstCredential, Account), Error> {
        let (session, account) = self
            .create_account(kind.client_id(), request, origin)
            .await?;
        let credential = self.sessions.issue_first(kind, &session, &account).await?;
        Ok((credential, account))
    }

    async fn create_account(
        &self,
        client_id: &str,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        if self.settings.signup != Signup::Open {
            return Err(Error::SignupClosed);
        }
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.sign_up_attempt(origin),
                &origin.request_limits,
                self.try_create_account(client_id, request, origin),
            )
            .await
    }

    /// Checks the username and the password of a new user.
    ///
    /// # Errors
    /// `invalid_request`, `weak_password`.
    pub(super) fn check_sign_up(&self, request: &SignUp) -> Result<(), Error> {
        self.require_unreserved(request.username.as_ref())?;
        let identifiers = account::identifiers(
            request.username.as_ref(),
            request.email.as_ref(),
            request.name.as_ref(),
        );
        self.settings
            .password_policy
            .check(&request.password, identifiers)
            .map_err(Error::WeakPassword)
    }

    async fn try_create_account(
        &self,
        client_id: &str,
        request: SignUp,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        if request.username.is_none() && request.email.is_none() {
            return Err(Error::invalid_field(
                "username",
                "provide `username` or `email`",
            ));
        }
        self.check_sign_up(&request)?;
        self.keys.require_loaded()?;
        let password_hash = self.hasher.hash(request.password.into()).await?;
        let user = NewUser {
            id: Uuid::now_v7(),
            username: request.username.as_ref().map(Username::as_str),
            email: request.email.as_ref().map(EmailAddress::as_str),
            email_verified: false,
            password_hash: &password_hash,
            name: request.name.as_ref().map(DisplayName::as_str),
            role: Role::User,
            groups: &GroupNames::default(),
            password_change_required: false,
        };
        // A new user has generation 1, the default of the column.
        let session = self
            .sessions
            .build_session(client_id, user.id, 1, Role::User.scopes());
        let address = origin.address.to_string();
        let event = origin
            .event(EventKind::SignUp, Actor::User(user.id), Some(user.id))
            .of_session(session.session_id);
        let account = self
            .postgres
            .create_account(
                &user,
                &self.sessions.row(&session, &address, origin),
                &event,
            )
            .await?
            .account;
        Ok((session, account))
    }
}
