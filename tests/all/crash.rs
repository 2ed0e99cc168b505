//! Kill -9 in the middle of a flood: what was answered with 2xx is there afterwards, and what was
//! promised arrives.

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
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{ask, connect, execute},
};

/// At most; the gateway dies long before the last of them.
const ACCOUNTS: usize = 400;

/// That many at a time.
const CLIENTS: usize = 8;

/// What the gateway has answered with 2xx.
#[derive(Default)]
struct Promised {
    accounts: Vec<String>,
    /// Owner, path, name.
    items: Vec<(String, String, String)>,
    /// Whom a mail was promised.
    mails: Vec<String>,
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

/// One account after the other, each with items and a forgotten password, until nobody answers.
async fn flood(server: &TestServer, numbers: &AtomicUsize, promised: &Mutex<Promised>) {
    let note = |note: &dyn Fn(&mut Promised)| {
        note(&mut promised.lock().expect("nobody panics while it is held"))
    };
    loop {
        let number = numbers.fetch_add(1, Ordering::Relaxed);
        let (name, email) = (format!("user{number}"), format!("user{number}@example.com"));
        let account = json!({"username": name, "email": email, "password": PASSWORD});
        if number >= ACCOUNTS {
            return;
        }
        let Some(response) = post(server, "/signup", None, account).await else {
            return;
        };
        note(&|promised| promised.accounts.push(name.clone()));
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
            note(&|promised| {
                promised.items.push((
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
        note(&|promised| promised.mails.push(email.clone()));
    }
}

/// Floods, and kills in the middle of it.
async fn flood_and_kill(server: &TestServer, numbers: &AtomicUsize, promised: &Mutex<Promised>) {
    let before = promised
        .lock()
        .expect("nobody panics while it is held")
        .mails
        .len();
    let killer = async {
        let enough = || {
            promised
                .lock()
                .expect("nobody panics while it is held")
                .mails
                .len()
                >= before + 2 * CLIENTS
        };
        until("the flood runs", || async { enough() }).await;
        let pid = Pid::from_raw(i32::try_from(server.pid()).expect("a pid")).expect("a pid");
        kill_process(pid, Signal::KILL).expect("it is ours");
    };
    let clients = join_all((0..CLIENTS).map(|_| flood(server, numbers, promised)));
    tokio::join!(clients, killer);
    assert!(
        numbers.load(Ordering::Relaxed) < ACCOUNTS,
        "it was killed in the middle"
    );
}

async fn everything_is_there(server: &TestServer, promised: &Promised) {
    for name in &promised.accounts {
        let session = server.sign_in(name).await;
        for (_, path, text) in promised.items.iter().filter(|(owner, ..)| owner == name) {
            let item = server
                .with_token(Method::GET, path, &session.access_token, Value::Null)
                .await;
            assert_eq!(item.is(200, "").text("name"), *text);
        }
    }
    let database = connect(server.setting("DATABASE_URL")).await;
    let halves = "select count(*) from users \
        where not exists (select from sessions where user_id = users.id)";
    let halves = database
        .query_one(halves, &[])
        .await
        .expect("a count")
        .get::<_, i64>(0);
    assert_eq!(
        halves, 0,
        "an account and its first session are there, or neither"
    );
}

#[tokio::test]
async fn what_was_answered_survives_kill_9() {
    let mut mails = MailServer::start().await;
    let url = mails.url();
    // Nothing can be sent before the kill: it is promised only.
    mails.stop();
    let (numbers, promised) = (
        AtomicUsize::new(0),
        Arc::new(Mutex::new(Promised::default())),
    );
    let first = TestServer::with(&[("LATCHKEY_SMTP_URL", &url)]).await;
    flood_and_kill(&first, &numbers, &promised).await;
    let second = first.replica().await;
    flood_and_kill(&second, &numbers, &promised).await;
    let last = second.replica().await;
    let promised = std::mem::take(&mut *promised.lock().expect("nobody panics while it is held"));
    let (accounts, items, letters) = (
        promised.accounts.len(),
        promised.items.len(),
        promised.mails.len(),
    );
    println!("promised before the kills: {accounts} accounts, {items} items, {letters} mails");
    everything_is_there(&last, &promised).await;
    mails.start_again();
    // Of a mail that was claimed when the gateway died nobody knows whether it was sent: it is due
    // again, but not at once.
    let due = "select coalesce(max(next_attempt_at) <= now() + interval '1 hour', true) \
        from email_outbox where sent_at is null";
    assert_eq!(ask(&last, due).await, "true");
    execute(
        &last,
        "update email_outbox set next_attempt_at = now() where sent_at is null",
    )
    .await;
    for email in &promised.mails {
        let mail = mails.wait_for(email, 1).await;
        assert!(mail.iter().any(|mail| code(mail).is_some()), "{mail:?}");
    }
    let email = promised.mails.last().expect("some were promised");
    let code = mails.code_for(email).await;
    last.reset_password(email, &code, "correct horse 9")
        .await
        .is(204, "");
}
