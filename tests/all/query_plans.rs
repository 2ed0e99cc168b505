//! The plan of every statement in `sql/queries/`, in a database with a million rows per table.
//!
//! A statement that reads a large table completely works in every other test, and takes a second in
//! production.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::test_stores::{connect, fresh_database};

const ROWS_PER_TABLE: u64 = 1_000_000;

/// Tables with fewer rows, for example a partition without rows, can be read completely.
const MIN_LARGE_TABLE_ROWS: f64 = 10_000.0;

/// The maximum cost of a statement, in the unit of PostgreSQL: the cost of reading a page
/// sequentially. Reading the smallest of the large tables completely costs twice as much. A plan
/// for all parameters assumes that a limit is a tenth of the table.
const MAX_COST: f64 = 10_000.0;

/// Rows of each table. IDs are consecutive, so that inserts are fast. A user has one row in each
/// table.
const INSERT_ROWS: &[&str] = &[
    "insert into users (id, username, email, email_verified, password_hash, role,
        groups, identity_version, identity_changed_at)
    select id(n), 'user' || n, 'user' || n || '@example.com', true, repeat('h', 97),
        case when n <= 3 then 'admin' else 'user' end,
        case when n % 10 = 0 then array['group' || n % 1000] else '{}' end,
        1, case when n % 10 = 0 then now() - n * interval '1 second' end
    from generate_series(1, $1::bigint) n",
    "insert into applications (id, origin) select id(n), 'https://app' || n || '.example.com'
    from generate_series(1, least($1::bigint, 1000)) n",
    "insert into groups (name) select 'group' || n from generate_series(1, least($1::bigint, 1000)) n",
    "insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at,
        revoked_at, revoked_reason)
    select id(n), id(n), 1, 'latchkey', 'user', now(), now() + interval '30 days',
        case when n % 4 = 0 then now() end, case when n % 4 = 0 then 'sign_out' end
    from generate_series(1, $1::bigint) n",
    "insert into personal_access_tokens (id, user_id, generation, name, secret_hash, scope,
        expires_at)
    select id(n), id(n), 1, 'token', ''::bytea, 'user', now() + interval '30 days'
    from generate_series(1, $1::bigint) n",
    "insert into items (user_id, id, name)
    select id(n), id(n), 'item ' || n from generate_series(1, $1::bigint) n",
    "insert into revocations (kind, subject_id, user_id, reason, revoked_at, expires_at)
    select 'session', id(n)::text, id(n), 'sign_out', now() - n * interval '3 ms',
        now() + interval '65 minutes'
    from generate_series(1, $1::bigint) n",
    "insert into email_outbox (id, template, user_id, recipient, sent_at, next_attempt_at)
    select id(n), 'password_reset', id(n), 'user' || n || '@example.com',
        case when n % 100 > 0 then now() end, now()
    from generate_series(1, $1::bigint) n",
    "insert into reserved_names (hash, user_id, reserved_until)
    select name_hash('username', 'user' || n), id(n), case when n % 100 = 0 then now() end
    from generate_series(1, $1::bigint) n",
    "insert into audit_events (id, at, event, outcome, subject_id, actor)
    select id(n), now() - n * interval '1 ms', 'signed_in', 'success', id(n), 'user'
    from generate_series(1, $1::bigint) n",
];

