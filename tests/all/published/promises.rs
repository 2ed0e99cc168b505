//! What clients rely on, read from the document and written down in `openapi/promises.txt`: while the version stays, no
//! promise may go, and nobody may have to reckon with more.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{is_blessed, path, same};
use crate::contract::DOCUMENT;

const FILE: &str = "openapi/promises.txt";

const HEAD: &str = "\
# What clients of this version rely on: `is`, `accepts`, `answers`; and what they reckon with: `must`, `may`.
# While the version stays, no line of the first kind may go, and none of the second kind may come.
# LATCHKEY_BLESS=1 ./dev test published:: writes down what harms nobody; all else wants another version.
";

/// What a document promises. Each sentence begins with what it is about: an operation, a parameter of it (`operation:name`), a
/// body or a member of it (`body.member`).
#[derive(Clone)]
struct Promises {
    version: String,
    sentences: BTreeSet<String>,
}

impl Promises {
    fn of(document: &Value) -> Promises {
        let version = text(&document["info"]["version"]).to_owned();
        let mut promises = Promises { version, sentences: BTreeSet::new() };
        let (mut taken, mut given) = (BTreeSet::new(), BTreeSet::new());
        for (path, operations) in members(&document["paths"]) {
            for (method, operation) in members(operations) {
                promises.operation(method, path, operation);
                referred(&operation["requestBody"], document, &mut taken);
                referred(&operation["responses"], document, &mut given);
            }
        }
        let schemas = &document["components"]["schemas"];
        taken.iter().for_each(|name| promises.taken(name, &schemas[name]));
        given.iter().for_each(|name| promises.given(name, &schemas[name]));
        promises
    }

    fn say(&mut self, sentence: String) {
        self.sentences.insert(sentence);
    }

