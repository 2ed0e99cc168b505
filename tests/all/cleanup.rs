//! The janitor: what is over goes, what is not stays, and every event finds the partition of its
//! month.

use crate::{
    metrics,
    proxy::{Line, Proxy},
    test_server::{TestServer, until},
    test_stores::{Held, ask, execute},
};

const OFTEN: (&str, &str) = ("LATCHKEY_CLEANUP_INTERVAL", "1s");

/// Sessions of all users that ended, or were over, so long ago.
fn sessions(ended: &str, ends: &str, count: usize) -> String {
    format!(
        "insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at,
            revoked_at, revoked_reason)
         select gen_random_uuid(), id, generation, 'old', '', now() - interval '60 days',
            now() - interval '{ends}', now() - interval '{ended}', 'sign_out'
         from users, generate_series(1, {count});"
    )
}

fn unended(ends: &str) -> String {
    format!(
        "insert into sessions (id, user_id, generation, client_id, scope, created_at, expires_at)
         select gen_random_uuid(), id, generation, 'old', '', now() - interval '60 days',
            now() - interval '{ends}'
         from users;"
    )
}

fn mail(template: &str, sent: &str, consumed: &str) -> String {
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
async fn what_is_over_goes_and_what_is_not_stays() {
    let server = TestServer::with(&[OFTEN]).await;
    let john = server.sign_up("john").await;
    let (dead, live) = (
        "018f0000-0000-7000-8000-000000000001",
        "018f0000-0000-7000-8000-000000000002",
    );
    let rows = [
        // Its end counts, not what would have been its end.
        sessions("31 days", "-10 days", 3),
        unended("31 days"),
        sessions("29 days", "40 days", 2),
        unended("29 days"),
        mail("sent", "now() - interval '25 hours'", "null"),
        mail(
            "sent_lately",
            "now() - interval '23 hours'",
            "now() - interval '23 hours'",
        ),
        mail("used", "null", "now() - interval '25 hours'"),
        mail("waiting", "null", "null"),
        revocation(dead, "-1 second"),
        revocation(live, "1 hour"),
    ];
    execute(&server, &rows.concat()).await;
    let left = "select concat_ws(' ', (select count(*) from sessions where client_id = 'old'),
        (select string_agg(template, ',' order by template) from email_outbox),
        (select string_agg(subject_id, ',') from revocations))";
    let expected = format!("3 sent_lately,waiting {live}");
    until("it is tidy", || async {
        ask(&server, left).await == expected
    })
    .await;
    assert_eq!(server.verify(&john.access_token).await.0, 204);
    server.refresh(&john.refresh_token).await.is(200, "");
    for (kind, removed) in [("sessions", 4.0), ("emails", 2.0), ("revocations", 1.0)] {
        let series = format!("latchkey_cleanup_removed_total{{kind=\"{kind}\"}}");
        until(&series, || async {
            metrics::value(&server, &series).await == removed
        })
        .await;
    }
    let took = || async { metrics::value(&server, "latchkey_cleanup_run_seconds").await > 0.0 };
    until("the run has taken some time", took).await;
    let last = "latchkey_cleanup_last_success_timestamp_seconds";
    let began = john.claims()["iat"].as_f64().expect("seconds");
    until("it counts as a success", || async {
        metrics::value(&server, last).await >= began
    })
    .await;
}

#[tokio::test]
async fn keys_go_when_the_last_of_their_tokens_is_dead() {
    let server = TestServer::with(&[OFTEN]).await;
    // Each but the last was followed so long ago, and one was taken back before it signed.
    let rows = "update signing_keys set signs_from = now() - interval '64 minutes';
        insert into signing_keys (kid, public_key, sealed_private_key, signs_from, revoked_at)
        select 'AAAAAAAAAAAAAAA' || number, public_key, sealed_private_key,
            now() + at::interval, now() + revoked::interval
        from signing_keys, (values
            (1, '-3 days', null), (2, '-66 minutes', null),
            (3, '-2 minutes', '-1 minute'), (4, '-70 minutes', '-66 minutes'),
            (5, '10 minutes', '-66 minutes')
        ) keys (number, at, revoked)";
    let left = "select string_agg(right(kid, 1), ',' order by kid) from signing_keys \
        where kid like 'AAAAAAAAAAAAAAA%'";
    execute(&server, rows).await;
    until("they are gone", || async {
        ask(&server, left).await == "2,3"
    })
    .await;
    let series = "latchkey_cleanup_removed_total{kind=\"signing_keys\"}";
    until("they are counted", || async {
        metrics::value(&server, series).await == 3.0
    })
    .await;
}

