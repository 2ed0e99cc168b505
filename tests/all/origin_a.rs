//! A: a FastAPI service on PostgreSQL, where everything but signing in needs a token.
//!
//! Waits for `LATCHKEY_SIGNUP=admin` and `/users`: its administrators create, read, replace, change and delete users.

use reqwest::Method;
use serde_json::{Value, json};

use crate::gateway::{Gateway, PASSWORD, Session};

#[tokio::test]
async fn its_requests_in_order() {
    let gateway = Gateway::with(&[("LATCHKEY_ACCESS_TTL", "30m"), ("LATCHKEY_REFRESH_IDLE_TTL", "7d")]).await;
    gateway.sign_up_with_email("john", "john@example.com").await;

    // Everything but signing in needs a token.
    gateway.get("/user").await.is(401, "unauthenticated");

    // Signing in by the OAuth2 form: 30 minutes and 7 days.
    let form = [("grant_type", "password"), ("username", "john"), ("password", PASSWORD)];
    let login = gateway.form("/login", &form).await;
    login.is(200, "");
    assert_eq!((&login.body["expires_in"], &login.body["refresh_expires_in"]), (&json!(1_800), &json!(604_800)));
    assert_eq!(login.text("token_type"), "bearer");
    let session = Session::of(&login);

    // The user has id, user name and address.
    let user = gateway.with_token(Method::GET, "/user", &session.access_token, Value::Null).await;
    assert_eq!(user.is(200, "").body["id"], session.claims()["sub"]);
    assert_eq!((user.text("username"), user.text("email")), ("john".into(), "john@example.com".into()));

    // Its own name for refreshing gives a new pair.
    let pair = gateway.post("/refresh-token", json!({"refresh_token": session.refresh_token})).await;
    let next = Session::of(pair.is(200, ""));
    assert_eq!(gateway.verify(&next.access_token).await.0, 204);
    let again = gateway.post("/refresh-token", json!({"refresh_token": session.refresh_token})).await;
    assert_eq!(Session::of(again.is(200, "")).refresh_token, next.refresh_token, "an answer that was lost comes again");
}
