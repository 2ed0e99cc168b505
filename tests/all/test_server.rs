//! A running gateway: the real binary as a process, with a handle that has one verb per method.

use std::{
    ffi::OsString,
    fs::File,
    net::SocketAddr,
    os::unix::fs::FileExt,
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::{Method, RequestBuilder, header::HeaderMap};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    contract,
    mail::MailServer,
    test_stores::{STACK, execute, fresh_database},
};

/// A password that the policy accepts.
pub const PASSWORD: &str = "secret123";

/// The issuer of tested servers that set no other.
pub const ISSUER: &str = "https://auth.example.com";

/// No answer takes longer, not even in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// One gateway process. It ends with this value, or waits for another test if it is shared.
pub struct TestServer {
    /// `None` only while it is dropped.
    process: Option<Process>,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    settings: Vec<(String, String)>,
    client: reqwest::Client,
    /// Whether another test can use it afterwards.
    is_reusable: AtomicBool,
}

/// The process and its log.
struct Process {
    child: Child,
    /// No pipe: what it has written is there at once for whoever looks.
    log: File,
}

/// Shared servers that no test uses at the moment.
static IDLE: Mutex<Vec<TestServer>> = Mutex::new(Vec::new());

/// Deletes what a test leaves in its database. Signing keys and the replicas' agreement stay, and
/// users take their sessions, items and tokens along.
const RESET: &str = "delete from email_outbox; delete from users; delete from oauth_clients; \
    delete from audit_events; delete from revocations;";

/// The binary under test: the one that was built with the tests, or the one that is named.
pub fn binary() -> OsString {
    std::env::var_os("LATCHKEY_TESTED_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_latchkey").into())
}

/// A value for `LATCHKEY_SECRET`.
pub fn random_secret() -> String {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("there is randomness");
    STANDARD.encode(secret)
}

