//! The contract with clients, read from the OpenAPI document and stored in `openapi/promises.txt`.
//! While the version stays, a change must not break clients. A pre-release version promises
//! nothing: the comparison prints breaking changes and passes.

#[path = "promises_tests.rs"]
mod tests;

use std::collections::BTreeSet;

use serde_json::{Value, json};

const FILE: &str = "openapi/promises.txt";

const HEADER: &str = "\
# The contract with API clients of this version.
# Clients rely on lines with `is`, `accepts`, `returns`, or `uses`. No such line may be removed.
# Clients must handle lines with `must` or `may`. No such line may be added.
# Both rules apply to release versions. LATCHKEY_BLESS=1 ./dev test published:: updates this file.
";

/// The contract of an OpenAPI document. Each sentence starts with its subject: an operation, a
/// parameter (`operation:name`), a schema, or a field (`schema.field`).
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
        let (mut request_schemas, mut response_schemas) = (BTreeSet::new(), BTreeSet::new());
        for (path, operations) in fields(&document["paths"]) {
            for (method, operation) in fields(operations) {
                promises.add_operation(method, path, operation);
                collect_references(&operation["requestBody"], document, &mut request_schemas);
                collect_references(&operation["responses"], document, &mut response_schemas);
            }
        }
        for (name, scheme) in fields(&document["components"]["securitySchemes"]) {
            promises.add_security_scheme(name, scheme);
        }
        let schemas = &document["components"]["schemas"];
        request_schemas
            .iter()
            .for_each(|name| promises.add_request_schema(name, &schemas[name]));
        response_schemas
            .iter()
            .for_each(|name| promises.add_response_schema(name, &schemas[name]));
        promises
    }

    fn add(&mut self, sentence: String) {
        self.sentences.insert(sentence);
    }

    fn add_operation(&mut self, method: &str, path: &str, operation: &Value) {
        let id = text(&operation["operationId"]);
        self.add(format!("{id} is {} {path}", method.to_uppercase()));
        security_alternatives(operation)
            .iter()
            .for_each(|alternative| self.add(format!("{id} is for {alternative}")));
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let subject = format!("{id}:{}", text(&parameter["name"]));
            self.add_accepted_value(&subject, &parameter["schema"]);
            self.add(format!("{subject} is in {}", text(&parameter["in"])));
            if parameter["required"] == true {
                self.add(format!("{subject} must be present"));
            }
        }
        for (media, body) in fields(&operation["requestBody"]["content"]) {
            self.add(format!(
                "{id} accepts {media} {}",
                type_name(&body["schema"])
            ));
        }
        // The form is in an extension, because client generators support only one media type.
        let form = &operation["requestBody"]["x-form"];
        if let Some(name) = form["title"].as_str() {
            self.add(format!(
                "{id} accepts application/x-www-form-urlencoded {name}"
            ));
            self.add_request_schema(name, form);
        }
        if operation["requestBody"]["required"] == true {
            self.add(format!("{id} must have a body"));
        }
        fields(&operation["responses"])
            .for_each(|(status, response)| self.add_response(id, status, response));
    }

    /// Adds a security scheme.
    fn add_security_scheme(&mut self, name: &str, scheme: &Value) {
        let properties = ["type", "scheme", "in", "name"]
            .map(|property| scheme[property].as_str())
            .into_iter()
            .flatten();
        self.add(format!(
            "scheme:{name} is {}",
            properties.collect::<Vec<_>>().join(" ")
        ));
        for (flow, definition) in fields(&scheme["flows"]) {
            for url in ["tokenUrl", "refreshUrl"]
                .map(|name| definition[name].as_str())
                .into_iter()
                .flatten()
            {
                self.add(format!("scheme:{name} uses {flow} at {url}"));
            }
            fields(&definition["scopes"])
                .for_each(|(scope, _)| self.add(format!("scheme:{name} is for {scope}")));
        }
    }

    /// An operation that also returns an existing error code breaks no client. A new code does:
    /// `ErrorCode may be` lists it, because generated clients can reject unknown values. A removed
    /// code breaks clients that handle it.
    fn add_response(&mut self, id: &str, status: &str, response: &Value) {
        if status < "4" {
            self.add(format!("{id} may return {status}"));
        }
        for (media, body) in fields(&response["content"]) {
            self.add(format!(
                "{id} returns {status} {media} {}",
                type_name(&body["schema"])
            ));
            let codes = fields(&body["examples"]).filter(|_| status >= "4");
            codes.for_each(|(code, _)| self.add(format!("{id} returns {status} {code}")));
        }
        for (event, data) in fields(&response["x-events"]) {
            self.add(format!("{id} returns {status} event {event}"));
            self.add_response_schema(&format!("{id}.{event}"), data);
        }
        fields(&response["headers"])
            .for_each(|(header, _)| self.add(format!("{id} returns {status} {header}")));
    }

    /// Adds the schema of a request body.
    fn add_request_schema(&mut self, name: &str, schema: &Value) {
        for (field, property) in fields(&schema["properties"]) {
            self.add_accepted_value(&format!("{name}.{field}"), property);
        }
        required_fields(schema)
            .for_each(|field| self.add(format!("{name}.{field} must be present")));
        if schema["minProperties"].is_number() {
            self.add(format!(
                "{name} must keep minProperties {}",
                schema["minProperties"]
            ));
        }
        if schema["additionalProperties"] == false {
            self.add(format!("{name} must have no other fields"));
        }
    }

    fn add_accepted_value(&mut self, subject: &str, schema: &Value) {
        self.add(format!("{subject} accepts {}", type_name(schema)));
        enum_values(schema).for_each(|value| self.add(format!("{subject} accepts {value}")));
        if schema["nullable"] == true {
            self.add(format!("{subject} accepts null"));
        }
        for limit in [
            "minLength",
            "maxLength",
            "minimum",
            "maximum",
            "multipleOf",
            "pattern",
        ] {
            if !schema[limit].is_null() {
                self.add(format!("{subject} must keep {limit} {}", schema[limit]));
            }
        }
    }

    /// Adds the schema of a response body, or an enumeration in one.
    fn add_response_schema(&mut self, name: &str, schema: &Value) {
        enum_values(schema).for_each(|value| self.add(format!("{name} may be {value}")));
        for (field, property) in fields(&schema["properties"]) {
            let subject = format!("{name}.{field}");
            self.add(format!("{subject} is {}", type_name(property)));
            enum_values(property).for_each(|value| self.add(format!("{subject} may be {value}")));
            if property["nullable"] == true {
                self.add(format!("{subject} may be null"));
            }
            if required_fields(schema).all(|required_field| required_field != field) {
                self.add(format!("{subject} may be absent"));
            }
        }
    }

    /// Returns the changes that break clients of the old contract.
    fn breaking_changes(&self, old: &Promises) -> Vec<String> {
        let removed = old
            .sentences
            .difference(&self.sentences)
            .filter(|sentence| !is_obligation(sentence));
        let added = self
            .sentences
            .difference(&old.sentences)
            .filter(|sentence| is_obligation(sentence));
        let added = added.filter(|obligation| {
            !old.has_no_clients_of(obligation) && !old.has_same_or_stricter_limit(obligation)
        });
        removed
            .map(|sentence| format!("removed: {sentence}"))
            .chain(added.map(|sentence| format!("added: {sentence}")))
            .collect()
    }

    /// Whether no client uses the subject of the obligation, because the subject is new. A field
    /// that must be present affects all clients that send its schema.
    fn has_no_clients_of(&self, obligation: &str) -> bool {
        let (subject, predicate) = obligation.split_once(' ').expect("a sentence");
        let schema = subject.split(['.', ':']).next().expect("a word");
        let is_in_schema = |known_subject: &str| {
            known_subject
                .strip_prefix(schema)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ':']))
        };
        let mut subjects = self
            .sentences
            .iter()
            .filter_map(|sentence| sentence.split(' ').next());
        if predicate == "must be present" || subject == schema {
            !subjects.any(is_in_schema)
        } else {
            !subjects.any(|known_subject| known_subject == subject)
        }
    }

    /// Whether the obligation is a limit that is not stricter than the old one.
    fn has_same_or_stricter_limit(&self, obligation: &str) -> bool {
        let parse_limit = |sentence: &str| {
            let (limit, number) = sentence
                .rsplit_once(' ')
                .filter(|(limit, _)| limit.contains(" must keep "))?;
            Some((limit.to_owned(), number.parse::<f64>().ok()?))
        };
        let Some((limit_name, new)) = parse_limit(obligation) else {
            return false;
        };
        let old = self
            .sentences
            .iter()
            .filter_map(|sentence| parse_limit(sentence))
            .find(|(old, _)| *old == limit_name);
        let is_lower_bound = ["minLength", "minimum", "minProperties"]
            .iter()
            .any(|lower_bound| limit_name.ends_with(lower_bound));
        old.is_some_and(|(_, old)| {
            if is_lower_bound {
                new <= old
            } else {
                new >= old
            }
        })
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
            "{HEADER}version {}\n{}",
            self.version,
            lines.collect::<String>()
        )
    }

    /// Whether the version has a pre-release part (Semantic Versioning 2.0.0, item 9).
    fn is_pre_release(&self) -> bool {
        self.version.contains('-')
    }

    /// Whether this version can break clients of the old one (Semantic Versioning 2.0.0, items 4
    /// and 8). After a pre-release it always can. Otherwise, the minor version must increase before
    /// 1.0, and the major version from 1.0 on.
    fn can_break_clients_of(&self, old: &Promises) -> bool {
        if old.is_pre_release() {
            return true;
        }
        let significant = |version: &str| {
            let mut parts = version
                .split('.')
                .map(|number| number.parse::<u64>().expect("a number"));
            let (major, minor) = (
                parts.next().expect("a major"),
                parts.next().expect("a minor"),
            );
            if major == 0 { (0, minor) } else { (major, 0) }
        };
        significant(&self.version) > significant(&old.version)
    }
}

