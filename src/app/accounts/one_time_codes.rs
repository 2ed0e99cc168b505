//! One-time codes of password resets, email changes, and sign-ups: the check and its audit events.

use latchkey_domain::{
    audit::{Actor, EventKind},
    one_time_code::{CodePurpose, OneTimeCode},
};
use uuid::Uuid;

use crate::{
    app::{accounts::Accounts, origin::Origin},
    error::Error,
    redis::Reservation,
};

impl Accounts {
    /// Checks a code and reserves it for this request, unless the network has exceeded its attempts
    /// for this subject: a user, a decoy, or the address of a sign-up.
    ///
    /// Wrong attempts never void the code, because an attacker could then block a recovery.
    ///
    /// # Errors
    /// `unavailable`.
    pub(super) async fn reserve_code(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        code: &OneTimeCode,
        origin: &Origin,
    ) -> Result<Reservation, Error> {
        let hashes = self.code_keys.hashes(purpose, subject_id, code);
        self.redis
            .reserve_code(
                purpose,
                subject_id,
                &hashes,
                self.rate_limits.network_id(origin),
                self.settings.limit_code,
            )
            .await
    }

    /// Records a wrong code, or a rejected attempt after too many wrong codes.
    pub(super) fn audit_wrong_code(
        &self,
        reservation: &Reservation,
        purpose: CodePurpose,
        user_id: Option<Uuid>,
        origin: &Origin,
    ) {
        let denied_event = |kind| origin.event(kind, Actor::Unauthenticated, user_id);
        match reservation {
            Reservation::Exhausted(_) => self.audit.record_denied(
                denied_event(EventKind::RateLimited).with_reason("code"),
                origin,
            ),
            Reservation::Incorrect => self.audit.record_denied(
                denied_event(EventKind::CodeCheckFailed).with_reason(purpose.as_str()),
                origin,
            ),
            Reservation::Reserved(_) | Reservation::Busy(_) => {}
        }
    }
}
