//! Private halves: made, sealed, unsealed, and sealed anew while the secret is exchanged.

use latchkey_domain::{
    access_token::SigningKey,
    key_schedule::{self, KeyState, ScheduledKey},
    master_secret::MasterSecrets,
};

use crate::{
    app::Gateway,
    error::{Chain, Error},
    postgres::{SealedKey, StoredKey},
};

/// The private half, if it was sealed under one of our secrets.
pub fn unseal(secrets: &MasterSecrets, stored: &StoredKey) -> Option<SigningKey> {
    let (document, _) = secrets.unseal(&stored.key.sealed, &stored.key.kid.to_string())?;
    SigningKey::from_pkcs8(&document)
}

/// Whether every key that signs, now (ms since the epoch) or later, was sealed under one of our
/// secrets. Those that only verify need no private half.
pub fn can_sign(secrets: &MasterSecrets, stored: &[StoredKey], now: u64) -> bool {
    let schedule: Vec<ScheduledKey> = stored.iter().map(|stored| stored.life).collect();
    let signs = |stored: &&StoredKey| {
        matches!(
            key_schedule::state(&schedule, &stored.life, now),
            KeyState::Next | KeyState::Current
        )
    };
    stored
        .iter()
        .filter(signs)
        .all(|stored| unseal(secrets, stored).is_some())
}

impl Gateway {
    /// Reads the keys, and makes the first one of all; whether our secrets open those that sign.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn first_keys(&self) -> Result<bool, Error> {
        let first = || {
            self.new_key()
                .inspect(|key| tracing::info!(kid = %key.kid, "created the first signing key"))
        };
        let stored = self.postgres.list_or_create_signing_keys(first).await?;
        let (secrets, now) = (&self.config.secret, self.clock.now_ms());
        if !can_sign(secrets, &stored, now) {
            return Ok(false);
        }
        self.keys.load(&stored, |key| unseal(secrets, key), now);
        Ok(true)
    }

    /// A new key, sealed under the first secret.
    pub(crate) fn new_key(&self) -> Result<SealedKey, Error> {
        let private = SigningKey::generate().map_err(Error::internal)?;
        let key = SigningKey::from_pkcs8(&private)
            .ok_or_else(|| Error::internal("the new signing key is unreadable"))?;
        let sealed = self
            .config
            .secret
            .first()
            .sealing_key()
            .seal(&private, &key.kid().to_string());
        Ok(SealedKey {
            kid: key.kid(),
            public: key.public().to_vec(),
            sealed,
        })
    }

    /// Seals under the first secret what rests under the second. At the start and by the janitor,
    /// not with every look: where replicas have the secrets in different orders for a while, each
    /// undoes what the other did. The last one to start has them in the new order.
    pub(crate) async fn reseal_keys(&self) {
        if self.config.secret.second().is_none() {
            return;
        }
        match self.try_reseal_keys().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "re-encrypted signing keys with the first secret"),
            Err(error) => {
                tracing::warn!(error = %Chain(&error), "re-encrypting signing keys failed")
            }
        }
    }

    async fn try_reseal_keys(&self) -> Result<u32, Error> {
        let mut count = 0;
        for stored in self.postgres.list_signing_keys().await? {
            let context = stored.key.kid.to_string();
            let Some((private, false)) = self.config.secret.unseal(&stored.key.sealed, &context)
            else {
                continue;
            };
            let sealed = self
                .config
                .secret
                .first()
                .sealing_key()
                .seal(&private, &context);
            count += u32::from(
                self.postgres
                    .reseal_signing_key(&stored.key, &sealed)
                    .await?,
            );
        }
        Ok(count)
    }
}
