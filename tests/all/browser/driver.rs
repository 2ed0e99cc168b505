//! A real browser, driven through the WebDriver protocol (W3C WebDriver 2) over plain HTTP: Chromium and its chromedriver.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The same browsers as `./dev` looks for; where none is in `PATH`, chromedriver knows where its own is.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// A browser with a fresh profile. It ends with this value.
pub struct Driver {
    process: Child,
    session: String,
    client: reqwest::Client,
    profile: TempDir,
}

impl Driver {
    pub async fn start() -> Driver {
        let profile = tempfile::tempdir().expect("there is room");
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            // What they leave behind goes with the profile.
            .env("TMPDIR", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (`./dev install`)");
        let output = BufReader::new(process.stdout.take().expect("piped"));
        let mut lines = output.lines().map_while(Result::ok);
        let port = lines
            .find_map(|line| line.split("successfully on port ").nth(1)?.trim_end_matches('.').parse::<u16>().ok());
        let base = format!("http://127.0.0.1:{}", port.expect("it says where it listens"));
        // Whoever does not read on stops it when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let mut driver = Driver { process, session: base, client: reqwest::Client::new(), profile };
        let opened = driver.call(Method::POST, "/session", driver.capabilities()).await;
        driver.session += &format!("/session/{}", opened["sessionId"].as_str().expect("a session"));
        driver
    }

    /// No window, and no talk with the world. Without its sandbox, which root may not have.
    fn capabilities(&self) -> Value {
        let args = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ];
        let profile = format!("--user-data-dir={}", self.profile.path().display());
        let args: Vec<&str> = args.into_iter().chain([profile.as_str()]).collect();
        let mut options = json!({"args": args});
        if let Some(browser) = in_path(&BROWSERS) {
            options["binary"] = json!(browser);
        }
        json!({"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}})
    }

    /// One command of the protocol; what it returns.
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.client.request(method, format!("{}{path}", self.session));
        let request = if body.is_null() { request } else { request.json(&body) };
        let answer = request.send().await.expect("chromedriver answers");
        let mut answer: Value = answer.json().await.expect("JSON");
        assert!(answer["value"]["error"].is_null(), "{path}: {answer}");
        answer["value"].take()
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", json!({"url": url})).await;
    }

    /// The address of the page, as it is by now.
    pub async fn address(&self) -> String {
        self.call(Method::GET, "/url", Value::Null).await.as_str().unwrap_or_default().to_owned()
    }

    /// Runs a script in the page; what it returns, or what its promise becomes.
    pub async fn run(&self, script: &str) -> Value {
        self.call(Method::POST, "/execute/sync", json!({"script": script, "args": []})).await
    }

    /// The cookie of this name that the page's address would get, as the browser keeps it.
    pub async fn cookie(&self, name: &str) -> Option<Value> {
        let cookies = self.call(Method::GET, "/cookie", Value::Null).await;
        cookies.as_array().expect("a list").iter().find(|cookie| cookie["name"] == *name).cloned()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its browser ends with it only if it is asked to; this is no place to await.
        let url = self.session.clone();
        let asked = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { drop(reqwest::Client::new().delete(url).send().await) });
            std::io::Result::Ok(())
        });
        let _ = asked.join();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn in_path(names: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found =
        names.iter().find_map(|name| folders.iter().map(|folder| folder.join(name)).find(|file| file.is_file()));
    found.map(|file| file.display().to_string())
}
