//! What is taken back, told to those who check tokens themselves: nothing is missing, or they know
//! that something may be.

mod losing_stores; // stores that break, readers that are slow, replicas that stop
pub mod reader; // a stream, event by event
mod sample; // the README's reader, as printed

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::{NAME, open},
    metrics::value,
    revocation::LONG,
    test_server::{Session, TestServer, until},
    test_stores::{ask, execute},
    token_signer::{TokenSigner, with},
};
use reader::{Event, Reader, request};

/// Two replicas, an administrator, and a session that has ended before.
struct Fixture {
    server: TestServer,
    replica: TestServer,
    admin: Session,
    out: Session,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        // A lease that was over for a moment would be told as such.
        let server = TestServer::with(&[&[LONG], changes].concat()).await;
        let replica = server.replica().await;
        let (admin, out) = (server.admin("root").await, server.sign_up("john").await);
        server.log_out(&out.access_token).await.is(204, "");
        Fixture {
            server,
            replica,
            admin,
            out,
        }
    }

    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    /// A reader that has come to the first beat.
    async fn reader(&self, replica: &TestServer) -> Reader {
        let mut reader = Reader::of(replica, &self.admin).await;
        reader.until("heartbeat").await;
        reader
    }

    /// Another session of John's, which ends at once.
    async fn logout(&self, replica: &TestServer) -> String {
        let session = self.server.sign_in("john").await;
        replica.log_out(&session.access_token).await.is(204, "");
        session.claim("sid")
    }
}

fn names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn streams(server: &TestServer) -> f64 {
    value(server, "latchkey_revocation_streams").await
}

#[tokio::test]
async fn first_comes_what_was_and_then_what_happens() {
    let fixture = Fixture::new().await;
    let mut reader = Reader::of(&fixture.server, &fixture.admin).await;
    let headers = [
        "cache-control",
        "x-accel-buffering",
        "content-encoding",
        "x-content-type-options",
    ];
    assert_eq!(
        headers.map(|name| reader.header(name)),
        ["no-store", "no", "", "nosniff"]
    );
    let begin = reader.until("heartbeat").await;
    assert_eq!(
        names(&begin),
        ["snapshot", "revoked", "synced", "heartbeat"]
    );
    let [snapshot, known, current, beat] = &begin[..] else {
        panic!("four")
    };
    assert!(
        known.is_of("session", &fixture.out.claim("sid")),
        "{known:?}"
    );
    assert_eq!(
        (
            &known.id,
            &known.data["sequence"],
            &known.data["min_generation"]
        ),
        (&String::new(), &Value::Null, &Value::Null)
    );
    assert_eq!(
        current.id,
        format!("{}:{}", snapshot.epoch(), snapshot.number())
    );
    assert_eq!(
        (current.epoch(), current.number()),
        (snapshot.epoch(), snapshot.number())
    );
    assert!(
        beat.previous() <= current.number() && current.number() <= beat.number(),
        "{beat:?}"
    );
    // On this replica and on the other, a session and a generation.
    for replica in [&fixture.server, &fixture.replica] {
        let ended = fixture.logout(replica).await;
        let told = reader.first("revoked").await;
        assert!(told.is_of("session", &ended), "{told:?}");
        assert_eq!(told.id, format!("{}:{}", snapshot.epoch(), told.number()));
        assert!(told.previous() < told.number(), "{told:?}");
    }
    let jane = fixture.server.sign_up("jane").await;
    fixture
        .replica
        .with_token(
            Method::POST,
            "/logout?scope=all",
            &jane.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    let told = reader.first("revoked").await;
    let (claims, until) = (
        jane.claims(),
        told.data["expires_at"].as_str().expect("a time").to_owned(),
    );
    assert!(
        told.is_of("user", claims["sub"].as_str().expect("a user")),
        "{told:?}"
    );
    assert_eq!(
        told.data["min_generation"].as_i64(),
        claims["generation"].as_i64().map(|before| before + 1)
    );
    let until = time::OffsetDateTime::parse(&until, &time::format_description::well_known::Rfc3339)
        .expect("RFC 3339");
    assert!(
        until.unix_timestamp() > claims["exp"].as_i64().expect("seconds"),
        "it outlives every token"
    );
    let beat = reader.first("heartbeat").await;
    assert_eq!(beat.previous(), told.number());
}

/// A thousand in a short time, in two replicas at once: a reader of each is told each of them once,
/// in a chain.
#[tokio::test]
async fn nothing_is_missing_among_a_thousand() {
    let fixture = Fixture::new().await;
    let somebody = "insert into users (id, username, password_hash) \
        select gen_random_uuid(), 'user' || n, 'none' from generate_series(1, 1000) n";
    execute(&fixture.server, somebody).await;
    let ids = ask(
        &fixture.server,
        "select string_agg(id::text, ' ') from users where username like 'user%'",
    )
    .await;
    let ids: Vec<String> = ids.split(' ').map(str::to_owned).collect();
    let mut readers = [
        fixture.reader(&fixture.server).await,
        fixture.reader(&fixture.replica).await,
    ];
    let revoke = |(number, id): (usize, &String)| {
        let replica = if number % 2 == 0 {
            &fixture.server
        } else {
            &fixture.replica
        };
        let path = format!("/users/{id}/revoke");
        let token = fixture.admin.access_token.clone();
        async move {
            replica
                .with_token(Method::POST, &path, &token, Value::Null)
                .await
                .status
        }
    };
    let calls: Vec<_> = ids.iter().enumerate().map(revoke).collect();
    let statuses: Vec<u16> = stream::iter(calls).buffer_unordered(50).collect().await;
    assert!(statuses.iter().all(|status| *status == 204));
    let mut chains = Vec::new();
    for reader in &mut readers {
        let mut told: Vec<Event> = Vec::new();
        while told.len() < ids.len() {
            match reader.next().await.expect("it goes on") {
                event if event.name == "revoked" => told.push(event),
                event => assert_eq!(event.name, "heartbeat"),
            }
        }
        assert!(
            told.windows(2)
                .all(|pair| pair[1].previous() == pair[0].number()),
            "a chain"
        );
        let mut known: Vec<&str> = told
            .iter()
            .map(|event| event.data["id"].as_str().expect("an id"))
            .collect();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known.len(), ids.len(), "each once");
        assert_eq!(
            reader.first("heartbeat").await.previous(),
            told.last().expect("a thousand").number()
        );
        chains.push(told);
    }
    assert_eq!(chains[0], chains[1], "all replicas tell the same");
    assert!(
        value(
            &fixture.server,
            "latchkey_revocation_stream_events_total{event=\"revoked\"}"
        )
        .await
            >= 1000.0
    );
}

