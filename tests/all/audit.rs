//! The audit log: each security event is committed together with its change.
//!
//! Only the user and administrators can read the events of a user.

mod admin_events; // changes by administrators and the operator
mod search; // the events of all users

use std::sync::Mutex;

use futures_util::future::join_all;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    mail::MailServer,
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{execute, query_value},
};

const EMAIL: &str = "john@example.com";
const NEW_PASSWORD: &str = "correct horse 9";

/// A server with email, and the number of audit events that are already asserted.
struct Fixture {
    server: TestServer,
    mail_server: MailServer,
    asserted: Mutex<usize>,
}

impl Fixture {
    async fn new() -> Fixture {
        let (server, mail_server) = TestServer::with_mail(&[]).await;
        Fixture {
            server,
            mail_server,
            asserted: Mutex::new(0),
        }
    }

    /// Lists all events in the order of their transactions.
    ///
    /// Failures are counted per minute, so that equal failures can have two rows. They are merged.
    async fn list_events(&self) -> Vec<String> {
        let row = "concat_ws(' ', event, outcome, actor, coalesce(reason, '-'))";
        let aggregate =
            format!("select coalesce(string_agg({row}, ',' order by xmin::text::bigint, id), '')");
        let mut events = query_list(&self.server, &aggregate).await;
        events.dedup_by(|event, previous| event == previous && event.contains(" failure "));
        events
    }

    /// Asserts the events since the previous call. Counted events are written with a delay.
    async fn assert_new_events(&self, expected: &[&str]) {
        let asserted = *self.asserted.lock().expect("one task");
        wait_until(&format!("{expected:?} is recorded"), || async {
            self.list_events().await.len() >= asserted + expected.len()
        })
        .await;
        let events = self.list_events().await;
        assert_eq!(events[asserted..], *expected);
        *self.asserted.lock().expect("one task") = events.len();
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        session: &Session,
        body: Value,
    ) -> TestResponse {
        self.server
            .with_token(method, path, &session.access_token, body)
            .await
    }
}

async fn query_list(server: &TestServer, aggregate: &str) -> Vec<String> {
    let list = query_value(server, &format!("{aggregate} from audit_events")).await;
    list.split(',')
        .filter(|row| !row.is_empty())
        .map(str::to_owned)
        .collect()
}

fn items(response: &TestResponse) -> Vec<Value> {
    response.is(200, "").body["data"]
        .as_array()
        .expect("a list")
        .clone()
}

