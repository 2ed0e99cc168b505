//! Everything that ends something × every kind of credential, asked on a second replica: what ends,
//! and what stays.

use std::fmt::Write;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    browser::{NAME, open},
    mail::MailServer,
    oauth::Client,
    personal_access_tokens,
    test_server::{PASSWORD, Session, TestServer},
    test_stores::{ask, execute},
};

const EMAIL: &str = "john@example.com";
const OTHER_EMAIL: &str = "doe@example.com";

/// John with every kind of credential, an administrator, and two replicas: one where things end,
/// one where it is asked.
struct Fixture {
    server: TestServer,
    replica: TestServer,
    mails: MailServer,
    admin: Session,
    /// The session that does things.
    own: Session,
    /// Another one of John's.
    other: Session,
    cookie: String,
    code: String,
    /// A personal access token of John's, its id and its text.
    personal: (String, String),
    /// A registered client, and a token of it.
    client: Client,
    of_client: String,
    /// Somebody whom nothing of this concerns.
    mary: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        let (server, mails) = TestServer::with_mail(&[]).await;
        let replica = server.replica().await;
        server.sign_up("root").await;
        execute(&server, "update users set role = 'admin'").await;
        let admin = server.sign_in("root").await;
        let own = server.sign_up_with_email("john", EMAIL).await;
        let (other, cookie) = (
            server.sign_in("john").await,
            format!("{NAME}={}", open(&server, "john").await),
        );
        server.forgot_password(EMAIL).await.is(202, "");
        let (code, mary) = (mails.code_for(EMAIL).await, server.sign_up("mary").await);
        let personal = personal_access_tokens::make(&server, &own, "user:read items:read").await;
        let client = Client::register(&server, &admin, "items:read").await;
        let of_client = client.token(&server).await;
        let fixture = Fixture {
            server,
            replica,
            mails,
            admin,
            own,
            other,
            cookie,
            code,
            personal,
            client,
            of_client,
            mary,
        };
        // The other replica has read it before, so that what it knows is old.
        assert_eq!(fixture.replica.verify(&fixture.personal.1).await.0, 204);
        fixture
    }

    fn id(&self) -> String {
        self.own.claim("sub")
    }

    fn other_sid(&self) -> String {
        self.other.claim("sid")
    }

    async fn call(&self, session: &Session, method: Method, path: &str, body: Value) {
        let response = self
            .server
            .with_token(method, path, &session.access_token, body)
            .await;
        assert!(response.status < 300, "{path}: {}", response.string());
    }

    async fn give_back(&self, token: &str, client: Option<&Client>) {
        let form = client.map_or_else(
            || vec![("token", token)],
            |client| client.form(&[("token", token)]),
        );
        self.server.form("/oauth/revoke", &form).await.is(200, "");
    }

    /// What still works, on the other replica, in the order of [`CREDENTIALS`].
    async fn alive(&self) -> Vec<bool> {
        let accepts_at =
            async |path: &str, token: &str| match self.replica.verify_at(path, token).await {
                (204, _) => true,
                refused => {
                    assert_eq!(refused, (401, "token_revoked".into()));
                    false
                }
            };
        let accepts = async |token: &str| accepts_at("/auth/verify", token).await;
        let mut alive = vec![
            accepts(&self.own.access_token).await,
            accepts(&self.other.access_token).await,
        ];
        for session in [&self.own, &self.other] {
            let response = self.replica.refresh(&session.refresh_token).await;
            assert!(
                [200, 401].contains(&response.status),
                "{}",
                response.string()
            );
            alive.push(response.status == 200);
        }
        let shown = self
            .replica
            .request(Method::GET, "/session")
            .header(header::COOKIE, &self.cookie);
        alive.push(self.replica.send(shown).await.status == 200);
        alive.extend([
            accepts(&self.personal.1).await,
            accepts_at("/auth/verify?scope=items:read", &self.of_client).await,
        ]);
        assert!(
            accepts(&self.mary.access_token).await,
            "nobody else is concerned"
        );
        // Last, because a good one ends everything.
        let response = self
            .replica
            .reset_password(EMAIL, &self.code, "correct horse 9")
            .await;
        assert!(
            response.status == 204 || response.code() == "invalid_code",
            "{}",
            response.string()
        );
        alive.push(response.status == 204);
        alive
    }
}

