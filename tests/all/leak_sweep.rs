//! Searches everything that a server writes, at the log level `trace`, for the secrets that it has
//! seen. Then presents everything that looks like a credential to the server.

use std::collections::BTreeSet;

use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    browser, leaks,
    mail::{self, MailServer},
    metrics,
    oauth::Client,
    personal_access_tokens,
    test_server::{Session, TestServer},
    test_stores::execute,
};

const JOHN: &str = "john@example.com";
const MARY: &str = "mary@example.com";

/// The secrets that the servers have seen, with their names.
#[derive(Default)]
struct Secrets(Vec<(String, String)>);

impl Secrets {
    /// Creates a text that a user could choose, and that occurs nowhere else.
    fn create(&mut self, name: &str) -> String {
        let mut random = [0; 12];
        aws_lc_rs::rand::fill(&mut random).expect("randomness");
        let secret = format!("Kq7{}", URL_SAFE_NO_PAD.encode(random)).replace(['-', '_'], "x");
        self.add(name, &secret);
        secret
    }

    fn add(&mut self, name: &str, secret: &str) {
        assert!(secret.len() >= 10, "{name}: {secret}");
        self.0.push((name.to_owned(), secret.to_owned()));
    }

    /// Adds the tokens and the secrets of a response.
    fn add_response(&mut self, name: &str, body: &Value) {
        for field in ["access_token", "refresh_token", "token", "client_secret"] {
            if let Some(secret) = body[field].as_str() {
                self.add(&format!("{name}, {field}"), secret);
            }
        }
    }

    /// Returns the texts that would disclose a secret.
    fn texts(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().flat_map(|(name, secret)| {
            let part = secret_part(secret);
            let encodings = [
                part.to_owned(),
                STANDARD.encode(part).trim_end_matches('=').to_owned(),
                part.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ];
            encodings.map(|text| (name.as_str(), text))
        })
    }
}

/// Returns the part of a token that authenticates: the signature of a JWT, or the middle of an
/// opaque token. All of any other secret.
fn secret_part(secret: &str) -> &str {
    match secret.rsplit_once('.') {
        Some((_, signature)) => signature,
        None if secret.len() >= 60 => &secret[30..50],
        None => secret,
    }
}

struct Fixture {
    server: TestServer,
    /// A replica that registers users with a code.
    verify: TestServer,
    mail_server: MailServer,
    secrets: Secrets,
}

impl Fixture {
    async fn new() -> Fixture {
        let (server, mail_server) = TestServer::with_mail(&[("LATCHKEY_LOG", "trace")]).await;
        let verify = server.replica_with(&[("LATCHKEY_SIGNUP", "verify")]).await;
        let mut secrets = Secrets::default();
        secrets.add("LATCHKEY_SECRET", server.setting("LATCHKEY_SECRET"));
        Fixture {
            server,
            verify,
            mail_server,
            secrets,
        }
    }

    async fn post(&mut self, name: &str, path: &str, body: Value, status: u16) -> Value {
        let response = self.server.post(path, body).await;
        assert_eq!(response.status, status, "{name}: {}", response.string());
        self.secrets.add_response(name, &response.body);
        response.body
    }

    async fn call(
        &mut self,
        token: &str,
        (method, path): (Method, &str),
        body: Value,
        status: u16,
    ) -> Value {
        let response = self.server.with_token(method, path, token, body).await;
        assert_eq!(response.status, status, "{path}: {}", response.string());
        self.secrets.add_response(path, &response.body);
        response.body
    }

    /// Registers a user with a code, and returns the session.
    async fn sign_up_with_code(&mut self) -> Session {
        let password = self.secrets.create("password of a sign-up with a code");
        let mut body = json!({"email": MARY, "username": "mary", "password": password});
        self.verify.post("/signup", body.clone()).await.is(202, "");
        let code = self.mail_server.code_for(MARY).await;
        self.secrets.add("code of the sign-up", &code);
        body["code"] = json!(code);
        let response = self.verify.post("/signup/confirm", body).await;
        self.secrets
            .add_response("sign-up with a code", &response.is(201, "").body);
        Session::of(&response)
    }

