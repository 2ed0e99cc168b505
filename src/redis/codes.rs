//! One-time codes: the current code of each user and purpose, and the number of failed attempts.

use std::sync::LazyLock;

use latchkey_domain::{
    one_time_code::{CodeHash, CodePurpose},
    rate_limit::RateLimit,
};
use uuid::Uuid;

use super::{Redis, script::Script};
use crate::error::Error;

static REGISTER_CODE: LazyLock<Script> =
    LazyLock::new(|| Script::new("register_code", include_str!("scripts/register_code.lua")));
static RESERVE_CODE: LazyLock<Script> =
    LazyLock::new(|| Script::new("reserve_code", include_str!("scripts/reserve_code.lua")));
static FINISH_CODE: LazyLock<Script> =
    LazyLock::new(|| Script::new("finish_code", include_str!("scripts/finish_code.lua")));

/// Duration for which one request reserves a code, in milliseconds. It exceeds the duration of a
/// password hash and a transaction.
const RESERVATION_MS: &str = "30000";

/// The result of presenting a code.
#[derive(Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The code of this email is correct, and reserved for the caller.
    Reserved(Uuid),
    /// The code of this email is correct, but another request is using it.
    Busy(Uuid),
    /// The code is incorrect.
    Incorrect,
    /// Too many failed attempts. Contains the seconds until the next attempt is allowed.
    Exhausted(u64),
}

/// The code that is the current one after a registration.
#[derive(Debug, PartialEq, Eq)]
pub enum CodeRegistration {
    /// The registered code.
    Registered,
    /// The code that another replica derived with the other master secret, and has already sent.
    KeptOther,
    /// The code of a newer email.
    Superseded,
}

impl Redis {
    /// Makes the code of an email the current one for its remaining lifetime (ms).
    ///
    /// A newer code, or the code with the hash `other_hash` of the same email, stays the current
    /// one.
    pub async fn register_code(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        email_id: Uuid,
        hash: &CodeHash,
        other_hash: &CodeHash,
        lifetime_ms: u64,
    ) -> Result<CodeRegistration, Error> {
        let (email_id, lifetime) = (email_id.to_string(), lifetime_ms.to_string());
        let args = [email_id.as_bytes(), hash, other_hash, lifetime.as_bytes()];
        match self
            .run_exclusive::<String>(&REGISTER_CODE, &[self.code_key(purpose, subject_id)], &args)
            .await?
            .as_str()
        {
            "registered" => Ok(CodeRegistration::Registered),
            "kept" => Ok(CodeRegistration::KeptOther),
            "replaced" => Ok(CodeRegistration::Superseded),
            _other => Err(REGISTER_CODE.unknown_result()),
        }
    }

    /// Reserves the current code if one of the hashes matches. Otherwise it counts a failed attempt
    /// for this user and network.
    ///
    /// The two hashes use the two master secrets. At the limit, attempts are rejected without a
    /// comparison.
    pub async fn reserve_code(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        [hash, other_hash]: &[CodeHash; 2],
        network: Uuid,
        limit: RateLimit,
    ) -> Result<Reservation, Error> {
        let counted = self.code_key(purpose.counted_as(), subject_id);
        let keys = [
            self.code_key(purpose, subject_id),
            format!("{counted}:attempts:{network}"),
        ];
        let (max_attempts, period_ms) = (
            limit.burst().to_string(),
            limit.period().as_millis().to_string(),
        );
        let args = [
            hash,
            other_hash,
            RESERVATION_MS.as_bytes(),
            max_attempts.as_bytes(),
            period_ms.as_bytes(),
        ];
        let (status, value) = self
            .run_exclusive::<(String, Option<String>)>(&RESERVE_CODE, &keys, &args)
            .await?;
        let email_id = || {
            value
                .as_deref()
                .and_then(|id| id.parse().ok())
                .ok_or_else(|| RESERVE_CODE.unknown_result())
        };
        match status.as_str() {
            "reserved" => email_id().map(Reservation::Reserved),
            "busy" => email_id().map(Reservation::Busy),
            "wrong" => Ok(Reservation::Incorrect),
            "exhausted" => Ok(Reservation::Exhausted(
                value
                    .and_then(|ms| ms.parse().ok())
                    .map_or(1, |ms: u64| ms.div_ceil(1000)),
            )),
            _other => Err(RESERVE_CODE.unknown_result()),
        }
    }

    /// Deletes a used code.
    pub async fn use_code(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        email_id: Uuid,
    ) -> Result<(), Error> {
        self.finish_code(purpose, subject_id, email_id, "used")
            .await
    }

    /// Releases the reservation of a code that was not used, so that it can be presented again.
    pub async fn release_code(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        email_id: Uuid,
    ) -> Result<(), Error> {
        self.finish_code(purpose, subject_id, email_id, "released")
            .await
    }

    async fn finish_code(
        &self,
        purpose: CodePurpose,
        subject_id: Uuid,
        email_id: Uuid,
        outcome: &str,
    ) -> Result<(), Error> {
        let email_id = email_id.to_string();
        self.run_exclusive::<String>(
            &FINISH_CODE,
            &[self.code_key(purpose, subject_id)],
            &[email_id.as_bytes(), outcome.as_bytes()],
        )
        .await
        .map(drop)
    }

    fn code_key(&self, purpose: CodePurpose, subject_id: Uuid) -> String {
        format!(
            "{}:{{{subject_id}}}:code:{}",
            self.prefix(),
            purpose.as_str()
        )
    }
}
