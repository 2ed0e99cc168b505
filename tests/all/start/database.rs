//! Requirements for the database: migrations, the rights of its role, the encoding, and
//! defaults that it overrides.

use std::process::Output;

use reqwest::Method;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

use super::{as_str_pairs, create_empty_database, latchkey, stderr, stdout};
use crate::{
    operator::run_user_command,
    test_server::{PASSWORD, TestServer, settings, wait_until},
    test_stores::{STACK, connect, execute, fresh_database},
};

/// Runs `latchkey migrate`, which requires only the URL of the database.
fn migrate(database: &str) -> Output {
    latchkey(&["migrate"], &[("DATABASE_URL", database)])
}

/// Creates a role that can sign in, and returns its name.
async fn create_role(admin: &Client) -> String {
    let role = format!("role_{}", Uuid::new_v4().simple());
    admin
        .batch_execute(&format!("create role {role} login"))
        .await
        .expect("a new role");
    role
}

/// The URL of the same database for another role.
fn url_of_role(database: &str, role: &str) -> String {
    let (_, rest) = database.split_once('@').expect("a URL with a user");
    format!("postgres://{role}@{rest}")
}

/// The settings of a server with this database.
fn settings_of(database: &str) -> Vec<(String, String)> {
    let prefix = format!("t{}", Uuid::new_v4().simple());
    settings(database, &STACK.redis_url(), &prefix)
}

/// Creates the roles of `deploy/roles.sql` with other names. Returns the URLs of the owner and of
/// the server.
async fn create_deployed_roles(database: &str) -> [String; 2] {
    let suffix = Uuid::new_v4().simple();
    let (owner, role) = (format!("owner_{suffix}"), format!("server_{suffix}"));
    let statements = include_str!("../../../deploy/roles.sql")
        .replace("latchkey_owner", &owner)
        .replace("role latchkey ", &format!("role {role} "))
        .replace("to latchkey;", &format!("to {role};"));
    let admin = connect(database).await;
    admin.batch_execute(&statements).await.expect("roles");
    [owner, role].map(|name| url_of_role(database, &name))
}

/// Reverts all migrations but the first.
const REVERT_TO_FIRST: &str = "
    drop function create_audit_partitions, drop_audit_partitions;
    drop index users_identity_changes, users_admins;
    create index users_identity_changed on users (identity_changed_at)
        where identity_changed_at is not null;
    alter table settings drop column database_id;
    alter table email_outbox drop column priority, drop column claimed_until;
    create index email_outbox_due on email_outbox (next_attempt_at)
        where sent_at is null and consumed_at is null;
    drop function reserve_names cascade;
    drop function take_name, name_hash;
    drop table reserved_names;
    alter table users drop column password_change_required;
    drop index sessions_of_user_by_id;
    create index sessions_of_user on sessions (user_id);
    alter table users drop column groups;
    drop table groups;
    drop table applications;
    drop index audit_events_of_actor, audit_events_of_address, audit_events_of_kind;
    delete from refinery_schema_history where version > 1;";

#[test]
fn migration_requires_only_the_database() {
    let output = latchkey(&["migrate"], &[]);
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    assert!(errors.contains("\n  DATABASE_URL: "), "{errors}");
    assert!(!errors.contains("REDIS_URL"), "{errors}");
    // An invalid setting of the server doesn't matter, but a misspelled one might be important.
    let wrong = [("LATCHKEY_ISSUER", "nowhere")];
    let errors = stderr(&latchkey(&["migrate"], &wrong));
    assert!(!errors.contains("LATCHKEY_ISSUER"), "{errors}");
    let unknown = [("LATCHKEY_DATABASE_TIMEOUTS", "2s")];
    let errors = stderr(&latchkey(&["migrate"], &unknown));
    assert!(
        errors.contains("did you mean LATCHKEY_DATABASE_TIMEOUT?"),
        "{errors}"
    );
}

