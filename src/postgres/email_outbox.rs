//! The transactional outbox of emails.

use latchkey_domain::audit::{Actor, AuditEvent};
use strum::VariantArray;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{Connection, EmailPriority, EmailTemplate, Params, Postgres, audit},
};

const REQUEST_CODE: &str = include_str!("../../sql/queries/request_code.sql");
const CREATE_OPERATOR_CODE: &str = include_str!("../../sql/queries/create_operator_code.sql");
const ENQUEUE_EMAIL: &str = include_str!("../../sql/queries/enqueue_email.sql");
const CLAIM_EMAIL: &str = include_str!("../../sql/queries/claim_email.sql");
const REPLACE_EMAIL: &str = include_str!("../../sql/queries/replace_email.sql");
const FINISH_EMAIL: &str = include_str!("../../sql/queries/finish_email.sql");
const INVALIDATE_CODES: &str = include_str!("../../sql/queries/invalidate_codes.sql");
const CONSUME_CODE: &str = include_str!("../../sql/queries/consume_code.sql");
const FIND_CODE: &str = include_str!("../../sql/queries/find_code.sql");
const ENQUEUE_EMAIL_TO: &str = include_str!("../../sql/queries/enqueue_email_to.sql");
const RENEW_EMAIL_CLAIM: &str = include_str!("../../sql/queries/renew_email_claim.sql");
const FIND_INVITATION: &str = include_str!("../../sql/queries/find_invitation.sql");
const RETRY_EMAIL: &str = include_str!("../../sql/queries/retry_email.sql");

/// The state of a one-time code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CodeState {
    Open,
    Used {
        /// The recipient of the email; `None` if the operator passed the code on.
        address: Option<String>,
    },
    /// Invalidated by another change, or its email was deleted.
    Void,
}

/// An invitation that was sent and not invalidated.
#[derive(Debug, Clone, Copy)]
pub struct StoredInvitation {
    /// The ID of the row, from which the code is derived.
    pub email_id: Uuid,
    /// The time at which the lifetime of the code starts.
    pub first_sent_at: OffsetDateTime,
    /// Whether the code was used.
    pub is_used: bool,
}

/// An email that this replica has claimed and must send.
#[derive(Debug, Clone)]
pub struct DueEmail {
    /// The ID of the row, from which the code is derived.
    pub id: Uuid,
    pub template: EmailTemplate,
    pub user_id: Uuid,
    /// The stored email address; `None` if the code was requested for an unknown address.
    pub recipient: Option<String>,
    pub created_at: OffsetDateTime,
    /// The IP address of the client that requested the code or made the change.
    pub ip_address: Option<String>,
    /// The header `User-Agent` of the client that requested the code or made the change.
    pub user_agent: Option<String>,
    /// The time of the first attempt, at which the lifetime of the code starts.
    pub first_sent_at: OffsetDateTime,
    /// The number of attempts to send, including the current one.
    pub attempts: i32,
}

/// Invalidates all codes of a user, of every purpose.
pub(crate) async fn invalidate_codes(db: &mut Connection, user_id: Uuid) -> Result<(), Error> {
    let with_code = EmailTemplate::VARIANTS
        .iter()
        .filter(|template| template.purpose().is_some());
    invalidate(db, user_id, with_code).await
}

/// Invalidates all codes of a user except an invitation, without which the user has no password.
pub(crate) async fn invalidate_requested_codes(
    db: &mut Connection,
    user_id: Uuid,
) -> Result<(), Error> {
    let requested = EmailTemplate::VARIANTS
        .iter()
        .filter(|template| template.purpose().is_some() && **template != EmailTemplate::Invitation);
    invalidate(db, user_id, requested).await
}

async fn invalidate(
    db: &mut Connection,
    user_id: Uuid,
    templates: impl Iterator<Item = &EmailTemplate>,
) -> Result<(), Error> {
    let templates: Vec<&str> = templates.map(EmailTemplate::into_str).collect();
    db.execute(INVALIDATE_CODES, &[&user_id, &templates])
        .await
        .map(drop)
}

/// Consumes the code of an email, and returns whether the code was unused.
pub(crate) async fn consume_code(db: &mut Connection, email_id: Uuid) -> Result<bool, Error> {
    Ok(db.query_first(CONSUME_CODE, &[&email_id]).await?.is_some())
}

/// Enqueues an email to an address that is not the stored one of the user.
///
/// The email contains the IP address and the browser of the event if the user is its actor.
pub(crate) async fn enqueue_to(
    db: &mut Connection,
    id: Uuid,
    template: EmailTemplate,
    user_id: Uuid,
    recipient: &str,
    event: &AuditEvent,
) -> Result<(), Error> {
    let (address, agent) = device_of(event, user_id);
    db.execute(
        ENQUEUE_EMAIL_TO,
        &[
            &id,
            &template.into_str(),
            &user_id,
            &recipient,
            &template.priority().stored(),
            &address,
            &agent,
        ],
    )
    .await
    .map(drop)
}

/// Returns the IP address and the browser of an event if the user is its actor. Those of an
/// administrator are not disclosed.
fn device_of(event: &AuditEvent, user_id: Uuid) -> (Option<&str>, Option<&str>) {
    match event.actor {
        Actor::User(actor) | Actor::Admin(actor) if actor == user_id => {
            (event.address.as_deref(), event.agent.as_deref())
        }
        _other => (None, None),
    }
}

