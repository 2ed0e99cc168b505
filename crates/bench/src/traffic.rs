//! Complete requests, in files that `send.lua` reads. One script sends all of them, so its cost is
//! the same for the server and the baseline.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Outcome, product::Keys, seed};

/// Exceeds the rate of any server, because each token is sent once.
const MAX_REFRESHES_PER_SECOND: u64 = 120_000;

/// Exceeds the rate of any server, because the mixture contains refreshes.
const MAX_MIXED_REQUESTS_PER_SECOND: u64 = 60_000;

/// The server renews a cookie after a quarter of its lifetime. The benchmark signs all tokens again
/// before that.
const TOKEN_RENEWAL_INTERVAL: Duration = Duration::from_secs(600);

/// One kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// `GET /auth/verify` with a bearer token.
    Verify(UserSet),
    /// `GET /auth/verify` with a cookie.
    VerifyCookie,
    /// `GET /auth/verify` with a personal access token.
    VerifyPersonal,
    /// `GET /user`.
    User(UserSet),
    /// `GET /items/{id}`.
    Item,
    /// `GET /items` with 20 items.
    Page,
    /// `POST /items`.
    Create,
    /// `POST /refresh`.
    Refresh,
    /// `POST /login`.
    Login,
    /// 90 % verify, 8 % reads, 1.5 % refresh, 0.5 % login.
    Mixed,
}

/// The users that send the requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserSet {
    /// All 10,000 users in turn.
    All,
    /// One user alone.
    One,
}

impl Traffic {
    /// Returns the expected status, or `None` if there are several.
    pub fn status(self) -> Option<u16> {
        match self {
            Traffic::Verify(_) | Traffic::VerifyCookie | Traffic::VerifyPersonal => Some(204),
            Traffic::User(_)
            | Traffic::Item
            | Traffic::Page
            | Traffic::Refresh
            | Traffic::Login => Some(200),
            Traffic::Create => Some(201),
            Traffic::Mixed => None,
        }
    }

    /// Returns the accepted share of errors. In the mixture, the server can reject sign-ins with
    /// 503 `busy` while other requests occupy the cores.
    pub fn max_error_share(self) -> f64 {
        if self == Traffic::Mixed { 0.005 } else { 0.0 }
    }

    /// Returns whether a request can be sent more than once.
    pub fn is_repeatable(self) -> bool {
        !matches!(self, Traffic::Refresh | Traffic::Mixed)
    }
}

/// Builds the requests of the seeded users.
pub struct RequestBuilder {
    keys: Keys,
    password: String,
    bearer: Vec<String>,
    cookies: Vec<String>,
    signed_at: Instant,
}

impl RequestBuilder {
    /// Signs a token and a cookie for every user.
    pub fn new(keys: Keys, password: String) -> Outcome<RequestBuilder> {
        let (bearer, cookies) = (Vec::new(), Vec::new());
        let mut request_builder = RequestBuilder {
            keys,
            password,
            bearer,
            cookies,
            signed_at: Instant::now(),
        };
        request_builder.sign_tokens()?;
        Ok(request_builder)
    }

    fn sign_tokens(&mut self) -> Outcome<()> {
        let now = crate::now();
        self.signed_at = Instant::now();
        self.bearer = (1..=seed::USER_COUNT)
            .map(|user| self.keys.sign_access_token(user, now))
            .collect::<Outcome<_>>()?;
        self.cookies = (1..=seed::USER_COUNT)
            .map(|user| self.keys.sign_cookie(user, now))
            .collect::<Outcome<_>>()?;
        Ok(())
    }