#[tokio::test]
async fn second_migration_changes_nothing() {
    let settings = settings(
        &create_empty_database().await,
        &STACK.redis_url(),
        "migrate",
    );
    let variables = as_str_pairs(&settings);
    let (first, second) = (
        latchkey(&["migrate"], &variables),
        latchkey(&["migrate"], &variables),
    );
    assert!(
        first.status.success() && second.status.success(),
        "{}{}",
        stderr(&first),
        stderr(&second)
    );
    assert!(stdout(&first).contains("Applied"), "{}", stdout(&first));
    assert!(
        stdout(&second).contains("is up to date"),
        "{}",
        stdout(&second)
    );
}

#[tokio::test]
async fn replica_serves_with_a_newer_schema() {
    let server = TestServer::start().await;
    let session = server.sign_up("john").await;
    let newer = "insert into refinery_schema_history (version, name, applied_on, checksum) \
        select max(version) + 1, 'newer', max(applied_on), '1' from refinery_schema_history";
    execute(&server, newer).await;
    let replica = server.replica().await;
    assert_eq!(replica.verify(&session.access_token).await.0, 204);
    replica.sign_up("jane").await;
}

/// Two migrations and a table, as version 0.1.0-dev created them before it had one migration.
const OLDER_DATABASE: &str = "
    create table refinery_schema_history (
        version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255)
    );
    insert into refinery_schema_history values
        (1, 'first', '2026-11-01T00:00:00Z', '1'),
        (2, 'sessions_users_audit', '2026-11-01T00:00:00Z', '2');
    create table users (id uuid primary key, gen bigint not null default 1);";

#[tokio::test]
async fn older_development_database_is_rejected_unchanged() {
    let database = create_empty_database().await;
    let client = connect(&database).await;
    client
        .batch_execute(OLDER_DATABASE)
        .await
        .expect("an older schema");
    let settings = settings(&database, &STACK.redis_url(), "older");
    for (arguments, code) in [(["serve"], 2), (["migrate"], 1)] {
        let output = latchkey(&arguments, &as_str_pairs(&settings));
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains("older development version"), "{errors}");
        assert!(errors.contains("create an empty database"), "{errors}");
        assert_eq!(errors.trim().lines().count(), 2, "{errors}");
    }
    let tables = "select string_agg(tablename, ' ' order by tablename) from pg_tables \
        where schemaname = 'public'";
    let row = client.query_one(tables, &[]).await.expect("a row");
    assert_eq!(row.get::<_, String>(0), "refinery_schema_history users");
}

#[tokio::test]
async fn server_needs_no_right_to_create_tables() {
    let database = create_empty_database().await;
    let admin = connect(&database).await;
    let [owner, url] = create_deployed_roles(&database).await;
    let output = migrate(&owner);
    assert!(output.status.success(), "{}", stderr(&output));
    for forbidden in [
        "create table public.forbidden (id int)",
        "delete from refinery_schema_history",
    ] {
        let rejected = connect(&url).await.batch_execute(forbidden).await;
        assert!(
            rejected.is_err(),
            "the role of the server can run: {forbidden}"
        );
    }

    // Creating partitions is part of the start.
    let drop_partitions = "do $$ declare name regclass; begin
        for name in select inhrelid from pg_inherits where inhparent = 'audit_events'::regclass
            and inhrelid <> 'audit_events_default'::regclass
        loop execute format('drop table %s', name); end loop; end $$";
    admin
        .batch_execute(drop_partitions)
        .await
        .expect("no partitions");
    let server = TestServer::run(settings_of(&url)).await;
    let session = server.sign_up("john").await;
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    server.admin("jane").await;
    let partitions = "select count(*) from pg_inherits where inhparent = 'audit_events'::regclass";
    let row = admin.query_one(partitions, &[]).await.expect("a count");
    assert_eq!(row.get::<_, i64>(0), 4, "three months and the default");
    // Triggers keep the reservations of names up to date, with the rights of the role.
    let rename = json!({"username": "jack"});
    server
        .with_token(Method::PATCH, "/user", &session.access_token, rename)
        .await
        .is(200, "");
    let sign_up = || server.post("/signup", json!({"username": "john", "password": PASSWORD}));
    sign_up().await.is(409, "username_taken");
    run_user_command(&server, &["release", "john"], "").await;
    sign_up().await.is(201, "");
    assert!(!server.has_logged(&["permission denied"]));
}

