//! The cleanup worker: it deletes only expired rows, and maintains the monthly partitions of the
//! audit log.

use crate::{
    metrics,
    proxy::{ConnectionState, Proxy},
    test_server::{TestServer, wait_until},
    test_stores::{RowLock, execute, query_value},
};

const SHORT_CLEANUP_INTERVAL: (&str, &str) = ("LATCHKEY_CLEANUP_INTERVAL", "1s");

/// The SQL that inserts revoked sessions for every user. Both times are intervals before now.
fn revoked_sessions(revoked: &str, expires: &str, count: usize) -> String {
    format!(
        "insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at,
            revoked_at, revoked_reason)
         select gen_random_uuid(), id, generation, 'old', '', now() - interval '60 days',
            now() - interval '{expires}', now() - interval '{revoked}', 'sign_out'
         from users, generate_series(1, {count});"
    )
}

fn unrevoked_sessions(expires: &str) -> String {
    format!(
        "insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at)
         select gen_random_uuid(), id, generation, 'old', '', now() - interval '60 days',
            now() - interval '{expires}'
         from users;"
    )
}

fn email(template: &str, sent: &str, consumed: &str) -> String {
    format!(
        "insert into email_outbox (id, template, created_at, next_attempt_at, sent_at, consumed_at)
         values (gen_random_uuid(), '{template}', now() - interval '3 days',
            now() + interval '1 day', {sent}, {consumed});"
    )
}

fn revocation(subject: &str, expires: &str) -> String {
    format!(
        "insert into revocations (kind, subject_id, user_id, reason, revoked_at, expires_at)
         values ('session', '{subject}', gen_random_uuid(), 'sign_out',
            now() - interval '1 hour', now() + interval '{expires}');"
    )
}

#[tokio::test]
async fn cleanup_deletes_only_expired_rows() {
    let server = TestServer::with(&[SHORT_CLEANUP_INTERVAL]).await;
    let session = server.sign_up("john").await;
    let (expired, unexpired) = (
        "018f0000-0000-7000-8000-000000000001",
        "018f0000-0000-7000-8000-000000000002",
    );
    let rows = [
        // The time of revocation counts, not the expiry.
        revoked_sessions("31 days", "-10 days", 3),
        unrevoked_sessions("31 days"),
        revoked_sessions("29 days", "40 days", 2),
        unrevoked_sessions("29 days"),
        email("sent", "now() - interval '25 hours'", "null"),
        email(
            "sent_lately",
            "now() - interval '23 hours'",
            "now() - interval '23 hours'",
        ),
        email("used", "null", "now() - interval '25 hours'"),
        email("waiting", "null", "null"),
        revocation(expired, "-1 second"),
        revocation(unexpired, "1 hour"),
    ];
    execute(&server, &rows.concat()).await;
    let remaining = "select concat_ws(' ', (select count(*) from sessions where client_id = 'old'),
        (select string_agg(template, ',' order by template) from email_outbox),
        (select string_agg(subject_id, ',') from revocations))";
    let expected = format!("3 sent_lately,waiting {unexpired}");
    wait_until("only unexpired rows are left", || async {
        query_value(&server, remaining).await == expected
    })
    .await;
    assert_eq!(server.verify(&session.access_token).await.0, 204);
    server.refresh(&session.refresh_token).await.is(200, "");
    for (kind, removed) in [("sessions", 4.0), ("emails", 2.0), ("revocations", 1.0)] {
        let series = format!("latchkey_cleanup_removed_total{{kind=\"{kind}\"}}");
        wait_until(&series, || async {
            metrics::value(&server, &series).await == removed
        })
        .await;
    }
    let has_duration =
        || async { metrics::value(&server, "latchkey_cleanup_run_seconds").await > 0.0 };
    wait_until("the duration of the run is reported", has_duration).await;
    let last = "latchkey_cleanup_last_success_timestamp_seconds";
    let started_at = session.claims()["iat"].as_f64().expect("seconds");
    wait_until("the run is reported as successful", || async {
        metrics::value(&server, last).await >= started_at
    })
    .await;
}

#[tokio::test]
async fn cleanup_deletes_keys_after_their_last_token_expired() {
    let server = TestServer::with(&[SHORT_CLEANUP_INTERVAL]).await;
    // A key retires when the next one starts to sign. Key 5 was revoked before it signed.
    let rows = "update signing_keys set signs_from = now() - interval '64 minutes';
        insert into signing_keys (kid, public_key, sealed_private_key, signs_from, revoked_at)
        select 'AAAAAAAAAAAAAAA' || number, public_key, sealed_private_key,
            now() + at::interval, now() + revoked::interval
        from signing_keys, (values
            (1, '-3 days', null), (2, '-66 minutes', null),
            (3, '-2 minutes', '-1 minute'), (4, '-70 minutes', '-66 minutes'),
            (5, '10 minutes', '-66 minutes')
        ) keys (number, at, revoked)";
    let remaining = "select string_agg(right(kid, 1), ',' order by kid) from signing_keys \
        where kid like 'AAAAAAAAAAAAAAA%'";
    execute(&server, rows).await;
    wait_until("expired keys are deleted", || async {
        query_value(&server, remaining).await == "2,3"
    })
    .await;
    let series = "latchkey_cleanup_removed_total{kind=\"signing_keys\"}";
    wait_until("deleted keys are counted", || async {
        metrics::value(&server, series).await == 3.0
    })
    .await;
}

