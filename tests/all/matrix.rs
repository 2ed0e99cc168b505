//! The authorization matrix: every operation × every kind of caller.
//!
//! The operations and their required scopes come from the OpenAPI document. A few rules derive the
//! expected results, so that new operations are covered without changes here.

use std::fmt::Write;

use latchkey_domain::scope::Scope;
use reqwest::Method;
use serde_json::Value;

use crate::{
    contract::{GROUP, is_open, operations, with_example},
    oauth::Client,
    personal_access_tokens,
    test_server::{PASSWORD, Session, TestServer, wait_until},
    test_stores::execute,
};

/// A placeholder for the ID of a resource.
const ID: &str = "018f0000-0000-7000-8000-000000000000";

const CALLERS: [&str; 8] = [
    "anonymous",
    "revoked",
    "client",
    "without scope",
    "other user",
    "admin",
    "personal token",
    "owner",
];

/// Operations that require a user session, although a personal access token has the scope.
const SESSION_OPERATIONS: [&str; 15] = [
    "deleteCurrentUser",
    "exportCurrentUser",
    "changePassword",
    "requestEmailChange",
    "requestEmailVerification",
    "verifyEmail",
    "createPersonalAccessToken",
    "createUser",
    "replaceUser",
    "createApplication",
    "updateApplication",
    "deleteApplication",
    "createOAuthClient",
    "updateOAuthClient",
    "rotateOAuthClientSecret",
];

/// The authorization decision in a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// 401: authentication is required.
    Unauthenticated,
    /// 401: the credential is revoked.
    Revoked,
    /// 403: the caller lacks permission.
    Forbidden,
    /// 403: the token lacks the scope.
    InsufficientScope,
    /// 404: the caller has no access to the resource.
    NotFound,
    /// Any other status: the request is authorized.
    Allowed,
}

impl Access {
    fn from_response(status: u16, code: &str) -> Access {
        match (status, code) {
            (401, "unauthenticated" | "invalid_client") => Access::Unauthenticated,
            (401, "token_revoked") => Access::Revoked,
            (403, "forbidden") => Access::Forbidden,
            (403, "insufficient_scope") => Access::InsufficientScope,
            (404, _) => Access::NotFound,
            (status, code) => {
                // The server of this test sends no email.
                assert!(
                    status < 500 || code == "email_disabled",
                    "status {status} contains no authorization decision"
                );
                Access::Allowed
            }
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Access::Unauthenticated => "401",
            Access::Revoked => "401 revoked",
            Access::Forbidden => "403",
            Access::InsufficientScope => "403 scope",
            Access::NotFound => "404",
            Access::Allowed => "allowed",
        }
    }
}

