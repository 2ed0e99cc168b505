//! Swagger UI in a real browser, used as a person uses it: clicks and keys, and what is shown then.

use serde_json::{Value, json};

use super::driver::Driver;
use crate::{
    personal_access_tokens,
    test_server::{PASSWORD, TestServer, until},
    test_stores::ask,
};

/// The part of *Authorize* that takes username and password.
const SIGN_IN: &str = "//div[@class='auth-container'][.//h4[contains(., '(OAuth2, password)')]]";

/// The part of *Authorize* that takes a pasted token.
const BEARER: &str = "//div[@class='auth-container'][.//h4[contains(., '(http, Bearer)')]]";

/// The page of a gateway, drawn. Of its account nobody is signed in there.
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
        // What the browser shows before belongs to itself.
        page.driver.open("about:blank").await;
        page.driver.network().await;
        page.load().await;
        page
    }

    /// Opens it, or opens it again, without the credentials that it stored.
    async fn load(&self) {
        self.reload().await;
        self.driver.run("localStorage.clear()").await;
        self.reload().await;
    }

    async fn reload(&self) {
        self.driver.open(&format!("{}/docs", self.origin)).await;
        self.until_shown("//div[@id='operations-Health-getReadiness']")
            .await;
    }

    async fn until_shown(&self, xpath: &str) {
        until(xpath, || self.driver.has(xpath)).await;
    }

    /// *Authorize* with user name and password, ticking these scopes.
    async fn authorize(&self, scopes: &[&str]) {
        self.driver
            .click("//button[contains(@class, 'btn authorize')]")
            .await;
        self.until_shown(SIGN_IN).await;
        let has_cursor = "return document.activeElement.id";
        until("the cursor is in the username field", || async {
            self.driver.run(has_cursor).await == "oauth_username"
        })
        .await;
        self.driver
            .enter(&format!("{SIGN_IN}//input[@id='oauth_username']"), "john")
            .await;
        self.driver
            .enter(&format!("{SIGN_IN}//input[@id='oauth_password']"), PASSWORD)
            .await;
        for scope in scopes {
            self.driver
                .click(&format!("{SIGN_IN}//label[.//p[text()='{scope}']]"))
                .await;
        }
        self.driver
            .click(&format!("{SIGN_IN}//button[text()='Authorize']"))
            .await;
        self.until_shown(&format!("{SIGN_IN}//h6[text()='Authorized']"))
            .await;
        self.driver
            .click(&format!("{SIGN_IN}//button[text()='Close']"))
            .await;
    }

    /// *Authorize* with a pasted token.
    async fn paste(&self, token: &str) {
        self.driver
            .click("//button[contains(@class, 'btn authorize')]")
            .await;
        self.until_shown(BEARER).await;
        self.driver
            .enter(&format!("{BEARER}//input[@id='auth-bearer-value']"), token)
            .await;
        self.driver
            .click(&format!("{BEARER}//button[text()='Authorize']"))
            .await;
        self.until_shown(&format!("{BEARER}//h6[text()='Authorized']"))
            .await;
        self.driver
            .click(&format!("{BEARER}//button[text()='Close']"))
            .await;
    }

    /// Opens an operation, and *Try it out*.
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

/// An operation that is being tried out.
struct Operation<'a> {
    driver: &'a Driver,
    block: String,
}

impl Operation<'_> {
    /// *Execute*; the status that is shown, and the body.
    async fn execute(&self) -> (String, Value) {
        self.driver
            .click(&format!("{}//button[text()='Execute']", self.block))
            .await;
        let shown = format!(
            "{}//table[contains(@class, 'live-responses-table')]//tr[@class='response']",
            self.block
        );
        let status = self
            .driver
            .text(&format!(
                "{shown}/td[contains(@class, 'response-col_status')]"
            ))
            .await;
        let body = format!("{shown}//div[@class='highlight-code']//code");
        let body = if self.driver.has(&body).await {
            self.driver.text(&body).await
        } else {
            "null".to_owned()
        };
        (
            status,
            serde_json::from_str(&body).unwrap_or_else(|_| panic!("JSON: {body}")),
        )
    }

    /// *Clear*, and *Execute* again.
    async fn execute_again(&self) -> (String, Value) {
        self.driver
            .click(&format!("{}//button[text()='Clear']", self.block))
            .await;
        let shown = format!(
            "{}//table[contains(@class, 'live-responses-table')]",
            self.block
        );
        until("it is cleared", || async { !self.driver.has(&shown).await }).await;
        self.execute().await
    }

    async fn enter_body(&self, body: &Value) {
        self.driver
            .enter(&format!("{}//textarea", self.block), &body.to_string())
            .await;
    }

    /// Types what a parameter is to be.
    async fn say(&self, parameter: &str, value: &str) {
        let xpath = format!("{}//tr[@data-param-name='{parameter}']//input", self.block);
        self.driver.enter(&xpath, value).await;
    }
}

