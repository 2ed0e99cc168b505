//! Email: composes the emails of the outbox, and sends them with the mail worker.

mod worker;

use crate::{
    app::{
        clock::{Clock, timestamp_from_ms},
        impairment::{Component, Impairment},
        limits::rate_limits::RateLimits,
    },
    error::{Chain, Diagnosis},
    mail::{EmailMessage, Expiry, MailError, Mailer, Notice, Occasion, Service},
    postgres::{DueEmail, EmailTemplate, Postgres},
    redis::{CodeRegistration, Redis},
};
use latchkey_domain::account::EmailAddress;
use latchkey_domain::one_time_code::CodeKeys;
use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::sync::Notify;

use latchkey_domain::one_time_code::CodePurpose;
use time::OffsetDateTime;
use uuid::Uuid;

/// Sends the emails of the outbox.
pub struct Mail {
    pub(super) postgres: Arc<Postgres>,
    pub(super) redis: Arc<Redis>,
    pub(super) clock: Arc<Clock>,
    pub(super) rate_limits: Arc<RateLimits>,
    pub(super) code_keys: Arc<CodeKeys>,
    pub(super) mailer: Mailer,
    pub(super) service: Service,
    pub(super) code_lifetime: Duration,
    pub(super) invitation_lifetime: Duration,
    /// Notified when an email was enqueued, so that the worker doesn't wait for its next poll.
    pub(super) ready: Notify,
    pub(super) health: Mutex<DeliveryHealth>,
}

/// What recent deliveries show about the mail server.
#[derive(Default)]
pub(super) struct DeliveryHealth {
    /// Why the mail server can't be used, unless it has accepted or rejected an email since.
    failure: Option<String>,
    /// The number of failed deliveries since then.
    failures: u32,
    /// The number of those that concern all emails.
    server_failures: u32,
}

impl DeliveryHealth {
    /// The mail server has accepted or rejected an email.
    fn on_delivered(&mut self) {
        *self = DeliveryHealth::default();
    }

    /// A delivery has failed. A failure that concerns one email says nothing about the mail server,
    /// but several in a row do.
    fn on_failed(&mut self, error: &MailError) {
        self.failures = self.failures.saturating_add(1);
        let concerns_all = !Mailer::concerns_only_this_email(error);
        self.server_failures += u32::from(concerns_all);
        if concerns_all || self.failures >= MAX_FAILURES_OF_EMAILS {
            self.failure = Some(Mailer::describe_failure(error));
        }
    }

    /// Returns the pause before the next delivery. A mail server that rejects the credentials can
    /// lock the account after many attempts. Slow recipients cause no pause, because it would delay
    /// all others.
    fn pause(&self) -> Option<Duration> {
        let doublings = self.server_failures.checked_sub(1)?.min(16);
        Some((MIN_PAUSE * 2_u32.pow(doublings)).min(MAX_PAUSE))
    }
}

/// The number of failed deliveries in a row from which on the mail server counts as unusable,
/// although each failure concerned one email.
const MAX_FAILURES_OF_EMAILS: u32 = 5;

/// The shortest and the longest pause between deliveries to a mail server that can't be used.
const MIN_PAUSE: Duration = Duration::from_millis(500);
const MAX_PAUSE: Duration = Duration::from_secs(60);

impl Mail {
    /// Whether this server sends email.
    pub(crate) fn is_enabled(&self) -> bool {
        self.mailer.is_enabled()
    }

    /// Wakes the worker, because an email was enqueued.
    pub(crate) fn notify(&self) {
        self.ready.notify_one();
    }

