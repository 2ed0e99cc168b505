//! The mail worker: sends the emails of the outbox. The outbox is a table, so no email is lost in a
//! crash, and each email is sent at least once.
//!
//! Several emails are sent concurrently, so that a slow mail server or recipient doesn't delay the
//! others. One-time codes come before notices, and a recipient gets one code and one notice at a
//! time.

use std::{convert::Infallible, sync::Arc, time::Duration};

use tokio::task::JoinSet;
use uuid::Uuid;

use crate::{
    app::{clock::timestamp_from_ms, mail::Mail},
    error::{Chain, Error},
    mail::{CodeExpired, MailError, Mailer},
    postgres::{DueEmail, EmailPriority, EmailTemplate},
};

/// The longest interval between two polls of the outbox. An email of another replica or a retry
/// becomes due without a notification.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// The age after which an unsent email is discarded, because it is useless to the recipient.
const MAX_EMAIL_AGE: time::Duration = time::Duration::hours(24);

/// The time limit for an email without a code. The limits of the steps are shorter.
const MAX_SEND_TIME: Duration = Duration::from_secs(3600);

/// The maximum number of emails that a replica sends concurrently.
const MAX_DELIVERIES: usize = 8;

/// The maximum number of them without a code, so that codes never wait for slow notices.
const MAX_NOTICES: usize = 2;

/// The interval at which the claim of an email is renewed. A claim lasts 15 s. After a crash, the
/// email is due again after its backoff.
const CLAIM_RENEWAL_INTERVAL: Duration = Duration::from_secs(5);

/// The kind of emails without a code in the email quota of a recipient.
const NOTICE: &str = "notice";

/// The result of a delivery. Its text is the value of the label `outcome` in metrics.
#[derive(strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
enum Delivery {
    Sent,
    /// The code of the email would expire too soon. An email with a new code replaces it.
    Replaced,
    /// The email is older than [`MAX_EMAIL_AGE`].
    Expired,
    /// The mail server has permanently rejected the recipient or the content.
    Rejected,
    /// The recipient has reached the quota of emails.
    OverQuota,
    /// A newer code replaced the code before the email was sent.
    Superseded,
    /// No user has the requested email address.
    NoRecipient,
}

/// The running deliveries of the worker.
#[derive(Default)]
struct Deliveries {
    tasks: JoinSet<EmailPriority>,
    notices: usize,
}

impl Deliveries {
    fn start(&mut self, mail: Arc<Mail>, due: DueEmail) {
        let priority = due.template.priority();
        self.notices += usize::from(priority == EmailPriority::Notice);
        self.tasks.spawn(async move {
            mail.deliver_claimed(&due).await;
            priority
        });
    }

    /// Waits until a delivery ends. Never returns if there is none.
    async fn wait_for_end(&mut self) {
        match self.tasks.join_next().await {
            Some(ended) => {
                let priority = ended.expect("a delivery never panics");
                self.notices -= usize::from(priority == EmailPriority::Notice);
            }
            None => std::future::pending().await,
        }
    }

    /// The last priority of which another delivery can start.
    fn last_priority(&self) -> Option<EmailPriority> {
        if self.tasks.len() >= MAX_DELIVERIES {
            None
        } else if self.notices >= MAX_NOTICES {
            Some(EmailPriority::RetriedCode)
        } else {
            Some(EmailPriority::Notice)
        }
    }
}

