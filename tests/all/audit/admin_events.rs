//! Changes by administrators and the operator are recorded with this actor.

use reqwest::Method;
use serde_json::{Value, json};

use super::{EMAIL, Fixture, items};
use crate::{
    operator::run_user_command,
    test_server::PASSWORD,
    test_stores::{execute, query_value},
};

#[tokio::test]
async fn each_admin_change_records_its_event() {
    let fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let user = fixture.server.sign_up_with_email("john", EMAIL).await;
    execute(&fixture.server, "delete from audit_events").await;
    let path = user.user_path();
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
        fixture.assert_new_events(expected).await;
    }
    fixture
        .call(Method::POST, &format!("{path}/revoke"), &admin, Value::Null)
        .await
        .is(204, "");
    fixture
        .assert_new_events(&["sessions_revoked success admin revoked"])
        .await;
    fixture
        .call(Method::DELETE, &path, &admin, Value::Null)
        .await
        .is(204, "");
    // A repeated deletion succeeds and records no event.
    fixture
        .call(Method::DELETE, &path, &admin, Value::Null)
        .await
        .is(204, "");
    fixture
        .call(Method::POST, &format!("{path}/revoke"), &admin, Value::Null)
        .await
        .is(404, "not_found");
    fixture
        .assert_new_events(&["user_deleted success admin -"])
        .await;
    let created = fixture
        .call(
            Method::POST,
            "/users",
            &admin,
            json!({"username": "new", "password": PASSWORD}),
        )
        .await;
    created.is(201, "");
    fixture
        .assert_new_events(&["user_created success admin user"])
        .await;
    // Rejected changes record no event.
    fixture
        .call(Method::DELETE, "/user", &admin, Value::Null)
        .await
        .is(403, "last_admin");
    fixture
        .call(
            Method::PATCH,
            &admin.user_path(),
            &admin,
            json!({"name": "R"}),
        )
        .await
        .is(403, "forbidden");
    fixture
        .call(
            Method::POST,
            "/users",
            &admin,
            json!({"username": "NEW", "password": PASSWORD}),
        )
        .await
        .is(409, "username_taken");
    fixture.assert_new_events(&[]).await;
    let admin_id = admin.claim("sub");
    let by_admin = format!(
        "select bool_and(
            actor_id = '{admin_id}' and subject_id <> actor_id and ip_address = '127.0.0.1'
         ) from audit_events"
    );
    assert_eq!(query_value(&fixture.server, &by_admin).await, "true");
}

#[tokio::test]
async fn user_sees_admin_as_actor_without_ip() {
    let fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let user = fixture.server.sign_up("john").await;
    fixture
        .call(
            Method::PATCH,
            &user.user_path(),
            &admin,
            json!({"name": "J"}),
        )
        .await
        .is(200, "");
    let event = items(
        &fixture
            .call(Method::GET, "/user/audit", &user, Value::Null)
            .await,
    )
    .remove(0);
    assert_eq!(
        (&event["event"], &event["actor"]),
        (&json!("profile_updated"), &json!("admin"))
    );
    assert_eq!(
        (
            &event["actor_id"],
            &event["ip_address"],
            &event["user_agent"]
        ),
        (&Value::Null, &Value::Null, &Value::Null)
    );
    let path = format!("{}/audit", user.user_path());
    let full_event = items(&fixture.call(Method::GET, &path, &admin, Value::Null).await).remove(0);
    assert_eq!(
        (&full_event["actor_id"], &full_event["ip_address"]),
        (&admin.claims()["sub"], &json!("127.0.0.1"))
    );
    // Administrators see all fields of their operations on their own user.
    let path = format!("{}/revoke", admin.user_path());
    fixture
        .call(Method::POST, &path, &admin, Value::Null)
        .await
        .is(204, "");
    let admin = fixture.server.sign_in("root").await;
    let events = items(
        &fixture
            .call(Method::GET, "/user/audit", &admin, Value::Null)
            .await,
    );
    let event = events
        .iter()
        .find(|event| event["event"] == "sessions_revoked")
        .expect("the event of the revocation");
    assert_eq!(
        (&event["actor"], &event["ip_address"]),
        (&json!("admin"), &json!("127.0.0.1"))
    );
}

#[tokio::test]
async fn operator_commands_are_recorded() {
    let fixture = Fixture::new().await;
    fixture.server.sign_up_with_email("john", EMAIL).await;
    fixture.assert_new_events(&["sign_up success user -"]).await;
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
            &["reset-password", "john", "--password-stdin", "--yes"],
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
        run_user_command(&fixture.server, arguments, input).await;
        fixture.assert_new_events(&[event]).await;
    }
    let with_actor_id_or_ip = "select count(*) from audit_events \
        where actor = 'operator' and (actor_id is not null or ip_address is not null)";
    assert_eq!(query_value(&fixture.server, with_actor_id_or_ip).await, "0");
}

/// Each change by an administrator and its audit event are committed in one transaction.
#[tokio::test]
async fn unrecordable_admin_changes_are_rolled_back() {
    let fixture = Fixture::new().await;
    let admin = fixture.server.admin("root").await;
    let user = fixture.server.sign_up_with_email("john", EMAIL).await;
    let state = "select concat(
        (select string_agg(u::text, ';') from users u),
        (select string_agg(s::text, ';') from sessions s),
        (select count(*) from revocations), (select count(*) from email_outbox),
        (select count(*) from audit_events))";
    let before = query_value(&fixture.server, state).await;
    execute(
        &fixture.server,
        "alter table audit_events add constraint broken check (event = 'none') not valid",
    )
    .await;
    let path = user.user_path();
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
    assert_eq!(query_value(&fixture.server, state).await, before);
    assert_eq!(fixture.server.verify(&user.access_token).await.0, 204);
}
