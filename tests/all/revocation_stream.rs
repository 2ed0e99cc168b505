//! Tests of the revocation stream for services that validate tokens locally.
//!
//! The stream omits no revocation, or it reports that it is degraded.

mod losing_stores; // store outages, slow subscribers, and stopping replicas
pub mod reader; // a subscriber that parses the events
mod sample; // the sample subscriber of the documentation

use futures_util::{StreamExt, stream};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    browser::{NAME, open},
    metrics::value,
    revocation::LONG,
    test_server::{Session, TestServer, wait_until},
    test_stores::{execute, query_value},
    token_signer::{TokenSigner, with},
};
use reader::{Event, Reader, stream_request};

/// Two replicas, an administrator, and a revoked session.
struct Fixture {
    server: TestServer,
    replica: TestServer,
    admin: Session,
    revoked: Session,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        // A long lease prevents `degraded` events on a busy machine.
        let server = TestServer::with(&[&[LONG], changes].concat()).await;
        let replica = server.replica().await;
        let (admin, revoked) = (server.admin("root").await, server.sign_up("john").await);
        server.sign_out(&revoked.access_token).await.is(204, "");
        Fixture {
            server,
            replica,
            admin,
            revoked,
        }
    }

    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    /// Subscribes and reads up to the first heartbeat.
    async fn subscribe(&self, replica: &TestServer) -> Reader {
        let mut reader = Reader::subscribe(replica, &self.admin).await;
        reader.read_until("heartbeat").await;
        reader
    }

    /// Signs in and out again, and returns the ID of the revoked session.
    async fn revoke_session(&self, replica: &TestServer) -> String {
        let session = self.server.sign_in("john").await;
        replica.sign_out(&session.access_token).await.is(204, "");
        session.claim("sid")
    }
}

fn event_names(events: &[Event]) -> Vec<&str> {
    events.iter().map(|event| event.name.as_str()).collect()
}

async fn count_streams(server: &TestServer) -> f64 {
    value(server, "latchkey_revocation_streams").await
}

#[tokio::test]
async fn stream_sends_snapshot_and_then_new_revocations() {
    let fixture = Fixture::new().await;
    let mut reader = Reader::subscribe(&fixture.server, &fixture.admin).await;
    let header_names = [
        "cache-control",
        "x-accel-buffering",
        "content-encoding",
        "x-content-type-options",
    ];
    assert_eq!(
        header_names.map(|name| reader.header(name)),
        ["no-store", "no", "", "nosniff"]
    );
    let events = reader.read_until("heartbeat").await;
    assert_eq!(
        event_names(&events),
        ["snapshot", "revoked", "synced", "heartbeat"]
    );
    let [snapshot, listed, synced, heartbeat] = &events[..] else {
        panic!("four events")
    };
    assert!(
        listed.is_of("session", &fixture.revoked.claim("sid")),
        "{listed:?}"
    );
    assert_eq!(
        (
            &listed.id,
            &listed.data["sequence"],
            &listed.data["min_generation"]
        ),
        (&String::new(), &Value::Null, &Value::Null)
    );
    assert_eq!(
        synced.id,
        format!("{}:{}", snapshot.epoch_id(), snapshot.sequence())
    );
    assert_eq!(
        (synced.epoch_id(), synced.sequence()),
        (snapshot.epoch_id(), snapshot.sequence())
    );
    assert!(
        heartbeat.previous_sequence() <= synced.sequence()
            && synced.sequence() <= heartbeat.sequence(),
        "{heartbeat:?}"
    );
    // Revokes a session on each replica, and then a generation of a user.
    for replica in [&fixture.server, &fixture.replica] {
        let session_id = fixture.revoke_session(replica).await;
        let event = reader.first("revoked").await;
        assert!(event.is_of("session", &session_id), "{event:?}");
        assert_eq!(
            event.id,
            format!("{}:{}", snapshot.epoch_id(), event.sequence())
        );
        assert!(event.previous_sequence() < event.sequence(), "{event:?}");
    }
    let user = fixture.server.sign_up("jane").await;
    fixture
        .replica
        .with_token(
            Method::POST,
            "/logout?scope=all",
            &user.access_token,
            Value::Null,
        )
        .await
        .is(204, "");
    let event = reader.first("revoked").await;
    let (claims, expires_at) = (
        user.claims(),
        event.data["expires_at"]
            .as_str()
            .expect("a timestamp")
            .to_owned(),
    );
    assert!(
        event.is_of("user", claims["sub"].as_str().expect("a user ID")),
        "{event:?}"
    );
    assert_eq!(
        event.data["min_generation"].as_i64(),
        claims["generation"].as_i64().map(|before| before + 1)
    );
    let expires_at =
        time::OffsetDateTime::parse(&expires_at, &time::format_description::well_known::Rfc3339)
            .expect("RFC 3339");
    assert!(
        expires_at.unix_timestamp() > claims["exp"].as_i64().expect("a timestamp"),
        "the revocation expires after all revoked tokens"
    );
    let heartbeat = reader.first("heartbeat").await;
    assert_eq!(heartbeat.previous_sequence(), event.sequence());
}