/// Enqueues a notice or an invitation to the stored address of a user. Only an invitation is sent to
/// an unverified address.
///
/// The email contains the IP address and the browser of the event if the recipient is its actor.
pub(crate) async fn enqueue(
    db: &mut Connection,
    id: Uuid,
    template: EmailTemplate,
    user_id: Uuid,
    event: &AuditEvent,
) -> Result<(), Error> {
    let (address, agent) = device_of(event, user_id);
    let params: Params = &[
        &id,
        &template.into_str(),
        &user_id,
        &template.priority().stored(),
        &address,
        &agent,
    ];
    db.execute(ENQUEUE_EMAIL, params).await.map(drop)
}

impl Postgres {
    /// Creates a code that the operator passes on, with its audit event. Returns `false` if the
    /// user is disabled or has no email address.
    pub async fn create_operator_code(
        &self,
        id: Uuid,
        template: EmailTemplate,
        user_id: Uuid,
        event: &AuditEvent,
    ) -> Result<bool, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        if db
            .execute(CREATE_OPERATOR_CODE, &[&id, &template.into_str(), &user_id])
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

    /// Enqueues a verification code to a new email address, with its audit event.
    pub async fn enqueue_verification(
        &self,
        id: Uuid,
        user_id: Uuid,
        email: &str,
        event: &AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        enqueue_to(
            &mut db,
            id,
            EmailTemplate::EmailConfirmation,
            user_id,
            email,
            event,
        )
        .await?;
        audit::insert(&mut db, event).await?;
        db.commit().await
    }

    /// Enqueues a code to the user with this email address. For an unknown address, the row belongs
    /// to `decoy_user_id` and has no recipient, so that both cases take the same work.
    ///
    /// The audit event is stored in both cases. The email contains its IP address and browser.
    pub async fn request_code(
        &self,
        id: Uuid,
        template: EmailTemplate,
        email: &str,
        decoy_user_id: Uuid,
        event: AuditEvent,
    ) -> Result<(), Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let row = db
            .query_first(
                REQUEST_CODE,
                &[
                    &id,
                    &template.into_str(),
                    &email,
                    &decoy_user_id,
                    &event.address,
                    &event.agent,
                    &template.priority().stored(),
                ],
            )
            .await?;
        let subject_id = row
            .ok_or_else(|| Error::internal("an insert returned no row"))?
            .try_get(0)?;
        audit::insert(
            &mut db,
            &AuditEvent {
                subject_id,
                ..event
            },
        )
        .await?;
        db.commit().await
    }

    /// Returns the state of the code of an email; `Void` if the email was deleted.
    pub async fn find_code(&self, code: Uuid) -> Result<CodeState, Error> {
        let Some(row) = self
            .connection()
            .await?
            .query_first(FIND_CODE, &[&code])
            .await?
        else {
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

    /// Returns the newest invitation of a user that was sent and not invalidated.
    pub async fn find_invitation(&self, user_id: Uuid) -> Result<Option<StoredInvitation>, Error> {
        let row = self
            .connection()
            .await?
            .query_first(FIND_INVITATION, &[&user_id])
            .await?;
        row.map(|row| {
            Ok(StoredInvitation {
                email_id: row.try_get("id")?,
                first_sent_at: row.try_get("first_sent_at")?,
                is_used: row.try_get("consumed")?,
            })
        })
        .transpose()
    }

    /// Claims the next due email up to a priority, if there is one. While an email to a recipient is
    /// being sent, other emails to the same recipient wait.
    pub async fn claim_email(
        &self,
        last_priority: EmailPriority,
    ) -> Result<Option<DueEmail>, Error> {
        let templates: Vec<&str> = EmailTemplate::VARIANTS
            .iter()
            .map(EmailTemplate::into_str)
            .collect();
        self.connection()
            .await?
            .query_first(CLAIM_EMAIL, &[&templates, &last_priority.stored()])
            .await?
            .as_ref()
            .map(read_email)
            .transpose()
    }

    /// Replaces an email whose code has expired by a new row with a new code.
    pub async fn replace_email(&self, expired: Uuid, replacement: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .execute(REPLACE_EMAIL, &[&expired, &replacement])
            .await
            .map(drop)
    }

    /// Sets the time of sending, also for an email that no longer needs to be sent.
    pub async fn finish_email(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .execute(FINISH_EMAIL, &[&id])
            .await
            .map(drop)
    }

    /// Extends the claim of an email that is being sent.
    pub async fn renew_email_claim(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .execute(RENEW_EMAIL_CLAIM, &[&id])
            .await
            .map(drop)
    }

    /// Makes an email due again after a short backoff, because sending it failed.
    pub async fn retry_email_soon(&self, id: Uuid) -> Result<(), Error> {
        self.connection()
            .await?
            .execute(RETRY_EMAIL, &[&id])
            .await
            .map(drop)
    }
}

fn read_email(row: &Row) -> Result<DueEmail, Error> {
    let template: &str = row.try_get("template")?;
    Ok(DueEmail {
        id: row.try_get("id")?,
        template: template
            .parse()
            .map_err(|_| Error::internal("an unknown email template is stored"))?,
        user_id: row.try_get("user_id")?,
        recipient: row.try_get("recipient")?,
        created_at: row.try_get("created_at")?,
        ip_address: row.try_get("ip_address")?,
        user_agent: row.try_get("user_agent")?,
        first_sent_at: row.try_get("first_sent_at")?,
        attempts: row.try_get("attempts")?,
    })
}
