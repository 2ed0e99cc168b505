//! Somebody must be able to administer: the last who can is not removed, demoted or disabled, not
//! even by many at once.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    test_server::{Session, TestResponse, TestServer},
    test_stores::ask,
};

const ADMINS: &str = "select count(*) from users where role = 'admin' and not disabled";

/// Every way to lose an administrator.
fn ways(path: &str) -> Vec<(Method, String, Value)> {
    let name = path.trim_start_matches("/users/");
    let whole = |role, disabled| {
        json!({
            "username": name,
            "email": null,
            "name": null,
            "role": role,
            "disabled": disabled,
        })
    };
    vec![
        (Method::DELETE, path.to_owned(), Value::Null),
        (Method::DELETE, "/user".to_owned(), Value::Null),
        (Method::PATCH, path.to_owned(), json!({"role": "user"})),
        (Method::PATCH, path.to_owned(), json!({"disabled": true})),
        (Method::PUT, path.to_owned(), whole("user", false)),
        (Method::PUT, path.to_owned(), whole("admin", true)),
    ]
}

#[tokio::test]
async fn the_last_administrator_stays_in_every_way() {
    let fixture = Fixture::new().await;
    let path = fixture.admin.user_path();
    // One who is disabled does not count.
    let other = fixture.server.admin("other").await;
    fixture
        .patch(&other.user_path(), json!({"disabled": true}))
        .await
        .is(200, "");
    let before = fixture.get(&path).await.body;
    for (method, path, body) in ways(&path) {
        fixture
            .call(method, &path, body)
            .await
            .is(403, "last_admin");
    }
    assert_eq!(fixture.get(&path).await.body, before);
    assert_eq!(
        ask(&fixture.server, "select count(*) from email_outbox").await,
        "0"
    );
    // Everything else may be changed about it.
    fixture
        .patch(
            &path,
            json!({"name": "Root", "role": "admin", "disabled": false}),
        )
        .await
        .is(200, "");
    assert_eq!(
        fixture.server.verify(&fixture.admin.access_token).await.0,
        204
    );
    // With another one it may go.
    fixture
        .patch(&other.user_path(), json!({"disabled": false}))
        .await
        .is(200, "");
    fixture
        .patch(&path, json!({"role": "user"}))
        .await
        .is(200, "");
    assert_eq!(ask(&fixture.server, ADMINS).await, "1");
}

async fn call(
    server: &TestServer,
    session: &Session,
    (method, path, body): (Method, String, Value),
) -> TestResponse {
    server
        .with_token(method, &path, &session.access_token, body)
        .await
}

/// Each administrator loses itself, all at once, over two replicas, each in another way.
#[tokio::test]
async fn of_many_at_once_one_stays() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for round in 0..6 {
        let mut admins = vec![];
        for number in 0..5 {
            admins.push(
                fixture
                    .server
                    .admin(&format!("admin{round}-{number}"))
                    .await,
            );
        }
        // The one of before goes, so that these are all there are.
        let rest =
            format!("update users set role = 'user' where username not like 'admin{round}-%'");
        crate::test_stores::execute(&fixture.server, &rest).await;
        let attempts = admins.iter().enumerate().flat_map(|(number, admin)| {
            let way = |at: usize| ways(&admin.user_path()).swap_remove((round + number + at) % 6);
            let of = |at: usize| {
                if (number + at).is_multiple_of(2) {
                    &fixture.server
                } else {
                    &replica
                }
            };
            [call(of(0), admin, way(0)), call(of(1), admin, way(1))]
        });
        let responses = join_all(attempts).await;
        for response in &responses {
            let fine = matches!(
                (response.status, response.code().as_str()),
                (200 | 204, "") | (403, "last_admin") | (401, "token_revoked") | (404, "not_found")
            );
            assert!(fine, "{}", response.string());
        }
        assert_eq!(ask(&fixture.server, ADMINS).await, "1", "round {round}");
        assert!(
            responses
                .iter()
                .any(|response| response.code() == "last_admin"),
            "the last one was told"
        );
    }
}

/// Two administrators, who take each other's role at the same moment.
#[tokio::test]
async fn of_two_who_demote_each_other_one_stays() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    for round in 0..20 {
        let (one, two) = (
            fixture.server.admin(&format!("one{round}")).await,
            fixture.server.admin(&format!("two{round}")).await,
        );
        let rest = format!(
            "update users set role = 'user' where username not in ('one{round}', 'two{round}')"
        );
        crate::test_stores::execute(&fixture.server, &rest).await;
        let demote =
            |session: &Session| (Method::PATCH, session.user_path(), json!({"role": "user"}));
        let (first, second) = tokio::join!(
            call(&fixture.server, &one, demote(&two)),
            call(&replica, &two, demote(&one))
        );
        let won = [&first, &second]
            .iter()
            .filter(|response| response.status == 200)
            .count();
        assert_eq!(
            (won, ask(&fixture.server, ADMINS).await),
            (1, "1".into()),
            "{} {}",
            first.string(),
            second.string()
        );
    }
}
