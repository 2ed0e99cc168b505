//! Sign-up with `LATCHKEY_SIGNUP=verify`: the responses disclose no accounts, and only the person
//! who reads the email determines the account that a code creates.

mod accounts; // taken names, unverified addresses, and deletion
mod attacks; // registrations for the addresses of others, guesses, floods, and races

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    mail::{MailServer, code},
    password_reset::comparable_headers,
    test_server::{PASSWORD, Session, TestResponse, TestServer, wait_until},
    test_stores::{execute, query_value},
};

const EMAIL: &str = "john@example.com";

/// A server that verifies sign-ups, with its own mail server.
struct Fixture {
    server: TestServer,
    mail_server: MailServer,
}

impl Fixture {
    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let changes = [&[("LATCHKEY_SIGNUP", "verify")], changes].concat();
        let (server, mail_server) = TestServer::with_mail(&changes).await;
        Fixture {
            server,
            mail_server,
        }
    }

    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    async fn request(&self, email: &str) -> TestResponse {
        let body = json!({"email": email, "password": PASSWORD});
        self.server.post("/signup", body).await
    }

    /// Requests a code, and waits for an email with another code than these.
    async fn code_for(&self, email: &str, known: &[String]) -> String {
        self.request(email).await.is(202, "");
        self.new_code(email, known).await
    }

    async fn new_code(&self, email: &str, known: &[String]) -> String {
        let find = || {
            let emails = self.mail_server.emails_to(email);
            let mut codes = emails.iter().filter_map(|email| code(email));
            codes.find(|code| !known.contains(code))
        };
        wait_until("an email with a new code", || async { find().is_some() }).await;
        find().expect("a code")
    }

    async fn confirm(&self, email: &str, code: &str) -> TestResponse {
        self.confirm_as(email, code, None, PASSWORD).await
    }

    async fn confirm_as(
        &self,
        email: &str,
        code: &str,
        username: Option<&str>,
        password: &str,
    ) -> TestResponse {
        confirm(&self.server, email, code, username, password).await
    }

    /// Registers a user with a verified address.
    async fn register(&self, email: &str, username: &str) -> Session {
        let code = self.code_for(email, &[]).await;
        let confirmed = self.confirm_as(email, &code, Some(username), PASSWORD);
        Session::of(confirmed.await.is(201, ""))
    }

    async fn count(&self, query: &str) -> String {
        query_value(&self.server, &format!("select count(*) from {query}")).await
    }
}

async fn confirm(
    server: &TestServer,
    email: &str,
    code: &str,
    username: Option<&str>,
    password: &str,
) -> TestResponse {
    let body = json!({"email": email, "code": code, "username": username, "password": password});
    server.post("/signup/confirm", body).await
}

fn comparable(response: &TestResponse) -> (u16, Vec<u8>, Vec<(String, String)>) {
    (
        response.status,
        response.bytes.clone(),
        comparable_headers(response),
    )
}

#[tokio::test]
async fn every_address_gets_same_response() {
    let fixture = Fixture::new().await;
    for name in ["known", "disabled", "unverified", "former"] {
        fixture.register(&format!("{name}@example.com"), name).await;
    }
    for change in [
        "update users set disabled = true where username = 'disabled'",
        "update users set email_verified = false where username = 'unverified'",
        "delete from users where username = 'former'",
        "delete from email_outbox",
    ] {
        execute(&fixture.server, change).await;
    }
    let unknown = fixture.request("unknown@example.com").await;
    assert!(unknown.is(202, "").bytes.is_empty());
    for name in [
        "known",
        "KNOWN",
        "disabled",
        "unverified",
        "former",
        "unknown",
        "another",
    ] {
        let response = fixture.request(&format!("{name}@example.com")).await;
        assert_eq!(comparable(&response), comparable(&unknown), "{name}");
    }
    let sent = "select string_agg(distinct template || ' ' || coalesce(recipient, 'none'), ', '
        order by template || ' ' || coalesce(recipient, 'none')) from email_outbox";
    assert_eq!(
        query_value(&fixture.server, sent).await,
        "account_exists known@example.com, account_exists none, sign_up another@example.com, \
         sign_up former@example.com, sign_up unknown@example.com, sign_up unverified@example.com"
    );
    assert_eq!(fixture.count("users").await, "3", "no user is registered");
}

#[tokio::test]
async fn owner_of_taken_address_gets_notice_without_code() {
    let fixture = Fixture::new().await;
    fixture.register(EMAIL, "john").await;
    fixture.request("John@Example.com").await.is(202, "");
    let emails = fixture.mail_server.wait_for(EMAIL, 2).await;
    let is_notice = |email: &&String| email.contains("Subject: You already have an account");
    let notice = emails.iter().find(is_notice).expect("a notice");
    assert!(code(notice).is_none(), "{notice}");
    let text = notice.replace("=\n", "");
    assert!(text.contains("https://auth.example.com/forgot"), "{text}");
}

