//! Tests of the session cookie in a real browser over HTTP on `localhost`, as under `./dev up`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{NAME, driver::Driver, get_with_cookie};
use crate::{
    test_server::{PASSWORD, TestServer, claims, poll_until, wait_until},
    test_stores::query_value,
};

/// A browser that shows a page of the server's own origin.
struct Tab {
    server: TestServer,
    driver: Driver,
    origin: String,
}

impl Tab {
    async fn open(idle_timeout: &str) -> Tab {
        let server = TestServer::with(&[
            ("LATCHKEY_ISSUER", "http://localhost"),
            ("LATCHKEY_COOKIE_IDLE_TIMEOUT", idle_timeout),
        ])
        .await;
        server.sign_up("john").await;
        let origin = format!("http://localhost:{}", server.address.port());
        let driver = Driver::start().await;
        driver.open(&format!("{origin}/docs")).await;
        Tab {
            server,
            driver,
            origin,
        }
    }

    /// Sends a request from a script of the page and returns the status and the body.
    async fn fetch(&self, method: Method, path: &str, body: Value) -> (u64, Value) {
        let options = json!({
            "method": method.as_str(),
            "headers": {"content-type": "application/json", "x-latchkey-request": "1"},
            "body": if body.is_null() { Value::Null } else { json!(body.to_string()) },
        });
        let script = format!(
            "return fetch('{path}', {options})\
             .then(async response => [response.status, (await response.text()) || 'null'])"
        );
        let response = self.driver.run_script(&script).await;
        let body = serde_json::from_str(response[1].as_str().expect("a string")).expect("JSON");
        (response[0].as_u64().expect("a status"), body)
    }

    async fn sign_in(&self) -> Value {
        let (status, body) = self
            .fetch(
                Method::POST,
                "/session",
                json!({"username": "john", "password": PASSWORD}),
            )
            .await;
        assert_eq!(
            (status, &body["user"]["username"]),
            (200, &json!("john")),
            "{body}"
        );
        body
    }

    async fn is_signed_in(&self) -> bool {
        let (status, body) = self.fetch(Method::GET, "/session", Value::Null).await;
        assert!(status == 200 || body["code"] == "unauthenticated", "{body}");
        status == 200
    }
}

/// The interval of requests of the active browser. A quarter of the idle timeout, four seconds,
/// must pass before a request renews the cookie.
const INTERVAL: Duration = Duration::from_millis(500);

#[tokio::test]
async fn active_browser_stays_signed_in_until_idle_timeout() {
    let tab = Tab::open("16s").await;
    assert!(!tab.is_signed_in().await);
    tab.sign_in().await;
    let cookie = tab.driver.cookie(NAME).await.expect("a stored cookie");
    assert_eq!(
        (
            &cookie["httpOnly"],
            &cookie["secure"],
            &cookie["sameSite"],
            &cookie["path"]
        ),
        (&json!(true), &json!(true), &json!("Lax"), &json!("/"))
    );
    assert_eq!(
        tab.driver.run_script("return document.cookie").await,
        "",
        "scripts can't read the cookie"
    );

    // The browser stays active until the first cookie has expired.
    let token = cookie["value"].as_str().expect("a token");
    let first_expiry = claims(token)["exp"].as_u64().expect("a timestamp");
    poll_until(INTERVAL, "the first cookie has expired", || async {
        assert!(
            tab.is_signed_in().await,
            "an active browser stays signed in"
        );
        tab.driver
            .run_script("return Math.floor(Date.now() / 1000)")
            .await
            .as_u64()
            > Some(first_expiry)
    })
    .await;
    let last = tab.driver.cookie(NAME).await.expect("a stored cookie")["value"].clone();
    assert_ne!(last, cookie["value"], "the cookie was renewed");

    // After the idle timeout, the server rejects the cookie, which the browser keeps.
    let last = last.as_str().expect("a string");
    wait_until("the server rejects the cookie", || async {
        get_with_cookie(&tab.server, "/session", last).await.status == 401
    })
    .await;
    assert!(!tab.is_signed_in().await);
}