#[tokio::test]
async fn two_replicas_delete_each_row_once() {
    let server = TestServer::with(&[SHORT_CLEANUP_INTERVAL]).await;
    server.sign_up("john").await;
    execute(&server, &revoked_sessions("31 days", "1 day", 4_500)).await;
    let replica = server.replica().await;
    let remaining = "select count(*) from sessions where client_id = 'old'";
    wait_until("all rows are deleted", || async {
        query_value(&server, remaining).await == "0"
    })
    .await;
    let series = "latchkey_cleanup_removed_total{kind=\"sessions\"}";
    let removed_rows =
        async || metrics::value(&server, series).await + metrics::value(&replica, series).await;
    wait_until("all rows are counted", || async {
        removed_rows().await == 4_500.0
    })
    .await;
    assert_eq!(
        query_value(&server, "select count(*) from sessions").await,
        "1"
    );
}

#[tokio::test]
async fn cleanup_skips_locked_rows() {
    let mut stopped = TestServer::start().await;
    stopped.sign_up("john").await;
    assert_eq!(
        stopped.stop(),
        Some(0),
        "no cleanup worker runs before the row is locked"
    );
    execute(
        &stopped,
        &[
            revoked_sessions("40 days", "1 day", 1),
            revoked_sessions("35 days", "1 day", 5),
        ]
        .concat(),
    )
    .await;
    let lock = RowLock::rows(
        &stopped,
        "select from sessions where revoked_at < now() - interval '39 days'",
    )
    .await;
    let server = stopped.replica_with(&[SHORT_CLEANUP_INTERVAL]).await;
    let remaining = || async {
        query_value(
            &server,
            "select count(*) from sessions where client_id = 'old'",
        )
        .await
    };
    wait_until("the unlocked rows are deleted", || async {
        remaining().await == "1"
    })
    .await;
    assert_eq!(lock.waiting().await, 0);
    lock.release().await;
    wait_until("the released row is deleted", || async {
        remaining().await == "0"
    })
    .await;
}

#[tokio::test]
async fn cleanup_resumes_after_database_outage() {
    let proxy = Proxy::to_postgres().await;
    let mut direct = TestServer::start().await;
    direct.sign_up("john").await;
    let url = proxy.postgres_url(direct.setting("DATABASE_URL"));
    let server = direct
        .replica_with(&[("DATABASE_URL", &url), SHORT_CLEANUP_INTERVAL])
        .await;
    assert_eq!(direct.stop(), Some(0));
    proxy.set(ConnectionState::Cut);
    server.wait_for_log(&["cleanup failed"]).await;
    execute(&direct, &revoked_sessions("31 days", "1 day", 1)).await;
    proxy.set(ConnectionState::Open);
    let remaining = "select count(*) from sessions where client_id = 'old'";
    wait_until("the row is deleted", || async {
        query_value(&direct, remaining).await == "0"
    })
    .await;
}

/// The SQL expression for the name of a monthly partition, relative to the current month.
fn partition_name(ahead: i32) -> String {
    format!(
        "to_char(date_trunc('month', now() at time zone 'utc') + interval '{ahead} months', \
         '\"audit_events_\"YYYY_MM')"
    )
}

async fn table_exists(server: &TestServer, name: &str) -> bool {
    query_value(server, &format!("select to_regclass({name}) is not null")).await == "true"
}

/// The SQL that inserts an audit event at this time.
fn insert_event(at: &str) -> String {
    format!(
        "insert into audit_events (id, at, event, outcome, actor) \
         values (gen_random_uuid(), {at}, 'test', 'success', 'server');"
    )
}

