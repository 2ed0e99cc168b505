//! Accounts as administrators see and make them.

use latchkey_domain::{
    account::{Account, DisplayName, EmailAddress, NamePrefix, Role, Username},
    audit::{Actor, AuditEvent, EventKind},
    page::Page,
    password::{self, Password},
    text::ParsedText,
};
use uuid::Uuid;

use crate::{
    app::{Gateway, Origin, SessionPage},
    error::Error,
    postgres::{NewUser, StoredUser},
};

/// Who administers, and from where.
#[derive(Debug, Clone)]
pub enum AdminActor {
    /// An account with that role.
    User(Uuid, Origin),
    /// Whoever may run the program with the gateway's settings.
    Operator,
}

impl AdminActor {
    /// Something that is done to an account.
    pub(crate) fn event(&self, kind: EventKind, user: Uuid) -> AuditEvent {
        match self {
            AdminActor::User(id, origin) => origin.event(kind, Actor::Admin(*id), Some(user)),
            AdminActor::Operator => AuditEvent::new(kind, Actor::Operator, Some(user)),
        }
    }
}

/// An account, with what only administrators see.
#[derive(Debug, Clone)]
pub struct ManagedUser {
    /// The account.
    pub account: Account,
    /// Whether signing in is refused.
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

/// A page of accounts, and the cursor of the next page if there is one.
pub struct UserPage {
    /// The accounts, by id ascending.
    pub users: Vec<ManagedUser>,
    /// Where to go on.
    pub next: Option<String>,
}

/// An account that is to be made for somebody else.
pub struct NewUserRequest {
    /// The user name; this, an address, or both.
    pub username: Option<Username>,
    /// The address.
    pub email: Option<EmailAddress>,
    /// The display name.
    pub name: Option<DisplayName>,
    /// What it may do.
    pub role: Role,
    /// The password; without one the address gets an invitation.
    pub password: Option<Password>,
}

impl Gateway {
    /// A page of all accounts, or of those whose user name or address begins like this.
    ///
    /// # Errors
    /// `unavailable`.
    pub async fn list_users(&self, prefix: &NamePrefix, page: Page) -> Result<UserPage, Error> {
        let prefix = Some(prefix.as_str()).filter(|prefix| !prefix.is_empty());
        let (users, next) = page.cut(self.postgres.list_users(prefix, page).await?, |user| {
            user.account.id
        });
        Ok(UserPage {
            users: users.into_iter().map(Into::into).collect(),
            next,
        })
    }

    /// One account.
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

    /// A page of the live sessions of an account.
    ///
    /// # Errors
    /// `not_found`, `unavailable`.
    pub async fn list_sessions_of_user(&self, id: Uuid, page: Page) -> Result<SessionPage, Error> {
        self.get_user(id).await?;
        self.list_sessions(id, page).await
    }

    /// Makes an account for somebody else. Without a password it gets one that nobody knows, and
    /// its address an invitation to choose one.
    ///
    /// # Errors
    /// `invalid_request`, `weak_password`, `email_disabled`, `username_taken`, `email_taken`,
    /// `busy`, `unavailable`.
    pub async fn create_user(
        &self,
        by: AdminActor,
        request: NewUserRequest,
    ) -> Result<ManagedUser, Error> {
        let invited = request.password.is_none();
        self.check_new_user(&request)?;
        let password = request
            .password
            .map_or_else(|| self.random_password(), Ok)?;
        let password_hash = self.hasher.hash(password.into()).await?;
        let user = NewUser {
            id: Uuid::now_v7(),
            username: request.username.as_ref().map(Username::as_str),
            email: request.email.as_ref().map(EmailAddress::as_str),
            password_hash: &password_hash,
            name: request.name.as_ref().map(DisplayName::as_str),
            role: request.role,
        };
        let event = by
            .event(EventKind::UserCreated, user.id)
            .with_reason(request.role.as_str());
        let user = self
            .postgres
            .create_user(&user, invited.then(Uuid::now_v7), &event)
            .await?;
        self.mail_ready.notify_one();
        Ok(user.into())
    }

    fn check_new_user(&self, request: &NewUserRequest) -> Result<(), Error> {
        match &request.password {
            Some(_) if request.username.is_none() && request.email.is_none() => Err(
                Error::invalid_field("username", "provide `username` or `email`"),
            ),
            Some(password) => password
                .check(self.config.password_min)
                .map_err(Error::WeakPassword),
            None if request.email.is_none() => Err(Error::invalid_field(
                "email",
                "is required without `password` (the invitation is sent there)",
            )),
            None if !self.mailer.is_on() => Err(Error::EmailDisabled(Some("Provide `password`."))),
            None => Ok(()),
        }
    }

    /// A password that the policy accepts and nobody knows. Accounts without a password do not
    /// exist: signing in to one that waits for its owner must take as long as any other.
    fn random_password(&self) -> Result<Password, Error> {
        Password::parse(&self.suggest_password()?)
            .map_err(|reason| Error::internal(reason.into_owned()))
    }

    /// A random password that the policy accepts, to be shown once to whoever hands it over.
    ///
    /// # Errors
    /// `internal`.
    pub fn suggest_password(&self) -> Result<zeroize::Zeroizing<String>, Error> {
        let mut random = vec![0; self.config.password_min.max(password::GENERATED_CHARACTERS)];
        aws_lc_rs::rand::fill(&mut random).map_err(Error::internal)?;
        Ok(password::generated(&random))
    }
}
