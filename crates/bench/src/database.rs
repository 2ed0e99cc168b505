//! Statements behind the gateway's back.

use latchkey_dev::Postgres;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::Outcome;

/// The name of the gateway's database.
pub const NAME: &str = "bench";

/// A connection to it.
pub struct Database {
    runtime: Runtime,
    client: Client,
}

impl Database {
    /// Connects.
    pub fn connect(postgres: &Postgres) -> Outcome<Database> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&postgres.url(NAME), NoTls).await?;
            // Its end is seen by the next statement.
            tokio::spawn(async { drop(connection.await) });
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Database { runtime, client })
    }

    /// Runs statements.
    pub fn run(&self, statements: &str) -> Outcome<()> {
        Ok(self
            .runtime
            .block_on(self.client.batch_execute(statements))?)
    }

    /// The one row of a query, as texts.
    pub fn row(&self, query: &str) -> Outcome<Vec<String>> {
        for message in self.runtime.block_on(self.client.simple_query(query))? {
            if let SimpleQueryMessage::Row(row) = message {
                return Ok((0..row.len())
                    .map(|at| row.get(at).unwrap_or_default().to_owned())
                    .collect());
            }
        }
        Err(format!("no row for: {query}").into())
    }
}
