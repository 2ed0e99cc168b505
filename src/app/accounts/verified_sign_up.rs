//! Use case: register a user with a verified email address (`LATCHKEY_SIGNUP=verify`). The client
//! requests a code by email, and completes the registration with it.
//!
//! The request stores only the email with the code. The confirmation contains everything else again:
//! the password, the username, and the display name. Therefore, an attacker who requests a code for
//! the address of another person determines no part of the account that the code creates, and can't
//! replace a registration of this person.

use std::sync::Arc;

use latchkey_domain::{
    account::{Account, DisplayName, EmailAddress, Role, Username},
    audit::{Actor, EventKind},
    group::GroupNames,
    one_time_code::{self, CodePurpose, OneTimeCode},
    password::Password,
    session::Session,
};
use uuid::Uuid;

use crate::{
    app::{
        accounts::{Accounts, sign_up::SignUp},
        origin::Origin,
        sessions::issue::{CredentialKind, FirstCredential},
    },
    config::Signup,
    error::Error,
    postgres::{CodeState, ConfirmedSignUp, EmailTemplate, NewUser, StoredUser},
    redis::Reservation,
};

/// The error detail if the user is registered, but the change of the previous holder isn't
/// published.
const USER_REGISTERED: &str = "The user is registered. Sign in with the password.";

const SIGN_UP_CODE: CodePurpose = CodePurpose::SignUp;

/// The parameters of a sign-up with a code.
pub struct VerifiedSignUp {
    pub email: EmailAddress,
    pub code: OneTimeCode,
    pub username: Option<Username>,
    pub password: Password,
    pub name: Option<DisplayName>,
}

/// A sign-up whose code is reserved for it.
struct ReservedSignUp {
    /// The ID of the email with the code.
    email_id: Uuid,
    /// The ID under which the code is stored.
    subject_id: Uuid,
    username: Option<Username>,
    password_hash: String,
    name: Option<DisplayName>,
    session: Session,
    origin: Origin,
}

