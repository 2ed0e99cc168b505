//! Tests of Swagger UI in a real browser, by clicks and key presses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::driver::Driver;
use crate::{
    personal_access_tokens,
    test_server::{PASSWORD, TestServer, wait_until},
    test_stores::query_value,
};

/// The form for username and password in the *Authorize* dialog.
const PASSWORD_FORM: &str =
    "//div[@class='auth-container'][.//h4[contains(., '(OAuth2, password)')]]";

/// The form for a pasted token in the *Authorize* dialog.
const BEARER_FORM: &str = "//div[@class='auth-container'][.//h4[contains(., '(http, Bearer)')]]";

/// The list of the models, below the operations.
const MODELS: &str = "//section[contains(@class, 'models')]";

/// A loaded Swagger UI page of a server with one user, who isn't signed in.
struct Page {
    server: TestServer,
    driver: Driver,
    origin: String,
}

impl Page {
    async fn open() -> Page {
        let server = TestServer::with(&[("LATCHKEY_ISSUER", "http://localhost")]).await;
        server.sign_up("john").await;
        let origin = format!("http://localhost:{}", server.address.port());
        let page = Page {
            driver: Driver::start().await,
            server,
            origin,
        };
        // Discards the network events of the browser's own start page.
        page.driver.open("about:blank").await;
        page.driver.network_events().await;
        page.reload().await;
        page
    }

    /// Loads the page again, without stored credentials.
    async fn load(&self) {
        self.driver.run_script("localStorage.clear()").await;
        self.reload().await;
    }

    async fn reload(&self) {
        self.driver.open(&format!("{}/docs", self.origin)).await;
        self.wait_for_element("//div[@id='operations-Health-getReadiness']")
            .await;
    }

    async fn wait_for_element(&self, xpath: &str) {
        wait_until(xpath, || self.driver.has_element(xpath)).await;
    }

    /// Signs in through *Authorize* with username and password, and selects these scopes.
    async fn authorize(&self, scopes: &[&str]) {
        self.driver
            .click("//button[contains(@class, 'btn authorize')]")
            .await;
        self.wait_for_element(PASSWORD_FORM).await;
        let focused_element = "return document.activeElement.id";
        wait_until("the username field has the focus", || async {
            self.driver.run_script(focused_element).await == "oauth_username"
        })
        .await;
        self.driver
            .replace_text(
                &format!("{PASSWORD_FORM}//input[@id='oauth_username']"),
                "john",
            )
            .await;
        self.driver
            .replace_text(
                &format!("{PASSWORD_FORM}//input[@id='oauth_password']"),
                PASSWORD,
            )
            .await;
        for scope in scopes {
            self.driver
                .click(&format!("{PASSWORD_FORM}//label[.//p[text()='{scope}']]"))
                .await;
        }
        self.driver
            .click(&format!("{PASSWORD_FORM}//button[text()='Authorize']"))
            .await;
        self.wait_for_element(&format!("{PASSWORD_FORM}//h6[text()='Authorized']"))
            .await;
        self.driver
            .click(&format!("{PASSWORD_FORM}//button[text()='Close']"))
            .await;
    }

    /// Authorizes with a pasted token.
    async fn paste_token(&self, token: &str) {
        self.driver
            .click("//button[contains(@class, 'btn authorize')]")
            .await;
        self.wait_for_element(BEARER_FORM).await;
        self.driver
            .replace_text(
                &format!("{BEARER_FORM}//input[@id='auth-bearer-value']"),
                token,
            )
            .await;
        self.driver
            .click(&format!("{BEARER_FORM}//button[text()='Authorize']"))
            .await;
        self.wait_for_element(&format!("{BEARER_FORM}//h6[text()='Authorized']"))
            .await;
        self.driver
            .click(&format!("{BEARER_FORM}//button[text()='Close']"))
            .await;
    }

    /// Expands an operation and clicks *Try it out*.
    async fn try_out(&self, operation: &str) -> Operation<'_> {
        let block = format!("//div[@id='operations-{operation}']");
        self.driver
            .click(&format!(
                "{block}//button[@class='opblock-summary-control']"
            ))
            .await;
        self.driver
            .click(&format!("{block}//button[text()='Try it out ']"))
            .await;
        Operation {
            driver: &self.driver,
            block,
        }
    }
}