#[tokio::test]
async fn who_was_cut_off_goes_on_from_there_on_any_replica() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.reader(&fixture.server).await;
    let first = fixture.logout(&fixture.server).await;
    let last = reader.first("revoked").await;
    assert!(last.is_of("session", &first));
    drop(reader);
    let missed = [
        fixture.logout(&fixture.server).await,
        fixture.logout(&fixture.replica).await,
    ];
    for replica in [&fixture.server, &fixture.replica] {
        let mut again = Reader::from(replica, &fixture.admin, &last.id).await;
        let told = again.until("heartbeat").await;
        assert_eq!(names(&told), ["revoked", "revoked", "heartbeat"]);
        assert!(
            told.iter()
                .zip(&missed)
                .all(|(event, sid)| event.is_of("session", sid)),
            "{told:?}"
        );
        assert_eq!(
            (told[0].previous(), told[1].previous()),
            (last.number(), told[0].number())
        );
    }
}

#[tokio::test]
async fn whoever_says_something_useless_is_told_everything() {
    let fixture = Fixture::new().await;
    let id = Reader::of(&fixture.server, &fixture.admin)
        .await
        .first("synced")
        .await
        .id;
    let (epoch, number) = id.rsplit_once(':').expect("a position");
    let ahead = format!("{epoch}:{}", u64::MAX);
    let (other, long) = (
        format!("{}:{number}", epoch.replace(':', "0:")),
        format!("{}:1", "x".repeat(250)),
    );
    for useless in [
        "",
        "garbage",
        ":",
        ":1",
        "1",
        &ahead,
        &other,
        &long,
        &format!("{epoch}:-1"),
        epoch,
        "a, b",
    ] {
        let mut reader = Reader::from(&fixture.server, &fixture.admin, useless).await;
        let told = reader.until("heartbeat").await;
        assert_eq!(
            names(&told),
            ["snapshot", "revoked", "synced", "heartbeat"],
            "{useless}"
        );
    }
}