/// What a gateway needs, with a fresh secret.
pub fn settings(database: &str, redis: &str, prefix: &str) -> Vec<(String, String)> {
    [
        ("DATABASE_URL", database),
        ("REDIS_URL", redis),
        ("LATCHKEY_REDIS_PREFIX", prefix),
        ("LATCHKEY_SECRET", &random_secret()),
        ("LATCHKEY_ISSUER", ISSUER),
        ("LATCHKEY_LISTEN", "127.0.0.1:0"),
        ("LATCHKEY_METRICS_LISTEN", "127.0.0.1:0"),
        ("LATCHKEY_SMTP_URL", "off"),
        ("LATCHKEY_DRAIN_DELAY", "0s"),
        // All tests come from one address, as if from a proxy.
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1/32"),
        ("LATCHKEY_RATE_LIMITS", "off"),
        ("LATCHKEY_DATABASE_CONNECTIONS", "12"),
        // Many gateways run at once here: a busy machine is no broken store.
        ("LATCHKEY_REDIS_TIMEOUT", "10s"),
        ("LATCHKEY_DATABASE_TIMEOUT", "10s"),
        ("LATCHKEY_HASH_WAIT", "30s"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

impl TestServer {
    /// A gateway with a database of its own.
    pub async fn start() -> TestServer {
        TestServer::with(&[]).await
    }

    /// The same with these settings.
    pub async fn with(changes: &[(&str, &str)]) -> TestServer {
        let database = fresh_database().await;
        let prefix = format!("t{}", Uuid::new_v4().simple());
        TestServer::run(change(
            settings(&database, &STACK.redis_url(), &prefix),
            changes,
        ))
        .await
    }

    /// The same with a mail server of its own.
    pub async fn with_mail(changes: &[(&str, &str)]) -> (TestServer, MailServer) {
        let mails = MailServer::start().await;
        let url = mails.url();
        let changes = [&[("LATCHKEY_SMTP_URL", url.as_str())], changes].concat();
        (TestServer::with(&changes).await, mails)
    }

    /// A gateway with default settings that another test may have used before. Its database holds
    /// no users and no clients; its log, its metrics, its keys in Redis and its signing keys may
    /// come from earlier tests, so tests that read those use [`TestServer::start`].
    pub async fn shared() -> TestServer {
        let idle = IDLE.lock().expect("no test panics while it holds it").pop();
        let server = match idle {
            Some(server) => {
                execute(&server, RESET).await;
                server
            }
            None => TestServer::start().await,
        };
        // Elsewhere it would outlive this process: only Linux ends it then.
        let is_reusable = cfg!(target_os = "linux");
        server.is_reusable.store(is_reusable, Ordering::Relaxed);
        server
    }

    /// Another replica of this one.
    pub async fn replica(&self) -> TestServer {
        self.mark_used_up();
        TestServer::run(self.settings.clone()).await
    }

    /// Another replica of this one, with other settings.
    pub async fn replica_with(&self, changes: &[(&str, &str)]) -> TestServer {
        TestServer::run(self.settings_with(changes)).await
    }

    /// Runs until it is ready.
    pub async fn run(settings: Vec<(String, String)>) -> TestServer {
        let server = TestServer::launch(settings);
        server.until_ready().await;
        server
    }

    /// Runs, ready or not.
    pub fn launch(settings: Vec<(String, String)>) -> TestServer {
        let log = tempfile::tempfile().expect("a file can be written");
        let mut command = Command::new(binary());
        command
            .arg("serve")
            .env_clear()
            .envs(settings.clone())
            .current_dir(std::env::temp_dir())
            .stdout(log.try_clone().expect("it is open"))
            .stderr(Stdio::inherit());
        // A shared one outlives its test, but never this process.
        let mut child = latchkey_dev::spawn(command, Signal::KILL).expect("the binary runs");
        let [address, metrics] = until_it_listens(&log, &mut child);
        TestServer {
            process: Some(Process { child, log }),
            address,
            metrics,
            settings,
            client: client(),
            is_reusable: AtomicBool::new(false),
        }
    }

    /// Until it is ready, if it was only launched.
    pub async fn until_ready(&self) {
        let deadline = Instant::now() + LIMIT;
        while self
            .try_get("/health/ready")
            .await
            .is_none_or(|response| response.status != 200)
        {
            assert!(
                Instant::now() < deadline,
                "not ready in time: {:?}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// What it logged so far.
    pub fn log(&self) -> Vec<String> {
        lines(&self.process().log)
    }

    /// Whether one line of the log has all of these in it.
    pub fn has_logged(&self, parts: &[&str]) -> bool {
        self.log()
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    }

    /// Until it is so, where nothing else that a test sees comes after the line.
    pub async fn until_logged(&self, parts: &[&str]) {
        until(&format!("the log says {parts:?}"), || async {
            self.has_logged(parts)
        })
        .await;
    }

    /// The value of one of its settings.
    pub fn setting(&self, name: &str) -> &str {
        self.settings
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
            .expect("it is set")
    }

    pub fn settings(&self) -> Vec<(String, String)> {
        self.mark_used_up();
        self.settings.clone()
    }

    /// Its settings with these changes.
    pub fn settings_with(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        change(self.settings(), changes)
    }

    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("it is dropped last")
    }

    /// The process, for what leaves it in a state that no other test may find.
    fn child(&mut self) -> &mut Child {
        self.mark_used_up();
        &mut self.process.as_mut().expect("it is dropped last").child
    }

    fn mark_used_up(&self) {
        self.is_reusable.store(false, Ordering::Relaxed);
    }

    /// As if the machine failed.
    pub fn kill(&mut self) {
        self.child().kill().expect("it is ours");
        self.child().wait().expect("it is ours");
    }

    /// Asks it to end, and waits; its exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.wait()
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Makes it stand still.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.mark_used_up();
        kill_process(Pid::from_child(&self.process().child), signal).expect("it is ours");
    }

    /// The exit code, once it has ended by itself.
    pub fn wait(&mut self) -> Option<i32> {
        self.child().wait().expect("it is ours").code()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// A request that is not checked against the document.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends it, and compares the answer with the document.
    pub async fn send(&self, request: RequestBuilder) -> TestResponse {
        self.try_send(request).await.expect("the server responds")
    }

    pub async fn try_send(&self, request: RequestBuilder) -> Option<TestResponse> {
        let request = request.build().expect("a well-formed request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = self.client.execute(request).await.ok()?;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.bytes().await.ok()?.to_vec();
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let response = TestResponse {
            status: status.as_u16(),
            headers,
            body,
            bytes,
        };
        contract::check(&method, &path, &response);
        Some(response)
    }

    pub async fn try_get(&self, path: &str) -> Option<TestResponse> {
        self.try_send(self.request(Method::GET, path)).await
    }

    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> TestResponse {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    pub async fn form(&self, path: &str, form: &[(&str, &str)]) -> TestResponse {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    /// With a bearer token; `Value::Null` sends no body.
    pub async fn with_token(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Value,
    ) -> TestResponse {
        let request = self.request(method, path).bearer_auth(token);
        self.send(if body.is_null() {
            request
        } else {
            request.json(&body)
        })
        .await
    }

    /// A new account with this user name, signed in.
    pub async fn sign_up(&self, username: &str) -> Session {
        let response = self
            .post(
                "/signup",
                json!({"username": username, "password": PASSWORD}),
            )
            .await;
        assert_eq!(response.status, 201, "{}", response.body);
        Session::of(&response)
    }

    /// A new account with an address, signed in.
    pub async fn sign_up_with_email(&self, username: &str, email: &str) -> Session {
        let response = self
            .post(
                "/signup",
                json!({"username": username, "email": email, "password": PASSWORD}),
            )
            .await;
        assert_eq!(response.status, 201, "{}", response.body);
        Session::of(&response)
    }

    /// An administrator, signed in; made behind the gateway's back.
    pub async fn admin(&self, username: &str) -> Session {
        self.sign_up(username).await;
        let promote = format!("update users set role = 'admin' where username = '{username}'");
        execute(self, &promote).await;
        self.sign_in(username).await
    }

    pub async fn log_in(&self, username: &str, password: &str) -> TestResponse {
        self.post(
            "/login",
            json!({"username": username, "password": password}),
        )
        .await
    }

    pub async fn sign_in(&self, username: &str) -> Session {
        let response = self.log_in(username, PASSWORD).await;
        assert_eq!(response.status, 200, "{}", response.body);
        Session::of(&response)
    }

    pub async fn refresh(&self, refresh_token: &str) -> TestResponse {
        self.post("/refresh", json!({"refresh_token": refresh_token}))
            .await
    }

    pub async fn log_out(&self, access_token: &str) -> TestResponse {
        self.with_token(Method::POST, "/logout", access_token, Value::Null)
            .await
    }

    /// Requests a mail with a code for a new password.
    pub async fn forgot_password(&self, email: &str) -> TestResponse {
        self.post("/password/forgot", json!({"email": email})).await
    }

    /// Sets a new password by a code.
    pub async fn reset_password(
        &self,
        email: &str,
        code: &str,
        new_password: &str,
    ) -> TestResponse {
        let body = json!({"email": email, "code": code, "new_password": new_password});
        self.post("/password/reset", body).await
    }

    /// A new item of this session's user.
    pub async fn create_item(&self, session: &Session, name: &str) -> TestResponse {
        let body = json!({"name": name});
        self.with_token(Method::POST, "/items", &session.access_token, body)
            .await
    }

    /// Asserts that it rejects both tokens of a revoked session.
    pub async fn rejects(&self, session: &Session) {
        assert_eq!(
            self.verify(&session.access_token).await,
            (401, "token_revoked".into())
        );
        self.refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }

    /// What the check says of this access token: a status, and a code where it is refused.
    pub async fn verify(&self, access_token: &str) -> (u16, String) {
        self.verify_at("/auth/verify", access_token).await
    }

    /// The same where something is demanded, as it is of clients.
    pub async fn verify_at(&self, path: &str, access_token: &str) -> (u16, String) {
        let response = self
            .with_token(Method::GET, path, access_token, Value::Null)
            .await;
        (response.status, response.code())
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        if *self.is_reusable.get_mut() && !std::thread::panicking() {
            let idle = TestServer {
                process: Some(process),
                address: self.address,
                metrics: self.metrics,
                settings: std::mem::take(&mut self.settings),
                client: client(),
                is_reusable: AtomicBool::new(false),
            };
            IDLE.lock()
                .expect("no test panics while it holds it")
                .push(idle);
            return;
        }
        let _ = process.child.kill();
        let _ = process.child.wait();
    }
}

/// Connections belong to the runtime of the test that opened them, so each test has its own.
fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(LIMIT)
        .build()
        .expect("a client")
}

/// Settings with these changes.
pub fn change(
    mut settings: Vec<(String, String)>,
    changes: &[(&str, &str)],
) -> Vec<(String, String)> {
    settings.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
    settings.extend(
        changes
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
    );
    settings
}

/// The whole lines of a log.
fn lines(log: &File) -> Vec<String> {
    let mut bytes = vec![0; log.metadata().expect("it is open").len() as usize];
    // Not `read`: the gateway writes at the position that they share.
    log.read_exact_at(&mut bytes, 0).expect("nobody cuts it");
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    str::from_utf8(&bytes[..whole])
        .expect("the log is text")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// The addresses that the log tells first: of the gateway, and of its metrics.
fn until_it_listens(log: &File, child: &mut Child) -> [SocketAddr; 2] {
    let deadline = Instant::now() + LIMIT;
    loop {
        let events = lines(log)
            .into_iter()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let told = events
            .filter(|event| event["message"] == "listening")
            .take(2);
        let addresses = told.map(|event| {
            event["address"]
                .as_str()
                .and_then(|address| address.parse().ok())
        });
        let addresses: Vec<_> = addresses
            .map(|address| address.expect("an address"))
            .collect();
        if let Ok(both) = addresses.try_into() {
            return both;
        }
        let ended = child.try_wait().expect("it is ours");
        assert!(
            ended.is_none() && Instant::now() < deadline,
            "it does not listen, {ended:?}: {:?}",
            lines(log)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct TestResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// The JSON of the body, or null.
    pub body: Value,
    pub bytes: Vec<u8>,
}

impl TestResponse {
    /// The code of a problem, or nothing.
    pub fn code(&self) -> String {
        self.body["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub fn text(&self, member: &str) -> String {
        self.body[member]
            .as_str()
            .unwrap_or_else(|| panic!("{member} in {}", self.body))
            .to_owned()
    }

    /// The JSON of the body without the field that differs in every response.
    pub fn without_request_id(&self) -> Value {
        let mut body = self.body.clone();
        let removed = body
            .as_object_mut()
            .and_then(|fields| fields.shift_remove("request_id"));
        assert!(removed.is_some(), "{}", self.string());
        body
    }

    pub fn string(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// Asserts what it is: status, and the code of a problem ("" where it is none).
    #[track_caller]
    pub fn is(&self, status: u16, code: &str) -> &Self {
        assert_eq!(
            (self.status, self.code().as_str()),
            (status, code),
            "{}",
            self.string()
        );
        self
    }
}

/// The tokens of a session.
#[derive(Debug, Clone)]
pub struct Session {
    pub access_token: String,
    pub refresh_token: String,
}

impl Session {
    pub fn of(response: &TestResponse) -> Session {
        Session {
            access_token: response.text("access_token"),
            refresh_token: response.text("refresh_token"),
        }
    }

    /// The claims of the access token, unverified.
    pub fn claims(&self) -> Value {
        claims(&self.access_token)
    }

    /// A claim that is a text.
    pub fn claim(&self, name: &str) -> String {
        self.claims()[name].as_str().expect("a text").to_owned()
    }

    /// The path of its user, for administrators.
    pub fn user_path(&self) -> String {
        format!("/users/{}", self.claim("sub"))
    }
}

/// The claims of a token, unverified.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Waits, bounded, until something is so.
pub async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + LIMIT;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
