//! Starts the real binary as a process and provides a handle to send requests to it.

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
    loopback::localhost_port,
    mail::MailServer,
    sent_secrets::SentSecrets,
    test_stores::{STACK, execute, fresh_database},
};

/// A password that the policy accepts.
pub const PASSWORD: &str = "secret123";

/// The default issuer of the servers under test.
pub const ISSUER: &str = "https://auth.example.com";

/// Maximum duration of a response, sufficient for a debug build on a busy machine.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(40);

/// Maximum duration until a condition holds. It includes several timeouts of a server, and only a
/// failed test waits this long.
const CONDITION_TIMEOUT: Duration = Duration::from_secs(120);

/// One server process. Dropping the handle kills the process, or returns a shared one to the pool.
pub struct TestServer {
    /// `None` only during `drop`.
    process: Option<Process>,
    pub address: SocketAddr,
    pub metrics: SocketAddr,
    settings: Vec<(String, String)>,
    client: reqwest::Client,
    /// Whether another test can use the process after this one.
    is_reusable: AtomicBool,
    /// The secrets that the test has sent and received.
    pub secrets: SentSecrets,
}

struct Process {
    child: Child,
    /// A file instead of a pipe, so that a test can read written lines at any time.
    log: File,
}

/// Shared servers that no test uses at the moment.
static IDLE_SERVERS: Mutex<Vec<TestServer>> = Mutex::new(Vec::new());

/// Deletes the data of a test, but keeps the signing keys and the agreed settings. Deleting users
/// cascades to their sessions, items, and tokens.
const DELETE_TEST_DATA: &str = "delete from email_outbox; delete from users; delete from reserved_names; \
    delete from oauth_clients; \
    delete from audit_events; delete from revocations;";

/// The binary under test: `LATCHKEY_TESTED_BINARY`, or the binary that Cargo built with the tests.
pub fn binary() -> OsString {
    std::env::var_os("LATCHKEY_TESTED_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_latchkey").into())
}

/// A value for `LATCHKEY_SECRET`.
pub fn random_secret() -> String {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).expect("randomness");
    STANDARD.encode(secret)
}

/// The settings of a server under test, with a random master secret.
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
        // Tests connect from loopback and set the client address as a trusted proxy does.
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.1/32"),
        ("LATCHKEY_RATE_LIMITS", "off"),
        ("LATCHKEY_DATABASE_CONNECTIONS", "12"),
        // Many servers run concurrently, so a busy machine must not cause store timeouts.
        ("LATCHKEY_REDIS_TIMEOUT", "10s"),
        ("LATCHKEY_DATABASE_TIMEOUT", "10s"),
        ("LATCHKEY_HASH_WAIT", "30s"),
        ("LATCHKEY_LOG", &tested_log_level()),
        // Hashes would otherwise use most of the CPU time. Tests of hashes set the default.
        ("LATCHKEY_HASH_IMPLEMENTATION", "argon2-rust"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}

/// The rounds of a test of a race: `LATCHKEY_RACE_ROUNDS`, or the usual number.
pub fn race_rounds(usual: usize) -> usize {
    std::env::var("LATCHKEY_RACE_ROUNDS")
        .map_or(usual, |rounds| rounds.parse().expect("a number of rounds"))
}

/// The log level of servers under test: `LATCHKEY_TESTED_LOG`, or the default.
fn tested_log_level() -> String {
    std::env::var("LATCHKEY_TESTED_LOG").unwrap_or_else(|_| "info".to_owned())
}

impl TestServer {
    /// Starts a server with its own database.
    pub async fn start() -> TestServer {
        TestServer::with(&[]).await
    }

    /// Starts a server with its own database and these changed settings.
    pub async fn with(changes: &[(&str, &str)]) -> TestServer {
        let database = fresh_database().await;
        let prefix = format!("t{}", Uuid::new_v4().simple());
        TestServer::run(change(
            settings(&database, &STACK.redis_url(), &prefix),
            changes,
        ))
        .await
    }

    /// Starts a server with its own database and its own SMTP server.
    pub async fn with_mail(changes: &[(&str, &str)]) -> (TestServer, MailServer) {
        let mail_server = MailServer::start().await;
        let url = mail_server.url();
        let changes = [&[("LATCHKEY_SMTP_URL", url.as_str())], changes].concat();
        (TestServer::with(&changes).await, mail_server)
    }

