//! Tests of the password reset in a real browser, from the page of an application.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::driver::Driver;
use crate::{
    mail::MailServer,
    test_server::{PASSWORD, TestServer, wait_until},
};

const EMAIL: &str = "john@example.com";
const NEW_PASSWORD: &str = "a new secret 42";

/// Serves an application whose only page links to this URL.
async fn serve_page_with_link(url: String, listener: TcpListener) {
    while let Ok((mut connection, _)) = listener.accept().await {
        let page = format!("<!doctype html><title>App</title><a href=\"{url}\">Forgot?</a>");
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: {}\r\nconnection: \
             close\r\n\r\n",
            page.len()
        );
        let _ = connection.read(&mut [0; 4096]).await;
        let _ = connection
            .write_all(format!("{head}{page}").as_bytes())
            .await;
    }
}

#[tokio::test]
async fn user_of_application_resets_password_and_returns() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let app = format!(
        "http://localhost:{}",
        listener.local_addr().expect("a bound socket").port()
    );
    let mail_server = MailServer::start().await;
    let server = TestServer::at_localhost(&[
        ("LATCHKEY_SMTP_URL", &mail_server.url()),
        ("LATCHKEY_CORS_ORIGINS", &app),
    ])
    .await;
    server.sign_up_with_email("john", EMAIL).await;
    let origin = format!("http://localhost:{}", server.address.port());
    tokio::spawn(serve_page_with_link(format!("{origin}/forgot"), listener));
    let driver = Driver::start().await;
    driver.open(&format!("{app}/")).await;
    driver.click("//a").await;
    driver.replace_text("//input[@name='email']", EMAIL).await;
    driver.click("//main//button").await;
    let shows = async |part: &str| {
        wait_until(&format!("the page shows {part:?}"), || async {
            driver.text("//main").await.contains(part)
        })
        .await;
    };
    shows("we've sent a code").await;
    let code = mail_server.code_for(EMAIL).await;
    let submit = async |code: &str| {
        driver.replace_text("//input[@name='code']", code).await;
        driver
            .replace_text("//input[@name='new_password']", NEW_PASSWORD)
            .await;
        driver.click("//button[text()='Change password']").await;
    };
    submit("AAAAA-AAAAA").await;
    shows("The code is incorrect").await;
    submit(&code).await;
    shows("Your password has been changed.").await;
    let host = app.trim_start_matches("http://");
    shows(&format!("to continue to {host}")).await;
    driver
        .replace_text("//input[@name='username']", "john")
        .await;
    driver
        .replace_text("//input[@name='password']", NEW_PASSWORD)
        .await;
    driver.click("//button[text()='Sign in']").await;
    wait_until("the browser returns to the application", || async {
        driver.current_url().await == format!("{app}/")
    })
    .await;
    server
        .try_sign_in("john", PASSWORD)
        .await
        .is(401, "invalid_credentials");
    let messages = driver.console_messages().await;
    assert!(
        messages.iter().all(|line| line.contains("422")),
        "only the error of the wrong code: {messages:?}"
    );
}

/// Another site could request the new password, so the page doesn't link to it.
#[tokio::test]
async fn forgot_page_doesnt_return_to_other_sites() {
    let server = TestServer::start().await;
    for referrer in ["https://evil.example/", "x", "https://auth.example.com/"] {
        let request = server
            .request(reqwest::Method::GET, "/forgot")
            .header("referer", referrer);
        let page = server.send(request).await.string();
        assert!(!page.contains("evil"), "{page}");
    }
}