#[tokio::test]
async fn security_events_are_recorded_once_with_actor_and_ip() {
    let fixture = Fixture::new().await;
    let Fixture {
        server,
        mail_server,
        ..
    } = &fixture;
    let user = server.sign_up_with_email("john", EMAIL).await;
    fixture.assert_new_events(&["sign_up success user -"]).await;
    let second = server.sign_in("john").await;
    fixture.assert_new_events(&["sign_in success user -"]).await;
    fixture
        .call(Method::PATCH, "/user", &user, json!({"name": "John"}))
        .await
        .is(200, "");
    fixture
        .assert_new_events(&["profile_updated success user -"])
        .await;
    server
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    fixture
        .assert_new_events(&["sign_in_failed failure unauthenticated incorrect_password"])
        .await;
    server
        .try_sign_in("unknown", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    fixture
        .assert_new_events(&["sign_in_failed failure unauthenticated unknown_user"])
        .await;
    let change =
        |current| json!({"current_password": current, "new_password": "another secret 456"});
    let wrong = fixture
        .call(
            Method::POST,
            "/user/password",
            &user,
            change("wrong-password"),
        )
        .await;
    wrong.is(403, "incorrect_password");
    fixture
        .assert_new_events(&["password_check_failed failure user -"])
        .await;
    fixture
        .call(Method::POST, "/user/password", &user, change(PASSWORD))
        .await
        .is(204, "");
    fixture
        .assert_new_events(&["password_changed success user -"])
        .await;
    let other = Session::of(
        server
            .try_sign_in("john", "another secret 456")
            .await
            .is(200, ""),
    );
    let device = format!("/sessions/{}", other.claim("sid"));
    for _ in 0..2 {
        fixture
            .call(Method::DELETE, &device, &user, Value::Null)
            .await
            .is(204, "");
    }
    fixture
        .assert_new_events(&[
            "sign_in success user -",
            "session_revoked success user session_revoked",
        ])
        .await;
    // Repeated sign-outs and sessions that are already revoked record no event.
    for session in [&user, &user, &second] {
        server.sign_out(&session.access_token).await.is(204, "");
    }
    fixture
        .assert_new_events(&["sign_out success user -"])
        .await;
    fixture.assert_new_events(&[]).await;

    let sign_in = async || {
        Session::of(
            server
                .try_sign_in("john", "another secret 456")
                .await
                .is(200, ""),
        )
    };
    let third = sign_in().await;
    fixture
        .call(Method::POST, "/logout?scope=others", &third, Value::Null)
        .await
        .is(204, "");
    fixture
        .call(Method::POST, "/logout?scope=all", &third, Value::Null)
        .await
        .is(204, "");
    fixture
        .assert_new_events(&[
            "sign_in success user -",
            "sessions_revoked success user sign_out_others",
            "sessions_revoked success user sign_out_all",
        ])
        .await;
    let first = sign_in().await;
    let next = Session::of(&server.refresh(&first.refresh_token).await);
    server.refresh(&next.refresh_token).await.is(200, "");
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "refresh_token_reused");
    server
        .refresh(&first.refresh_token)
        .await
        .is(401, "invalid_refresh_token");
    fixture
        .assert_new_events(&[
            "sign_in success user -",
            "refresh_token_reused failure unauthenticated -",
        ])
        .await;

    for email in [EMAIL, "unknown@example.com"] {
        server.forgot_password(email).await.is(202, "");
    }
    fixture
        .assert_new_events(&["code_requested success unauthenticated password_reset"; 2])
        .await;
    let code = mail_server.code_for(EMAIL).await;
    for _ in 0..5 {
        fixture
            .server
            .reset_password(EMAIL, "00000-00000", NEW_PASSWORD)
            .await
            .is(400, "invalid_code");
    }
    let attempts = "select coalesce(sum(count), 0) from audit_events \
        where event = 'code_check_failed'";
    wait_until("all attempts are counted", || async {
        query_value(server, attempts).await == "5"
    })
    .await;
    fixture
        .assert_new_events(&["code_check_failed failure unauthenticated password_reset"])
        .await;
    fixture
        .server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(429, "too_many_requests");
    fixture
        .assert_new_events(&["rate_limited failure unauthenticated code"])
        .await;

    execute(server, "update users set disabled = true").await;
    server
        .try_sign_in("john", "another secret 456")
        .await
        .is(401, "invalid_credentials");
    fixture
        .assert_new_events(&["sign_in_failed failure unauthenticated user_disabled"])
        .await;
    execute(server, "update users set disabled = false").await;
    let last = sign_in().await;
    fixture
        .call(Method::DELETE, "/user", &last, Value::Null)
        .await
        .is(204, "");
    fixture
        .call(Method::DELETE, "/user", &last, Value::Null)
        .await
        .is(401, "token_revoked");
    fixture
        .assert_new_events(&["sign_in success user -", "user_deleted success user -"])
        .await;

    let user_id = user.claim("sub");
    let incomplete = "select count(*) from audit_events \
        where (subject_id is null or ip_address is null) and reason <> 'unknown_user'";
    assert_eq!(
        query_value(server, incomplete).await,
        "1",
        "the code request for an unknown address"
    );
    let of_others = format!(
        "select count(*) from audit_events \
         where subject_id <> '{user_id}' or ip_address <> '127.0.0.1'"
    );
    assert_eq!(query_value(server, &of_others).await, "0");
    assert_log_has_each_event(server).await;
    assert_no_credentials(server, &[&user, &second, &third], &code).await;
}

/// Asserts one log line per event. The log is written at once, and the table counts per minute.
async fn assert_log_has_each_event(server: &TestServer) {
    let events = query_value(server, "select sum(count) from audit_events").await;
    wait_until("all events are logged", || async {
        count_lines(server, EVENT).to_string() == events
    })
    .await;
    let log: Vec<Value> = server
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let recorded = query_list(server, "select string_agg(distinct event, ',')").await;
    assert!(recorded.len() >= 12, "{recorded:?}");
    for event in recorded {
        let lines = log.iter().filter(|line| line["event"] == *event).count();
        let count = query_value(
            server,
            &format!("select sum(count) from audit_events where event = '{event}'"),
        )
        .await;
        assert_eq!(lines.to_string(), count, "{event}");
        let line = log
            .iter()
            .find(|line| line["event"] == *event)
            .expect("a line");
        let has_fields = ["outcome", "actor", "ip_address"]
            .iter()
            .all(|field| line[field].is_string());
        assert!(
            has_fields && line["span"]["request_id"].is_string(),
            "{line}"
        );
    }
}