    fn operation(&mut self, method: &str, path: &str, operation: &Value) {
        let id = text(&operation["operationId"]);
        self.say(format!("{id} is {} {path}", method.to_uppercase()));
        ways(operation).iter().for_each(|way| self.say(format!("{id} is for {way}")));
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let about = format!("{id}:{}", text(&parameter["name"]));
            self.accepted(&about, &parameter["schema"]);
            self.say(format!("{about} is in {}", text(&parameter["in"])));
            if parameter["required"] == true {
                self.say(format!("{about} must be there"));
            }
        }
        for (media, body) in members(&operation["requestBody"]["content"]) {
            self.say(format!("{id} accepts {media} {}", kind(&body["schema"])));
        }
        if operation["requestBody"]["required"] == true {
            self.say(format!("{id} must have a body"));
        }
        let good = members(&operation["responses"]).filter(|(status, _)| status.starts_with('2'));
        good.for_each(|(status, response)| self.answer(id, status, response));
    }

    fn answer(&mut self, id: &str, status: &str, response: &Value) {
        self.say(format!("{id} may answer {status}"));
        for (media, body) in members(&response["content"]) {
            self.say(format!("{id} answers {status} {media} {}", kind(&body["schema"])));
        }
        members(&response["headers"]).for_each(|(header, _)| self.say(format!("{id} answers {status} {header}")));
    }

    /// A body of requests.
    fn taken(&mut self, name: &str, schema: &Value) {
        for (member, what) in members(&schema["properties"]) {
            self.accepted(&format!("{name}.{member}"), what);
        }
        required(schema).for_each(|member| self.say(format!("{name}.{member} must be there")));
    }

    fn accepted(&mut self, about: &str, what: &Value) {
        self.say(format!("{about} accepts {}", kind(what)));
        words(what).for_each(|word| self.say(format!("{about} accepts {word}")));
        if what["nullable"] == true {
            self.say(format!("{about} accepts null"));
        }
        for limit in ["minLength", "maxLength", "minimum", "maximum", "pattern"] {
            if !what[limit].is_null() {
                self.say(format!("{about} must keep {limit} {}", what[limit]));
            }
        }
    }

    /// A body of answers, or a list of words that are given.
    fn given(&mut self, name: &str, schema: &Value) {
        words(schema).for_each(|word| self.say(format!("{name} may be {word}")));
        for (member, what) in members(&schema["properties"]) {
            let about = format!("{name}.{member}");
            self.say(format!("{about} is {}", kind(what)));
            words(what).for_each(|word| self.say(format!("{about} may be {word}")));
            if what["nullable"] == true {
                self.say(format!("{about} may be null"));
            }
            if required(schema).all(|required| required != member) {
                self.say(format!("{about} may be left out"));
            }
        }
    }

    /// What harms those who rely on the old ones.
    fn harm(&self, old: &Promises) -> Vec<String> {
        let gone = old.sentences.difference(&self.sentences).filter(|sentence| !is_demand(sentence));
        let new = self.sentences.difference(&old.sentences).filter(|sentence| is_demand(sentence));
        let new = new.filter(|demand| !old.has_nobody_for(demand) && !old.has_stricter_than(demand));
        gone.map(|gone| format!("gone: {gone}")).chain(new.map(|new| format!("new: {new}"))).collect()
    }

    /// Nobody sends or reads what there was not. (But what must be there, all must send who send what it is a part of.)
    fn has_nobody_for(&self, demand: &str) -> bool {
        let (about, what) = demand.split_once(' ').expect("a sentence");
        let whole = about.split(['.', ':']).next().expect("a word");
        let of_whole =
            |known: &str| known.strip_prefix(whole).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']));
        let mut known = self.sentences.iter().filter_map(|sentence| sentence.split(' ').next());
        if what == "must be there" { !known.any(of_whole) } else { !known.any(|known| known == about) }
    }

    /// A limit that lets more pass than before.
    fn has_stricter_than(&self, demand: &str) -> bool {
        let limit = |sentence: &str| {
            let (limit, number) = sentence.rsplit_once(' ').filter(|(limit, _)| limit.contains(" must keep "))?;
            Some((limit.to_owned(), number.parse::<f64>().ok()?))
        };
        let Some((limit_of, new)) = limit(demand) else { return false };
        let old = self.sentences.iter().filter_map(|sentence| limit(sentence)).find(|(old, _)| *old == limit_of);
        let is_least = limit_of.ends_with("minLength") || limit_of.ends_with("minimum");
        old.is_some_and(|(_, old)| if is_least { new <= old } else { new >= old })
    }

    fn read(text: &str) -> Promises {
        let mut lines = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned);
        let version = lines.next().unwrap_or_default().trim_start_matches("version ").to_owned();
        Promises { version, sentences: lines.collect() }
    }

    fn write(&self) -> String {
        let lines = self.sentences.iter().map(|sentence| format!("{sentence}\n"));
        format!("{HEAD}version {}\n{}", self.version, lines.collect::<String>())
    }

    /// Whether the version says that something may be incompatible: before 1.0 the second number does, later the first
    /// (Semantic Versioning 2.0.0, items 4 and 8).
    fn is_another_version_than(&self, old: &Promises) -> bool {
        let telling = |version: &str| {
            let mut numbers = version.split('.').map(|number| number.parse::<u64>().expect("a number"));
            let (major, minor) = (numbers.next().expect("a major"), numbers.next().expect("a minor"));
            if major == 0 { (0, minor) } else { (major, 0) }
        };
        telling(&self.version) > telling(&old.version)
    }
}

/// What a client must reckon with; the others are what it relies on.
fn is_demand(sentence: &str) -> bool {
    sentence.split(' ').nth(1).is_some_and(|verb| verb == "must" || verb == "may")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"].as_array().into_iter().flatten().map(text)
}

fn words(schema: &Value) -> impl Iterator<Item = &str> {
    schema["enum"].as_array().into_iter().flatten().map(text)
}

