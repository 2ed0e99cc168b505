//! A reader of the feed. Every event that it reads is compared with the document.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::{
    contract,
    test_server::{Session, TestServer},
};

/// No event is waited for longer, not even on a busy machine.
const LIMIT: Duration = Duration::from_secs(40);

/// One event.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Event {
    pub fn number(&self) -> u64 {
        self.data["sequence"]
            .as_u64()
            .unwrap_or_else(|| panic!("a number: {self:?}"))
    }

    pub fn previous(&self) -> u64 {
        self.data["previous_sequence"]
            .as_u64()
            .unwrap_or_else(|| panic!("a number: {self:?}"))
    }

    pub fn epoch(&self) -> &str {
        self.data["epoch_id"]
            .as_str()
            .unwrap_or_else(|| panic!("an epoch: {self:?}"))
    }

    /// Whether this was taken back.
    pub fn is_of(&self, kind: &str, id: &str) -> bool {
        self.name == "revoked" && self.data["kind"] == kind && self.data["id"] == id
    }

    fn read(block: &str) -> Option<Event> {
        let mut event = Event::default();
        for line in block.lines() {
            let (field, value) = line.split_once(": ").expect("a field");
            match field {
                "event" => event.name = value.to_owned(),
                "id" => event.id = value.to_owned(),
                "data" => event.data = serde_json::from_str(value).expect("JSON"),
                other => assert_eq!(other, "retry"),
            }
        }
        (!event.name.is_empty()).then_some(event)
    }
}

/// Somebody who follows.
pub struct Reader {
    response: Response,
    text: String,
}

/// A request for the stream.
pub fn request(server: &TestServer, session: &Session) -> RequestBuilder {
    let request = server
        .request(Method::GET, "/revocations")
        .header("accept", "text/event-stream");
    request
        .bearer_auth(&session.access_token)
        .timeout(3 * LIMIT)
}

impl Reader {
    pub async fn of(server: &TestServer, session: &Session) -> Reader {
        Reader::with(request(server, session)).await
    }

    /// Goes on from there.
    pub async fn from(server: &TestServer, session: &Session, id: &str) -> Reader {
        Reader::with(request(server, session).header("last-event-id", id)).await
    }

    pub async fn with(request: RequestBuilder) -> Reader {
        let response = request.send().await.expect("the server responds");
        assert_eq!(
            (
                response.status().as_u16(),
                &response.headers()["content-type"] == "text/event-stream"
            ),
            (200, true)
        );
        Reader {
            response,
            text: String::new(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The next event; nothing where the stream has ended.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (Event::read(block), rest.to_owned());
                self.text = rest;
                let Some(event) = event else { continue };
                contract::check_event(&Method::GET, "/revocations", &event.name, &event.data);
                return Some(event);
            }
            let chunk = tokio::time::timeout(LIMIT, self.response.chunk())
                .await
                .expect("it goes on or ends");
            match chunk.expect("it is not cut") {
                Some(chunk) => self
                    .text
                    .push_str(std::str::from_utf8(&chunk).expect("whole events")),
                None => {
                    assert_eq!(self.text, "", "it ends between two events");
                    return None;
                }
            }
        }
    }

    /// The events up to the first of this name, with it.
    pub async fn until(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self
                .next()
                .await
                .unwrap_or_else(|| panic!("it ended before {name}, after {} events", events.len()));
            events.push(event);
            if events.last().is_some_and(|event| event.name == name) {
                return events;
            }
        }
    }

    /// The next event of this name.
    pub async fn first(&mut self, name: &str) -> Event {
        self.until(name).await.pop().expect("it has it")
    }

    /// How often this is said before that: only looked at, because there is much of it.
    pub async fn count(&mut self, what: &str, before: &str) -> usize {
        let mut count = 0;
        while !self.text.contains(before) {
            let (whole, rest) = self.text.rsplit_once("\n\n").unwrap_or(("", &self.text));
            count += whole.matches(what).count();
            self.text = rest.to_owned();
            let chunk = self
                .response
                .chunk()
                .await
                .expect("it is not cut")
                .expect("it goes on");
            self.text
                .push_str(std::str::from_utf8(&chunk).expect("text"));
        }
        let (told, rest) = self.text.split_once(before).expect("it is there");
        count += told.matches(what).count();
        self.text = format!("{before}{rest}");
        count
    }

    /// All events until it ends.
    pub async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}
