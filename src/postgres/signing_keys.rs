//! Signing keys, and what all replicas must agree on.

use latchkey_domain::{
    access_token::Kid,
    audit::{Actor, AuditEvent, EventKind},
    key_schedule::{self, KeyState, ScheduledKey},
    revocation::{Reason, RevocationBatch},
};
use tokio_postgres::Row;

use super::{Connection, Postgres, audit, revocations};
use crate::error::Error;

const LIST: &str = include_str!("../../sql/queries/list_signing_keys.sql");
const LOCK: &str = include_str!("../../sql/queries/lock_signing_keys.sql");
const INSERT: &str = include_str!("../../sql/queries/insert_signing_key.sql");
const REVOKE: &str = include_str!("../../sql/queries/revoke_signing_key.sql");
const HASTEN: &str = include_str!("../../sql/queries/activate_signing_key.sql");
const RESEAL: &str = include_str!("../../sql/queries/reseal_signing_key.sql");
const DELETE: &str = include_str!("../../sql/queries/delete_expired_signing_keys.sql");
const AGREE_ON_ISSUER: &str = include_str!("../../sql/queries/agree_on_issuer.sql");

/// A signing key as it rests in the record.
pub struct SealedKey {
    /// Its id.
    pub kid: Kid,
    /// The public half.
    pub public: Vec<u8>,
    /// The private half, sealed.
    pub sealed: Vec<u8>,
}

/// A signing key that is in the record.
pub struct StoredKey {
    /// What its life follows from.
    pub life: ScheduledKey,
    /// The key.
    pub key: SealedKey,
}

/// What became of a key that was to be taken back.
pub struct RevokedKey {
    /// Everything that it signed.
    pub ending: RevocationBatch,
    /// The key that signs from now on, where this one did.
    pub successor: Option<Kid>,
}

/// All keys, and when they were read by the record's clock (ms since the epoch).
struct Listed {
    keys: Vec<StoredKey>,
    now: u64,
}

impl Listed {
    fn lives(&self) -> Vec<ScheduledKey> {
        self.keys.iter().map(|stored| stored.life).collect()
    }
}

impl Postgres {
    /// All signing keys.
    pub async fn list_signing_keys(&self) -> Result<Vec<StoredKey>, Error> {
        Ok(list(&mut self.connection().await?).await?.keys)
    }

    /// All signing keys. When there is none, `first` makes one, which signs at once; replicas that
    /// start together agree on the same, because the table is locked meanwhile.
    pub async fn list_or_create_signing_keys(
        &self,
        first: impl FnOnce() -> Result<SealedKey, Error>,
    ) -> Result<Vec<StoredKey>, Error> {
        let mut db = self.connection().await?;
        let listed = list(&mut db).await?;
        if !listed.keys.is_empty() {
            return Ok(listed.keys);
        }
        let listed = lock(&mut db).await?;
        if listed.keys.is_empty() {
            insert(&mut db, &first()?, 0).await?;
        }
        db.commit().await?;
        Ok(list(&mut db).await?.keys)
    }

    /// Adds a key that signs in as many milliseconds as `delay` says, by all keys and the record's
    /// clock; nothing is done where it says nothing. From when on the key signs, in ms since the
    /// epoch.
    pub async fn add_signing_key(
        &self,
        key: &SealedKey,
        actor: Actor,
        delay: impl FnOnce(&[ScheduledKey], u64) -> Option<u64>,
    ) -> Result<Option<u64>, Error> {
        let mut db = self.connection().await?;
        let listed = lock(&mut db).await?;
        let Some(delay) = delay(&listed.lives(), listed.now) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let signs_from = insert(&mut db, key, delay).await?;
        audit::insert(
            &mut db,
            &AuditEvent::new(EventKind::SigningKeyCreated, actor, None).of_key(key.kid),
        )
        .await?;
        db.commit().await?;
        Ok(Some(signs_from))
    }

    /// Takes a key back. Where it is the one that signs, the next one signs at once, or else this
    /// new one. Nothing, if there is no such key; one that was taken back before stays as it is.
    pub async fn revoke_signing_key(
        &self,
        kid: Kid,
        new: &SealedKey,
        actor: Actor,
    ) -> Result<Option<RevokedKey>, Error> {
        let mut db = self.connection().await?;
        let listed = lock(&mut db).await?;
        let Some(key) = listed.keys.iter().find(|stored| stored.life.kid == kid) else {
            db.roll_back().await?;
            return Ok(None);
        };
        let ending = RevocationBatch::of_key(kid, Reason::Revoked);
        if key.life.revoked_at.is_some() {
            db.roll_back().await?;
            return Ok(Some(RevokedKey {
                ending,
                successor: None,
            }));
        }
        db.change(REVOKE, &[&kid.to_string()]).await?;
        revocations::record(&mut db, &ending).await?;
        let successor = succeed(&mut db, &listed, kid, new, actor).await?;
        audit::insert(
            &mut db,
            &AuditEvent::new(EventKind::SigningKeyRevoked, actor, None).of_key(kid),
        )
        .await?;
        db.commit().await?;
        Ok(Some(RevokedKey { ending, successor }))
    }

