//! Direct access to PostgreSQL, without the server.

use latchkey_dev::Postgres;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use crate::Outcome;

/// The name of the server's database.
pub const DATABASE_NAME: &str = "bench";

/// A connection to the server's database.
pub struct Database {
    runtime: Runtime,
    client: Client,
}

impl Database {
    pub fn connect(postgres: &Postgres) -> Outcome<Database> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let client = runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&postgres.url(DATABASE_NAME), NoTls).await?;
            // If the connection fails, the next statement returns the error.
            tokio::spawn(async { drop(connection.await) });
            Ok::<_, tokio_postgres::Error>(client)
        })?;
        Ok(Database { runtime, client })
    }

    pub fn run(&self, statements: &str) -> Outcome<()> {
        Ok(self
            .runtime
            .block_on(self.client.batch_execute(statements))?)
    }

    /// Returns the first row of a query as text.
    pub fn query_row(&self, query: &str) -> Outcome<Vec<String>> {
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
