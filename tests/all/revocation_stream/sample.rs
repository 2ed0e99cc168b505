//! The README's reader, as it is printed: a service that checks tokens itself, and knows what was
//! taken back.

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

use super::Fixture;
use crate::{
    outage::OwnRedis,
    test_server::{Session, until},
};

/// Follows beside the service, and answers what it is asked line by line.
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
    requested = json.loads(line)
    print(json.dumps(denylist.is_revoked(requested["kid"], requested["claims"])), flush=True)
"#;

/// The service. It ends with this value.
struct Service {
    child: Child,
    requested: ChildStdin,
    responses: Lines<BufReader<ChildStdout>>,
}

impl Service {
    fn start(fixture: &Fixture) -> Service {
        let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
            .expect("there is a README");
        let (_, rest) = readme
            .split_once("<!-- reader -->\n```python\n")
            .expect("the marks");
        let (printed, _) = rest.split_once("```\n<!-- /reader -->").expect("the marks");
        let mut child = Command::new("/usr/bin/python3")
            .args([
                "-c",
                &format!("{printed}{SERVICE}"),
                &fixture.server.url(""),
                &fixture.admin.access_token,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python is installed");
        let (requested, responses) = (
            child.stdin.take().expect("piped"),
            child.stdout.take().expect("piped"),
        );
        Service {
            child,
            requested,
            responses: BufReader::new(responses).lines(),
        }
    }

    /// Whether it refuses the token; nothing where it does not know.
    fn refuses(&mut self, session: &Session) -> Option<bool> {
        let question = json!({"kid": "some", "claims": session.claims()});
        writeln!(self.requested, "{question}").expect("it runs");
        let response = self.responses.next().expect("it runs").expect("a line");
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
async fn the_reader_of_the_readme_knows_what_was_taken_back() {
    let mut own = OwnRedis::start();
    let fixture = Fixture::with(&[("REDIS_URL", &own.redis.url())]).await;
    let (john, all) = (
        fixture.server.sign_in("john").await,
        fixture.server.sign_up("jane").await,
    );
    let service = std::cell::RefCell::new(Service::start(&fixture));
    let says = async |session: &Session, verdict| {
        until("it says so", || async {
            service.borrow_mut().refuses(session) == verdict
        })
        .await;
    };
    // There may be a moment at which it does not know; what it knows is right.
    let knows = async |session: &Session| {
        let told = std::cell::Cell::new(None);
        until("it knows", || async {
            told.set(service.borrow_mut().refuses(session));
            told.get().is_some()
        })
        .await;
        told.get()
    };
    says(&john, Some(false)).await;
    assert_eq!(knows(&fixture.out).await, Some(true), "from before it came");
    fixture
        .replica
        .log_out(&john.access_token)
        .await
        .is(204, "");
    says(&john, Some(true)).await;
    assert_eq!(knows(&all).await, Some(false));
    let everywhere = fixture
        .replica
        .request(reqwest::Method::POST, "/logout?scope=all");
    fixture
        .replica
        .send(everywhere.bearer_auth(&all.access_token))
        .await
        .is(204, "");
    says(&all, Some(true)).await;
    let again = fixture.server.sign_in("jane").await;
    assert_eq!(
        knows(&again).await,
        Some(false),
        "of the generation that counts"
    );
    // What it does not know it does not claim to know; what it knew it still knows.
    own.redis.kill();
    says(&again, None).await;
    own.redis.start_again().expect("it can be started");
    says(&again, Some(false)).await;
    for out in [&john, &all, &fixture.out] {
        assert_eq!(knows(out).await, Some(true));
    }
}