#[tokio::test]
async fn only_those_may_follow_who_are_meant_to() {
    let fixture = Fixture::new().await;
    let user = fixture.server.sign_up("jane").await;
    fixture
        .server
        .get("/revocations")
        .await
        .is(401, "unauthenticated");
    fixture
        .server
        .send(request(&fixture.server, &user))
        .await
        .is(403, "forbidden");
    fixture
        .server
        .send(request(&fixture.server, &fixture.out))
        .await
        .is(401, "token_revoked");
    let json = fixture
        .server
        .request(Method::GET, "/revocations")
        .header("accept", "application/json");
    fixture
        .server
        .send(json.bearer_auth(&fixture.admin.access_token))
        .await
        .is(406, "not_acceptable");
    fixture
        .server
        .post("/revocations", json!({}))
        .await
        .is(405, "method_not_allowed");
    assert_eq!(streams(&fixture.server).await, 0.0, "nobody follows");
    // Of a person's token the role counts, and the scope as well.
    let forge = TokenSigner::of(&fixture.server).await;
    let session = |of: &Session, scope: &str| Session {
        access_token: forge.sign(&with(&of.claims(), "scope", json!(scope))),
        ..of.clone()
    };
    for scope in ["", "admin", "revocations:read"] {
        fixture
            .server
            .send(request(&fixture.server, &session(&user, scope)))
            .await
            .is(403, "forbidden");
    }
    for scope in ["", "user:read", "revocations:read"] {
        let response = fixture
            .server
            .send(request(&fixture.server, &session(&fixture.admin, scope)))
            .await;
        response.is(403, "insufficient_scope");
    }
    assert_eq!(streams(&fixture.server).await, 0.0, "nobody follows");
}

/// The token of a new client with these scopes.
async fn client(fixture: &Fixture, scopes: &str) -> (String, Session) {
    let body = json!({"name": "a service", "scope": scopes});
    let made = fixture
        .server
        .with_token(Method::POST, "/clients", &fixture.admin.access_token, body)
        .await;
    let (id, secret) = (
        made.is(201, "").text("client_id"),
        made.text("client_secret"),
    );
    let form = [("grant_type", "client_credentials")];
    let granted = fixture
        .server
        .request(Method::POST, "/oauth/token")
        .basic_auth(&id, Some(secret))
        .form(&form);
    let granted = fixture.server.send(granted).await;
    let access_token = granted.is(200, "").text("access_token");
    (
        id,
        Session {
            access_token,
            refresh_token: String::new(),
        },
    )
}

