//! Every operation × everybody who may ask. The operations and the scopes that they want come from
//! the document, and what each caller is answered follows from those by a few rules: a new
//! operation is in here before anybody thinks of it.

use std::fmt::Write;

use latchkey_domain::scope::Scope;
use reqwest::Method;
use serde_json::Value;

use crate::{
    contract::{is_open, operations, with_example},
    oauth::Client,
    personal_access_tokens,
    test_server::{PASSWORD, Session, TestServer},
};

/// Stands for the id of whatever an operation is about.
const ID: &str = "018f0000-0000-7000-8000-000000000000";

/// All who ask.
const CALLERS: [&str; 8] = [
    "nobody",
    "revoked",
    "client",
    "without scope",
    "other user",
    "admin",
    "personal token",
    "owner",
];

/// What no program is to do, though its token has the scope.
const FOR_PEOPLE: [&str; 5] = [
    "deleteCurrentUser",
    "changePassword",
    "requestEmailChange",
    "verifyEmail",
    "createPersonalAccessToken",
];

/// What an answer says of whether the caller may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    /// 401: say who you are.
    Unknown,
    /// 401: you were taken back.
    Revoked,
    /// 403: not you.
    Forbidden,
    /// 403: not with this token.
    Scope,
    /// 404: nothing of yours.
    Hidden,
    /// Whatever else: it was looked at.
    Passes,
}

impl Expected {
    fn of(status: u16, code: &str) -> Expected {
        match (status, code) {
            (401, "unauthenticated" | "invalid_client") => Expected::Unknown,
            (401, "token_revoked") => Expected::Revoked,
            (403, "forbidden") => Expected::Forbidden,
            (403, "insufficient_scope") => Expected::Scope,
            (404, _) => Expected::Hidden,
            (status, code) => {
                // Mail is off here.
                assert!(
                    status < 500 || code == "email_disabled",
                    "it says nothing of the caller: {status}"
                );
                Expected::Passes
            }
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Expected::Unknown => "401",
            Expected::Revoked => "401 revoked",
            Expected::Forbidden => "403",
            Expected::Scope => "403 scope",
            Expected::Hidden => "404",
            Expected::Passes => "passes",
        }
    }
}