async fn assert_no_credentials(server: &TestServer, sessions: &[&Session], code: &str) {
    let table = query_value(
        server,
        "select string_agg(audit_events::text, ' ') from audit_events",
    )
    .await;
    let tokens = sessions.iter().flat_map(|session| {
        [
            session.access_token.as_str(),
            session.refresh_token.as_str(),
        ]
    });
    for secret in tokens.chain([
        PASSWORD,
        "wrong-password",
        "another secret 456",
        code,
        "lkr_",
        "argon2",
    ]) {
        assert!(!table.contains(secret), "{secret}");
    }
}

#[tokio::test]
async fn email_change_is_recorded_step_by_step() {
    let fixture = Fixture::new().await;
    let user = fixture.server.sign_up_with_email("john", EMAIL).await;
    fixture.assert_new_events(&["sign_up success user -"]).await;
    let request_change = |email, password| {
        fixture.call(
            Method::POST,
            "/user/email",
            &user,
            json!({"email": email, "password": password}),
        )
    };
    request_change(EMAIL, "wrong-password")
        .await
        .is(403, "incorrect_password");
    fixture
        .assert_new_events(&["password_check_failed failure user -"])
        .await;
    let new_email = "john@elsewhere.example.com";
    let confirm = |code: String| {
        fixture.call(
            Method::POST,
            "/user/email/confirm",
            &user,
            json!({"code": code}),
        )
    };
    let mut used_codes = Vec::new();
    for (email, requested, confirmed) in [
        (
            EMAIL,
            "code_requested success user email_confirmation",
            "email_verified success user -",
        ),
        (
            new_email,
            "email_change_requested success user email_confirmation",
            "email_changed success user -",
        ),
    ] {
        request_change(email, PASSWORD).await.is(202, "");
        fixture.assert_new_events(&[requested]).await;
        let code = fixture.mail_server.code_for(email).await;
        confirm(code.clone()).await.is(200, "");
        fixture.assert_new_events(&[confirmed]).await;
        used_codes.push(code);
    }
    // Used and wrong codes change nothing, and one row counts all of them.
    for code in used_codes.into_iter().chain(["00000-00000".to_owned()]) {
        confirm(code).await.is(400, "invalid_code");
    }
    fixture
        .assert_new_events(&["code_check_failed failure unauthenticated email_confirmation"])
        .await;
    let is_own = "select bool_and(session_id is not null and actor_id = subject_id) \
        from audit_events where event <> 'code_check_failed'";
    assert_eq!(query_value(&fixture.server, is_own).await, "true");
}

#[tokio::test]
async fn rejected_sign_ins_are_counted_by_network() {
    let limit = ("LATCHKEY_LIMIT_SIGN_IN", "2/1d");
    let server = TestServer::with(&[
        // The test counts the lines of this level.
        ("LATCHKEY_LOG", "info"),
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8"),
        limit,
    ])
    .await;
    server.sign_up("john").await;
    for number in 1..=6 {
        let sign_in = server
            .request(Method::POST, "/login")
            .json(&json!({"username": "john", "password": "wrong"}));
        let status = if number <= 2 { 401 } else { 429 };
        // All of these addresses belong to one network.
        let response = server
            .send(sign_in.header("x-forwarded-for", format!("2001:db8:1:2::{number}")))
            .await;
        assert_eq!(response.status, status, "{}", response.string());
    }
    let counts = "select coalesce(string_agg(
            concat_ws(' ', event, reason, ip_address, subject_id is null, count),
            ',' order by event), '')
        from (select event, reason, ip_address, subject_id, sum(count) as count
            from audit_events where outcome = 'failure' group by 1, 2, 3, 4) a";
    let expected = "rate_limited sign_in 2001:db8:1:2::/64 t 4,\
        sign_in_failed incorrect_password 2001:db8:1:2::/64 f 2";
    wait_until("all attempts are counted", || async {
        query_value(&server, counts).await == expected
    })
    .await;
    let address = "\"2001:db8:1:2::6\"";
    server.wait_for_log(&[address]).await;
    let lines = count_lines(&server, address);
    assert_eq!(lines, 1, "the log contains the full address");
}

