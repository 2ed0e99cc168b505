//! Every revocation × every kind of credential, checked on a second replica. Each revocation must
//! revoke exactly the expected credentials.

use std::fmt::Write;

use reqwest::{Method, header};
use serde_json::{Value, json};

use crate::{
    browser::{NAME, open},
    mail::MailServer,
    oauth::Client,
    personal_access_tokens,
    test_server::{PASSWORD, Session, TestServer},
    test_stores::query_value,
};

const EMAIL: &str = "john@example.com";
const OTHER_EMAIL: &str = "doe@example.com";

/// A user with every kind of credential, an administrator, and two replicas. One replica revokes,
/// and the other one checks.
struct Fixture {
    server: TestServer,
    replica: TestServer,
    mail_server: MailServer,
    admin: Session,
    /// The session that sends the requests.
    session: Session,
    /// Another session of the user.
    other_session: Session,
    cookie: String,
    code: String,
    /// A personal access token of the user: ID and token.
    personal_token: (String, String),
    /// An OAuth client, and its access token.
    client: Client,
    client_token: String,
    /// A session of another user.
    unrelated: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        let (server, mail_server) = TestServer::with_mail(&[]).await;
        let replica = server.replica().await;
        let admin = server.admin("root").await;
        let session = server.sign_up_with_email("john", EMAIL).await;
        let (other_session, cookie) = (
            server.sign_in("john").await,
            format!("{NAME}={}", open(&server, "john").await),
        );
        server.forgot_password(EMAIL).await.is(202, "");
        let (code, unrelated) = (
            mail_server.code_for(EMAIL).await,
            server.sign_up("mary").await,
        );
        let personal_token =
            personal_access_tokens::make(&server, &session, "user:read items:read").await;
        let client = Client::register(&server, &admin, "items:read").await;
        let client_token = client.token(&server).await;
        let fixture = Fixture {
            server,
            replica,
            mail_server,
            admin,
            session,
            other_session,
            cookie,
            code,
            personal_token,
            client,
            client_token,
            unrelated,
        };
        // The second replica caches the token, so that the matrix also tests outdated caches.
        assert_eq!(
            fixture.replica.verify(&fixture.personal_token.1).await.0,
            204
        );
        fixture
    }

    fn user_id(&self) -> String {
        self.session.claim("sub")
    }

    fn other_session_id(&self) -> String {
        self.other_session.claim("sid")
    }

    async fn call(&self, session: &Session, method: Method, path: &str, body: Value) {
        let response = self
            .server
            .with_token(method, path, &session.access_token, body)
            .await;
        assert!(response.status < 300, "{path}: {}", response.string());
    }

    async fn revoke_token(&self, token: &str, client: Option<&Client>) {
        let form = client.map_or_else(
            || vec![("token", token)],
            |client| client.form(&[("token", token)]),
        );
        self.server.form("/oauth/revoke", &form).await.is(200, "");
    }

    /// Whether the second replica accepts each credential, in the order of [`CREDENTIALS`].
    async fn check_credentials(&self) -> Vec<bool> {
        let accepts_at =
            async |path: &str, token: &str| match self.replica.verify_at(path, token).await {
                (204, _) => true,
                rejection => {
                    assert_eq!(rejection, (401, "token_revoked".into()));
                    false
                }
            };
        let accepts = async |token: &str| accepts_at("/auth/verify", token).await;
        let mut valid = vec![
            accepts(&self.session.access_token).await,
            accepts(&self.other_session.access_token).await,
        ];
        for session in [&self.session, &self.other_session] {
            let response = self.replica.refresh(&session.refresh_token).await;
            assert!(
                [200, 401].contains(&response.status),
                "{}",
                response.string()
            );
            valid.push(response.status == 200);
        }
        let request = self
            .replica
            .request(Method::GET, "/session")
            .header(header::COOKIE, &self.cookie);
        valid.push(self.replica.send(request).await.status == 200);
        valid.extend([
            accepts(&self.personal_token.1).await,
            accepts_at("/auth/verify?scope=items:read", &self.client_token).await,
        ]);
        assert!(
            accepts(&self.unrelated.access_token).await,
            "other users are not affected"
        );
        // Last, because a password reset revokes all sessions.
        let response = self
            .replica
            .reset_password(EMAIL, &self.code, "correct horse 9")
            .await;
        assert!(
            response.status == 204 || response.code() == "invalid_code",
            "{}",
            response.string()
        );
        valid.push(response.status == 204);
        valid
    }
}

const CREDENTIALS: [&str; 8] = [
    "own access",
    "other access",
    "own refresh",
    "other refresh",
    "cookie",
    "personal",
    "client",
    "code",
];

/// Trigger, remaining credentials, and stored reason. The second column has one letter for each
/// credential, in the order of [`CREDENTIALS`], and `.` for a revoked credential.
const TRIGGERS: &[(&str, &str, &str)] = &[
    ("sign-out", ".a.acptk", "sign_out"),
    ("sign-out of all others", "a.a..ptk", "sign_out_others"),
    ("sign-out everywhere", "......tk", "sign_out_all"),
    ("sign-out by cookie", "aaaa.ptk", "sign_out"),
    ("DELETE /sessions/{other}", "a.a.cptk", "session_revoked"),
    ("password change", "a.a..pt.", "password_change"),
    ("password reset", "......t.", "password_reset"),
    ("email change", "a.a..pt.", "email_change"),
    ("refresh token reuse", ".a.acptk", "refresh_token_reused"),
    ("disabled", "......t.", "disabled"),
    ("role change", "......t.", "role_change"),
    ("group change", "......t.", "group_change"),
    ("revoked by an administrator", "......tk", "revoked"),
    ("deleted by an administrator", "......t.", "user_deleted"),
    ("deleted by the user", "......t.", "user_deleted"),
    (
        "DELETE /user/tokens/{id}",
        "aaaac.tk",
        "personal_access_token_revoked",
    ),
    ("access token revoked", ".aaacptk", "token_revoked"),
    ("refresh token revoked", ".a.acptk", "sign_out"),
    ("personal token revoked", "aaaac.tk", "token_revoked"),
    ("client token revoked", "aaaacp.k", "token_revoked"),
    ("client secret rotated", "aaaacp.k", "secret_rotated"),
    ("client scope removed", "aaaacp.k", "client_updated"),
    ("client deleted", "aaaacp.k", "client_deleted"),
];

