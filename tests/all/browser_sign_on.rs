//! Sign-in of a browser at applications behind a proxy, with requests as nginx and other proxies
//! send them.

mod behind_proxies; // with the shipped configurations
mod callback; // tickets, and what they don't allow
mod challenge; // which requests lead to the sign-in page
mod cookies; // where an application cookie is accepted
mod outages; // a store is unavailable
mod single_sign_on; // several applications, and several replicas

use reqwest::{Method, header, redirect::Policy};

use crate::test_server::{ISSUER, PASSWORD, TestServer};

/// Two applications of two domains.
pub const SHOP: &str = "https://shop.example.net";
pub const WIKI: &str = "https://wiki.example.org:8443";

/// The applications of a server under test.
pub const APPLICATIONS: (&str, &str) = (
    "LATCHKEY_APPLICATIONS",
    "https://shop.example.net,https://wiki.example.org:8443",
);

/// The fields of a navigation.
pub const NAVIGATION: [(&str, &str); 3] = [
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("accept", "text/html,*/*;q=0.8"),
];

/// The response to a browser.
#[derive(Debug)]
pub struct Response {
    pub url: String,
    pub status: u16,
    pub headers: header::HeaderMap,
    pub text: String,
}

impl Response {
    #[track_caller]
    pub fn is(&self, status: u16, texts: &[&str]) -> &Response {
        assert_eq!(self.status, status, "{self:?}");
        for text in texts {
            assert!(self.text.contains(text), "no {text:?} in {}", self.text);
        }
        self
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .get(name)
            .map(|value| value.to_str().expect("ASCII"))
    }

    pub fn location(&self) -> &str {
        self.header("location")
            .unwrap_or_else(|| panic!("no redirect: {self:?}"))
    }

    /// The names of the cookies that the response sets.
    pub fn set_cookies(&self) -> Vec<&str> {
        let fields = self.headers.get_all(header::SET_COOKIE).iter();
        fields
            .filter_map(|field| Some(field.to_str().ok()?.split_once('=')?.0))
            .collect()
    }
}

/// A browser without scripts. Requests to an application go through a proxy, which checks them at
/// `/auth/page`. The requests are spread over the replicas.
pub struct Browser<'a> {
    replicas: Vec<&'a TestServer>,
    next: usize,
    client: reqwest::Client,
    /// The proxy of the applications; `None` if the browser's requests are checked as a proxy does.
    pub proxy: Option<std::net::SocketAddr>,
    /// Origin, name, and value. Cookies ignore ports.
    pub cookies: Vec<(String, String, String)>,
}

