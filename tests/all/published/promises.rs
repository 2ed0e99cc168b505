//! What clients rely on, read from the document and written down in `openapi/promises.txt`: while
//! the version stays, no promise may go, and nobody may have to reckon with more.

#[path = "promises_tests.rs"]
mod tests;

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use super::{is_blessed, path, same};
use crate::contract::DOCUMENT;

const FILE: &str = "openapi/promises.txt";

const HEAD: &str = "\
# What clients of this version rely on: `is`, `accepts`, `answers`; and what they reckon with: \
    `must`, `may`.
# While the version stays, no line of the first kind may go, and none of the second kind may come.
# LATCHKEY_BLESS=1 ./dev test published:: writes down what harms nobody; all else wants \
    another version.
";

/// What a document promises. Each sentence begins with what it is about: an operation, a parameter
/// of it (`operation:name`), a body or a member of it (`body.member`).
struct Promises {
    version: String,
    sentences: BTreeSet<String>,
}

impl Promises {
    fn of(document: &Value) -> Promises {
        let version = text(&document["info"]["version"]).to_owned();
        let mut promises = Promises {
            version,
            sentences: BTreeSet::new(),
        };
        let (mut taken, mut given) = (BTreeSet::new(), BTreeSet::new());
        for (path, operations) in members(&document["paths"]) {
            for (method, operation) in members(operations) {
                promises.operation(method, path, operation);
                referred(&operation["requestBody"], document, &mut taken);
                referred(&operation["responses"], document, &mut given);
            }
        }
        for (name, scheme) in members(&document["components"]["securitySchemes"]) {
            promises.scheme(name, scheme);
        }
        let schemas = &document["components"]["schemas"];
        taken
            .iter()
            .for_each(|name| promises.taken(name, &schemas[name]));
        given
            .iter()
            .for_each(|name| promises.given(name, &schemas[name]));
        promises
    }

    fn say(&mut self, sentence: String) {
        self.sentences.insert(sentence);
    }

    fn operation(&mut self, method: &str, path: &str, operation: &Value) {
        let id = text(&operation["operationId"]);
        self.say(format!("{id} is {} {path}", method.to_uppercase()));
        ways(operation)
            .iter()
            .for_each(|way| self.say(format!("{id} is for {way}")));
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
        // A form that stands beside, for the sake of generators of clients.
        let form = &operation["requestBody"]["x-form"];
        if let Some(name) = form["title"].as_str() {
            self.say(format!(
                "{id} accepts application/x-www-form-urlencoded {name}"
            ));
            self.taken(name, form);
        }
        if operation["requestBody"]["required"] == true {
            self.say(format!("{id} must have a body"));
        }
        members(&operation["responses"])
            .for_each(|(status, response)| self.answer(id, status, response));
    }

    /// How callers prove who they are.
    fn scheme(&mut self, name: &str, scheme: &Value) {
        let where_it_goes = ["type", "scheme", "in", "name"]
            .map(|word| scheme[word].as_str())
            .into_iter()
            .flatten();
        self.say(format!(
            "scheme:{name} is {}",
            where_it_goes.collect::<Vec<_>>().join(" ")
        ));
        for (flow, what) in members(&scheme["flows"]) {
            for address in ["tokenUrl", "refreshUrl"]
                .map(|word| what[word].as_str())
                .into_iter()
                .flatten()
            {
                self.say(format!("scheme:{name} is had by {flow} at {address}"));
            }
            members(&what["scopes"])
                .for_each(|(scope, _)| self.say(format!("scheme:{name} is for {scope}")));
        }
    }

    /// A refusal that comes is no harm: who knows it not knows its status. That one goes is harm to
    /// who reacts to it.
    fn answer(&mut self, id: &str, status: &str, response: &Value) {
        if status < "4" {
            self.say(format!("{id} may answer {status}"));
        }
        for (media, body) in members(&response["content"]) {
            self.say(format!(
                "{id} answers {status} {media} {}",
                kind(&body["schema"])
            ));
            let codes = members(&body["examples"]).filter(|_| status >= "4");
            codes.for_each(|(code, _)| self.say(format!("{id} answers {status} {code}")));
        }
        for (event, data) in members(&response["x-events"]) {
            self.say(format!("{id} answers {status} event {event}"));
            self.given(&format!("{id}.{event}"), data);
        }
        members(&response["headers"])
            .for_each(|(header, _)| self.say(format!("{id} answers {status} {header}")));
    }

    /// A body of requests.
    fn taken(&mut self, name: &str, schema: &Value) {
        for (member, what) in members(&schema["properties"]) {
            self.accepted(&format!("{name}.{member}"), what);
        }
        required(schema).for_each(|member| self.say(format!("{name}.{member} must be there")));
        if schema["minProperties"].is_number() {
            self.say(format!(
                "{name} must keep minProperties {}",
                schema["minProperties"]
            ));
        }
        if schema["additionalProperties"] == false {
            self.say(format!("{name} must have no other members"));
        }
    }