    /// Starts a server that a real browser uses: its issuer is its address.
    pub async fn at_localhost(changes: &[(&str, &str)]) -> TestServer {
        let port = localhost_port();
        let (issuer, listen) = (
            format!("http://localhost:{port}"),
            format!("127.0.0.1:{port}"),
        );
        let own = [
            ("LATCHKEY_ISSUER", issuer.as_str()),
            ("LATCHKEY_LISTEN", listen.as_str()),
        ];
        TestServer::with(&[&own, changes].concat()).await
    }

    /// Returns a server with default settings that an earlier test might have used.
    ///
    /// The database contains no users and no OAuth clients. The log, the metrics, the Redis keys,
    /// and the signing keys can originate from earlier tests, so tests that read them use
    /// [`TestServer::start`].
    pub async fn shared() -> TestServer {
        let idle = IDLE_SERVERS.lock().expect("the lock isn't poisoned").pop();
        let server = match idle {
            Some(server) => {
                execute(&server, DELETE_TEST_DATA).await;
                server
            }
            None => TestServer::start().await,
        };
        // Only Linux kills the child with its parent. Elsewhere an idle server would outlive both.
        let is_reusable = cfg!(target_os = "linux");
        server.is_reusable.store(is_reusable, Ordering::Relaxed);
        server
    }

    /// Starts another replica with the same settings.
    pub async fn replica(&self) -> TestServer {
        self.prevent_reuse();
        TestServer::run(self.settings.clone()).await
    }

    /// Starts another replica with these changed settings.
    pub async fn replica_with(&self, changes: &[(&str, &str)]) -> TestServer {
        TestServer::run(self.settings_with(changes)).await
    }

    /// Starts a server and waits until it is ready.
    pub async fn run(settings: Vec<(String, String)>) -> TestServer {
        let server = TestServer::launch(settings);
        server.wait_until_ready().await;
        server
    }

    /// Starts a server and waits only until it listens.
    pub fn launch(settings: Vec<(String, String)>) -> TestServer {
        TestServer::launch_with(Command::new(binary()), settings)
    }

    /// Like [`TestServer::launch`], with a command that starts the binary in another way. Only
    /// [`TestServer::kill`] affects the binary if the command starts it as a child.
    pub fn launch_with(mut command: Command, settings: Vec<(String, String)>) -> TestServer {
        let log = tempfile::tempfile().expect("a temporary file");
        command
            .arg("serve")
            .env_clear()
            .envs(settings.clone())
            .current_dir(std::env::temp_dir())
            .stdout(log.try_clone().expect("an open file"))
            .stderr(Stdio::inherit());
        // A shared server outlives its test, but not the test process.
        let mut child = latchkey_dev::spawn(command, Signal::KILL).expect("the binary starts");
        let [address, metrics] = wait_for_addresses(&log, &mut child);
        TestServer {
            process: Some(Process { child, log }),
            address,
            metrics,
            settings,
            client: http_client(),
            is_reusable: AtomicBool::new(false),
            secrets: SentSecrets::default(),
        }
    }

