//! The stores of a test run: one PostgreSQL and one Redis for all tests, and a separate database
//! and key prefix for each test.

use std::{path::PathBuf, sync::LazyLock};

use deadpool_redis::redis::{self, aio::MultiplexedConnection};
use latchkey_dev::{DATABASE_VARIABLE, REDIS_VARIABLE, Stack};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::test_server::{TestServer, wait_until};

/// The stores of `latchkey-dev with-stores`. Otherwise, stores of this process, which stop when the
/// process exits or is killed.
pub static STACK: LazyLock<Stores> = LazyLock::new(|| {
    let read_variable = |variable| std::env::var(variable).ok();
    if let (Some(database), Some(redis)) = (
        read_variable(DATABASE_VARIABLE),
        read_variable(REDIS_VARIABLE),
    ) {
        let (server, _name) = database.rsplit_once('/').expect("a URL with a database");
        return Stores {
            server: server.to_owned(),
            redis,
            _stack: None,
        };
    }
    let stack = Stack::temporary().expect("PostgreSQL and Redis start");
    Stores {
        server: stack.postgres.url("").trim_end_matches('/').to_owned(),
        redis: stack.redis.url(),
        _stack: Some(stack),
    }
});

/// The URLs of PostgreSQL and Redis.
pub struct Stores {
    /// The URL of PostgreSQL without the name of a database.
    server: String,
    redis: String,
    _stack: Option<Stack>,
}

impl Stores {
    /// Returns the URL of a database.
    pub fn postgres_url(&self, database: &str) -> String {
        format!("{}/{database}", self.server)
    }

    /// Returns the URL of Redis.
    pub fn redis_url(&self) -> String {
        self.redis.clone()
    }
}

/// Returns the socket of the Redis at this URL.
pub fn redis_socket(redis: &str) -> PathBuf {
    redis.trim_start_matches("redis+unix://").into()
}

/// Returns the socket of PostgreSQL, which is in the same folder as the socket of Redis.
pub fn postgres_socket(redis: &str) -> PathBuf {
    redis_socket(redis).with_file_name(".s.PGSQL.5432")
}

/// Connects to the Redis at this URL.
pub async fn connect_redis(redis: &str) -> MultiplexedConnection {
    redis::Client::open(redis)
        .expect("a valid URL")
        .get_multiplexed_async_connection()
        .await
        .expect("Redis responds")
}

/// Starts PostgreSQL and Redis for one test. Returns them and the URL of an empty database.
pub fn own_stack() -> (Stack, String) {
    let stack = Stack::temporary().expect("PostgreSQL and Redis start");
    stack
        .postgres
        .create_database("latchkey")
        .expect("a new database");
    let database = stack.postgres.url("latchkey");
    (stack, database)
}

/// The migrated database that each test copies. If several test processes share the stores, the
/// first one creates it.
static TEMPLATE: OnceCell<&str> = OnceCell::const_new();

async fn create_template() -> &'static str {
    const NAME: &str = "template_of_tests";
    let admin = connect(&STACK.postgres_url("postgres")).await;
    let lock = "select pg_advisory_lock(hashtext('template_of_tests'))";
    admin.batch_execute(lock).await.expect("the lock");
    let find_template = "select from pg_database where datname = 'template_of_tests'";
    if admin
        .query(find_template, &[])
        .await
        .expect("rows")
        .is_empty()
    {
        // The database has another name until it is complete.
        let unfinished = format!("unfinished_{}", Uuid::new_v4().simple());
        let create = format!("create database {unfinished}");
        admin.batch_execute(&create).await.expect("a new database");
        migrate(&unfinished).await;
        let rename = format!("alter database {unfinished} rename to {NAME}");
        admin
            .batch_execute(&rename)
            .await
            .expect("a renamed database");
    }
    NAME
}

