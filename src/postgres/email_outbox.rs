//! The transactional outbox of emails.

use latchkey_domain::{audit::AuditEvent, one_time_code::CodePurpose};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, audit},
};

const REQUEST_CODE: &str = include_str!("../../sql/queries/request_code.sql");
const BY_HAND: &str = include_str!("../../sql/queries/create_operator_code.sql");
const INSERT: &str = include_str!("../../sql/queries/enqueue_email.sql");
const CLAIM: &str = include_str!("../../sql/queries/claim_email.sql");
const REPLACE: &str = include_str!("../../sql/queries/replace_email.sql");
const FINISH: &str = include_str!("../../sql/queries/finish_email.sql");
const VOID_CODES: &str = include_str!("../../sql/queries/invalidate_codes.sql");
const CONSUME_CODE: &str = include_str!("../../sql/queries/consume_code.sql");
const FIND_CODE: &str = include_str!("../../sql/queries/find_code.sql");
const INSERT_TO: &str = include_str!("../../sql/queries/enqueue_email_to.sql");
const RETRY_SOON: &str = include_str!("../../sql/queries/retry_email.sql");

/// Declares [`EmailTemplate`]: variant, the word that is stored, and what its code is for, if it carries
/// one.
macro_rules! templates {
    ($($(#[doc = $doc:literal])* $variant:ident $word:literal $purpose:expr;)*) => {
        /// The mails there are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum EmailTemplate { $($(#[doc = $doc])* $variant,)* }

        impl EmailTemplate {
            const ALL: &[EmailTemplate] = &[$(EmailTemplate::$variant,)*];

            /// The template as it is stored.
            pub const fn as_str(self) -> &'static str {
                match self { $(EmailTemplate::$variant => $word,)* }
            }

            /// What the code of the mail is for, if it carries one.
            pub const fn purpose(self) -> Option<CodePurpose> {
                match self { $(EmailTemplate::$variant => $purpose,)* }
            }
        }
    };
}

templates! {
    /// Carries the code for a new password.
    PasswordReset "password_reset" Some(CodePurpose::PasswordReset);
    /// Tells the owner that the password was changed.
    PasswordChanged "password_changed" None;
    /// Carries the code that confirms an address.
    EmailConfirmation "email_confirmation" Some(CodePurpose::EmailConfirmation);
    /// Tells the owner of the address before that it is no more.
    EmailChanged "email_changed" None;
    /// Tells somebody for whom an administrator made an account how to choose a password.
    Invitation "invitation" None;
}

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeState {
    /// It was not used.
    Open,
    /// It was.
    Used {
        /// Where it went; nowhere, if it was handed over.
        address: Option<String>,
    },
    /// Something else took its worth.
    Void,
}

/// A mail that this replica is to send.
#[derive(Debug, Clone)]
pub struct DueEmail {
    /// The row; a code is derived from it.
    pub id: Uuid,
    /// Which mail it is.
    pub template: EmailTemplate,
    /// Whose account it is about.
    pub user: Uuid,
    /// The stored address; none where it was asked for one that no account has.
    pub recipient: Option<String>,
    /// When it was promised.
    pub created_at: OffsetDateTime,
    /// The IP address that requested the code.
    pub ip_address: Option<String>,
    /// The `User-Agent` that requested the code.
    pub user_agent: Option<String>,
    /// When it was first tried; the code's lifetime counts from here.
    pub first_sent_at: OffsetDateTime,
    /// How often it was tried, this time included.
    pub attempts: i32,
}

/// No code that was made for this user works any more, whatever it was for.
pub(crate) async fn void_codes(db: &mut Connection, user: Uuid) -> Result<(), Error> {
    let with_code = EmailTemplate::ALL
        .iter()
        .filter(|template| template.purpose().is_some());
    let templates: Vec<&str> = with_code.map(|template| template.as_str()).collect();
    db.change(VOID_CODES, &[&user, &templates]).await.map(drop)
}

/// Uses the code of this mail; whether it was unused.
pub(crate) async fn consume_code(db: &mut Connection, mail: Uuid) -> Result<bool, Error> {
    Ok(db.first(CONSUME_CODE, &[&mail]).await?.is_some())
}

/// Promises a mail to an address that is not the account's.
pub(crate) async fn insert_to(
    db: &mut Connection,
    id: Uuid,
    template: EmailTemplate,
    user: Uuid,
    recipient: &str,
) -> Result<(), Error> {
    db.change(INSERT_TO, &[&id, &template.as_str(), &user, &recipient])
        .await
        .map(drop)
}

/// Promises a mail to the stored address of an account, if it has one.
pub(crate) async fn promise(
    db: &mut Connection,
    id: Uuid,
    template: EmailTemplate,
    user: Uuid,
) -> Result<(), Error> {
    db.change(INSERT, &[&id, &template.as_str(), &user])
        .await
        .map(drop)
}

impl Postgres {
    /// The row of a code that is handed over by the operator and not mailed, which is recorded.
    /// Whether there is one: not for an account without an address, or one that is disabled.
    pub async fn create_operator_code(
        &self,
        id: Uuid,
        template: EmailTemplate,
        user: Uuid,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db
            .change(BY_HAND, &[&id, &template.as_str(), &user])
            .await?
            == 0
        {
            db.roll_back().await?;
            return Ok(false);
        }
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(true)
    }

    /// Promises a code to an address that is to be that of the account, and records that.
    pub async fn enqueue_verification(
        &self,
        id: Uuid,
        user: Uuid,
        email: &str,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        insert_to(&mut db, id, EmailTemplate::EmailConfirmation, user, email).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await
    }

    /// Promises a code to the stored address of the account with this address; if there is none, it
    /// is promised to nobody. That it was asked for is recorded in either case. The mail names the
    /// IP address and the browser of the event.
    pub async fn request_code(
        &self,
        id: Uuid,
        template: EmailTemplate,
        email: &str,
        nobody: Uuid,
        event: AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db
            .first(
                REQUEST_CODE,
                &[
                    &id,
                    &template.as_str(),
                    &email,
                    &nobody,
                    &event.address,
                    &event.agent,
                ],
            )
            .await?;
        let user = row
            .ok_or_else(|| Error::internal("an insert returned no row"))?
            .try_get(0)?;
        audit::insert(&mut db, &AuditEvent { user, ..event }).await?;
        db.commit().await
    }

    /// What became of the code of this mail. That of a mail which is gone is void.
    pub async fn find_code(&self, code: Uuid) -> Result<CodeState, Error> {
        let Some(row) = self.connection().await?.first(FIND_CODE, &[&code]).await? else {
            return Ok(CodeState::Void);
        };
        Ok(
            match (row.try_get("consumed")?, row.try_get("invalidated")?) {
                (_, true) => CodeState::Void,
                (true, false) => CodeState::Used {
                    address: row.try_get("recipient")?,
                },
                (false, false) => CodeState::Open,
            },
        )
    }

    /// Takes the next mail that is due, if there is one.
    pub async fn claim_email(&self) -> Result<Option<DueEmail>, Error> {
        let known: Vec<&str> = EmailTemplate::ALL
            .iter()
            .map(|template| template.as_str())
            .collect();
        self.connection()
            .await?
            .first(CLAIM, &[&known])
            .await?
            .as_ref()
            .map(read)
            .transpose()
    }

    /// Puts a fresh row, with a fresh code, in the place of one whose code is dead.
    pub async fn replace_email(&self, dead: Uuid, fresh: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .change(REPLACE, &[&dead, &fresh])
            .await
            .map(drop)
    }

    /// The mail was sent, or nobody wants it any more.
    pub async fn finish_email(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .change(FINISH, &[&id])
            .await
            .map(drop)
    }

    /// The mail could not be sent; it is due again after a short back-off.
    pub async fn retry_email_soon(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .change(RETRY_SOON, &[&id])
            .await
            .map(drop)
    }
}

fn read(row: &Row) -> Result<DueEmail, Error> {
    let name: &str = row.try_get("template")?;
    let template = EmailTemplate::ALL
        .iter()
        .copied()
        .find(|template| template.as_str() == name);
    Ok(DueEmail {
        id: row.try_get("id")?,
        template: template.ok_or_else(|| Error::internal("an unknown email template is stored"))?,
        user: row.try_get("user_id")?,
        recipient: row.try_get("recipient")?,
        created_at: row.try_get("created_at")?,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
        first_sent_at: row.try_get("first_sent_at")?,
        attempts: row.try_get("attempts")?,
    })
}