#[tokio::test]
async fn code_registers_user_with_verified_address() {
    let fixture = Fixture::new().await;
    let code = fixture.code_for("John@example.com", &[]).await;
    assert_eq!(fixture.count("users").await, "0");
    let body = json!({
        "email": EMAIL,
        "code": code.to_lowercase(),
        "username": "john",
        "password": PASSWORD,
        "name": "John Doe",
    });
    let confirmed = fixture.server.post("/signup/confirm", body.clone()).await;
    assert_eq!(confirmed.is(201, "").header("location"), "/user");
    let user = &confirmed.body["user"];
    // The address is the recipient of the code.
    let expected = ["John@example.com", "john", "John Doe"].map(Value::from);
    let names = ["email", "username", "name"].map(|field| user[field].clone());
    assert_eq!((names, &user["email_verified"]), (expected, &json!(true)));
    let session = Session::of(&confirmed);
    assert_eq!(session.claims()["email_verified"], true);
    assert_eq!(fixture.server.verify(&session.access_token).await.0, 204);
    fixture.server.sign_in("john").await;
    fixture
        .server
        .try_sign_in(EMAIL, PASSWORD)
        .await
        .is(200, "");
    // The code works once, also for another user.
    let again = json!({"email": EMAIL, "code": code, "username": "mary", "password": PASSWORD});
    for body in [body, again] {
        let response = fixture.server.post("/signup/confirm", body).await;
        response.is(400, "invalid_code");
    }
    assert_eq!(fixture.count("users").await, "1");
    let events = "select string_agg(event || ' ' || actor || ' ' || coalesce(reason, '-'), ', ' \
        order by at, id) from audit_events where event in ('code_requested', 'sign_up')";
    assert_eq!(
        query_value(&fixture.server, events).await,
        "code_requested unauthenticated sign_up, sign_up user -"
    );
    let failed = "audit_events where event = 'code_check_failed' and reason = 'sign_up'";
    wait_until("the wrong codes are audited", || async {
        fixture.count(failed).await != "0"
    })
    .await;
}

#[tokio::test]
async fn page_gets_session_cookie_instead_of_tokens() {
    let fixture = Fixture::new().await;
    let send = async |path: &str, body: &Value| {
        let request = fixture.server.request(Method::POST, path).json(body);
        let request = request.header("x-latchkey-request", "1");
        fixture.server.send(request).await
    };
    let body = json!({"email": EMAIL, "password": PASSWORD});
    let requested = send("/signup", &body).await;
    assert_eq!(requested.is(202, "").header("set-cookie"), "");
    let code = fixture.new_code(EMAIL, &[]).await;
    let body = json!({"email": EMAIL, "code": code, "password": PASSWORD});
    let confirmed = send("/signup/confirm", &body).await;
    let cookie = confirmed.is(201, "").header("set-cookie");
    assert!(cookie.contains("HttpOnly"), "{cookie}");
    let fields: Vec<_> = confirmed
        .body
        .as_object()
        .expect("an object")
        .keys()
        .collect();
    assert_eq!(fields, ["user"]);
    let request = fixture.server.request(Method::GET, "/session");
    let request = request.header("cookie", cookie.split(';').next().expect("a cookie"));
    fixture.server.send(request).await.is(200, "");
}

#[tokio::test]
async fn invalid_registration_sends_no_code() {
    let fixture = Fixture::new().await;
    for (body, error) in [
        (
            json!({"username": "john", "password": PASSWORD}),
            "invalid_request",
        ),
        (
            json!({"email": EMAIL, "password": "password1"}),
            "weak_password",
        ),
        (
            json!({"email": EMAIL, "password": "john@example.com"}),
            "weak_password",
        ),
        (
            json!({"email": EMAIL, "username": "admin", "password": PASSWORD}),
            "invalid_request",
        ),
    ] {
        let response = fixture.server.post("/signup", body.clone()).await;
        response.is(400, error);
        let mut body = body;
        body["email"] = json!(EMAIL);
        body["code"] = json!("00000-00000");
        if error == "weak_password" || body["username"] == "admin" {
            let response = fixture.server.post("/signup/confirm", body).await;
            response.is(400, error);
        }
    }
    assert_eq!(fixture.count("email_outbox").await, "0");
}

#[tokio::test]
async fn other_modes_accept_no_sign_up_code() {
    let (open, _mail_server) = TestServer::with_mail(&[]).await;
    let admin = open.replica_with(&[("LATCHKEY_SIGNUP", "admin")]).await;
    for (server, detail) in [(&open, "without a code"), (&admin, "Only administrators")] {
        let response = confirm(server, EMAIL, "00000-00000", None, PASSWORD).await;
        response.is(403, "signup_closed");
        assert!(
            response.text("detail").contains(detail),
            "{}",
            response.body
        );
    }
}

/// During the rotation of the master secret, replicas have the secrets in different orders.
#[tokio::test]
async fn code_stays_valid_during_rotation_of_secret() {
    let fixture = Fixture::new().await;
    let (old, new) = (
        fixture.server.setting("LATCHKEY_SECRET").to_owned(),
        crate::test_server::random_secret(),
    );
    let code = fixture.code_for(EMAIL, &[]).await;
    let both = format!("{new},{old}");
    let change = [("LATCHKEY_SECRET", both.as_str())];
    let replica = fixture.server.replica_with(&change).await;
    let confirmed = confirm(&replica, EMAIL, &code, None, PASSWORD).await;
    confirmed.is(201, "");
}
