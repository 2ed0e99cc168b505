//! Controls a real browser, Chromium with chromedriver, over the WebDriver protocol (W3C
//! WebDriver 2).

use std::{
    cell::OnceCell,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::test_server::wait_until;

/// The names that `./dev` also looks up in `PATH`. Without one, chromedriver uses its own browser.
const BROWSER_PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The JSON key of an element reference (WebDriver 2, section 12.1).
const ELEMENT_KEY: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The keys Control and A, which select all text (WebDriver 2, section 17.4.2).
const SELECT_ALL: &str = "\u{e009}a\u{e000}";

/// A browser with a new profile. Dropping this value closes the browser.
pub struct Driver {
    process: Child,
    session: String,
    client: reqwest::Client,
    profile: TempDir,
}

impl Driver {
    pub async fn start() -> Driver {
        Driver::start_with(json!({})).await
    }

    /// Starts a browser that runs no scripts of pages.
    pub async fn start_without_scripts() -> Driver {
        let name = "profile.managed_default_content_settings.javascript";
        Driver::start_with(json!({name: 2})).await
    }

    async fn start_with(preferences: Value) -> Driver {
        let profile = tempfile::tempdir().expect("a temporary folder");
        let mut process = Command::new("chromedriver")
            .arg("--port=0")
            // Temporary files of both programs are deleted with the profile.
            .env("TMPDIR", profile.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver is installed (`./dev install`)");
        let output = BufReader::new(process.stdout.take().expect("a piped output"));
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
            port.expect("the port of chromedriver")
        );
        // A full pipe would block chromedriver, so its output is read to the end.
        std::thread::spawn(move || lines.for_each(drop));
        let mut driver = Driver {
            process,
            session: base,
            client: reqwest::Client::new(),
            profile,
        };
        let created = driver
            .send_command(Method::POST, "/session", driver.capabilities(preferences))
            .await;
        driver.session += &format!(
            "/session/{}",
            created["sessionId"].as_str().expect("a session ID")
        );
        driver
    }

    /// Returns the capabilities of a headless browser without background requests.
    ///
    /// The sandbox is disabled because Chromium can't use it as root.
    fn capabilities(&self, preferences: Value) -> Value {
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
        let mut options = json!({"args": args, "prefs": preferences});
        if let Some(browser) = find_in_path(&BROWSER_PROGRAMS) {
            options["binary"] = json!(browser);
        }
        let logs = json!({"browser": "ALL", "performance": "ALL"});
        json!({
            "capabilities": {
                "alwaysMatch": {"goog:chromeOptions": options, "goog:loggingPrefs": logs},
            },
        })
    }

    /// Sends a WebDriver command and returns its value.
    async fn send_command(&self, method: Method, path: &str, body: Value) -> Value {
        self.try_send_command(method, path, body)
            .await
            .unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    async fn try_send_command(
        &self,
        method: Method,
        path: &str,
        body: Value,
    ) -> Result<Value, Value> {
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

    /// Opens a page and waits until it is loaded.
    pub async fn open(&self, url: &str) {
        self.send_command(Method::POST, "/url", json!({"url": url}))
            .await;
    }

    /// Returns the current URL.
    pub async fn current_url(&self) -> String {
        self.send_command(Method::GET, "/url", Value::Null)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Runs a script in the page and returns its value or the value of its promise.
    pub async fn run_script(&self, script: &str) -> Value {
        self.send_command(
            Method::POST,
            "/execute/sync",
            json!({"script": script, "args": []}),
        )
        .await
    }

    /// Lets the browser prefer dark colors, also on the pages that it opens later.
    pub async fn prefer_dark_colors(&self) {
        self.prefer_colors("dark").await;
    }

    /// Lets the browser prefer a color scheme, `light` or `dark`.
    pub async fn prefer_colors(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.run_devtools_command("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    /// Sets the width of the page, in CSS pixels.
    pub async fn set_width(&self, width: u32) {
        let metrics = json!({
            "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false,
        });
        self.run_devtools_command("Emulation.setDeviceMetricsOverride", metrics)
            .await;
    }

    /// Runs a command of the Chrome DevTools Protocol.
    async fn run_devtools_command(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.send_command(Method::POST, "/goog/cdp/execute", body)
            .await
    }

    /// Returns a picture of the page as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        let picture = self
            .send_command(Method::GET, "/screenshot", Value::Null)
            .await;
        STANDARD
            .decode(picture.as_str().expect("a picture"))
            .expect("base64")
    }

    /// Clicks an element; waits while the element is covered or not rendered.
    pub async fn click(&self, xpath: &str) {
        self.act(xpath, Method::POST, "click", json!({})).await;
    }

    /// Replaces the text of an input field by typing.
    pub async fn replace_text(&self, xpath: &str, text: &str) {
        self.act(
            xpath,
            Method::POST,
            "value",
            json!({"text": format!("{SELECT_ALL}{text}")}),
        )
        .await;
    }

    /// Returns the visible text of an element.
    pub async fn text(&self, xpath: &str) -> String {
        self.act(xpath, Method::GET, "text", Value::Null)
            .await
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Returns whether the page contains the element.
    pub async fn has_element(&self, xpath: &str) -> bool {
        self.find(xpath).await.is_ok()
    }

    /// Retries an action on an element until it succeeds, because scripts render pages with delay.
    async fn act(&self, xpath: &str, method: Method, action: &str, body: Value) -> Value {
        let result = OnceCell::new();
        wait_until(&format!("{action} of {xpath}"), || async {
            let value = self
                .try_act(xpath, method.clone(), action, body.clone())
                .await;
            value.is_ok_and(|value| result.set(value).is_ok())
        })
        .await;
        result.into_inner().expect("a result")
    }

    async fn try_act(
        &self,
        xpath: &str,
        method: Method,
        action: &str,
        body: Value,
    ) -> Result<Value, Value> {
        let element = self.find(xpath).await?;
        self.try_send_command(method, &format!("/element/{element}/{action}"), body)
            .await
    }

    async fn find(&self, xpath: &str) -> Result<String, Value> {
        let found = self
            .try_send_command(
                Method::POST,
                "/element",
                json!({"using": "xpath", "value": xpath}),
            )
            .await?;
        Ok(found[ELEMENT_KEY].as_str().expect("an element").to_owned())
    }

    /// Returns the console messages since the last call, without recommendations.
    pub async fn console_messages(&self) -> Vec<String> {
        let entries = self.take_log("browser").await;
        let messages = entries
            .iter()
            .filter(|entry| entry["source"] != "recommendation");
        messages
            .filter_map(|entry| entry["message"].as_str().map(str::to_owned))
            .collect()
    }

    /// Returns the network events since the last call.
    ///
    /// They are events of the Chrome DevTools Protocol with `method` and `params`.
    pub async fn network_events(&self) -> Vec<Value> {
        let entries = self.take_log("performance").await;
        let event = |entry: &Value| -> Value {
            let mut message: Value =
                serde_json::from_str(entry["message"].as_str().expect("a string")).expect("JSON");
            message["message"].take()
        };
        entries.iter().map(event).collect()
    }

    async fn take_log(&self, kind: &str) -> Vec<Value> {
        let entries = self
            .send_command(Method::POST, "/se/log", json!({"type": kind}))
            .await;
        entries.as_array().expect("a list").clone()
    }

    /// Returns the stored cookie of this name that the browser would send to the page's URL.
    pub async fn cookie(&self, name: &str) -> Option<Value> {
        let cookies = self.send_command(Method::GET, "/cookie", Value::Null).await;
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
        // chromedriver closes the browser only on this request, and `drop` can't await.
        let url = self.session.clone();
        let deletion = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(async { drop(reqwest::Client::new().delete(url).send().await) });
            std::io::Result::Ok(())
        });
        let _ = deletion.join();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn find_in_path(names: &[&str]) -> Option<String> {
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
