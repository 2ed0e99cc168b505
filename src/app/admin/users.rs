//! Use cases of administrators: list, get, and create users.

use crate::{
    app::{
        admin::actor::AdminActor,
        limits::{password_hasher::PasswordHasher, rate_limits::RateLimits},
        mail::Mail,
        revocation::Revocations,
        sessions::{Sessions, list::SessionPage},
        tasks::Tasks,
    },
    config::Config,
    error::Error,
    postgres::{NewUser, Postgres, StoredUser},
    redis::Redis,
};
use latchkey_domain::one_time_code::CodeKeys;
use latchkey_domain::{
    account::{self, Account, DisplayName, EmailAddress, NamePrefix, Role, Username},
    audit::EventKind,
    group::{GroupName, GroupNames},
    page::Page,
    password::{self, Password, PasswordPolicy},
    text::ParsedText,
};
use secrecy::{ExposeSecret, SecretString};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Administers users.
pub struct Users {
    pub(crate) postgres: Arc<Postgres>,
    pub(crate) redis: Arc<Redis>,
    pub(crate) tasks: Arc<Tasks>,
    pub(crate) hasher: Arc<PasswordHasher>,
    pub(crate) revocations: Arc<Revocations>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) mail: Arc<Mail>,
    pub(crate) rate_limits: Arc<RateLimits>,
    pub(crate) code_keys: Arc<CodeKeys>,
    pub(crate) settings: UserSettings,
}

/// The settings of user administration.
pub(crate) struct UserSettings {
    pub(super) password_policy: Arc<PasswordPolicy>,
    pub(super) code_lifetime: Duration,
}

impl UserSettings {
    pub(crate) fn new(config: &Config) -> UserSettings {
        UserSettings {
            password_policy: config.password_policy(),
            code_lifetime: config.code_lifetime,
        }
    }
}

/// A user, with the fields that only administrators see.
#[derive(Debug, Clone)]
pub struct ManagedUser {
    pub account: Account,
    /// A disabled user can't sign in.
    pub disabled: bool,
}

impl From<StoredUser> for ManagedUser {
    fn from(user: StoredUser) -> Self {
        ManagedUser {
            account: user.account,
            disabled: user.disabled,
        }
    }
}

/// A page of users.
pub struct UserPage {
    /// The users in ascending order of ID.
    pub users: Vec<ManagedUser>,
    /// The cursor of the next page; `None` for the last page.
    pub next: Option<String>,
}

/// The parameters of a user that an administrator creates.
pub struct NewUserRequest {
    /// Required if `password` is set and `email` isn't.
    pub username: Option<Username>,
    /// Required if `username` or `password` isn't set.
    pub email: Option<EmailAddress>,
    pub name: Option<DisplayName>,
    pub role: Role,
    /// The groups of the user, which must exist.
    pub groups: GroupNames,
    /// If absent, the user receives an invitation by email.
    pub password: Option<Password>,
}

impl Users {
    /// Returns a page of users whose username or email address starts with the prefix.
    ///
    /// An empty prefix selects all users. With `group`, the page contains only its members.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_users(
        &self,
        prefix: &NamePrefix,
        group: Option<&GroupName>,
        page: Page,
    ) -> Result<UserPage, Error> {
        let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
        let group = group.map(GroupName::as_str);
        let users = self.postgres.list_users(prefix, group, page).await?;
        let (users, next) = page.cut(users, |user| user.account.id);
        Ok(UserPage {
            users: users.into_iter().map(Into::into).collect(),
            next,
        })
    }

    /// Returns a user.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn get_user(&self, id: Uuid) -> Result<ManagedUser, Error> {
        Ok(self
            .postgres
            .find_user(id)
            .await?
            .ok_or(Error::NotFound)?
            .into())
    }

    /// Returns a page of the valid sessions of a user.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn list_sessions_of_user(&self, id: Uuid, page: Page) -> Result<SessionPage, Error> {
        self.get_user(id).await?;
        self.sessions.list_sessions(id, page).await
    }

    /// Creates a user on behalf of an administrator.
    ///
    /// Without a password, the user receives an invitation by email to set one.
    ///
    /// # Errors
    /// `forbidden` or `reauthentication_required` without a recent sign-in; `invalid_request`,
    /// `weak_password`, `email_disabled`, `username_taken`, `email_taken`, `busy`, `unavailable`.
    pub async fn create_user(
        &self,
        actor: AdminActor,
        request: NewUserRequest,
    ) -> Result<ManagedUser, Error> {
        actor.require_recent_sign_in()?;
        let is_invited = request.password.is_none();
        self.check_new_user(&request)?;
        let password = request
            .password
            .map_or_else(|| self.generate_initial_password(), Ok)?;
        let password_hash = self.hasher.hash(password.into()).await?;
        let user = NewUser {
            id: Uuid::now_v7(),
            username: request.username.as_ref().map(Username::as_str),
            email: request.email.as_ref().map(EmailAddress::as_str),
            email_verified: false,
            password_hash: &password_hash,
            name: request.name.as_ref().map(DisplayName::as_str),
            role: request.role,
            groups: &request.groups,
            password_change_required: !is_invited,
        };
        let event = actor
            .event(EventKind::UserCreated, user.id)
            .with_reason(request.role.as_str());
        let user = self
            .postgres
            .create_user(&user, is_invited.then(Uuid::now_v7), &event)
            .await?;
        self.mail.notify();
        Ok(user.into())
    }

    fn check_new_user(&self, request: &NewUserRequest) -> Result<(), Error> {
        match &request.password {
            Some(_) if request.username.is_none() && request.email.is_none() => Err(
                Error::invalid_field("username", "provide `username` or `email`"),
            ),
            Some(password) => {
                let identifiers = account::identifiers(
                    request.username.as_ref(),
                    request.email.as_ref(),
                    request.name.as_ref(),
                );
                self.settings
                    .password_policy
                    .check(password, identifiers)
                    .map_err(Error::WeakPassword)
            }
            None if request.email.is_none() => Err(Error::invalid_field(
                "email",
                "is required without `password` (the invitation is sent there)",
            )),
            None if !self.mail.is_enabled() => {
                Err(Error::EmailDisabled(Some("Provide `password`.")))
            }
            None => Ok(()),
        }
    }

    /// Generates a password for an invited user, which is discarded after hashing.
    ///
    /// Every user has a password hash, so that a sign-in attempt takes as long for an invited user
    /// as for any other.
    fn generate_initial_password(&self) -> Result<Password, Error> {
        Password::parse(self.generate_password()?.expose_secret())
            .map_err(|reason| Error::internal(reason.into_owned()))
    }

    /// Generates a random password that the policy accepts. The operator passes it on to the user.
    ///
    /// # Errors
    /// `internal`.
    pub fn generate_password(&self) -> Result<SecretString, Error> {
        let mut random = vec![
            0;
            self.settings
                .password_policy
                .minimum()
                .max(password::GENERATED_CHARACTERS)
        ];
        aws_lc_rs::rand::fill(&mut random).map_err(Error::internal)?;
        Ok(password::generated(&random))
    }
}
