//! Collects the secrets that a test sends to a server and receives from it, so that the end of
//! every test can search the log for them.

use std::{collections::HashSet, sync::Mutex};

use reqwest::{Request, Url, header};
use serde_json::Value;

use crate::test_server::TestResponse;

/// The fields of requests and responses that contain a secret.
const SECRET_FIELDS: [&str; 9] = [
    "access_token",
    "client_secret",
    "code",
    "current_password",
    "new_password",
    "password",
    "refresh_token",
    "secret",
    "token",
];

/// Shorter texts could appear in a log by accident.
const MIN_LENGTH: usize = 9;

/// A load test needs no more of them.
const MAX_SECRETS: usize = 500;

/// The secrets of one server under test.
#[derive(Default)]
pub struct SentSecrets(Mutex<HashSet<String>>);

impl SentSecrets {
    pub fn add_request(&self, request: &Request) {
        for name in [header::AUTHORIZATION, header::COOKIE] {
            if let Some(value) = request.headers().get(name)
                && let Ok(value) = value.to_str()
            {
                // `Bearer TOKEN` or `name=TOKEN`.
                self.add(value.rsplit([' ', '=']).next().unwrap_or(value));
            }
        }
        let Some(body) = request.body().and_then(|body| body.as_bytes()) else {
            return;
        };
        match serde_json::from_slice::<Value>(body) {
            Ok(body) => self.add_fields(&body),
            Err(_) => self.add_form(&String::from_utf8_lossy(body)),
        }
    }

    pub fn add_response(&self, response: &TestResponse) {
        if response.status < 300 {
            self.add_fields(&response.body);
        }
        if let Some(cookie) = response.headers.get(header::SET_COOKIE)
            && let Ok(cookie) = cookie.to_str()
        {
            let pair = cookie.split(';').next().unwrap_or_default();
            self.add(pair.split_once('=').map_or("", |(_, value)| value));
        }
    }

    fn add_fields(&self, body: &Value) {
        for name in SECRET_FIELDS {
            if let Some(secret) = body[name].as_str() {
                self.add(secret);
            }
        }
    }

    fn add_form(&self, body: &str) {
        let Ok(url) = Url::parse(&format!("http://localhost/?{body}")) else {
            return;
        };
        for (name, value) in url.query_pairs() {
            if SECRET_FIELDS.contains(&name.as_ref()) {
                self.add(&value);
            }
        }
    }

    fn add(&self, secret: &str) {
        // The signature of a JWT is its secret part.
        let secret = secret.rsplit('.').next().unwrap_or(secret);
        // Texts without a digit are words of an invalid request, for example `password`.
        if secret.len() < MIN_LENGTH || !secret.contains(|c: char| c.is_ascii_digit()) {
            return;
        }
        let mut secrets = self.0.lock().expect("the lock isn't poisoned");
        if secrets.len() < MAX_SECRETS {
            secrets.insert(secret.to_owned());
        }
    }

    /// Asserts that no line contains a secret.
    pub fn assert_not_logged(&self, log: &[String]) {
        let secrets = self.0.lock().expect("the lock isn't poisoned");
        for secret in secrets.iter() {
            let line = log.iter().find(|line| line.contains(secret));
            assert!(line.is_none(), "the log contains `{secret}`: {line:?}");
        }
    }
}
