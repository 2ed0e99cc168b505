//! Tests of crash safety: SIGKILL under load must not lose acknowledged writes.
//!
//! Every write with a 2xx response exists after the restart, and every accepted email is delivered.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use reqwest::Method;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code},
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{connect, execute, query_value},
};

/// Upper bound of the load. The test kills the server long before the clients reach it.
const MAX_USERS: usize = 400;

/// Clients that send requests concurrently.
const CLIENTS: usize = 8;

/// The writes that the server acknowledged with a 2xx response.
#[derive(Default)]
struct AcknowledgedWrites {
    usernames: Vec<String>,
    /// Owner, path, and name of each item.
    items: Vec<(String, String, String)>,
    /// Recipients of accepted emails.
    recipients: Vec<String>,
}

async fn post(
    server: &TestServer,
    path: &str,
    token: Option<&str>,
    body: Value,
) -> Option<TestResponse> {
    let request = server.request(Method::POST, path).json(&body);
    let request = if let Some(token) = token {
        request.bearer_auth(token)
    } else {
        request
    };
    server
        .try_send(request)
        .await
        .filter(|response| (200..300).contains(&response.status))
}

/// Registers users, each with items and a password reset, until the server stops responding.
async fn generate_load(
    server: &TestServer,
    numbers: &AtomicUsize,
    writes: &Mutex<AcknowledgedWrites>,
) {
    let acknowledge = |add: &dyn Fn(&mut AcknowledgedWrites)| {
        add(&mut writes.lock().expect("the lock isn't poisoned"))
    };
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let (name, email) = (format!("user{number}"), format!("user{number}@example.com"));
        let user = json!({"username": name, "email": email, "password": PASSWORD});
        if number >= MAX_USERS {
            return;
        }
        let Some(response) = post(server, "/signup", None, user).await else {
            return;
        };
        acknowledge(&|writes| writes.usernames.push(name.clone()));
        let session = Session::of(&response);
        for item in 0..3 {
            let text = format!("item {item} of {name}");
            let item = post(
                server,
                "/items",
                Some(&session.access_token),
                json!({"name": text}),
            )
            .await;
            let Some(item) = item else { return };
            acknowledge(&|writes| {
                writes.items.push((
                    name.clone(),
                    item.header("location").to_owned(),
                    text.clone(),
                ))
            });
        }
        if post(server, "/password/forgot", None, json!({"email": email}))
            .await
            .is_none()
        {
            return;
        }
        acknowledge(&|writes| writes.recipients.push(email.clone()));
    }
}

/// Kills the server with SIGKILL while clients send requests.
async fn kill_under_load(
    server: &TestServer,
    numbers: &AtomicUsize,
    writes: &Mutex<AcknowledgedWrites>,
) {
    let recipients = || {
        writes
            .lock()
            .expect("the lock isn't poisoned")
            .recipients
            .len()
    };
    let before = recipients();
    let kill = async {
        wait_until("the clients send requests", || async {
            recipients() >= before + 2 * CLIENTS
        })
        .await;
        let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a process ID"))
            .expect("a process ID");
        kill_process(pid, Signal::KILL).expect("a child process");
    };
    let clients = join_all((0..CLIENTS).map(|_| generate_load(server, numbers, writes)));
    tokio::join!(clients, kill);
    assert!(
        numbers.load(Ordering::Relaxed) < MAX_USERS,
        "the server was killed under load"
    );
}

async fn assert_writes_exist(server: &TestServer, writes: &AcknowledgedWrites) {
    for name in &writes.usernames {
        let session = server.sign_in(name).await;
        for (_, path, text) in writes.items.iter().filter(|(owner, ..)| owner == name) {
            let item = server
                .with_token(Method::GET, path, &session.access_token, Value::Null)
                .await;
            assert_eq!(item.is(200, "").text("name"), *text);
        }
    }
    let database = connect(server.setting("DATABASE_URL")).await;
    let users_without_session = "select count(*) from users \
        where not exists (select from sessions where user_id = users.id)";
    let users_without_session = database
        .query_one(users_without_session, &[])
        .await
        .expect("a count")
        .get::<_, i64>(0);
    assert_eq!(
        users_without_session, 0,
        "a user and the first session are created in one transaction"
    );
}

#[tokio::test]
async fn acknowledged_writes_survive_sigkill() {
    let mut mail_server = MailServer::start().await;
    let url = mail_server.url();
    // The SMTP server is down, so that the emails stay in the outbox until after the kills.
    mail_server.stop();
    let (numbers, writes) = (
        AtomicUsize::new(0),
        Arc::new(Mutex::new(AcknowledgedWrites::default())),
    );
    let first = TestServer::with(&[("LATCHKEY_SMTP_URL", &url)]).await;
    kill_under_load(&first, &numbers, &writes).await;
    let second = first.replica().await;
    kill_under_load(&second, &numbers, &writes).await;
    let last = second.replica().await;
    let writes = std::mem::take(&mut *writes.lock().expect("the lock isn't poisoned"));
    let (users, items, emails) = (
        writes.usernames.len(),
        writes.items.len(),
        writes.recipients.len(),
    );
    println!("acknowledged before the kills: {users} users, {items} items, {emails} emails");
    assert_writes_exist(&last, &writes).await;
    mail_server.restart();
    // The killed server might have sent an email that it had claimed, so the email is due only
    // after a delay.
    let due = "select coalesce(max(next_attempt_at) <= now() + interval '1 hour', true) \
        from email_outbox where sent_at is null";
    assert_eq!(query_value(&last, due).await, "true");
    execute(
        &last,
        "update email_outbox set next_attempt_at = now() where sent_at is null",
    )
    .await;
    for email in &writes.recipients {
        let messages = mail_server.wait_for(email, 1).await;
        assert!(
            messages.iter().any(|message| code(message).is_some()),
            "{messages:?}"
        );
    }
    let email = writes.recipients.last().expect("an accepted email");
    let code = mail_server.code_for(email).await;
    last.reset_password(email, &code, "correct horse 9")
        .await
        .is(204, "");
}
