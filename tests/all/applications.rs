//! Administration of applications behind a proxy: API, command line, initial applications, and the
//! time until replicas know a change.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    operator::command,
    test_server::{Session, TestResponse, TestServer, wait_until},
    test_stores::query_value,
};

struct Fixture {
    server: TestServer,
    admin: Session,
}

impl Fixture {
    async fn new() -> Fixture {
        Fixture::with(&[]).await
    }

    async fn with(changes: &[(&str, &str)]) -> Fixture {
        let server = TestServer::with(changes).await;
        let admin = server.admin("root").await;
        Fixture { server, admin }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> TestResponse {
        let token = &self.admin.access_token;
        self.server.with_token(method, path, token, body).await
    }

    async fn create(&self, body: Value) -> TestResponse {
        self.call(Method::POST, "/applications", body).await
    }

    async fn get(&self, path: &str) -> TestResponse {
        self.call(Method::GET, path, Value::Null).await
    }
}

/// Checks a bearer token at an application; returns the status.
async fn check(server: &TestServer, token: &str, host: &str) -> u16 {
    let request = server
        .request(Method::GET, "/auth/verify")
        .header("x-forwarded-method", "GET")
        .header("x-forwarded-proto", "https")
        .header("x-forwarded-host", host)
        .bearer_auth(token);
    server.send(request).await.status
}

fn origins(page: &TestResponse) -> Vec<&str> {
    let data = page.is(200, "").body["data"].as_array().expect("a list");
    data.iter()
        .map(|application| application["origin"].as_str().expect("an origin"))
        .collect()
}

#[tokio::test]
async fn application_is_created_listed_updated_and_deleted() {
    let fixture = Fixture::new().await;
    let body = json!({"origin": "HTTPS://App.example.net:443", "group": "legal finance"});
    let created = fixture.create(body).await;
    let path = created.is(201, "").header("location").to_owned();
    assert_eq!(created.body["origin"], "https://app.example.net");
    assert_eq!(created.body["group"], "finance legal");
    assert_eq!(
        (&created.body["role"], &created.body["scope"]),
        (&Value::Null, &Value::Null)
    );
    let duplicate = json!({"origin": "https://app.example.net"});
    fixture.create(duplicate).await.is(409, "application_taken");
    let wildcard = json!({"origin": "https://*.example.org:8443", "role": "admin"});
    fixture.create(wildcard).await.is(201, "");
    let all = ["https://app.example.net", "https://*.example.org:8443"];
    assert_eq!(origins(&fixture.get("/applications").await), all);
    let first = fixture.get("/applications?limit=1").await;
    assert_eq!(origins(&first), all[..1]);
    let rest = fixture
        .get(&format!("/applications?after={}", first.text("next")))
        .await;
    assert_eq!(origins(&rest), all[1..]);
    assert_eq!(fixture.get(&path).await.is(200, "").body, created.body);
    let change = json!({"scope": "items:read", "group": null});
    let changed = fixture.call(Method::PATCH, &path, change).await;
    changed.is(200, "");
    assert_eq!(
        (
            &changed.body["scope"],
            &changed.body["group"],
            &changed.body["origin"]
        ),
        (
            &json!("items:read"),
            &Value::Null,
            &json!("https://app.example.net")
        )
    );
    let taken = json!({"origin": "https://*.example.org:8443"});
    let response = fixture.call(Method::PATCH, &path, taken).await;
    response.is(409, "application_taken");
    fixture
        .call(Method::DELETE, &path, Value::Null)
        .await
        .is(204, "");
    for (method, body) in [
        (Method::GET, Value::Null),
        (Method::PATCH, json!({"role": "user"})),
        (Method::DELETE, Value::Null),
    ] {
        fixture.call(method, &path, body).await.is(404, "not_found");
    }
    let events = "select string_agg(event || ' ' || actor, ', ' order by at, id) \
        from audit_events where event like 'application%'";
    assert_eq!(
        query_value(&fixture.server, events).await,
        "application_created admin, application_created admin, application_updated admin, \
         application_deleted admin"
    );
}

#[tokio::test]
async fn impossible_application_is_rejected() {
    let fixture = Fixture::with(&[("LATCHKEY_AUDIENCE", "https://api.example.org")]).await;
    for (origin, part) in [
        ("https://auth.example.com", "LATCHKEY_ISSUER"),
        ("https://auth.example.com:8443", "LATCHKEY_ISSUER"),
        ("https://*.example.com", "LATCHKEY_ISSUER"),
        ("https://api.example.org", "LATCHKEY_AUDIENCE"),
        ("http://app.example.net", "https"),
        ("https://*.co.uk", "public suffix"),
        ("https://app.example.net/", "origin"),
        ("https://app.example.net.", "trailing dot"),
    ] {
        let response = fixture.create(json!({"origin": origin})).await;
        response.is(400, "invalid_request");
        let detail = response.text("detail");
        assert!(detail.contains(part), "{origin}: {detail}");
    }
    for requirement in [
        json!({"role": "owner"}),
        json!({"scope": ""}),
        json!({"scope": "unknown"}),
        json!({"group": "A"}),
    ] {
        let mut body = requirement.clone();
        body["origin"] = json!("https://app.example.net");
        fixture.create(body).await.is(400, "invalid_request");
    }
    let client = json!({
        "name": "x",
        "scope": "items:read",
        "audience": "https://app.example.net/.latchkey/",
    });
    let response = fixture.call(Method::POST, "/clients", client).await;
    response.is(400, "invalid_request");
    let without_proxy = Fixture::with(&[("LATCHKEY_TRUSTED_PROXIES", "none")]).await;
    let body = json!({"origin": "https://app.example.net"});
    let response = without_proxy.create(body).await;
    response.is(400, "invalid_request");
    assert!(response.text("detail").contains("LATCHKEY_TRUSTED_PROXIES"));
}

/// The replica that changed an application knows the change when it responds, others soon.
#[tokio::test]
async fn every_replica_uses_a_change() {
    let fixture = Fixture::new().await;
    let second = fixture.server.replica().await;
    let john = fixture.server.sign_up("john").await.access_token;
    let hosts = ["app.example.net", "other.example.net"];
    for host in hosts {
        assert_eq!(check(&second, &john, host).await, 204);
    }
    let body = json!({"origin": "https://app.example.net", "role": "admin"});
    let created = fixture.create(body).await;
    let path = created.is(201, "").header("location").to_owned();
    for host in hosts {
        // The requirement of the other origin is unknown.
        assert_eq!(check(&fixture.server, &john, host).await, 403);
        wait_until("the other replica knows the application", || async {
            check(&second, &john, host).await == 403
        })
        .await;
    }
    let change = json!({"role": null});
    fixture.call(Method::PATCH, &path, change).await.is(200, "");
    for host in hosts {
        assert_eq!(check(&fixture.server, &john, host).await, 204);
        wait_until("the other replica knows the change", || async {
            check(&second, &john, host).await == 204
        })
        .await;
    }
}

/// Two replicas that start at once store the applications of the setting once.
#[tokio::test]
async fn initial_applications_are_stored_once() {
    let setting = "https://app.example.net?role=admin,https://*.example.org";
    let fixture = Fixture::with(&[("LATCHKEY_APPLICATIONS", setting)]).await;
    let (second, third) = tokio::join!(
        fixture
            .server
            .replica_with(&[("LATCHKEY_APPLICATIONS", "https://late.example.net")]),
        fixture.server.replica()
    );
    let listed = fixture.get("/applications").await;
    assert_eq!(
        origins(&listed),
        ["https://app.example.net", "https://*.example.org"]
    );
    assert_eq!(listed.body["data"][0]["role"], "admin");
    let john = fixture.server.sign_up("john").await.access_token;
    for server in [&fixture.server, &second, &third] {
        assert_eq!(check(server, &john, "app.example.net").await, 403);
        assert_eq!(check(server, &john, "wiki.example.org").await, 204);
        assert_eq!(check(server, &john, "late.example.net").await, 403);
    }
}

#[tokio::test]
async fn operator_manages_applications() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    let run =
        async |arguments: &[&str]| command(server, &[&["application"], arguments].concat()).await;
    let json = async |arguments: &[&str]| -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&run(&arguments).await.well()).expect("JSON")
    };
    let origin = "https://app.example.net";
    let created = json(&["create", origin, "--group", "finance", "--role", "user"]).await;
    let path = format!("/applications/{}", created["id"].as_str().expect("an ID"));
    assert_eq!(fixture.get(&path).await.is(200, "").body, created);
    run(&["create", origin])
        .await
        .expect_error(1, "an application with this origin exists");
    run(&["create", "https://auth.example.com"])
        .await
        .expect_error(1, "must not be on the host of LATCHKEY_ISSUER");
    run(&["create", "http://app.example.net"])
        .await
        .expect_error(2, "must use https");
    assert_eq!(
        json(&["list"]).await,
        fixture.get("/applications").await.body
    );
    let table = run(&["show", origin]).await.well();
    assert!(table.contains("role=user&group=finance"), "{table}");
    let updated = json(&["update", origin, "--group", "none", "--scope", "items:read"]).await;
    assert_eq!(
        (&updated["group"], &updated["scope"], &updated["role"]),
        (&Value::Null, &json!("items:read"), &json!("user"))
    );
    run(&["update", origin]).await.expect_error(2, "");
    run(&["delete", origin])
        .await
        .expect_error(2, "stdin is not a terminal");
    let id = created["id"].as_str().expect("an ID");
    let deleted = run(&["delete", id, "--yes"]).await.well();
    assert_eq!(deleted, format!("Deleted {origin}.\n"));
    run(&["show", id])
        .await
        .expect_error(1, "application not found");
}