#[tokio::test]
async fn a_client_with_the_scope_follows_until_it_is_deleted() {
    let fixture = Fixture::new().await;
    let (_, other) = client(&fixture, "user:read").await;
    let refused = fixture.server.send(request(&fixture.server, &other)).await;
    assert!(
        refused
            .is(403, "insufficient_scope")
            .header("www-authenticate")
            .contains("revocations:read")
    );
    let (id, session) = client(&fixture, "revocations:read").await;
    let (mut reader, mut admin) = (
        Reader::of(&fixture.server, &session).await,
        fixture.reader(&fixture.server).await,
    );
    reader.until("heartbeat").await;
    let ended = fixture.logout(&fixture.replica).await;
    for reader in [&mut reader, &mut admin] {
        assert!(reader.first("revoked").await.is_of("session", &ended));
    }
    let path = format!("/clients/{id}");
    fixture
        .replica
        .with_token(
            Method::DELETE,
            &path,
            &fixture.admin.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    reader.rest().await;
    let told = admin.first("revoked").await;
    assert!(
        told.is_of("client", &id)
            && told.data["min_generation"].as_i64() > session.claims()["generation"].as_i64(),
        "{told:?}"
    );
}

#[tokio::test]
async fn any_client_that_takes_streams_and_the_cookie_of_an_administrator_are_welcome() {
    let fixture = Fixture::new().await;
    for accept in [
        "*/*",
        "text/*",
        "text/event-stream",
        "text/html, text/event-stream;q=0.5",
    ] {
        let request = fixture
            .server
            .request(Method::GET, "/revocations/")
            .header("accept", accept);
        let mut reader = Reader::with(request.bearer_auth(&fixture.admin.access_token)).await;
        reader.first("heartbeat").await;
    }
    let cookie = format!("{NAME}={}", open(&fixture.server, "root").await);
    let mut reader = Reader::with(
        fixture
            .server
            .request(Method::GET, "/revocations")
            .header("cookie", &cookie),
    )
    .await;
    reader.first("heartbeat").await;
    let out = fixture
        .server
        .request(Method::DELETE, "/session")
        .header("x-latchkey-request", "1");
    fixture
        .server
        .send(out.header("cookie", &cookie))
        .await
        .is(204, "");
    reader.rest().await;
    until("all of them are gone", || async {
        streams(&fixture.server).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_look_at_the_headers_opens_no_stream() {
    let fixture = Fixture::new().await;
    let head = fixture
        .server
        .request(Method::HEAD, "/revocations")
        .bearer_auth(&fixture.admin.access_token);
    let response = fixture.server.send(head).await;
    assert_eq!(
        (
            response.status,
            response.header("content-type"),
            response.bytes.len()
        ),
        (200, "text/event-stream", 0)
    );
    until("nobody follows", || async {
        streams(&fixture.server).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let fixture = Fixture::new().await;
    let ended = "latchkey_revocation_streams_closed_total{reason=\"token_invalid\"}";
    // Signed out on the other replica; another administrator who is one no more; the reader itself.
    let (demoted, out) = (
        fixture.server.admin("demoted").await,
        fixture.server.sign_in("root").await,
    );
    let mut readers = [
        Reader::of(&fixture.server, &out).await,
        Reader::of(&fixture.server, &demoted).await,
        Reader::of(&fixture.server, &fixture.admin).await,
    ];
    for reader in &mut readers {
        reader.until("heartbeat").await;
    }
    fixture.replica.log_out(&out.access_token).await.is(204, "");
    let path = demoted.user_path();
    let admin = &fixture.admin.access_token;
    fixture
        .server
        .with_token(Method::PATCH, &path, admin, json!({"role": "user"}))
        .await
        .is(200, "");
    fixture.server.log_out(admin).await.is(204, "");
    let told = [readers[0].rest().await, readers[1].rest().await];
    for (told, session) in told.iter().zip([&out, &demoted]) {
        assert!(
            told.iter()
                .all(|event| !event.is_of("session", &session.claim("sid"))),
            "nothing any more: {told:?}"
        );
    }
    readers[2].rest().await;
    assert_eq!(value(&fixture.server, ended).await, 3.0);
    assert_eq!(streams(&fixture.server).await, 0.0);
}

#[tokio::test]
async fn a_stream_ends_when_its_token_expires() {
    let fixture = Fixture::with(&[("LATCHKEY_ACCESS_LIFETIME", "10s")]).await;
    let admin = fixture.server.sign_in("root").await;
    let mut reader = Reader::of(&fixture.server, &admin).await;
    reader.until("heartbeat").await;
    reader.rest().await;
    fixture
        .server
        .send(request(&fixture.server, &admin))
        .await
        .is(401, "token_expired");
}

#[tokio::test]
async fn more_than_there_may_be_are_told_to_come_back() {
    let fixture = Fixture::with(&[("LATCHKEY_REVOCATION_STREAMS", "2")]).await;
    let (first, second) = (
        fixture.reader(&fixture.server).await,
        fixture.reader(&fixture.server).await,
    );
    assert_eq!(streams(&fixture.server).await, 2.0);
    let refused = fixture
        .server
        .send(request(&fixture.server, &fixture.admin))
        .await;
    assert!(!refused.is(503, "busy").header("retry-after").is_empty());
    drop(first);
    until("there is room", || async {
        streams(&fixture.server).await == 1.0
    })
    .await;
    fixture.reader(&fixture.server).await;
    fixture.reader(&fixture.replica).await;
    drop(second);
}
