//! OAuth clients: registered by administrators, known by a secret that is shown once, and taken
//! back at once.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    leaks,
    oauth::{Client, Fixture, check, is_refusal},
    test_server::{Session, TestServer},
    test_stores::ask,
};

#[tokio::test]
async fn only_administrators_manage_clients() {
    let fixture = Fixture::new().await;
    let client = format!("/clients/{}", fixture.client.id);
    let rotate = format!("{client}/rotate");
    let calls = [
        (Method::POST, "/clients", json!({"name": "x", "scope": ""})),
        (Method::GET, "/clients", Value::Null),
        (Method::GET, &client, Value::Null),
        (Method::POST, &rotate, Value::Null),
        (Method::DELETE, &client, Value::Null),
    ];
    // Not even with a token that says admin, which a client may have.
    let greedy = Client::register(&fixture.server, &fixture.admin, "admin user:write").await;
    let before = ask(
        &fixture.server,
        "select string_agg(oauth_clients::text, ' ' order by id) from oauth_clients",
    )
    .await;
    let tokens = [
        fixture.john.access_token.clone(),
        greedy.token(&fixture.server).await,
    ];
    for (method, path, body) in calls {
        for token in &tokens {
            let response = fixture
                .server
                .with_token(method.clone(), path, token, body.clone())
                .await;
            response.is(403, "forbidden");
        }
        fixture
            .server
            .send(fixture.server.request(method, path).json(&body))
            .await
            .is(401, "unauthenticated");
    }
    assert_eq!(
        ask(
            &fixture.server,
            "select string_agg(oauth_clients::text, ' ' order by id) from oauth_clients"
        )
        .await,
        before
    );
}

#[tokio::test]
async fn a_client_is_shown_without_its_secret() {
    let fixture = Fixture::new().await;
    let admin = &fixture.admin.access_token;
    let wanted = json!({
        "name": "billing",
        "scope": "items:read",
        "audience": "https://a.example https://b.example",
    });
    let made = fixture
        .server
        .with_token(Method::POST, "/clients", admin, wanted)
        .await;
    let (id, secret) = (
        made.is(201, "").text("client_id"),
        made.text("client_secret"),
    );
    let path = format!("/clients/{id}");
    assert_eq!(
        (made.header("location"), made.header("cache-control")),
        (path.as_str(), "no-store")
    );
    assert!(secret.starts_with("lks_") && secret.len() == 74);
    let shown = fixture
        .server
        .with_token(Method::GET, &path, admin, Value::Null)
        .await;
    assert_eq!(shown.is(200, "").body, made.body["client"]);
    assert_eq!(
        shown.body["audiences"],
        json!(["https://a.example", "https://b.example"])
    );
    let listed = fixture
        .server
        .with_token(Method::GET, "/clients", admin, Value::Null)
        .await;
    assert_eq!(
        listed.is(200, "").body["data"][1],
        shown.body,
        "the newest last"
    );
    for response in [shown, listed] {
        assert!(!response.string().contains("lks_") && !response.string().contains("hash"));
    }
    assert_eq!(
        ask(
            &fixture.server,
            "select count(*) from audit_events where event = 'oauth_client_created'"
        )
        .await,
        "2"
    );
    for path in [
        "/clients/018f0000-0000-7000-8000-000000000000",
        "/clients/x",
    ] {
        fixture
            .server
            .with_token(Method::GET, path, admin, Value::Null)
            .await
            .is(404, "not_found");
    }
}

#[tokio::test]
async fn wrong_clients_are_not_registered() {
    let fixture = Fixture::new().await;
    let eleven = "a ".repeat(11);
    let wrong = [
        (json!({"scope": "items:read"}), "name"),
        (json!({"name": "x"}), "scope"),
        (json!({"name": "x", "scope": "items:delete"}), "scope"),
        (json!({"name": "x\ny", "scope": ""}), "name"),
        (
            json!({"name": "x", "scope": "", "audience": " "}),
            "audience",
        ),
        (
            json!({"name": "x", "scope": "", "audience": eleven}),
            "audience",
        ),
        (
            json!({"name": "x", "scope": "", "client_secret": "lks_mine"}),
            "client_secret",
        ),
        (
            json!({"name": "x", "scope": "", "id": fixture.client.id}),
            "id",
        ),
    ];
    for (body, member) in wrong {
        let response = fixture
            .server
            .with_token(Method::POST, "/clients", &fixture.admin.access_token, body)
            .await;
        assert_eq!(
            response.is(400, "invalid_request").body["errors"][0]["field"],
            member
        );
    }
    assert_eq!(
        ask(&fixture.server, "select count(*) from oauth_clients").await,
        "1"
    );
}

