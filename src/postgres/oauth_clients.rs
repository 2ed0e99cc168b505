//! OAuth clients: registration, lookup, changes, secret rotation, and deletion.

use std::collections::BTreeMap;

use latchkey_domain::{
    audit::{Actor, AuditEvent},
    oauth_client::{ClientChange, ClientSettings},
    page::Page,
    revocation::{RevocationBatch, RevocationReason},
    scope::Scopes,
};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

use crate::{
    error::Error,
    postgres::{
        Connection, EmailTemplate, Postgres, audit, batcher::Batcher, email_outbox, pools,
        pools::Pool, revocations,
    },
};

const INSERT_CLIENT: &str = include_str!("../../sql/queries/insert_client.sql");
const FIND_CLIENTS: &str = include_str!("../../sql/queries/find_clients.sql");
const LIST_CLIENTS: &str = include_str!("../../sql/queries/list_clients.sql");
const ROTATE_CLIENT_SECRET: &str = include_str!("../../sql/queries/rotate_client_secret.sql");
const LOCK_CLIENT: &str = include_str!("../../sql/queries/lock_client.sql");
const UPDATE_CLIENT: &str = include_str!("../../sql/queries/update_client.sql");
const DELETE_CLIENT: &str = include_str!("../../sql/queries/delete_client.sql");
const FIND_CLIENT_DELETION: &str = include_str!("../../sql/queries/find_client_deletion.sql");

/// A row of `oauth_clients`. It has no `Debug`, because it contains the secret's hash.
#[derive(Clone)]
pub struct StoredClient {
    /// The `client_id`.
    pub id: Uuid,
    /// The display name.
    pub name: String,
    pub secret_hash: Vec<u8>,
    /// The scopes that the client can request.
    pub scopes: Scopes,
    /// The allowed audiences of its tokens. The first is the default.
    pub audiences: Vec<String>,
    /// Tokens of a smaller generation are revoked.
    pub generation: i64,
    pub created_at: OffsetDateTime,
    /// The time at which the current secret was created.
    pub rotated_at: OffsetDateTime,
}

impl StoredClient {
    fn settings(&self) -> ClientSettings {
        ClientSettings {
            name: self.name.clone(),
            scopes: self.scopes,
            audiences: self.audiences.clone(),
        }
    }
}

/// The registration of an OAuth client. It has no `Debug`, because it contains the secret's hash.
pub struct NewClient<'a> {
    /// The `client_id`, which the caller generates.
    pub id: Uuid,
    /// The display name.
    pub name: &'a str,
    pub secret_hash: Vec<u8>,
    /// The scopes that the client can request.
    pub scopes: Scopes,
    /// The allowed audiences of its tokens. The first is the default.
    pub audiences: &'a [String],
}

/// Enqueues a notice for the administrator who has caused the event. The operator gets none.
async fn notify_admin(
    db: &mut Connection,
    template: EmailTemplate,
    event: &AuditEvent,
) -> Result<(), Error> {
    if let Actor::Admin(id) = event.actor {
        email_outbox::enqueue(db, Uuid::now_v7(), template, id, event).await?;
    }
    Ok(())
}

