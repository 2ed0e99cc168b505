//! What is remembered of what happened: every security event, with its change or not at all, and
//! shown to its owner and to administrators only.

mod admin_events; // administrators and the operator

use std::sync::Mutex;

use futures_util::future::join_all;
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code},
    test_server::{PASSWORD, Session, TestResponse, TestServer, until},
    test_stores::{ask, execute},
};

const EMAIL: &str = "john@example.com";
const NEW: &str = "correct horse 9";

/// A gateway with mail, and how much of what it recorded was looked at.
struct Fixture {
    server: TestServer,
    mails: MailServer,
    seen: Mutex<usize>,
}

impl Fixture {
    async fn new() -> Fixture {
        let (server, mails) = TestServer::with_mail(&[]).await;
        Fixture {
            server,
            mails,
            seen: Mutex::new(0),
        }
    }

    /// All rows, by the time at which they were written. What is counted may be two rows at the end
    /// of a minute.
    async fn rows(&self) -> Vec<String> {
        let row = "concat_ws(' ', event, outcome, actor, coalesce(reason, '-'))";
        let written =
            format!("select coalesce(string_agg({row}, ',' order by xmin::text::bigint, id), '')");
        let mut rows = rows(&self.server, &written).await;
        rows.dedup_by(|one, other| one == other && one.contains(" failure "));
        rows
    }