#[tokio::test]
async fn events_are_stored_in_monthly_partitions() {
    let server = TestServer::start().await;
    server.sign_up("john").await;
    for ahead in 0..3 {
        assert!(
            table_exists(&server, &partition_name(ahead)).await,
            "{ahead} months ahead"
        );
    }
    assert!(!table_exists(&server, &partition_name(3)).await);
    let partition = format!(
        "select tableoid::regclass::text = {} from audit_events",
        partition_name(0)
    );
    assert_eq!(query_value(&server, &partition).await, "true");
    // The last microsecond of one month, and the first of the next.
    let next =
        "date_trunc('month', now() at time zone 'utc' + interval '1 month') at time zone 'utc'";
    let month_boundary = [
        insert_event(&format!("{next} - interval '1 microsecond'")),
        insert_event(next),
    ]
    .concat();
    execute(&server, &month_boundary).await;
    let partitions = "select string_agg(tableoid::regclass::text, ',' order by at) from audit_events \
        where event = 'test'";
    assert_eq!(
        query_value(&server, partitions).await,
        query_value(
            &server,
            &format!("concat({}, ',', {})", partition_name(0), partition_name(1))
        )
        .await
    );
}

#[tokio::test]
async fn cleanup_drops_only_partitions_beyond_retention() {
    let server = TestServer::with(&[SHORT_CLEANUP_INTERVAL]).await;
    // In one transaction, because the cleanup worker would drop an empty old partition at once.
    let tables = "create table audit_events_2024_01 partition of audit_events
             for values from ('2024-01-01 00:00:00+00') to ('2024-02-01 00:00:00+00');
         create table audit_events_2024_13 (like audit_events);
         create table audit_events_kept (like audit_events);";
    let old_events = [
        insert_event("'2024-01-31 23:59:59+00'"),
        insert_event("now() - interval '401 days'"),
    ]
    .concat();
    execute(&server, &[tables, &old_events].concat()).await;
    execute(
        &server,
        &[
            insert_event("now() - interval '399 days'"),
            insert_event("now()"),
        ]
        .concat(),
    )
    .await;
    wait_until("the old partition is dropped", || async {
        !table_exists(&server, "'audit_events_2024_01'").await
    })
    .await;
    wait_until(
        "the old event in the default partition is deleted",
        || async {
            query_value(
                &server,
                "select count(*) from audit_events where event = 'test'",
            )
            .await
                == "2"
        },
    )
    .await;
    for table in [
        "'audit_events_2024_13'",
        "'audit_events_kept'",
        "'audit_events_default'",
        &partition_name(0),
    ] {
        assert!(table_exists(&server, table).await, "{table}");
    }
    for (kind, removed) in [("audit_months", 1.0), ("audit_events", 1.0)] {
        let series = format!("latchkey_cleanup_removed_total{{kind=\"{kind}\"}}");
        wait_until(&series, || async {
            metrics::value(&server, &series).await == removed
        })
        .await;
    }
}

/// A partition can contain events that are younger than the retention.
#[tokio::test]
async fn partition_is_kept_until_all_events_are_old() {
    let server =
        TestServer::with(&[SHORT_CLEANUP_INTERVAL, ("LATCHKEY_AUDIT_RETENTION", "40d")]).await;
    let create_partition = |ahead: i32| {
        let start =
            format!("date_trunc('month', now() at time zone 'utc') + interval '{ahead} months'");
        format!(
            "do $$ begin execute format(
                'create table %I partition of audit_events for values from (%L) to (%L)', {},
                ({start}) at time zone 'utc', ({start} + interval '1 month') at time zone 'utc');
            end $$;",
            partition_name(ahead)
        )
    };
    // The end of month -1 is at most 31 days ago, and the end of month -3 at least 58 days ago.
    execute(
        &server,
        &[create_partition(-1), create_partition(-3)].concat(),
    )
    .await;
    wait_until("the older partition is dropped", || async {
        !table_exists(&server, &partition_name(-3)).await
    })
    .await;
    assert!(
        table_exists(&server, &partition_name(-1)).await
            && table_exists(&server, &partition_name(0)).await
    );
}

#[tokio::test]
async fn events_in_default_partition_are_kept() {
    let server = TestServer::with(&[SHORT_CLEANUP_INTERVAL]).await;
    let partition_two_months_ahead =
        query_value(&server, &format!("select {}", partition_name(2))).await;
    let event_time =
        "date_trunc('month', now() at time zone 'utc') at time zone 'utc' + interval '70 days'";
    execute(
        &server,
        &format!(
            "drop table {partition_two_months_ahead}; {}",
            insert_event(event_time)
        ),
    )
    .await;
    let last_success = "latchkey_cleanup_last_success_timestamp_seconds";
    let before = metrics::value(&server, last_success).await;
    wait_until("cleanup ran twice", || async {
        metrics::value(&server, last_success).await > before.max(1.0) + 1.0
    })
    .await;
    let partition = "select string_agg(tableoid::regclass::text, ',') from audit_events \
        where event = 'test'";
    assert_eq!(
        query_value(&server, partition).await,
        "audit_events_default"
    );
    assert!(!table_exists(&server, &partition_name(2)).await);
    // The partition can be created after the event was deleted from the default partition.
    execute(&server, "delete from audit_events_default").await;
    wait_until("the partition is created", || async {
        table_exists(&server, &partition_name(2)).await
    })
    .await;
}