    /// Signs all tokens again if they are old. Returns whether it did, because new tokens leave the
    /// caches cold.
    pub fn renew_tokens(&mut self) -> Outcome<bool> {
        let is_stale = self.signed_at.elapsed() > TOKEN_RENEWAL_INTERVAL;
        if is_stale {
            self.sign_tokens()?;
        }
        Ok(is_stale)
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns the length of an access token in bytes.
    pub fn token_length(&self) -> usize {
        self.bearer[0].len()
    }

    /// Builds the requests of a run. `counters` contains the current rotation counters of all
    /// sessions.
    pub fn requests(&self, traffic: Traffic, counters: &[u64], seconds: u64) -> Vec<String> {
        let build = |users: std::ops::RangeInclusive<u64>, request: &dyn Fn(u64) -> String| {
            users.map(request).collect()
        };
        match traffic {
            Traffic::Verify(users) => build(user_range(users), &|user| self.verify(user)),
            Traffic::VerifyCookie => build(1..=seed::USER_COUNT, &|user| self.verify_cookie(user)),
            Traffic::VerifyPersonal => build(1..=seed::USER_COUNT, &|user| {
                self.verify_with(&self.keys.personal_access_token(user))
            }),
            Traffic::User(users) => build(user_range(users), &|user| self.user(user)),
            Traffic::Item => build(1..=seed::USER_COUNT, &|user| self.item(user)),
            Traffic::Page => build(1..=seed::PAGED_USER_COUNT, &|user| self.get("/items", user)),
            Traffic::Create => build(seed::LAST_READER + 1..=seed::USER_COUNT, &|user| {
                self.create(user)
            }),
            Traffic::Login => build(1..=seed::USER_COUNT, &|user| self.login(user)),
            Traffic::Refresh => (0..MAX_REFRESHES_PER_SECOND * seconds)
                .map(|turn| self.refresh(turn, counters))
                .collect(),
            Traffic::Mixed => (0..MAX_MIXED_REQUESTS_PER_SECOND * seconds)
                .map(|turn| self.mixed(turn, counters))
                .collect(),
        }
    }

    /// Builds a check with the given token.
    pub fn verify_with(&self, token: &str) -> String {
        request(
            "GET",
            "/auth/verify",
            &format!("Authorization: Bearer {token}\r\n"),
            "",
        )
    }

    /// Builds a check with the access token of a user.
    pub fn verify(&self, user: u64) -> String {
        self.get("/auth/verify", user)
    }

    /// Builds a request for the current user.
    pub fn user(&self, user: u64) -> String {
        self.get("/user", user)
    }

    /// Builds a sign-out of a user's session with tokens.
    pub fn logout(&self, user: u64) -> String {
        request(
            "POST",
            "/logout",
            &format!(
                "Authorization: Bearer {}\r\n",
                self.bearer[user_index(user)]
            ),
            "",
        )
    }

    /// Builds a refresh of a session at a rotation counter.
    pub fn refresh_at(&self, user: u64, counter: u64) -> String {
        let token = self.keys.refresh_token(user, counter);
        request(
            "POST",
            "/refresh",
            "",
            &format!(r#"{{"refresh_token":"{token}"}}"#),
        )
    }

    /// Builds a refresh of each session that Redis does not contain.
    pub fn first_refreshes(&self, counters: &[u64]) -> Vec<String> {
        let missing = (0..seed::USER_COUNT).filter(|turn| counters[user_index(turn + 1)] == 0);
        missing.map(|turn| self.refresh(turn, counters)).collect()
    }

    fn get(&self, path: &str, user: u64) -> String {
        request(
            "GET",
            path,
            &format!(
                "Authorization: Bearer {}\r\n",
                self.bearer[user_index(user)]
            ),
            "",
        )
    }

    /// Builds a check with the session cookie and the original method, as a proxy sends it.
    fn verify_cookie(&self, user: u64) -> String {
        let cookie = &self.cookies[user_index(user)];
        let fields = format!("Cookie: __Host-latchkey={cookie}\r\nX-Forwarded-Method: GET\r\n");
        request("GET", "/auth/verify", &fields, "")
    }

    /// Builds a request for the first item of a user.
    pub fn item(&self, user: u64) -> String {
        self.get(&format!("/items/{}", seed::item_id(user)), user)
    }

    /// Builds a request that creates an item.
    pub fn create(&self, user: u64) -> String {
        let token = format!(
            "Authorization: Bearer {}\r\n",
            self.bearer[user_index(user)]
        );
        request(
            "POST",
            "/items",
            &token,
            r#"{"name":"Book","description":"A nice book"}"#,
        )
    }

    /// Builds a sign-in.
    pub fn login(&self, user: u64) -> String {
        let body = format!(
            r#"{{"username":"{}","password":"{}"}}"#,
            seed::username(user),
            self.password
        );
        // Each user has an IP address of its own. Callers disconnect at the end of a run, and an
        // aborted sign-in counts as an attempt of its network.
        let address = format!(
            "X-Forwarded-For: 10.{}.{}.{}\r\n",
            user >> 16 & 255,
            user >> 8 & 255,
            user & 255
        );
        request("POST", "/login", &address, &body)
    }

    /// Builds a refresh. Sessions alternate, so that the response to the previous refresh of a
    /// session arrives long before its next refresh.
    fn refresh(&self, turn: u64, counters: &[u64]) -> String {
        let (user, rotations) = (turn % seed::USER_COUNT + 1, turn / seed::USER_COUNT);
        self.refresh_at(user, counters[user_index(user)] + rotations)
    }

    /// Of 200 requests, 1 is a login, 3 are refreshes, and 16 are reads. The factor spreads them.
    fn mixed(&self, turn: u64, counters: &[u64]) -> String {
        let user = turn % seed::USER_COUNT + 1;
        match (turn * 37) % 200 {
            // Sign-ins alternate over all users.
            0 => self.login(turn / 200 % seed::USER_COUNT + 1),
            slot @ 1..=3 => self.refresh(turn / 200 * 3 + slot - 1, counters),
            4..=9 => self.user(user),
            10..=15 => self.item(user),
            16..=19 => self.get("/items", user % seed::PAGED_USER_COUNT + 1),
            _ => self.verify(user),
        }
    }
}

fn user_range(users: UserSet) -> std::ops::RangeInclusive<u64> {
    match users {
        UserSet::All => 1..=seed::USER_COUNT,
        UserSet::One => 1..=1,
    }
}

fn user_index(user: u64) -> usize {
    usize::try_from(user - 1).expect("a user number fits usize")
}

/// Builds a request with the minimum of headers that a proxy sends.
fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let content = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{content}\r\n{body}")
}

/// Writes the requests in the format of `send.lua`.
pub fn write_requests(requests: &[String], folder: &Path) -> Outcome<PathBuf> {
    let path = folder.join("requests");
    let mut file = BufWriter::new(File::create(&path)?);
    for request in requests {
        write!(file, "{}\n{request}", request.len())?;
    }
    file.flush()?;
    Ok(path)
}
