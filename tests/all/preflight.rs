//! Stores that can't be used. The sentence with the cause is in the details of the readiness, in
//! the log, and in the output of `latchkey check`, and each has a fix.

use std::{net::TcpListener, process::Command, sync::Mutex, time::Duration};

use deadpool_redis::redis::{Client, cmd};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    loopback::own_address,
    outage::OwnRedis,
    program,
    proxy::{ConnectionState, Proxy},
    test_server::{TestServer, settings, wait_until},
    test_stores::{STACK, fresh_database, redis_socket},
};

/// Starts a server, and asserts that it isn't ready and that the cause is reported.
async fn assert_reported(settings: Vec<(String, String)>, component: &str, reason: &str) {
    let server = TestServer::launch(settings.clone());
    let printed = Mutex::new(String::new());
    wait_until(reason, || async {
        let readiness = server.readiness().await;
        print_if_changed(&printed, &readiness.body["degraded"]);
        assert_eq!(readiness.status, 503, "{}", readiness.body);
        let entries = readiness.body["degraded"]
            .as_array()
            .expect("a list")
            .clone();
        let found = entries.into_iter().find(|entry| {
            entry["component"] == component && text(&entry["reason"]).contains(reason)
        });
        found.is_some_and(|found| {
            assert!(!text(&found["action"]).is_empty(), "{found}");
            assert!(text(&found["since"]).ends_with('Z'), "{found}");
            true
        })
    })
    .await;
    let in_log = reason.trim_end_matches('.');
    server.wait_for_log(&["store unavailable", in_log]).await;
    assert_eq!(server.get("/health/ready").await.text("status"), "starting");
    assert_finding(settings, component, "failure", reason).await;
}

