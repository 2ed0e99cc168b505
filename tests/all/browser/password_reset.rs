//! The page for a new password in a real browser: two steps, and the way back to the app.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::driver::Driver;
use crate::{
    mail::MailServer,
    test_server::{PASSWORD, TestServer, until},
};

const EMAIL: &str = "john@example.com";
const NEW: &str = "a new secret 42";

/// An app whose only page links to this URL.
async fn app_with_link(url: String, listener: TcpListener) {
    while let Ok((mut client, _)) = listener.accept().await {
        let page = format!("<!doctype html><a href=\"{url}\">Forgot?</a>");
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: \
             close\r\n\r\n",
            page.len()
        );
        let _ = client.read(&mut [0; 4096]).await;
        let _ = client.write_all(format!("{head}{page}").as_bytes()).await;
    }
}

/// Waits until a form shows this result.
async fn until_shown(driver: &Driver, form: &str, part: &str) {
    let result = format!("//form[@id='{form}']/p[@role='status']");
    until(&format!("{form} shows {part:?}"), || async {
        driver.text(&result).await.contains(part)
    })
    .await;
}

#[tokio::test]
async fn password_is_reset_in_two_steps() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let app = format!(
        "http://localhost:{}",
        listener.local_addr().expect("it is bound").port()
    );
    let mails = MailServer::start().await;
    let server = TestServer::with(&[
        ("LATCHKEY_ISSUER", "http://localhost"),
        ("LATCHKEY_SMTP_URL", &mails.url()),
        ("LATCHKEY_CORS_ORIGINS", &app),
        ("LATCHKEY_PASSWORD_MIN", "9"),
    ])
    .await;
    server.sign_up_with_email("john", EMAIL).await;
    let page = format!("http://localhost:{}/forgot", server.address.port());
    tokio::spawn(app_with_link(page, listener));
    let driver = Driver::start().await;
    driver.open(&format!("{app}/")).await;
    driver.click("//a").await;
    until("the page links to the app", || async {
        driver.text("//a[@id='back']").await == "Back to the app"
    })
    .await;
    let back = "return document.getElementById('back').href";
    assert_eq!(driver.run(back).await, format!("{app}/"));

    assert_eq!(driver.text("//form[@id='reset']").await, "", "step 1 only");
    driver.enter("//input[@id='email']", EMAIL).await;
    driver.click("//form[@id='request']//button[1]").await;
    until_shown(&driver, "reset", "receive an email with a code").await;
    assert_eq!(
        driver.text("//form[@id='request']").await,
        "",
        "step 2 only"
    );
    assert_eq!(
        driver.text("//*[@id='rule']").await,
        "At least 9 characters, and not a common password."
    );
    let code = mails.code_for(EMAIL).await;
    let set = async |code: &str| {
        driver.enter("//input[@id='code']", code).await;
        driver.enter("//input[@id='password']", NEW).await;
        driver.click("//form[@id='reset']//button[1]").await;
    };
    set("AAAAA-AAAAA").await;
    until("the wrong code is rejected", || async {
        let result = driver.text("//form[@id='reset']/p[@role='status']").await;
        !["", "Sending…"].contains(&result.as_str()) && !result.contains("receive")
    })
    .await;
    server.log_in("john", PASSWORD).await.is(200, "");
    set(&code).await;
    until_shown(&driver, "reset", "Your password is set").await;
    server.log_in("john", NEW).await.is(200, "");
    let console = driver.console().await;
    assert!(
        console.iter().all(|line| line.contains("400")),
        "nothing but the wrong code: {console:?}"
    );
}

/// Only apps of the operator are linked: a page elsewhere could ask for the new password.
#[tokio::test]
async fn forgot_page_links_to_no_unknown_site() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let site = format!(
        "http://localhost:{}",
        listener.local_addr().expect("it is bound").port()
    );
    let server = TestServer::start().await;
    let page = format!("http://localhost:{}/forgot", server.address.port());
    tokio::spawn(app_with_link(page, listener));
    let driver = Driver::start().await;
    driver.open(&format!("{site}/")).await;
    driver.click("//a").await;
    assert_eq!(
        driver.text("//a[@id='back']").await,
        "Back to the start page"
    );
    let referrer = driver.run("return document.referrer").await;
    assert_eq!(referrer, format!("{site}/"));
}