#[tokio::test]
async fn a_person_signs_in_there_uses_it_and_signs_out() {
    let page = Page::open().await;
    let ways: [&[&str]; 2] = [
        &[],
        &[
            "user:read",
            "user:write",
            "items:read",
            "items:write",
            "admin",
        ],
    ];
    for scopes in ways {
        page.load().await;
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
    }
    assert_eq!(ask(&page.server, "select count(*) from items").await, "2");
    page.has_kept_to_itself(&[
        "/items 400",
        "/items?limit=20 401",
        "/items 400",
        "/items?limit=20 401",
    ])
    .await;
}

#[tokio::test]
async fn scopes_that_were_not_ticked_are_not_granted() {
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
    assert_eq!(ask(&page.server, "select count(*) from items").await, "0");
}

#[tokio::test]
async fn pasted_personal_access_token_authorizes_and_survives_reload() {
    let page = Page::open().await;
    let session = page.server.sign_in("john").await;
    let (_, token) = personal_access_tokens::make(&page.server, &session, "items:read").await;
    page.paste(&token).await;
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
async fn a_page_signs_in_there_by_cookie() {
    let page = Page::open().await;
    let state = page.try_out("Authentication-getBrowserSession").await;
    assert_eq!(state.execute().await.1["code"], "unauthenticated");
    let (status, opened) = page
        .try_out("Authentication-createBrowserSession")
        .await
        .execute()
        .await;
    assert_eq!(
        (status.as_str(), &opened["user"]["username"]),
        ("200", &json!("john")),
        "{opened}"
    );
    assert_eq!(state.execute_again().await.0, "200");

    let create = page.try_out("Items_\\(sample\\)-createItem").await;
    let (status, problem) = create.execute().await;
    assert_eq!(
        (status.as_str(), &problem["code"]),
        ("403", &json!("csrf")),
        "{problem}"
    );
    assert_eq!(ask(&page.server, "select count(*) from items").await, "0");
    create.say("X-Latchkey-Request", "1").await;
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
    page.has_kept_to_itself(&["/session 401", "/items 403", "/session 401"])
        .await;
}

#[tokio::test]
async fn it_is_compressed_and_asked_for_again_only_when_it_has_changed() {
    let page = Page::open().await;
    let (status, encoding) = page.how_it_came().await;
    assert_eq!((status, encoding.as_str()), (200, "gzip"));
    page.load().await;
    assert_eq!(page.how_it_came().await.0, 304);
}

impl Page {
    /// The status and the encoding with which the page came, from the network.
    async fn how_it_came(&self) -> (u64, String) {
        let events = self.driver.network().await;
        let address = format!("{}/docs", self.origin);
        let requested = events
            .iter()
            .find(|event| event["params"]["request"]["url"] == address)
            .expect("it was requested");
        let id = &requested["params"]["requestId"];
        let answered = events.iter().find(|event| {
            event["method"] == "Network.responseReceivedExtraInfo"
                && event["params"]["requestId"] == *id
        });
        let response = &answered.expect("it was answered")["params"];
        let encoding = response["headers"]["content-encoding"]
            .as_str()
            .unwrap_or_default();
        (
            response["statusCode"].as_u64().expect("a status"),
            encoding.to_owned(),
        )
    }

    /// Nothing was asked for elsewhere, and the console says nothing but which answers were
    /// refusals: also no word of the policy, which would speak.
    async fn has_kept_to_itself(&self, refusals: &[&str]) {
        let events = self.driver.network().await;
        let requested = events
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        let requested: Vec<&str> = requested
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect();
        let ours = |url: &&str| url.starts_with(&format!("{}/", self.origin));
        let elsewhere: Vec<_> = requested
            .iter()
            .filter(|url| !ours(url) && !url.starts_with("data:"))
            .collect();
        assert!(
            elsewhere.is_empty() && requested.iter().any(ours),
            "{elsewhere:?}"
        );

        let refused = |line: &String| {
            let (address, told) = line.strip_prefix(&self.origin)?.split_once(' ')?;
            let (_, status) = told.split_once("responded with a status of ")?;
            Some(format!("{address} {}", &status[..3]))
        };
        let said = self.driver.console().await;
        let said: Vec<_> = said
            .iter()
            .map(|line| refused(line).unwrap_or_else(|| line.clone()))
            .collect();
        assert_eq!(said, refusals);
        self.driver
            .run("new Image().src = 'http://localhost:9/'")
            .await;
        until("the policy speaks", || async {
            self.driver
                .console()
                .await
                .concat()
                .contains("img-src data:")
        })
        .await;
    }
}
