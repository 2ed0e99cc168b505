//! Signing keys, and the issuer that all replicas share.

use latchkey_domain::{
    access_token::Kid,
    audit::{Actor, AuditEvent, EventKind},
    key_schedule::{self, KeyRevocation, KeyState, KeySuccessor, ScheduledKey},
    revocation::{RevocationBatch, RevocationReason},
};
use tokio_postgres::Row;

use super::{Connection, Postgres, audit, revocations};
use crate::error::Error;

const LIST_SIGNING_KEYS: &str = include_str!("../../sql/queries/list_signing_keys.sql");
const LOCK_SIGNING_KEYS: &str = include_str!("../../sql/queries/lock_signing_keys.sql");
const INSERT_SIGNING_KEY: &str = include_str!("../../sql/queries/insert_signing_key.sql");
const REVOKE_SIGNING_KEY: &str = include_str!("../../sql/queries/revoke_signing_key.sql");
const ACTIVATE_SIGNING_KEY: &str = include_str!("../../sql/queries/activate_signing_key.sql");
const RESEAL_SIGNING_KEY: &str = include_str!("../../sql/queries/reseal_signing_key.sql");
const DELETE_EXPIRED_SIGNING_KEYS: &str =
    include_str!("../../sql/queries/delete_expired_signing_keys.sql");

/// A signing key whose private key is encrypted. It has no `Debug`.
pub struct SealedKey {
    pub kid: Kid,
    pub public: Vec<u8>,
    /// The private key, encrypted under the master secret.
    pub sealed: Vec<u8>,
}

/// A row of `signing_keys`.
pub struct StoredKey {
    /// The times from which the state of the key follows.
    pub schedule: ScheduledKey,
    pub key: SealedKey,
}

/// The result of revoking a signing key.
pub struct RevokedKey {
    /// The revocation of all tokens that the key signed.
    pub batch: RevocationBatch,
    /// The key that replaces it; `None` if the revoked key was not the current one.
    pub successor: Option<Kid>,
}

/// All keys, and the time of PostgreSQL's clock when they were read (ms since the Unix epoch).
struct KeyList {
    keys: Vec<StoredKey>,
    now: u64,
}

impl KeyList {
    fn schedules(&self) -> Vec<ScheduledKey> {
        self.keys.iter().map(|stored| stored.schedule).collect()
    }
}

impl Postgres {
    pub async fn list_signing_keys(&self) -> Result<Vec<StoredKey>, Error> {
        Ok(list_keys(&mut self.connection().await?).await?.keys)
    }

    /// Lists all signing keys. If there is none, it inserts the key that `create` returns, which
    /// signs immediately.
    ///
    /// The table is locked during the insert, so replicas that start together use the same key.
    pub async fn list_or_create_signing_keys(
        &self,
        create: impl FnOnce() -> Result<SealedKey, Error>,
    ) -> Result<Vec<StoredKey>, Error> {
        let mut db = self.connection().await?;
        let list = list_keys(&mut db).await?;
        if !list.keys.is_empty() {
            return Ok(list.keys);
        }
        let list = lock_keys(&mut db).await?;
        if list.keys.is_empty() {
            insert_key(&mut db, &create()?, 0).await?;
        }
        db.commit().await?;
        Ok(list_keys(&mut db).await?.keys)
    }

    /// Inserts a key, and returns the time from which it signs (ms since the Unix epoch).
    ///
    /// `delay` receives all keys and the time of PostgreSQL's clock, and returns the delay in
    /// milliseconds before the key signs. If it returns `None`, no key is inserted.
    pub async fn add_signing_key(
        &self,
        key: &SealedKey,
        actor: Actor,
        delay: impl FnOnce(&[ScheduledKey], u64) -> Option<u64>,
    ) -> Result<Option<u64>, Error> {
        let mut db = self.connection().await?;
        let list = lock_keys(&mut db).await?;
        let Some(delay) = delay(&list.schedules(), list.now) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let signs_from = insert_key(&mut db, key, delay).await?;
        audit::insert(
            &mut db,
            &AuditEvent::new(EventKind::SigningKeyCreated, actor, None).of_key(key.kid),
        )
        .await?;
        db.commit().await?;
        Ok(Some(signs_from))
    }