/// What the document says of who may call an operation.
enum Wants {
    /// Anybody, or somebody who proves it otherwise.
    Nothing,
    /// A cookie, or the proof of a client beside the form, which nobody here has: no token does for
    /// it.
    Another,
    /// The same from whoever sends anything at all.
    AnotherIfAny,
    /// A good token, with this scope if there is one.
    Token(Option<&'static str>),
}

impl Wants {
    fn of(operation: &'static Value) -> Wants {
        let ways = operation["security"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        match (
            ways.iter().any(|way| way.get("clientBasic").is_some()),
            is_open(operation),
        ) {
            (true, true) => return Wants::AnotherIfAny,
            (true, false) => return Wants::Another,
            (false, true) => return Wants::Nothing,
            (false, false) => {}
        }
        let scopes: Vec<_> = ways
            .iter()
            .filter_map(|way| way["password"].as_array())
            .map(|scopes| scopes.first())
            .collect();
        match scopes.as_slice() {
            [] => Wants::Another,
            [Some(scope)] => Wants::Token(scope.as_str()),
            _none => Wants::Token(None),
        }
    }

    /// What this caller must be answered.
    fn verdict(&self, caller: &str, id: &str, is_of_one: bool) -> Expected {
        let scope = match self {
            // Whoever sends neither token has no session that could end.
            Wants::Nothing if (caller, id) == ("nobody", "signOut") => return Expected::Unknown,
            Wants::Nothing => return Expected::Passes,
            Wants::AnotherIfAny if caller == "nobody" => return Expected::Passes,
            Wants::Another | Wants::AnotherIfAny => return Expected::Unknown,
            Wants::Token(scope) => *scope,
        };
        let for_admins = scope == Some("admin") || id == "streamRevocations";
        match (caller, scope) {
            ("nobody", _) => Expected::Unknown,
            ("revoked", _) => Expected::Revoked,
            // A proxy has to say what for.
            ("client", None) => Expected::Forbidden,
            (_, None) => Expected::Passes,
            ("client", Some(_)) if id == "streamRevocations" => Expected::Passes,
            ("client", Some(_)) => Expected::Forbidden,
            // Whose token may not be used to administer is no administrator.
            ("without scope", Some(_)) if for_admins => Expected::Forbidden,
            ("without scope", Some(_)) => Expected::Scope,
            ("other user" | "owner", Some(_)) if for_admins => Expected::Forbidden,
            ("admin" | "personal token", Some(_)) if for_admins => Expected::Passes,
            ("other user" | "admin", Some(_)) if is_of_one => Expected::Hidden,
            ("personal token", Some(_)) if FOR_PEOPLE.contains(&id) => Expected::Forbidden,
            _owner => Expected::Passes,
        }
    }
}

/// Everybody, made anew for each operation.
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
        // Whoever may, but for what the column is about.
        let may = if scope == Some("admin") {
            &root
        } else {
            &owner
        };
        let revoked = server.sign_in(may).await;
        server.log_out(&revoked.access_token).await.is(204, "");
        let (all, of_owner) = (all_but(None), server.sign_in(may).await);
        let (_, personal) =
            personal_access_tokens::make(server, &of_owner, &of_owner.claim("scope")).await;
        let client = Client::register(server, &admin, &all).await;
        let of_client = client.token(server).await;
        let form = [
            ("username", may.as_str()),
            ("password", PASSWORD),
            ("scope", &all_but(scope)),
        ];
        let narrow = server
            .form("/login", &form)
            .await
            .is(200, "")
            .text("access_token");
        let tokens = vec![
            ("nobody", None),
            ("revoked", Some(revoked.access_token)),
            ("client", Some(of_client)),
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

    /// What the path means, of the owner's: something new each time, because whoever may deletes
    /// it.
    async fn its_id(&self, path: &str) -> String {
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
            Some("user") => {
                personal_access_tokens::make(server, session, "user:read")
                    .await
                    .0
            }
            _none => ID.to_owned(),
        }
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        operation: &Value,
        token: Option<&str>,
    ) -> Expected {
        let path = if path.contains(ID) {
            path.replace(ID, &self.its_id(path).await)
        } else {
            path.to_owned()
        };
        let request = self.server.request(method.clone(), &path);
        let request = with_example(request, operation);
        let request = token
            .into_iter()
            .fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.expect("the server responds");
        let status = response.status().as_u16();
        // A stream of events has no end.
        let body: Value = if status < 400 {
            Value::Null
        } else {
            response.json().await.unwrap_or_default()
        };
        Expected::of(
            status,
            body["code"]
                .as_str()
                .or(body["error"].as_str())
                .unwrap_or_default(),
        )
    }
}

fn all_but(scope: Option<&str>) -> String {
    let all = Scope::ALL.iter().map(|scope| scope.as_str());
    all.filter(|word| Some(*word) != scope)
        .collect::<Vec<_>>()
        .join(" ")
}

#[tokio::test]
async fn everybody_may_what_the_document_says_and_nothing_else() {
    let server = TestServer::start().await;
    let mut table = format!("| {:30} | {:22} |", "operation", "scope");
    CALLERS
        .iter()
        .for_each(|caller| write!(table, " {caller:14} |").expect("text"));
    let mut wrong = Vec::new();
    for (number, (method, path, operation)) in operations(ID).into_iter().enumerate() {
        let (id, wants) = (
            operation["operationId"].as_str().expect("each has one"),
            Wants::of(operation),
        );
        let scope = if let Wants::Token(scope) = wants {
            scope
        } else {
            None
        };
        let fixture = Fixture::new(&server, number, scope).await;
        write!(table, "\n| {id:30} | {:22} |", scope.unwrap_or_default()).expect("text");
        let expected = |caller: &str| wants.verdict(caller, id, path.contains(ID));
        // Those who may come last: they may take everything along.
        let mut order: Vec<_> = (0..CALLERS.len()).collect();
        order.sort_by_key(|at| expected(CALLERS[*at]) == Expected::Passes);
        let mut verdicts = [Expected::Passes; CALLERS.len()];
        for at in order {
            let (caller, token) = &fixture.tokens[at];
            verdicts[at] = fixture
                .ask(&method, &path, operation, token.as_deref())
                .await;
            if verdicts[at] != expected(caller) {
                wrong.push(format!(
                    "{id} by {caller}: {:?}, and not {:?}",
                    verdicts[at],
                    expected(caller)
                ));
            }
        }
        verdicts
            .iter()
            .for_each(|verdict| write!(table, " {:14} |", verdict.told()).expect("text"));
    }
    println!("{table}");
    assert!(wrong.is_empty(), "{table}\n{}", wrong.join("\n"));
}
