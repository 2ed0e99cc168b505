//! Tests of the page `/forgot` in a real browser.

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
        let page = format!("<!doctype html><a href=\"{url}\">Forgot?</a>");
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

/// Waits until a form shows this result.
async fn wait_for_result(driver: &Driver, form: &str, part: &str) {
    let result = format!("//form[@id='{form}']/p[@role='status']");
    wait_until(&format!("{form} shows {part:?}"), || async {
        driver.text(&result).await.contains(part)
    })
    .await;
}

#[tokio::test]
async fn forgot_page_resets_password_in_two_steps() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let app = format!(
        "http://localhost:{}",
        listener.local_addr().expect("a bound socket").port()
    );
    let mail_server = MailServer::start().await;
    let server = TestServer::with(&[
        ("LATCHKEY_ISSUER", "http://localhost"),
        ("LATCHKEY_SMTP_URL", &mail_server.url()),
        ("LATCHKEY_CORS_ORIGINS", &app),
        ("LATCHKEY_PASSWORD_MIN", "9"),
    ])
    .await;
    server.sign_up_with_email("john", EMAIL).await;
    let page = format!("http://localhost:{}/forgot", server.address.port());
    tokio::spawn(serve_page_with_link(page, listener));
    let driver = Driver::start().await;
    driver.open(&format!("{app}/")).await;
    driver.click("//a").await;
    wait_until("the page links to the app", || async {
        driver.text("//a[@id='back']").await == "Back to the app"
    })
    .await;
    let link = "return document.getElementById('back').href";
    assert_eq!(driver.run_script(link).await, format!("{app}/"));

    assert_eq!(driver.text("//form[@id='reset']").await, "", "step 1 only");
    driver.replace_text("//input[@id='email']", EMAIL).await;
    driver.click("//form[@id='request']//button[1]").await;
    wait_for_result(&driver, "reset", "receive an email with a code").await;
    assert_eq!(
        driver.text("//form[@id='request']").await,
        "",
        "step 2 only"
    );
    assert_eq!(
        driver.text("//*[@id='rule']").await,
        "At least 9 characters, not a common password, and not similar to your username, name, or \
         email address."
    );
    let code = mail_server.code_for(EMAIL).await;
    let submit = async |code: &str| {
        driver.replace_text("//input[@id='code']", code).await;
        driver
            .replace_text("//input[@id='password']", NEW_PASSWORD)
            .await;
        driver.click("//form[@id='reset']//button[1]").await;
    };
    submit("AAAAA-AAAAA").await;
    wait_until("the wrong code is rejected", || async {
        let result = driver.text("//form[@id='reset']/p[@role='status']").await;
        !["", "Sending…"].contains(&result.as_str()) && !result.contains("receive")
    })
    .await;
    server.try_sign_in("john", PASSWORD).await.is(200, "");
    submit(&code).await;
    wait_for_result(&driver, "reset", "Your password is set").await;
    server.try_sign_in("john", NEW_PASSWORD).await.is(200, "");
    let messages = driver.console_messages().await;
    assert!(
        messages.iter().all(|line| line.contains("400")),
        "only the error of the wrong code: {messages:?}"
    );
}

/// The page links only to configured origins, because another site could request the new password.
#[tokio::test]
async fn forgot_page_links_only_to_configured_origins() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let site = format!(
        "http://localhost:{}",
        listener.local_addr().expect("a bound socket").port()
    );
    let server = TestServer::start().await;
    let page = format!("http://localhost:{}/forgot", server.address.port());
    tokio::spawn(serve_page_with_link(page, listener));
    let driver = Driver::start().await;
    driver.open(&format!("{site}/")).await;
    driver.click("//a").await;
    assert_eq!(
        driver.text("//a[@id='back']").await,
        "Back to the start page"
    );
    let referrer = driver.run_script("return document.referrer").await;
    assert_eq!(referrer, format!("{site}/"));
}