/// The credential that an operation requires according to the document.
enum Requirement {
    /// No token.
    Public,
    /// A cookie or client authentication. No caller of this test has one, and no token replaces it.
    OtherCredential,
    /// Like `OtherCredential`, but requests without credentials are allowed.
    OptionalOtherCredential,
    /// A valid token, with this scope if the operation requires one.
    Token(Option<&'static str>),
}

impl Requirement {
    fn of(operation: &'static Value) -> Requirement {
        let alternatives = operation["security"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let has_client_authentication = alternatives
            .iter()
            .any(|alternative| alternative.get("clientBasic").is_some());
        match (has_client_authentication, is_open(operation)) {
            (true, true) => return Requirement::OptionalOtherCredential,
            (true, false) => return Requirement::OtherCredential,
            (false, true) => return Requirement::Public,
            (false, false) => {}
        }
        let scopes: Vec<_> = alternatives
            .iter()
            .filter_map(|alternative| alternative["password"].as_array())
            .map(|scopes| scopes.first())
            .collect();
        match scopes.as_slice() {
            [] => Requirement::OtherCredential,
            [Some(scope)] => Requirement::Token(scope.as_str()),
            _none => Requirement::Token(None),
        }
    }

    /// Returns the expected decision for a caller.
    fn expected_access(&self, caller: &str, operation: &str, has_resource: bool) -> Access {
        let scope = match self {
            // Without a token, there is no session to sign out.
            Requirement::Public if (caller, operation) == ("anonymous", "signOut") => {
                return Access::Unauthenticated;
            }
            Requirement::Public => return Access::Allowed,
            Requirement::OptionalOtherCredential if caller == "anonymous" => {
                return Access::Allowed;
            }
            Requirement::OtherCredential | Requirement::OptionalOtherCredential => {
                return Access::Unauthenticated;
            }
            Requirement::Token(scope) => *scope,
        };
        let is_for_admins = scope == Some("admin") || operation == "streamRevocations";
        match (caller, scope) {
            ("anonymous", _) => Access::Unauthenticated,
            ("revoked", _) => Access::Revoked,
            // Client tokens are only accepted if a scope is required.
            ("client", None) => Access::Forbidden,
            (_, None) => Access::Allowed,
            ("client", Some(_)) if operation == "streamRevocations" => Access::Allowed,
            ("client", Some(_)) => Access::Forbidden,
            // A token without the scope `admin` does not have the role of an administrator.
            ("without scope", Some(_)) if is_for_admins => Access::Forbidden,
            ("without scope", Some(_)) => Access::InsufficientScope,
            ("other user" | "owner", Some(_)) if is_for_admins => Access::Forbidden,
            ("personal token", Some(_)) if SESSION_OPERATIONS.contains(&operation) => {
                Access::Forbidden
            }
            ("admin" | "personal token", Some(_)) if is_for_admins => Access::Allowed,
            ("other user" | "admin", Some(_)) if has_resource => Access::NotFound,
            _owner => Access::Allowed,
        }
    }
}

/// All callers, created separately for each operation.
struct Fixture<'a> {
    server: &'a TestServer,
    owner: String,
    session: Session,
    client: String,
    tokens: Vec<(&'static str, Option<String>)>,
}

impl<'a> Fixture<'a> {
    async fn new(server: &'a TestServer, number: usize, scope: Option<&str>) -> Fixture<'a> {
        let [owner, other, root] = ["owner", "other", "root"].map(|name| format!("{name}{number}"));
        let (owner_session, other) = (server.sign_up(&owner).await, server.sign_up(&other).await);
        let admin = server.admin(&root).await;
        // The user with permission. The tokens of this user differ in one property per caller.
        let allowed_user = if scope == Some("admin") {
            &root
        } else {
            &owner
        };
        let revoked = server.sign_in(allowed_user).await;
        server.sign_out(&revoked.access_token).await.is(204, "");
        let allowed = server.sign_in(allowed_user).await;
        let (_, personal) =
            personal_access_tokens::make(server, &allowed, &allowed.claim("scope")).await;
        let client = Client::register(server, &admin, &scopes_without(None)).await;
        let client_token = client.token(server).await;
        let form = [
            ("username", allowed_user.as_str()),
            ("password", PASSWORD),
            ("scope", &scopes_without(scope)),
        ];
        let narrow = server
            .form("/login", &form)
            .await
            .is(200, "")
            .text("access_token");
        let tokens = vec![
            ("anonymous", None),
            ("revoked", Some(revoked.access_token)),
            ("client", Some(client_token)),
            ("without scope", Some(narrow)),
            ("other user", Some(other.access_token)),
            ("admin", Some(admin.access_token)),
            ("personal token", Some(personal)),
            ("owner", Some(owner_session.access_token.clone())),
        ];
        Fixture {
            server,
            owner,
            session: owner_session,
            client: client.id,
            tokens,
        }
    }

    /// Creates a resource of the owner for a path and returns its ID. Callers with permission can
    /// delete it, so each request gets a new one.
    async fn create_resource(&self, path: &str) -> String {
        let (server, session) = (self.server, &self.session);
        match path.split('/').nth(1) {
            Some("items") => server
                .create_item(session, "Book")
                .await
                .is(201, "")
                .text("id"),
            Some("sessions") => server.sign_in(&self.owner).await.claim("sid"),
            Some("users") => session.claim("sub"),
            Some("clients") => self.client.clone(),
            Some("applications") => {
                let id = uuid::Uuid::new_v4();
                let insert = format!(
                    "insert into applications (id, origin) values ('{id}', 'https://{id}.example')"
                );
                execute(server, &insert).await;
                id.to_string()
            }
            Some("user") => {
                personal_access_tokens::make(server, session, "user:read")
                    .await
                    .0
            }
            _none => ID.to_owned(),
        }
    }

    /// Removes the applications, whose requirements would reject checks of unknown origins.
    async fn delete_applications(&self) {
        execute(self.server, "delete from applications").await;
        let token = &self.session.access_token;
        wait_until("the replica knows that there is no application", || async {
            self.server.verify(token).await.0 == 204
        })
        .await;
    }

    async fn send(
        &self,
        method: &Method,
        path: &str,
        operation: &Value,
        token: Option<&str>,
    ) -> Access {
        if path.ends_with(GROUP) {
            let insert = format!("insert into groups values ('{GROUP}') on conflict do nothing");
            execute(self.server, &insert).await;
        }
        if path == "/auth/verify" {
            self.delete_applications().await;
        }
        let path = match path.strip_suffix(&format!("/sessions/{ID}")) {
            // The session of a user.
            Some(user_path) if user_path.contains(ID) => {
                let (user, session) = (
                    self.create_resource(path).await,
                    self.server.sign_in(&self.owner).await.claim("sid"),
                );
                format!("{}/sessions/{session}", user_path.replace(ID, &user))
            }
            _other if path.contains(ID) => path.replace(ID, &self.create_resource(path).await),
            _other => path.to_owned(),
        };
        let request = self.server.request(method.clone(), &path);
        let request = with_example(request, operation);
        let request = token
            .into_iter()
            .fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.expect("the server responds");
        let status = response.status().as_u16();
        // A stream of events does not end.
        let body: Value = if status < 400 {
            Value::Null
        } else {
            response.json().await.unwrap_or_default()
        };
        Access::from_response(
            status,
            body["code"]
                .as_str()
                .or(body["error"].as_str())
                .unwrap_or_default(),
        )
    }
}

fn scopes_without(excluded: Option<&str>) -> String {
    let all = Scope::ALL.iter().map(|scope| scope.as_str());
    all.filter(|scope| Some(*scope) != excluded)
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn access_matches_the_document() {
    let server = TestServer::start().await;
    let mut table = format!("| {:30} | {:22} |", "operation", "scope");
    CALLERS
        .iter()
        .for_each(|caller| write!(table, " {caller:14} |").expect("text"));
    let mut mismatches = Vec::new();
    for (number, (method, path, operation)) in operations(ID).into_iter().enumerate() {
        let (id, requirement) = (
            operation["operationId"].as_str().expect("an operation ID"),
            Requirement::of(operation),
        );
        let scope = if let Requirement::Token(scope) = requirement {
            scope
        } else {
            None
        };
        let fixture = Fixture::new(&server, number, scope).await;
        write!(table, "\n| {id:30} | {:22} |", scope.unwrap_or_default()).expect("text");
        let expected = |caller: &str| requirement.expected_access(caller, id, path.contains(ID));
        // Callers with permission come last, because they can delete the owner.
        let mut order: Vec<_> = (0..CALLERS.len()).collect();
        order.sort_by_key(|index| expected(CALLERS[*index]) == Access::Allowed);
        let mut results = [Access::Allowed; CALLERS.len()];
        for index in order {
            let (caller, token) = &fixture.tokens[index];
            results[index] = fixture
                .send(&method, &path, operation, token.as_deref())
                .await;
            if results[index] != expected(caller) {
                mismatches.push(format!(
                    "{id} by {caller}: {:?} instead of {:?}",
                    results[index],
                    expected(caller)
                ));
            }
        }
        results
            .iter()
            .for_each(|access| write!(table, " {:14} |", access.label()).expect("text"));
    }
    println!("{table}");
    assert!(mismatches.is_empty(), "{table}\n{}", mismatches.join("\n"));
}