#[tokio::test]
async fn missing_rights_are_reported_with_the_grant() {
    let database = create_empty_database().await;
    let role = create_role(&connect(&database).await).await;
    let url = url_of_role(&database, &role);
    let outputs = [
        (migrate(&url), 1),
        (latchkey(&["serve"], &as_str_pairs(&settings_of(&url))), 2),
    ];
    for (output, code) in outputs {
        let errors = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{errors}");
        for part in [
            "error: a migration failed: ERROR: permission denied for schema public",
            "\nhint: run `latchkey migrate` with the role that owns the tables",
            "GRANT CREATE ON SCHEMA public TO ROLE_NAME",
        ] {
            assert!(errors.contains(part), "{errors}");
        }
    }
}

#[tokio::test]
async fn encoding_other_than_utf8_is_rejected() {
    let admin = connect(&STACK.postgres_url("postgres")).await;
    for encoding in ["LATIN1", "SQL_ASCII"] {
        let name = format!("test_{}", Uuid::new_v4().simple());
        let create =
            format!("create database {name} encoding '{encoding}' locale 'C' template template0");
        admin.batch_execute(&create).await.expect("a database");
        let url = STACK.postgres_url(&name);
        for (output, code) in [
            (migrate(&url), 1),
            (latchkey(&["serve"], &as_str_pairs(&settings_of(&url))), 2),
        ] {
            let errors = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{errors}");
            let error =
                format!("the encoding of the database is {encoding}, and Latchkey requires");
            assert!(errors.contains(&error), "{errors}");
            assert!(
                errors.contains("ENCODING 'UTF8' TEMPLATE template0"),
                "{errors}"
            );
        }
    }
}

/// Stores the settings of each session that inserts a user.
const RECORD_SETTINGS: &str = "
    create table seen (name text, value text);
    create function record_settings() returns trigger language plpgsql as $$ begin
        insert into seen select name, setting from pg_settings;
        return new;
    end $$;
    create trigger record_settings after insert on users execute function record_settings();";

#[tokio::test]
async fn sessions_override_defaults_of_the_database() {
    let server_url = fresh_database().await;
    let admin = connect(&server_url).await;
    let (_, name) = server_url.rsplit_once('/').expect("a database");
    for (setting, value) in [
        ("default_transaction_isolation", "serializable"),
        ("default_transaction_deferrable", "on"),
        ("synchronous_commit", "off"),
        ("lock_timeout", "1ms"),
        ("statement_timeout", "1h"),
        ("idle_in_transaction_session_timeout", "1h"),
        ("timezone", "Asia/Kathmandu"),
        ("search_path", "pg_catalog"),
    ] {
        let alter = format!("alter database {name} set {setting} = '{value}'");
        admin.batch_execute(&alter).await.expect("a default");
    }
    admin
        .batch_execute(RECORD_SETTINGS)
        .await
        .expect("a trigger");
    let server = TestServer::run(settings_of(&server_url)).await;
    server.sign_up("john").await;
    for (setting, value) in [
        ("transaction_isolation", "read committed"),
        ("transaction_deferrable", "off"),
        ("synchronous_commit", "on"),
        ("lock_timeout", "0"),
        ("statement_timeout", "10000"),
        ("idle_in_transaction_session_timeout", "10000"),
        ("TimeZone", "UTC"),
        ("search_path", "public, pg_temp"),
    ] {
        let query = "select value from seen where name = $1";
        let row = admin.query_one(query, &[&setting]).await.expect("a value");
        assert_eq!(row.get::<_, String>(0), value, "{setting}");
    }
}

