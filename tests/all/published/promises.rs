//! The contract with clients, read from the OpenAPI document and stored in `openapi/promises.txt`.
//! While the version stays, a change must not break clients. A pre-release version promises
//! nothing: the comparison prints breaking changes and passes.

#[path = "promises_tests.rs"]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};

const FILE: &str = "openapi/promises.txt";

const HEAD: &str = "\
# The contract with API clients of this version.
# Clients rely on lines with `is`, `accepts`, `returns`, or `uses`. No such line may be removed.
# Clients must handle lines with `must` or `may`. No such line may be added.
# Both rules apply to release versions. LATCHKEY_BLESS=1 ./dev test published:: updates this file.
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
                self.say(format!("{about} must be present"));
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
            .for_each(|(status, response)| self.response(id, status, response));
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
                self.say(format!("scheme:{name} uses {flow} at {address}"));
            }
            members(&what["scopes"])
                .for_each(|(scope, _)| self.say(format!("scheme:{name} is for {scope}")));
        }
    }

    /// A refusal that comes is no harm: who knows it not knows its status. That one goes is harm to
    /// who reacts to it.
    fn response(&mut self, id: &str, status: &str, response: &Value) {
        if status < "4" {
            self.say(format!("{id} may return {status}"));
        }
        for (media, body) in members(&response["content"]) {
            self.say(format!(
                "{id} returns {status} {media} {}",
                kind(&body["schema"])
            ));
            let codes = members(&body["examples"]).filter(|_| status >= "4");
            codes.for_each(|(code, _)| self.say(format!("{id} returns {status} {code}")));
        }
        for (event, data) in members(&response["x-events"]) {
            self.say(format!("{id} returns {status} event {event}"));
            self.given(&format!("{id}.{event}"), data);
        }
        members(&response["headers"])
            .for_each(|(header, _)| self.say(format!("{id} returns {status} {header}")));
    }

    /// A body of requests.
    fn taken(&mut self, name: &str, schema: &Value) {
        for (member, what) in members(&schema["properties"]) {
            self.accepted(&format!("{name}.{member}"), what);
        }
        required(schema).for_each(|member| self.say(format!("{name}.{member} must be present")));
        if schema["minProperties"].is_number() {
            self.say(format!(
                "{name} must keep minProperties {}",
                schema["minProperties"]
            ));
        }
        if schema["additionalProperties"] == false {
            self.say(format!("{name} must have no other fields"));
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
                self.say(format!("{about} may be absent"));
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
        gone.map(|gone| format!("removed: {gone}"))
            .chain(new.map(|new| format!("added: {new}")))
            .collect()
    }

    /// Nobody sends or reads what there was not. (But what must be present, all must send who send
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
        if what == "must be present" || about == whole {
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

    /// Whether the version has a pre-release part (Semantic Versioning 2.0.0, item 9).
    fn is_pre_release(&self) -> bool {
        self.version.contains('-')
    }

    /// Whether this version can break clients of the old one: after a pre-release always, before
    /// 1.0 if the second number rises, later if the first one does (Semantic Versioning 2.0.0,
    /// items 4 and 8).
    fn is_another_version_than(&self, old: &Promises) -> bool {
        if old.is_pre_release() {
            return true;
        }
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
        proofs if proofs.is_empty() => "everyone".to_owned(),
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