/// An operation in the state after *Try it out*.
struct Operation<'a> {
    driver: &'a Driver,
    block: String,
}

impl Operation<'_> {
    /// Clicks *Execute* and returns the displayed status and body.
    async fn execute(&self) -> (String, Value) {
        self.driver
            .click(&format!("{}//button[text()='Execute']", self.block))
            .await;
        let response = format!(
            "{}//table[contains(@class, 'live-responses-table')]//tr[@class='response']",
            self.block
        );
        let status = self
            .driver
            .text(&format!(
                "{response}/td[contains(@class, 'response-col_status')]"
            ))
            .await;
        let body = format!("{response}//div[@class='highlight-code']//code");
        let body = if self.driver.has_element(&body).await {
            self.driver.text(&body).await
        } else {
            "null".to_owned()
        };
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("JSON: {body}")),
        )
    }

    /// Clicks *Clear* and *Execute*.
    async fn execute_again(&self) -> (String, Value) {
        self.driver
            .click(&format!("{}//button[text()='Clear']", self.block))
            .await;
        let response = format!(
            "{}//table[contains(@class, 'live-responses-table')]",
            self.block
        );
        wait_until("the old response is removed", || async {
            !self.driver.has_element(&response).await
        })
        .await;
        self.execute().await
    }

    async fn enter_body(&self, body: &Value) {
        self.driver
            .replace_text(&format!("{}//textarea", self.block), &body.to_string())
            .await;
    }

    /// Types the value of a parameter.
    async fn enter_parameter(&self, parameter: &str, value: &str) {
        let xpath = format!("{}//tr[@data-param-name='{parameter}']//input", self.block);
        self.driver.replace_text(&xpath, value).await;
    }
}

#[tokio::test]
async fn user_signs_in_calls_operations_and_signs_out() {
    let page = Page::open().await;
    let scope_selections: [&[&str]; 2] = [
        &[],
        &[
            "user:read",
            "user:write",
            "items:read",
            "items:write",
            "admin",
        ],
    ];
    for scopes in scope_selections {
        page.authorize(scopes).await;
        let create = page.try_out("Items_\\(sample\\)-createItem").await;
        let (status, item) = create.execute().await;
        assert_eq!(
            (status.as_str(), &item["name"]),
            ("201", &json!("Book")),
            "{item}"
        );
        create.enter_body(&json!({})).await;
        let (status, problem) = create.execute_again().await;
        assert_eq!(
            (status.as_str(), &problem["code"]),
            ("400", &json!("invalid_request")),
            "{problem}"
        );
        assert_eq!(problem["errors"][0]["field"], "name", "{problem}");

        let list = page.try_out("Items_\\(sample\\)-listItems").await;
        let (status, items) = list.execute().await;
        let listed = items["data"].as_array().expect("a list");
        assert!(
            status == "200" && listed.contains(&item),
            "{status} {items}"
        );

        let (status, _) = page.try_out("Authentication-signOut").await.execute().await;
        assert_eq!(status, "204");
        let (status, problem) = list.execute_again().await;
        assert_eq!(
            (status.as_str(), &problem["code"]),
            ("401", &json!("token_revoked")),
            "{problem}"
        );
        page.load().await;
    }
    assert_eq!(
        query_value(&page.server, "select count(*) from items").await,
        "2"
    );
    page.assert_console_and_own_requests(&[
        "/items 400",
        "/items?limit=20 401",
        "/items 400",
        "/items?limit=20 401",
    ])
    .await;
}

#[tokio::test]
async fn unselected_scopes_are_not_granted() {
    let page = Page::open().await;
    page.authorize(&["items:read"]).await;
    assert_eq!(
        page.try_out("Items_\\(sample\\)-listItems")
            .await
            .execute()
            .await
            .0,
        "200"
    );
    let (status, problem) = page
        .try_out("Items_\\(sample\\)-createItem")
        .await
        .execute()
        .await;
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("403", &json!("insufficient_scope")),
        "{problem}"
    );
    assert_eq!(
        query_value(&page.server, "select count(*) from items").await,
        "0"
    );
}

