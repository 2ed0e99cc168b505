//! The worker that sends what the outbox promises: at least once, never lost by a crash.

use std::{sync::Arc, time::Duration};

use latchkey_domain::one_time_code::CodePurpose;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    app::{Gateway, clock::moment},
    error::{Chain, Error},
    mail::{EmailMessage, MailError, Mailer, Occasion},
    postgres::{DueEmail, EmailTemplate},
    redis::Registered,
};

/// How often the worker looks when nobody rings: another replica's promise, or a retry, may be due.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// After so long without a way to send it, a mail is of no use to anybody.
const MAX_EMAIL_AGE: time::Duration = time::Duration::hours(24);

/// What became of one mail.
enum Delivery {
    Sent,
    /// Its code died before it could be sent; a fresh one takes its place.
    Replaced,
    /// It is too old.
    Expired,
    /// The mail server rejected it permanently.
    Rejected,
    /// A newer code took its place before it was sent.
    Superseded,
    /// No user has the requested address.
    NoRecipient,
}

impl Gateway {
    /// Sends mails until the process ends.
    pub async fn run_mail_worker(self: Arc<Self>) {
        loop {
            match self.deliver_next().await {
                Ok(true) => {}
                Ok(false) => {
                    drop(tokio::time::timeout(POLL_INTERVAL, self.mail_ready.notified()).await)
                }
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "reading the email outbox failed");
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
            }
        }
    }

    /// Sends the next mail that is due; whether there was one.
    async fn deliver_next(&self) -> Result<bool, Error> {
        if !self.mailer.is_on() {
            return Ok(false);
        }
        let Some(mail) = self.postgres.claim_email().await? else {
            return Ok(false);
        };
        let outcome = self.deliver(&mail).await;
        let label = match &outcome {
            Ok(Delivery::Sent) => "sent",
            Ok(Delivery::Replaced) => "replaced",
            Ok(Delivery::Expired) => "expired",
            Ok(Delivery::Rejected) => "rejected",
            Ok(Delivery::Superseded) => "superseded",
            Ok(Delivery::NoRecipient) => "no_recipient",
            Err(_) => "failed",
        };
        metrics::counter!("latchkey_emails_total", "outcome" => label).increment(1);
        if let Err(error) = outcome {
            tracing::warn!(
                error = %Chain(error.as_ref()),
                email_id = %mail.id,
                attempts = mail.attempts,
                "email delivery failed"
            );
            self.postgres.retry_email_soon(mail.id).await?;
        }
        Ok(true)
    }

    async fn deliver(&self, mail: &DueEmail) -> Result<Delivery, MailError> {
        let now = moment(self.clock.now_ms());
        if now - mail.created_at > MAX_EMAIL_AGE {
            self.postgres.finish_email(mail.id).await?;
            return Ok(Delivery::Expired);
        }
        let Some(recipient) = &mail.recipient else {
            self.postgres.finish_email(mail.id).await?;
            return Ok(Delivery::NoRecipient);
        };
        let email = match mail.template.purpose() {
            Some(purpose) => {
                let Some(life) = self.rest_of_life(mail, now) else {
                    self.postgres.replace_email(mail.id, Uuid::now_v7()).await?;
                    return Ok(Delivery::Replaced);
                };
                let Some(email) = self.letter_with_code(mail, purpose, life).await? else {
                    self.postgres.finish_email(mail.id).await?;
                    return Ok(Delivery::Superseded);
                };
                email
            }
            None => self.notice(mail, recipient)?,
        };
        let sent = self.mailer.send(mail.id, recipient, &email).await;
        let outcome = match sent {
            Ok(()) => Delivery::Sent,
            Err(error) if Mailer::is_refused(&error) => Delivery::Rejected,
            Err(error) => return Err(error),
        };
        self.postgres.finish_email(mail.id).await?;
        Ok(outcome)
    }

    fn notice(&self, mail: &DueEmail, recipient: &str) -> Result<EmailMessage, MailError> {
        let occasion = self.occasion(mail);
        match mail.template {
            EmailTemplate::PasswordChanged => EmailMessage::password_changed(&occasion),
            EmailTemplate::EmailChanged => EmailMessage::email_changed(&occasion),
            EmailTemplate::Invitation => EmailMessage::invitation(&occasion, recipient),
            EmailTemplate::PasswordReset | EmailTemplate::EmailConfirmation => {
                Err("this email requires a code".into())
            }
        }
    }

    fn occasion<'a>(&'a self, mail: &'a DueEmail) -> Occasion<'a> {
        Occasion {
            issuer: &self.policy.issuer,
            at: mail.created_at,
            ip_address: mail.ip_address.as_deref(),
            user_agent: mail.user_agent.as_deref(),
        }
    }

    /// What is left of the code's life, if it is worth a mail: at least half of it.
    fn rest_of_life(&self, mail: &DueEmail, now: OffsetDateTime) -> Option<Duration> {
        let age = Duration::try_from(now - mail.first_sent_at).unwrap_or_default();
        self.config
            .code_lifetime
            .checked_sub(age)
            .filter(|left| *left * 2 >= self.config.code_lifetime)
    }

    /// Makes the code of this mail the current one, then writes the letter: a code must work when
    /// it is read. None where a newer code is there.
    async fn letter_with_code(
        &self,
        mail: &DueEmail,
        purpose: CodePurpose,
        life: Duration,
    ) -> Result<Option<EmailMessage>, MailError> {
        let this = self.code_keys.derive(purpose, mail.id, mail.user);
        // It may have been sent before, by a replica that has the secrets in another order: then
        // with its code again.
        let other = self
            .code_keys
            .derive_with_other_secret(purpose, mail.id, mail.user);
        let other_hash = other.as_ref().map_or(&this.hash, |other| &other.hash);
        let milliseconds = u64::try_from(life.as_millis())?;
        let registered = self.redis.register_code(
            purpose,
            mail.user,
            mail.id,
            &this.hash,
            other_hash,
            milliseconds,
        );
        let current = match registered.await? {
            Registered::This => this,
            Registered::Other => other.unwrap_or(this),
            Registered::Newer => return Ok(None),
        };
        EmailMessage::with_code(purpose, &self.occasion(mail), &current.code, life).map(Some)
    }
}