async fn trigger_revocation(fixture: &Fixture, trigger: &str) {
    let (user, client) = (
        format!("/users/{}", fixture.user_id()),
        format!("/clients/{}", fixture.client.id),
    );
    let (session, admin) = (&fixture.session, &fixture.admin);
    match trigger {
        "sign-out" => {
            fixture
                .call(session, Method::POST, "/logout", Value::Null)
                .await
        }
        "sign-out of all others" => {
            fixture
                .call(session, Method::POST, "/logout?scope=others", Value::Null)
                .await
        }
        "sign-out everywhere" => {
            fixture
                .call(session, Method::POST, "/logout?scope=all", Value::Null)
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
                    session,
                    Method::DELETE,
                    &format!("/sessions/{}", fixture.other_session_id()),
                    Value::Null,
                )
                .await
        }
        "password change" => {
            let body = json!({"current_password": PASSWORD, "new_password": "correct horse 8"});
            fixture
                .call(session, Method::POST, "/user/password", body)
                .await
        }
        "password reset" => {
            fixture
                .server
                .reset_password(EMAIL, &fixture.code, "correct horse 8")
                .await
                .is(204, "");
        }
        "email change" => {
            fixture
                .call(
                    session,
                    Method::POST,
                    "/user/email",
                    json!({"email": OTHER_EMAIL, "password": PASSWORD}),
                )
                .await;
            let code = fixture.mail_server.code_for(OTHER_EMAIL).await;
            fixture
                .call(
                    session,
                    Method::POST,
                    "/user/email/confirm",
                    json!({"code": code}),
                )
                .await
        }
        "refresh token reuse" => {
            let second = Session::of(&fixture.server.refresh(&session.refresh_token).await);
            fixture
                .server
                .refresh(&second.refresh_token)
                .await
                .is(200, "");
            fixture
                .server
                .refresh(&session.refresh_token)
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
        "group change" => {
            let group = json!({"name": "finance"});
            fixture.call(admin, Method::POST, "/groups", group).await;
            fixture
                .call(admin, Method::PATCH, &user, json!({"groups": ["finance"]}))
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
        "deleted by the user" => {
            fixture
                .call(session, Method::DELETE, "/user", Value::Null)
                .await
        }
        "DELETE /user/tokens/{id}" => {
            fixture
                .call(
                    session,
                    Method::DELETE,
                    &format!("/user/tokens/{}", fixture.personal_token.0),
                    Value::Null,
                )
                .await
        }
        "access token revoked" => fixture.revoke_token(&session.access_token, None).await,
        "refresh token revoked" => fixture.revoke_token(&session.refresh_token, None).await,
        "personal token revoked" => fixture.revoke_token(&fixture.personal_token.1, None).await,
        "client token revoked" => {
            fixture
                .revoke_token(&fixture.client_token, Some(&fixture.client))
                .await
        }
        "client secret rotated" => {
            fixture
                .call(
                    admin,
                    Method::POST,
                    &format!("{client}/rotate"),
                    Value::Null,
                )
                .await
        }
        "client scope removed" => {
            let body = json!({"scope": "user:read"});
            fixture.call(admin, Method::PATCH, &client, body).await
        }
        "client deleted" => {
            fixture
                .call(admin, Method::DELETE, &client, Value::Null)
                .await
        }
        unknown => panic!("unknown trigger: {unknown}"),
    }
}

/// Reasons that other tests cover: `session_restore.rs`.
const COVERED_ELSEWHERE: [&str; 1] = ["too_many_sessions"];

#[test]
fn every_revocation_reason_is_covered() {
    let covered: Vec<&str> = TRIGGERS
        .iter()
        .map(|(_, _, reason)| *reason)
        .chain(COVERED_ELSEWHERE)
        .collect();
    for reason in latchkey_domain::revocation::RevocationReason::ALL {
        assert!(covered.contains(&reason.as_str()), "{reason:?}");
    }
}

#[tokio::test]
async fn revocation_revokes_only_expected_credentials() {
    let mut table = format!("{:30}", "");
    CREDENTIALS
        .iter()
        .for_each(|credential| write!(table, "{credential:>14}").expect("text"));
    let mut wrong = Vec::new();
    for (trigger, expected, reason) in TRIGGERS {
        let fixture = Fixture::new().await;
        trigger_revocation(&fixture, trigger).await;
        // `latchkey explain` reads the stored reason.
        let reasons = query_value(
            &fixture.server,
            "select string_agg(distinct reason, ' ') from revocations",
        )
        .await;
        assert_eq!(reasons, *reason, "{trigger}");
        let valid = fixture.check_credentials().await;
        write!(table, "\n{trigger:30}").expect("text");
        for (is_valid, expected) in valid.iter().zip(expected.chars()) {
            let status = if *is_valid { "valid" } else { "revoked" };
            write!(table, "{status:>14}").expect("text");
            if *is_valid != (expected != '.') {
                wrong.push(*trigger);
            }
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{wrong:?}\n{table}");
}
