//! Passwords that an administrator or the operator has set: the user should change them.

use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    mail::MailServer,
    operator::run_user_command,
    test_server::{PASSWORD, Session},
};

const NEW_PASSWORD: &str = "correct horse 9";

impl Fixture {
    /// Asserts whether a sign-in and the operations on users report that a change is required.
    async fn assert_change_required(
        &self,
        path: &str,
        password: &str,
        is_required: bool,
    ) -> Session {
        let response = self.server.try_sign_in("john", password).await;
        let reported = &response.is(200, "").body["password_change_required"];
        let expected = if is_required {
            json!(true)
        } else {
            Value::Null
        };
        assert_eq!(*reported, expected);
        let session = Session::of(&response);
        let own = self
            .server
            .with_token(Method::GET, "/user", &session.access_token, Value::Null)
            .await;
        for response in [own, self.get(path).await] {
            assert_eq!(response.body["password_change_required"], is_required);
        }
        session
    }
}

#[tokio::test]
async fn password_of_administrator_must_be_changed() {
    let mail_server = MailServer::start().await;
    let fixture = Fixture::with(&[("LATCHKEY_SMTP_URL", &mail_server.url())]).await;
    let email = "john@example.com";
    let created = fixture
        .create(json!({"username": "john", "email": email, "password": PASSWORD}))
        .await;
    let path = created.is(201, "").header("location").to_owned();
    let session = fixture.assert_change_required(&path, PASSWORD, true).await;
    // Another change by an administrator keeps the state.
    fixture
        .patch(&path, json!({"name": "John"}))
        .await
        .is(200, "");
    fixture.assert_change_required(&path, PASSWORD, true).await;
    let change = |password: &str| json!({"current_password": PASSWORD, "new_password": password});
    fixture
        .server
        .with_token(
            Method::POST,
            "/user/password",
            &session.access_token,
            change(PASSWORD),
        )
        .await
        .is(400, "weak_password");
    let body = change(NEW_PASSWORD);
    fixture
        .server
        .with_token(Method::POST, "/user/password", &session.access_token, body)
        .await
        .is(204, "");
    fixture
        .assert_change_required(&path, NEW_PASSWORD, false)
        .await;

    fixture
        .patch(&path, json!({"password": PASSWORD}))
        .await
        .is(200, "");
    fixture.assert_change_required(&path, PASSWORD, true).await;
    let code = mail_server.reset_code(&fixture.server, email).await;
    fixture
        .server
        .reset_password(email, &code, PASSWORD)
        .await
        .is(400, "weak_password");
    fixture
        .server
        .reset_password(email, &code, NEW_PASSWORD)
        .await
        .is(204, "");
    fixture
        .assert_change_required(&path, NEW_PASSWORD, false)
        .await;

    let arguments = ["reset-password", "john", "--password-stdin", "--yes"];
    run_user_command(&fixture.server, &arguments, PASSWORD).await;
    fixture.assert_change_required(&path, PASSWORD, true).await;
}

#[tokio::test]
async fn chosen_password_needs_no_change() {
    let fixture = Fixture::new().await;
    let (path, _) = fixture.sign_up("john").await;
    fixture.assert_change_required(&path, PASSWORD, false).await;
}
