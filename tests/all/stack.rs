//! The stores of this run: one PostgreSQL and one Redis for all tests, a database and a key prefix
//! for each.

use std::sync::LazyLock;

use latchkey_dev::Stack;
use uuid::Uuid;

use crate::gateway::{Gateway, until};

/// Ends with the test process, whatever ends that.
pub static STACK: LazyLock<Stack> =
    LazyLock::new(|| Stack::temporary().expect("PostgreSQL and Redis can be started"));

/// Migrated once; each test's database is a copy of it.
static TEMPLATE: LazyLock<String> = LazyLock::new(|| {
    let name = "template_of_tests".to_owned();
    STACK
        .postgres
        .create_database(&name)
        .expect("a database can be made");
    let migrated = std::process::Command::new(crate::gateway::binary())
        .arg("migrate")
        .env_clear()
        .envs(crate::gateway::settings(
            &STACK.postgres.url(&name),
            &STACK.redis.url(),
            "template",
        ))
        .output()
        .expect("the binary runs");
    assert!(
        migrated.status.success(),
        "{}",
        String::from_utf8_lossy(&migrated.stderr)
    );
    name
});

/// Connects to a database of the run's PostgreSQL.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// The address of a fresh database.
pub async fn fresh_database() -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let template = tokio::task::spawn_blocking(|| TEMPLATE.as_str())
        .await
        .expect("the template is made");
    let admin = connect(&STACK.postgres.url("postgres")).await;
    admin
        .batch_execute(&format!("create database {name} template {template}"))
        .await
        .expect("a database can be copied");
    STACK.postgres.url(&name)
}

/// Runs statements behind the gateway's back.
pub async fn execute(gateway: &Gateway, sql: &str) {
    connect(gateway.setting("DATABASE_URL"))
        .await
        .batch_execute(sql)
        .await
        .expect("the statement is right");
}

/// The one value that a query gives, as text.
pub async fn ask(gateway: &Gateway, sql: &str) -> String {
    let database = connect(gateway.setting("DATABASE_URL")).await;
    database
        .query_one(&format!("select ({sql})::text"), &[])
        .await
        .expect("the query is right")
        .get(0)
}

/// Rows that a test holds: whoever is to write them waits, so that something can happen in that
/// moment.
pub struct Held(tokio_postgres::Client);

impl Held {
    /// Holds the rows of a query, such as `select from users`.
    pub async fn rows(gateway: &Gateway, query: &str) -> Held {
        Held::by(gateway, &format!("{query} for update")).await
    }

    /// Holds all rows of a table, also those that are not there yet.
    pub async fn table(gateway: &Gateway, name: &str) -> Held {
        Held::by(gateway, &format!("lock table {name} in exclusive mode")).await
    }

    async fn by(gateway: &Gateway, statement: &str) -> Held {
        let client = connect(gateway.setting("DATABASE_URL")).await;
        client
            .batch_execute(&format!("begin; {statement}"))
            .await
            .expect("nobody else holds them");
        Held(client)
    }

    /// How many statements wait.
    pub async fn waiting(&self) -> usize {
        self.waiting_like("").await
    }

    /// How many of the waiting statements contain this text.
    async fn waiting_like(&self, part: &str) -> usize {
        // Within a transaction, connections that came after the first look are not seen otherwise.
        self.0
            .query("select pg_stat_clear_snapshot()", &[])
            .await
            .expect("it is allowed");
        let waits = "select from pg_stat_activity \
            where datname = current_database() and wait_event_type = 'Lock' \
            and position($1 in query) > 0";
        self.0.query(waits, &[&part]).await.expect("rows").len()
    }

    pub async fn until_somebody_waits(&self) {
        self.until_waits("").await;
    }

    /// Until a statement that contains this text waits for the rows.
    pub async fn until_waits(&self, part: &str) {
        until("a statement waits for the rows", || async {
            self.waiting_like(part).await > 0
        })
        .await;
    }

    /// Breaks the connections of those who wait.
    pub async fn cut_who_waits(&self) {
        let cut = "select pg_terminate_backend(pid) from pg_stat_activity \
            where datname = current_database() and wait_event_type = 'Lock'";
        self.0.query(cut, &[]).await.expect("it is allowed");
    }

    /// Changes them, and lets them go.
    pub async fn change(self, sql: &str) {
        self.0
            .batch_execute(&format!("{sql}; commit"))
            .await
            .expect("the statement is right");
    }

    pub async fn release(self) {
        self.0
            .batch_execute("rollback")
            .await
            .expect("the rows are ours");
    }
}
