//! At least one enabled administrator must remain, even under concurrent deletions and changes.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    test_server::{Session, TestResponse, TestServer, race_rounds},
    test_stores::query_value,
};

const COUNT_ENABLED_ADMINS: &str =
    "select count(*) from users where role = 'admin' and not disabled";

/// Every request by which another administrator removes an administrator.
fn removals(path: &str) -> Vec<(Method, String, Value)> {
    let name = path.trim_start_matches("/users/");
    let replacement = |role, disabled| {
        json!({
            "username": format!("a-{name}"),
            "email": null,
            "name": null,
            "role": role,
            "disabled": disabled,
        })
    };
    vec![
        (Method::DELETE, path.to_owned(), Value::Null),
        (Method::PATCH, path.to_owned(), json!({"role": "user"})),
        (Method::PATCH, path.to_owned(), json!({"disabled": true})),
        (Method::PUT, path.to_owned(), replacement("user", false)),
        (Method::PUT, path.to_owned(), replacement("admin", true)),
    ]
}

#[tokio::test]
async fn last_administrator_cannot_be_removed() {
    let fixture = Fixture::new().await;
    let path = fixture.admin.user_path();
    // A disabled administrator doesn't count.
    let other = fixture.server.admin("other").await;
    fixture
        .patch(&other.user_path(), json!({"disabled": true}))
        .await
        .is(200, "");
    let before = fixture.get(&path).await.body;
    fixture
        .call(Method::DELETE, "/user", Value::Null)
        .await
        .is(403, "last_admin");
    for (method, path, body) in removals(&path) {
        fixture.call(method, &path, body).await.is(403, "forbidden");
    }
    assert_eq!(fixture.get(&path).await.body, before);
    assert_eq!(
        query_value(&fixture.server, "select count(*) from email_outbox").await,
        "0"
    );
    // Other changes of the last administrator are allowed.
    fixture
        .call(Method::PATCH, "/user", json!({"name": "Root"}))
        .await
        .is(200, "");
    assert_eq!(
        fixture.server.verify(&fixture.admin.access_token).await.0,
        204
    );
    // With a second enabled administrator, the first one can be demoted.
    fixture
        .patch(&other.user_path(), json!({"disabled": false}))
        .await
        .is(200, "");
    let other = fixture.server.sign_in("other").await;
    let demotion = (Method::PATCH, path, json!({"role": "user"}));
    send(&fixture.server, &other, demotion).await.is(200, "");
    assert_eq!(
        query_value(&fixture.server, COUNT_ENABLED_ADMINS).await,
        "1"
    );
}

async fn send(
    server: &TestServer,
    session: &Session,
    (method, path, body): (Method, String, Value),
) -> TestResponse {
    server
        .with_token(method, &path, &session.access_token, body)
        .await
}

/// Each administrator deletes itself and removes the next one, with different requests,
/// concurrently over two replicas.
#[tokio::test]
async fn concurrent_removals_leave_one_administrator() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for round in 0..race_rounds(6) {
        let mut admins = vec![];
        for number in 0..5 {
            admins.push(
                fixture
                    .server
                    .admin(&format!("admin{round}-{number}"))
                    .await,
            );
        }
        // Demote earlier administrators, so that only these are left.
        let demote_others =
            format!("update users set role = 'user' where username not like 'admin{round}-%'");
        crate::test_stores::execute(&fixture.server, &demote_others).await;
        let attempts = admins.iter().enumerate().flat_map(|(number, admin)| {
            let next = &admins[(number + 1) % admins.len()];
            let removal = removals(&next.user_path()).swap_remove((round + number) % 5);
            let own_deletion = (Method::DELETE, "/user".to_owned(), Value::Null);
            let replica_for = |at: usize| {
                if (number + at).is_multiple_of(2) {
                    &fixture.server
                } else {
                    &replica
                }
            };
            [
                send(replica_for(0), admin, removal),
                send(replica_for(1), admin, own_deletion),
            ]
        });
        let responses = join_all(attempts).await;
        for response in &responses {
            let is_expected = matches!(
                (response.status, response.code().as_str()),
                (200 | 204, "") | (403, "last_admin") | (401, "token_revoked") | (404, "not_found")
            );
            assert!(is_expected, "{}", response.string());
        }
        assert_eq!(
            query_value(&fixture.server, COUNT_ENABLED_ADMINS).await,
            "1",
            "round {round}"
        );
        assert!(
            responses
                .iter()
                .any(|response| response.code() == "last_admin"),
            "the last administrator got an error"
        );
    }
}

/// Two administrators demote each other concurrently.
#[tokio::test]
async fn mutual_demotion_leaves_one_administrator() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for round in 0..20 {
        let (first_admin, second_admin) = (
            fixture.server.admin(&format!("one{round}")).await,
            fixture.server.admin(&format!("two{round}")).await,
        );
        let demote_others = format!(
            "update users set role = 'user' where username not in ('one{round}', 'two{round}')"
        );
        crate::test_stores::execute(&fixture.server, &demote_others).await;
        let demote =
            |session: &Session| (Method::PATCH, session.user_path(), json!({"role": "user"}));
        let (first, second) = tokio::join!(
            send(&fixture.server, &first_admin, demote(&second_admin)),
            send(&replica, &second_admin, demote(&first_admin))
        );
        let successes = [&first, &second]
            .iter()
            .filter(|response| response.status == 200)
            .count();
        assert_eq!(
            (
                successes,
                query_value(&fixture.server, COUNT_ENABLED_ADMINS).await
            ),
            (1, "1".into()),
            "{} {}",
            first.string(),
            second.string()
        );
    }
}
