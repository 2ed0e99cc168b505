//! The README's tour, executed as it is printed, ten times in a row.

use std::{fs, net::TcpListener, path::PathBuf, process::Command, thread};

use crate::test_server::TestServer;

/// The script between the marks, and the statuses that its comments promise, in order.
fn tour() -> (String, Vec<String>) {
    let readme = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md"))
        .expect("there is a README");
    let script = readme
        .split("<!-- tour -->\n```bash\n")
        .nth(1)
        .and_then(|rest| rest.split("```\n<!-- /tour -->").next())
        .expect("the marks");
    let promised = script
        .lines()
        .filter(|line| line.starts_with("status "))
        .filter_map(|line| line.rsplit_once("  # "))
        .map(|(_, status)| status.to_owned());
    (script.to_owned(), promised.collect())
}

/// The page with the emails as `./dev up` serves it; its URL.
fn serve_mailbox(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it listens");
    thread::spawn(|| latchkey_dev::mailbox::serve(listener, folder));
    format!("http://{address}")
}

#[tokio::test]
async fn the_tour_works_as_printed_ten_times_in_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::with(&[
        ("LATCHKEY_ISSUER", "http://127.0.0.1:8000"),
        (
            "LATCHKEY_SMTP_URL",
            &format!("file:{}", folder.path().display()),
        ),
    ])
    .await;
    let mailbox = serve_mailbox(folder.path().to_owned());
    let (script, promised) = tour();
    assert!(promised.len() > 10);
    for round in 1..=10 {
        let (script, url, mailbox) = (script.clone(), server.url(""), mailbox.clone());
        let run = move || {
            Command::new("bash")
                .args(["-euo", "pipefail", "-c", &script])
                .env("LATCHKEY", url)
                .env("MAILBOX", mailbox)
                .output()
        };
        let output = tokio::task::spawn_blocking(run)
            .await
            .expect("it runs")
            .expect("bash is there");
        let shown = String::from_utf8_lossy(&output.stdout).into_owned();
        let statuses: Vec<&str> = shown.lines().filter(|line| line.len() == 3).collect();
        assert_eq!(
            statuses,
            promised,
            "round {round}: {shown} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(shown.contains("\"name\":\"Book\""), "{shown}");
    }
}