/// The ID of row `n`.
const CREATE_ID_FUNCTION: &str = "
    create function id(n bigint) returns uuid language sql immutable as
    $$ select ('00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid $$";

/// Lets inserts ignore all indexes until they are built again, which is faster than adding each
/// row.
const SUSPEND_INDEXES: &str = "
    update pg_index set indisready = false, indisvalid = false
    where indexrelid in
        (select oid from pg_class where relkind = 'i' and relnamespace = 'public'::regnamespace)";

/// Statements without a plan.
const STATEMENTS_WITHOUT_PLAN: &[&str] = &[
    "lock_applications_for_insert",
    "lock_groups_for_insert",
    "lock_signing_keys",
    "set_log_lock_timeout",
];

async fn fill(database: &Client) {
    // Foreign keys would be checked row by row.
    let set = "set session_replication_role = replica; set synchronous_commit = off";
    database.batch_execute(set).await.expect("a superuser");
    database
        .batch_execute(CREATE_ID_FUNCTION)
        .await
        .expect("a function");
    database
        .batch_execute(SUSPEND_INDEXES)
        .await
        .expect("a superuser");
    for insert in INSERT_ROWS {
        let rows = i64::try_from(ROWS_PER_TABLE).expect("a small number");
        database.execute(*insert, &[&rows]).await.expect(insert);
    }
    let sort_memory = "set maintenance_work_mem = '256MB'";
    database
        .batch_execute(sort_memory)
        .await
        .expect("a setting");
    let build_indexes = "reindex schema public";
    database
        .batch_execute(build_indexes)
        .await
        .expect("indexes");
    database.batch_execute("analyze").await.expect("statistics");
}

/// Returns the text of every statement by name.
fn statements() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/queries");
    let files = fs::read_dir(folder).expect("a folder");
    files
        .map(|file| {
            let path = file.expect("a file").path();
            let name = path.file_stem().expect("a name").to_string_lossy();
            (name.into_owned(), fs::read_to_string(&path).expect("text"))
        })
        .collect()
}

/// The number of rows of each table and partition.
async fn count_rows(database: &Client) -> BTreeMap<String, f64> {
    let query = "select relname::text, reltuples::float8 from pg_class where relkind = 'r'";
    let rows = database.query(query, &[]).await.expect("tables");
    rows.iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Returns the plan of a statement that is the same for all parameters.
async fn explain(database: &Client, name: &str, sql: &str) -> Value {
    let prepared = database.prepare(sql).await.expect(name);
    let parameters = vec!["null"; prepared.params().len()].join(", ");
    let arguments = match parameters.as_str() {
        "" => String::new(),
        list => format!("({list})"),
    };
    database
        .batch_execute(&format!("prepare {name} as {sql}"))
        .await
        .expect(name);
    let explain = format!("explain (format json) execute {name}{arguments}");
    // The driver decodes no JSON, so the simple protocol returns it as text.
    let messages = database.simple_query(&explain).await.expect(name);
    let text = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _other => None,
    });
    let plans: Value = serde_json::from_str(text.expect(name)).expect("JSON");
    plans[0]["Plan"].clone()
}

/// The tables that a plan reads completely.
fn list_complete_reads(plan: &Value) -> Vec<String> {
    let own = (plan["Node Type"] == "Seq Scan").then(|| text(&plan["Relation Name"]));
    let children = plan["Plans"].as_array().into_iter().flatten();
    own.into_iter()
        .chain(children.flat_map(list_complete_reads))
        .collect()
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

#[tokio::test]
async fn no_statement_reads_large_table_completely() {
    let database = connect(&fresh_database().await).await;
    fill(&database).await;
    let force = "set plan_cache_mode = force_generic_plan";
    database.batch_execute(force).await.expect("a setting");
    let rows = count_rows(&database).await;
    let is_large = |table: &String| {
        rows.get(table)
            .is_some_and(|rows| *rows >= MIN_LARGE_TABLE_ROWS)
    };
    assert!(is_large(&"users".to_owned()), "{rows:?}");
    let mut violations = Vec::new();
    for (name, sql) in statements() {
        if STATEMENTS_WITHOUT_PLAN.contains(&name.as_str()) {
            continue;
        }
        let plan = explain(&database, &name, &sql).await;
        let cost = plan["Total Cost"].as_f64().expect("a cost");
        let read: Vec<String> = list_complete_reads(&plan);
        if read.iter().any(is_large) || cost > MAX_COST {
            violations.push(format!("{name}: cost {cost}, reads {read:?} completely"));
        }
    }
    assert!(violations.is_empty(), "{violations:#?}");
}