    /// Stores a key that was sealed anew, if it is still there as it was read; whether it was.
    pub async fn reseal_signing_key(&self, read: &SealedKey, sealed: &[u8]) -> Result<bool, Error> {
        let params: super::Params = &[&read.kid.to_string(), &sealed, &read.sealed];
        Ok(self.connection().await?.change(RESEAL, params).await? > 0)
    }

    /// The issuer that all replicas use: the one that the first of them brought.
    pub async fn agree_on_issuer(&self, ours: &str) -> Result<String, Error> {
        let row = self
            .connection()
            .await?
            .first(AGREE_ON_ISSUER, &[&ours])
            .await?;
        Ok(row
            .ok_or_else(|| Error::internal("the table of settings is empty"))?
            .try_get(0)?)
    }
}

/// Deletes the keys that nobody needs any more; how many.
pub(super) async fn delete_gone(db: &mut Connection) -> Result<u64, Error> {
    let Listed { keys, now } = list(db).await?;
    let lives: Vec<_> = keys.iter().map(|stored| stored.life).collect();
    let is_gone = |key: &&ScheduledKey| key_schedule::state(&lives, key, now) == KeyState::Expired;
    let gone: Vec<String> = lives
        .iter()
        .filter(is_gone)
        .map(|key| key.kid.to_string())
        .collect();
    if gone.is_empty() {
        Ok(0)
    } else {
        db.change(DELETE, &[&gone]).await
    }
}

/// Whoever signs after this key, which was taken back.
async fn succeed(
    db: &mut Connection,
    listed: &Listed,
    kid: Kid,
    new: &SealedKey,
    actor: Actor,
) -> Result<Option<Kid>, Error> {
    let lives = listed.lives();
    if key_schedule::signer(&lives, listed.now).is_none_or(|signer| signer.kid != kid) {
        return Ok(None);
    }
    let others: Vec<_> = lives.into_iter().filter(|key| key.kid != kid).collect();
    if let Some(next) = key_schedule::waiting(&others, listed.now) {
        db.change(HASTEN, &[&next.kid.to_string()]).await?;
        return Ok(Some(next.kid));
    }
    insert(db, new, 0).await?;
    audit::insert(
        db,
        &AuditEvent::new(EventKind::SigningKeyCreated, actor, None).of_key(new.kid),
    )
    .await?;
    Ok(Some(new.kid))
}

/// Begins a transaction in which nobody else changes a key.
async fn lock(db: &mut Connection) -> Result<Listed, Error> {
    db.begin().await?;
    db.batch(LOCK).await?;
    list(db).await
}

/// From when on the key signs, in ms since the epoch; `delay` is in ms.
async fn insert(db: &mut Connection, key: &SealedKey, delay: u64) -> Result<u64, Error> {
    let params: super::Params = &[
        &key.kid.to_string(),
        &key.public,
        &key.sealed,
        &(delay as f64 / 1000.0),
    ];
    let row = db
        .first(INSERT, params)
        .await?
        .ok_or_else(|| Error::internal("the inserted signing key is missing"))?;
    moment(row.try_get(0)?)
}

async fn list(db: &mut Connection) -> Result<Listed, Error> {
    let rows = db.all(LIST, &[]).await?;
    let now = rows
        .first()
        .map(|row| moment(row.try_get("now")?))
        .transpose()?
        .unwrap_or(0);
    Ok(Listed {
        keys: rows.iter().map(read).collect::<Result<_, Error>>()?,
        now,
    })
}

fn read(row: &Row) -> Result<StoredKey, Error> {
    let kid: &str = row.try_get("kid")?;
    let kid = kid
        .parse()
        .map_err(|_| Error::internal("a signing key has an invalid ID"))?;
    let revoked_at: Option<i64> = row.try_get("revoked_at")?;
    let life = ScheduledKey {
        kid,
        signs_from: moment(row.try_get("signs_from")?)?,
        revoked_at: revoked_at.map(moment).transpose()?,
    };
    let key = SealedKey {
        kid,
        public: row.try_get("public_key")?,
        sealed: row.try_get("sealed_private_key")?,
    };
    Ok(StoredKey { life, key })
}

/// In ms since the epoch.
fn moment(stored: i64) -> Result<u64, Error> {
    u64::try_from(stored).map_err(Error::internal)
}