#[tokio::test]
async fn sessions_revoked_by_the_limit_have_actor_server() {
    let fixture = Fixture::new().await;
    fixture.server.sign_up("john").await;
    let insert_sessions = "insert into sessions \
            (id, user_id, generation, client_id, scope, created_at, expires_at) \
        select gen_random_uuid(), id, generation, 'latchkey', '', now(), now() + interval '1 day' \
        from users, generate_series(1, 101)";
    execute(&fixture.server, insert_sessions).await;
    fixture.assert_new_events(&["sign_up success user -"]).await;
    fixture.server.sign_in("john").await;
    let revoked = "session_revoked success server too_many_sessions";
    wait_until("all events are recorded", || async {
        fixture.list_events().await.len() == 5
    })
    .await;
    let events = fixture.list_events().await;
    assert_eq!(
        events.iter().filter(|event| *event == revoked).count(),
        3,
        "{events:?}"
    );
    let with_same_reason = "select count(*) from audit_events a \
        join sessions s on s.id = a.session_id where s.revoked_reason = a.reason";
    assert_eq!(query_value(&fixture.server, with_same_reason).await, "3");
}

/// Each change and its audit event are committed in one transaction.
#[tokio::test]
async fn unrecordable_changes_are_rolled_back() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    let user = server.sign_up_with_email("john", EMAIL).await;
    let code = fixture.mail_server.reset_code(server, EMAIL).await;
    let email = json!({"email": "john@elsewhere.example.com", "password": PASSWORD});
    fixture
        .call(Method::POST, "/user/email", &user, email.clone())
        .await
        .is(202, "");
    let confirmation_code = fixture
        .mail_server
        .code_for("john@elsewhere.example.com")
        .await;
    let confirmation = json!({"code": confirmation_code});
    let state = "select concat(
        (select string_agg(u::text, ';') from users u),
        (select string_agg(s::text, ';') from sessions s),
        (select string_agg(r::text, ';') from revocations r),
        (select count(*) from email_outbox), (select count(consumed_at) from email_outbox),
        (select count(*) from audit_events))";
    wait_until("both emails are sent", || async {
        query_value(server, "select count(sent_at) from email_outbox").await == "2"
    })
    .await;
    let before = query_value(server, state).await;
    let events = query_value(server, "select sum(count) from audit_events").await;
    wait_until("all events are logged", || async {
        count_lines(server, EVENT).to_string() == events
    })
    .await;
    let lines = count_lines(server, EVENT);
    execute(
        server,
        "alter table audit_events add constraint broken check (event = 'none') not valid",
    )
    .await;
    let password = json!({"current_password": PASSWORD, "new_password": NEW_PASSWORD});
    let attempts: Vec<TestResponse> = vec![
        server
            .post("/signup", json!({"username": "jane", "password": PASSWORD}))
            .await,
        server.try_sign_in("john", PASSWORD).await,
        fixture
            .call(Method::PATCH, "/user", &user, json!({"name": "Changed"}))
            .await,
        fixture
            .call(Method::POST, "/user/password", &user, password)
            .await,
        fixture
            .call(Method::POST, "/user/email", &user, email)
            .await,
        fixture
            .call(Method::POST, "/user/email/confirm", &user, confirmation)
            .await,
        server.forgot_password(EMAIL).await,
        fixture
            .server
            .reset_password(EMAIL, &code, NEW_PASSWORD)
            .await,
        server.sign_out(&user.access_token).await,
        fixture
            .call(Method::POST, "/logout?scope=others", &user, Value::Null)
            .await,
        fixture
            .call(Method::POST, "/logout?scope=all", &user, Value::Null)
            .await,
        fixture
            .call(Method::DELETE, "/user", &user, Value::Null)
            .await,
    ];
    for response in &attempts {
        response.is(500, "internal");
    }
    assert_eq!(query_value(server, state).await, before);
    // The log is written in order, and the failure of a request comes last.
    wait_until("all failures are logged", || async {
        count_lines(server, "request failed") == attempts.len()
    })
    .await;
    assert_eq!(
        count_lines(server, EVENT),
        lines,
        "changes that are rolled back are not logged"
    );
    assert_eq!(server.verify(&user.access_token).await.0, 204);
    // Counted events stay in memory until they can be written.
    server
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server.wait_for_log(&["writing denied events failed"]).await;
    execute(server, "alter table audit_events drop constraint broken").await;
    let count = "select coalesce(sum(count), 0) from audit_events where event = 'sign_in_failed'";
    wait_until("the failed sign-in is recorded", || async {
        query_value(server, count).await == "1"
    })
    .await;
    fixture
        .server
        .reset_password(EMAIL, &code, NEW_PASSWORD)
        .await
        .is(204, "");
}