const CREDENTIALS: [&str; 8] = [
    "own access",
    "other access",
    "own refresh",
    "other refresh",
    "cookie",
    "personal",
    "client's",
    "code",
];

/// What a trigger leaves alive: one letter for each credential, in the order of [`CREDENTIALS`];
/// `.` has ended. And the reason that is on record.
const TRIGGERS: &[(&str, &str, &str)] = &[
    ("sign-out", ".a.acptk", "sign_out"),
    ("sign-out of all others", "a.a..ptk", "sign_out_others"),
    ("sign-out everywhere", "......tk", "sign_out_all"),
    ("sign-out by cookie", "aaaa.ptk", "sign_out"),
    ("DELETE /sessions/{other}", "a.a.cptk", "session_revoked"),
    ("password change", "a.a..pt.", "password_change"),
    ("password reset", "......t.", "password_reset"),
    ("e-mail change", "a.a..pt.", "email_change"),
    (
        "reuse of a refresh token",
        ".a.acptk",
        "refresh_token_reused",
    ),
    ("disabled", "......t.", "disabled"),
    ("role change", "......t.", "role_change"),
    ("revoked by an administrator", "......tk", "revoked"),
    ("deleted by an administrator", "......t.", "user_deleted"),
    ("deleted by its owner", "......t.", "user_deleted"),
    (
        "DELETE /user/tokens/{id}",
        "aaaac.tk",
        "personal_access_token_revoked",
    ),
    ("access token given back", ".aaacptk", "token_revoked"),
    ("refresh token given back", ".a.acptk", "sign_out"),
    ("personal token given back", "aaaac.tk", "token_revoked"),
    ("client's token given back", "aaaacp.k", "token_revoked"),
    ("client rotated", "aaaacp.k", "secret_rotated"),
    ("client deleted", "aaaacp.k", "client_deleted"),
];

