//! Three replicas that can be exchanged one by one, and people who use whichever of them answers.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::test_server::{PASSWORD, Session, TestResponse, TestServer};

/// Replicas of one gateway.
pub struct Fleet {
    replicas: Mutex<Vec<Arc<TestServer>>>,
    next: AtomicUsize,
}

/// How many people use them.
const PEOPLE: usize = 3;

impl Fleet {
    pub async fn start(changes: &[(&str, &str)]) -> Fleet {
        let first = TestServer::with(changes).await;
        let others = [first.replica().await, first.replica().await];
        let replicas = std::iter::once(first).chain(others).map(Arc::new).collect();
        Fleet {
            replicas: Mutex::new(replicas),
            next: AtomicUsize::new(0),
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Arc<TestServer>> {
        self.replicas
            .lock()
            .expect("nothing panics while it is held")
            .clone()
    }

    /// One after the other.
    pub fn any(&self) -> Arc<TestServer> {
        let all = self.all();
        all[self.next.fetch_add(1, Ordering::Relaxed) % all.len()].clone()
    }

    /// Exchanges one for another with these settings, which is there before the old one ends.
    pub async fn exchange(&self, number: usize, changes: &[(&str, &str)]) {
        let new = self.all()[number].replica_with(changes).await;
        let old = {
            let mut replicas = self
                .replicas
                .lock()
                .expect("nothing panics while it is held");
            std::mem::replace(&mut replicas[number], Arc::new(new))
        };
        // Whoever talks to it finishes.
        old.terminate();
        crate::test_server::until("the old one has ended", || async {
            old.try_get("/health/live").await.is_none()
        })
        .await;
    }

    /// Asks one; another one, where it has ended.
    pub async fn ask(&self, request: impl Fn(&TestServer) -> RequestBuilder) -> TestResponse {
        for _ in 0..100 {
            let server = self.any();
            if let Some(response) = server.try_send(request(&server)).await {
                return response;
            }
        }
        panic!("no replica responds")
    }

    /// People sign in, refresh and are checked, and nothing that is good is ever refused, as long
    /// as the story goes on. How often they were let in.
    pub async fn under_load(&self, story: impl Future<Output = ()>) -> usize {
        let over = AtomicBool::new(false);
        let people = join_all((0..PEOPLE).map(|number| self.person(number, &over)));
        let story = async {
            story.await;
            over.store(true, Ordering::Relaxed);
        };
        let (rounds, ()) = tokio::join!(people, story);
        rounds.into_iter().sum()
    }

    async fn person(&self, number: usize, over: &AtomicBool) -> usize {
        let body = json!({"username": format!("person{number}"), "password": PASSWORD});
        let mut session = Session::of(
            self.ask(|any| any.request(Method::POST, "/signup").json(&body))
                .await
                .is(201, ""),
        );
        let mut checks = 0;
        while !over.load(Ordering::Relaxed) {
            for _ in 0..3 {
                let check = |any: &TestServer| {
                    any.request(Method::GET, "/auth/verify")
                        .bearer_auth(&session.access_token)
                };
                self.ask(check).await.is(204, "");
                checks += 1;
            }
            let token = json!({"refresh_token": session.refresh_token});
            session = Session::of(
                self.ask(|any| any.request(Method::POST, "/refresh").json(&token))
                    .await
                    .is(200, ""),
            );
            if checks % 30 == 0 {
                session = Session::of(
                    self.ask(|any| any.request(Method::POST, "/login").json(&body))
                        .await
                        .is(200, ""),
                );
            }
        }
        checks
    }
}
