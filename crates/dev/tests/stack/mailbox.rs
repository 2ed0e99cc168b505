//! Tests of the page with the emails over HTTP, without the authentication server.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    thread,
};

use latchkey_dev::mailbox::{StoredEmail, read_emails, render_page, serve};
use reqwest::{Client, Method, Response, header};
use tempfile::TempDir;

fn email(to: &str, subject: &str, text: &str) -> String {
    let text = text.replace('\n', "\r\n");
    format!(
        "Message-ID: <1@localhost>\r\nFrom: Latchkey <no-reply@localhost>\r\nTo: {to}\r\n\
         Subject: {subject}\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/alternative; boundary=\"limit\"\r\n\r\n\
         --limit\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n{text}\r\n\
         --limit\r\nContent-Type: text/html; charset=utf-8\r\n\
         Content-Transfer-Encoding: 7bit\r\n\r\n<p>of the HTML part</p>\r\n--limit--\r\n"
    )
}

fn write(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(folder.join(name), text).expect("a writable folder");
}

fn serve_page(folder: &Path) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound address");
    let folder = folder.to_owned();
    thread::spawn(|| serve(listener, folder));
    address
}

async fn send(address: SocketAddr, method: Method, path: &str, host: &str) -> Response {
    Client::new()
        .request(method, format!("http://{address}{path}"))
        .header(header::HOST, host)
        .send()
        .await
        .expect("the server responds")
}

async fn get(address: SocketAddr, path: &str) -> Response {
    send(address, Method::GET, path, "localhost").await
}