/// Whether clients must handle the sentence. They rely on all other sentences.
fn is_obligation(sentence: &str) -> bool {
    sentence
        .split(' ')
        .nth(1)
        .is_some_and(|verb| verb == "must" || verb == "may")
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value}"))
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn required_fields(schema: &Value) -> impl Iterator<Item = &str> {
    schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .map(text)
}

fn enum_values(schema: &Value) -> impl Iterator<Item = &str> {
    schema["enum"].as_array().into_iter().flatten().map(text)
}

/// The alternative security requirements. Each can combine several schemes.
fn security_alternatives(operation: &Value) -> Vec<String> {
    let alternatives = operation["security"]
        .as_array()
        .expect("security requirements");
    let requirement = |(scheme, scopes): (&String, &Value)| {
        scopes
            .as_array()
            .into_iter()
            .flatten()
            .fold(scheme.clone(), |requirement, scope| {
                requirement + " " + text(scope)
            })
    };
    let describe =
        |alternative: &Value| match fields(alternative).map(requirement).collect::<Vec<_>>() {
            requirements if requirements.is_empty() => "everyone".to_owned(),
            requirements => requirements.join(" and "),
        };
    if alternatives.is_empty() {
        vec![describe(&json!({}))]
    } else {
        alternatives.iter().map(describe).collect()
    }
}

/// The name of a type in the contract.
fn type_name(schema: &Value) -> String {
    if let Some(reference) = schema["$ref"].as_str() {
        return reference.rsplit('/').next().expect("a name").to_owned();
    }
    match (text(&schema["type"]), schema["format"].as_str()) {
        ("array", _) => format!("a list of {}", type_name(&schema["items"])),
        (plain, Some(format)) => format!("{plain} ({format})"),
        (plain, None) => plain.to_owned(),
    }
}

/// Collects the schemas that a value references, directly or indirectly.
fn collect_references(value: &Value, document: &Value, found: &mut BTreeSet<String>) {
    if let Some(name) = value["$ref"]
        .as_str()
        .and_then(|reference| reference.rsplit('/').next())
        && found.insert(name.to_owned())
    {
        collect_references(&document["components"]["schemas"][name], document, found);
    }
    let children = value
        .as_array()
        .into_iter()
        .flatten()
        .chain(fields(value).map(|(_, value)| value));
    children.for_each(|value| collect_references(value, document, found));
}
