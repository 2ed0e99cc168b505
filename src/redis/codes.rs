//! One-time codes: which is the current one, and how often it was guessed wrong.

use std::sync::LazyLock;

use latchkey_domain::{
    one_time_code::{CodeHash, CodePurpose},
    rate_limit::Limit,
};
use uuid::Uuid;

use super::{Redis, script::Script};
use crate::error::Error;

static REGISTER: LazyLock<Script> =
    LazyLock::new(|| Script::new("register_code", include_str!("scripts/register_code.lua")));
static RESERVE: LazyLock<Script> =
    LazyLock::new(|| Script::new("reserve_code", include_str!("scripts/reserve_code.lua")));
static FINISH: LazyLock<Script> =
    LazyLock::new(|| Script::new("finish_code", include_str!("scripts/finish_code.lua")));

/// How long a request may keep a code to itself: longer than a hash and a transaction take.
const RESERVATION_MS: &str = "30000";

/// What became of a try.
#[derive(Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It is the code of this row, and nobody else may use it for a while.
    Reserved(Uuid),
    /// It is the code of this row, but another request is using it.
    Busy(Uuid),
    /// It is not the code.
    Wrong,
    /// Too many wrong tries; seconds until the next is looked at.
    Exhausted(u64),
}

/// Which code of a row is the current one.
#[derive(Debug, PartialEq, Eq)]
pub enum Registered {
    /// The one that was to be.
    This,
    /// The one that another replica made of the same row, under the other secret, and sent already.
    Other,
    /// Neither: a newer row has taken its place.
    Newer,
}

impl Redis {
    /// Makes a code the current one for the rest of its life, in milliseconds, unless there is a
    /// newer one, or `other` of the same row.
    pub async fn register_code(
        &self,
        purpose: CodePurpose,
        sub: Uuid,
        row: Uuid,
        hash: &CodeHash,
        other: &CodeHash,
        life: u64,
    ) -> Result<Registered, Error> {
        let (row, life) = (row.to_string(), life.to_string());
        let args = [row.as_bytes(), hash, other, life.as_bytes()];
        match self
            .run_apart::<String>(&REGISTER, &[self.code_key(purpose, sub)], &args)
            .await?
            .as_str()
        {
            "registered" => Ok(Registered::This),
            "kept" => Ok(Registered::Other),
            "replaced" => Ok(Registered::Newer),
            _other => Err(REGISTER.unknown_answer()),
        }
    }

    /// Compares with what may be stored of the code, and reserves, or counts a wrong try of this
    /// account from this network: of so many in a period, the next is not looked at.
    pub async fn reserve_code(
        &self,
        purpose: CodePurpose,
        sub: Uuid,
        [hash, other]: &[CodeHash; 2],
        network: Uuid,
        tries: Limit,
    ) -> Result<Reservation, Error> {
        let code = self.code_key(purpose, sub);
        let keys = [code.clone(), format!("{code}:attempts:{network}")];
        let limits = [
            tries.burst().to_string(),
            tries.period().as_millis().to_string(),
        ];
        let args = [
            hash,
            other,
            RESERVATION_MS.as_bytes(),
            limits[0].as_bytes(),
            limits[1].as_bytes(),
        ];
        let (answer, rest) = self
            .run_apart::<(String, Option<String>)>(&RESERVE, &keys, &args)
            .await?;
        let row = || {
            rest.as_deref()
                .and_then(|row| row.parse().ok())
                .ok_or_else(|| RESERVE.unknown_answer())
        };
        match answer.as_str() {
            "reserved" => row().map(Reservation::Reserved),
            "busy" => row().map(Reservation::Busy),
            "wrong" => Ok(Reservation::Wrong),
            "exhausted" => Ok(Reservation::Exhausted(
                rest.and_then(|ms| ms.parse().ok())
                    .map_or(1, |ms: u64| ms.div_ceil(1000)),
            )),
            _other => Err(RESERVE.unknown_answer()),
        }
    }

    /// The code was used up.
    pub async fn use_code(&self, purpose: CodePurpose, sub: Uuid, row: Uuid) -> Result<(), Error> {
        self.finish_code(purpose, sub, row, "used").await
    }

    /// The code was not used after all, and may be tried again at once.
    pub async fn release_code(
        &self,
        purpose: CodePurpose,
        sub: Uuid,
        row: Uuid,
    ) -> Result<(), Error> {
        self.finish_code(purpose, sub, row, "released").await
    }

    async fn finish_code(
        &self,
        purpose: CodePurpose,
        sub: Uuid,
        row: Uuid,
        how: &str,
    ) -> Result<(), Error> {
        let row = row.to_string();
        self.run_apart::<String>(
            &FINISH,
            &[self.code_key(purpose, sub)],
            &[row.as_bytes(), how.as_bytes()],
        )
        .await
        .map(drop)
    }

    fn code_key(&self, purpose: CodePurpose, sub: Uuid) -> String {
        format!("{}:{{{sub}}}:code:{}", self.prefix, purpose.as_str())
    }
}
