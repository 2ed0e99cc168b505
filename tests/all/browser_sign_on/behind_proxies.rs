//! Sign-in and sign-out at an application behind a proxy, as `deploy/` configures it.

use futures_util::future::join_all;
use reqwest::Method;

use super::{Browser, NAVIGATION};
use crate::{
    forward_auth::{application::Application, proxies::ProxyKind},
    raw_http,
    test_server::TestServer,
};

/// Browsers store secure cookies of this host over plain HTTP.
const ORIGIN: &str = "http://app.localhost";

const SCRIPT: [(&str, &str); 2] = [("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];

#[tokio::test]
async fn browser_signs_in_and_out_behind_every_proxy() {
    join_all([ProxyKind::Nginx, ProxyKind::Caddy].map(signs_in_and_out)).await;
}

async fn signs_in_and_out(kind: ProxyKind) {
    let server = TestServer::with(&[("LATCHKEY_APPLICATIONS", ORIGIN)]).await;
    server.sign_up("john").await;
    let application = Application::start().await;
    let proxy = kind
        .start_at("app.localhost", server.address, application.address)
        .await;
    let mut browser = Browser::new(&[&server]);
    browser.proxy = Some(proxy.address);
    let url = format!("{ORIGIN}/dash?a=b%2Fc&d");
    // A script gets no redirect and no cookie.
    let fetched = browser.request(Method::GET, &url, &SCRIPT, &[]).await;
    assert_eq!(
        (fetched.status, fetched.header("location")),
        (401, None),
        "{kind:?}"
    );
    assert!(fetched.set_cookies().is_empty(), "{kind:?}");
    let redirect = browser.request(Method::GET, &url, &NAVIGATION, &[]).await;
    assert_eq!(redirect.status, 302, "{kind:?} {redirect:?}");
    let query = "return_to=http%3A%2F%2Fapp.localhost%2Fdash%3Fa%3Db%252Fc%26d&state=";
    assert!(redirect.location().contains(query), "{redirect:?}");
    assert_eq!(
        redirect.set_cookies(),
        ["__Host-latchkey-nonce"],
        "{kind:?}"
    );
    assert!(application.take_requests().is_empty(), "{kind:?}");
    let dash = browser.sign_in(&url, "john").await;
    assert_eq!(
        (dash.status, dash.url.as_str()),
        (200, url.as_str()),
        "{kind:?}"
    );
    let fetched = browser.request(Method::GET, &url, &SCRIPT, &[]).await;
    assert_eq!(fetched.status, 200, "{kind:?}");
    let requests = application.take_requests();
    assert_eq!(requests.len(), 2, "{kind:?}");
    for request in requests {
        assert_eq!(request.header_values("x-auth-username"), ["john"]);
        assert!(
            request.header_values("cookie").is_empty(),
            "{kind:?} {request:?}"
        );
    }
    let question = browser.open(&format!("{ORIGIN}/.latchkey/sign-out")).await;
    let signed_out = browser.submit(&question, &[]).await;
    signed_out.is(200, &["You've been signed out.", "Back to app.localhost"]);
    let fetched = browser.request(Method::GET, &url, &SCRIPT, &[]).await;
    assert_eq!(fetched.status, 401, "{kind:?}");
    assert!(application.take_requests().is_empty(), "{kind:?}");
    browser.open(&url).await.is(200, &["<h1>Sign in</h1>"]);
}

/// Otherwise, a user could open an application under the requirement of another one.
#[tokio::test]
async fn client_does_not_choose_the_application_of_the_check() {
    join_all([ProxyKind::Nginx, ProxyKind::Caddy].map(rejects_other_hosts)).await;
}

async fn rejects_other_hosts(kind: ProxyKind) {
    let setting = format!("{ORIGIN}?role=admin,http://public.localhost");
    let server = TestServer::with(&[("LATCHKEY_APPLICATIONS", &setting)]).await;
    let bearer = server.sign_up("john").await.access_token;
    let application = Application::start().await;
    let proxy = kind
        .start_at("app.localhost", server.address, application.address)
        .await;
    let mut browser = Browser::new(&[&server]);
    let page = browser.sign_in("http://public.localhost/", "john").await;
    page.is(200, &["for john"]);
    let name = "__Host-latchkey-app";
    let cookie = browser.cookie("http://public.localhost", name);
    let cookie = format!("cookie: {name}={}", cookie.expect("a cookie"));
    for credential in [cookie, format!("authorization: Bearer {bearer}")] {
        for target in ["/", "http://app.localhost/", "http://public.localhost/"] {
            for host in ["public.localhost", "PUBLIC.localhost:80", "app.localhost"] {
                let request = format!(
                    "GET {target} HTTP/1.1\r\nhost: {host}\r\n{credential}\r\n\
                     connection: close\r\n\r\n"
                );
                let response = raw_http::exchange(proxy.address, request.as_bytes()).await;
                let received = application.take_requests();
                let context = format!("{kind:?} {target} {host} {credential}: {response}");
                assert!(received.is_empty(), "{context}");
            }
        }
    }
}
