//! A real browser, driven through the WebDriver protocol (W3C WebDriver 2) over plain HTTP:
//! Chromium and its chromedriver.

use std::{
    cell::OnceCell,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::test_server::until;

/// The same browsers as `./dev` looks for; where none is in `PATH`, chromedriver knows where its
/// own is.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Of `{ELEMENT: id}`, by which the protocol names an element (section 12.1 there).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// All that is there, as keys: Control and A (section 17.4.2 there).
const ALL: &str = "\u{e009}a\u{e000}";

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
        let port = lines.find_map(|line| {
            line.split("successfully on port ")
                .nth(1)?
                .trim_end_matches('.')
                .parse::<u16>()
                .ok()
        });
        let base = format!(
            "http://127.0.0.1:{}",
            port.expect("it says where it listens")
        );
        // Whoever does not read on stops it when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        let mut driver = Driver {
            process,
            session: base,
            client: reqwest::Client::new(),
            profile,
        };
        let opened = driver
            .call(Method::POST, "/session", driver.capabilities())
            .await;
        driver.session += &format!(
            "/session/{}",
            opened["sessionId"].as_str().expect("a session")
        );
        driver
    }

    /// No window, though as large as one, and no talk with the world. Without its sandbox, which
    /// root may not have.
    fn capabilities(&self) -> Value {
        let args = [
            "--headless",
            "--window-size=1280,1024",
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
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        json!({
            "capabilities": {
                "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs},
            },
        })
    }

    /// One command of the protocol; what it returns.
    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        self.try_call(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn try_call(&self, method: Method, path: &str, body: Value) -> Result<Value, Value> {
        let request = self
            .client
            .request(method, format!("{}{path}", self.session));
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let response = request.send().await.expect("chromedriver responds");
        let mut response: Value = response.json().await.expect("JSON");
        if response["value"]["error"].is_null() {
            Ok(response["value"].take())
        } else {
            Err(response)
        }
    }

    /// Opens a page and waits until it is there.
    pub async fn open(&self, url: &str) {
        self.call(Method::POST, "/url", json!({"url": url})).await;
    }

    /// The address of the page, as it is by now.
    pub async fn address(&self) -> String {
        self.call(Method::GET, "/url", Value::Null)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Runs a script in the page; what it returns, or what its promise becomes.
    pub async fn run(&self, script: &str) -> Value {
        self.call(
            Method::POST,
            "/execute/sync",
            json!({"script": script, "args": []}),
        )
        .await
    }

    /// Clicks it, as the mouse does: where it is covered or not drawn yet, it waits.
    pub async fn click(&self, xpath: &str) {
        self.act(xpath, Method::POST, "click", json!({})).await;
    }

    /// Types into it, over what stood there.
    pub async fn enter(&self, xpath: &str, text: &str) {
        self.act(
            xpath,
            Method::POST,
            "value",
            json!({"text": format!("{ALL}{text}")}),
        )
        .await;
    }

    /// What a person reads there.
    pub async fn text(&self, xpath: &str) -> String {
        self.act(xpath, Method::GET, "text", Value::Null)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Whether it is in the page.
    pub async fn has(&self, xpath: &str) -> bool {
        self.find(xpath).await.is_ok()
    }

    /// Does something with an element, once that is possible: pages draw themselves while they are
    /// used.
    async fn act(&self, xpath: &str, method: Method, action: &str, body: Value) -> Value {
        let done = OnceCell::new();
        until(&format!("{action} of {xpath}"), || async {
            let acted = self
                .try_act(xpath, method.clone(), action, body.clone())
                .await;
            acted.is_ok_and(|value| done.set(value).is_ok())
        })
        .await;
        done.into_inner().expect("it was done")
    }

    async fn try_act(
        &self,
        xpath: &str,
        method: Method,
        action: &str,
        body: Value,
    ) -> Result<Value, Value> {
        let element = self.find(xpath).await?;
        self.try_call(method, &format!("/element/{element}/{action}"), body)
            .await
    }

    async fn find(&self, xpath: &str) -> Result<String, Value> {
        let found = self
            .try_call(
                Method::POST,
                "/element",
                json!({"using": "xpath", "value": xpath}),
            )
            .await?;
        Ok(found[ELEMENT].as_str().expect("an element").to_owned())
    }

    /// What the console says since it was asked last, advice left out.
    pub async fn console(&self) -> Vec<String> {
        let entries = self.log("browser").await;
        let said = entries
            .iter()
            .filter(|entry| entry["source"] != "recommendation");
        said.filter_map(|entry| entry["message"].as_str().map(str::to_owned))
            .collect()
    }

    /// What the network saw since it was asked last: events of Chrome's protocol, each with its
    /// `method` and `params`.
    pub async fn network(&self) -> Vec<Value> {
        let entries = self.log("performance").await;
        let event = |entry: &Value| -> Value {
            let mut told: Value =
                serde_json::from_str(entry["message"].as_str().expect("text")).expect("JSON");
            told["message"].take()
        };
        entries.iter().map(event).collect()
    }

    async fn log(&self, kind: &str) -> Vec<Value> {
        let entries = self
            .call(Method::POST, "/se/log", json!({"type": kind}))
            .await;
        entries.as_array().expect("a list").clone()
    }

    /// The cookie of this name that the page's address would get, as the browser keeps it.
    pub async fn cookie(&self, name: &str) -> Option<Value> {
        let cookies = self.call(Method::GET, "/cookie", Value::Null).await;
        cookies
            .as_array()
            .expect("a list")
            .iter()
            .find(|cookie| cookie["name"] == *name)
            .cloned()
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Its browser ends with it only if it is asked to; this is no place to await.
        let url = self.session.clone();
        let requested = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { drop(reqwest::Client::new().delete(url).send().await) });
            std::io::Result::Ok(())
        });
        let _ = requested.join();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn in_path(names: &[&str]) -> Option<String> {
    let path = std::env::var_os("PATH")?;
    let folders: Vec<_> = std::env::split_paths(&path).collect();
    let found = names.iter().find_map(|name| {
        folders
            .iter()
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    });
    found.map(|file| file.display().to_string())
}
