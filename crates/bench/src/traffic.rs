//! What is sent: requests in full, in files that `send.lua` reads. So one script drives every row,
//! and what it costs is the same for the gateway and for the floor.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Outcome, product::Keys, seed};

/// More refreshes than any gateway can do in a second; each token is sent once.
const REFRESHES_PER_SECOND: u64 = 120_000;

/// More requests of the mixture than any gateway can do in a second.
const MIXED_PER_SECOND: u64 = 60_000;

/// Cookies are signed anew by the gateway when they are older than a quarter of their life: long
/// before that, we do it.
const STALE: Duration = Duration::from_secs(600);

/// One kind of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// `GET /auth/verify` with a bearer token.
    Verify(Whose),
    /// `GET /auth/verify` with a cookie.
    VerifyCookie,
    /// `GET /auth/verify` with a personal access token.
    VerifyPersonal,
    /// `GET /user`.
    User(Whose),
    /// `GET /items/{id}`.
    Item,
    /// `GET /items`: 20 of them.
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

/// Who sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// All 10,000 users in turn.
    Many,
    /// One user alone.
    One,
}

impl Traffic {
    /// The status of a good answer; nothing where there are several.
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

    /// The share of answers that may be refusals: where everything else keeps the cores busy,
    /// sign-ins are told to come back later (503 `busy`), which is what the row is about.
    pub fn tolerated(self) -> f64 {
        if self == Traffic::Mixed { 0.005 } else { 0.0 }
    }

    /// Whether a request may be sent again.
    pub fn repeats(self) -> bool {
        !matches!(self, Traffic::Refresh | Traffic::Mixed)
    }
}

/// Makes requests.
pub struct Composer {
    keys: Keys,
    password: String,
    bearer: Vec<String>,
    cookies: Vec<String>,
    signed: Instant,
}

impl Composer {
    /// Signs a token and a cookie for every user.
    pub fn new(keys: Keys, password: String) -> Outcome<Composer> {
        let (bearer, cookies) = (Vec::new(), Vec::new());
        let mut composer = Composer {
            keys,
            password,
            bearer,
            cookies,
            signed: Instant::now(),
        };
        composer.sign()?;
        Ok(composer)
    }

    fn sign(&mut self) -> Outcome<()> {
        let now = crate::now();
        self.signed = Instant::now();
        self.bearer = (1..=seed::USERS)
            .map(|user| self.keys.bearer(user, now))
            .collect::<Outcome<_>>()?;
        self.cookies = (1..=seed::USERS)
            .map(|user| self.keys.cookie(user, now))
            .collect::<Outcome<_>>()?;
        Ok(())
    }