#[tokio::test]
async fn pasted_personal_access_token_authorizes_and_survives_reload() {
    let page = Page::open().await;
    let session = page.server.sign_in("john").await;
    let (_, token) = personal_access_tokens::make(&page.server, &session, "items:read").await;
    page.paste_token(&token).await;
    let list = page.try_out("Items_\\(sample\\)-listItems").await;
    assert_eq!(list.execute().await.0, "200");
    let (status, problem) = page
        .try_out("Items_\\(sample\\)-createItem")
        .await
        .execute()
        .await;
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("403", &json!("insufficient_scope")),
        "{problem}"
    );
    // The issuer is a loopback address, so the browser keeps the token.
    page.reload().await;
    let list = page.try_out("Items_\\(sample\\)-listItems").await;
    assert_eq!(list.execute().await.0, "200");
    page.load().await;
    let list = page.try_out("Items_\\(sample\\)-listItems").await;
    assert_eq!(list.execute().await.0, "401");
}

#[tokio::test]
async fn browser_session_operations_use_cookie() {
    let page = Page::open().await;
    let state = page.try_out("Authentication-getBrowserSession").await;
    assert_eq!(state.execute().await.1["code"], "unauthenticated");
    let (status, session) = page
        .try_out("Authentication-createBrowserSession")
        .await
        .execute()
        .await;
    assert_eq!(
        (status.as_str(), &session["user"]["username"]),
        ("200", &json!("john")),
        "{session}"
    );
    assert_eq!(state.execute_again().await.0, "200");

    let create = page.try_out("Items_\\(sample\\)-createItem").await;
    let (status, problem) = create.execute().await;
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("403", &json!("csrf")),
        "{problem}"
    );
    assert_eq!(
        query_value(&page.server, "select count(*) from items").await,
        "0"
    );
    create.enter_parameter("X-Latchkey-Request", "1").await;
    assert_eq!(create.execute_again().await.0, "201");

    assert_eq!(
        page.try_out("Authentication-deleteBrowserSession")
            .await
            .execute()
            .await
            .0,
        "204"
    );
    assert_eq!(state.execute_again().await.1["code"], "unauthenticated");
    page.assert_console_and_own_requests(&["/session 401", "/items 403", "/session 401"])
        .await;
}

#[tokio::test]
async fn page_is_revalidated_and_its_assets_are_requested_once() {
    let page = Page::open().await;
    page.load().await;
    let responses = page.responses().await;
    let mut assets = 0;
    for (path, responses) in responses {
        let statuses: Vec<u64> = responses.iter().map(|(status, _)| *status).collect();
        assert_eq!(responses[0], (200, "gzip".to_owned()), "{path}");
        if path.starts_with("/docs/swagger-ui-") {
            assets += 1;
            assert_eq!(statuses, [200], "{path}");
        } else {
            assert!(
                ["/docs", "/openapi.json"].contains(&path.as_str()),
                "{path}"
            );
            assert_eq!(statuses, [200, 304], "{path}");
        }
    }
    assert_eq!(assets, 2, "a script and a style");
    page.load().await;
    let paths: Vec<String> = page.responses().await.into_keys().collect();
    assert_eq!(paths, ["/docs", "/openapi.json"]);
}

#[tokio::test]
async fn models_are_collapsed_until_they_are_clicked() {
    let page = Page::open().await;
    page.wait_for_element(MODELS).await;
    let models = format!("{MODELS}//div[contains(@class, 'model-container')]");
    assert!(!page.driver.has_element(&models).await);
    assert_eq!(page.driver.text(MODELS).await, "Schemas");
    page.show_models().await;
    page.wait_for_element(&models).await;
}