async fn pull(fixture: &Fixture, trigger: &str) {
    let (user, client) = (
        format!("/users/{}", fixture.id()),
        format!("/clients/{}", fixture.client.id),
    );
    let (own, admin) = (&fixture.own, &fixture.admin);
    match trigger {
        "sign-out" => {
            fixture
                .call(own, Method::POST, "/logout", Value::Null)
                .await
        }
        "sign-out of all others" => {
            fixture
                .call(own, Method::POST, "/logout?scope=others", Value::Null)
                .await
        }
        "sign-out everywhere" => {
            fixture
                .call(own, Method::POST, "/logout?scope=all", Value::Null)
                .await
        }
        "sign-out by cookie" => {
            let request = fixture
                .server
                .request(Method::DELETE, "/session")
                .header("x-latchkey-request", "1");
            fixture
                .server
                .send(request.header(header::COOKIE, &fixture.cookie))
                .await
                .is(204, "");
        }
        "DELETE /sessions/{other}" => {
            fixture
                .call(
                    own,
                    Method::DELETE,
                    &format!("/sessions/{}", fixture.other_sid()),
                    Value::Null,
                )
                .await
        }
        "password change" => {
            let body = json!({"current_password": PASSWORD, "new_password": "correct horse 8"});
            fixture
                .call(own, Method::POST, "/user/password", body)
                .await
        }
        "password reset" => {
            fixture
                .server
                .reset_password(EMAIL, &fixture.code, "correct horse 8")
                .await
                .is(204, "");
        }
        "e-mail change" => {
            fixture
                .call(
                    own,
                    Method::POST,
                    "/user/email",
                    json!({"email": OTHER_EMAIL, "password": PASSWORD}),
                )
                .await;
            let code = fixture.mails.code_for(OTHER_EMAIL).await;
            fixture
                .call(
                    own,
                    Method::POST,
                    "/user/email/confirm",
                    json!({"code": code}),
                )
                .await
        }
        "reuse of a refresh token" => {
            let second = Session::of(&fixture.server.refresh(&own.refresh_token).await);
            fixture
                .server
                .refresh(&second.refresh_token)
                .await
                .is(200, "");
            fixture
                .server
                .refresh(&own.refresh_token)
                .await
                .is(401, "refresh_token_reused");
        }
        "disabled" => {
            fixture
                .call(admin, Method::PATCH, &user, json!({"disabled": true}))
                .await
        }
        "role change" => {
            fixture
                .call(admin, Method::PATCH, &user, json!({"role": "admin"}))
                .await
        }
        "revoked by an administrator" => {
            fixture
                .call(admin, Method::POST, &format!("{user}/revoke"), Value::Null)
                .await
        }
        "deleted by an administrator" => {
            fixture
                .call(admin, Method::DELETE, &user, Value::Null)
                .await
        }
        "deleted by its owner" => {
            fixture
                .call(own, Method::DELETE, "/user", Value::Null)
                .await
        }
        "DELETE /user/tokens/{id}" => {
            fixture
                .call(
                    own,
                    Method::DELETE,
                    &format!("/user/tokens/{}", fixture.personal.0),
                    Value::Null,
                )
                .await
        }
        "access token given back" => fixture.give_back(&own.access_token, None).await,
        "refresh token given back" => fixture.give_back(&own.refresh_token, None).await,
        "personal token given back" => fixture.give_back(&fixture.personal.1, None).await,
        "client's token given back" => {
            fixture
                .give_back(&fixture.of_client, Some(&fixture.client))
                .await
        }
        "client rotated" => {
            fixture
                .call(
                    admin,
                    Method::POST,
                    &format!("{client}/rotate"),
                    Value::Null,
                )
                .await
        }
        "client deleted" => {
            fixture
                .call(admin, Method::DELETE, &client, Value::Null)
                .await
        }
        other => panic!("{other} is no trigger"),
    }
}

/// What ends things without being a trigger of its own here: see `adoption.rs`.
const ELSEWHERE: [&str; 1] = ["too_many_sessions"];

#[test]
fn every_reason_has_its_trigger() {
    let known: Vec<&str> = TRIGGERS
        .iter()
        .map(|(_, _, reason)| *reason)
        .chain(ELSEWHERE)
        .collect();
    for reason in latchkey_domain::revocation::Reason::ALL {
        assert!(known.contains(&reason.as_str()), "{reason:?}");
    }
}

#[tokio::test]
async fn everything_ends_what_it_says_and_nothing_else() {
    let mut table = format!("{:30}", "");
    CREDENTIALS
        .iter()
        .for_each(|credential| write!(table, "{credential:>14}").expect("text"));
    let mut wrong = Vec::new();
    for (trigger, expected, reason) in TRIGGERS {
        let fixture = Fixture::new().await;
        pull(&fixture, trigger).await;
        // What was taken back is on record, for whoever asks why.
        let reasons = ask(
            &fixture.server,
            "select string_agg(distinct reason, ' ') from revocations",
        )
        .await;
        assert_eq!(reasons, *reason, "{trigger}");
        let alive = fixture.alive().await;
        write!(table, "\n{trigger:30}").expect("text");
        for (alive, expected) in alive.iter().zip(expected.chars()) {
            let told = if *alive { "stays" } else { "ends" };
            write!(table, "{told:>14}").expect("text");
            if *alive != (expected != '.') {
                wrong.push(*trigger);
            }
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong:?}\n{table}");
}
