//! What administrators and the operator do to an account is recorded there, and says so.

use reqwest::Method;
use serde_json::{Value, json};

use super::{EMAIL, Fixture, items};
use crate::{
    operator::told_with,
    test_server::PASSWORD,
    test_stores::{ask, execute},
};

#[tokio::test]
async fn everything_that_an_administrator_changes_is_an_event_of_its_own() {
    let fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let john = fixture.server.sign_up_with_email("john", EMAIL).await;
    execute(&fixture.server, "delete from audit_events").await;
    let path = john.user_path();
    let patch = |change: Value| fixture.call(Method::PATCH, &path, &admin, change);
    let cases: [(Value, &[&str]); 7] = [
        (json!({"name": "J"}), &["profile_updated success admin -"]),
        (json!({"name": "J", "disabled": false, "role": "user"}), &[]),
        (
            json!({"email": "j@example.com"}),
            &["email_changed success admin -"],
        ),
        (
            json!({"disabled": true}),
            &["user_disabled success admin disabled"],
        ),
        (
            json!({"disabled": false, "username": "j"}),
            &[
                "user_enabled success admin -",
                "profile_updated success admin -",
            ],
        ),
        (
            json!({"password": "another one 7"}),
            &["password_reset success admin password_reset"],
        ),
        (
            json!({"role": "admin"}),
            &["role_changed success admin role_change"],
        ),
    ];
    for (change, expected) in cases {
        patch(change).await.is(200, "");
        fixture.news(expected).await;
    }
    fixture
        .call(Method::POST, &format!("{path}/revoke"), &admin, Value::Null)
        .await
        .is(204, "");
    fixture
        .news(&["sessions_revoked success admin revoked"])
        .await;
    fixture
        .call(Method::DELETE, &path, &admin, Value::Null)
        .await
        .is(204, "");
    // A repeat is fine, and no event.
    fixture
        .call(Method::DELETE, &path, &admin, Value::Null)
        .await
        .is(204, "");
    fixture
        .call(Method::POST, &format!("{path}/revoke"), &admin, Value::Null)
        .await
        .is(404, "not_found");
    fixture.news(&["user_deleted success admin -"]).await;
    let made = fixture
        .call(
            Method::POST,
            "/users",
            &admin,
            json!({"username": "new", "password": PASSWORD}),
        )
        .await;
    made.is(201, "");
    fixture.news(&["user_created success admin user"]).await;
    // The last administrator, and a taken name.
    fixture
        .call(
            Method::PATCH,
            &admin.user_path(),
            &admin,
            json!({"role": "user"}),
        )
        .await
        .is(403, "last_admin");
    fixture
        .call(
            Method::POST,
            "/users",
            &admin,
            json!({"username": "NEW", "password": PASSWORD}),
        )
        .await
        .is(409, "username_taken");
    fixture.news(&[]).await;
    let root = admin.claim("sub");
    let by = format!(
        "select bool_and(actor_id = '{root}' and user_id <> actor_id and ip_address = '127.0.0.1') \
         from audit_events"
    );
    assert_eq!(ask(&fixture.server, &by).await, "true");
}

#[tokio::test]
async fn an_owner_sees_that_an_administrator_did_it_and_not_from_where() {
    let fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let john = fixture.server.sign_up("john").await;
    fixture
        .call(
            Method::PATCH,
            &john.user_path(),
            &admin,
            json!({"name": "J"}),
        )
        .await
        .is(200, "");
    let own = items(
        &fixture
            .call(Method::GET, "/user/audit", &john, Value::Null)
            .await,
    )
    .remove(0);
    assert_eq!(
        (&own["event"], &own["actor"]),
        (&json!("profile_updated"), &json!("admin"))
    );
    assert_eq!(
        (&own["actor_id"], &own["ip_address"], &own["user_agent"]),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let path = format!("{}/audit", john.user_path());
    let whole = items(&fixture.call(Method::GET, &path, &admin, Value::Null).await).remove(0);
    assert_eq!(
        (&whole["actor_id"], &whole["ip_address"]),
        (&admin.claims()["sub"], &json!("127.0.0.1"))
    );
    // What an administrator does to the own account is no secret.
    fixture
        .call(
            Method::PATCH,
            &admin.user_path(),
            &admin,
            json!({"name": "R"}),
        )
        .await
        .is(200, "");
    let own = items(
        &fixture
            .call(Method::GET, "/user/audit", &admin, Value::Null)
            .await,
    )
    .remove(0);
    assert_eq!(
        (&own["actor"], &own["ip_address"]),
        (&json!("admin"), &json!("127.0.0.1"))
    );
}

#[tokio::test]
async fn the_operator_is_recorded_too() {
    let fixture = Fixture::new().await;
    fixture.server.sign_up_with_email("john", EMAIL).await;
    fixture.news(&["sign_up success user -"]).await;
    for (arguments, input, event) in [
        (
            ["create", "--username", "root", "--role", "admin"].as_slice(),
            "",
            "user_created success operator admin",
        ),
        (
            &["reset-password", "john"],
            "",
            "code_requested success operator password_reset",
        ),
        (
            &["reset-password", "john", "--password-stdin"],
            "another one 7",
            "password_reset success operator password_reset",
        ),
        (
            &["revoke", "john", "--yes"],
            "",
            "sessions_revoked success operator revoked",
        ),
        (
            &["disable", "john", "--yes"],
            "",
            "user_disabled success operator disabled",
        ),
        (&["enable", "john"], "", "user_enabled success operator -"),
        (
            &["set-role", "john", "admin", "--yes"],
            "",
            "role_changed success operator role_change",
        ),
        (
            &["delete", "john", "--yes"],
            "",
            "user_deleted success operator -",
        ),
    ] {
        told_with(&fixture.server, arguments, input).await;
        fixture.news(&[event]).await;
    }
    let nobody = "select count(*) from audit_events \
        where actor = 'operator' and (actor_id is not null or ip_address is not null)";
    assert_eq!(ask(&fixture.server, nobody).await, "0");
}

/// Neither the changes of an administrator nor those of the operator.
#[tokio::test]
async fn what_cannot_be_recorded_is_not_done_by_others_either() {
    let fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let john = fixture.server.sign_up_with_email("john", EMAIL).await;
    let state = "select concat(
        (select string_agg(u::text, ';') from users u),
        (select string_agg(s::text, ';') from sessions s),
        (select count(*) from revocations), (select count(*) from email_outbox),
        (select count(*) from audit_events))";
    let before = ask(&fixture.server, state).await;
    execute(
        &fixture.server,
        "alter table audit_events add constraint broken check (event = 'none') not valid",
    )
    .await;
    let path = john.user_path();
    let attempts = [
        fixture
            .call(Method::PATCH, &path, &admin, json!({"disabled": true}))
            .await,
        fixture
            .call(Method::POST, &format!("{path}/revoke"), &admin, Value::Null)
            .await,
        fixture
            .call(Method::DELETE, &path, &admin, Value::Null)
            .await,
        fixture
            .call(
                Method::POST,
                "/users",
                &admin,
                json!({"username": "new", "password": PASSWORD}),
            )
            .await,
    ];
    for response in attempts {
        response.is(500, "internal");
    }
    assert_eq!(ask(&fixture.server, state).await, before);
    assert_eq!(fixture.server.verify(&john.access_token).await.0, 204);
}