/// Otherwise, another replica would not read the revocation.
#[tokio::test]
async fn tables_of_another_schema_are_ignored() {
    let url = fresh_database().await;
    let admin = connect(&url).await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let add_schema = format!(
        "create schema other; create table other.revocations (like public.revocations); \
         alter database {name} set search_path = other, public"
    );
    admin.batch_execute(&add_schema).await.expect("a schema");
    let server = TestServer::run(settings_of(&url)).await;
    let session = server.sign_up("john").await;
    server.sign_out(&session.access_token).await.is(204, "");
    let count = "select (select count(*) from public.revocations), \
        (select count(*) from other.revocations)";
    let row = admin.query_one(count, &[]).await.expect("counts");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1)), (1, 0));
}

#[tokio::test]
async fn missing_right_is_reported_until_it_is_granted() {
    let database = create_empty_database().await;
    let admin = connect(&database).await;
    let [owner, url] = create_deployed_roles(&database).await;
    let output = migrate(&owner);
    assert!(output.status.success(), "{}", stderr(&output));
    let server = TestServer::run(settings_of(&url)).await;
    let session = server.sign_up("john").await;
    let (_, rest) = url.split_once("//").expect("a URL");
    let (role, _) = rest.split_once('@').expect("a user");
    let revoke = format!("revoke insert on revocations from {role}");
    admin.batch_execute(&revoke).await.expect("no right");
    let sign_out = async || server.sign_out(&session.access_token).await;
    sign_out().await.is(503, "unavailable");
    let degraded = server.readiness().await.body["degraded"].to_string();
    assert!(degraded.contains("denied a statement"), "{degraded}");
    assert!(degraded.contains("deploy/roles.sql"), "{degraded}");
    let grant = format!("grant insert on revocations to {role}");
    admin.batch_execute(&grant).await.expect("the right");
    sign_out().await.is(204, "");
}

#[tokio::test]
async fn stricter_commit_of_the_database_is_kept() {
    let url = fresh_database().await;
    let admin = connect(&url).await;
    let (_, name) = url.rsplit_once('/').expect("a database");
    let alter = format!("alter database {name} set synchronous_commit = 'remote_apply'");
    admin.batch_execute(&alter).await.expect("a default");
    admin
        .batch_execute(RECORD_SETTINGS)
        .await
        .expect("a trigger");
    let server = TestServer::run(settings_of(&url)).await;
    server.sign_up("john").await;
    let query = "select value from seen where name = 'synchronous_commit'";
    let row = admin.query_one(query, &[]).await.expect("a value");
    assert_eq!(row.get::<_, String>(0), "remote_apply");
}

#[tokio::test]
async fn migration_of_locked_table_delays_readers_briefly() {
    let url = fresh_database().await;
    let (admin, mut holder) = (connect(&url).await, connect(&url).await);
    admin
        .batch_execute(REVERT_TO_FIRST)
        .await
        .expect("an older schema");
    let transaction = holder.transaction().await.expect("a transaction");
    let read_users = "select count(*) from users";
    transaction
        .query_one(read_users, &[])
        .await
        .expect("a shared lock");

    let migrated_url = url.clone();
    let migration = tokio::task::spawn_blocking(move || migrate(&migrated_url));
    wait_until("the migration waits for the lock", || async {
        let waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' \
            and datname = current_database() and query like '%drop index users_identity%'";
        let row = admin.query_one(waiting, &[]).await.expect("a count");
        row.get::<_, i64>(0) > 0
    })
    .await;
    // A reader waits behind the migration, which gives up.
    admin.query_one(read_users, &[]).await.expect("a count");
    assert!(!migration.is_finished());
    transaction.commit().await.expect("a released lock");
    let output = migration.await.expect("no panic");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("table lock timed out; retrying migration"),
        "{text}"
    );
    assert!(
        text.contains("Applied V2__indexes, V3__partition_functions, V4__database_id, "),
        "{text}"
    );
}
