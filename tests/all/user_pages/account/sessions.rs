//! The page `/account/sessions`.

use super::{Browser, signed_in};
use crate::{
    browser::NAME,
    proxy::{ConnectionState, Proxy},
    test_server::{PASSWORD, TestServer, wait_until},
};

const CHROME: &str = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/131.0.0.0 Mobile Safari/537.36";

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";

/// Whether the server accepts the session cookie.
async fn is_signed_in(server: &TestServer, cookie: &str) -> bool {
    let request = server
        .request(reqwest::Method::GET, "/session")
        .header("cookie", format!("{NAME}={cookie}"));
    server.send(request).await.status == 200
}

#[tokio::test]
async fn session_of_another_device_is_revoked() {
    let server = TestServer::shared().await;
    let replica = server.replica().await;
    server.sign_up("john").await;
    let mut browser = Browser::with_agent(&server, FIREFOX);
    browser.sign_in("john", PASSWORD).await;
    let mut phone = Browser::with_agent(&server, CHROME);
    phone.sign_in("john", PASSWORD).await;
    let cookie = phone.session_cookie().expect("a cookie").to_owned();
    assert!(is_signed_in(&replica, &cookie).await);

    let page = browser.get("/account/sessions").await;
    page.is(
        200,
        &[
            "<strong>Firefox on Linux</strong> (this device)",
            "Active now",
            "<strong>Chrome on Android</strong>",
            "aria-label=\"Sign out Chrome on Android\"",
            "aria-label=\"Sign out Unknown device\"",
            "127.0.0.1",
        ],
    );
    let position = |text| page.text.find(text).expect("a device");
    assert!(position("Firefox on Linux") < position("Chrome on Android"));
    assert!(position("Chrome on Android") < position("Unknown device"));
    assert!(
        !page.text.contains("Sign out Firefox"),
        "this device signs out elsewhere"
    );

    let id = page.value("session").to_owned();
    let fields = [("session", id.as_str())];
    let revoked = browser.post("/account/sessions", &fields).await;
    revoked.leads_to("/account/sessions");
    assert!(!is_signed_in(&replica, &cookie).await);
    let page = browser.get("/account/sessions").await;
    page.is(200, &["Chrome on Android has been signed out."]);
    assert!(!page.text.contains("<strong>Chrome"));
    // The same form has no second effect.
    let repeated = browser.post("/account/sessions", &fields).await;
    repeated.leads_to("/account/sessions");
    let location = phone.get("/account/sessions").await;
    assert!(location.location().starts_with("/sign-in?return_to="));
}

#[tokio::test]
async fn all_other_sessions_are_revoked() {
    let server = TestServer::shared().await;
    let replica = server.replica().await;
    let mut browser = signed_in(&server).await;
    let others = [server.sign_in("john").await, server.sign_in("john").await];
    let fields = [("others", "yes")];
    let revoked = browser.post("/account/sessions", &fields).await;
    revoked.leads_to("/account/sessions");
    for other in &others {
        replica.rejects(other).await;
    }
    let page = browser.get("/account/sessions").await;
    page.is(
        200,
        &[
            "You&#39;ve been signed out on all other devices.",
            "You aren&#39;t signed in on any other device.",
        ],
    );
    assert!(!page.text.contains("Sign out of all other devices"));
}

/// The revocation is committed, but the server can't publish it yet.
#[tokio::test]
async fn revocation_without_redis_is_saved() {
    let proxy = Proxy::to_redis().await;
    let redis = proxy.redis_url();
    let server = TestServer::with(&[("REDIS_URL", &redis)]).await;
    let mut browser = signed_in(&server).await;
    let other = server.sign_in("john").await;
    proxy.set(ConnectionState::Cut);
    let page = browser
        .post("/account/sessions", &[("others", "yes")])
        .await;
    page.is(
        503,
        &[
            "Your change is saved and takes effect in a few seconds.",
            "href=\"/account/sessions\">Check again",
        ],
    );
    assert!(page.headers.contains_key("retry-after"));
    proxy.set(ConnectionState::Open);
    wait_until("the revocation", || async {
        server.verify(&other.access_token).await.0 == 401
    })
    .await;
    let page = browser.get("/account/sessions").await;
    page.is(200, &["You aren&#39;t signed in on any other device."]);
}

#[tokio::test]
async fn sessions_of_other_users_stay() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    let mary = server.sign_up("mary").await;
    for id in [mary.claim("sid").as_str(), "x", ""] {
        let page = browser.post("/account/sessions", &[("session", id)]).await;
        page.is(404, &["Page not found", "href=\"/account/sessions\">Back"]);
    }
    assert_eq!(server.verify(&mary.access_token).await.0, 204);
}

#[tokio::test]
async fn session_of_this_device_can_be_revoked() {
    let server = TestServer::shared().await;
    let mut browser = signed_in(&server).await;
    let cookie = browser.session_cookie().expect("a cookie").to_owned();
    let sid = crate::test_server::claims(&cookie)["sid"].clone();
    let fields = [("session", sid.as_str().expect("a session ID"))];
    let revoked = browser.post("/account/sessions", &fields).await;
    revoked.leads_to("/sign-in");
    assert_eq!(browser.session_cookie(), None);
    assert!(!is_signed_in(&server, &cookie).await);
}