/// Swagger UI itself has no dark color scheme.
#[tokio::test]
async fn every_text_is_readable_in_dark_color_scheme() {
    let page = Page::open().await;
    page.driver.prefer_dark_colors().await;
    page.load().await;
    page.assert_readable("overview").await;
    page.show_models().await;
    page.assert_readable("models").await;
    page.authorize(&["items:write"]).await;
    page.driver
        .click("//button[contains(@class, 'btn authorize')]")
        .await;
    page.wait_for_element(BEARER_FORM).await;
    page.assert_readable("authorization").await;
    page.driver
        .click(&format!("{BEARER_FORM}//button[text()='Close']"))
        .await;
    let create = page.try_out("Items_\\(sample\\)-createItem").await;
    assert_eq!(create.execute().await.0, "201");
    for operation in ["getItem", "replaceItem", "updateItem", "deleteItem"] {
        page.try_out(&format!("Items_\\(sample\\)-{operation}"))
            .await;
    }
    page.assert_readable("operations").await;
    // The positive control.
    page.driver
        .run_script(
            "const text = document.createElement('p'); text.append('Unreadable'); \
             text.style.color = '#333'; document.body.append(text)",
        )
        .await;
    let texts = page.low_contrast_texts().await;
    assert!(
        texts.len() == 1 && texts[0].starts_with("Unreadable"),
        "{texts:?}"
    );
}

impl Page {
    async fn show_models(&self) {
        self.driver
            .click(&format!("{MODELS}//button[@class='models-control']"))
            .await;
    }

    async fn low_contrast_texts(&self) -> Vec<String> {
        let texts = self.driver.run_script(include_str!("contrast.js")).await;
        serde_json::from_value(texts).expect("a list of texts")
    }

    async fn assert_readable(&self, part: &str) {
        let texts = self.low_contrast_texts().await;
        assert!(texts.is_empty(), "{part}: {texts:#?}");
    }

    /// Returns the statuses and the content encodings of the responses since the last call, by path
    /// and in order. Contents from the cache of the browser are not included.
    async fn responses(&self) -> BTreeMap<String, Vec<(u64, String)>> {
        let events = self.driver.network_events().await;
        let path_of = |id: &Value| {
            let request = events.iter().find(|event| {
                event["method"] == "Network.requestWillBeSent"
                    && event["params"]["requestId"] == *id
            });
            let url = request?["params"]["request"]["url"].as_str()?;
            url.strip_prefix(&self.origin).map(str::to_owned)
        };
        let mut responses = BTreeMap::<_, Vec<_>>::new();
        for event in events
            .iter()
            .filter(|event| event["method"] == "Network.responseReceivedExtraInfo")
        {
            let response = &event["params"];
            let encoding = response["headers"]["content-encoding"].as_str();
            if let Some(path) = path_of(&response["requestId"]) {
                responses.entry(path).or_default().push((
                    response["statusCode"].as_u64().expect("a status"),
                    encoding.unwrap_or_default().to_owned(),
                ));
            }
        }
        responses
    }

    /// Asserts that the page sent requests only to its own origin, and that the console contains
    /// exactly these error responses.
    ///
    /// The console would also contain violations of the Content-Security-Policy. The last step is
    /// the positive control: it violates the policy.
    async fn assert_console_and_own_requests(&self, errors: &[&str]) {
        let events = self.driver.network_events().await;
        let requests = events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        let urls: Vec<&str> = requests
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect();
        let is_own = |url: &&str| url.starts_with(&format!("{}/", self.origin));
        let foreign: Vec<_> = urls
            .iter()
            .filter(|url| !is_own(url) && !url.starts_with("data:"))
            .collect();
        assert!(foreign.is_empty() && urls.iter().any(is_own), "{foreign:?}");

        let error_response = |line: &String| {
            let (path, message) = line.strip_prefix(&self.origin)?.split_once(' ')?;
            let (_, status) = message.split_once("responded with a status of ")?;
            Some(format!("{path} {}", &status[..3]))
        };
        let messages = self.driver.console_messages().await;
        let messages: Vec<_> = messages
            .iter()
            .map(|line| error_response(line).unwrap_or_else(|| line.clone()))
            .collect();
        assert_eq!(messages, errors);
        self.driver
            .run_script("new Image().src = 'http://localhost:9/'")
            .await;
        wait_until("the console contains the policy violation", || async {
            self.driver
                .console_messages()
                .await
                .concat()
                .contains("img-src data:")
        })
        .await;
    }
}