/// Two replicas revoke the tokens of a thousand users concurrently. A subscriber of each replica
/// receives every revocation once, in order and without a gap.
#[tokio::test]
async fn thousand_concurrent_revocations_are_all_streamed() {
    let fixture = Fixture::new().await;
    let users = "insert into users (id, username, password_hash) \
        select gen_random_uuid(), 'user' || n, 'none' from generate_series(1, 1000) n";
    execute(&fixture.server, users).await;
    let ids = query_value(
        &fixture.server,
        "select string_agg(id::text, ' ') from users where username like 'user%'",
    )
    .await;
    let ids: Vec<String> = ids.split(' ').map(str::to_owned).collect();
    let mut readers = [
        fixture.subscribe(&fixture.server).await,
        fixture.subscribe(&fixture.replica).await,
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
    let requests: Vec<_> = ids.iter().enumerate().map(revoke).collect();
    let statuses: Vec<u16> = stream::iter(requests).buffer_unordered(50).collect().await;
    assert!(statuses.iter().all(|status| *status == 204));
    let mut chains = Vec::new();
    for reader in &mut readers {
        let mut events: Vec<Event> = Vec::new();
        while events.len() < ids.len() {
            match reader.next().await.expect("an event") {
                event if event.name == "revoked" => events.push(event),
                event => assert_eq!(event.name, "heartbeat"),
            }
        }
        assert!(
            events
                .windows(2)
                .all(|pair| pair[1].previous_sequence() == pair[0].sequence()),
            "each event refers to the previous one"
        );
        let mut revoked_ids: Vec<&str> = events
            .iter()
            .map(|event| event.data["id"].as_str().expect("a user ID"))
            .collect();
        revoked_ids.sort_unstable();
        revoked_ids.dedup();
        assert_eq!(revoked_ids.len(), ids.len(), "each user once");
        assert_eq!(
            reader.first("heartbeat").await.previous_sequence(),
            events.last().expect("an event").sequence()
        );
        chains.push(events);
    }
    assert_eq!(chains[0], chains[1], "all replicas send the same events");
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
async fn interrupted_stream_resumes_on_any_replica() {
    let fixture = Fixture::new().await;
    let mut reader = fixture.subscribe(&fixture.server).await;
    let first = fixture.revoke_session(&fixture.server).await;
    let last = reader.first("revoked").await;
    assert!(last.is_of("session", &first));
    drop(reader);
    let missed = [
        fixture.revoke_session(&fixture.server).await,
        fixture.revoke_session(&fixture.replica).await,
    ];
    for replica in [&fixture.server, &fixture.replica] {
        let mut resumed = Reader::resume(replica, &fixture.admin, &last.id).await;
        let events = resumed.read_until("heartbeat").await;
        assert_eq!(event_names(&events), ["revoked", "revoked", "heartbeat"]);
        assert!(
            events
                .iter()
                .zip(&missed)
                .all(|(event, session_id)| event.is_of("session", session_id)),
            "{events:?}"
        );
        assert_eq!(
            (events[0].previous_sequence(), events[1].previous_sequence()),
            (last.sequence(), events[0].sequence())
        );
    }
}

#[tokio::test]
async fn invalid_last_event_id_starts_with_snapshot() {
    let fixture = Fixture::new().await;
    let id = Reader::subscribe(&fixture.server, &fixture.admin)
        .await
        .first("synced")
        .await
        .id;
    let (epoch, sequence) = id.rsplit_once(':').expect("an event ID");
    let future = format!("{epoch}:{}", u64::MAX);
    let (other_epoch, long) = (
        format!("{}:{sequence}", epoch.replace(':', "0:")),
        format!("{}:1", "x".repeat(250)),
    );
    for invalid in [
        "",
        "garbage",
        ":",
        ":1",
        "1",
        &future,
        &other_epoch,
        &long,
        &format!("{epoch}:-1"),
        epoch,
        "a, b",
    ] {
        let mut reader = Reader::resume(&fixture.server, &fixture.admin, invalid).await;
        let events = reader.read_until("heartbeat").await;
        assert_eq!(
            event_names(&events),
            ["snapshot", "revoked", "synced", "heartbeat"],
            "{invalid}"
        );
    }
}

#[tokio::test]
async fn stream_requires_administrator_with_scopes() {
    let fixture = Fixture::new().await;
    let user = fixture.server.sign_up("jane").await;
    fixture
        .server
        .get("/revocations")
        .await
        .is(401, "unauthenticated");
    fixture
        .server
        .send(stream_request(&fixture.server, &user))
        .await
        .is(403, "forbidden");
    fixture
        .server
        .send(stream_request(&fixture.server, &fixture.revoked))
        .await
        .is(401, "token_revoked");
    let json_request = fixture
        .server
        .request(Method::GET, "/revocations")
        .header("accept", "application/json");
    fixture
        .server
        .send(json_request.bearer_auth(&fixture.admin.access_token))
        .await
        .is(406, "not_acceptable");
    fixture
        .server
        .post("/revocations", json!({}))
        .await
        .is(405, "method_not_allowed");
    assert_eq!(count_streams(&fixture.server).await, 0.0, "no open streams");
    // A token of a user requires the role and the scopes.
    let signer = TokenSigner::of(&fixture.server).await;
    let with_scope = |session: &Session, scope: &str| Session {
        access_token: signer.sign(&with(&session.claims(), "scope", json!(scope))),
        ..session.clone()
    };
    for scope in ["", "admin", "revocations:read"] {
        fixture
            .server
            .send(stream_request(&fixture.server, &with_scope(&user, scope)))
            .await
            .is(403, "forbidden");
    }
    for scope in ["", "user:read", "revocations:read"] {
        let response = fixture
            .server
            .send(stream_request(
                &fixture.server,
                &with_scope(&fixture.admin, scope),
            ))
            .await;
        response.is(403, "insufficient_scope");
    }
    assert_eq!(count_streams(&fixture.server).await, 0.0, "no open streams");
}

/// Registers an OAuth client with these scopes and returns its ID and an access token.
async fn register_client(fixture: &Fixture, scopes: &str) -> (String, Session) {
    let body = json!({"name": "a service", "scope": scopes});
    let response = fixture
        .server
        .with_token(Method::POST, "/clients", &fixture.admin.access_token, body)
        .await;
    let (id, secret) = (
        response.is(201, "").text("client_id"),
        response.text("client_secret"),
    );
    let form = [("grant_type", "client_credentials")];
    let request = fixture
        .server
        .request(Method::POST, "/oauth/token")
        .basic_auth(&id, Some(secret))
        .form(&form);
    let response = fixture.server.send(request).await;
    let access_token = response.is(200, "").text("access_token");
    (
        id,
        Session {
            access_token,
            refresh_token: String::new(),
        },
    )
}

#[tokio::test]
async fn client_with_scope_receives_stream_until_deleted() {
    let fixture = Fixture::new().await;
    let (_, without_scope) = register_client(&fixture, "user:read").await;
    let response = fixture
        .server
        .send(stream_request(&fixture.server, &without_scope))
        .await;
    assert!(
        response
            .is(403, "insufficient_scope")
            .header("www-authenticate")
            .contains("revocations:read")
    );
    let (id, session) = register_client(&fixture, "revocations:read").await;
    let (mut client_reader, mut admin_reader) = (
        Reader::subscribe(&fixture.server, &session).await,
        fixture.subscribe(&fixture.server).await,
    );
    client_reader.read_until("heartbeat").await;
    let session_id = fixture.revoke_session(&fixture.replica).await;
    for reader in [&mut client_reader, &mut admin_reader] {
        assert!(reader.first("revoked").await.is_of("session", &session_id));
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
    client_reader.read_to_end().await;
    let event = admin_reader.first("revoked").await;
    assert!(
        event.is_of("client", &id)
            && event.data["min_generation"].as_i64() > session.claims()["generation"].as_i64(),
        "{event:?}"
    );
}

#[tokio::test]
async fn stream_accepts_media_ranges_and_session_cookie() {
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
    let sign_out = fixture
        .server
        .request(Method::DELETE, "/session")
        .header("x-latchkey-request", "1");
    fixture
        .server
        .send(sign_out.header("cookie", &cookie))
        .await
        .is(204, "");
    reader.read_to_end().await;
    wait_until("all streams are closed", || async {
        count_streams(&fixture.server).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn head_request_opens_no_stream() {
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
    wait_until("no stream is open", || async {
        count_streams(&fixture.server).await == 0.0
    })
    .await;
}

#[tokio::test]
async fn revoked_token_closes_its_stream() {
    let fixture = Fixture::new().await;
    let closed_streams = "latchkey_revocation_streams_closed_total{reason=\"token_invalid\"}";
    // One session is revoked on the other replica, one by a role change, and one on this replica.
    let (demoted, signed_out) = (
        fixture.server.admin("demoted").await,
        fixture.server.sign_in("root").await,
    );
    let mut readers = [
        Reader::subscribe(&fixture.server, &signed_out).await,
        Reader::subscribe(&fixture.server, &demoted).await,
        Reader::subscribe(&fixture.server, &fixture.admin).await,
    ];
    for reader in &mut readers {
        reader.read_until("heartbeat").await;
    }
    fixture
        .replica
        .sign_out(&signed_out.access_token)
        .await
        .is(204, "");
    let path = demoted.user_path();
    let admin = &fixture.admin.access_token;
    fixture
        .server
        .with_token(Method::PATCH, &path, admin, json!({"role": "user"}))
        .await
        .is(200, "");
    fixture.server.sign_out(admin).await.is(204, "");
    let received = [
        readers[0].read_to_end().await,
        readers[1].read_to_end().await,
    ];
    for (events, session) in received.iter().zip([&signed_out, &demoted]) {
        assert!(
            events
                .iter()
                .all(|event| !event.is_of("session", &session.claim("sid"))),
            "no event after the revocation: {events:?}"
        );
    }
    readers[2].read_to_end().await;
    assert_eq!(value(&fixture.server, closed_streams).await, 3.0);
    assert_eq!(count_streams(&fixture.server).await, 0.0);
}

#[tokio::test]
async fn expired_token_closes_its_stream() {
    let fixture = Fixture::with(&[("LATCHKEY_ACCESS_LIFETIME", "10s")]).await;
    let admin = fixture.server.sign_in("root").await;
    let mut reader = Reader::subscribe(&fixture.server, &admin).await;
    reader.read_until("heartbeat").await;
    reader.read_to_end().await;
    fixture
        .server
        .send(stream_request(&fixture.server, &admin))
        .await
        .is(401, "token_expired");
}

#[tokio::test]
async fn streams_beyond_limit_are_rejected() {
    let fixture = Fixture::with(&[("LATCHKEY_REVOCATION_STREAMS", "2")]).await;
    let (first, second) = (
        fixture.subscribe(&fixture.server).await,
        fixture.subscribe(&fixture.server).await,
    );
    assert_eq!(count_streams(&fixture.server).await, 2.0);
    let response = fixture
        .server
        .send(stream_request(&fixture.server, &fixture.admin))
        .await;
    assert!(!response.is(503, "busy").header("retry-after").is_empty());
    drop(first);
    wait_until("one stream is closed", || async {
        count_streams(&fixture.server).await == 1.0
    })
    .await;
    fixture.subscribe(&fixture.server).await;
    fixture.subscribe(&fixture.replica).await;
    drop(second);
}
