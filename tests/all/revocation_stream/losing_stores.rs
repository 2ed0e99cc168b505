//! Tests of the revocation stream during failures: it reports that it is degraded until it is
//! complete again.

use tokio::{io::AsyncWriteExt, net::TcpSocket};

use super::{Fixture, Reader, count_streams, event_names, stream_request};
use crate::{metrics::value, outage::OwnRedis, test_server::wait_until, test_stores::execute};

async fn fixture_with(redis: &OwnRedis) -> Fixture {
    Fixture::with(&[("REDIS_URL", &redis.redis.url())]).await
}

#[tokio::test]
async fn rebuilt_log_starts_new_epoch_and_snapshot() {
    let own_redis = OwnRedis::start();
    let fixture = fixture_with(&own_redis).await;
    let mut reader = fixture.subscribe(&fixture.server).await;
    let first_id = fixture.revoke_session(&fixture.server).await;
    let before = reader.first("revoked").await;
    own_redis.command::<String>(&["FLUSHALL"]).await;
    let snapshot = reader.first("snapshot").await;
    assert!(
        !before.id.starts_with(snapshot.epoch_id()),
        "the epoch has changed"
    );
    let events = reader.read_until("synced").await;
    for session_id in [fixture.revoked.claim("sid"), first_id] {
        assert!(
            events
                .iter()
                .any(|event| event.is_of("session", &session_id)),
            "{events:?}"
        );
    }
    // New events belong to the new epoch. An event ID of the old epoch can't resume a stream.
    reader.read_until("heartbeat").await;
    let second_id = fixture.revoke_session(&fixture.replica).await;
    let event = reader.first("revoked").await;
    assert!(
        event.is_of("session", &second_id) && event.id.starts_with(snapshot.epoch_id()),
        "{event:?}"
    );
    let mut resumed = Reader::resume(&fixture.server, &fixture.admin, &before.id).await;
    assert_eq!(
        event_names(&resumed.read_until("heartbeat").await)[0],
        "snapshot"
    );
}

#[tokio::test]
async fn stream_is_degraded_during_redis_outage() {
    let mut own_redis = OwnRedis::start();
    let fixture = fixture_with(&own_redis).await;
    let mut reader = fixture.subscribe(&fixture.server).await;
    own_redis.redis.kill();
    let degraded = reader.first("degraded").await;
    assert_eq!(degraded.data["check_source"], "postgres");
    // A new subscriber also receives `degraded`, and then the known revocations.
    let mut new_reader = Reader::subscribe(&fixture.server, &fixture.admin).await;
    assert_eq!(new_reader.next().await.expect("an event").name, "degraded");
    let events = new_reader.read_until("synced").await;
    assert!(
        events
            .iter()
            .any(|event| event.is_of("session", &fixture.revoked.claim("sid"))),
        "{events:?}"
    );
    for reader in [&mut reader, &mut new_reader] {
        for _ in 0..3 {
            let event = reader.next().await.expect("an event");
            assert_eq!(
                event.name, "degraded",
                "`degraded` every second instead of a heartbeat"
            );
        }
    }
    own_redis.redis.restart().expect("Redis starts");
    for reader in [&mut reader, &mut new_reader] {
        let events = reader.read_until("heartbeat").await;
        let names: Vec<&str> = event_names(&events)
            .into_iter()
            .filter(|name| *name != "degraded" && *name != "revoked")
            .collect();
        assert_eq!(
            names,
            ["snapshot", "synced", "heartbeat"],
            "an empty Redis starts a new log"
        );
    }
    let session_id = fixture.revoke_session(&fixture.replica).await;
    assert!(reader.first("revoked").await.is_of("session", &session_id));
}

