//! A thousand sign-ins at once: memory stays bounded, the excess is told to come back, and nothing
//! else gets slow.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    metrics,
    sign_in::phc,
    test_server::{PASSWORD, TestServer, until},
    test_stores::execute,
};

const CROWD: usize = 1000;

/// In MiB: 19 for each hash that runs, and a little for each who waits.
const MOST_MEMORY: u64 = 400;

/// Of a process, in MiB: `VmHWM` is the most it ever had, `VmRSS` what it has.
#[cfg(target_os = "linux")]
fn memory(server: &TestServer, line: &str) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let line = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .expect("it is told");
    line.split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<u64>().ok())
        .expect("a number")
        / 1024
}

/// Asks for `/health/live` until told to stop, from a thread that has nothing else to do; the
/// times, sorted.
fn watch(url: String, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::new();
        let mut times = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let began = Instant::now();
            assert_eq!(
                client
                    .get(&url)
                    .send()
                    .await
                    .expect("it responds")
                    .status(),
                200
            );
            times.push(began.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        times.sort();
        times
    })
}

/// John, whose hash takes three times as long as others: so that on a fast machine, too, a crowd
/// has to wait.
async fn sign_up_with_a_costly_hash(server: &TestServer) {
    server.sign_up("john").await;
    let costly = tokio::task::spawn_blocking(|| phc(PASSWORD, 19_456, 6))
        .await
        .expect("a hash");
    execute(
        server,
        &format!("update users set password_hash = '{costly}'"),
    )
    .await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_thousand_sign_ins_at_once_slow_nothing_else() {
    let settings = [
        ("LATCHKEY_HASH_WAIT", "5s"),
        ("LATCHKEY_HASH_THREADS", "2"),
        ("LATCHKEY_DATABASE_CONNECTIONS", "16"),
        ("LATCHKEY_DATABASE_TIMEOUT", "30s"),
    ];
    let server = TestServer::with(&settings).await;
    sign_up_with_a_costly_hash(&server).await;
    let stop = Arc::new(AtomicBool::new(false));
    let (url, until_then) = (server.url("/health/live"), stop.clone());
    let watching = std::thread::spawn(move || watch(url, until_then));
    let responses = join_all((0..CROWD).map(|_| server.log_in("john", PASSWORD))).await;
    stop.store(true, Ordering::Relaxed);
    let times = watching.join().expect("it was answered each time");
    let signed_in = responses
        .iter()
        .filter(|response| response.status == 200)
        .count();
    for response in responses.iter().filter(|response| response.status != 200) {
        response.is(503, "busy");
        assert!(
            response
                .header("retry-after")
                .parse::<u64>()
                .is_ok_and(|wait| wait > 0)
        );
    }
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    let (most, now) = (memory(&server, "VmHWM"), memory(&server, "VmRSS"));
    println!("{signed_in} of {CROWD} signed in; at most {most} MiB, now {now} MiB");
    println!(
        "/health/live: p50 {:?}, p99 {:?}, max {:?} of {}",
        at(50),
        at(99),
        at(100),
        times.len()
    );
    assert!(signed_in > 0 && signed_in < CROWD, "{signed_in}");
    assert!(most < MOST_MEMORY, "{most} MiB");
    // The promise is 50 ms, to be measured with a release build on a quiet machine. This much only
    // shows that no hash is computed where requests are answered.
    let slow: Duration = times.iter().filter(|time| time.as_secs() >= 1).sum();
    assert!(
        slow < times.iter().sum::<Duration>() / 2,
        "slow for {slow:?}, p99 {:?}",
        at(99)
    );
    until("John gets in", || async {
        server.log_in("john", PASSWORD).await.status == 200
    })
    .await;
}

/// The metric of how many wait for a hash.
async fn waiting(server: &TestServer) -> f64 {
    metrics::value(server, "latchkey_hash_queue").await
}

#[tokio::test]
async fn nobody_is_hashed_for_who_has_hung_up() {
    // Nobody is refused, so that all of them wait.
    let server =
        TestServer::with(&[("LATCHKEY_HASH_THREADS", "1"), ("LATCHKEY_HASH_WAIT", "1h")]).await;
    sign_up_with_a_costly_hash(&server).await;
    let began = Instant::now();
    server.log_in("john", PASSWORD).await.is(200, "");
    let one = began.elapsed();
    let mut crowd = JoinSet::new();
    for _ in 0..400 {
        let john = json!({"username": "john", "password": "not the right one"});
        crowd.spawn(server.request(Method::POST, "/login").json(&john).send());
    }
    until("they wait", || async { waiting(&server).await > 200.0 }).await;
    crowd.shutdown().await;
    let began = Instant::now();
    // The last of them may be seen to be gone a moment later.
    until("John gets in", || async {
        server.log_in("john", PASSWORD).await.status == 200
    })
    .await;
    let after = began.elapsed();
    println!("alone {one:?}, behind 200 who hung up {after:?}");
    // Hashing for all of them would take at least 200 times as long.
    assert!(after < one * 100, "{after:?}, alone {one:?}");
    until("nobody waits", || async { waiting(&server).await == 0.0 }).await;
}