/// Who may call it: ways of which one is enough.
fn ways(operation: &Value) -> Vec<String> {
    let ways = operation["security"].as_array().expect("it says who may call it");
    let way = |way: &Value| match members(way).next() {
        Some((scheme, scopes)) => {
            scopes.as_array().into_iter().flatten().fold(scheme.clone(), |way, scope| way + " " + text(scope))
        }
        None => "anybody".to_owned(),
    };
    if ways.is_empty() { vec![way(&json!({}))] } else { ways.iter().map(way).collect() }
}

/// The type of a value.
fn kind(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().expect("a name").to_owned();
    }
    match (text(&schema["type"]), schema["format"].as_str()) {
        ("array", _) => format!("a list of {}", kind(&schema["items"])),
        (plain, Some(format)) => format!("{plain} ({format})"),
        (plain, None) => plain.to_owned(),
    }
}

/// The schemas that are named below a value, and below those.
fn referred(value: &Value, document: &Value, found: &mut BTreeSet<String>) {
    if let Some(name) = value["$ref"].as_str().and_then(|reference| reference.rsplit('/').next())
        && found.insert(name.to_owned())
    {
        referred(&document["components"]["schemas"][name], document, found);
    }
    let below = value.as_array().into_iter().flatten().chain(members(value).map(|(_, value)| value));
    below.for_each(|value| referred(value, document, found));
}

#[test]
fn what_clients_rely_on_stays_while_the_version_does() {
    let old = Promises::read(&fs::read_to_string(path(FILE)).unwrap_or_default());
    let new = Promises::of(&DOCUMENT);
    let harm = new.harm(&old);
    assert!(
        harm.is_empty() || (is_blessed() && new.is_another_version_than(&old)),
        "clients of {} break, so the version in Cargo.toml must rise, and then be blessed:\n{}",
        old.version,
        harm.join("\n")
    );
    same(FILE, &new.write());
}

/// What becomes of the promises when the document is changed there.
fn harm_of(change: impl FnOnce(&mut Value)) -> Vec<String> {
    let mut document = DOCUMENT.clone();
    change(&mut document);
    Promises::of(&document).harm(&Promises::of(&DOCUMENT))
}

fn at<'a>(document: &'a mut Value, way: &str) -> &'a mut Value {
    document.pointer_mut(way).unwrap_or_else(|| panic!("there is no {way}"))
}

fn without(document: &mut Value, way: &str, member: &str) {
    at(document, way).as_object_mut().expect("an object").shift_remove(member).expect("it was there");
}

const CREATE: &str = "/paths/~1items/post";
const BODY: &str = "/components/schemas/ItemBody";
const ITEM: &str = "/components/schemas/Item";