#[tokio::test]
async fn many_rows_go_once_with_two_replicas_at_it() {
    let server = TestServer::with(&[OFTEN]).await;
    server.sign_up("john").await;
    execute(&server, &sessions("31 days", "1 day", 4_500)).await;
    let replica = server.replica().await;
    let left = "select count(*) from sessions where client_id = 'old'";
    until("all are gone", || async { ask(&server, left).await == "0" }).await;
    let series = "latchkey_cleanup_removed_total{kind=\"sessions\"}";
    let removed =
        async || metrics::value(&server, series).await + metrics::value(&replica, series).await;
    until("all are counted", || async { removed().await == 4_500.0 }).await;
    assert_eq!(ask(&server, "select count(*) from sessions").await, "1");
}

#[tokio::test]
async fn a_row_that_somebody_holds_is_not_waited_for() {
    let mut before = TestServer::start().await;
    before.sign_up("john").await;
    assert_eq!(
        before.stop(),
        Some(0),
        "no janitor comes before the row is held"
    );
    execute(
        &before,
        &[
            sessions("40 days", "1 day", 1),
            sessions("35 days", "1 day", 5),
        ]
        .concat(),
    )
    .await;
    let held = Held::rows(
        &before,
        "select from sessions where revoked_at < now() - interval '39 days'",
    )
    .await;
    let server = before.replica_with(&[OFTEN]).await;
    let left = || async {
        ask(
            &server,
            "select count(*) from sessions where client_id = 'old'",
        )
        .await
    };
    until("the others are gone", || async { left().await == "1" }).await;
    assert_eq!(held.waiting().await, 0);
    held.release().await;
    until("it is gone", || async { left().await == "0" }).await;
}

#[tokio::test]
async fn a_database_that_was_away_is_tidied_up_later() {
    let line = Proxy::to_postgres().await;
    let mut direct = TestServer::start().await;
    direct.sign_up("john").await;
    let url = line.postgres_url(direct.setting("DATABASE_URL"));
    let server = direct.replica_with(&[("DATABASE_URL", &url), OFTEN]).await;
    assert_eq!(direct.stop(), Some(0));
    line.set(Line::Cut);
    server.until_logged(&["cleanup failed"]).await;
    execute(&direct, &sessions("31 days", "1 day", 1)).await;
    line.set(Line::Open);
    let left = "select count(*) from sessions where client_id = 'old'";
    until("it is gone", || async { ask(&direct, left).await == "0" }).await;
}

/// The name of the partition of a month, counted from this one.
fn month(ahead: i32) -> String {
    format!(
        "to_char(date_trunc('month', now() at time zone 'utc') + interval '{ahead} months', \
         '\"audit_events_\"YYYY_MM')"
    )
}

async fn exists(server: &TestServer, name: &str) -> bool {
    ask(server, &format!("select to_regclass({name}) is not null")).await == "true"
}

/// An event of this moment.
fn event(at: &str) -> String {
    format!(
        "insert into audit_events (id, at, event, outcome, actor) \
         values (gen_random_uuid(), {at}, 'test', 'success', 'server');"
    )
}

#[tokio::test]
async fn every_event_finds_the_partition_of_its_month() {
    let server = TestServer::start().await;
    server.sign_up("john").await;
    for ahead in 0..3 {
        assert!(exists(&server, &month(ahead)).await, "{ahead} months ahead");
    }
    assert!(!exists(&server, &month(3)).await);
    let home = format!(
        "select tableoid::regclass::text = {} from audit_events",
        month(0)
    );
    assert_eq!(ask(&server, &home).await, "true");
    // The last moment of one month, and the first of the next.
    let next =
        "date_trunc('month', now() at time zone 'utc' + interval '1 month') at time zone 'utc'";
    let edge = [
        event(&format!("{next} - interval '1 microsecond'")),
        event(next),
    ]
    .concat();
    execute(&server, &edge).await;
    let homes = "select string_agg(tableoid::regclass::text, ',' order by at) from audit_events \
        where event = 'test'";
    assert_eq!(
        ask(&server, homes).await,
        ask(&server, &format!("concat({}, ',', {})", month(0), month(1))).await
    );
}

