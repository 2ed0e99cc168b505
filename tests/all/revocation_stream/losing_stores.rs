//! What readers are told when something breaks: that they may miss something, and when they do not
//! any more.

use tokio::{io::AsyncWriteExt, net::TcpSocket};

use super::{Fixture, Reader, names, request, streams};
use crate::{metrics::value, outage::OwnRedis, test_server::until, test_stores::execute};

async fn scene_with(redis: &OwnRedis) -> Fixture {
    Fixture::with(&[("REDIS_URL", &redis.redis.url())]).await
}

#[tokio::test]
async fn a_log_that_is_built_anew_is_told_anew() {
    let own = OwnRedis::start();
    let fixture = scene_with(&own).await;
    let mut reader = fixture.reader(&fixture.server).await;
    let ended = fixture.logout(&fixture.server).await;
    let before = reader.first("revoked").await;
    own.tell::<String>(&["FLUSHALL"]).await;
    let snapshot = reader.first("snapshot").await;
    assert!(!before.id.starts_with(snapshot.epoch()), "another epoch");
    let told = reader.until("synced").await;
    for sid in [fixture.out.claim("sid"), ended] {
        assert!(
            told.iter().any(|event| event.is_of("session", &sid)),
            "{told:?}"
        );
    }
    // What happens then has the new epoch, and the one from before is of no use.
    reader.until("heartbeat").await;
    let ended = fixture.logout(&fixture.replica).await;
    let live = reader.first("revoked").await;
    assert!(
        live.is_of("session", &ended) && live.id.starts_with(snapshot.epoch()),
        "{live:?}"
    );
    let mut again = Reader::from(&fixture.server, &fixture.admin, &before.id).await;
    assert_eq!(names(&again.until("heartbeat").await)[0], "snapshot");
}

#[tokio::test]
async fn who_cannot_know_says_so_until_it_does() {
    let mut own = OwnRedis::start();
    let fixture = scene_with(&own).await;
    let mut reader = fixture.reader(&fixture.server).await;
    own.redis.kill();
    let blind = reader.first("degraded").await;
    assert_eq!(blind.data["check_source"], "postgres");
    // Somebody who comes then is told the same, and what is known.
    let mut newcomer = Reader::of(&fixture.server, &fixture.admin).await;
    assert_eq!(newcomer.next().await.expect("it goes on").name, "degraded");
    let told = newcomer.until("synced").await;
    assert!(
        told.iter()
            .any(|event| event.is_of("session", &fixture.out.claim("sid"))),
        "{told:?}"
    );
    for reader in [&mut reader, &mut newcomer] {
        for _ in 0..3 {
            let event = reader.next().await.expect("it goes on");
            assert_eq!(event.name, "degraded", "and no beat, once a second");
        }
    }
    own.redis.start_again().expect("it can be started");
    for reader in [&mut reader, &mut newcomer] {
        let told = reader.until("heartbeat").await;
        let seen: Vec<&str> = names(&told)
            .into_iter()
            .filter(|name| *name != "degraded" && *name != "revoked")
            .collect();
        assert_eq!(
            seen,
            ["snapshot", "synced", "heartbeat"],
            "an empty Redis has another log"
        );
    }
    let ended = fixture.logout(&fixture.replica).await;
    assert!(reader.first("revoked").await.is_of("session", &ended));
}

/// It reads along, and cannot say more.
#[tokio::test]
async fn a_replica_without_leases_tells_everything_and_promises_nothing() {
    let fixture = Fixture::new().await;
    let careful = fixture
        .server
        .replica_with(&[("LATCHKEY_LEASE", "0s")])
        .await;
    let mut reader = Reader::of(&careful, &fixture.admin).await;
    let mut told = reader.until("synced").await;
    let ended = fixture.logout(&fixture.server).await;
    loop {
        let event = reader.next().await.expect("it goes on");
        let is_it = event.is_of("session", &ended);
        told.push(event);
        if is_it {
            break;
        }
    }
    told.extend(reader.until("degraded").await);
    assert!(
        told.iter().all(|event| event.name != "heartbeat"),
        "{told:?}"
    );
}

#[tokio::test]
async fn a_replica_that_stops_ends_its_streams_at_once() {
    let mut fixture = Fixture::with(&[("LATCHKEY_DRAIN_DELAY", "15s")]).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(fixture.reader(&fixture.server).await);
    }
    fixture.server.terminate();
    for reader in &mut readers {
        reader.rest().await;
    }
    // It still answers others, and sends who would follow elsewhere.
    assert_eq!(fixture.server.get("/health/ready").await.status, 503);
    fixture
        .server
        .send(request(&fixture.server, &fixture.admin))
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

/// Bytes of memory that the process has.
#[cfg(target_os = "linux")]
fn memory(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
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

/// Fifty thousand entries are 8 MB on the wire, for each of eight who ask for them and take
/// nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn who_reads_nothing_is_dropped_and_costs_nothing() {
    let fixture = Fixture::new().await;
    let entries = "insert into revocations (kind, subject_id, reason, expires_at) \
        select 'token', gen_random_uuid(), 'sign_out', now() + interval '1 hour' \
        from generate_series(1, 50000)";
    execute(&fixture.server, entries).await;
    let known = || async { value(&fixture.server, "latchkey_revocation_entries").await > 50_000.0 };
    until("all are known", known).await;
    let before = memory(fixture.server.pid());
    let mut silent = Vec::new();
    for _ in 0..8 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4096).expect("a small one");
        let mut stream = socket
            .connect(fixture.server.address)
            .await
            .expect("it listens");
        let token = &fixture.admin.access_token;
        let request = format!(
            "GET /revocations HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n\r\n"
        );
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        silent.push(stream);
    }
    until("all are let in", || async {
        streams(&fixture.server).await == 8.0
    })
    .await;
    // Whoever reads is told everything meanwhile.
    let mut reader = Reader::of(&fixture.server, &fixture.admin).await;
    assert_eq!(
        reader.count("\"kind\":\"token\"", "event: synced").await,
        50_000
    );
    reader.until("heartbeat").await;
    let behind = || async {
        value(
            &fixture.server,
            "latchkey_revocation_streams_closed_total{reason=\"behind\"}",
        )
        .await
            == 8.0
    };
    until("they are dropped, and nobody else", behind).await;
    let grown = memory(fixture.server.pid()).saturating_sub(before);
    println!("{grown} bytes more");
    assert!(grown < 30_000_000, "{grown} bytes more");
    let ended = fixture.logout(&fixture.server).await;
    assert!(reader.first("revoked").await.is_of("session", &ended));
    until("the reader is the only one", || async {
        streams(&fixture.server).await == 1.0
    })
    .await;
    drop(silent);
}
