//! OAuth clients.

use std::collections::BTreeMap;

use deadpool_postgres::Pool;
use latchkey_domain::{
    audit::AuditEvent,
    page::Page,
    revocation::{Reason, RevocationBatch},
    scope::Scopes,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{Connection, Postgres, audit, batcher::Batcher, pools, revocations},
};

const INSERT: &str = include_str!("../../sql/queries/insert_client.sql");
const FIND: &str = include_str!("../../sql/queries/find_clients.sql");
const LIST: &str = include_str!("../../sql/queries/list_clients.sql");
const ROTATE: &str = include_str!("../../sql/queries/rotate_client_secret.sql");
const DELETE: &str = include_str!("../../sql/queries/delete_client.sql");
const FIND_DELETION: &str = include_str!("../../sql/queries/find_client_deletion.sql");

/// A row of `oauth_clients`. It has no `Debug`, because of the hash.
#[derive(Clone)]
pub struct StoredClient {
    /// `client_id`, as a uuid.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// Of its secret.
    pub secret_hash: Vec<u8>,
    /// What its tokens may be used for.
    pub scopes: Scopes,
    /// Whom its tokens may be for; the first one is meant where it does not say.
    pub audiences: Vec<String>,
    /// Tokens of a smaller one are refused.
    pub generation: i64,
    /// When it was registered.
    pub created_at: OffsetDateTime,
    /// When its secret was made.
    pub rotated_at: OffsetDateTime,
}

/// A client that is about to be.
pub struct NewClient<'a> {
    /// Its id, made by the caller.
    pub id: Uuid,
    /// For people.
    pub name: &'a str,
    /// Of its secret.
    pub secret_hash: Vec<u8>,
    /// What its tokens may be used for.
    pub scopes: Scopes,
    /// Whom its tokens may be for.
    pub audiences: &'a [String],
}

impl Postgres {
    /// Registers a client.
    pub async fn create_client(
        &self,
        client: &NewClient<'_>,
        event: &AuditEvent,
    ) -> Result<StoredClient, Error> {
        let (mut db, scope) = (self.connection().await?, client.scopes.to_string());
        db.begin().await?;
        let params: crate::postgres::Params = &[
            &client.id,
            &client.name,
            &client.secret_hash,
            &scope,
            &client.audiences,
        ];
        let row = db
            .first(INSERT, params)
            .await?
            .ok_or_else(|| Error::internal("an insert returned no row"))?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read(&row)
    }

    /// The client with this id. Who asks at the same moment shares a statement.
    pub async fn find_client(&self, id: Uuid) -> Result<Option<StoredClient>, Error> {
        self.clients.ask(id, (), self.deadline()).await
    }

    /// A page of all clients, and one more if there is a next page.
    pub async fn list_clients(&self, page: Page) -> Result<Vec<StoredClient>, Error> {
        let rows = self
            .connection()
            .await?
            .all(LIST, &[&page.after, &(i64::from(page.limit) + 1)])
            .await?;
        rows.iter().map(read).collect()
    }

    /// Gives a client another secret, and ends every token that it had with the one before; nothing
    /// if there is none.
    pub async fn rotate_client_secret(
        &self,
        id: Uuid,
        secret_hash: &[u8],
        event: &AuditEvent,
    ) -> Result<Option<(StoredClient, RevocationBatch)>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.first(ROTATE, &[&id, &secret_hash]).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        let client = read(&row)?;
        let ending = RevocationBatch::of_client(id, client.generation, Reason::SecretRotated);
        revocations::record(&mut db, &ending).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some((client, ending)))
    }

    /// Deletes a client; of one that is gone already, what ended with it. Nothing if there was
    /// none.
    pub async fn delete_client(
        &self,
        id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let (mut db, reason) = (self.connection().await?, Reason::ClientDeleted);
        db.begin().await?;
        let Some(row) = db.first(DELETE, &[&id]).await? else {
            let known = db
                .first(FIND_DELETION, &[&id.to_string(), &reason.as_str()])
                .await?;
            db.roll_back().await?;
            return known
                .map(|row| Ok(RevocationBatch::of_client(id, row.try_get(0)?, reason)))
                .transpose();
        };
        let generation: i64 = row.try_get(0)?;
        let ending = RevocationBatch::of_client(id, generation + 1, reason);
        revocations::record(&mut db, &ending).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(ending))
    }
}

/// Clients by id.
pub(crate) fn finder(batch_connections: &Pool, pool: &Pool) -> Batcher<Uuid, (), StoredClient> {
    pools::batcher(batch_connections, pool, find)
}

async fn find(
    mut db: Connection,
    wanted: BTreeMap<Uuid, ()>,
) -> Result<BTreeMap<Uuid, StoredClient>, Error> {
    let ids: Vec<Uuid> = wanted.into_keys().collect();
    let rows = db.all(FIND, &[&ids]).await?;
    rows.iter()
        .map(|row| read(row).map(|client| (client.id, client)))
        .collect()
}

fn read(row: &Row) -> Result<StoredClient, Error> {
    Ok(StoredClient {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        secret_hash: row.try_get("secret_hash")?,
        scopes: Scopes::granted(row.try_get("scope")?),
        audiences: row.try_get("audiences")?,
        generation: row.try_get("generation")?,
        created_at: row.try_get("created_at")?,
        rotated_at: row.try_get("rotated_at")?,
    })
}