/// Prints the impairments, which a failed test shows.
fn print_if_changed(printed: &Mutex<String>, degraded: &Value) {
    let reasons = degraded.as_array().into_iter().flatten();
    let reasons: String = reasons.map(|entry| entry["reason"].to_string()).collect();
    let mut printed = printed.lock().expect("no panic");
    if *printed != reasons {
        println!("degraded: {reasons}");
        *printed = reasons;
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Asserts the outcome of `latchkey check` for a part of the deployment.
async fn assert_finding(settings: Vec<(String, String)>, part: &str, status: &str, detail: &str) {
    let (code, findings) = check(settings).await;
    let found = findings.iter().find(|found| found["part"] == part);
    let found = found.expect(part);
    assert_eq!(found["status"], status, "{found}");
    assert!(text(&found["reason"]).contains(detail), "{found}");
    assert_eq!(found["action"].is_string(), status != "ok", "{found}");
    let has_failure = findings.iter().any(|found| found["status"] == "failure");
    assert_eq!(code, i32::from(has_failure), "{findings:?}");
}

/// Runs `latchkey check`. Returns its exit code and the findings.
async fn check(settings: Vec<(String, String)>) -> (i32, Vec<Value>) {
    let run = move || program::run(&["check", "--output", "json"], settings, "");
    let output = tokio::task::spawn_blocking(run).await.expect("no panic");
    let findings: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    let findings = findings["findings"].as_array().expect("a list").clone();
    (output.status.code().expect("an exit code"), findings)
}

async fn settings_with_redis(url: &str) -> Vec<(String, String)> {
    settings(&fresh_database().await, url, "lk")
}

/// A server of Redis with its own options, which stops with the test.
struct SpecialRedis {
    process: std::process::Child,
    port: u16,
    folder: TempDir,
}

impl SpecialRedis {
    /// Starts it with these lines in its configuration file.
    async fn start(arguments: &[&str], configuration: &str) -> SpecialRedis {
        let folder = tempfile::tempdir().expect("a folder");
        let port = free_port();
        let file = folder.path().join("redis.conf");
        std::fs::write(&file, configuration).expect("a file");
        let mut command = Command::new("redis-server");
        command
            .arg(&file)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--daemonize", "no"])
            .arg("--dir")
            .arg(folder.path())
            .args(arguments)
            .stdout(std::process::Stdio::null());
        let process = latchkey_dev::spawn(command, Signal::KILL).expect("Redis starts");
        let redis = SpecialRedis {
            process,
            port,
            folder,
        };
        wait_until("Redis responds", || async {
            redis.command(&["PING"]).await.is_some()
        })
        .await;
        redis
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    async fn command(&self, words: &[&str]) -> Option<String> {
        let client = Client::open(self.url()).expect("a URL");
        let mut connection = client.get_multiplexed_async_connection().await.ok()?;
        let mut command = cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.ok()
    }
}

impl Drop for SpecialRedis {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = self.folder.path();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test]
async fn url_of_a_sentinel_is_reported() {
    let sentinel = SpecialRedis::start(&["--sentinel"], "").await;
    let settings = settings_with_redis(&sentinel.url()).await;
    assert_reported(settings, "redis", "`REDIS_URL` leads to a Sentinel.").await;
}

#[tokio::test]
async fn url_of_a_cluster_node_is_reported() {
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let bus = free_port().to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        nodes.push((SpecialRedis::start(&options, "").await, bus));
    }
    let [(first, _), (second, second_bus)] = nodes.as_slice() else {
        panic!("two nodes");
    };
    let (port, ok) = (second.port.to_string(), Some("OK".to_owned()));
    for (node, range) in [(first, ["0", "8191"]), (second, ["8192", "16383"])] {
        let command = ["CLUSTER", "ADDSLOTSRANGE", range[0], range[1]];
        assert_eq!(node.command(&command).await, ok);
    }
    let meet = ["CLUSTER", "MEET", "127.0.0.1", &port, second_bus];
    assert_eq!(first.command(&meet).await, ok);
    for (node, _) in &nodes {
        wait_until("the cluster is complete", || async {
            let info = node.command(&["CLUSTER", "INFO"]).await;
            info.is_some_and(|info| info.contains("cluster_state:ok"))
        })
        .await;
        let settings = settings_with_redis(&node.url()).await;
        assert_reported(settings, "redis", "leads to a node of a Redis Cluster.").await;
    }
}

#[tokio::test]
async fn rights_that_are_missing_are_reported() {
    let own_redis = OwnRedis::start();
    let settings = settings_with_redis(&own_redis.redis.url()).await;
    let set_rights = async |rights: &[&str]| {
        let command = [&["ACL", "SETUSER", "default"], rights].concat();
        own_redis.command::<String>(&command).await;
    };
    for (command, reason) in [
        ("info", "does not let scripts run `INFO`"),
        ("xadd", "lacks the right to run `XADD`"),
        ("eval", "denied a command: "),
        ("evalsha", "lacks the right to run `EVALSHA`"),
    ] {
        set_rights(&[&format!("-{command}")]).await;
        assert_reported(settings.clone(), "redis", reason).await;
        set_rights(&[&format!("+{command}")]).await;
    }
    set_rights(&["resetkeys", "~other:*"]).await;
    assert_reported(
        settings.clone(),
        "redis",
        "permissions to access one of the keys",
    )
    .await;
    set_rights(&["resetkeys", "~lk:*"]).await;
    TestServer::run(settings).await;
}

#[tokio::test]
async fn old_version_of_redis_is_reported() {
    let own_redis = OwnRedis::start();
    let proxy = Proxy::to(redis_socket(&own_redis.redis.url())).await;
    proxy.set(ConnectionState::OldRedis);
    let settings = settings_with_redis(&proxy.redis_url()).await;
    assert_reported(settings, "redis", "this is 6.2.1").await;
}

#[tokio::test]
async fn rejected_password_is_reported() {
    let own_redis = OwnRedis::start();
    own_redis
        .command::<String>(&["CONFIG", "SET", "requirepass", "first"])
        .await;
    let url = own_redis.redis.url();
    let wrong = settings_with_redis(&format!("{url}?pass=second")).await;
    assert_reported(wrong, "redis", "Redis rejected the password.").await;
    let missing = settings_with_redis(&url).await;
    assert_reported(missing, "redis", "Redis requires a password.").await;
}

#[tokio::test]
async fn redis_without_tls_is_reported() {
    let own_redis = OwnRedis::start();
    let proxy = Proxy::to(redis_socket(&own_redis.redis.url())).await;
    let settings = settings_with_redis(&proxy.redis_url().replace("redis:", "rediss:")).await;
    assert_reported(settings, "redis", "Redis does not accept TLS").await;
}

#[tokio::test]
async fn refused_connections_are_reported() {
    // No other process uses an address of its own.
    let address = own_address();
    let with_redis = settings_with_redis(&format!("redis://{address}")).await;
    assert_reported(with_redis, "redis", "The connection to Redis was refused.").await;
    let database = format!("postgres://latchkey@{address}/latchkey");
    let with_postgres = settings(&database, &STACK.redis_url(), "refused");
    assert_reported(with_postgres, "postgres", "The connection was refused").await;
}

#[tokio::test]
async fn missing_database_and_rejected_role_are_reported() {
    let existing = fresh_database().await;
    let (base, _) = existing.rsplit_once('/').expect("a URL with a database");
    let settings_for = |database: &str| settings(database, &STACK.redis_url(), "missing");
    let missing = settings_for(&format!("{base}/missing_database"));
    assert_reported(missing, "postgres", "no database with the name").await;
    let (_, host) = existing.split_once('@').expect("a URL with a user");
    let rejected = settings_for(&format!("postgres://missing_role@{host}"));
    assert_reported(rejected, "postgres", "missing_role").await;
}

#[tokio::test]
async fn check_finds_no_failure_in_running_deployment() {
    let server = TestServer::start().await;
    let (code, findings) = check(server.settings()).await;
    assert_eq!(code, 0, "{findings:?}");
    for found in &findings {
        // On a busy machine, a round trip can be slow, and no proxy leads to this issuer.
        let may_warn = ["postgres", "redis", "proxy"].contains(&text(&found["part"]));
        let expected = if may_warn {
            ["ok", "warning"]
        } else {
            ["ok", "ok"]
        };
        assert!(expected.contains(&text(&found["status"])), "{found}");
    }
}

/// A replica works at this distance, because the timeouts of operations don't include connecting.
#[tokio::test]
async fn check_reports_slow_stores_as_warnings() {
    let server = TestServer::start().await;
    let (postgres, redis) = (Proxy::to_postgres().await, Proxy::to_redis().await);
    for proxy in [&postgres, &redis] {
        proxy.set(ConnectionState::Late(Duration::from_millis(200)));
    }
    let database = postgres.postgres_url(server.setting("DATABASE_URL"));
    let settings = server.settings_with(&[
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", redis.redis_url().as_str()),
        ("LATCHKEY_REDIS_TIMEOUT", "1s"),
    ]);
    for part in ["postgres", "redis"] {
        assert_finding(settings.clone(), part, "warning", "a round trip takes").await;
    }
}

#[tokio::test]
async fn check_reports_wrong_issuer_secret_and_mail_server() {
    let server = TestServer::start().await;
    let changed = server.settings_with(&[("LATCHKEY_ISSUER", "http://127.0.0.1:1")]);
    assert_finding(
        changed.clone(),
        "issuer",
        "failure",
        "differs from the issuer",
    )
    .await;
    assert_finding(changed, "proxy", "warning", "can't be reached").await;
    let secret = crate::test_server::random_secret();
    let changed = server.settings_with(&[("LATCHKEY_SECRET", &secret)]);
    assert_finding(changed, "secret", "failure", "can't decrypt").await;
    let changed = server.settings_with(&[("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:1")]);
    assert_finding(changed, "email", "failure", "The mail server can't be used").await;
}

#[tokio::test]
async fn check_follows_the_issuer_to_a_replica() {
    let port = free_port();
    let issuer = format!("http://127.0.0.1:{port}");
    let listen = format!("127.0.0.1:{port}");
    let server = TestServer::with(&[
        ("LATCHKEY_ISSUER", issuer.as_str()),
        ("LATCHKEY_LISTEN", listen.as_str()),
    ])
    .await;
    assert_finding(server.settings(), "proxy", "ok", "leads to this deployment").await;
    let other = TestServer::start().await;
    let url = format!("http://{}", other.address);
    let changed = server.settings_with(&[("LATCHKEY_ISSUER", &url)]);
    assert_finding(
        changed,
        "proxy",
        "failure",
        "did not return the metadata of this issuer",
    )
    .await;
}

#[tokio::test]
async fn open_sign_up_of_a_public_server_with_email_is_a_warning() {
    let (server, _mail_server) = TestServer::with_mail(&[]).await;
    let disclosed = "discloses whether an email address has an account";
    assert_finding(server.settings(), "signup", "warning", disclosed).await;
    for (change, reason) in [
        (("LATCHKEY_SIGNUP", "verify"), "with an emailed code"),
        (("LATCHKEY_SIGNUP", "admin"), "Only administrators"),
        (("LATCHKEY_SMTP_URL", "off"), "without a code"),
        (("LATCHKEY_ISSUER", "http://127.0.0.1:1"), "without a code"),
    ] {
        let (_, findings) = check(server.settings_with(&[change])).await;
        let found = findings.iter().find(|found| found["part"] == "signup");
        let found = found.expect("a finding");
        assert_eq!(found["status"], "ok", "{found}");
        assert!(text(&found["reason"]).contains(reason), "{found}");
    }
}

#[tokio::test]
async fn check_prints_one_line_per_subject_and_changes_nothing() {
    let database = fresh_database().await;
    let settings = settings(&database, &STACK.redis_url(), "unused");
    let output = program::run(&["check"], settings.clone(), "");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 8, "{text}");
    assert!(
        lines[0].starts_with("ok       postgres  PostgreSQL "),
        "{text}"
    );
    assert!(
        text.contains("The first start will store the issuer."),
        "{text}"
    );
    assert_finding(settings, "issuer", "ok", "The first start will store").await;
}