impl Accounts {
    /// Enqueues an email with a sign-up code. A user who has verified this address gets a notice
    /// instead.
    ///
    /// The response reveals neither whether a user has the address, nor whether its email quota is
    /// exhausted. If the quota is exhausted, the previous code stays valid.
    ///
    /// # Errors
    /// `signup_closed`, `invalid_request`, `weak_password`, `username_taken`, `too_many_requests`,
    /// `unavailable`.
    pub async fn request_sign_up(&self, request: &SignUp, origin: &Origin) -> Result<(), Error> {
        self.require_verified_sign_up()?;
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.sign_up_attempt(origin),
                &origin.request_limits,
                self.try_request_sign_up(request, origin),
            )
            .await
    }

    /// Like [`Accounts::request_sign_up`], for a page that asks for everything else with the code.
    ///
    /// # Errors
    /// `signup_closed`, `too_many_requests`, `unavailable`.
    pub async fn request_sign_up_code(
        &self,
        email: &EmailAddress,
        origin: &Origin,
    ) -> Result<(), Error> {
        self.require_verified_sign_up()?;
        self.rate_limits
            .run_rate_limited(
                self.rate_limits.sign_up_attempt(origin),
                &origin.request_limits,
                self.send_sign_up_code(email, origin),
            )
            .await
    }

    fn require_verified_sign_up(&self) -> Result<(), Error> {
        match self.settings.signup {
            Signup::Verify => Ok(()),
            Signup::Open => Err(Error::SignupWithoutCode),
            Signup::Admin => Err(Error::SignupClosed),
        }
    }

    async fn try_request_sign_up(&self, request: &SignUp, origin: &Origin) -> Result<(), Error> {
        let Some(email) = &request.email else {
            return Err(Error::invalid_field(
                "email",
                "is required, because this server sends a code to it",
            ));
        };
        self.check_sign_up(request)?;
        if let Some(username) = &request.username
            && self.postgres.is_username_taken(username.as_str()).await?
        {
            return Err(Error::UsernameTaken);
        }
        self.send_sign_up_code(email, origin).await
    }

    async fn send_sign_up_code(&self, email: &EmailAddress, origin: &Origin) -> Result<(), Error> {
        self.rate_limits
            .run_within_email_quota(
                SIGN_UP_CODE.as_str(),
                email.as_str(),
                self.enqueue_sign_up_code(email, origin),
            )
            .await
    }

    async fn enqueue_sign_up_code(
        &self,
        email: &EmailAddress,
        origin: &Origin,
    ) -> Result<(), Error> {
        let event = origin
            .event(EventKind::CodeRequested, Actor::Unauthenticated, None)
            .with_reason(EmailTemplate::SignUp.into_str());
        let subject_id = one_time_code::sign_up_subject_id(email.as_str());
        self.postgres
            .request_sign_up_code(Uuid::now_v7(), email.as_str(), subject_id, event)
            .await?;
        self.mail.notify();
        Ok(())
    }

    /// Registers a user with a code, and issues the first credential of the session.
    ///
    /// # Errors
    /// `signup_closed`, `invalid_request`, `weak_password`, `invalid_code`, `username_taken`,
    /// `email_taken`, `too_many_requests`, `busy`, `unavailable`.
    pub async fn confirm_sign_up(
        self: &Arc<Self>,
        kind: CredentialKind,
        request: VerifiedSignUp,
        origin: &Origin,
    ) -> Result<(FirstCredential, Account), Error> {
        let (session, account) = self
            .create_verified_account(kind.client_id(), request, origin)
            .await?;
        let credential = self.sessions.issue_first(kind, &session, &account).await?;
        Ok((credential, account))
    }

    async fn create_verified_account(
        self: &Arc<Self>,
        client_id: &str,
        request: VerifiedSignUp,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        self.require_verified_sign_up()?;
        let attempt = self
            .rate_limits
            .code_attempt(request.email.as_str(), origin);
        self.rate_limits
            .run_rate_limited(
                attempt,
                &origin.request_limits,
                self.try_create_verified_account(client_id, request, origin),
            )
            .await
    }

    /// Checks and hashes the password before the code, so that a rejected password doesn't consume
    /// the code. Therefore, every attempt costs a hash, whether its code is correct or not.
    async fn try_create_verified_account(
        self: &Arc<Self>,
        client_id: &str,
        request: VerifiedSignUp,
        origin: &Origin,
    ) -> Result<(Session, Account), Error> {
        let sign_up = SignUp {
            username: request.username,
            email: Some(request.email.clone()),
            password: request.password,
            name: request.name,
        };
        self.check_sign_up(&sign_up)?;
        self.keys.require_loaded()?;
        let password_hash = self.hasher.hash(sign_up.password.into()).await?;
        let subject_id = one_time_code::sign_up_subject_id(request.email.as_str());
        let reservation = self
            .reserve_code(SIGN_UP_CODE, subject_id, &request.code, origin)
            .await?;
        self.audit_wrong_code(&reservation, SIGN_UP_CODE, None, origin);
        match reservation {
            Reservation::Reserved(email_id) => {
                // A new user has generation 1, the default of the column.
                let (user_id, scopes) = (Uuid::now_v7(), Role::User.scopes());
                let reserved = ReservedSignUp {
                    email_id,
                    subject_id,
                    username: sign_up.username,
                    password_hash,
                    name: sign_up.name,
                    session: self.sessions.build_session(client_id, user_id, 1, scopes),
                    origin: origin.clone(),
                };
                let accounts = self.clone();
                self.tasks
                    .run_to_completion(async move { accounts.use_sign_up_code(reserved).await })
                    .await
            }
            Reservation::Busy(email_id) => Err(match self.postgres.find_code(email_id).await? {
                CodeState::Open => Error::Busy,
                CodeState::Used { .. } | CodeState::Void => Error::InvalidCode,
            }),
            Reservation::Exhausted(retry_after) => Err(Error::TooManyRequests { retry_after }),
            Reservation::Incorrect => Err(Error::InvalidCode),
        }
    }

    async fn use_sign_up_code(
        &self,
        reserved: ReservedSignUp,
    ) -> Result<(Session, Account), Error> {
        let (email_id, subject_id) = (reserved.email_id, reserved.subject_id);
        match self.store_verified_account(&reserved).await {
            Ok(confirmed) => {
                // PostgreSQL has consumed the code, so its deletion in Redis is optional.
                let _ = self
                    .redis
                    .use_code(SIGN_UP_CODE, subject_id, email_id)
                    .await;
                let confirmed = confirmed.ok_or(Error::InvalidCode)?;
                if let Some(StoredUser { account, .. }) = &confirmed.previous_holder {
                    self.revocations
                        .publish_identity(account.id, &account.identity)
                        .await
                        .map_err(|error| error.after_commit(USER_REGISTERED))?;
                }
                Ok((reserved.session, confirmed.user.account))
            }
            Err(error) => {
                // Usually nothing was committed, so the client can present the code again, for
                // example with another username.
                let _ = self
                    .redis
                    .release_code(SIGN_UP_CODE, subject_id, email_id)
                    .await;
                Err(error)
            }
        }
    }

    async fn store_verified_account(
        &self,
        reserved: &ReservedSignUp,
    ) -> Result<Option<ConfirmedSignUp>, Error> {
        let (session, origin) = (&reserved.session, &reserved.origin);
        let user = NewUser {
            id: session.user_id,
            username: reserved.username.as_ref().map(Username::as_str),
            // The recipient of the code becomes the address.
            email: None,
            email_verified: false,
            password_hash: &reserved.password_hash,
            name: reserved.name.as_ref().map(DisplayName::as_str),
            role: Role::User,
            groups: &GroupNames::default(),
            password_change_required: false,
        };
        let event = origin
            .event(EventKind::SignUp, Actor::User(user.id), Some(user.id))
            .of_session(session.session_id);
        let address = origin.address.to_string();
        let row = self.sessions.row(session, &address, origin);
        self.postgres
            .confirm_sign_up(reserved.email_id, reserved.subject_id, &user, &row, &event)
            .await
    }
}
