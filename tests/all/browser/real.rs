//! What a real browser makes of the cookie, on plain HTTP and `localhost`, as under `./dev up`.

use reqwest::Method;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::{NAME, driver::Driver, get};
use crate::{
    test_server::{PASSWORD, TestServer, until},
    test_stores::ask,
};

/// A browser on a page of the gateway's own origin.
struct Tab {
    server: TestServer,
    driver: Driver,
    origin: String,
}

impl Tab {
    async fn open(idle: &str) -> Tab {
        let server = TestServer::with(&[
            ("LATCHKEY_ISSUER", "http://localhost"),
            ("LATCHKEY_COOKIE_IDLE_TIMEOUT", idle),
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

    /// What the page's own script gets: the status and the body.
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
        let response = self.driver.run(&script).await;
        let body = serde_json::from_str(response[1].as_str().expect("text")).expect("JSON");
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

#[tokio::test]
async fn it_signs_in_stays_while_active_and_is_signed_out_by_silence() {
    let tab = Tab::open("16s").await;
    assert!(!tab.is_signed_in().await);
    tab.sign_in().await;
    let cookie = tab.driver.cookie(NAME).await.expect("the browser took it");
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
        tab.driver.run("return document.cookie").await,
        "",
        "no script reads it"
    );

    // Active: twice as long as silence may last.
    let first_end = cookie["expiry"].as_u64().expect("seconds");
    until("it has outlived its first end", || async {
        assert!(tab.is_signed_in().await, "whoever is active stays");
        tab.driver
            .run("return Math.floor(Date.now() / 1000)")
            .await
            .as_u64()
            > Some(first_end)
    })
    .await;
    let last = tab.driver.cookie(NAME).await.expect("it is there")["value"].clone();
    assert_ne!(last, cookie["value"], "it was signed anew");

    // Silent: the browser forgets it, and the gateway refuses it.
    until("the browser has forgotten it", || async {
        tab.driver.cookie(NAME).await.is_none()
    })
    .await;
    assert!(!tab.is_signed_in().await);
    let last = last.as_str().expect("text");
    until("the server refuses it", || async {
        get(&tab.server, "/session", last).await.status == 401
    })
    .await;
}

#[tokio::test]
async fn it_signs_up_and_out() {
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
    get(&replica, "/user", cookie.as_str().expect("text"))
        .await
        .is(401, "token_revoked");
}

/// Serves one page: a form that sends itself.
async fn site_with_form(target: &str, fields: &str) -> u16 {
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
        while let Ok((mut client, _)) = listener.accept().await {
            let _ = client.read(&mut [0; 8192]).await;
            let _ = client.write_all(response.as_bytes()).await;
        }
    });
    port
}

/// Two names of this machine are two sites; two ports of one name are one site, and there the
/// browser sends the cookie.
#[tokio::test]
async fn a_form_of_another_page_is_refused() {
    let tab = Tab::open("10m").await;
    tab.sign_in().await;
    let sessions = ask(&tab.server, "select count(*) from sessions").await;
    let (login, nothing) = (
        "<input name='{\"username\":\"john\",\"password\":\"secret123\",\"x\":\"' value='\"}'>",
        "",
    );
    for (host, path, fields, code) in [
        ("127.0.0.1", "/logout?scope=all", nothing, "unauthenticated"),
        ("127.0.0.1", "/session", login, "csrf"),
        ("localhost", "/logout?scope=all", nothing, "csrf"),
        ("localhost", "/session", login, "csrf"),
        ("localhost", "/items", nothing, "csrf"),
    ] {
        let target = format!("{}{path}", tab.origin);
        let port = site_with_form(&target, fields).await;
        tab.driver.open(&format!("http://{host}:{port}/")).await;
        until("the form has sent itself", || async {
            tab.driver.address().await == target
        })
        .await;
        let shown = tab.driver.run("return document.body.innerText").await;
        assert!(
            shown
                .as_str()
                .is_some_and(|text| text.contains(&format!("\"code\":\"{code}\""))),
            "{host} {path}: {shown}"
        );
        tab.driver.open(&format!("{}/docs", tab.origin)).await;
        assert!(tab.is_signed_in().await, "{host} {path}");
    }
    assert_eq!(
        ask(
            &tab.server,
            "select count(*) from sessions where revoked_at is not null"
        )
        .await,
        "0"
    );
    assert_eq!(
        ask(&tab.server, "select count(*) from sessions").await,
        sessions
    );
}

/// Swagger UI is such a page: by cookie, too, what it offers works.
#[tokio::test]
async fn the_page_of_the_document_works_by_cookie() {
    let tab = Tab::open("10m").await;
    tab.sign_in().await;
    let (status, item) = tab
        .fetch(Method::POST, "/items", json!({"name": "Book"}))
        .await;
    assert_eq!((status, &item["name"]), (201, &json!("Book")));
    until("its operations are drawn", || async {
        tab.driver
            .run("return !!document.querySelector('#operations-Sessions-listSessions')")
            .await
            == true
    })
    .await;
    let (status, sessions) = tab.fetch(Method::GET, "/sessions", Value::Null).await;
    let agents: Vec<_> = sessions["data"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|item| item["current"] == true)
        .collect();
    assert_eq!((status, agents.len()), (200, 1));
    assert!(
        agents[0]["user_agent"]
            .as_str()
            .is_some_and(|agent| agent.starts_with("Chrome on ")),
        "{sessions}"
    );
}