    /// Signs anew what gets old; whether it did, which leaves caches cold.
    pub fn renew(&mut self) -> Outcome<bool> {
        let stale = self.signed.elapsed() > STALE;
        if stale {
            self.sign()?;
        }
        Ok(stale)
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Bytes of an access token.
    pub fn token_length(&self) -> usize {
        self.bearer[0].len()
    }

    /// Requests for so many seconds. `counters` are those of the sessions at this moment.
    pub fn requests(&self, traffic: Traffic, counters: &[u64], seconds: u64) -> Vec<String> {
        let each = |users: std::ops::RangeInclusive<u64>, request: &dyn Fn(u64) -> String| {
            users.map(request).collect()
        };
        match traffic {
            Traffic::Verify(whose) => each(who(whose), &|user| self.verify(user)),
            Traffic::VerifyCookie => each(1..=seed::USERS, &|user| self.verify_cookie(user)),
            Traffic::VerifyPersonal => each(1..=seed::USERS, &|user| {
                self.verify_with(&self.keys.personal(user))
            }),
            Traffic::User(whose) => each(who(whose), &|user| self.user(user)),
            Traffic::Item => each(1..=seed::USERS, &|user| self.item(user)),
            Traffic::Page => each(1..=seed::WITH_PAGES, &|user| self.get("/items", user)),
            Traffic::Create => each(seed::READERS + 1..=seed::USERS, &|user| self.create(user)),
            Traffic::Login => each(1..=seed::USERS, &|user| self.login(user)),
            Traffic::Refresh => (0..REFRESHES_PER_SECOND * seconds)
                .map(|turn| self.refresh(turn, counters))
                .collect(),
            Traffic::Mixed => (0..MIXED_PER_SECOND * seconds)
                .map(|turn| self.mixed(turn, counters))
                .collect(),
        }
    }

    /// Verify with a token of one's own.
    pub fn verify_with(&self, token: &str) -> String {
        request(
            "GET",
            "/auth/verify",
            &format!("Authorization: Bearer {token}\r\n"),
            "",
        )
    }

    /// Verify with the token of a user.
    pub fn verify(&self, user: u64) -> String {
        self.get("/auth/verify", user)
    }

    /// Somebody looks at their account.
    pub fn user(&self, user: u64) -> String {
        self.get("/user", user)
    }

    /// The session of a user's tokens ends.
    pub fn logout(&self, user: u64) -> String {
        request(
            "POST",
            "/logout",
            &format!("Authorization: Bearer {}\r\n", self.bearer[index(user)]),
            "",
        )
    }

    /// One refresh of a session with this counter.
    pub fn refresh_at(&self, user: u64, counter: u64) -> String {
        let token = self.keys.refresh(user, counter);
        request(
            "POST",
            "/refresh",
            "",
            &format!(r#"{{"refresh_token":"{token}"}}"#),
        )
    }

    /// The first refresh of each session that Redis does not know yet.
    pub fn first_refreshes(&self, counters: &[u64]) -> Vec<String> {
        let away = (0..seed::USERS).filter(|turn| counters[index(turn + 1)] == 0);
        away.map(|turn| self.refresh(turn, counters)).collect()
    }

    fn get(&self, path: &str, user: u64) -> String {
        request(
            "GET",
            path,
            &format!("Authorization: Bearer {}\r\n", self.bearer[index(user)]),
            "",
        )
    }

    /// As a proxy asks, which says what the original method was.
    fn verify_cookie(&self, user: u64) -> String {
        let cookie = &self.cookies[index(user)];
        let fields = format!("Cookie: __Host-latchkey={cookie}\r\nX-Forwarded-Method: GET\r\n");
        request("GET", "/auth/verify", &fields, "")
    }

    /// Somebody looks at their first item.
    pub fn item(&self, user: u64) -> String {
        self.get(&format!("/items/{}", seed::item(user)), user)
    }

    /// Somebody makes an item.
    pub fn create(&self, user: u64) -> String {
        let token = format!("Authorization: Bearer {}\r\n", self.bearer[index(user)]);
        request(
            "POST",
            "/items",
            &token,
            r#"{"name":"Book","description":"A nice book"}"#,
        )
    }

    /// Somebody signs in.
    pub fn login(&self, user: u64) -> String {
        let body = format!(
            r#"{{"username":"{}","password":"{}"}}"#,
            seed::username(user),
            self.password
        );
        // Each from an address of its own: at the end of a run callers hang up, and a sign-in that
        // nobody waits for counts as a try of its network.
        let address = format!(
            "X-Forwarded-For: 10.{}.{}.{}\r\n",
            user >> 16 & 255,
            user >> 8 & 255,
            user & 255
        );
        request("POST", "/login", &address, &body)
    }

    /// Sessions take turns, so that the next token of one is sent long after its last one was
    /// answered.
    fn refresh(&self, turn: u64, counters: &[u64]) -> String {
        let (user, lap) = (turn % seed::USERS + 1, turn / seed::USERS);
        self.refresh_at(user, counters[index(user)] + lap)
    }

    /// Of 200 requests 1 is a login, 3 are refreshes, 16 are reads; the factor spreads them.
    fn mixed(&self, turn: u64, counters: &[u64]) -> String {
        let user = turn % seed::USERS + 1;
        match (turn * 37) % 200 {
            // Not always the same few.
            0 => self.login(turn / 200 % seed::USERS + 1),
            slot @ 1..=3 => self.refresh(turn / 200 * 3 + slot - 1, counters),
            4..=9 => self.user(user),
            10..=15 => self.item(user),
            16..=19 => self.get("/items", user % seed::WITH_PAGES + 1),
            _ => self.verify(user),
        }
    }
}

fn who(whose: Whose) -> std::ops::RangeInclusive<u64> {
    match whose {
        Whose::Many => 1..=seed::USERS,
        Whose::One => 1..=1,
    }
}

fn index(user: u64) -> usize {
    usize::try_from(user - 1).expect("users are few")
}

/// What a proxy sends at least.
fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let content = match body.len() {
        0 => String::new(),
        length => format!("Content-Type: application/json\r\nContent-Length: {length}\r\n"),
    };
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}{content}\r\n{body}")
}

/// Writes requests for `send.lua`.
pub fn write(requests: &[String], folder: &Path) -> Outcome<PathBuf> {
    let path = folder.join("requests");
    let mut file = BufWriter::new(File::create(&path)?);
    for request in requests {
        write!(file, "{}\n{request}", request.len())?;
    }
    file.flush()?;
    Ok(path)
}
