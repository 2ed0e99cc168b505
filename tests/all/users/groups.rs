//! Groups, and the groups of users: administration, audit events, and concurrent changes.

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use super::Fixture;
use crate::{
    operator::command,
    test_server::{PASSWORD, TestResponse},
    test_stores::{connect, execute, query_value},
};

/// The audit events about groups and about changes of groups, in their order.
const EVENTS: &str = "select coalesce(string_agg(concat_ws(' ', event, actor, reason), ', ' \
    order by at, id), '') from audit_events where event like 'group%'";

/// The number of users with a group that doesn't exist.
const DANGLING: &str = "select count(*) from users cross join unnest(users.groups) member \
    where not exists (select from groups where groups.name = member)";

impl Fixture {
    pub async fn create_group(&self, name: &str) -> TestResponse {
        self.call(Method::POST, "/groups", json!({"name": name}))
            .await
    }
}

fn names(page: &TestResponse, field: &str) -> Vec<String> {
    let data = page.is(200, "").body["data"].as_array().expect("a list");
    data.iter()
        .map(|item| item[field].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn group_is_created_listed_updated_and_deleted() {
    let fixture = Fixture::new().await;
    let body = json!({"name": "finance", "description": "Invoices"});
    let created = fixture.call(Method::POST, "/groups", body).await;
    assert_eq!(created.is(201, "").header("location"), "/groups/finance");
    assert_eq!(created.body["description"], "Invoices");
    fixture.create_group("finance").await.is(409, "group_taken");
    for invalid in ["", "Finance", "..", "-a", "a b", "a,b", &"a".repeat(33)] {
        let response = fixture.create_group(invalid).await;
        response.is(400, "invalid_request");
    }
    fixture.create_group(&"a".repeat(32)).await.is(201, "");
    fixture.create_group("sales").await.is(201, "");
    let first = fixture.get("/groups?limit=2").await;
    assert_eq!(names(&first, "name"), [&"a".repeat(32), "finance"]);
    let rest = fixture
        .get(&format!("/groups?limit=2&after={}", first.text("next")))
        .await;
    assert_eq!(
        (names(&rest, "name"), &rest.body["next"]),
        (vec!["sales".to_owned()], &Value::Null)
    );
    let shown = fixture.get("/groups/finance").await;
    assert_eq!(shown.is(200, "").body, created.body);
    let cleared = fixture
        .patch("/groups/finance", json!({"description": null}))
        .await;
    assert_eq!(cleared.is(200, "").body["description"], Value::Null);
    fixture
        .call(Method::DELETE, "/groups/finance", Value::Null)
        .await
        .is(204, "");
    for (method, body) in [
        (Method::GET, Value::Null),
        (Method::PATCH, json!({"description": "x"})),
        (Method::DELETE, Value::Null),
    ] {
        for name in ["finance", "Finance", "a,b"] {
            let path = format!("/groups/{name}");
            let response = fixture.call(method.clone(), &path, body.clone()).await;
            response.is(404, "not_found");
        }
    }
    let events = [
        "group_created admin finance".to_owned(),
        format!("group_created admin {}", "a".repeat(32)),
        "group_created admin sales".to_owned(),
        "group_updated admin finance".to_owned(),
        "group_deleted admin finance".to_owned(),
    ];
    assert_eq!(
        query_value(&fixture.server, EVENTS).await,
        events.join(", ")
    );
}

#[tokio::test]
async fn number_of_groups_is_limited() {
    let fixture = Fixture::new().await;
    let insert = "insert into groups (name) select 'g' || n from generate_series(1, 998) n";
    execute(&fixture.server, insert).await;
    let create = ["a", "b", "c", "d"].map(|name| fixture.create_group(name));
    let mut statuses: Vec<u16> = join_all(create)
        .await
        .iter()
        .map(|response| response.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 201, 400, 400]);
    let delete = "/groups/g1";
    fixture
        .call(Method::DELETE, delete, Value::Null)
        .await
        .is(204, "");
    fixture.create_group("e").await.is(201, "");
}

#[tokio::test]
async fn user_fields_contain_existing_groups_only() {
    let fixture = Fixture::new().await;
    for name in ["audit", "finance"] {
        fixture.create_group(name).await.is(201, "");
    }
    let john = |groups: Value| json!({"username": "john", "password": PASSWORD, "groups": groups});
    for invalid in [
        json!(["unknown"]),
        json!(["finance", "unknown"]),
        json!(["Finance"]),
        json!("finance"),
        json!([1]),
        json!(
            (0..33)
                .map(|number| format!("g{number}"))
                .collect::<Vec<_>>()
        ),
    ] {
        let response = fixture.create(john(invalid)).await;
        response.is(400, "invalid_request");
        assert_eq!(response.body["errors"][0]["field"], "groups");
    }
    let created = fixture
        .create(john(json!(["finance", "audit", "finance"])))
        .await;
    let sorted = json!(["audit", "finance"]);
    assert_eq!(created.is(201, "").body["groups"], sorted);
    let path = format!("/users/{}", created.text("id"));
    let session = fixture.server.sign_in("john").await;
    let own = fixture
        .server
        .with_token(Method::GET, "/user", &session.access_token, Value::Null)
        .await;
    assert_eq!(own.is(200, "").body["groups"], sorted);

    let mut user = json!({
        "username": "john", "email": null, "name": null, "role": "user", "disabled": false,
    });
    let kept = fixture.call(Method::PUT, &path, user.clone()).await;
    assert_eq!(kept.is(200, "").body["groups"], sorted);
    user["groups"] = json!(["audit"]);
    let replaced = fixture.call(Method::PUT, &path, user).await;
    assert_eq!(replaced.is(200, "").body["groups"], json!(["audit"]));
    for invalid in [json!(["unknown"]), Value::Null] {
        let response = fixture.patch(&path, json!({"groups": invalid})).await;
        response.is(400, "invalid_request");
    }
    assert_eq!(fixture.get(&path).await.body["groups"], json!(["audit"]));
    let cleared = fixture.patch(&path, json!({"groups": []})).await;
    assert_eq!(cleared.is(200, "").body["groups"], json!([]));
    assert_eq!(query_value(&fixture.server, DANGLING).await, "0");
}

#[tokio::test]
async fn list_contains_members_of_a_group() {
    let fixture = Fixture::new().await;
    for name in ["audit", "finance"] {
        fixture.create_group(name).await.is(201, "");
    }
    for (username, groups) in [
        ("john", vec!["finance"]),
        ("johnny", vec!["audit", "finance"]),
        ("mary", vec!["finance"]),
        ("max", vec![]),
    ] {
        let body = json!({"username": username, "password": PASSWORD, "groups": groups});
        fixture.create(body).await.is(201, "");
    }
    for (query, expected) in [
        ("group=finance", vec!["john", "johnny", "mary"]),
        ("group=audit", vec!["johnny"]),
        ("group=unknown", vec![]),
        ("group=finance&search=john", vec!["john", "johnny"]),
        ("group=audit&search=mary", vec![]),
    ] {
        let page = fixture.get(&format!("/users?{query}")).await;
        assert_eq!(names(&page, "username"), expected, "{query}");
    }
    let first = fixture.get("/users?group=finance&limit=2").await;
    let next = format!("/users?group=finance&after={}", first.text("next"));
    assert_eq!(names(&fixture.get(&next).await, "username"), ["mary"]);
    for invalid in ["", "Finance", "a%20b"] {
        let response = fixture.get(&format!("/users?group={invalid}")).await;
        response.is(400, "invalid_request");
    }
}

#[tokio::test]
async fn members_are_found_with_the_index() {
    let fixture = Fixture::new().await;
    let insert_users = "insert into users (id, username, password_hash, groups) \
        select gen_random_uuid(), 'u' || n, 'x', array['g' || n % 1000] \
        from generate_series(1, 20000) n; analyze users";
    execute(&fixture.server, insert_users).await;
    let database = connect(fixture.server.setting("DATABASE_URL")).await;
    let without_comments = |statement: &str| {
        let lines = statement.lines().filter(|line| !line.starts_with("--"));
        lines.collect::<Vec<_>>().join("\n")
    };
    let list = include_str!("../../../sql/queries/list_group_members.sql");
    let has_members = include_str!("../../../sql/queries/has_members.sql");
    let prepare = format!(
        "set plan_cache_mode = force_custom_plan; \
         prepare list (uuid, bigint, text) as {}; prepare has_members (text) as {}",
        without_comments(list),
        without_comments(has_members),
    );
    database.batch_execute(&prepare).await.expect("statements");
    for execution in [
        "list ('00000000-0000-0000-0000-000000000000', 20, 'g7')",
        "has_members ('none')",
    ] {
        let explain = format!("explain execute {execution}");
        let plan = database.simple_query(&explain).await.expect("a plan");
        let plan = format!("{plan:?}");
        assert!(plan.contains("users_groups"), "{execution}: {plan}");
    }
}

#[tokio::test]
async fn group_with_members_is_not_deleted() {
    let fixture = Fixture::new().await;
    fixture.create_group("finance").await.is(201, "");
    let (path, session) = fixture.sign_up("john").await;
    fixture
        .patch(&path, json!({"groups": ["finance"]}))
        .await
        .is(200, "");
    fixture.server.rejects(&session).await;
    let session = fixture.server.sign_in("john").await;
    let delete = || fixture.call(Method::DELETE, "/groups/finance", Value::Null);
    let rejected = delete().await;
    rejected.is(409, "group_has_members");
    assert_eq!(
        rejected.text("detail"),
        "The group has members; remove them first."
    );
    assert_eq!(fixture.server.verify(&session.access_token).await.0, 204);
    fixture
        .patch(&path, json!({"groups": []}))
        .await
        .is(200, "");
    delete().await.is(204, "");
}

/// A deletion that runs beside an assignment either prevents it or fails.
#[tokio::test]
async fn concurrent_deletion_leaves_no_unknown_group() {
    let fixture = Fixture::new().await;
    let replica = fixture.server.replica().await;
    let (path, _) = fixture.sign_up("john").await;
    for round in 0..30 {
        execute(
            &fixture.server,
            "insert into groups values ('finance') on conflict do nothing",
        )
        .await;
        fixture
            .patch(&path, json!({"groups": []}))
            .await
            .is(200, "");
        let token = &fixture.admin.access_token;
        let assign = fixture.patch(&path, json!({"groups": ["finance"]}));
        let delete = replica.with_token(Method::DELETE, "/groups/finance", token, Value::Null);
        let (assigned, deleted) = tokio::join!(assign, delete);
        assert!(
            matches!((assigned.status, deleted.status), (200, 409) | (400, 204)),
            "round {round}: {} {}",
            assigned.status,
            deleted.status
        );
        assert_eq!(query_value(&fixture.server, DANGLING).await, "0");
    }
}

#[tokio::test]
async fn operator_manages_groups() {
    let fixture = Fixture::new().await;
    let server = &fixture.server;
    let run = async |arguments: &[&str]| command(server, arguments).await;
    let description = ["group", "create", "finance", "--description", "Invoices"];
    assert_eq!(run(&description).await.well(), "Created group finance.\n");
    run(&["group", "create", "finance"])
        .await
        .expect_error(1, "a group with this name exists");
    run(&["group", "create", "audit"]).await.well();
    let json = async |arguments: &[&str]| -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&run(&arguments).await.well()).expect("JSON")
    };
    let list = json(&["group", "list"]).await;
    assert_eq!(list, fixture.get("/groups").await.body);
    assert_eq!(
        json(&["group", "show", "finance"]).await,
        fixture.get("/groups/finance").await.body
    );
    let create = ["user", "create", "--username", "john", "--group", "finance"];
    assert_eq!(json(&create).await["user"]["groups"], json!(["finance"]));
    let groups = |extra: &[&'static str]| [&["user", "groups", "john", "--yes"], extra].concat();
    let changed = run(&groups(&["--add", "audit", "--remove", "finance"])).await;
    assert_eq!(
        changed.well(),
        "Changed the groups of john and revoked all sessions and tokens.\nGroups: audit\n"
    );
    let unchanged = run(&groups(&["--add", "audit", "--remove", "sales"])).await;
    assert_eq!(
        unchanged.well(),
        "The groups of john are unchanged: audit\n"
    );
    run(&groups(&["--add", "sales"]))
        .await
        .expect_error(1, "contains a group that doesn't exist");
    run(&["user", "groups", "john"]).await.expect_error(2, "");
    run(&["user", "groups", "john", "--add", "finance"])
        .await
        .expect_error(2, "stdin is not a terminal");
    assert!(
        run(&["user", "show", "john"])
            .await
            .well()
            .contains("audit")
    );
    let members = json(&["user", "list", "--group", "audit"]).await;
    assert_eq!(members, fixture.get("/users?group=audit").await.body);
    run(&["group", "delete", "audit", "--yes"])
        .await
        .expect_error(1, "the group has members");
    assert_eq!(
        run(&["group", "delete", "finance", "--yes"]).await.well(),
        "Deleted group finance.\n"
    );
    run(&["group", "show", "finance"])
        .await
        .expect_error(1, "group not found");
    let expected = "group_created operator finance, group_created operator audit, \
        groups_changed operator group_change, group_deleted operator finance";
    assert_eq!(query_value(server, EVENTS).await, expected);
}

/// A newer version might allow names that this version ignores.
#[tokio::test]
async fn change_of_name_keeps_group_of_newer_version() {
    let fixture = Fixture::new().await;
    let (path, _) = fixture.sign_up("john").await;
    execute(
        &fixture.server,
        "update users set groups = '{Newer!}' where username = 'john'",
    )
    .await;
    fixture
        .call(Method::PATCH, &path, json!({"name": "John Doe"}))
        .await
        .is(200, "");
    let groups = "select groups::text from users where username = 'john'";
    assert_eq!(query_value(&fixture.server, groups).await, "{Newer!}");
}
