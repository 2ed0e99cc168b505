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
    let scene = Fixture::new().await;
    let client = format!("/clients/{}", scene.client.id);
    let rotate = format!("{client}/rotate");
    let calls = [
        (Method::POST, "/clients", json!({"name": "x", "scope": ""})),
        (Method::GET, "/clients", Value::Null),
        (Method::GET, &client, Value::Null),
        (Method::POST, &rotate, Value::Null),
        (Method::DELETE, &client, Value::Null),
    ];
    // Not even with a token that says admin, which a client may have.
    let greedy = Client::register(&scene.server, &scene.admin, "admin user:write").await;
    let before = ask(
        &scene.server,
        "select string_agg(oauth_clients::text, ' ' order by id) from oauth_clients",
    )
    .await;
    let tokens = [
        scene.john.access_token.clone(),
        greedy.token(&scene.server).await,
    ];
    for (method, path, body) in calls {
        for token in &tokens {
            let answer = scene
                .server
                .with_token(method.clone(), path, token, body.clone())
                .await;
            answer.is(403, "forbidden");
        }
        scene
            .server
            .send(scene.server.request(method, path).json(&body))
            .await
            .is(401, "unauthenticated");
    }
    assert_eq!(
        ask(
            &scene.server,
            "select string_agg(oauth_clients::text, ' ' order by id) from oauth_clients"
        )
        .await,
        before
    );
}

#[tokio::test]
async fn a_client_is_shown_without_its_secret() {
    let scene = Fixture::new().await;
    let admin = &scene.admin.access_token;
    let wanted = json!({
        "name": "billing",
        "scope": "items:read",
        "audience": "https://a.example https://b.example",
    });
    let made = scene
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
    let shown = scene
        .server
        .with_token(Method::GET, &path, admin, Value::Null)
        .await;
    assert_eq!(shown.is(200, "").body, made.body["client"]);
    assert_eq!(
        shown.body["audiences"],
        json!(["https://a.example", "https://b.example"])
    );
    let listed = scene
        .server
        .with_token(Method::GET, "/clients", admin, Value::Null)
        .await;
    assert_eq!(
        listed.is(200, "").body["data"][1],
        shown.body,
        "the newest last"
    );
    for answer in [shown, listed] {
        assert!(!answer.string().contains("lks_") && !answer.string().contains("hash"));
    }
    assert_eq!(
        ask(
            &scene.server,
            "select count(*) from audit_events where event = 'oauth_client_created'"
        )
        .await,
        "2"
    );
    for path in [
        "/clients/018f0000-0000-7000-8000-000000000000",
        "/clients/x",
    ] {
        scene
            .server
            .with_token(Method::GET, path, admin, Value::Null)
            .await
            .is(404, "not_found");
    }
}

#[tokio::test]
async fn wrong_clients_are_not_registered() {
    let scene = Fixture::new().await;
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
            json!({"name": "x", "scope": "", "id": scene.client.id}),
            "id",
        ),
    ];
    for (body, member) in wrong {
        let answer = scene
            .server
            .with_token(Method::POST, "/clients", &scene.admin.access_token, body)
            .await;
        assert_eq!(
            answer.is(400, "invalid_request").body["errors"][0]["field"],
            member
        );
    }
    assert_eq!(
        ask(&scene.server, "select count(*) from oauth_clients").await,
        "1"
    );
}

/// Asserts that nothing of it is good any more, on this replica.
async fn is_over(replica: &TestServer, client: &Client, token: &str) {
    assert_eq!(check(replica, token).await, (401, "token_revoked".into()));
    let asked = client.ask(replica, &[]).await;
    is_refusal(&asked, 401, "invalid_client", "another token");
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
    let scene = Fixture::new().await;
    let replica = scene.server.replica().await;
    let token = scene.client.token(&replica).await;
    for server in [&scene.server, &replica] {
        assert_eq!(check(server, &token).await.0, 204);
    }
    let path = format!("/clients/{}/rotate", scene.client.id);
    let made = scene
        .server
        .with_token(Method::POST, &path, &scene.admin.access_token, Value::Null)
        .await;
    let next = Client {
        id: made.is(200, "").text("client_id"),
        secret: made.text("client_secret"),
    };
    assert_eq!(next.id, scene.client.id);
    for server in [&scene.server, &replica] {
        is_over(server, &scene.client, &token).await;
        assert_eq!(check(server, &next.token(server).await).await.0, 204);
        assert_eq!(
            next.introspect(server, &token).await,
            json!({"active": false})
        );
    }
}

#[tokio::test]
async fn a_deleted_client_is_gone_on_every_replica() {
    let scene = Fixture::new().await;
    let replica = scene.server.replica().await;
    let token = scene.client.token(&scene.server).await;
    assert_eq!(check(&replica, &token).await.0, 204);
    let path = format!("/clients/{}", scene.client.id);
    let delete = async || {
        scene
            .server
            .with_token(
                Method::DELETE,
                &path,
                &scene.admin.access_token,
                Value::Null,
            )
            .await
    };
    // Repeating it is fine.
    for _ in 0..2 {
        delete().await.is(204, "");
        for server in [&scene.server, &replica] {
            is_over(server, &scene.client, &token).await;
        }
    }
    let shown = replica
        .with_token(Method::GET, &path, &scene.admin.access_token, Value::Null)
        .await;
    shown.is(404, "not_found");
    assert_eq!(
        ask(
            &scene.server,
            "select count(*) from audit_events where event = 'oauth_client_deleted'"
        )
        .await,
        "1"
    );
    let unknown = "/clients/018f0000-0000-7000-8000-000000000000";
    let unknown = scene
        .server
        .with_token(
            Method::DELETE,
            unknown,
            &scene.admin.access_token,
            Value::Null,
        )
        .await;
    unknown.is(404, "not_found");
}

/// It has no account and no items; upstreams are told who it is.
#[tokio::test]
async fn a_clients_token_passes_and_is_nobodys() {
    let scene = Fixture::new().await;
    let all = "user:read user:write items:read items:write admin revocations:read";
    let client = Client::register(&scene.server, &scene.admin, all).await;
    let token = client.token(&scene.server).await;
    let verified = scene
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
    assert_eq!(scene.server.verify(&token).await, (403, "forbidden".into()));
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
        scene
            .server
            .with_token(Method::GET, path, &token, Value::Null)
            .await
            .is(403, "forbidden");
    }
    // It is no session's, and no browser's.
    scene.server.log_out(&token).await.is(401, "invalid_token");
    let cookie = format!("__Host-latchkey={token}");
    let browser = scene
        .server
        .request(Method::GET, "/user")
        .header("cookie", cookie);
    scene.server.send(browser).await.is(401, "invalid_token");
}

#[tokio::test]
async fn no_byte_of_a_secret_is_kept() {
    let scene = Fixture::new().await;
    let token = scene.client.token(&scene.server).await;
    scene.client.introspect(&scene.server, &token).await;
    let wrong = Client {
        id: scene.client.id.clone(),
        secret: format!("{}A", scene.client.secret),
    };
    wrong.ask(&scene.server, &[]).await;
    leaks::only_its_hash_is_kept(&scene.server, &scene.client.secret).await;
}
