//! A store is unavailable during the sign-in at an application.

use reqwest::Method;

use super::{Browser, NAVIGATION, SHOP, WIKI, callback::callback_url, start};
use crate::{
    browser::{NAME, aged},
    proxy::{ConnectionState, Proxy},
    test_server::{ISSUER, TestServer},
};

/// A replica whose connections to the stores can be cut.
struct Replica {
    server: TestServer,
    postgres: Proxy,
    redis: Proxy,
}

impl Replica {
    async fn of(server: &TestServer) -> Replica {
        Replica::with(server, ("LATCHKEY_LEASE", "250ms")).await
    }

    async fn with(server: &TestServer, change: (&str, &str)) -> Replica {
        let (postgres, redis) = (Proxy::to_postgres().await, Proxy::to_redis().await);
        let database = postgres.postgres_url(server.setting("DATABASE_URL"));
        let changes = [
            ("DATABASE_URL", database.as_str()),
            ("REDIS_URL", &redis.redis_url()),
            change,
        ];
        Replica {
            server: server.replica_with(&changes).await,
            postgres,
            redis,
        }
    }
}

/// A ticket contains everything that a check needs, so the callback requires no store.
#[tokio::test]
async fn callback_works_without_postgres() {
    let server = start().await;
    let replica = Replica::of(&server).await;
    let mut browser = Browser::new(&[&server]);
    let url = callback_url(&mut browser, SHOP).await;
    replica.postgres.set(ConnectionState::Cut);
    browser.replicas = vec![&replica.server];
    let response = browser.request(Method::GET, &url, &NAVIGATION, &[]).await;
    assert_eq!(response.is(303, &[]).location(), format!("{SHOP}/dash?a=b"));
    // The username follows with the next renewal.
    let page = browser.open(&format!("{SHOP}/")).await;
    assert_eq!(page.text, format!("{SHOP}/ for "));
    // A valid session cookie needs no store either, an expired one does.
    browser.open(&format!("{WIKI}/")).await.is(200, &[]);
    let session = browser.cookie(ISSUER, NAME).expect("a cookie").to_owned();
    browser.cookies.retain(|(origin, ..)| origin != WIKI);
    browser.set_cookie(ISSUER, NAME, aged(&server, &session, 2_400).await);
    let page = browser.open(&format!("{WIKI}/")).await;
    page.is(
        503,
        &["We can't do this right now. Try again in a few seconds."],
    );
    assert!(browser.cookie(ISSUER, NAME).is_some(), "the cookie stays");
}

#[tokio::test]
async fn callback_works_without_redis() {
    let server = start().await;
    let replica = Replica::of(&server).await;
    let mut browser = Browser::new(&[&server]);
    let url = callback_url(&mut browser, SHOP).await;
    replica.redis.set(ConnectionState::Cut);
    browser.replicas = vec![&replica.server];
    let page = browser.open(&url).await;
    page.is(200, &[&format!("{SHOP}/dash?a=b for john")]);
}

/// Without any store, a replica can't know whether the session is revoked.
#[tokio::test]
async fn callback_fails_without_stores_and_lease() {
    let server = start().await;
    let replica = Replica::with(&server, ("LATCHKEY_LEASE", "0s")).await;
    let mut browser = Browser::new(&[&server]);
    let url = callback_url(&mut browser, SHOP).await;
    browser.replicas = vec![&replica.server];
    replica.postgres.set(ConnectionState::Cut);
    replica.redis.set(ConnectionState::Cut);
    let page = browser.request(Method::GET, &url, &NAVIGATION, &[]).await;
    page.is(503, &["We can't do this right now.", "Try again"]);
    assert!(page.set_cookies().is_empty(), "{page:?}");
}