    /// Waits until a launched server is ready.
    pub async fn wait_until_ready(&self) {
        let deadline = Instant::now() + CONDITION_TIMEOUT;
        while self
            .try_get("/health/ready")
            .await
            .is_none_or(|response| response.status != 200)
        {
            assert!(
                Instant::now() < deadline,
                "the server isn't ready in time: {:?}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Returns the log lines written so far.
    pub fn log(&self) -> Vec<String> {
        complete_lines(&self.process().log)
    }

    /// Returns whether one log line contains all parts.
    pub fn has_logged(&self, parts: &[&str]) -> bool {
        self.log()
            .iter()
            .any(|line| parts.iter().all(|part| line.contains(part)))
    }

    /// Waits until one log line contains all parts.
    ///
    /// For effects that a test can't observe in any other way.
    pub async fn wait_for_log(&self, parts: &[&str]) {
        wait_until(&format!("the log contains {parts:?}"), || async {
            self.has_logged(parts)
        })
        .await;
    }

    /// Returns the value of one setting.
    pub fn setting(&self, name: &str) -> &str {
        self.settings
            .iter()
            .find(|(setting, _)| setting == name)
            .map(|(_, value)| value.as_str())
            .expect("a setting of this server")
    }

    pub fn settings(&self) -> Vec<(String, String)> {
        self.prevent_reuse();
        self.settings.clone()
    }

    /// Returns the settings with these changes.
    pub fn settings_with(&self, changes: &[(&str, &str)]) -> Vec<(String, String)> {
        change(self.settings(), changes)
    }

    pub fn pid(&self) -> u32 {
        self.process().child.id()
    }

    fn process(&self) -> &Process {
        self.process.as_ref().expect("a server that isn't dropped")
    }

    /// Returns the process for a change of its state, after which no other test can use the server.
    fn child(&mut self) -> &mut Child {
        self.prevent_reuse();
        let process = self.process.as_mut().expect("a server that isn't dropped");
        &mut process.child
    }

    fn prevent_reuse(&self) {
        self.is_reusable.store(false, Ordering::Relaxed);
    }

    /// Kills the process, which simulates a failed machine.
    pub fn kill(&mut self) {
        self.child().kill().expect("a child process");
        self.child().wait().expect("a child process");
    }

    /// Sends SIGTERM, waits for the end of the process, and returns the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.wait()
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Sends SIGHUP.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Stops the process with SIGSTOP.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Continues a paused process with SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.prevent_reuse();
        kill_process(Pid::from_child(&self.process().child), signal).expect("a child process");
    }

    /// Waits for the end of the process and returns the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        self.child().wait().expect("a child process").code()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Builds a request, which [`TestServer::send`] sends.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// Sends the request and checks that the response conforms to the OpenAPI document.
    pub async fn send(&self, request: RequestBuilder) -> TestResponse {
        self.try_send(request).await.expect("the server responds")
    }

    pub async fn try_send(&self, request: RequestBuilder) -> Option<TestResponse> {
        let request = request.build().expect("a well-formed request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        self.secrets.add_request(&request);
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
        self.secrets.add_response(&response);
        contract::check(&method, &path, &response);
        Some(response)
    }

    pub async fn try_get(&self, path: &str) -> Option<TestResponse> {
        self.try_send(self.request(Method::GET, path)).await
    }

    pub async fn get(&self, path: &str) -> TestResponse {
        self.send(self.request(Method::GET, path)).await
    }

    /// Returns the details of the readiness, from the listener of the metrics.
    pub async fn readiness(&self) -> TestResponse {
        let url = format!("http://{}/health/ready", self.metrics);
        let response = self.client.get(url).send().await;
        let response = response.expect("the server responds");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("a body").to_vec();
        let body = serde_json::from_slice(&bytes).expect("JSON");
        TestResponse {
            status,
            headers,
            body,
            bytes,
        }
    }

    pub async fn post(&self, path: &str, body: Value) -> TestResponse {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    pub async fn form(&self, path: &str, form: &[(&str, &str)]) -> TestResponse {
        self.send(self.request(Method::POST, path).form(form)).await
    }

    /// Sends a request with a bearer token. `Value::Null` sends no body.
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

    /// Registers a user, who is then signed in.
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

    /// Registers a user with an email address, who is then signed in.
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

    /// Registers a user, sets the role `admin` in PostgreSQL, and signs in. The username can be a
    /// reserved one.
    pub async fn admin(&self, username: &str) -> Session {
        let first_name = format!("a-{}", Uuid::now_v7().simple());
        self.sign_up(&first_name).await;
        let promote = format!(
            "update users set role = 'admin', username = '{username}'
             where username = '{first_name}'"
        );
        execute(self, &promote).await;
        self.sign_in(username).await
    }

    pub async fn try_sign_in(&self, username: &str, password: &str) -> TestResponse {
        self.post(
            "/login",
            json!({"username": username, "password": password}),
        )
        .await
    }

    pub async fn sign_in(&self, username: &str) -> Session {
        let response = self.try_sign_in(username, PASSWORD).await;
        assert_eq!(response.status, 200, "{}", response.body);
        Session::of(&response)
    }

    pub async fn refresh(&self, refresh_token: &str) -> TestResponse {
        self.post("/refresh", json!({"refresh_token": refresh_token}))
            .await
    }

    pub async fn sign_out(&self, access_token: &str) -> TestResponse {
        self.with_token(Method::POST, "/logout", access_token, Value::Null)
            .await
    }

    /// Requests an email with a password reset code.
    pub async fn forgot_password(&self, email: &str) -> TestResponse {
        self.post("/password/forgot", json!({"email": email})).await
    }

    /// Resets the password with a one-time code.
    pub async fn reset_password(
        &self,
        email: &str,
        code: &str,
        new_password: &str,
    ) -> TestResponse {
        let body = json!({"email": email, "code": code, "new_password": new_password});
        self.post("/password/reset", body).await
    }

    /// Creates an item of the session's user.
    pub async fn create_item(&self, session: &Session, name: &str) -> TestResponse {
        let body = json!({"name": name});
        self.with_token(Method::POST, "/items", &session.access_token, body)
            .await
    }

    /// Asserts that the server rejects both tokens of a revoked session.
    pub async fn rejects(&self, session: &Session) {
        assert_eq!(
            self.verify(&session.access_token).await,
            (401, "token_revoked".into())
        );
        self.refresh(&session.refresh_token)
            .await
            .is(401, "invalid_refresh_token");
    }

    /// Checks the token at `/auth/verify`; returns the status and, on rejection, the error code.
    pub async fn verify(&self, access_token: &str) -> (u16, String) {
        self.verify_at("/auth/verify", access_token).await
    }

    /// Like [`TestServer::verify`], at a path with required scopes, as OAuth clients need it.
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
        let is_passing = !std::thread::panicking();
        if is_passing && *self.is_reusable.get_mut() {
            self.secrets
                .assert_not_logged(&complete_lines(&process.log));
            let idle = TestServer {
                process: Some(process),
                address: self.address,
                metrics: self.metrics,
                settings: std::mem::take(&mut self.settings),
                client: http_client(),
                is_reusable: AtomicBool::new(false),
                secrets: SentSecrets::default(),
            };
            IDLE_SERVERS
                .lock()
                .expect("the lock isn't poisoned")
                .push(idle);
            return;
        }
        let _ = process.child.kill();
        let _ = process.child.wait();
        if is_passing {
            self.secrets
                .assert_not_logged(&complete_lines(&process.log));
        }
    }
}

/// Returns a client for one test, because connections belong to the runtime that opened them.
fn http_client() -> reqwest::Client {
    reqwest::Client::builder()
        .timeout(RESPONSE_TIMEOUT)
        .build()
        .expect("an HTTP client")
}

/// Returns the settings with these changes.
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

/// Returns the complete lines of a log.
fn complete_lines(log: &File) -> Vec<String> {
    let mut bytes = vec![0; log.metadata().expect("an open file").len() as usize];
    // Not `read`, because it would move the file offset, at which the server writes.
    log.read_exact_at(&mut bytes, 0)
        .expect("a log that isn't truncated");
    let end = bytes.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    str::from_utf8(&bytes[..end])
        .expect("a log in UTF-8")
        .lines()
        .map(str::to_owned)
        .collect()
}

/// Waits for the first two addresses in the log: the address of the API and of the metrics.
fn wait_for_addresses(log: &File, child: &mut Child) -> [SocketAddr; 2] {
    let deadline = Instant::now() + RESPONSE_TIMEOUT;
    loop {
        let events = complete_lines(log)
            .into_iter()
            .filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        let listening = events
            .filter(|event| event["message"] == "listening")
            .take(2);
        let addresses = listening.map(|event| {
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
        let exit_status = child.try_wait().expect("a child process");
        assert!(
            exit_status.is_none() && Instant::now() < deadline,
            "the server doesn't listen, {exit_status:?}: {:?}",
            complete_lines(log)
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A response with its complete body.
#[derive(Debug)]
pub struct TestResponse {
    pub status: u16,
    pub headers: HeaderMap,
    /// The body as JSON, or null.
    pub body: Value,
    pub bytes: Vec<u8>,
}

impl TestResponse {
    /// Returns the error code, or an empty string.
    pub fn code(&self) -> String {
        self.body["code"].as_str().unwrap_or_default().to_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Returns the string value of a field.
    pub fn text(&self, field: &str) -> String {
        self.body[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field} in {}", self.body))
            .to_owned()
    }

    /// Returns the JSON body without `request_id`, which differs in every response.
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

    /// Asserts the status and the error code, which is empty for a success.
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

/// The token pair of a session.
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

    /// Returns the claims of the access token without verifying the signature.
    pub fn claims(&self) -> Value {
        claims(&self.access_token)
    }

    /// Returns a string claim of the access token.
    pub fn claim(&self, name: &str) -> String {
        self.claims()[name]
            .as_str()
            .expect("a string claim")
            .to_owned()
    }

    /// Returns the path of the user in the API for administrators.
    pub fn user_path(&self) -> String {
        format!("/users/{}", self.claim("sub"))
    }
}

/// Returns the claims of a token without verifying the signature.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).expect("three parts");
    let bytes = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice(&bytes).expect("JSON")
}

/// Waits until a condition holds; panics with the description after [`CONDITION_TIMEOUT`].
pub async fn wait_until<F: Future<Output = bool>>(description: &str, condition: impl FnMut() -> F) {
    poll_until(Duration::from_millis(10), description, condition).await;
}

/// Like [`wait_until`], for a condition that costs more than a request.
pub async fn poll_until<F: Future<Output = bool>>(
    interval: Duration,
    description: &str,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + CONDITION_TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < deadline, "not in time: {description}");
        tokio::time::sleep(interval).await;
    }
}
