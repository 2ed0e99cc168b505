//! Three replicas that tests replace one by one, and simulated users who use all of them.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::test_server::{PASSWORD, Session, TestResponse, TestServer};

/// Three replicas with the same stores.
pub struct Fleet {
    replicas: Mutex<Vec<Arc<TestServer>>>,
    next: AtomicUsize,
}

/// Number of simulated users.
const SIMULATED_USERS: usize = 3;

impl Fleet {
    pub async fn start(changes: &[(&str, &str)]) -> Fleet {
        let first = TestServer::with(changes).await;
        let more = [first.replica().await, first.replica().await];
        let replicas = std::iter::once(first).chain(more).map(Arc::new).collect();
        Fleet {
            replicas: Mutex::new(replicas),
            next: AtomicUsize::new(0),
        }
    }

    pub fn replicas(&self) -> Vec<Arc<TestServer>> {
        self.replicas.lock().expect("no panic while locked").clone()
    }

    /// Returns the replicas in turn.
    pub fn next_replica(&self) -> Arc<TestServer> {
        let replicas = self.replicas();
        replicas[self.next.fetch_add(1, Ordering::Relaxed) % replicas.len()].clone()
    }

    /// Starts a new replica with these settings, and then stops the old one.
    pub async fn replace(&self, number: usize, changes: &[(&str, &str)]) {
        let new = self.replicas()[number].replica_with(changes).await;
        let old = {
            let mut replicas = self.replicas.lock().expect("no panic while locked");
            std::mem::replace(&mut replicas[number], Arc::new(new))
        };
        // SIGTERM lets requests in progress finish.
        old.terminate();
        crate::test_server::wait_until("the old replica has stopped", || async {
            old.try_get("/health/live").await.is_none()
        })
        .await;
    }

    /// Sends a request to one replica, or to the next one if that replica has stopped.
    pub async fn send(&self, request: impl Fn(&TestServer) -> RequestBuilder) -> TestResponse {
        for _ in 0..100 {
            let server = self.next_replica();
            if let Some(response) = server.try_send(request(&server)).await {
                return response;
            }
        }
        panic!("no replica responds")
    }

    /// Simulated users sign in, refresh, and are checked while the action runs. Asserts that no
    /// valid credential is rejected, and returns the number of checks.
    pub async fn under_load(&self, action: impl Future<Output = ()>) -> usize {
        let is_done = AtomicBool::new(false);
        let users =
            join_all((0..SIMULATED_USERS).map(|number| self.simulate_user(number, &is_done)));
        let action = async {
            action.await;
            is_done.store(true, Ordering::Relaxed);
        };
        let (checks, ()) = tokio::join!(users, action);
        checks.into_iter().sum()
    }

    async fn simulate_user(&self, number: usize, is_done: &AtomicBool) -> usize {
        let body = json!({"username": format!("user{number}"), "password": PASSWORD});
        let mut session = Session::of(
            self.send(|replica| replica.request(Method::POST, "/signup").json(&body))
                .await
                .is(201, ""),
        );
        let mut checks = 0;
        while !is_done.load(Ordering::Relaxed) {
            for _ in 0..3 {
                let check = |replica: &TestServer| {
                    replica
                        .request(Method::GET, "/auth/verify")
                        .bearer_auth(&session.access_token)
                };
                self.send(check).await.is(204, "");
                checks += 1;
            }
            let token = json!({"refresh_token": session.refresh_token});
            session = Session::of(
                self.send(|replica| replica.request(Method::POST, "/refresh").json(&token))
                    .await
                    .is(200, ""),
            );
            if checks % 30 == 0 {
                session = Session::of(
                    self.send(|replica| replica.request(Method::POST, "/login").json(&body))
                        .await
                        .is(200, ""),
                );
            }
        }
        checks
    }
}