fn field<'a>(response: &'a Response, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn page_shows_recipient_subject_and_text() {
    let folder = TempDir::new().unwrap();
    let text = "Enter this code:\n\nAAAAA-BBBBB\n\nIt works once.";
    write(
        folder.path(),
        "1.eml",
        email("john@example.com", "Your code", text),
    );
    let address = serve_page(folder.path());
    let page = get(address, "/").await;
    assert_eq!(page.status(), 200);
    for (name, value) in [
        ("content-type", "text/html; charset=utf-8"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(field(&page, name), value, "{name}");
    }
    let policy = field(&page, "content-security-policy").to_owned();
    assert!(
        policy.starts_with("default-src 'none'; style-src 'self'; "),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    let html = page.text().await.unwrap();
    assert!(html.starts_with("<!doctype html>"), "{html}");
    for part in [
        "<h2>Your code</h2>",
        "To john@example.com<",
        &format!("<pre>{text}</pre>"),
    ] {
        assert!(html.contains(part), "{part}: {html}");
    }
    assert!(!html.contains("of the HTML part"), "{html}");
    assert!(
        !html.contains(" style=") && !html.contains("<script"),
        "{html}"
    );
    let style = get(address, "/style.css").await;
    assert_eq!(
        (style.status().as_u16(), field(&style, "content-type")),
        (200, "text/css; charset=utf-8")
    );
}

#[tokio::test]
async fn markup_in_emails_is_escaped() {
    let folder = TempDir::new().unwrap();
    let markup = "</pre><script>alert(1)</script><img src=x onerror=\"alert(2)\">'&amp;";
    write(
        folder.path(),
        "1.eml",
        email("john@example.com", markup, markup),
    );
    let html = get(serve_page(folder.path()), "/")
        .await
        .text()
        .await
        .unwrap();
    for raw in ["<script", "<img", "&amp;amp;\"", "onerror=\""] {
        assert!(!html.contains(raw), "{raw}: {html}");
    }
    assert_eq!(html.matches("</pre>").count(), 1, "{html}");
    assert_eq!(
        html.matches("&#60;script&#62;").count(),
        2,
        "subject and text: {html}"
    );
    assert_eq!(
        html.matches("&#38;amp;").count(),
        2,
        "subject and text: {html}"
    );
}

#[tokio::test]
async fn foreign_host_is_rejected() {
    let folder = TempDir::new().unwrap();
    write(
        folder.path(),
        "1.eml",
        email("john@example.com", "Your code", "AAAAA-BBBBB"),
    );
    let address = serve_page(folder.path());
    for host in [
        "example.com",
        "localhost.example.com:8025",
        "127.0.0.1.example.com",
    ] {
        for path in ["/", "/style.css", "/unknown"] {
            let response = send(address, Method::GET, path, host).await;
            assert_eq!(response.status(), 403, "{host}{path}");
            assert!(
                !response.text().await.unwrap().contains("AAAAA"),
                "{host}{path}"
            );
        }
    }
    for host in ["localhost:8025", "127.0.0.1", "[::1]:8025"] {
        let response = send(address, Method::GET, "/", host).await;
        assert!(
            response.text().await.unwrap().contains("AAAAA-BBBBB"),
            "{host}"
        );
    }
}

#[tokio::test]
async fn only_get_and_head_are_allowed() {
    let folder = TempDir::new().unwrap();
    let address = serve_page(folder.path());
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let response = send(address, method.clone(), "/", "localhost").await;
        assert_eq!(
            (response.status().as_u16(), field(&response, "allow")),
            (405, "GET, HEAD"),
            "{method}"
        );
    }
    let head = send(address, Method::HEAD, "/", "localhost").await;
    assert_eq!(
        (head.status().as_u16(), field(&head, "content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(head.bytes().await.unwrap().is_empty());
    assert_eq!(get(address, "/unknown").await.status(), 404);
}

#[tokio::test]
async fn missing_folder_has_no_emails() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("mailbox");
    let address = serve_page(&folder);
    let empty = get(address, "/").await;
    assert_eq!(empty.status(), 200);
    assert!(empty.text().await.unwrap().contains("No emails yet."));
    fs::create_dir(&folder).unwrap();
    write(
        &folder,
        "1.eml",
        email("john@example.com", "Your code", "text"),
    );
    assert!(
        get(address, "/")
            .await
            .text()
            .await
            .unwrap()
            .contains("Your code")
    );
}

#[test]
fn files_without_valid_email_are_skipped() {
    let folder = TempDir::new().unwrap();
    let good = email("john@example.com", "Your code", "text");
    write(folder.path(), "1.eml", &good);
    write(folder.path(), "2.eml", "");
    write(folder.path(), "3.eml", "no email");
    write(folder.path(), "4.eml", [0xff, 0x00, 0xfe]);
    write(
        folder.path(),
        "5.eml",
        "Subject: no recipient\r\n\r\ntext\r\n",
    );
    write(
        folder.path(),
        "6.eml",
        good.clone() + &"x".repeat(1024 * 1024),
    );
    write(folder.path(), "7.eml.new", &good);
    write(folder.path(), "8.txt", &good);
    fs::create_dir(folder.path().join("9.eml")).unwrap();
    symlink("1.eml", folder.path().join("a.eml")).unwrap();
    symlink("nowhere", folder.path().join("b.eml")).unwrap();
    // Opening a named pipe waits for a writer.
    let status = Command::new("mkfifo")
        .arg(folder.path().join("c.eml"))
        .status();
    assert!(status.unwrap().success());
    let expected = StoredEmail {
        to: "john@example.com".into(),
        subject: "Your code".into(),
        text: "text".into(),
    };
    assert_eq!(read_emails(folder.path()), [expected]);
}

#[test]
fn page_shows_fifty_newest_emails_newest_first() {
    let folder = TempDir::new().unwrap();
    for number in 0..60 {
        let subject = format!("Number {number}.");
        write(
            folder.path(),
            &format!("{number:02}.eml"),
            email("john@example.com", &subject, "text"),
        );
        // Invalid files don't count toward the limit.
        write(folder.path(), &format!("{number:02}-broken.eml"), "broken");
    }
    let emails = read_emails(folder.path());
    let subjects: Vec<_> = emails.iter().map(|email| email.subject.as_str()).collect();
    assert_eq!(
        (subjects.len(), subjects[0], subjects[49]),
        (50, "Number 59.", "Number 10.")
    );
    let page = render_page(&emails);
    assert!(page.find("Number 59.") < page.find("Number 58."), "{page}");
    assert!(
        page.contains("Number 10.") && !page.contains("Number 9."),
        "{page}"
    );
}

/// The email uses the encodings for non-ASCII text and long lines.
#[test]
fn encoded_emails_are_decoded() {
    let folder = TempDir::new().unwrap();
    let text = "To: =?utf-8?b?SsO2cmc=?= <joerg@example.com>\r\n\
        Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n\
        Content-Type: text/plain; charset=utf-8\r\n\
        Content-Transfer-Encoding: quoted-printable\r\n\r\n\
        Gr=C3=BC=C3=9Fe =\r\nan alle\r\n\
        2 =3D 2";
    write(folder.path(), "1.eml", text);
    let expected = StoredEmail {
        to: "joerg@example.com".into(),
        subject: "Grüße".into(),
        text: "Grüße an alle\n2 = 2".into(),
    };
    assert_eq!(read_emails(folder.path()), [expected]);
}
