//! Reads the revocation stream and checks each event against the OpenAPI document.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::{
    contract,
    test_server::{Session, TestServer},
};

/// Maximum wait for the next event, sufficient for a busy machine.
const EVENT_TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub id: String,
    pub data: Value,
}

impl Event {
    pub fn sequence(&self) -> u64 {
        self.data["sequence"]
            .as_u64()
            .unwrap_or_else(|| panic!("no sequence number: {self:?}"))
    }

    pub fn previous_sequence(&self) -> u64 {
        self.data["previous_sequence"]
            .as_u64()
            .unwrap_or_else(|| panic!("no sequence number: {self:?}"))
    }

    pub fn epoch_id(&self) -> &str {
        self.data["epoch_id"]
            .as_str()
            .unwrap_or_else(|| panic!("no epoch ID: {self:?}"))
    }

    /// Returns whether the event revokes this subject.
    pub fn is_of(&self, kind: &str, id: &str) -> bool {
        self.name == "revoked" && self.data["kind"] == kind && self.data["id"] == id
    }

    fn parse(block: &str) -> Option<Event> {
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

/// A subscriber of the revocation stream.
pub struct Reader {
    response: Response,
    /// Received text that isn't parsed yet.
    buffer: String,
}

/// Builds a request for the stream.
pub fn stream_request(server: &TestServer, session: &Session) -> RequestBuilder {
    let request = server
        .request(Method::GET, "/revocations")
        .header("accept", "text/event-stream");
    request
        .bearer_auth(&session.access_token)
        .timeout(3 * EVENT_TIMEOUT)
}

impl Reader {
    /// Subscribes from the beginning.
    pub async fn subscribe(server: &TestServer, session: &Session) -> Reader {
        Reader::with(stream_request(server, session)).await
    }

    /// Subscribes from the event with this ID.
    pub async fn resume(server: &TestServer, session: &Session, id: &str) -> Reader {
        Reader::with(stream_request(server, session).header("last-event-id", id)).await
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
            buffer: String::new(),
        }
    }

    pub fn header(&self, name: &str) -> &str {
        self.response
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// Returns the next event, or `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let (event, rest) = (Event::parse(block), rest.to_owned());
                self.buffer = rest;
                let Some(event) = event else { continue };
                contract::check_event(&Method::GET, "/revocations", &event.name, &event.data);
                return Some(event);
            }
            let chunk = tokio::time::timeout(EVENT_TIMEOUT, self.response.chunk())
                .await
                .expect("an event or the end in time");
            match chunk.expect("an uninterrupted stream") {
                Some(chunk) => self
                    .buffer
                    .push_str(std::str::from_utf8(&chunk).expect("UTF-8")),
                None => {
                    assert_eq!(self.buffer, "", "the stream ends between two events");
                    return None;
                }
            }
        }
    }

    /// Returns the events up to and including the first event with this name.
    pub async fn read_until(&mut self, name: &str) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next().await.unwrap_or_else(|| {
                panic!(
                    "the stream ended before {name}, after {} events",
                    events.len()
                )
            });
            events.push(event);
            if events.last().is_some_and(|event| event.name == name) {
                return events;
            }
        }
    }

    /// Returns the next event with this name.
    pub async fn first(&mut self, name: &str) -> Event {
        self.read_until(name).await.pop().expect("an event")
    }

    /// Counts the occurrences of a text before another text.
    ///
    /// The events aren't parsed, because a test counts thousands of them.
    pub async fn count(&mut self, text: &str, end: &str) -> usize {
        let mut count = 0;
        while !self.buffer.contains(end) {
            let (complete, rest) = self
                .buffer
                .rsplit_once("\n\n")
                .unwrap_or(("", &self.buffer));
            count += complete.matches(text).count();
            self.buffer = rest.to_owned();
            let chunk = self
                .response
                .chunk()
                .await
                .expect("an uninterrupted stream")
                .expect("a stream that continues");
            self.buffer
                .push_str(std::str::from_utf8(&chunk).expect("UTF-8"));
        }
        let (before, rest) = self.buffer.split_once(end).expect("the text at the end");
        count += before.matches(text).count();
        self.buffer = format!("{end}{rest}");
        count
    }

    /// Returns all events up to the end of the stream.
    pub async fn read_to_end(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}