    /// Checks that the mail server accepts connections. Returns a sentence.
    ///
    /// # Errors
    /// The reason why it doesn't.
    pub(crate) async fn check_server(&self) -> Result<&'static str, String> {
        let checked = self.mailer.check().await;
        checked.map_err(|error| Chain(error.as_ref()).to_string())
    }

    /// Sends a test email to this address, without the outbox.
    ///
    /// # Errors
    /// The step that failed, with the response of the mail server.
    pub(crate) async fn send_test(&self, recipient: &EmailAddress) -> Result<(), String> {
        let occasion = Occasion {
            service: &self.service,
            at: timestamp_from_ms(self.clock.now_ms()),
            ip_address: None,
            user_agent: None,
        };
        let sent = match EmailMessage::test(&occasion) {
            Ok(email) => {
                self.mailer
                    .send(Uuid::now_v7(), recipient.as_str(), &email)
                    .await
            }
            Err(error) => Err(error),
        };
        sent.map_err(|error| Chain(error.as_ref()).to_string())
    }

    fn health(&self) -> MutexGuard<'_, DeliveryHealth> {
        self.health.lock().expect("no holder panics")
    }

    /// The impairment of the delivery.
    pub(crate) fn impairment(&self) -> Option<Impairment> {
        let failure = self.health().failure.clone()?;
        Some(Impairment::new(
            Component::Email,
            Diagnosis::new(
                format!(
                    "The last attempt to send an email failed: {failure}. The server retries for 24 \
                     hours."
                ),
                "Check `LATCHKEY_SMTP_URL` and `LATCHKEY_EMAIL_FROM`. `latchkey mail test ADDRESS` \
                 prints the response of the mail server.",
            ),
        ))
    }

    fn compose_notice(&self, due: &DueEmail) -> Result<EmailMessage, MailError> {
        let occasion = self.occasion(due);
        let notice = match due.template {
            EmailTemplate::PasswordReset
            | EmailTemplate::EmailConfirmation
            | EmailTemplate::SignUp
            | EmailTemplate::Invitation => {
                return Err("this email requires a code".into());
            }
            EmailTemplate::PasswordChanged => Notice::PasswordChanged,
            EmailTemplate::EmailChanged => Notice::EmailChanged,
            EmailTemplate::NewDevice => Notice::NewDevice,
            EmailTemplate::PersonalAccessTokenCreated => Notice::PersonalAccessTokenCreated,
            EmailTemplate::AdminRoleGranted => Notice::AdminRoleGranted,
            EmailTemplate::AdminAdded => Notice::AdminAdded,
            EmailTemplate::ClientSecretCreated => Notice::ClientSecretCreated,
            EmailTemplate::ClientExtended => Notice::ClientExtended,
            EmailTemplate::AccountExists => Notice::AccountExists,
        };
        EmailMessage::notice(notice, &occasion)
    }

    fn occasion<'a>(&'a self, due: &'a DueEmail) -> Occasion<'a> {
        Occasion {
            service: &self.service,
            at: due.created_at,
            ip_address: due.ip_address.as_deref(),
            user_agent: due.user_agent.as_deref(),
        }
    }

    fn full_code_lifetime(&self, purpose: CodePurpose) -> Duration {
        match purpose {
            CodePurpose::Invitation => self.invitation_lifetime,
            CodePurpose::PasswordReset | CodePurpose::EmailConfirmation | CodePurpose::SignUp => {
                self.code_lifetime
            }
        }
    }

    /// Returns the expiry of the code, if at least half of its lifetime remains. Otherwise, the
    /// recipient would have too little time.
    fn code_expiry(
        &self,
        due: &DueEmail,
        purpose: CodePurpose,
        now: OffsetDateTime,
    ) -> Option<Expiry> {
        let lifetime = self.full_code_lifetime(purpose);
        let remaining = remaining_lifetime(due.first_sent_at, lifetime, now)?;
        (remaining * 2 >= lifetime).then_some(Expiry {
            at: due.first_sent_at + lifetime,
            remaining,
        })
    }

    /// Returns the remaining lifetime of an invitation; `None` if it has expired.
    pub(crate) fn remaining_invitation_lifetime(
        &self,
        first_sent_at: OffsetDateTime,
    ) -> Option<Duration> {
        let now = timestamp_from_ms(self.clock.now_ms());
        remaining_lifetime(first_sent_at, self.invitation_lifetime, now)
    }

    /// Registers the code of an email as the current one, then composes the email. The code must be
    /// valid when the recipient reads it. Returns `None` if a newer code is registered.
    async fn compose_with_code(
        &self,
        due: &DueEmail,
        recipient: &str,
        purpose: CodePurpose,
        expiry: &Expiry,
    ) -> Result<Option<EmailMessage>, MailError> {
        let first = self.code_keys.derive(purpose, due.id, due.user_id);
        // A replica with the secrets in another order might have sent this email already. A retry
        // must then contain the same code.
        let second = self
            .code_keys
            .derive_with_other_secret(purpose, due.id, due.user_id);
        let second_hash = second.as_ref().map_or(&first.hash, |second| &second.hash);
        let lifetime_ms = u64::try_from(expiry.remaining.as_millis())?;
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
        let occasion = self.occasion(due);
        EmailMessage::with_code(purpose, &occasion, recipient, &current.code, expiry).map(Some)
    }
}

/// Returns the rest of a lifetime; `None` if it is zero.
fn remaining_lifetime(
    start: OffsetDateTime,
    lifetime: Duration,
    now: OffsetDateTime,
) -> Option<Duration> {
    let age = Duration::try_from(now - start).unwrap_or_default();
    lifetime.checked_sub(age).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::CodeExpired;

    #[test]
    fn failures_of_single_emails_are_reported_but_cause_no_pause() {
        let mut health = DeliveryHealth::default();
        for number in 1..=MAX_FAILURES_OF_EMAILS {
            assert!(health.failure.is_none(), "{number}");
            health.on_failed(&CodeExpired.into());
        }
        assert!(health.failure.is_some() && health.pause().is_none());
    }

    #[test]
    fn pause_grows_until_an_email_is_delivered() {
        let mut health = DeliveryHealth::default();
        let mut pauses = Vec::new();
        for _ in 0..20 {
            health.on_failed(&"the connection failed".into());
            pauses.push(health.pause().unwrap());
        }
        assert!(health.failure.is_some() && pauses.is_sorted());
        assert_eq!((pauses[0], pauses[19]), (MIN_PAUSE, MAX_PAUSE));
        health.on_delivered();
        assert!(health.failure.is_none() && health.pause().is_none());
    }
}