    /// Revokes a key; `None` if there is no such key. A repeated revocation changes nothing.
    ///
    /// If the key was the current one, the next key signs immediately. If there is no next key,
    /// `replacement` is inserted and signs.
    pub async fn revoke_signing_key(
        &self,
        kid: Kid,
        replacement: &SealedKey,
        actor: Actor,
    ) -> Result<Option<RevokedKey>, Error> {
        let mut db = self.connection().await?;
        let list = lock_keys(&mut db).await?;
        let batch = RevocationBatch::of_key(kid, RevocationReason::Revoked);
        let successor = match key_schedule::decide_revocation(&list.schedules(), kid, list.now) {
            KeyRevocation::UnknownKey => {
                db.roll_back().await?;
                return Ok(None);
            }
            KeyRevocation::AlreadyRevoked => {
                db.roll_back().await?;
                return Ok(Some(RevokedKey {
                    batch,
                    successor: None,
                }));
            }
            KeyRevocation::Revoke(successor) => successor,
        };
        db.execute(REVOKE_SIGNING_KEY, &[&kid.to_string()]).await?;
        revocations::insert(&mut db, &batch).await?;
        let successor = activate_successor(&mut db, successor, replacement, actor).await?;
        audit::insert(
            &mut db,
            &AuditEvent::new(EventKind::SigningKeyRevoked, actor, None).of_key(kid),
        )
        .await?;
        db.commit().await?;
        Ok(Some(RevokedKey { batch, successor }))
    }

    /// Stores a private key that was encrypted again, unless another replica has changed it since
    /// it was read. Returns whether it was stored.
    pub async fn reseal_signing_key(&self, read: &SealedKey, sealed: &[u8]) -> Result<bool, Error> {
        let params: super::Params = &[&read.kid.to_string(), &sealed, &read.sealed];
        Ok(self
            .connection()
            .await?
            .execute(RESEAL_SIGNING_KEY, params)
            .await?
            > 0)
    }
}

/// Deletes expired keys and returns their number.
pub(super) async fn delete_expired(db: &mut Connection) -> Result<u64, Error> {
    let list = list_keys(db).await?;
    let schedules = list.schedules();
    let is_expired =
        |key: &&ScheduledKey| key_schedule::state(&schedules, key, list.now) == KeyState::Expired;
    let expired: Vec<String> = schedules
        .iter()
        .filter(is_expired)
        .map(|key| key.kid.to_string())
        .collect();
    if expired.is_empty() {
        Ok(0)
    } else {
        db.execute(DELETE_EXPIRED_SIGNING_KEYS, &[&expired]).await
    }
}

/// Makes the successor of a revoked key the current one. Returns the ID of that key.
async fn activate_successor(
    db: &mut Connection,
    successor: KeySuccessor,
    replacement: &SealedKey,
    actor: Actor,
) -> Result<Option<Kid>, Error> {
    match successor {
        KeySuccessor::Unchanged => Ok(None),
        KeySuccessor::NextKey(kid) => {
            db.execute(ACTIVATE_SIGNING_KEY, &[&kid.to_string()])
                .await?;
            Ok(Some(kid))
        }
        KeySuccessor::NewKey => {
            insert_key(db, replacement, 0).await?;
            let event = AuditEvent::new(EventKind::SigningKeyCreated, actor, None);
            audit::insert(db, &event.of_key(replacement.kid)).await?;
            Ok(Some(replacement.kid))
        }
    }
}

/// Begins a transaction that excludes concurrent changes of keys.
async fn lock_keys(db: &mut Connection) -> Result<KeyList, Error> {
    db.begin().await?;
    db.batch_execute(LOCK_SIGNING_KEYS).await?;
    list_keys(db).await
}

/// Inserts a key that signs after `delay` (ms), and returns that time (ms since the Unix epoch).
async fn insert_key(db: &mut Connection, key: &SealedKey, delay: u64) -> Result<u64, Error> {
    let params: super::Params = &[
        &key.kid.to_string(),
        &key.public,
        &key.sealed,
        &(delay as f64 / 1000.0),
    ];
    let row = db
        .query_first(INSERT_SIGNING_KEY, params)
        .await?
        .ok_or_else(|| Error::internal("the inserted signing key is missing"))?;
    to_unix_ms(row.try_get(0)?)
}

async fn list_keys(db: &mut Connection) -> Result<KeyList, Error> {
    let rows = db.query(LIST_SIGNING_KEYS, &[]).await?;
    let now = rows
        .first()
        .map(|row| to_unix_ms(row.try_get("now")?))
        .transpose()?
        .unwrap_or(0);
    Ok(KeyList {
        keys: rows.iter().map(read_key).collect::<Result<_, Error>>()?,
        now,
    })
}

fn read_key(row: &Row) -> Result<StoredKey, Error> {
    let kid: &str = row.try_get("kid")?;
    let kid = kid
        .parse()
        .map_err(|_| Error::internal("a signing key has an invalid ID"))?;
    let revoked_at: Option<i64> = row.try_get("revoked_at")?;
    let schedule = ScheduledKey {
        kid,
        signs_from: to_unix_ms(row.try_get("signs_from")?)?,
        revoked_at: revoked_at.map(to_unix_ms).transpose()?,
    };
    let key = SealedKey {
        kid,
        public: row.try_get("public_key")?,
        sealed: row.try_get("sealed_private_key")?,
    };
    Ok(StoredKey { schedule, key })
}

fn to_unix_ms(stored: i64) -> Result<u64, Error> {
    u64::try_from(stored).map_err(Error::internal)
}