impl<'a> Browser<'a> {
    pub fn new(replicas: &[&'a TestServer]) -> Browser<'a> {
        let client = reqwest::Client::builder().redirect(Policy::none());
        Browser {
            replicas: replicas.to_vec(),
            next: 0,
            proxy: None,
            client: client.build().expect("an HTTP client"),
            cookies: Vec::new(),
        }
    }

    /// Navigates to a URL, and follows redirects.
    pub async fn open(&mut self, url: &str) -> Response {
        let mut response = self.request(Method::GET, url, &NAVIGATION, &[]).await;
        for _ in 0..10 {
            if !(300..400).contains(&response.status) {
                return response;
            }
            let url = response.location().to_owned();
            response = self.request(Method::GET, &url, &NAVIGATION, &[]).await;
        }
        panic!("a redirect loop: {response:?}");
    }

    /// Sends a GET request as a script or a program does.
    pub async fn fetch(&mut self, url: &str) -> Response {
        self.request(Method::GET, url, &[], &[]).await
    }

    /// Sends one request.
    pub async fn request(
        &mut self,
        method: Method,
        url: &str,
        fields: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Response {
        let (origin, path) = split(url);
        let server = self.replicas[self.next % self.replicas.len()];
        self.next += 1;
        let request = if origin == ISSUER {
            let request = self.client.request(method.clone(), server.url(path));
            let request = request
                .header(header::ORIGIN, ISSUER)
                .header("sec-fetch-site", "same-origin");
            if method == Method::POST {
                request.form(form)
            } else {
                request
            }
        } else {
            self.proxied(server, &method, origin, path)
        };
        let request = fields.iter().fold(request, |request, (name, value)| {
            request.header(*name, *value)
        });
        let request = match self.cookie_field(origin) {
            Some(cookies) => request.header(header::COOKIE, cookies),
            None => request,
        };
        let response = request.send().await.expect("the server responds");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        for cookie in headers.get_all(header::SET_COOKIE) {
            self.store(origin, cookie.to_str().expect("ASCII"));
        }
        let text = response.text().await.expect("text").replace("&#39;", "'");
        // The proxy forwards an allowed request to the application.
        let (status, text) = match status {
            204 => (
                200,
                format!("{url} for {}", headers["x-auth-username"].to_str().unwrap()),
            ),
            status => (status, text),
        };
        Response {
            url: url.to_owned(),
            status,
            headers,
            text,
        }
    }

    /// Builds the request of a proxy: a check, or a request below `/.latchkey/`.
    fn proxied(
        &self,
        server: &TestServer,
        method: &Method,
        origin: &str,
        path: &str,
    ) -> reqwest::RequestBuilder {
        let (scheme, host) = origin.split_once("://").expect("a scheme");
        if let Some(proxy) = self.proxy {
            let url = format!("http://{proxy}{path}");
            return self
                .client
                .request(method.clone(), url)
                .header(header::HOST, host);
        }
        let request = if path.starts_with("/.latchkey/") {
            self.client.request(method.clone(), server.url(path))
        } else {
            let request = self.client.get(server.url("/auth/page"));
            request.header("x-forwarded-uri", path)
        };
        request
            .header("x-forwarded-method", method.as_str())
            .header("x-forwarded-proto", scheme)
            .header("x-forwarded-host", host)
    }

    fn cookie_field(&self, origin: &str) -> Option<String> {
        let pairs: Vec<String> = self
            .cookies
            .iter()
            .filter(|(other, ..)| host(other) == host(origin))
            .map(|(_, name, value)| format!("{name}={value}"))
            .collect();
        (!pairs.is_empty()).then(|| pairs.join("; "))
    }

    fn store(&mut self, origin: &str, cookie: &str) {
        if !cookie.starts_with("__Host-latchkey") {
            // A cookie of the application itself.
            assert!(self.proxy.is_some(), "{cookie}");
            return;
        }
        assert!(
            cookie.ends_with("; Secure; HttpOnly; SameSite=Lax"),
            "{cookie}"
        );
        assert!(cookie.len() < 4_096, "{}", cookie.len());
        let (pair, _) = cookie.split_once(';').expect("attributes");
        let (name, value) = pair.split_once('=').expect("a value");
        self.cookies
            .retain(|(other, other_name, _)| host(other) != host(origin) || other_name != name);
        if !cookie.contains("Max-Age=0;") {
            self.cookies
                .push((origin.to_owned(), name.to_owned(), value.to_owned()));
        }
    }

    /// Returns the value of a cookie.
    pub fn cookie(&self, origin: &str, name: &str) -> Option<&str> {
        let mut cookies = self.cookies.iter();
        let cookie = cookies.find(|(other, other_name, _)| other == origin && other_name == name);
        cookie.map(|(_, _, value)| value.as_str())
    }

    /// Replaces the value of a cookie.
    pub fn set_cookie(&mut self, origin: &str, name: &str, value: String) {
        self.cookies
            .retain(|(other, other_name, _)| other != origin || other_name != name);
        self.cookies
            .push((origin.to_owned(), name.to_owned(), value));
    }

    /// Submits the form of a page of this server with its hidden fields, and follows redirects.
    pub async fn submit(&mut self, page: &Response, fields: &[(&str, &str)]) -> Response {
        let form = page.text.split("<form").nth(1).expect("a form");
        let form = form.split("</form>").next().unwrap_or_default();
        let action = attribute(form, "action").expect("an action");
        let mut values: Vec<(String, String)> = form
            .split('<')
            .filter(|tag| tag.starts_with("input type=\"hidden\""))
            .filter_map(|tag| Some((attribute(tag, "name")?, attribute(tag, "value")?)))
            .collect();
        values.extend(
            fields
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let values: Vec<(&str, &str)> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let url = format!("{ISSUER}{action}");
        let response = self.request(Method::POST, &url, &NAVIGATION, &values).await;
        if (300..400).contains(&response.status) {
            let url = response.location().to_owned();
            return self.open(&url).await;
        }
        response
    }

    /// Opens a URL of an application, and signs in.
    pub async fn sign_in(&mut self, url: &str, username: &str) -> Response {
        let page = self.open(url).await;
        page.is(200, &["<h1>Sign in</h1>"]);
        self.submit(&page, &[("username", username), ("password", PASSWORD)])
            .await
    }
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    let value = rest.split('"').next()?;
    Some(value.replace("&#38;", "&").replace("&amp;", "&"))
}

fn split(url: &str) -> (&str, &str) {
    let start = url.find("://").expect("an absolute URL") + 3;
    let end = url[start..].find('/').map_or(url.len(), |end| start + end);
    (
        &url[..end],
        if end == url.len() { "/" } else { &url[end..] },
    )
}

fn host(origin: &str) -> &str {
    let (_, authority) = origin.split_once("://").expect("a scheme");
    authority.split(':').next().unwrap_or_default()
}

/// Starts a server with two applications and a user.
pub async fn start() -> TestServer {
    let server = TestServer::with(&[APPLICATIONS]).await;
    server.sign_up("john").await;
    server
}