impl Postgres {
    /// Inserts a client, with its audit event.
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
            .query_first(INSERT_CLIENT, params)
            .await?
            .ok_or_else(|| Error::internal("an insert returned no row"))?;
        notify_admin(&mut db, EmailTemplate::ClientSecretCreated, event).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        read_client(&row)
    }

    /// Finds a client by its ID. Concurrent lookups share a statement.
    pub async fn find_client(&self, id: Uuid) -> Result<Option<StoredClient>, Error> {
        self.clients.submit(id, (), self.deadline()).await
    }

    /// Lists a page of all clients, and one more if there is a next page.
    pub async fn list_clients(&self, page: Page) -> Result<Vec<StoredClient>, Error> {
        let rows = self
            .connection()
            .await?
            .query(LIST_CLIENTS, &[&page.after, &(i64::from(page.limit) + 1)])
            .await?;
        rows.iter().map(read_client).collect()
    }

    /// Replaces a client's secret, and revokes the tokens issued with the previous one. Returns
    /// `None` if there is no such client.
    pub async fn rotate_client_secret(
        &self,
        id: Uuid,
        secret_hash: &[u8],
        event: &AuditEvent,
    ) -> Result<Option<(StoredClient, RevocationBatch)>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db
            .query_first(ROTATE_CLIENT_SECRET, &[&id, &secret_hash])
            .await?
        else {
            db.roll_back().await?;
            return Ok(None);
        };
        let client = read_client(&row)?;
        let batch =
            RevocationBatch::of_client(id, client.generation, RevocationReason::SecretRotated);
        revocations::insert(&mut db, &batch).await?;
        notify_admin(&mut db, EmailTemplate::ClientSecretCreated, event).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some((client, batch)))
    }

    /// Changes the settings of a client. If a scope or an audience is removed, revokes all tokens of
    /// the client. Returns `None` if there is no such client. A change to the same values is no
    /// event.
    pub async fn update_client(
        &self,
        id: Uuid,
        change: &ClientChange,
        event: &AuditEvent,
    ) -> Result<Option<(StoredClient, Option<RevocationBatch>)>, Error> {
        let mut db = self.connection().await?;
        db.begin().await?;
        let Some(row) = db.query_first(LOCK_CLIENT, &[&id]).await? else {
            db.roll_back().await?;
            return Ok(None);
        };
        let client = read_client(&row)?;
        let before = client.settings();
        let after = before.changed(change);
        if before == after {
            db.roll_back().await?;
            return Ok(Some((client, None)));
        }
        let generation = client.generation + i64::from(before.exceeds(&after));
        // Unchanged scopes are not written, because this version ignores those of a newer one.
        let scope = (before.scopes != after.scopes).then(|| after.scopes.to_string());
        let params: crate::postgres::Params =
            &[&id, &after.name, &scope, &after.audiences, &generation];
        db.execute(UPDATE_CLIENT, params).await?;
        let reason = RevocationReason::ClientUpdated;
        let mut event = event.clone();
        let mut batch = None;
        if before.exceeds(&after) {
            let revocation = RevocationBatch::of_client(id, generation, reason);
            revocations::insert(&mut db, &revocation).await?;
            batch = Some(revocation);
            event = event.with_reason(reason.as_str());
        }
        if after.exceeds(&before) {
            notify_admin(&mut db, EmailTemplate::ClientExtended, &event).await?;
        }
        audit::insert(&mut db, &event).await?;
        db.commit().await?;
        let client = StoredClient {
            name: after.name,
            scopes: after.scopes,
            audiences: after.audiences,
            generation,
            ..client
        };
        Ok(Some((client, batch)))
    }

    /// Deletes a client, and returns the revocation of its tokens.
    ///
    /// For a recently deleted client, it returns the earlier revocation, so that a repeated request
    /// publishes it again. Otherwise it returns `None` if there is no such client.
    pub async fn delete_client(
        &self,
        id: Uuid,
        event: &AuditEvent,
    ) -> Result<Option<RevocationBatch>, Error> {
        let (mut db, reason) = (self.connection().await?, RevocationReason::ClientDeleted);
        db.begin().await?;
        let Some(row) = db.query_first(DELETE_CLIENT, &[&id]).await? else {
            let deletion = db
                .query_first(FIND_CLIENT_DELETION, &[&id.to_string(), &reason.as_str()])
                .await?;
            db.roll_back().await?;
            return deletion
                .map(|row| Ok(RevocationBatch::of_client(id, row.try_get(0)?, reason)))
                .transpose();
        };
        let generation: i64 = row.try_get(0)?;
        let batch = RevocationBatch::of_client(id, generation + 1, reason);
        revocations::insert(&mut db, &batch).await?;
        audit::insert(&mut db, event).await?;
        db.commit().await?;
        Ok(Some(batch))
    }
}

/// Builds the batcher for lookups by ID.
pub(crate) fn build_batcher(batch_pool: &Pool, pool: &Pool) -> Batcher<Uuid, (), StoredClient> {
    pools::build_batcher(batch_pool, pool, find_clients)
}

async fn find_clients(
    mut db: Connection,
    keys: BTreeMap<Uuid, ()>,
) -> Result<BTreeMap<Uuid, StoredClient>, Error> {
    let ids: Vec<Uuid> = keys.into_keys().collect();
    let rows = db.query(FIND_CLIENTS, &[&ids]).await?;
    rows.iter()
        .map(|row| read_client(row).map(|client| (client.id, client)))
        .collect()
}

fn read_client(row: &Row) -> Result<StoredClient, Error> {
    Ok(StoredClient {
        id: row.try_get("id")?,
        name: row.try_get("name")?,
        secret_hash: row.try_get("secret_hash")?,
        scopes: Scopes::parse_granted(row.try_get("scope")?),
        audiences: row.try_get("audiences")?,
        generation: row.try_get("generation")?,
        created_at: row.try_get("created_at")?,
        rotated_at: row.try_get("rotated_at")?,
    })
}
