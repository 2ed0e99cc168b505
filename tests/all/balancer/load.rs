//! A steady mixed load: people who sign in once, and then make, read, change and remove items, and
//! refresh, one request after the other.

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

/// Between two requests of a person.
const PACE: Duration = Duration::from_millis(15);

/// A request that was not answered as it should be.
#[derive(Debug)]
#[expect(
    dead_code,
    reason = "what was told is for whoever reads why a test failed"
)]
pub struct Failure {
    pub method: Method,
    pub path: String,
    /// The status; none where there was no answer at all.
    pub status: Option<u16>,
    pub told: String,
}

/// What was sent, and what came of it.
#[derive(Debug, Default)]
pub struct Tally {
    pub sent: usize,
    pub failures: Vec<Failure>,
    /// How many items there must be: made and not removed.
    pub kept: usize,
    pub took: Duration,
}

/// The load, while it lasts.
pub struct Load {
    began: Instant,
    stopped: Arc<AtomicBool>,
    tally: Arc<Mutex<Tally>>,
    people: JoinSet<()>,
}

impl Load {
    /// So many people, by way of a balancer. Their accounts are made by a replica.
    pub async fn begin(replica: &TestServer, balancer: SocketAddr, people: usize) -> Load {
        let (stopped, tally) = (Arc::<AtomicBool>::default(), Arc::<Mutex<Tally>>::default());
        let mut load = Load {
            began: Instant::now(),
            stopped,
            tally,
            people: JoinSet::new(),
        };
        for number in 0..people {
            let session = replica.sign_up(&format!("person{number}")).await;
            let client = reqwest::Client::builder()
                .timeout(Duration::from_secs(40))
                .build()
                .expect("a client");
            let person = Person {
                client,
                balancer,
                session,
                tally: load.tally.clone(),
            };
            load.people.spawn(person.live(load.stopped.clone()));
        }
        load.began = Instant::now();
        load
    }

    pub fn sent(&self) -> usize {
        self.tally.lock().expect("nobody panics").sent
    }

    /// Ends it; what was begun is finished.
    pub async fn end(self) -> Tally {
        self.stopped.store(true, Ordering::Relaxed);
        self.people.join_all().await;
        let mut tally = std::mem::take(&mut *self.tally.lock().expect("nobody panics"));
        tally.took = self.began.elapsed();
        tally
    }
}

struct Person {
    client: reqwest::Client,
    balancer: SocketAddr,
    session: Session,
    tally: Arc<Mutex<Tally>>,
}

impl Person {
    async fn live(mut self, stopped: Arc<AtomicBool>) {
        let mut keeps = false;
        while !stopped.load(Ordering::Relaxed) {
            self.have_an_item(keeps).await;
            self.go_on().await;
            keeps = !keeps;
        }
    }

    /// From its making to its end, unless it is kept.
    async fn have_an_item(&mut self, keeps: bool) {
        let Some(item) = self
            .ask(Method::POST, "/items", 201, json!({"name": "one"}))
            .await
        else {
            return;
        };
        self.tally().kept += 1;
        let path = format!("/items/{}", item["id"].as_str().expect("an id"));
        self.ask(Method::GET, &path, 200, Value::Null).await;
        self.ask(Method::PATCH, &path, 200, json!({"name": "two"}))
            .await;
        self.ask(Method::PUT, &path, 200, json!({"name": "three"}))
            .await;
        if !keeps
            && self
                .ask(Method::DELETE, &path, 204, Value::Null)
                .await
                .is_some()
        {
            self.tally().kept -= 1;
        }
    }

    /// A refresh that failed is tried again in the next round with the same token.
    async fn go_on(&mut self) {
        self.ask(Method::GET, "/auth/verify", 204, Value::Null)
            .await;
        self.ask(Method::GET, "/user", 200, Value::Null).await;
        let body = json!({"refresh_token": self.session.refresh_token});
        if let Some(pair) = self.ask(Method::POST, "/refresh", 200, body).await {
            let token = |name: &str| pair[name].as_str().expect("a token").to_owned();
            self.session = Session {
                access_token: token("access_token"),
                refresh_token: token("refresh_token"),
            };
        }
    }

    /// What the answer says, if it is the right one; else it is written down.
    async fn ask(&mut self, method: Method, path: &str, status: u16, body: Value) -> Option<Value> {
        tokio::time::sleep(PACE).await;
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
        let (answered, told) = match request.send().await {
            Ok(response) => (Some(response.status()), response.text().await),
            Err(error) => (error.status(), Err(error)),
        };
        self.tally().sent += 1;
        match told {
            Ok(body) if answered.is_some_and(|answered| answered == status) => {
                Some(serde_json::from_str(&body).unwrap_or_default())
            }
            told => {
                let (status, path) = (answered.as_ref().map(StatusCode::as_u16), path.to_owned());
                let told = told.unwrap_or_else(|error| format!("{error:?}"));
                self.tally().failures.push(Failure {
                    method,
                    path,
                    status,
                    told,
                });
                None
            }
        }
    }

    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("nobody panics")
    }
}
