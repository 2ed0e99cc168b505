//! `latchkey-dev` as the person meets it who tries Latchkey.

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

use super::{Dev, Place, SOON, latchkey_dev, processes::children, programs, psql};

const EMAIL: &str = "john@example.com";
const PASSWORD: &str = "secret123";

/// The stores that several tests give to a run. They end with this process.
static STACK: LazyLock<Stack> = LazyLock::new(|| Stack::temporary().expect("stores can start"));

/// The URL of an empty database.
async fn fresh_database() -> String {
    static NUMBER: AtomicU16 = AtomicU16::new(1);
    let name = format!("test_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let create = move || {
        STACK.postgres.create_database(&name).expect("a new name");
        STACK.postgres.url(&name)
    };
    tokio::task::spawn_blocking(create).await.expect("it ends")
}

/// Waits, bounded, until something is so.
async fn until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let deadline = Instant::now() + SOON;
    while !is_so().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The code in an email: five characters, a hyphen, five characters, on a line of its own.
fn code(email: &str) -> Option<String> {
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
    let answer = reqwest::Client::new()
        .post(url)
        .json(&body)
        .send()
        .await
        .expect("it answers");
    (
        answer.status().as_u16(),
        answer.json().await.unwrap_or_default(),
    )
}

/// Signs John up; his access token.
async fn sign_up(gateway: &str) -> String {
    let john = json!({"username": "john", "email": EMAIL, "password": PASSWORD});
    let (status, body) = post(format!("{gateway}/signup"), john).await;
    assert_eq!(status, 201, "{body}");
    body["access_token"].as_str().expect("a token").to_owned()
}

async fn log_in(gateway: &str, password: &str) -> u16 {
    post(
        format!("{gateway}/login"),
        json!({"username": "john", "password": password}),
    )
    .await
    .0
}

async fn verify(gateway: &str, token: &str) -> u16 {
    let request = reqwest::Client::new()
        .get(format!("{gateway}/auth/verify"))
        .bearer_auth(token);
    request.send().await.expect("it answers").status().as_u16()
}

