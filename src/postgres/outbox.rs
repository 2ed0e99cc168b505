//! The outbox: mails that were promised, until they are sent.

use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use super::Postgres;
use crate::error::Error;

const REQUEST_CODE: &str = include_str!("../../sql/queries/request_code.sql");
const CLAIM: &str = include_str!("../../sql/queries/claim_mail.sql");
const REPLACE: &str = include_str!("../../sql/queries/replace_mail.sql");
const FINISH: &str = include_str!("../../sql/queries/finish_mail.sql");
const RETRY_SOON: &str = include_str!("../../sql/queries/retry_mail_soon.sql");

/// The mails there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Template {
    /// Carries the code for a new password.
    PasswordReset,
    /// Tells the owner that the password was changed.
    PasswordChanged,
}

impl Template {
    const ALL: [Template; 2] = [Template::PasswordReset, Template::PasswordChanged];

    /// The template as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Template::PasswordReset => "password_reset",
            Template::PasswordChanged => "password_changed",
        }
    }
}

/// A mail that this replica is to send.
#[derive(Debug, Clone)]
pub struct DueMail {
    /// The row; a code is derived from it.
    pub id: Uuid,
    /// Which mail it is.
    pub template: Template,
    /// Whose account it is about.
    pub user: Uuid,
    /// The stored address.
    pub recipient: String,
    /// When it was promised.
    pub created_at: OffsetDateTime,
    /// When it was first tried; the code's lifetime counts from here.
    pub first_sent_at: OffsetDateTime,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

impl Postgres {
    /// Promises a code to the stored address of the account with this address, if there is one.
    pub async fn request_code(&self, id: Uuid, template: Template, email: &str) -> Result<(), Error> {
        self.connection().await?.change(REQUEST_CODE, &[&id, &template.as_str(), &email]).await.map(drop)
    }

    /// Takes the next mail that is due, if there is one.
    pub async fn claim_mail(&self) -> Result<Option<DueMail>, Error> {
        self.connection()
            .await?
            .first(CLAIM, &[&Template::ALL.map(Template::as_str).as_slice()])
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    /// Puts a fresh row, with a fresh code, in the place of one whose code is dead.
    pub async fn replace_mail(&self, dead: Uuid, fresh: Uuid) -> Result<(), Error> {
        self.connection().await?.change(REPLACE, &[&dead, &fresh]).await.map(drop)
    }

    /// The mail was sent, or nobody wants it any more.
    pub async fn finish_mail(&self, id: Uuid) -> Result<(), Error> {
        self.connection().await?.change(FINISH, &[&id]).await.map(drop)
    }

    /// The mail could not be sent; it is due again after a short back-off.
    pub async fn retry_mail_soon(&self, id: Uuid) -> Result<(), Error> {
        self.connection().await?.change(RETRY_SOON, &[&id]).await.map(drop)
    }
}

fn read(row: &Row) -> Result<DueMail, Error> {
    let name: &str = row.try_get("template")?;
    let template = Template::ALL.into_iter().find(|template| template.as_str() == name);
    Ok(DueMail {
        id: row.try_get("id")?,
        template: template.ok_or_else(|| Error::internal("an unknown mail is stored"))?,
        user: row.try_get("user_id")?,
        recipient: row.try_get("recipient")?,
        created_at: row.try_get("created_at")?,
        first_sent_at: row.try_get("first_sent_at")?,
        attempts: row.try_get("attempts")?,
    })
}