async fn migrate(database: &str) {
    let url = STACK.postgres_url(database);
    let settings = crate::test_server::settings(&url, &STACK.redis_url(), "template");
    let mut command = std::process::Command::new(crate::test_server::binary());
    command.arg("migrate").env_clear().envs(settings);
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("no panic").expect("the binary runs");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
}

/// Connects to the database at this URL.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("PostgreSQL responds");
    tokio::spawn(connection);
    client
}

/// Creates a migrated database and returns its URL.
pub async fn fresh_database() -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let template = TEMPLATE.get_or_init(create_template).await;
    let admin = connect(&STACK.postgres_url("postgres")).await;
    admin
        .batch_execute(&format!("create database {name} template {template}"))
        .await
        .expect("a copied database");
    STACK.postgres_url(&name)
}

/// Runs statements directly on the database of a server.
pub async fn execute(server: &TestServer, sql: &str) {
    connect(server.setting("DATABASE_URL"))
        .await
        .batch_execute(sql)
        .await
        .expect("a valid statement");
}

/// Returns the single value of a query as text.
pub async fn query_value(server: &TestServer, sql: &str) -> String {
    let database = connect(server.setting("DATABASE_URL")).await;
    database
        .query_one(&format!("select ({sql})::text"), &[])
        .await
        .expect("a valid query")
        .get(0)
}

/// Returns the prefix of the keys of a server in Redis.
pub async fn redis_prefix(server: &TestServer) -> String {
    let id = query_value(server, "select database_id from settings").await;
    format!("{}:{}", server.setting("LATCHKEY_REDIS_PREFIX"), &id[..8])
}

/// Locks on rows, so that a test can act while statements of a server wait for them.
pub struct RowLock(tokio_postgres::Client);

impl RowLock {
    /// Locks the rows of a query, such as `select from users`.
    pub async fn rows(server: &TestServer, query: &str) -> RowLock {
        RowLock::by(server, &format!("{query} for update")).await
    }

    /// Locks a table against all writes, including inserts.
    pub async fn table(server: &TestServer, name: &str) -> RowLock {
        RowLock::by(server, &format!("lock table {name} in exclusive mode")).await
    }

    async fn by(server: &TestServer, statement: &str) -> RowLock {
        let client = connect(server.setting("DATABASE_URL")).await;
        client
            .batch_execute(&format!("begin; {statement}"))
            .await
            .expect("the locks");
        RowLock(client)
    }

    /// Returns the number of waiting statements.
    pub async fn waiting(&self) -> usize {
        self.count_waiting("").await
    }

    /// Returns the number of waiting statements that contain this text.
    async fn count_waiting(&self, part: &str) -> usize {
        // A transaction would otherwise read the same snapshot of the statistics again.
        self.0
            .query("select pg_stat_clear_snapshot()", &[])
            .await
            .expect("a valid query");
        let waiting = "select from pg_stat_activity \
            where datname = current_database() and wait_event_type = 'Lock' \
            and position($1 in query) > 0";
        self.0.query(waiting, &[&part]).await.expect("rows").len()
    }

    /// Waits until a statement waits for the locks.
    pub async fn wait_until_blocked(&self) {
        self.wait_until_statement_blocked("").await;
    }

    /// Waits until a statement that contains this text waits for the locks.
    pub async fn wait_until_statement_blocked(&self, part: &str) {
        wait_until("a statement waits for the locks", || async {
            self.count_waiting(part).await > 0
        })
        .await;
    }

    /// Terminates the connections with waiting statements.
    pub async fn terminate_blocked(&self) {
        let terminate = "select pg_terminate_backend(pid) from pg_stat_activity \
            where datname = current_database() and wait_event_type = 'Lock'";
        self.0.query(terminate, &[]).await.expect("a valid query");
    }

    /// Runs a statement, commits it, and releases the locks.
    pub async fn change(self, sql: &str) {
        self.0
            .batch_execute(&format!("{sql}; commit"))
            .await
            .expect("a valid statement");
    }

    pub async fn release(self) {
        self.0.batch_execute("rollback").await.expect("a rollback");
    }
}
