//! Every operation × everybody who may ask. The operations and the scopes that they want come from
//! the document, and what each caller is answered follows from those by a few rules: a new
//! operation is in here before anybody thinks of it.

use std::fmt::Write;

use latchkey_domain::scope::Scope;
use reqwest::Method;
use serde_json::Value;

use crate::{
    contract::{is_open, operations, with_example},
    gateway::{Gateway, PASSWORD, Session},
    oauth::Client,
    personal_tokens,
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
enum Verdict {
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

impl Verdict {
    fn of(status: u16, code: &str) -> Verdict {
        match (status, code) {
            (401, "unauthenticated" | "invalid_client") => Verdict::Unknown,
            (401, "token_revoked") => Verdict::Revoked,
            (403, "forbidden") => Verdict::Forbidden,
            (403, "insufficient_scope") => Verdict::Scope,
            (404, _) => Verdict::Hidden,
            (status, code) => {
                // Mail is off here.
                assert!(
                    status < 500 || code == "email_disabled",
                    "it says nothing of the caller: {status}"
                );
                Verdict::Passes
            }
        }
    }

    const fn told(self) -> &'static str {
        match self {
            Verdict::Unknown => "401",
            Verdict::Revoked => "401 revoked",
            Verdict::Forbidden => "403",
            Verdict::Scope => "403 scope",
            Verdict::Hidden => "404",
            Verdict::Passes => "passes",
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
    fn verdict(&self, caller: &str, id: &str, is_of_one: bool) -> Verdict {
        let scope = match self {
            // Whoever sends neither token has no session that could end.
            Wants::Nothing if (caller, id) == ("nobody", "signOut") => return Verdict::Unknown,
            Wants::Nothing => return Verdict::Passes,
            Wants::AnotherIfAny if caller == "nobody" => return Verdict::Passes,
            Wants::Another | Wants::AnotherIfAny => return Verdict::Unknown,
            Wants::Token(scope) => *scope,
        };
        let for_admins = scope == Some("admin") || id == "streamRevocations";
        match (caller, scope) {
            ("nobody", _) => Verdict::Unknown,
            ("revoked", _) => Verdict::Revoked,
            // A proxy has to say what for.
            ("client", None) => Verdict::Forbidden,
            (_, None) => Verdict::Passes,
            ("client", Some(_)) if id == "streamRevocations" => Verdict::Passes,
            ("client", Some(_)) => Verdict::Forbidden,
            // Whose token may not be used to administer is no administrator.
            ("without scope", Some(_)) if for_admins => Verdict::Forbidden,
            ("without scope", Some(_)) => Verdict::Scope,
            ("other user" | "owner", Some(_)) if for_admins => Verdict::Forbidden,
            ("admin" | "personal token", Some(_)) if for_admins => Verdict::Passes,
            ("other user" | "admin", Some(_)) if is_of_one => Verdict::Hidden,
            ("personal token", Some(_)) if FOR_PEOPLE.contains(&id) => Verdict::Forbidden,
            _owner => Verdict::Passes,
        }
    }
}

/// Everybody, made anew for each operation.
struct Scene<'a> {
    gateway: &'a Gateway,
    owner: String,
    session: Session,
    client: String,
    tokens: Vec<(&'static str, Option<String>)>,
}

impl<'a> Scene<'a> {
    async fn new(gateway: &'a Gateway, number: usize, scope: Option<&str>) -> Scene<'a> {
        let [owner, other, root] = ["owner", "other", "root"].map(|name| format!("{name}{number}"));
        let (owner_session, other) = (gateway.sign_up(&owner).await, gateway.sign_up(&other).await);
        let admin = gateway.admin(&root).await;
        // Whoever may, but for what the column is about.
        let may = if scope == Some("admin") {
            &root
        } else {
            &owner
        };
        let revoked = gateway.sign_in(may).await;
        gateway.log_out(&revoked.access_token).await.is(204, "");
        let (all, of_owner) = (all_but(None), gateway.sign_in(may).await);
        let (_, personal) =
            personal_tokens::make(gateway, &of_owner, &of_owner.claim("scope")).await;
        let client = Client::register(gateway, &admin, &all).await;
        let of_client = client.token(gateway).await;
        let form = [
            ("username", may.as_str()),
            ("password", PASSWORD),
            ("scope", &all_but(scope)),
        ];
        let narrow = gateway
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
        Scene {
            gateway,
            owner,
            session: owner_session,
            client: client.id,
            tokens,
        }
    }

    /// What the path means, of the owner's: something new each time, because whoever may deletes
    /// it.
    async fn its_id(&self, path: &str) -> String {
        let (gateway, session) = (self.gateway, &self.session);
        match path.split('/').nth(1) {
            Some("items") => gateway
                .create_item(session, "Book")
                .await
                .is(201, "")
                .text("id"),
            Some("sessions") => gateway.sign_in(&self.owner).await.claim("sid"),
            Some("users") => session.claim("sub"),
            Some("clients") => self.client.clone(),
            Some("user") => personal_tokens::make(gateway, session, "user:read").await.0,
            _none => ID.to_owned(),
        }
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        operation: &Value,
        token: Option<&str>,
    ) -> Verdict {
        let path = if path.contains(ID) {
            path.replace(ID, &self.its_id(path).await)
        } else {
            path.to_owned()
        };
        let request = self.gateway.request(method.clone(), &path);
        let request = with_example(request, operation);
        let request = token
            .into_iter()
            .fold(request, |request, token| request.bearer_auth(token));
        let response = request.send().await.expect("the gateway answers");
        let status = response.status().as_u16();
        // A stream of events has no end.
        let body: Value = if status < 400 {
            Value::Null
        } else {
            response.json().await.unwrap_or_default()
        };
        Verdict::of(
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
    let gateway = Gateway::start().await;
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
        let scene = Scene::new(&gateway, number, scope).await;
        write!(table, "\n| {id:30} | {:22} |", scope.unwrap_or_default()).expect("text");
        let expected = |caller: &str| wants.verdict(caller, id, path.contains(ID));
        // Those who may come last: they may take everything along.
        let mut order: Vec<_> = (0..CALLERS.len()).collect();
        order.sort_by_key(|at| expected(CALLERS[*at]) == Verdict::Passes);
        let mut verdicts = [Verdict::Passes; CALLERS.len()];
        for at in order {
            let (caller, token) = &scene.tokens[at];
            verdicts[at] = scene.ask(&method, &path, operation, token.as_deref()).await;
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