    /// Signs in with wrong passwords, in the ways in which users and clients err.
    async fn fail_to_sign_in(&mut self) {
        let wrong = self.secrets.create("wrong password");
        let body = json!({"username": "john", "password": wrong});
        self.post("wrong password", "/login", body, 401).await;
        let swapped = self.secrets.create("password in the field of the username");
        let body = json!({"username": swapped, "password": "john"});
        self.post("swapped fields", "/login", body, 401).await;
        let misspelled = self.secrets.create("password in an unknown field");
        let body = json!({"username": "john", "passwort": misspelled});
        self.post("misspelled field", "/login", body, 400).await;
        let truncated = self.secrets.create("password in invalid JSON");
        let request = self
            .server
            .request(Method::POST, "/login")
            .header(header::CONTENT_TYPE, "application/json")
            .body(format!(r#"{{"username":"john","password":"{truncated}"#));
        self.server.send(request).await.is(400, "invalid_request");
        let queried = self.secrets.create("password in the query");
        let path = format!("/login?username=john&password={queried}");
        self.server
            .post(&path, json!({}))
            .await
            .is(400, "invalid_request");
        let form = self.secrets.create("password in a form");
        let fields = [("username", "john"), ("password", form.as_str())];
        let response = self.server.form("/login", &fields).await;
        assert_eq!(response.status, 401, "{}", response.string());
        let basic = self.secrets.create("password of HTTP Basic authentication");
        let request = self.server.request(Method::GET, "/user");
        let request = request.basic_auth("john", Some(&basic));
        let response = self.server.send(request).await;
        assert_eq!(response.status, 401, "{}", response.string());
    }

    /// Changes a password in all ways.
    async fn change_passwords(&mut self, first: &str, session: &Session, admin: &Session) {
        let second = self.secrets.create("new password");
        let body = json!({"current_password": first, "new_password": second});
        let path = (Method::POST, "/user/password");
        self.call(&session.access_token, path, body, 204).await;
        self.server.forgot_password(JOHN).await.is(202, "");
        let code = self.mail_server.code_for(JOHN).await;
        self.secrets.add("code of the reset", &code);
        let third = self.secrets.create("password of the reset");
        let reset = self.server.reset_password(JOHN, &code, &third).await;
        reset.is(204, "");
        let fourth = self
            .secrets
            .create("password that an administrator has set");
        let path = session.user_path();
        let path = (Method::PATCH, path.as_str());
        let body = json!({"password": fourth});
        self.call(&admin.access_token, path, body, 200).await;
    }

    /// Sends the token in places where it doesn't belong, as careless clients do.
    async fn misplace(&self, token: &str) {
        let paths = [
            format!("/user?access_token={token}"),
            format!("/items/{token}"),
            format!("/{token}"),
            format!("/auth/verify?scope={token}"),
        ];
        for path in &paths {
            let response = self.server.get(path).await;
            assert!(response.status >= 400, "{path}: {}", response.status);
        }
        let headers = [
            ("referer", format!("https://app.example.com/?token={token}")),
            ("x-forwarded-uri", format!("/page?token={token}")),
            ("x-original-url", format!("https://a.example/?t={token}")),
            ("authorization", format!("Token {token}")),
            ("authorization", format!("Bearer {token} {token}")),
            ("cookie", format!("other={token}")),
            ("x-api-key", token.to_owned()),
        ];
        for (name, value) in headers {
            let request = self.server.request(Method::GET, "/auth/verify");
            let response = self.server.send(request.header(name, value)).await;
            assert_eq!(response.status, 401, "{name}: {}", response.string());
        }
    }

    /// Returns the names and the contents of everything that the servers have written.
    async fn outputs(&self) -> Vec<(&'static str, String)> {
        let (postgres, redis) = leaks::read_stores(&self.server).await;
        vec![
            ("log", self.server.log().join("\n")),
            ("log of the replica", self.verify.log().join("\n")),
            ("metrics", metrics::page(&self.server).await),
            ("readiness", self.server.readiness().await.string()),
            ("process arguments", arguments(&self.server)),
            ("PostgreSQL", postgres),
            ("Redis", redis),
        ]
    }

    /// Asserts that the server authenticates nothing with this text.
    async fn assert_authenticates_nothing(&self, text: &str) {
        let server = &self.server;
        let request = server
            .request(Method::GET, "/auth/verify")
            .bearer_auth(text);
        let bearer = server.send(request).await;
        assert_eq!(bearer.status, 401, "{text}: {}", bearer.string());
        let request = server.request(Method::GET, "/user");
        let cookie = request.header(header::COOKIE, format!("{}={text}", browser::NAME));
        let cookie = server.send(cookie).await;
        assert_eq!(cookie.status, 401, "{text}: {}", cookie.string());
        let refreshed = server.refresh(text).await;
        assert!(refreshed.status >= 400, "{text}: {}", refreshed.string());
    }
}

/// The arguments of the process, which every user of the machine can read.
fn arguments(server: &TestServer) -> String {
    let path = format!("/proc/{}/cmdline", server.pid());
    std::fs::read_to_string(path).expect("the arguments of a running process")
}

/// Returns the parts of a text that could be a token or a secret, and the base64url form of those
/// that are hexadecimal.
fn candidates(contents: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let mut found = BTreeSet::new();
    for word in contents.split(|c| !is_part(c)) {
        // A UUID is an ID, and a word without a digit is a name.
        if word.len() < 20 || uuid::Uuid::parse_str(word).is_ok() {
            continue;
        }
        if !word.contains(|c: char| c.is_ascii_digit()) {
            continue;
        }
        if let Some(bytes) = read_hex(word.trim_start_matches('x')) {
            found.insert(URL_SAFE_NO_PAD.encode(bytes));
        }
        found.insert(word.to_owned());
    }
    found
}

fn read_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}

#[tokio::test]
async fn no_output_contains_a_secret_or_authenticates() {
    let mut fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let password = fixture.secrets.create("password of the sign-up");
    let body = json!({"username": "john", "email": JOHN, "password": password});
    let tokens = fixture.post("sign-up", "/signup", body, 201).await;
    let john = Session {
        access_token: tokens["access_token"].as_str().unwrap().to_owned(),
        refresh_token: tokens["refresh_token"].as_str().unwrap().to_owned(),
    };
    fixture.fail_to_sign_in().await;
    fixture.change_passwords(&password, &john, &admin).await;
    execute(&fixture.server, "update users set email_verified = true").await;

    // Credentials that stay valid, so that a leak of one would authenticate.
    let mary = fixture.sign_up_with_code().await;
    let body = json!({"refresh_token": mary.refresh_token});
    let refreshed = fixture.post("refresh", "/refresh", body, 200).await;
    let mary = refreshed["access_token"].as_str().unwrap().to_owned();
    let body = json!({"name": "job", "scope": "items:read user:read"});
    let path = (Method::POST, "/user/tokens");
    let created = fixture.call(&mary, path, body, 201).await;
    let personal = created["token"].as_str().unwrap().to_owned();
    personal_access_tokens::get_with_token(&fixture.server, &personal, "/user")
        .await
        .is(200, "");
    let body = json!({"name": "service", "scope": "items:read"});
    let path = (Method::POST, "/clients");
    let created = fixture.call(&admin.access_token, path, body, 201).await;
    let client = Client {
        id: created["client_id"].as_str().unwrap().to_owned(),
        secret: created["client_secret"].as_str().unwrap().to_owned(),
    };
    let client_token = client.token(&fixture.server).await;
    fixture.secrets.add("token of a client", &client_token);
    fixture.server.sign_up("jane").await;
    let cookie = browser::open(&fixture.server, "jane").await;
    fixture.secrets.add("session cookie", &cookie);
    for token in [&mary, &personal, &client.secret, &client_token, &cookie] {
        fixture.misplace(token).await;
    }

    let outputs = fixture.outputs().await;
    for (name, text) in fixture.secrets.texts() {
        for (output, contents) in &outputs {
            assert!(!contents.contains(&text), "{output} contains the {name}");
        }
    }
    let emails = fixture.mail_server.emails_to("");
    let codes: Vec<_> = emails
        .iter()
        .filter_map(|email| mail::code(email))
        .collect();
    assert_eq!(codes.len(), 2, "the codes of the reset and of the sign-up");
    for (name, text) in fixture.secrets.texts() {
        let is_code = codes.contains(&text);
        let email = emails.iter().find(|email| email.contains(&text));
        assert!(is_code || email.is_none(), "{name}: {email:?}");
    }

    let found: BTreeSet<String> = outputs
        .iter()
        .flat_map(|(_, contents)| candidates(contents))
        .collect();
    // Among them are the hash of the personal access token and the encrypted signing key.
    assert!(found.len() > 20, "{found:?}");
    for text in &found {
        fixture.assert_authenticates_nothing(text).await;
    }
    // The search would find a credential.
    let found = candidates(&format!("token={mary}; {personal}"));
    assert!(found.contains(&mary) && found.contains(&personal));
    let valid = fixture.server.verify(&mary).await;
    assert_eq!(valid.0, 204, "the credentials are still valid");
}
