//! Tests of `latchkey-dev` from the view of a new user, with requests to the started servers.

use std::{
    env,
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use latchkey_dev::Stack;

use super::{
    DevProcess, TestFolder, WAIT_TIMEOUT, latchkey_dev, processes::children, program_folder, psql,
};

const EMAIL: &str = "john@example.com";
const PASSWORD: &str = "secret123";

/// Stores that several tests share. They stop when this process exits.
static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::temporary().expect("the stores start"));

/// Creates an empty database, and returns its URL.
async fn create_empty_database() -> String {
    static NUMBER: AtomicU16 = AtomicU16::new(1);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let create = move || {
        STACK.postgres.create_database(&name).expect("a new name");
        STACK.postgres.url(&name)
    };
    tokio::task::spawn_blocking(create)
        .await
        .expect("the task doesn't panic")
}

/// Waits until the asynchronous condition is true, and panics after the timeout.
async fn eventually_async<F: Future<Output = bool>>(
    description: &str,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + WAIT_TIMEOUT;
    while !condition().await {
        assert!(Instant::now() < deadline, "timeout: {description}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Finds the code in an email: a line with five characters, a hyphen, and five characters.
fn find_code(email: &str) -> Option<String> {
    let is_code = |line: &&str| {
        line.len() == 11
            && line.as_bytes()[5] == b'-'
            && line
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'-')
    };
    email
        .lines()
        .map(str::trim)
        .find(is_code)
        .map(str::to_owned)
}

async fn post(url: String, body: Value) -> (u16, Value) {
    let response = reqwest::Client::new()
        .post(url)
        .json(&body)
        .send()
        .await
        .expect("the server responds");
    (
        response.status().as_u16(),
        response.json().await.unwrap_or_default(),
    )
}

/// Registers John, and returns his access token.
pub(super) async fn sign_up(server: &str) -> String {
    let john = json!({"username": "john", "email": EMAIL, "password": PASSWORD});
    let (status, body) = post(format!("{server}/signup"), john).await;
    assert_eq!(status, 201, "{body}");
    body["access_token"].as_str().expect("a token").to_owned()
}

pub(super) async fn sign_in(server: &str, password: &str) -> u16 {
    post(
        format!("{server}/login"),
        json!({"username": "john", "password": password}),
    )
    .await
    .0
}

pub(super) async fn verify(server: &str, token: &str) -> u16 {
    let request = reqwest::Client::new()
        .get(format!("{server}/auth/verify"))
        .bearer_auth(token);
    request
        .send()
        .await
        .expect("the server responds")
        .status()
        .as_u16()
}

#[tokio::test]
async fn sign_out_on_first_replica_is_enforced_on_second() {
    let folder = TestFolder::new();
    let dev = DevProcess::start_ready(folder.path(), &["--replicas", "2"]);
    let [first, second] = dev.servers().try_into().expect("two servers");
    assert!(
        dev.output().contains(&format!("{second}/auth/verify")),
        "the example commands: {}",
        dev.output()
    );
    let token = sign_up(&first).await;
    assert_eq!(
        (verify(&first, &token).await, verify(&second, &token).await),
        (204, 204)
    );
    let logout = reqwest::Client::new()
        .post(format!("{first}/logout"))
        .bearer_auth(&token);
    assert_eq!(
        logout.send().await.expect("the server responds").status(),
        204
    );
    assert_eq!(
        (verify(&first, &token).await, verify(&second, &token).await),
        (401, 401)
    );
}

#[tokio::test]
async fn mailbox_page_shows_valid_reset_code() {
    let folder = TestFolder::new();
    let dev = DevProcess::start_ready(folder.path(), &[]);
    let server = dev.servers().remove(0);
    let mailbox = dev.banner_values("email").remove(0);
    sign_up(&server).await;
    assert_eq!(
        post(format!("{server}/password/forgot"), json!({"email": EMAIL}))
            .await
            .0,
        202
    );
    let page = async || {
        let response = reqwest::get(&mailbox).await.expect("the server responds");
        response.text().await.expect("text")
    };
    eventually_async("the email is shown", || async {
        find_code(&page().await).is_some()
    })
    .await;
    let html = page().await;
    assert!(html.contains(EMAIL), "{html}");
    let reset = json!({
        "email": EMAIL,
        "code": find_code(&html).expect("a code"),
        "new_password": "correct horse 9",
    });
    assert_eq!(post(format!("{server}/password/reset"), reset).await.0, 204);
    assert_eq!(
        (
            sign_in(&server, PASSWORD).await,
            sign_in(&server, "correct horse 9").await
        ),
        (401, 200)
    );
    eventually_async("the user is notified", || async {
        page().await.contains("Your password was changed")
    })
    .await;
}

#[tokio::test]
async fn user_and_token_survive_restart() {
    let folder = TestFolder::new();
    let dev = DevProcess::start_ready(folder.path(), &[]);
    let token = sign_up(&dev.servers()[0]).await;
    drop(dev);
    let dev = DevProcess::start_ready(folder.path(), &[]);
    let server = dev.servers().remove(0);
    assert_eq!(sign_in(&server, PASSWORD).await, 200);
    assert_eq!(verify(&server, &token).await, 204);
}

/// The test changes the migration history so that it matches an older development version.
#[tokio::test]
async fn older_data_is_rejected_until_its_folder_is_deleted() {
    let folder = TestFolder::new();
    let dev = DevProcess::start_ready(folder.path(), &[]);
    sign_up(&dev.servers()[0]).await;
    let data = folder.path().join(".latchkey");
    let settings = dotenvy::from_path_iter(data.join(".env")).expect("the settings file");
    let mut settings = settings.map(|setting| setting.expect("a valid setting"));
    let (_, database) = settings
        .find(|(name, _)| name == "DATABASE_URL")
        .expect("`DATABASE_URL`");
    let older_history = "update refinery_schema_history set name = 'first' where version = 1";
    psql(&database, older_history);
    drop(dev);
    for arguments in [&[][..], &["--detach"]] {
        let output = latchkey_dev(folder.path(), arguments)
            .output()
            .expect("`latchkey-dev` runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let lines: Vec<_> = text.lines().collect();
        let [.., error, hint] = lines[..] else {
            panic!("not two lines: {text}");
        };
        let real_path = data.canonicalize().expect("the data folder");
        assert!(
            error.contains("older development version")
                && error.contains(&format!("{} ", real_path.display()))
                && hint.ends_with("hint: delete this folder and start again"),
            "{text}"
        );
        assert_eq!(
            text.matches("older development version").count(),
            1,
            "{text}"
        );
    }
    let location = fs::read_to_string(data.join("data-is-in"));
    fs::remove_dir_all(&data).expect("the folder is deleted");
    sign_up(&DevProcess::start_ready(folder.path(), &[]).servers()[0]).await;
    if let Ok(location) = location {
        let _ = fs::remove_dir_all(location.trim_end());
    }
}

/// Asserts that a run with these stores uses them, and starts no private stores.
async fn assert_uses_given_stores(folder: &Path, settings: &[(&str, &str)], database: &str) {
    let dev = DevProcess::start_ready_with(folder, &[], settings);
    assert_eq!(
        children(dev.child.id()).len(),
        1,
        "one server and no stores"
    );
    assert!(
        !folder.join(".latchkey/postgres").exists()
            && !folder.join(".latchkey/data-is-in").exists()
    );
    sign_up(&dev.servers()[0]).await;
    let count = "select count(*) from users where username = 'john'";
    assert_eq!(psql(database, count), "1");
}

#[tokio::test]
async fn stores_in_environment_replace_private_stores() {
    let folder = TestFolder::new();
    let (database, redis) = (create_empty_database().await, STACK.redis.url());
    let settings = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", &redis),
        ("LATCHKEY_REDIS_PREFIX", "dev1"),
    ];
    assert_uses_given_stores(folder.path(), &settings, &database).await;
}

#[tokio::test]
async fn stores_in_env_file_replace_private_stores() {
    let folder = TestFolder::new();
    let (database, redis) = (create_empty_database().await, STACK.redis.url());
    let text =
        format!("DATABASE_URL={database}\nREDIS_URL='{redis}'\nLATCHKEY_REDIS_PREFIX=dev2\n");
    fs::write(folder.path().join(".env"), text).expect("the file is written");
    assert_uses_given_stores(folder.path(), &[], &database).await;
}

#[tokio::test]
async fn given_database_is_combined_with_private_redis() {
    let folder = TestFolder::new();
    let database = create_empty_database().await;
    let dev = DevProcess::start_ready_with(folder.path(), &[], &[("DATABASE_URL", &database)]);
    assert_eq!(children(dev.child.id()).len(), 2, "a Redis and a server");
    let token = sign_up(&dev.servers()[0]).await;
    assert_eq!(verify(&dev.servers()[0], &token).await, 204);
    assert_eq!(psql(&database, "select count(*) from users"), "1");
}

/// A given mail server disables the page, because then the folder receives no emails.
#[tokio::test]
async fn given_mail_server_disables_mailbox_page() {
    let folder = TestFolder::new();
    let settings = [("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:9")];
    let dev = DevProcess::start_ready_with(folder.path(), &[], &settings);
    assert_eq!(dev.banner_values("email"), [""; 0]);
    let env_file =
        fs::read_to_string(folder.path().join(".latchkey/.env")).expect("the settings file");
    assert_eq!(
        env_file.matches("LATCHKEY_SMTP_URL=").count(),
        1,
        "{env_file}"
    );
    assert!(
        !env_file.contains("file:") && !env_file.contains("LATCHKEY_DEV_"),
        "{env_file}"
    );
}

/// One `.env` can contain the variables of `latchkey-dev` and of the server. The server rejects
/// unknown variables, so it must not receive those of `latchkey-dev`.
#[tokio::test]
async fn env_file_with_dev_variables_is_accepted() {
    let folder = TestFolder::new();
    fs::create_dir(folder.path().join("secrets")).expect("the folder is created");
    let secret = folder.path().join("secrets/master");
    fs::write(&secret, generate_secret()).expect("the file is written");
    let text = "LATCHKEY_DEV_OTHER=1\nLATCHKEY_SECRET_FILE=secrets/master\n";
    fs::write(folder.path().join(".env"), text).expect("the file is written");
    let dev = DevProcess::start_ready(folder.path(), &[]);
    assert_eq!(dev.banner_values("email").len(), 1);
    let env_file =
        fs::read_to_string(folder.path().join(".latchkey/.env")).expect("the settings file");
    let absolute_path = secret.canonicalize().expect("the secret file");
    let line = format!("LATCHKEY_SECRET_FILE=\"{}\"\n", absolute_path.display());
    assert!(env_file.contains(&line), "{env_file}");
    assert!(!env_file.contains("LATCHKEY_DEV_"), "{env_file}");
    // The last started child is the server. Only Linux exposes the environment of a process.
    let server = children(dev.child.id())
        .into_iter()
        .max()
        .expect("a server");
    if let Ok(environment) = fs::read(format!("/proc/{server}/environ")) {
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("LATCHKEY_SMTP_URL="), "{environment}");
        assert!(!environment.contains("LATCHKEY_DEV_"), "{environment}");
    }
    let (code, output) = run_dev_user(folder.path(), &["list"]);
    assert_eq!(code, Some(0), "{output}");
}

/// Generates a secret of 32 bytes in hexadecimal.
pub(super) fn generate_secret() -> String {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("random bytes");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Runs `./dev user` with a copy of the script `./dev` in this folder.
fn run_dev_user(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev");
    fs::copy(script, folder.join("dev")).expect("the script is copied");
    let target = program_folder().parent().expect("the target folder");
    let mut command = Command::new("bash");
    command
        .arg(folder.join("dev"))
        .arg("user")
        .args(arguments)
        .env_clear()
        .env("CARGO_TARGET_DIR", target);
    let output = command
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .output()
        .expect("`bash` runs");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test]
async fn banner_command_creates_first_administrator() {
    let folder = TestFolder::new();
    let (code, output) = run_dev_user(folder.path(), &["list"]);
    assert!(code == Some(1) && output.contains("./dev up"), "{output}");
    // The commands must read the settings of the run, including values with quotes.
    let given = [
        ("LATCHKEY_SIGNUP", "admin"),
        ("LATCHKEY_EMAIL_FROM", "It's \"me\" <me@example.com>"),
    ];
    let dev = DevProcess::start_ready_with(folder.path(), &[], &given);
    let server = dev.servers().remove(0);
    assert!(
        dev.output()
            .contains("./dev user create --username admin --role admin"),
        "{}",
        dev.output()
    );
    assert_eq!(
        post(
            format!("{server}/signup"),
            json!({"username": "x", "password": PASSWORD})
        )
        .await
        .0,
        403
    );
    let file = folder.path().join(".latchkey/.env");
    assert_eq!(
        fs::metadata(&file)
            .expect("the settings file")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let (code, output) = run_dev_user(
        folder.path(),
        &["create", "--username", "admin", "--role", "admin"],
    );
    assert_eq!(code, Some(0), "{output}");
    let password = output
        .lines()
        .find_map(|line| line.strip_prefix("Password (shown once): "))
        .expect("a password");
    let login = json!({"username": "admin", "password": password});
    assert_eq!(post(format!("{server}/login"), login).await.0, 200);
    drop(dev);
    assert!(!file.exists(), "the settings file is removed");
}
