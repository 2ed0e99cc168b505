//! The stores of this run: one PostgreSQL and one Redis for all tests, a database and a key prefix
//! for each.

use std::{path::PathBuf, sync::LazyLock};

use deadpool_redis::redis::{self, aio::MultiplexedConnection};
use latchkey_dev::{DATABASE_VARIABLE, REDIS_VARIABLE, Stack};
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::test_server::{TestServer, until};

/// The stores of `latchkey-dev with-stores`, or stores of this process, which end with it, whatever
/// ends it.
pub static STACK: LazyLock<Stores> = LazyLock::new(|| {
    let given = |variable| std::env::var(variable).ok();
    if let (Some(database), Some(redis)) = (given(DATABASE_VARIABLE), given(REDIS_VARIABLE)) {
        let (server, _name) = database.rsplit_once('/').expect("a URL with a database");
        return Stores {
            server: server.to_owned(),
            redis,
            _stack: None,
        };
    }
    let stack = Stack::temporary().expect("PostgreSQL and Redis can be started");
    Stores {
        server: stack.postgres.url("").trim_end_matches('/').to_owned(),
        redis: stack.redis.url(),
        _stack: Some(stack),
    }
});

/// One PostgreSQL and one Redis.
pub struct Stores {
    /// The URL of PostgreSQL without a database.
    server: String,
    redis: String,
    _stack: Option<Stack>,
}

impl Stores {
    /// The URL of a database.
    pub fn postgres_url(&self, database: &str) -> String {
        format!("{}/{database}", self.server)
    }

    /// The URL of Redis.
    pub fn redis_url(&self) -> String {
        self.redis.clone()
    }
}

/// The socket of a Redis with this URL.
pub fn redis_socket(redis: &str) -> PathBuf {
    redis.trim_start_matches("redis+unix://").into()
}

/// The socket of PostgreSQL, which listens beside the Redis that was started with it.
pub fn postgres_socket(redis: &str) -> PathBuf {
    redis_socket(redis).with_file_name(".s.PGSQL.5432")
}

/// A connection to the Redis with this URL.
pub async fn connect_redis(redis: &str) -> MultiplexedConnection {
    redis::Client::open(redis)
        .expect("an address")
        .get_multiplexed_async_connection()
        .await
        .expect("Redis responds")
}

/// PostgreSQL and Redis of one test, and the URL of an empty database there.
pub fn own_stack() -> (Stack, String) {
    let stack = Stack::temporary().expect("it can be started");
    stack
        .postgres
        .create_database("latchkey")
        .expect("a database can be made");
    let database = stack.postgres.url("latchkey");
    (stack, database)
}

/// The database that each test's database is a copy of. Of several test processes with the same
/// stores, the first migrates it.
static TEMPLATE: OnceCell<&str> = OnceCell::const_new();

async fn migrated_template() -> &'static str {
    const NAME: &str = "template_of_tests";
    let admin = connect(&STACK.postgres_url("postgres")).await;
    let lock = "select pg_advisory_lock(hashtext('template_of_tests'))";
    admin.batch_execute(lock).await.expect("it is allowed");
    let known = "select from pg_database where datname = 'template_of_tests'";
    if admin.query(known, &[]).await.expect("rows").is_empty() {
        // Under another name until it is complete.
        let unfinished = format!("unfinished_{}", Uuid::new_v4().simple());
        let create = format!("create database {unfinished}");
        admin.batch_execute(&create).await.expect("it is allowed");
        migrate(&unfinished).await;
        let rename = format!("alter database {unfinished} rename to {NAME}");
        admin.batch_execute(&rename).await.expect("it is allowed");
    }
    NAME
}

async fn migrate(database: &str) {
    let url = STACK.postgres_url(database);
    let settings = crate::test_server::settings(&url, &STACK.redis_url(), "template");
    let mut migrate = std::process::Command::new(crate::test_server::binary());
    migrate.arg("migrate").env_clear().envs(settings);
    let run = tokio::task::spawn_blocking(move || migrate.output());
    let migrated = run.await.expect("it ends").expect("the binary runs");
    let errors = String::from_utf8_lossy(&migrated.stderr);
    assert!(migrated.status.success(), "{errors}");
}

/// Connects to a database of the run's PostgreSQL.
pub async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .expect("PostgreSQL responds");
    tokio::spawn(connection);
    client
}

/// The address of a fresh database.
pub async fn fresh_database() -> String {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let template = TEMPLATE.get_or_init(migrated_template).await;
    let admin = connect(&STACK.postgres_url("postgres")).await;
    admin
        .batch_execute(&format!("create database {name} template {template}"))
        .await
        .expect("a database can be copied");
    STACK.postgres_url(&name)
}

/// Runs statements behind the gateway's back.
pub async fn execute(server: &TestServer, sql: &str) {
    connect(server.setting("DATABASE_URL"))
        .await
        .batch_execute(sql)
        .await
        .expect("the statement is right");
}

/// The one value that a query gives, as text.
pub async fn ask(server: &TestServer, sql: &str) -> String {
    let database = connect(server.setting("DATABASE_URL")).await;
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
    pub async fn rows(server: &TestServer, query: &str) -> Held {
        Held::by(server, &format!("{query} for update")).await
    }

    /// Holds all rows of a table, also those that are not there yet.
    pub async fn table(server: &TestServer, name: &str) -> Held {
        Held::by(server, &format!("lock table {name} in exclusive mode")).await
    }

    async fn by(server: &TestServer, statement: &str) -> Held {
        let client = connect(server.setting("DATABASE_URL")).await;
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