/// The part of a log line of each event.
const EVENT: &str = "\"event\":";

/// Counts the log lines that contain this text.
fn count_lines(server: &TestServer, part: &str) -> usize {
    let lines = server.log();
    lines.iter().filter(|line| line.contains(part)).count()
}

#[tokio::test]
async fn rejected_changes_record_no_event() {
    let fixture = Fixture::new().await;
    let user = fixture.server.sign_up("john").await;
    fixture.server.sign_up("jane").await;
    fixture
        .assert_new_events(&["sign_up success user -"; 2])
        .await;
    let taken = fixture
        .server
        .post("/signup", json!({"username": "JOHN", "password": PASSWORD}))
        .await;
    taken.is(409, "username_taken");
    fixture
        .call(Method::PATCH, "/user", &user, json!({"username": "jane"}))
        .await
        .is(409, "username_taken");
    fixture
        .call(Method::PATCH, "/user", &user, json!({"username": null}))
        .await
        .is(400, "invalid_request");
    fixture
        .server
        .refresh("garbage")
        .await
        .is(401, "invalid_refresh_token");
    fixture.server.sign_in("john").await;
    fixture.assert_new_events(&["sign_in success user -"]).await;
}

#[tokio::test]
async fn failed_sign_ins_are_counted_exactly_on_two_replicas() {
    let server = TestServer::start().await;
    let mut replica = server.replica().await;
    server.sign_up("john").await;
    let attempts = (0..24).map(|number| {
        let name = if number % 3 == 0 { "unknown" } else { "john" };
        if number % 2 == 0 { &server } else { &replica }.try_sign_in(name, "wrong-password")
    });
    for response in join_all(attempts).await {
        response.is(401, "invalid_credentials");
    }
    let counts = "select concat_ws(' ',
            sum(count) filter (where subject_id is not null),
            sum(count) filter (where subject_id is null))
        from audit_events where event = 'sign_in_failed'";
    wait_until("all attempts are recorded", || async {
        query_value(&server, counts).await == "16 8"
    })
    .await;
    // A replica that stops writes its pending counts.
    replica
        .try_sign_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    assert_eq!(replica.stop(), Some(0));
    assert_eq!(query_value(&server, counts).await, "17 8");
    let duplicates = "select count(*) - count(distinct (subject_id is null, at)) from audit_events \
        where event = 'sign_in_failed'";
    assert_eq!(
        query_value(&server, duplicates).await,
        "0",
        "one row per user and minute"
    );
    assert_eq!(
        query_value(
            &server,
            "select bool_and(at = date_trunc('minute', at)) from audit_events where count > 1"
        )
        .await,
        "true"
    );
}