#[test]
fn what_breaks_clients_is_found() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("gone: createItem is POST /items", |document| without(document, "/paths/~1items", "post")),
        ("gone: createItem is for cookie", |document| {
            *at(document, &format!("{CREATE}/security")) = json!([{ "session": ["items:write"] }])
        }),
        ("gone: createItem is for session items:write", |document| {
            *at(document, &format!("{CREATE}/security/0/session")) = json!(["admin"])
        }),
        ("gone: createItem answers 201 ETag", |document| {
            without(document, &format!("{CREATE}/responses/201/headers"), "ETag")
        }),
        ("new: createItem may answer 202", |document| at(document, &format!("{CREATE}/responses"))["202"] = json!({})),
        ("gone: logIn accepts application/x-www-form-urlencoded LoginForm", |document| {
            without(document, "/paths/~1login/post/requestBody/content", "application/x-www-form-urlencoded")
        }),
        ("gone: logOut:scope accepts others", |document| {
            *at(document, "/paths/~1logout/post/parameters/0/schema/enum") = json!(["session", "all"])
        }),
        ("new: listItems:limit must be there", |document| {
            at(document, "/paths/~1items/get/parameters/0")["required"] = json!(true)
        }),
        ("new: listItems:limit must keep maximum 50", |document| {
            *at(document, "/paths/~1items/get/parameters/0/schema/maximum") = json!(50)
        }),
        ("gone: ItemBody.description accepts string", |document| {
            without(document, &format!("{BODY}/properties"), "description")
        }),
        ("gone: ItemBody.description accepts null", |document| {
            without(document, &format!("{BODY}/properties/description"), "nullable")
        }),
        ("new: ItemBody.description must be there", |document| {
            *at(document, &format!("{BODY}/required")) = json!(["name", "description"])
        }),
        ("new: ItemBody.colour must be there", |document| {
            at(document, &format!("{BODY}/properties"))["colour"] = json!({ "type": "string" });
            *at(document, &format!("{BODY}/required")) = json!(["name", "colour"]);
        }),
        ("new: ItemBody.name must keep maxLength 100", |document| {
            *at(document, &format!("{BODY}/properties/name/maxLength")) = json!(100)
        }),
        ("gone: Item.description is string", |document| {
            without(document, &format!("{ITEM}/properties"), "description")
        }),
        ("gone: Item.name is string", |document| {
            *at(document, &format!("{ITEM}/properties/name/type")) = json!("integer")
        }),
        ("new: Item.name may be null", |document| {
            at(document, &format!("{ITEM}/properties/name"))["nullable"] = json!(true)
        }),
        ("new: Item.name may be left out", |document| *at(document, &format!("{ITEM}/required")) = json!(["id"])),
        ("new: Role may be owner", |document| {
            at(document, "/components/schemas/Role")["enum"] = json!(["user", "admin", "owner"])
        }),
    ];
    for (found, change) in changes {
        let harm = harm_of(change);
        assert!(harm.iter().any(|harm| harm == found), "{found}: {harm:?}");
    }
}

#[test]
fn what_harms_nobody_passes() {
    type Change = fn(&mut Value);
    let changes: &[(&str, Change)] = &[
        ("an operation", |document| {
            let mut other = at(document, CREATE).clone();
            other["operationId"] = json!("createBook");
            at(document, "/paths")["/books"] = json!({ "post": other });
        }),
        ("a member that may be sent, with its limits", |document| {
            at(document, &format!("{BODY}/properties"))["colour"] =
                json!({ "type": "string", "maxLength": 10, "nullable": true });
        }),
        ("a member that is given", |document| {
            at(document, &format!("{ITEM}/properties"))["colour"] = json!({ "type": "string", "nullable": true })
        }),
        ("a parameter that may be sent", |document| {
            let parameter = json!({ "name": "colour", "in": "query", "schema": { "type": "string" } });
            at(document, "/paths/~1items/get/parameters").as_array_mut().expect("a list").push(parameter);
        }),
        ("more room", |document| *at(document, &format!("{BODY}/properties/name/maxLength")) = json!(300)),
        ("another way to be allowed", |document| {
            at(document, &format!("{CREATE}/security")).as_array_mut().expect("a list").push(json!({}))
        }),
        ("other words", |document| *at(document, &format!("{CREATE}/description")) = json!("Makes one.")),
        ("no more null", |document| without(document, &format!("{ITEM}/properties/description"), "nullable")),
    ];
    for (name, change) in changes {
        assert_eq!(harm_of(change), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn only_another_version_may_break_clients() {
    let of = |version: &str| Promises { version: version.to_owned(), sentences: BTreeSet::new() };
    for (old, new, may) in [
        ("0.1.0", "0.1.0", false),
        ("0.1.0", "0.1.9", false),
        ("0.1.9", "0.2.0", true),
        ("0.9.0", "0.10.0", true),
        ("0.9.0", "1.0.0", true),
        ("1.1.0", "1.2.0", false),
        ("1.9.0", "2.0.0", true),
        ("2.0.0", "1.9.0", false),
    ] {
        assert_eq!(of(new).is_another_version_than(&of(old)), may, "{old} → {new}");
    }
}

#[test]
fn what_is_written_is_what_is_read() {
    let promises = Promises::of(&DOCUMENT);
    let read = Promises::read(&promises.write());
    assert_eq!((&read.version, &read.sentences), (&promises.version, &promises.sentences));
}
