//! Generates, encrypts, and decrypts private keys, and re-encrypts them when the master secret is
//! rotated.

use latchkey_domain::{
    access_token::SigningKey,
    key_schedule::{self, ScheduledKey},
    master_secret::MasterSecrets,
};
use secrecy::ExposeSecret;

use crate::{
    app::keys::Keys,
    error::{Chain, Error},
    postgres::{SealedKey, StoredKey},
};

/// Decrypts a private key. Returns `None` if it is encrypted with another secret.
pub fn unseal(secrets: &MasterSecrets, stored: &StoredKey) -> Option<SigningKey> {
    let (pkcs8, _) = secrets.unseal(&stored.key.sealed, &stored.key.kid.to_string())?;
    SigningKey::from_pkcs8(pkcs8.expose_secret())
}

/// Whether the secrets decrypt every key that signs at `now` (ms since the epoch) or later. Keys
/// that only verify need no private key.
fn can_unseal_signers(secrets: &MasterSecrets, stored: &[StoredKey], now: u64) -> bool {
    let schedule: Vec<ScheduledKey> = stored.iter().map(|stored| stored.schedule).collect();
    let needs_private_key = |stored: &&StoredKey| {
        key_schedule::state(&schedule, &stored.schedule, now).needs_private_key()
    };
    stored
        .iter()
        .filter(needs_private_key)
        .all(|stored| unseal(secrets, stored).is_some())
}

impl Keys {
    /// Whether the master secret decrypts every key that signs now or later.
    pub(crate) fn can_decrypt_signers(&self, stored: &[StoredKey]) -> bool {
        can_unseal_signers(&self.settings.secret, stored, self.clock.now_ms())
    }

    /// Loads the keys, and creates the first key if none exists. Returns whether the master secret
    /// decrypts every key that signs now or later; otherwise, the keys aren't loaded.
    ///
    /// # Errors
    /// `unavailable`.
    pub(crate) async fn load_or_create_keys(&self) -> Result<bool, Error> {
        let create_first_key = || {
            self.new_key()
                .inspect(|key| tracing::info!(kid = %key.kid, "created the first signing key"))
        };
        let stored = self
            .postgres
            .list_or_create_signing_keys(create_first_key)
            .await?;
        let (secrets, now) = (&self.settings.secret, self.clock.now_ms());
        if !can_unseal_signers(secrets, &stored, now) {
            return Ok(false);
        }
        self.ring
            .replace_keys(&stored, |key| unseal(secrets, key), now);
        Ok(true)
    }

    /// Generates a key and encrypts it with the first secret.
    pub(crate) fn new_key(&self) -> Result<SealedKey, Error> {
        let private = SigningKey::generate().map_err(Error::internal)?;
        let key = SigningKey::from_pkcs8(private.expose_secret())
            .ok_or_else(|| Error::internal("the new signing key is unreadable"))?;
        let sealed = self
            .settings
            .secret
            .first()
            .sealing_key()
            .seal(private.expose_secret(), &key.kid().to_string());
        Ok(SealedKey {
            kid: key.kid(),
            public: key.public().to_vec(),
            sealed,
        })
    }

    /// Encrypts keys with the first secret that are encrypted with the second one.
    ///
    /// Runs at the start and during cleanup, not after each reload. During a rotation, replicas
    /// with the secrets in different orders would undo the changes of each other. The last replica
    /// that starts has the new order.
    pub(crate) async fn reseal_keys(&self) {
        if self.settings.secret.second().is_none() {
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
            let Some((private, false)) = self.settings.secret.unseal(&stored.key.sealed, &context)
            else {
                continue;
            };
            let sealed = self
                .settings
                .secret
                .first()
                .sealing_key()
                .seal(private.expose_secret(), &context);
            count += u32::from(
                self.postgres
                    .reseal_signing_key(&stored.key, &sealed)
                    .await?,
            );
        }
        Ok(count)
    }
}
