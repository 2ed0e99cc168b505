//! The mail worker: sends the emails of the outbox. The outbox is a table, so no email is lost in a
//! crash, and each email is sent at least once.

use crate::{
    app::{
        clock::{Clock, timestamp_from_ms},
        impairment::{Component, Impairment},
    },
    error::{Chain, Diagnosis, Error},
    mail::{EmailMessage, MailError, Mailer, Occasion},
    postgres::{DueEmail, EmailTemplate, Postgres},
    redis::{CodeRegistration, Redis},
};
use latchkey_domain::access_token::TokenPolicy;
use latchkey_domain::one_time_code::CodeKeys;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

use latchkey_domain::one_time_code::CodePurpose;
use time::OffsetDateTime;
use uuid::Uuid;

/// The longest interval between two polls of the outbox. An email of another replica or a retry
/// becomes due without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The age after which an unsent email is discarded, because it is useless to the recipient.
const MAX_EMAIL_AGE: time::Duration = time::Duration::hours(24);

/// Sends the emails of the outbox.
pub struct Mail {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    pub(super) clock: Arc<Clock>,
    pub(super) code_keys: Arc<CodeKeys>,
    pub(super) mailer: Mailer,
    pub(super) policy: Arc<TokenPolicy>,
    pub(super) code_lifetime: Duration,
    /// Notified when an email was enqueued, so that the worker doesn't wait for its next poll.
    pub(super) ready: Notify,
    /// Why the last attempt to send an email has failed, unless one has succeeded since.
    pub(super) failure: Mutex<Option<String>>,
}

/// The result of a delivery. Its text is the value of the label `outcome` in metrics.
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
enum Delivery {
    Sent,
    /// The code of the email would expire too soon. An email with a new code replaces it.
    Replaced,
    /// The email is older than [`MAX_EMAIL_AGE`].
    Expired,
    /// The mail server rejected the email permanently.
    Rejected,
    /// A newer code replaced the code before the email was sent.
    Superseded,
    /// No user has the requested email address.
    NoRecipient,
}

impl Mail {
    /// Whether this server sends email.
    pub(crate) fn is_enabled(&self) -> bool {
        self.mailer.is_enabled()
    }

    /// Wakes the worker, because an email was enqueued.
    pub(crate) fn notify(&self) {
        self.ready.notify_one();
    }

    /// Runs until the process exits.
    pub async fn run_mail_worker(self: Arc<Self>) {
        loop {
            match self.deliver_next().await {
                Ok(true) => {}
                Ok(false) => drop(tokio::time::timeout(POLL_INTERVAL, self.ready.notified()).await),
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "reading the email outbox failed");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
    }

    /// Delivers the next due email. Returns whether there was one.
    async fn deliver_next(&self) -> Result<bool, Error> {
        if !self.mailer.is_enabled() {
            return Ok(false);
        }
        let Some(due) = self.postgres.claim_email().await? else {
            return Ok(false);
        };
        let outcome = self.deliver(&due).await;
        let label = outcome.as_ref().map_or("failed", Delivery::into_str);
        metrics::counter!("latchkey_emails_total", "outcome" => label).increment(1);
        if let Err(error) = outcome {
            tracing::warn!(
                error = %Chain(error.as_ref()),
                email_id = %due.id,
                attempts = due.attempts,
                "email delivery failed"
            );
            self.postgres.retry_email_soon(due.id).await?;
        }
        Ok(true)
    }

    /// Checks that the mail server accepts connections. Returns a sentence.
    ///
    /// # Errors
    /// The reason why it doesn't.
    pub(crate) async fn check_server(&self) -> Result<&'static str, String> {
        let checked = self.mailer.check().await;
        checked.map_err(|error| Chain(error.as_ref()).to_string())
    }

    /// Stores whether the mail server has accepted or rejected an email.
    fn store_send_outcome(&self, failure: Option<&MailError>) {
        *self.failure.lock().expect("no holder panics") = failure.map(Mailer::describe_failure);
    }

    /// The impairment of the delivery.
    pub(crate) fn impairment(&self) -> Option<Impairment> {
        let failure = self.failure.lock().expect("no holder panics").clone()?;
        Some(Impairment::new(
            Component::Email,
            Diagnosis::new(
                format!(
                    "The last attempt to send an email failed: {failure}. The server retries for 24 \
                     hours."
                ),
                "Check the mail server and `LATCHKEY_SMTP_URL`.",
            ),
        ))
    }