    fn accepted(&mut self, about: &str, what: &Value) {
        self.say(format!("{about} accepts {}", kind(what)));
        words(what).for_each(|word| self.say(format!("{about} accepts {word}")));
        if what["nullable"] == true {
            self.say(format!("{about} accepts null"));
        }
        for limit in [
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "multipleOf",
            "pattern",
        ] {
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
        let gone = old
            .sentences
            .difference(&self.sentences)
            .filter(|sentence| !is_demand(sentence));
        let new = self
            .sentences
            .difference(&old.sentences)
            .filter(|sentence| is_demand(sentence));
        let new =
            new.filter(|demand| !old.has_nobody_for(demand) && !old.has_stricter_than(demand));
        gone.map(|gone| format!("gone: {gone}"))
            .chain(new.map(|new| format!("new: {new}")))
            .collect()
    }

    /// Nobody sends or reads what there was not. (But what must be there, all must send who send
    /// what it is a part of.)
    fn has_nobody_for(&self, demand: &str) -> bool {
        let (about, what) = demand.split_once(' ').expect("a sentence");
        let whole = about.split(['.', ':']).next().expect("a word");
        let of_whole = |known: &str| {
            known
                .strip_prefix(whole)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
        };
        let mut known = self
            .sentences
            .iter()
            .filter_map(|sentence| sentence.split(' ').next());
        if what == "must be there" || about == whole {
            !known.any(of_whole)
        } else {
            !known.any(|known| known == about)
        }
    }

    /// A limit that lets more pass than before.
    fn has_stricter_than(&self, demand: &str) -> bool {
        let limit = |sentence: &str| {
            let (limit, number) = sentence
                .rsplit_once(' ')
                .filter(|(limit, _)| limit.contains(" must keep "))?;
            Some((limit.to_owned(), number.parse::<f64>().ok()?))
        };
        let Some((limit_of, new)) = limit(demand) else {
            return false;
        };
        let old = self
            .sentences
            .iter()
            .filter_map(|sentence| limit(sentence))
            .find(|(old, _)| *old == limit_of);
        let is_least = ["minLength", "minimum", "minProperties"]
            .iter()
            .any(|least| limit_of.ends_with(least));
        old.is_some_and(|(_, old)| if is_least { new <= old } else { new >= old })
    }

    fn read(text: &str) -> Promises {
        let mut lines = text
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(str::to_owned);
        let version = lines
            .next()
            .unwrap_or_default()
            .trim_start_matches("version ")
            .to_owned();
        Promises {
            version,
            sentences: lines.collect(),
        }
    }

    fn write(&self) -> String {
        let lines = self
            .sentences
            .iter()
            .map(|sentence| format!("{sentence}\n"));
        format!(
            "{HEAD}version {}\n{}",
            self.version,
            lines.collect::<String>()
        )
    }

    /// Whether the version says that something may be incompatible: before 1.0 the second number
    /// does, later the first (Semantic Versioning 2.0.0, items 4 and 8).
    fn is_another_version_than(&self, old: &Promises) -> bool {
        let telling = |version: &str| {
            let mut numbers = version
                .split('.')
                .map(|number| number.parse::<u64>().expect("a number"));
            let (major, minor) = (
                numbers.next().expect("a major"),
                numbers.next().expect("a minor"),
            );
            if major == 0 { (0, minor) } else { (major, 0) }
        };
        telling(&self.version) > telling(&old.version)
    }
}

/// What a client must reckon with; the others are what it relies on.
fn is_demand(sentence: &str) -> bool {
    sentence
        .split(' ')
        .nth(1)
        .is_some_and(|verb| verb == "must" || verb == "may")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("a text: {value}"))
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
}

fn words(schema: &Value) -> impl Iterator<Item = &str> {
    schema["enum"].as_array().into_iter().flatten().map(text)
}

/// Who may call it: ways of which one is enough. A way may want several proofs at once.
fn ways(operation: &Value) -> Vec<String> {
    let ways = operation["security"]
        .as_array()
        .expect("it says who may call it");
    let proof = |(scheme, scopes): (&String, &Value)| {
        scopes
            .as_array()
            .into_iter()
            .flatten()
            .fold(scheme.clone(), |proof, scope| proof + " " + text(scope))
    };
    let way = |way: &Value| match members(way).map(proof).collect::<Vec<_>>() {
        proofs if proofs.is_empty() => "anybody".to_owned(),
        proofs => proofs.join(" and "),
    };
    if ways.is_empty() {
        vec![way(&json!({}))]
    } else {
        ways.iter().map(way).collect()
    }
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
    if let Some(name) = value["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next())
        && found.insert(name.to_owned())
    {
        referred(&document["components"]["schemas"][name], document, found);
    }
    let below = value
        .as_array()
        .into_iter()
        .flatten()
        .chain(members(value).map(|(_, value)| value));
    below.for_each(|value| referred(value, document, found));
}

#[test]
fn what_clients_rely_on_stays_while_the_version_does() {
    let old =
        fs::read_to_string(path(FILE)).expect("it is checked in, and never written from nothing");
    let old = Promises::read(&old);
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