#[tokio::test]
async fn who_signs_out_on_the_first_replica_is_refused_on_the_second() {
    let folder = Place::new();
    let dev = Dev::ready(folder.path(), &["--replicas", "2"]);
    let [first, second] = dev.gateways().try_into().expect("two gateways");
    assert!(
        dev.output().contains(&format!("{second}/auth/verify")),
        "the lines to paste: {}",
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
    assert_eq!(logout.send().await.expect("it answers").status(), 204);
    assert_eq!(
        (verify(&first, &token).await, verify(&second, &token).await),
        (401, 401)
    );
}

#[tokio::test]
async fn page_with_emails_shows_a_code_that_works() {
    let folder = Place::new();
    let dev = Dev::ready(folder.path(), &[]);
    let gateway = dev.gateways().remove(0);
    let mailbox = dev.banner_values("email").remove(0);
    sign_up(&gateway).await;
    assert_eq!(
        post(
            format!("{gateway}/password/forgot"),
            json!({"email": EMAIL})
        )
        .await
        .0,
        202
    );
    let page = async || {
        let answer = reqwest::get(&mailbox).await.expect("it answers");
        answer.text().await.expect("text")
    };
    until("the mail is shown", || async {
        code(&page().await).is_some()
    })
    .await;
    let shown = page().await;
    assert!(shown.contains(EMAIL), "{shown}");
    let reset = json!({
        "email": EMAIL,
        "code": code(&shown).expect("a code"),
        "new_password": "correct horse 9",
    });
    assert_eq!(
        post(format!("{gateway}/password/reset"), reset).await.0,
        204
    );
    assert_eq!(
        (
            log_in(&gateway, PASSWORD).await,
            log_in(&gateway, "correct horse 9").await
        ),
        (401, 200)
    );
    until("the owner is told", || async {
        page().await.contains("Your password was changed")
    })
    .await;
}

#[tokio::test]
async fn an_account_survives_a_restart() {
    let folder = Place::new();
    let dev = Dev::ready(folder.path(), &[]);
    let token = sign_up(&dev.gateways()[0]).await;
    drop(dev);
    let dev = Dev::ready(folder.path(), &[]);
    let gateway = dev.gateways().remove(0);
    assert_eq!(log_in(&gateway, PASSWORD).await, 200);
    assert_eq!(verify(&gateway, &token).await, 204);
}

/// The database of the first run is changed to look like one of an older development version.
#[tokio::test]
async fn older_data_is_rejected_until_its_folder_is_deleted() {
    let folder = Place::new();
    let dev = Dev::ready(folder.path(), &[]);
    sign_up(&dev.gateways()[0]).await;
    let data = folder.path().join(".latchkey");
    let settings = dotenvy::from_path_iter(data.join(".env")).expect("it is there");
    let mut settings = settings.map(|setting| setting.expect("it is valid"));
    let (_, database) = settings
        .find(|(name, _)| name == "DATABASE_URL")
        .expect("it is set");
    let older = "update refinery_schema_history set name = 'first' where version = 1";
    psql(&database, older);
    drop(dev);
    for arguments in [&[][..], &["--detach"]] {
        let output = latchkey_dev(folder.path(), arguments)
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{text}");
        let lines: Vec<_> = text.lines().collect();
        let [.., sentence, hint] = lines[..] else {
            panic!("not two lines: {text}");
        };
        let real = data.canonicalize().expect("it is there");
        assert!(
            sentence.contains("older development version")
                && sentence.contains(&format!("{} ", real.display()))
                && hint.ends_with("hint: delete this folder and start again"),
            "{text}"
        );
        assert_eq!(
            text.matches("older development version").count(),
            1,
            "{text}"
        );
    }
    let place = fs::read_to_string(data.join("data-is-in"));
    fs::remove_dir_all(&data).expect("it can be deleted");
    sign_up(&Dev::ready(folder.path(), &[]).gateways()[0]).await;
    if let Ok(place) = place {
        let _ = fs::remove_dir_all(place.trim_end());
    }
}

/// Runs with these stores and asserts that no others were started.
async fn uses_the_given_stores(folder: &Path, settings: &[(&str, &str)], database: &str) {
    let dev = Dev::ready_with(folder, &[], settings);
    assert_eq!(
        children(dev.child.id()).len(),
        1,
        "one gateway and no stores"
    );
    assert!(
        !folder.join(".latchkey/postgres").exists()
            && !folder.join(".latchkey/data-is-in").exists()
    );
    sign_up(&dev.gateways()[0]).await;
    let count = "select count(*) from users where username = 'john'";
    assert_eq!(psql(database, count), "1");
}

#[tokio::test]
async fn stores_that_are_set_in_the_environment_are_used_instead() {
    let folder = Place::new();
    let (database, redis) = (fresh_database().await, STACK.redis.url());
    let settings = [
        ("DATABASE_URL", database.as_str()),
        ("REDIS_URL", &redis),
        ("LATCHKEY_REDIS_PREFIX", "dev1"),
    ];
    uses_the_given_stores(folder.path(), &settings, &database).await;
}

#[tokio::test]
async fn stores_that_are_set_in_the_env_file_are_used_instead() {
    let folder = Place::new();
    let (database, redis) = (fresh_database().await, STACK.redis.url());
    let text =
        format!("DATABASE_URL={database}\nREDIS_URL='{redis}'\nLATCHKEY_REDIS_PREFIX=dev2\n");
    fs::write(folder.path().join(".env"), text).expect("it is ours");
    uses_the_given_stores(folder.path(), &[], &database).await;
}

#[tokio::test]
async fn one_store_may_be_given_and_the_other_be_private() {
    let folder = Place::new();
    let database = fresh_database().await;
    let dev = Dev::ready_with(folder.path(), &[], &[("DATABASE_URL", &database)]);
    assert_eq!(children(dev.child.id()).len(), 2, "a Redis and a gateway");
    let token = sign_up(&dev.gateways()[0]).await;
    assert_eq!(verify(&dev.gateways()[0], &token).await, 204);
    assert_eq!(psql(&database, "select count(*) from users"), "1");
}

/// With another mail server, no email reaches the folder.
#[tokio::test]
async fn given_mail_server_replaces_the_page() {
    let folder = Place::new();
    let settings = [("LATCHKEY_SMTP_URL", "smtp://127.0.0.1:9")];
    let dev = Dev::ready_with(folder.path(), &[], &settings);
    assert_eq!(dev.banner_values("email"), [""; 0]);
    let env_file = fs::read_to_string(folder.path().join(".latchkey/.env")).expect("it is there");
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

/// The variables of `latchkey-dev` can stand in the same `.env` as those of the server, which
/// rejects unknown ones.
#[tokio::test]
async fn server_accepts_our_variables_in_the_env_file() {
    let folder = Place::new();
    fs::create_dir(folder.path().join("secrets")).expect("it is ours");
    let secret = folder.path().join("secrets/master");
    fs::write(&secret, random_secret()).expect("it is ours");
    let text = "LATCHKEY_DEV_OTHER=1\nLATCHKEY_SECRET_FILE=secrets/master\n";
    fs::write(folder.path().join(".env"), text).expect("it is ours");
    let dev = Dev::ready(folder.path(), &[]);
    assert_eq!(dev.banner_values("email").len(), 1);
    let env_file = fs::read_to_string(folder.path().join(".latchkey/.env")).expect("it is there");
    let whole = secret.canonicalize().expect("it is there");
    let line = format!("LATCHKEY_SECRET_FILE=\"{}\"\n", whole.display());
    assert!(env_file.contains(&line), "{env_file}");
    assert!(!env_file.contains("LATCHKEY_DEV_"), "{env_file}");
    // The server was started last. Only Linux shows its environment.
    let server = children(dev.child.id()).into_iter().max().expect("it runs");
    if let Ok(environment) = fs::read(format!("/proc/{server}/environ")) {
        let environment = String::from_utf8_lossy(&environment);
        assert!(environment.contains("LATCHKEY_SMTP_URL="), "{environment}");
        assert!(!environment.contains("LATCHKEY_DEV_"), "{environment}");
    }
    let (code, told) = dev_user(folder.path(), &["list"]);
    assert_eq!(code, Some(0), "{told}");
}

/// 32 bytes in hexadecimal.
fn random_secret() -> String {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .expect("the system has it");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `./dev user` beside a copy of `./dev` in this folder.
fn dev_user(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../dev");
    fs::copy(script, folder.join("dev")).expect("it is ours");
    let target = programs().parent().expect("the folder of all builds");
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
        .expect("bash is there");
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[tokio::test]
async fn the_first_administrator_is_one_line() {
    let folder = Place::new();
    let (code, told) = dev_user(folder.path(), &["list"]);
    assert!(code == Some(1) && told.contains("./dev up"), "{told}");
    // Closed sign-up, and a secret of the caller's: the commands know both.
    let given = [
        ("LATCHKEY_SIGNUP", "admin"),
        ("LATCHKEY_EMAIL_FROM", "It's \"me\" <me@example.com>"),
    ];
    let dev = Dev::ready_with(folder.path(), &[], &given);
    let gateway = dev.gateways().remove(0);
    assert!(
        dev.output()
            .contains("./dev user create --username admin --role admin"),
        "{}",
        dev.output()
    );
    assert_eq!(
        post(
            format!("{gateway}/signup"),
            json!({"username": "x", "password": PASSWORD})
        )
        .await
        .0,
        403
    );
    let file = folder.path().join(".latchkey/.env");
    assert_eq!(
        fs::metadata(&file)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777,
        0o600
    );
    let (code, told) = dev_user(
        folder.path(),
        &["create", "--username", "admin", "--role", "admin"],
    );
    assert_eq!(code, Some(0), "{told}");
    let password = told
        .lines()
        .find_map(|line| line.strip_prefix("Password (shown once): "))
        .expect("a password");
    let login = json!({"username": "admin", "password": password});
    assert_eq!(post(format!("{gateway}/login"), login).await.0, 200);
    drop(dev);
    assert!(!file.exists(), "the settings of a run go with it");
}
