//! The tour of the API in `docs/tutorials/tour.md`, executed as printed ten times in a row.

use std::{fs, net::TcpListener, path::PathBuf, process::Command, thread};

use crate::test_server::TestServer;

/// The script between the markers, and the expected statuses in its comments, in order.
fn tour() -> (String, Vec<String>) {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/tutorials/tour.md");
    let page = fs::read_to_string(page).expect("the page");
    let script = page
        .split("<!-- tour -->\n```bash\n")
        .nth(1)
        .and_then(|rest| rest.split("```\n<!-- /tour -->").next())
        .expect("the markers");
    let expected_statuses = script
        .lines()
        .filter(|line| line.starts_with("status "))
        .filter_map(|line| line.rsplit_once("  # "))
        .map(|(_, status)| status.to_owned());
    (script.to_owned(), expected_statuses.collect())
}

/// Serves the email page like `./dev up`, and returns its URL.
pub fn serve_mailbox(folder: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound listener");
    thread::spawn(|| latchkey_dev::mailbox::serve(listener, folder));
    format!("http://{address}")
}

#[tokio::test]
async fn tour_works_as_printed_ten_times() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::with(&[
        ("LATCHKEY_ISSUER", "http://127.0.0.1:8000"),
        ("LATCHKEY_HASH_IMPLEMENTATION", "rustcrypto"),
        (
            "LATCHKEY_SMTP_URL",
            &format!("file:{}", folder.path().display()),
        ),
    ])
    .await;
    let mailbox = serve_mailbox(folder.path().to_owned());
    let (script, expected_statuses) = tour();
    assert!(expected_statuses.len() > 10);
    for round in 1..=10 {
        let (script, url, mailbox) = (script.clone(), server.url(""), mailbox.clone());
        let run = move || {
            Command::new("bash")
                .args(["-euo", "pipefail", "-c", &script])
                .env("LATCHKEY", url)
                .env("MAILBOX", mailbox)
                .output()
        };
        let process_output = tokio::task::spawn_blocking(run)
            .await
            .expect("the task runs")
            .expect("bash is installed");
        let output = String::from_utf8_lossy(&process_output.stdout).into_owned();
        let statuses: Vec<&str> = output.lines().filter(|line| line.len() == 3).collect();
        assert_eq!(
            statuses,
            expected_statuses,
            "round {round}: {output} {}",
            String::from_utf8_lossy(&process_output.stderr)
        );
        assert!(output.contains("\"name\":\"Book\""), "{output}");
    }
}