    /// Asserts what was recorded since the last look; what is counted comes a moment later.
    async fn news(&self, expected: &[&str]) {
        let seen = *self.seen.lock().expect("one task");
        until(&format!("{expected:?} is recorded"), || async {
            self.rows().await.len() >= seen + expected.len()
        })
        .await;
        let rows = self.rows().await;
        assert_eq!(rows[seen..], *expected);
        *self.seen.lock().expect("one task") = rows.len();
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

async fn rows(server: &TestServer, aggregate: &str) -> Vec<String> {
    let told = ask(server, &format!("{aggregate} from audit_events")).await;
    told.split(',')
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
async fn every_security_event_is_recorded_once_with_who_what_and_where() {
    let fixture = Fixture::new().await;
    let Fixture { server, mails, .. } = &fixture;
    let john = server.sign_up_with_email("john", EMAIL).await;
    fixture.news(&["sign_up success user -"]).await;
    let second = server.sign_in("john").await;
    fixture.news(&["sign_in success user -"]).await;
    fixture
        .call(Method::PATCH, "/user", &john, json!({"name": "John"}))
        .await
        .is(200, "");
    fixture.news(&["profile_updated success user -"]).await;
    server
        .log_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    fixture
        .news(&["sign_in_failed failure unauthenticated incorrect_password"])
        .await;
    server
        .log_in("nobody", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    fixture
        .news(&["sign_in_failed failure unauthenticated unknown_user"])
        .await;
    let change =
        |current| json!({"current_password": current, "new_password": "another secret 456"});
    let wrong = fixture
        .call(
            Method::POST,
            "/user/password",
            &john,
            change("wrong-password"),
        )
        .await;
    wrong.is(403, "incorrect_password");
    fixture
        .news(&["password_check_failed failure user -"])
        .await;
    fixture
        .call(Method::POST, "/user/password", &john, change(PASSWORD))
        .await
        .is(204, "");
    fixture.news(&["password_changed success user -"]).await;
    let other = Session::of(
        server
            .log_in("john", "another secret 456")
            .await
            .is(200, ""),
    );
    let device = format!("/sessions/{}", other.claim("sid"));
    for _ in 0..2 {
        fixture
            .call(Method::DELETE, &device, &john, Value::Null)
            .await
            .is(204, "");
    }
    fixture
        .news(&[
            "sign_in success user -",
            "session_revoked success user session_revoked",
        ])
        .await;
    // A repeat ends nothing, and what ended before is no event.
    for session in [&john, &john, &second] {
        server.log_out(&session.access_token).await.is(204, "");
    }
    fixture.news(&["sign_out success user -"]).await;
    fixture.news(&[]).await;

    let sign_in = async || {
        Session::of(
            server
                .log_in("john", "another secret 456")
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
    let (others, all) = (
        "sessions_revoked success user sign_out_others",
        "sessions_revoked success user sign_out_all",
    );
    fixture.news(&["sign_in success user -", others, all]).await;
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
        .news(&[
            "sign_in success user -",
            "refresh_token_reused failure unauthenticated -",
        ])
        .await;

    for email in [EMAIL, "nobody@example.com"] {
        server.forgot_password(email).await.is(202, "");
    }
    fixture
        .news(&["code_requested success unauthenticated password_reset"; 2])
        .await;
    // That the password was changed is told in a mail as well.
    mails.wait_for(EMAIL, 2).await;
    let code = mails
        .mails_to(EMAIL)
        .iter()
        .find_map(|mail| code(mail))
        .expect("a code");
    for _ in 0..5 {
        fixture
            .server
            .reset_password(EMAIL, "00000-00000", NEW)
            .await
            .is(400, "invalid_code");
    }
    let counted = "select coalesce(sum(count), 0) from audit_events \
        where event = 'code_check_failed'";
    until("all are counted", || async {
        ask(server, counted).await == "5"
    })
    .await;
    fixture
        .news(&["code_check_failed failure unauthenticated password_reset"])
        .await;
    fixture
        .server
        .reset_password(EMAIL, &code, NEW)
        .await
        .is(429, "too_many_requests");
    fixture
        .news(&["rate_limited failure unauthenticated code"])
        .await;

    execute(server, "update users set disabled = true").await;
    server
        .log_in("john", "another secret 456")
        .await
        .is(401, "invalid_credentials");
    fixture
        .news(&["sign_in_failed failure unauthenticated user_disabled"])
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
        .news(&["sign_in success user -", "user_deleted success user -"])
        .await;

    let sub = john.claim("sub");
    let whose = "select count(*) from audit_events \
        where (user_id is null or ip_address is null) and reason <> 'unknown_user'";
    assert_eq!(ask(server, whose).await, "1", "a code for nobody");
    let others = format!(
        "select count(*) from audit_events where user_id <> '{sub}' or ip_address <> '127.0.0.1'"
    );
    assert_eq!(ask(server, &others).await, "0");
    the_log_says_the_same(server).await;
    nothing_in_it_is_a_credential(server, &[&john, &second, &third], &code).await;
}

/// One line for each time that something happened, at the moment at which it did.
async fn the_log_says_the_same(server: &TestServer) {
    let log: Vec<Value> = server
        .log()
        .iter()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let recorded = rows(server, "select string_agg(distinct event, ',')").await;
    assert!(recorded.len() >= 12, "{recorded:?}");
    for event in recorded {
        let lines = log.iter().filter(|line| line["event"] == *event).count();
        let counted = ask(
            server,
            &format!("select sum(count) from audit_events where event = '{event}'"),
        )
        .await;
        assert_eq!(lines.to_string(), counted, "{event}");
        let line = log
            .iter()
            .find(|line| line["event"] == *event)
            .expect("a line");
        let told = ["outcome", "actor", "ip_address"]
            .iter()
            .all(|member| line[member].is_string());
        assert!(told && line["span"]["request_id"].is_string(), "{line}");
    }
}

async fn nothing_in_it_is_a_credential(server: &TestServer, sessions: &[&Session], code: &str) {
    let table = ask(
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
async fn a_change_of_address_is_recorded_step_by_step() {
    let fixture = Fixture::new().await;
    let john = fixture.server.sign_up_with_email("john", EMAIL).await;
    fixture.news(&["sign_up success user -"]).await;
    let ask_for = |email, password| {
        fixture.call(
            Method::POST,
            "/user/email",
            &john,
            json!({"email": email, "password": password}),
        )
    };
    ask_for(EMAIL, "wrong-password")
        .await
        .is(403, "incorrect_password");
    fixture
        .news(&["password_check_failed failure user -"])
        .await;
    let other = "john@elsewhere.example.com";
    let confirm = |code: String| {
        fixture.call(
            Method::POST,
            "/user/email/confirm",
            &john,
            json!({"code": code}),
        )
    };
    let mut used = Vec::new();
    for (email, requested, confirmed) in [
        (
            EMAIL,
            "code_requested success user email_confirmation",
            "email_verified success user -",
        ),
        (
            other,
            "email_change_requested success user email_confirmation",
            "email_changed success user -",
        ),
    ] {
        ask_for(email, PASSWORD).await.is(202, "");
        fixture.news(&[requested]).await;
        let code = fixture.mails.code_for(email).await;
        confirm(code.clone()).await.is(200, "");
        fixture.news(&[confirmed]).await;
        used.push(code);
    }
    // A repeat changes nothing, and one row tells of all.
    for bad in used.into_iter().chain(["00000-00000".to_owned()]) {
        confirm(bad).await.is(400, "invalid_code");
    }
    fixture
        .news(&["code_check_failed failure unauthenticated email_confirmation"])
        .await;
    let own = "select bool_and(session_id is not null and actor_id = user_id) from audit_events \
        where event <> 'code_check_failed'";
    assert_eq!(ask(&fixture.server, own).await, "true");
}

#[tokio::test]
async fn tries_that_were_turned_away_are_counted_by_network() {
    let limit = ("LATCHKEY_LIMIT_SIGN_IN", "2/1d");
    let server = TestServer::with(&[
        ("LATCHKEY_RATE_LIMITS", "on"),
        ("LATCHKEY_TRUSTED_PROXIES", "127.0.0.0/8"),
        limit,
    ])
    .await;
    server.sign_up("john").await;
    for number in 1..=6 {
        let login = server
            .request(Method::POST, "/login")
            .json(&json!({"username": "john", "password": "wrong"}));
        let status = if number <= 2 { 401 } else { 429 };
        // One subscriber has all of these.
        let response = server
            .send(login.header("x-forwarded-for", format!("2001:db8:1:2::{number}")))
            .await;
        assert_eq!(response.status, status, "{}", response.string());
    }
    let counts = "select coalesce(string_agg(
            concat_ws(' ', event, reason, ip_address, user_id is null, count),
            ',' order by event), '')
        from (select event, reason, ip_address, user_id, sum(count) as count
            from audit_events where outcome = 'failure' group by 1, 2, 3, 4) a";
    let expected = "rate_limited sign_in 2001:db8:1:2::/64 t 4,\
        sign_in_failed incorrect_password 2001:db8:1:2::/64 f 2";
    until("all are counted", || async {
        ask(&server, counts).await == expected
    })
    .await;
    let told = server
        .log()
        .iter()
        .filter(|line| line.contains("\"2001:db8:1:2::6\""))
        .count();
    assert_eq!(told, 1, "the log has the very address");
}

#[tokio::test]
async fn sessions_that_give_way_to_newer_ones_are_events_of_the_gateway() {
    let fixture = Fixture::new().await;
    fixture.server.sign_up("john").await;
    let many = "insert into sessions \
            (id, user_id, generation, client_id, scope, created_at, expires_at) \
        select gen_random_uuid(), id, generation, 'latchkey', '', now(), now() + interval '1 day' \
        from users, generate_series(1, 101)";
    execute(&fixture.server, many).await;
    fixture.news(&["sign_up success user -"]).await;
    fixture.server.sign_in("john").await;
    let ended = "session_revoked success server too_many_sessions";
    until("all are recorded", || async {
        fixture.rows().await.len() == 5
    })
    .await;
    let rows = fixture.rows().await;
    assert_eq!(
        rows.iter().filter(|row| *row == ended).count(),
        3,
        "{rows:?}"
    );
    let same = "select count(*) from audit_events a join sessions s on s.id = a.session_id \
         where s.revoked_reason = a.reason";
    assert_eq!(ask(&fixture.server, same).await, "3");
}

/// Whoever cannot write the event does not make the change.
#[tokio::test]
async fn a_change_that_cannot_be_recorded_is_not_made() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    let john = server.sign_up_with_email("john", EMAIL).await;
    let code = fixture.mails.reset_code(server, EMAIL).await;
    let email = json!({"email": "john@elsewhere.example.com", "password": PASSWORD});
    fixture
        .call(Method::POST, "/user/email", &john, email.clone())
        .await
        .is(202, "");
    let confirmation = json!({"code": fixture.mails.code_for("john@elsewhere.example.com").await});
    let state = "select concat(
        (select string_agg(u::text, ';') from users u),
        (select string_agg(s::text, ';') from sessions s),
        (select string_agg(r::text, ';') from revocations r),
        (select count(*) from email_outbox), (select count(consumed_at) from email_outbox),
        (select count(*) from audit_events))";
    until("the mail is sent", || async {
        ask(server, "select count(sent_at) from email_outbox").await == "2"
    })
    .await;
    let before = ask(server, state).await;
    let lines = events(server);
    execute(
        server,
        "alter table audit_events add constraint broken check (event = 'none') not valid",
    )
    .await;
    let password = json!({"current_password": PASSWORD, "new_password": NEW});
    let attempts: Vec<TestResponse> = vec![
        server
            .post("/signup", json!({"username": "jane", "password": PASSWORD}))
            .await,
        server.log_in("john", PASSWORD).await,
        fixture
            .call(Method::PATCH, "/user", &john, json!({"name": "Changed"}))
            .await,
        fixture
            .call(Method::POST, "/user/password", &john, password)
            .await,
        fixture
            .call(Method::POST, "/user/email", &john, email)
            .await,
        fixture
            .call(Method::POST, "/user/email/confirm", &john, confirmation)
            .await,
        server.forgot_password(EMAIL).await,
        fixture.server.reset_password(EMAIL, &code, NEW).await,
        server.log_out(&john.access_token).await,
        fixture
            .call(Method::POST, "/logout?scope=others", &john, Value::Null)
            .await,
        fixture
            .call(Method::POST, "/logout?scope=all", &john, Value::Null)
            .await,
        fixture
            .call(Method::DELETE, "/user", &john, Value::Null)
            .await,
    ];
    for response in &attempts {
        response.is(500, "internal");
    }
    assert_eq!(ask(server, state).await, before);
    assert_eq!(
        events(server),
        lines,
        "the log tells of nothing that did not happen"
    );
    assert_eq!(server.verify(&john.access_token).await.0, 204);
    // What is counted waits until it can be written.
    server
        .log_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    server.until_logged(&["writing denied events failed"]).await;
    execute(server, "alter table audit_events drop constraint broken").await;
    let count = "select coalesce(sum(count), 0) from audit_events where event = 'sign_in_failed'";
    until("it is written", || async {
        ask(server, count).await == "1"
    })
    .await;
    fixture
        .server
        .reset_password(EMAIL, &code, NEW)
        .await
        .is(204, "");
}

fn events(server: &TestServer) -> usize {
    server
        .log()
        .iter()
        .filter(|line| line.contains("\"event\":"))
        .count()
}

#[tokio::test]
async fn what_did_not_happen_is_not_recorded() {
    let fixture = Fixture::new().await;
    let john = fixture.server.sign_up("john").await;
    fixture.server.sign_up("jane").await;
    fixture.news(&["sign_up success user -"; 2]).await;
    let taken = fixture
        .server
        .post("/signup", json!({"username": "JOHN", "password": PASSWORD}))
        .await;
    taken.is(409, "username_taken");
    fixture
        .call(Method::PATCH, "/user", &john, json!({"username": "jane"}))
        .await
        .is(409, "username_taken");
    fixture
        .call(Method::PATCH, "/user", &john, json!({"username": null}))
        .await
        .is(400, "invalid_request");
    fixture
        .server
        .refresh("garbage")
        .await
        .is(401, "invalid_refresh_token");
    fixture.server.sign_in("john").await;
    fixture.news(&["sign_in success user -"]).await;
}

#[tokio::test]
async fn failed_sign_ins_are_counted_exactly_over_two_replicas() {
    let server = TestServer::start().await;
    let mut replica = server.replica().await;
    server.sign_up("john").await;
    let tries = (0..24).map(|number| {
        let name = if number % 3 == 0 { "nobody" } else { "john" };
        if number % 2 == 0 { &server } else { &replica }.log_in(name, "wrong-password")
    });
    for response in join_all(tries).await {
        response.is(401, "invalid_credentials");
    }
    let counts = "select concat_ws(' ',
            sum(count) filter (where user_id is not null),
            sum(count) filter (where user_id is null))
        from audit_events where event = 'sign_in_failed'";
    until("all are written", || async {
        ask(&server, counts).await == "16 8"
    })
    .await;
    // The last of all, in the last moment.
    replica
        .log_in("john", "wrong-password")
        .await
        .is(401, "invalid_credentials");
    assert_eq!(replica.stop(), Some(0));
    assert_eq!(ask(&server, counts).await, "17 8");
    let alike = "select count(*) - count(distinct (user_id is null, at)) from audit_events \
        where event = 'sign_in_failed'";
    assert_eq!(
        ask(&server, alike).await,
        "0",
        "one row for each account and minute"
    );
    assert_eq!(
        ask(
            &server,
            "select bool_and(at = date_trunc('minute', at)) from audit_events where count > 1"
        )
        .await,
        "true"
    );
}

#[tokio::test]
async fn pages_go_from_the_newest_to_the_oldest() {
    let server = TestServer::start().await;
    let john = server.sign_up("john").await;
    for name in ["a", "b", "c", "d"] {
        server
            .with_token(
                Method::PATCH,
                "/user",
                &john.access_token,
                json!({"name": name}),
            )
            .await
            .is(200, "");
    }
    let get = |path: String| {
        server.with_token(
            Method::GET,
            Box::leak(path.into_boxed_str()),
            &john.access_token,
            Value::Null,
        )
    };
    let whole = items(&get("/user/audit".into()).await);
    let kinds: Vec<_> = whole
        .iter()
        .map(|item| item["event"].as_str().expect("a kind"))
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
        whole
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
    assert_eq!(pages.concat(), whole);
    for bad in ["limit=0", "limit=101", "after=x", "limit=1&limit=2"] {
        get(format!("/user/audit?{bad}"))
            .await
            .is(400, "invalid_request");
    }
}

#[tokio::test]
async fn an_event_says_who_it_was_and_from_where() {
    let server = TestServer::start().await;
    let login = server
        .request(Method::POST, "/signup")
        .json(&json!({"username": "john", "password": PASSWORD}));
    let john = Session::of(
        &server
            .send(login.header(
                header::USER_AGENT,
                "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Fire\tfox/128.0",
            ))
            .await,
    );
    let shown = server
        .with_token(Method::GET, "/user/audit", &john.access_token, Value::Null)
        .await;
    let (item, claims) = (&items(&shown)[0], john.claims());
    let expected = json!({
        "id": item["id"],
        "at": item["at"],
        "event": "sign_up",
        "outcome": "success",
        "actor": "user",
        "actor_id": claims["sub"],
        "session": claims["sid"],
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
async fn nobody_sees_what_happened_to_somebody_else() {
    let server = TestServer::start().await;
    let (john, jane) = (server.sign_up("john").await, server.sign_up("jane").await);
    let get = async |session: &Session, path: &str| {
        server
            .with_token(Method::GET, path, &session.access_token, Value::Null)
            .await
    };
    let cursor = get(&john, "/user/audit").await.body["data"][0]["id"]
        .as_str()
        .map(str::to_owned)
        .expect("an id");
    let own = items(&get(&jane, "/user/audit").await);
    assert_eq!((own.len(), &own[0]["actor_id"]), (1, &jane.claims()["sub"]));
    assert!(!cursor.is_empty());
    for whose in [john.claim("sub"), jane.claim("sub")] {
        get(&jane, &format!("/users/{whose}/audit"))
            .await
            .is(403, "forbidden");
    }
    server
        .get(&format!("/users/{}/audit", john.claim("sub")))
        .await
        .is(401, "unauthenticated");

    execute(
        &server,
        "update users set role = 'admin' where username = 'jane'",
    )
    .await;
    let admin = server.sign_in("jane").await;
    let by = |actor: &str, actor_id: &str| {
        format!(
            "insert into audit_events (id, at, event, outcome, user_id, actor_id, actor,
                ip_address, user_agent)
             values (gen_random_uuid(), now(), 'user_disabled', 'success', '{}', {actor_id},
                '{actor}', '192.0.2.99', 'admin''s own')",
            john.claim("sub")
        )
    };
    for (actor, actor_id) in [
        ("admin", format!("'{}'", jane.claim("sub"))),
        ("operator", "null".to_owned()),
    ] {
        execute(
            &server,
            "delete from audit_events where event = 'user_disabled'",
        )
        .await;
        execute(&server, &by(actor, &actor_id)).await;
        let find = |response: TestResponse| {
            items(&response)
                .into_iter()
                .find(|item| item["event"] == "user_disabled")
                .expect("it is listed")
        };
        let shown = find(get(&john, "/user/audit").await);
        assert_eq!(shown["actor"], actor);
        for hidden in ["actor_id", "ip_address", "user_agent"] {
            assert_eq!(shown[hidden], Value::Null, "{hidden}");
        }
        let whole = find(get(&admin, &format!("/users/{}/audit", john.claim("sub"))).await);
        assert_eq!(
            (&whole["ip_address"], &whole["user_agent"]),
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
        .with_token(Method::DELETE, "/user", &john.access_token, Value::Null)
        .await
        .is(204, "");
    let after = items(&get(&admin, &format!("/users/{}/audit", john.claim("sub"))).await);
    assert!(
        after.iter().any(|item| item["event"] == "user_deleted"),
        "{after:?}"
    );
}