#[tokio::test]
async fn months_older_than_the_retention_are_dropped_and_no_younger_ones() {
    let server = TestServer::with(&[OFTEN]).await;
    // In one transaction: an old month that is empty would go at once.
    let month_and_tables = "create table audit_events_2024_01 partition of audit_events
             for values from ('2024-01-01 00:00:00+00') to ('2024-02-01 00:00:00+00');
         create table audit_events_2024_13 (like audit_events);
         create table audit_events_kept (like audit_events);";
    let old = [
        event("'2024-01-31 23:59:59+00'"),
        event("now() - interval '401 days'"),
    ]
    .concat();
    execute(&server, &[month_and_tables, &old].concat()).await;
    execute(
        &server,
        &[event("now() - interval '399 days'"), event("now()")].concat(),
    )
    .await;
    until("the old month is dropped", || async {
        !exists(&server, "'audit_events_2024_01'").await
    })
    .await;
    until("what is old outside of the months is gone", || async {
        ask(
            &server,
            "select count(*) from audit_events where event = 'test'",
        )
        .await
            == "2"
    })
    .await;
    for kept in [
        "'audit_events_2024_13'",
        "'audit_events_kept'",
        "'audit_events_default'",
        &month(0),
    ] {
        assert!(exists(&server, kept).await, "{kept}");
    }
    for (kind, removed) in [("audit_months", 1.0), ("audit_events", 1.0)] {
        let series = format!("latchkey_cleanup_removed_total{{kind=\"{kind}\"}}");
        until(&series, || async {
            metrics::value(&server, &series).await == removed
        })
        .await;
    }
}

/// Part of the month is younger than what is kept.
#[tokio::test]
async fn a_month_is_kept_until_all_of_it_is_old() {
    let server = TestServer::with(&[OFTEN, ("LATCHKEY_AUDIT_RETENTION", "40d")]).await;
    let make = |ahead: i32| {
        let start =
            format!("date_trunc('month', now() at time zone 'utc') + interval '{ahead} months'");
        format!(
            "do $$ begin execute format(
                'create table %I partition of audit_events for values from (%L) to (%L)', {},
                ({start}) at time zone 'utc', ({start} + interval '1 month') at time zone 'utc');
            end $$;",
            month(ahead)
        )
    };
    // The month before this one ended at most 31 days ago, the third one before at least 58.
    execute(&server, &[make(-1), make(-3)].concat()).await;
    until("the older is dropped", || async {
        !exists(&server, &month(-3)).await
    })
    .await;
    assert!(exists(&server, &month(-1)).await && exists(&server, &month(0)).await);
}

#[tokio::test]
async fn what_landed_outside_of_the_months_stays_there_and_is_not_lost() {
    let server = TestServer::with(&[OFTEN]).await;
    let next = ask(&server, &format!("select {}", month(2))).await;
    let moment =
        "date_trunc('month', now() at time zone 'utc') at time zone 'utc' + interval '70 days'";
    execute(&server, &format!("drop table {next}; {}", event(moment))).await;
    let runs = "latchkey_cleanup_last_success_timestamp_seconds";
    let before = metrics::value(&server, runs).await;
    until("it was tidied up twice", || async {
        metrics::value(&server, runs).await > before.max(1.0) + 1.0
    })
    .await;
    let home = "select string_agg(tableoid::regclass::text, ',') from audit_events \
        where event = 'test'";
    assert_eq!(ask(&server, home).await, "audit_events_default");
    assert!(!exists(&server, &month(2)).await);
    // Once it is out of the way, the month is made.
    execute(&server, "delete from audit_events_default").await;
    until("the month is made", || async {
        exists(&server, &month(2)).await
    })
    .await;
}