#[tokio::test]
async fn browser_signs_up_and_signs_out() {
    let tab = Tab::open("10m").await;
    let (status, body) = tab
        .fetch(
            Method::POST,
            "/signup",
            json!({"username": "jane", "password": PASSWORD}),
        )
        .await;
    assert!(
        status == 201 && body["access_token"].is_null() && body["user"]["username"] == "jane",
        "{body}"
    );
    assert!(tab.is_signed_in().await);
    let cookie = tab.driver.cookie(NAME).await.expect("a cookie")["value"].clone();
    assert_eq!(
        tab.fetch(Method::DELETE, "/session", Value::Null).await.0,
        204
    );
    assert!(tab.driver.cookie(NAME).await.is_none() && !tab.is_signed_in().await);
    let replica = tab.server.replica().await;
    get_with_cookie(&replica, "/user", cookie.as_str().expect("a string"))
        .await
        .is(401, "token_revoked");
}

/// Serves one page with a form that submits itself, and returns the port.
async fn serve_form(target: &str, fields: &str) -> u16 {
    let page = format!(
        "<!doctype html><form method=post action='{target}' enctype='text/plain'>{fields}</form>\
         <script>document.forms[0].submit()</script>"
    );
    let response = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{page}",
        page.len()
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            let _ = connection.read(&mut [0; 8192]).await;
            let _ = connection.write_all(response.as_bytes()).await;
        }
    });
    port
}

/// `127.0.0.1` and `localhost` are different sites. Two ports of `localhost` are the same site, so
/// the browser sends the cookie there.
#[tokio::test]
async fn form_of_another_origin_is_rejected() {
    let tab = Tab::open("10m").await;
    tab.sign_in().await;
    let sessions = query_value(&tab.server, "select count(*) from sessions").await;
    let (sign_in, no_fields) = (
        "<input name='{\"username\":\"john\",\"password\":\"secret123\",\"x\":\"' value='\"}'>",
        "",
    );
    for (host, path, fields, code) in [
        (
            "127.0.0.1",
            "/logout?scope=all",
            no_fields,
            "unauthenticated",
        ),
        ("127.0.0.1", "/session", sign_in, "csrf"),
        ("localhost", "/logout?scope=all", no_fields, "csrf"),
        ("localhost", "/session", sign_in, "csrf"),
        ("localhost", "/items", no_fields, "csrf"),
    ] {
        let target = format!("{}{path}", tab.origin);
        let port = serve_form(&target, fields).await;
        tab.driver.open(&format!("http://{host}:{port}/")).await;
        wait_until("the form is submitted", || async {
            tab.driver.current_url().await == target
        })
        .await;
        let body = tab
            .driver
            .run_script("return document.body.innerText")
            .await;
        assert!(
            body.as_str()
                .is_some_and(|text| text.contains(&format!("\"code\":\"{code}\""))),
            "{host} {path}: {body}"
        );
        tab.driver.open(&format!("{}/docs", tab.origin)).await;
        assert!(tab.is_signed_in().await, "{host} {path}");
    }
    assert_eq!(
        query_value(
            &tab.server,
            "select count(*) from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
    assert_eq!(
        query_value(&tab.server, "select count(*) from sessions").await,
        sessions
    );
}

/// Swagger UI has the server's own origin, so its scripts can use the cookie.
#[tokio::test]
async fn swagger_ui_page_uses_session_cookie() {
    let tab = Tab::open("10m").await;
    tab.sign_in().await;
    let (status, item) = tab
        .fetch(Method::POST, "/items", json!({"name": "Book"}))
        .await;
    assert_eq!((status, &item["name"]), (201, &json!("Book")));
    wait_until("Swagger UI shows the operations", || async {
        tab.driver
            .run_script("return !!document.querySelector('#operations-Sessions-listSessions')")
            .await
            == true
    })
    .await;
    let (status, sessions) = tab.fetch(Method::GET, "/sessions", Value::Null).await;
    let current: Vec<_> = sessions["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["current"] == true)
        .collect();
    assert_eq!((status, current.len()), (200, 1));
    assert!(
        current[0]["user_agent"]
            .as_str()
            .is_some_and(|agent| agent.starts_with("Chrome on ")),
        "{sessions}"
    );
}