#[tokio::test]
async fn audit_pages_are_sorted_from_newest_to_oldest() {
    let server = TestServer::start().await;
    let user = server.sign_up("john").await;
    for name in ["a", "b", "c", "d"] {
        server
            .with_token(
                Method::PATCH,
                "/user",
                &user.access_token,
                json!({"name": name}),
            )
            .await
            .is(200, "");
    }
    let get = |path: String| {
        server.with_token(
            Method::GET,
            Box::leak(path.into_boxed_str()),
            &user.access_token,
            Value::Null,
        )
    };
    let all_events = items(&get("/user/audit".into()).await);
    let kinds: Vec<_> = all_events
        .iter()
        .map(|item| item["event"].as_str().expect("an event name"))
        .collect();
    assert_eq!(
        kinds,
        [
            "profile_updated",
            "profile_updated",
            "profile_updated",
            "profile_updated",
            "sign_up"
        ]
    );
    assert!(
        all_events
            .windows(2)
            .all(|pair| pair[0]["id"].as_str() > pair[1]["id"].as_str())
    );
    let mut pages = Vec::new();
    let mut path = "/user/audit?limit=2".to_owned();
    loop {
        let page = get(path).await;
        pages.push(items(&page));
        let Some(next) = page.body["next"].as_str() else {
            break;
        };
        path = format!("/user/audit?limit=2&after={next}");
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
    assert_eq!(pages.concat(), all_events);
    for query in ["limit=0", "limit=101", "after=x", "limit=1&limit=2"] {
        get(format!("/user/audit?{query}"))
            .await
            .is(400, "invalid_request");
    }
}

#[tokio::test]
async fn audit_event_contains_actor_and_client() {
    let server = TestServer::start().await;
    let sign_up = server
        .request(Method::POST, "/signup")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let user = Session::of(
        &server
            .send(sign_up.header(
                header::USER_AGENT,
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Fire\tfox/128.0",
            ))
            .await,
    );
    let response = server
        .with_token(Method::GET, "/user/audit", &user.access_token, Value::Null)
        .await;
    let (item, claims) = (&items(&response)[0], user.claims());
    let expected = json!({
        "id": item["id"],
        "at": item["at"],
        "event": "sign_up",
        "outcome": "success",
        "subject_id": claims["sub"],
        "actor": "user",
        "actor_id": claims["sub"],
        "session_id": claims["sid"],
        "ip_address": "127.0.0.1",
        "user_agent": "Firefox on Linux",
        "reason": null,
        "count": 1,
    });
    assert_eq!(*item, expected);
    assert!(
        item["at"].as_str().is_some_and(|at| at.ends_with('Z')),
        "{item}"
    );
}

#[tokio::test]
async fn users_cannot_read_events_of_other_users() {
    let server = TestServer::start().await;
    let (user, other_user) = (server.sign_up("john").await, server.sign_up("jane").await);
    let get = async |session: &Session, path: &str| {
        server
            .with_token(Method::GET, path, &session.access_token, Value::Null)
            .await
    };
    let cursor = get(&user, "/user/audit").await.body["data"][0]["id"]
        .as_str()
        .map(str::to_owned)
        .expect("an ID");
    let own_events = items(&get(&other_user, "/user/audit").await);
    assert_eq!(
        (own_events.len(), &own_events[0]["actor_id"]),
        (1, &other_user.claims()["sub"])
    );
    assert!(!cursor.is_empty());
    for user_id in [user.claim("sub"), other_user.claim("sub")] {
        get(&other_user, &format!("/users/{user_id}/audit"))
            .await
            .is(403, "forbidden");
    }
    server
        .get(&format!("/users/{}/audit", user.claim("sub")))
        .await
        .is(401, "unauthenticated");

    execute(
        &server,
        "update users set role = 'admin' where username = 'jane'",
    )
    .await;
    let admin = server.sign_in("jane").await;
    let insert_event = |actor: &str, actor_id: &str| {
        format!(
            "insert into audit_events (id, at, event, outcome, subject_id, actor_id, actor,
                ip_address, user_agent)
             values (gen_random_uuid(), now(), 'user_disabled', 'success', '{}', {actor_id},
                '{actor}', '192.0.2.99', 'admin''s own')",
            user.claim("sub")
        )
    };
    for (actor, actor_id) in [
        ("admin", format!("'{}'", other_user.claim("sub"))),
        ("operator", "null".to_owned()),
    ] {
        execute(
            &server,
            "delete from audit_events where event = 'user_disabled'",
        )
        .await;
        execute(&server, &insert_event(actor, &actor_id)).await;
        let find = |response: TestResponse| {
            items(&response)
                .into_iter()
                .find(|item| item["event"] == "user_disabled")
                .expect("the event is listed")
        };
        let event = find(get(&user, "/user/audit").await);
        assert_eq!(event["actor"], actor);
        for hidden in ["actor_id", "ip_address", "user_agent"] {
            assert_eq!(event[hidden], Value::Null, "{hidden}");
        }
        let full_event = find(get(&admin, &format!("/users/{}/audit", user.claim("sub"))).await);
        assert_eq!(
            (&full_event["ip_address"], &full_event["user_agent"]),
            (&json!("192.0.2.99"), &json!("admin's own"))
        );
    }
    get(&admin, "/users/018f0000-0000-7000-8000-000000000000/audit")
        .await
        .is(404, "not_found");
    get(&admin, "/users/garbage/audit")
        .await
        .is(404, "not_found");
    server
        .with_token(Method::DELETE, "/user", &user.access_token, Value::Null)
        .await
        .is(204, "");
    let events = items(&get(&admin, &format!("/users/{}/audit", user.claim("sub"))).await);
    assert!(
        events.iter().any(|item| item["event"] == "user_deleted"),
        "{events:?}"
    );
}