/// Asserts that nothing of it is good any more, on this replica.
async fn is_over(replica: &TestServer, client: &Client, token: &str) {
    assert_eq!(check(replica, token).await, (401, "token_revoked".into()));
    let requested = client.ask(replica, &[]).await;
    is_refusal(&requested, 401, "invalid_client", "another token");
    let looked = replica
        .form("/oauth/introspect", &client.form(&[("token", token)]))
        .await;
    is_refusal(&looked, 401, "invalid_client", "introspection");
    let given_back = replica
        .form("/oauth/revoke", &client.form(&[("token", token)]))
        .await;
    is_refusal(&given_back, 401, "invalid_client", "revocation");
}

#[tokio::test]
async fn another_secret_ends_the_one_before_and_its_tokens_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let token = fixture.client.token(&replica).await;
    for server in [&fixture.server, &replica] {
        assert_eq!(check(server, &token).await.0, 204);
    }
    let path = format!("/clients/{}/rotate", fixture.client.id);
    let made = fixture
        .server
        .with_token(
            Method::POST,
            &path,
            &fixture.admin.access_token,
            Value::Null,
        )
        .await;
    let next = Client {
        id: made.is(200, "").text("client_id"),
        secret: made.text("client_secret"),
    };
    assert_eq!(next.id, fixture.client.id);
    for server in [&fixture.server, &replica] {
        is_over(server, &fixture.client, &token).await;
        assert_eq!(check(server, &next.token(server).await).await.0, 204);
        assert_eq!(
            next.introspect(server, &token).await,
            json!({"active": false})
        );
    }
}

#[tokio::test]
async fn a_deleted_client_is_gone_on_every_replica() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let token = fixture.client.token(&fixture.server).await;
    assert_eq!(check(&replica, &token).await.0, 204);
    let path = format!("/clients/{}", fixture.client.id);
    let delete = async || {
        fixture
            .server
            .with_token(
                Method::DELETE,
                &path,
                &fixture.admin.access_token,
                Value::Null,
            )
            .await
    };
    // Repeating it is fine.
    for _ in 0..2 {
        delete().await.is(204, "");
        for server in [&fixture.server, &replica] {
            is_over(server, &fixture.client, &token).await;
        }
    }
    let shown = replica
        .with_token(Method::GET, &path, &fixture.admin.access_token, Value::Null)
        .await;
    shown.is(404, "not_found");
    assert_eq!(
        ask(
            &fixture.server,
            "select count(*) from audit_events where event = 'oauth_client_deleted'"
        )
        .await,
        "1"
    );
    let unknown = "/clients/018f0000-0000-7000-8000-000000000000";
    let unknown = fixture
        .server
        .with_token(
            Method::DELETE,
            unknown,
            &fixture.admin.access_token,
            Value::Null,
        )
        .await;
    unknown.is(404, "not_found");
}

/// It has no account and no items; upstreams are told who it is.
#[tokio::test]
async fn a_clients_token_passes_and_is_nobodys() {
    let fixture = Fixture::new().await;
    let all = "user:read user:write items:read items:write admin revocations:read";
    let client = Client::register(&fixture.server, &fixture.admin, all).await;
    let token = client.token(&fixture.server).await;
    let verified = fixture
        .server
        .with_token(
            Method::GET,
            "/auth/verify?scope=items:read",
            &token,
            Value::Null,
        )
        .await;
    assert_eq!(verified.is(204, "").header("x-auth-user"), client.id);
    // Where nothing is demanded, people are meant.
    assert_eq!(
        fixture.server.verify(&token).await,
        (403, "forbidden".into())
    );
    assert_eq!(
        (
            verified.header("x-auth-session"),
            verified.header("x-auth-username")
        ),
        ("", "")
    );
    let claims = Session {
        access_token: token.clone(),
        refresh_token: String::new(),
    }
    .claims();
    for of_people in ["sid", "auth_time", "session_exp", "username", "email"] {
        assert_eq!(claims.get(of_people), None, "{of_people}");
    }
    assert_eq!(
        (&claims["roles"], &claims["client_id"]),
        (&json!([]), &claims["sub"])
    );
    for path in [
        "/user",
        "/items",
        "/users",
        "/sessions",
        "/dashboard",
        "/user/tokens",
        "/user/audit",
    ] {
        fixture
            .server
            .with_token(Method::GET, path, &token, Value::Null)
            .await
            .is(403, "forbidden");
    }
    // It is no session's, and no browser's.
    fixture
        .server
        .log_out(&token)
        .await
        .is(401, "invalid_token");
    let cookie = format!("__Host-latchkey={token}");
    let browser = fixture
        .server
        .request(Method::GET, "/user")
        .header("cookie", cookie);
    fixture.server.send(browser).await.is(401, "invalid_token");
}

#[tokio::test]
async fn no_byte_of_a_secret_is_kept() {
    let fixture = Fixture::new().await;
    let token = fixture.client.token(&fixture.server).await;
    fixture.client.introspect(&fixture.server, &token).await;
    let wrong = Client {
        id: fixture.client.id.clone(),
        secret: format!("{}A", fixture.client.secret),
    };
    wrong.ask(&fixture.server, &[]).await;
    leaks::only_its_hash_is_kept(&fixture.server, &fixture.client.secret).await;
}