/// Without a lease, a replica reads the log but can't guarantee that it has all entries.
#[tokio::test]
async fn replica_without_lease_sends_no_heartbeats() {
    let fixture = Fixture::new().await;
    let without_lease = fixture
        .server
        .replica_with(&[("LATCHKEY_LEASE", "0s")])
        .await;
    let mut reader = Reader::subscribe(&without_lease, &fixture.admin).await;
    let mut events = reader.read_until("synced").await;
    let session_id = fixture.revoke_session(&fixture.server).await;
    loop {
        let event = reader.next().await.expect("an event");
        let is_expected = event.is_of("session", &session_id);
        events.push(event);
        if is_expected {
            break;
        }
    }
    events.extend(reader.read_until("degraded").await);
    assert!(
        events.iter().all(|event| event.name != "heartbeat"),
        "{events:?}"
    );
}

#[tokio::test]
async fn draining_replica_closes_its_streams() {
    let mut fixture = Fixture::with(&[("LATCHKEY_DRAIN_DELAY", "15s")]).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(fixture.subscribe(&fixture.server).await);
    }
    fixture.server.terminate();
    for reader in &mut readers {
        reader.read_to_end().await;
    }
    // While it drains, the replica serves other requests but rejects new subscribers.
    assert_eq!(fixture.server.get("/health/ready").await.status, 503);
    fixture
        .server
        .send(stream_request(&fixture.server, &fixture.admin))
        .await
        .is(503, "busy");
    assert_eq!(
        value(
            &fixture.server,
            "latchkey_revocation_streams_closed_total{reason=\"draining\"}"
        )
        .await,
        5.0
    );
    assert_eq!(fixture.server.wait(), Some(0));
}

/// Returns the resident memory of a process in bytes.
#[cfg(target_os = "linux")]
fn resident_memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .expect("a size");
    line.trim()
        .trim_end_matches(" kB")
        .parse::<u64>()
        .expect("a number")
        * 1024
}

/// Eight subscribers request 50,000 entries, which are 8 MB of events each, and read nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn idle_subscribers_are_disconnected_and_use_no_memory() {
    const IDLE_SUBSCRIBERS: u8 = 8;
    let fixture = Fixture::new().await;
    let entries = "insert into revocations (kind, subject_id, reason, expires_at) \
        select 'token', gen_random_uuid(), 'sign_out', now() + interval '1 hour' \
        from generate_series(1, 50000)";
    execute(&fixture.server, entries).await;
    let has_all_entries =
        || async { value(&fixture.server, "latchkey_revocation_entries").await > 50_000.0 };
    wait_until("the replica has all entries", has_all_entries).await;
    let before = resident_memory(fixture.server.pid());
    let mut idle_subscribers = Vec::new();
    for _ in 0..IDLE_SUBSCRIBERS {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small buffer");
        let mut stream = socket
            .connect(fixture.server.address)
            .await
            .expect("the server listens");
        let token = &fixture.admin.access_token;
        let request = format!(
            "GET /revocations HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("the server reads the request");
        idle_subscribers.push(stream);
    }
    wait_until("all streams are open", || async {
        count_streams(&fixture.server).await == f64::from(IDLE_SUBSCRIBERS)
    })
    .await;
    // A subscriber that reads receives all entries meanwhile.
    let mut reader = Reader::subscribe(&fixture.server, &fixture.admin).await;
    assert_eq!(
        reader.count("\"kind\":\"token\"", "event: synced").await,
        50_000
    );
    reader.read_until("heartbeat").await;
    let are_disconnected = || async {
        value(
            &fixture.server,
            "latchkey_revocation_streams_closed_total{reason=\"behind\"}",
        )
        .await
            == f64::from(IDLE_SUBSCRIBERS)
    };
    wait_until("the idle subscribers are disconnected", are_disconnected).await;
    let growth = resident_memory(fixture.server.pid()).saturating_sub(before);
    println!("memory growth: {growth} bytes");
    assert!(growth < 30_000_000, "memory growth: {growth} bytes");
    let session_id = fixture.revoke_session(&fixture.server).await;
    assert!(reader.first("revoked").await.is_of("session", &session_id));
    wait_until("one stream remains open", || async {
        count_streams(&fixture.server).await == 1.0
    })
    .await;
    drop(idle_subscribers);
}