impl Mail {
    /// Runs until the process exits.
    pub async fn run_mail_worker(self: Arc<Self>) {
        let mut deliveries = Deliveries::default();
        loop {
            let Some(last_priority) = deliveries.last_priority() else {
                deliveries.wait_for_end().await;
                continue;
            };
            let pause = self.health().pause();
            if let Some(pause) = pause {
                tokio::time::sleep(pause).await;
            }
            match self.claim_next(last_priority).await {
                Ok(Some(due)) => deliveries.start(self.clone(), due),
                Ok(None) => tokio::select! {
                    () = deliveries.wait_for_end() => {}
                    () = self.ready.notified() => {}
                    () = tokio::time::sleep(POLL_INTERVAL) => {}
                },
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "reading the email outbox failed");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
    }

    async fn claim_next(&self, last_priority: EmailPriority) -> Result<Option<DueEmail>, Error> {
        if self.mailer.is_enabled() {
            self.postgres.claim_email(last_priority).await
        } else {
            Ok(None)
        }
    }

    /// Delivers an email, and renews its claim meanwhile.
    async fn deliver_claimed(&self, due: &DueEmail) {
        let outcome = tokio::select! {
            outcome = self.deliver(due) => outcome,
            never = self.renew_claim(due.id) => match never {},
        };
        let label = outcome.as_ref().map_or("failed", Delivery::into_str);
        metrics::counter!("latchkey_emails_total", "outcome" => label).increment(1);
        let Err(error) = outcome else { return };
        tracing::warn!(
            error = %Chain(error.as_ref()),
            email_id = %due.id,
            attempts = due.attempts,
            "email delivery failed"
        );
        if let Err(error) = self.postgres.retry_email_soon(due.id).await {
            tracing::warn!(error = %Chain(&error), "writing to the email outbox failed");
        }
    }

    async fn renew_claim(&self, id: Uuid) -> Infallible {
        loop {
            tokio::time::sleep(CLAIM_RENEWAL_INTERVAL).await;
            if let Err(error) = self.postgres.renew_email_claim(id).await {
                tracing::warn!(error = %Chain(&error), "writing to the email outbox failed");
            }
        }
    }

    async fn deliver(&self, due: &DueEmail) -> Result<Delivery, MailError> {
        let now = timestamp_from_ms(self.clock.now_ms());
        if now - due.created_at > MAX_EMAIL_AGE {
            self.postgres.finish_email(due.id).await?;
            return Ok(Delivery::Expired);
        }
        let Some(recipient) = &due.recipient else {
            self.postgres.finish_email(due.id).await?;
            return Ok(Delivery::NoRecipient);
        };
        if !self.is_within_quota(due, recipient).await? {
            self.postgres.finish_email(due.id).await?;
            return Ok(Delivery::OverQuota);
        }
        let mut limit = MAX_SEND_TIME;
        let email = match due.template.purpose() {
            Some(purpose) => {
                let Some(expiry) = self.code_expiry(due, purpose, now) else {
                    self.postgres.replace_email(due.id, Uuid::now_v7()).await?;
                    return Ok(Delivery::Replaced);
                };
                let composed = self
                    .compose_with_code(due, recipient, purpose, &expiry)
                    .await?;
                let Some(email) = composed else {
                    self.postgres.finish_email(due.id).await?;
                    return Ok(Delivery::Superseded);
                };
                limit = limit.min(expiry.remaining);
                email
            }
            None => self.compose_notice(due)?,
        };
        let sent = tokio::time::timeout(limit, self.mailer.send(due.id, recipient, &email)).await;
        let sent = sent.unwrap_or_else(|_| Err(CodeExpired.into()));
        let outcome = match sent {
            Ok(()) => Delivery::Sent,
            Err(error) if Mailer::is_rejection_of_email(&error) => {
                tracing::warn!(
                    error = %Chain(error.as_ref()),
                    email_id = %due.id,
                    "email rejected"
                );
                Delivery::Rejected
            }
            Err(error) => {
                self.health().on_failed(&error);
                return Err(error);
            }
        };
        self.health().on_delivered();
        self.postgres.finish_email(due.id).await?;
        Ok(outcome)
    }

    /// Counts the first attempt to send a notice or an invitation against the recipient's quota. A
    /// request for a code is counted when it arrives, and so is a sign-up with the address of a
    /// user. Otherwise, an attacker could exhaust the quota with sign-ups, and so suppress other
    /// notices.
    async fn is_within_quota(&self, due: &DueEmail, recipient: &str) -> Result<bool, Error> {
        let is_counted_when_requested = due.template == EmailTemplate::AccountExists
            || due.template.priority() != EmailPriority::Notice;
        if due.attempts > 1 || is_counted_when_requested {
            return Ok(true);
        }
        let mut is_within = false;
        let admit = async {
            is_within = true;
            Ok(())
        };
        self.rate_limits
            .run_within_email_quota(NOTICE, recipient, admit)
            .await?;
        Ok(is_within)
    }
}
