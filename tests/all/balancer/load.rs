//! A steady mixed load. Each user signs in once, and then creates, reads, updates, and deletes
//! items, and refreshes the session, one request after another.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::test_server::{Session, TestServer};

/// The pause before each request of a user.
const REQUEST_INTERVAL: Duration = Duration::from_millis(15);

/// A request that got no response, or one with an unexpected status.
#[derive(Debug)]
#[expect(dead_code, reason = "the text of a failed test contains the details")]
pub struct Failure {
    pub method: Method,
    pub path: String,
    /// `None` if there was no response.
    pub status: Option<u16>,
    pub details: String,
}

/// The requests of a load and their outcome.
#[derive(Debug, Default)]
pub struct Tally {
    pub sent: usize,
    pub failures: Vec<Failure>,
    /// The number of items that must exist: created and not deleted.
    pub kept: usize,
    pub duration: Duration,
}

pub struct Load {
    started_at: Instant,
    stopped: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    users: JoinSet<()>,
}

impl Load {
    /// Starts the load through a balancer. The users sign up on a replica.
    pub async fn start(replica: &TestServer, balancer: SocketAddr, user_count: usize) -> Load {
        let (stopped, tally) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Tally>>::default());
        let mut load = Load {
            started_at: Instant::now(),
            stopped,
            tally,
            users: JoinSet::new(),
        };
        for number in 0..user_count {
            let session = replica.sign_up(&format!("user{number}")).await;
            let client = reqwest::Client::builder()
                .timeout(Duration::from_secs(40))
                .build()
                .expect("a client");
            let user = User {
                client,
                balancer,
                session,
                tally: load.tally.clone(),
            };
            load.users.spawn(user.run(load.stopped.clone()));
        }
        load.started_at = Instant::now();
        load
    }

    pub fn sent(&self) -> usize {
        self.tally.lock().expect("no poisoned lock").sent
    }

    /// Stops the load after the round that each user has started.
    pub async fn stop(self) -> Tally {
        self.stopped.store(true, Ordering::Relaxed);
        self.users.join_all().await;
        let mut tally = std::mem::take(&mut *self.tally.lock().expect("no poisoned lock"));
        tally.duration = self.started_at.elapsed();
        tally
    }
}

struct User {
    client: reqwest::Client,
    balancer: SocketAddr,
    session: Session,
    tally: Arc<Mutex<Tally>>,
}

impl User {
    async fn run(mut self, stopped: Arc<AtomicBool>) {
        let mut keeps_item = false;
        while !stopped.load(Ordering::Relaxed) {
            self.use_item(keeps_item).await;
            self.use_session().await;
            keeps_item = !keeps_item;
        }
    }

    /// Creates, reads, and updates an item, and deletes it unless it is kept.
    async fn use_item(&mut self, keeps_item: bool) {
        let Some(item) = self
            .send(Method::POST, "/items", 201, json!({"name": "one"}))
            .await
        else {
            return;
        };
        self.tally().kept += 1;
        let path = format!("/items/{}", item["id"].as_str().expect("an ID"));
        self.send(Method::GET, &path, 200, Value::Null).await;
        self.send(Method::PATCH, &path, 200, json!({"name": "two"}))
            .await;
        self.send(Method::PUT, &path, 200, json!({"name": "three"}))
            .await;
        if !keeps_item
            && self
                .send(Method::DELETE, &path, 204, Value::Null)
                .await
                .is_some()
        {
            self.tally().kept -= 1;
        }
    }

    /// Checks and refreshes the session. The next round retries a failed refresh with its token.
    async fn use_session(&mut self) {
        self.send(Method::GET, "/auth/verify", 204, Value::Null)
            .await;
        self.send(Method::GET, "/user", 200, Value::Null).await;
        let body = json!({"refresh_token": self.session.refresh_token});
        if let Some(tokens) = self.send(Method::POST, "/refresh", 200, body).await {
            let token = |name: &str| tokens[name].as_str().expect("a token").to_owned();
            self.session = Session {
                access_token: token("access_token"),
                refresh_token: token("refresh_token"),
            };
        }
    }

    /// Returns the body if the response has this status. Otherwise, records a failure.
    async fn send(
        &mut self,
        method: Method,
        path: &str,
        status: u16,
        body: Value,
    ) -> Option<Value> {
        tokio::time::sleep(REQUEST_INTERVAL).await;
        let url = format!("http://{}{path}", self.balancer);
        let request = self
            .client
            .request(method.clone(), url)
            .bearer_auth(&self.session.access_token);
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let (actual, text) = match request.send().await {
            Ok(response) => (Some(response.status()), response.text().await),
            Err(error) => (error.status(), Err(error)),
        };
        self.tally().sent += 1;
        match text {
            Ok(body) if actual.is_some_and(|actual| actual == status) => {
                Some(serde_json::from_str(&body).unwrap_or_default())
            }
            text => {
                let (status, path) = (actual.as_ref().map(StatusCode::as_u16), path.to_owned());
                let details = text.unwrap_or_else(|error| format!("{error:?}"));
                self.tally().failures.push(Failure {
                    method,
                    path,
                    status,
                    details,
                });
                None
            }
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("no poisoned lock")
    }
}