    async fn deliver(&self, due: &DueEmail) -> Result<Delivery, MailError> {
        let now = timestamp_from_ms(self.clock.now_ms());
        if now - due.created_at > MAX_EMAIL_AGE {
            self.postgres.finish_email(due.id).await?;
            self.store_send_outcome(None);
            return Ok(Delivery::Expired);
        }
        let Some(recipient) = &due.recipient else {
            self.postgres.finish_email(due.id).await?;
            return Ok(Delivery::NoRecipient);
        };
        let email = match due.template.purpose() {
            Some(purpose) => {
                let Some(lifetime) = self.remaining_code_lifetime(due, now) else {
                    self.postgres.replace_email(due.id, Uuid::now_v7()).await?;
                    return Ok(Delivery::Replaced);
                };
                let Some(email) = self.compose_with_code(due, purpose, lifetime).await? else {
                    self.postgres.finish_email(due.id).await?;
                    return Ok(Delivery::Superseded);
                };
                email
            }
            None => self.compose_notice(due, recipient)?,
        };
        let sent = self.mailer.send(due.id, recipient, &email).await;
        let outcome = match sent {
            Ok(()) => Delivery::Sent,
            Err(error) if Mailer::is_permanent_rejection(&error) => Delivery::Rejected,
            Err(error) => {
                self.store_send_outcome(Some(&error));
                return Err(error);
            }
        };
        self.store_send_outcome(None);
        self.postgres.finish_email(due.id).await?;
        Ok(outcome)
    }

    fn compose_notice(&self, due: &DueEmail, recipient: &str) -> Result<EmailMessage, MailError> {
        let occasion = self.occasion(due);
        match due.template {
            EmailTemplate::PasswordChanged => EmailMessage::password_changed(&occasion),
            EmailTemplate::EmailChanged => EmailMessage::email_changed(&occasion),
            EmailTemplate::Invitation => EmailMessage::invitation(&occasion, recipient),
            EmailTemplate::PasswordReset | EmailTemplate::EmailConfirmation => {
                Err("this email requires a code".into())
            }
        }
    }

    fn occasion<'a>(&'a self, due: &'a DueEmail) -> Occasion<'a> {
        Occasion {
            issuer: &self.policy.issuer,
            at: due.created_at,
            ip_address: due.ip_address.as_deref(),
            user_agent: due.user_agent.as_deref(),
        }
    }

    /// Returns the remaining lifetime of the code, if it is at least half of the full lifetime.
    /// Otherwise, the recipient would have too little time.
    fn remaining_code_lifetime(&self, due: &DueEmail, now: OffsetDateTime) -> Option<Duration> {
        let age = Duration::try_from(now - due.first_sent_at).unwrap_or_default();
        self.code_lifetime
            .checked_sub(age)
            .filter(|remaining| *remaining * 2 >= self.code_lifetime)
    }

    /// Registers the code of an email as the current one, then composes the email. The code must be
    /// valid when the recipient reads it. Returns `None` if a newer code is registered.
    async fn compose_with_code(
        &self,
        due: &DueEmail,
        purpose: CodePurpose,
        lifetime: Duration,
    ) -> Result<Option<EmailMessage>, MailError> {
        let first = self.code_keys.derive(purpose, due.id, due.user_id);
        // A replica with the secrets in another order might have sent this email already. A retry
        // must then contain the same code.
        let second = self
            .code_keys
            .derive_with_other_secret(purpose, due.id, due.user_id);
        let second_hash = second.as_ref().map_or(&first.hash, |second| &second.hash);
        let lifetime_ms = u64::try_from(lifetime.as_millis())?;
        let registered = self.redis.register_code(
            purpose,
            due.user_id,
            due.id,
            &first.hash,
            second_hash,
            lifetime_ms,
        );
        let current = match registered.await? {
            CodeRegistration::Registered => first,
            CodeRegistration::KeptOther => second.unwrap_or(first),
            CodeRegistration::Superseded => return Ok(None),
        };
        EmailMessage::with_code(purpose, &self.occasion(due), &current.code, lifetime).map(Some)
    }
}
