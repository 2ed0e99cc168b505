//! Runs the sample code of `docs/how-to/validate-tokens-locally.md`: a service that validates
//! tokens locally and follows the revocation stream.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::Fixture;
use crate::{
    outage::OwnRedis,
    test_server::{Session, wait_until},
};

/// Follows the stream in a thread, and responds to each line of standard input with one line.
const SERVICE: &str = r#"
import sys, threading

denylist = Denylist()

def follow():
    while True:
        try:
            denylist.follow(sys.argv[1], sys.argv[2])
        except OSError:
            pass
        time.sleep(0.1)

threading.Thread(target=follow, daemon=True).start()
for line in sys.stdin:
    request = json.loads(line)
    print(json.dumps(denylist.is_revoked(request["kid"], request["claims"])), flush=True)
"#;

/// A running service. Dropping this value stops the service.
struct Service {
    child: Child,
    requests: ChildStdin,
    responses: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(fixture: &Fixture) -> Service {
        let page = "/docs/how-to/validate-tokens-locally.md";
        let page = fs::read_to_string(format!("{}{page}", env!("CARGO_MANIFEST_DIR")));
        let page = page.expect("the page");
        let (_, rest) = page
            .split_once("<!-- reader -->\n```python\n")
            .expect("the start of the sample");
        let (sample, _) = rest
            .split_once("```\n<!-- /reader -->")
            .expect("the end of the sample");
        let mut child = Command::new("/usr/bin/python3")
            .args([
                "-c",
                &format!("{sample}{SERVICE}"),
                &fixture.server.url(""),
                &fixture.admin.access_token,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is installed");
        let (requests, responses) = (
            child.stdin.take().expect("a piped standard input"),
            child.stdout.take().expect("a piped standard output"),
        );
        Service {
            child,
            requests,
            responses: BufReader::new(responses).lines(),
        }
    }

    /// Returns whether the token is revoked, or `None` while the service can't decide it.
    fn is_revoked(&mut self, session: &Session) -> Option<bool> {
        let request = json!({"kid": "some", "claims": session.claims()});
        writeln!(self.requests, "{request}").expect("a running service");
        let response = self
            .responses
            .next()
            .expect("a running service")
            .expect("a line");
        serde_json::from_str::<Value>(&response)
            .expect("JSON")
            .as_bool()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn sample_detects_revoked_tokens() {
    let mut own_redis = OwnRedis::start();
    let fixture = Fixture::with(&[("REDIS_URL", &own_redis.redis.url())]).await;
    let (session, user_session) = (
        fixture.server.sign_in("john").await,
        fixture.server.sign_up("jane").await,
    );
    let service = std::cell::RefCell::new(Service::start(&fixture));
    let wait_for_result = async |session: &Session, expected| {
        wait_until("the expected result", || async {
            service.borrow_mut().is_revoked(session) == expected
        })
        .await;
    };
    // The service can be undecided for a moment, but its first decision must be correct.
    let first_decision = async |session: &Session| {
        let result = std::cell::Cell::new(None);
        wait_until("a decision", || async {
            result.set(service.borrow_mut().is_revoked(session));
            result.get().is_some()
        })
        .await;
        result.get()
    };
    wait_for_result(&session, Some(false)).await;
    assert_eq!(
        first_decision(&fixture.revoked).await,
        Some(true),
        "revoked before the service started"
    );
    fixture
        .replica
        .sign_out(&session.access_token)
        .await
        .is(204, "");
    wait_for_result(&session, Some(true)).await;
    assert_eq!(first_decision(&user_session).await, Some(false));
    let sign_out_everywhere = fixture
        .replica
        .request(reqwest::Method::POST, "/logout?scope=all");
    fixture
        .replica
        .send(sign_out_everywhere.bearer_auth(&user_session.access_token))
        .await
        .is(204, "");
    wait_for_result(&user_session, Some(true)).await;
    let new_session = fixture.server.sign_in("jane").await;
    assert_eq!(
        first_decision(&new_session).await,
        Some(false),
        "a token of the new generation"
    );
    // During the outage, the service doesn't accept tokens. Known revocations stay known.
    own_redis.redis.kill();
    wait_for_result(&new_session, None).await;
    own_redis.redis.restart().expect("Redis starts");
    wait_for_result(&new_session, Some(false)).await;
    for revoked in [&session, &user_session, &fixture.revoked] {
        assert_eq!(first_decision(revoked).await, Some(true));
    }
}
