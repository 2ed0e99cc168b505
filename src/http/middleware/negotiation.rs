//! Which methods a path has, for the `Negotiation` of a 405; and with what it answers, for the 406.

use std::collections::HashMap;

use poem::http::HeaderValue;

use crate::http::{
    api::revocation_stream,
    forward_auth,
    openapi::{body, document, problem},
};

/// Paths beside the document, all of them pages.
const PAGES: &[&str] = &[
    "/",
    "/docs",
    "/openapi.json",
    "/forgot",
    "/problems",
    "/problems/{code}",
];

/// Operations whose callers care about the status alone, and accept whatever they happen to accept:
/// proxies hand the `Accept` of an image or a font on to the check.
const ANY_ACCEPT: &[&str] = &[forward_auth::PATH, "/health/live", "/health/ready"];

/// What operations answer with.
const JSON: &[&str] = &[body::JSON, problem::MEDIA_TYPE];

/// What is known of every path.
pub struct Negotiation {
    /// Without a parameter, found at once: every request is looked up here.
    fixed: HashMap<String, Answers>,
    /// With parameters: their segments, of which those in braces fit anything.
    templates: Vec<(Vec<String>, Answers)>,
}

/// How a path answers.
struct Answers {
    methods: HeaderValue,
    /// Nothing where it does not matter.
    offered: &'static [&'static str],
}

impl Negotiation {
    /// Reads the document.
    pub fn new() -> Negotiation {
        let operations = document::methods().into_iter().map(|(path, methods)| {
            let answers = Answers::new(&methods, offered(&path));
            (path, answers)
        });
        let pages = PAGES
            .iter()
            .map(|path| ((*path).to_owned(), Answers::new(&["GET".to_owned()], &[])));
        let (templates, fixed): (Vec<_>, Vec<_>) = operations
            .chain(pages)
            .partition(|(path, _)| path.contains('{'));
        let segments = |path: String| path.split('/').map(str::to_owned).collect();
        let templates = templates
            .into_iter()
            .map(|(path, answers)| (segments(path), answers))
            .collect();
        Negotiation {
            fixed: fixed.into_iter().collect(),
            templates,
        }
    }

    /// The methods of the path.
    pub fn methods(&self, path: &str) -> Option<HeaderValue> {
        self.find(path).map(|path| path.methods.clone())
    }

    /// The media types of which a client must accept one; nothing where it need not.
    pub fn offered(&self, path: &str) -> &'static [&'static str] {
        self.find(path).map_or(&[], |path| path.offered)
    }

    /// Whether the path takes no parameter whatsoever, and tells balancers something that no
    /// parameter may spoil.
    pub fn is_metadata(&self, path: &str) -> bool {
        path.starts_with("/health/")
    }

    /// Whether what is there comes from more than the binary.
    pub fn requires_started_server(&self, path: &str) -> bool {
        let is_page = PAGES.contains(&path) || path.starts_with("/problems/");
        !is_page && !self.is_metadata(path)
    }

    fn find(&self, path: &str) -> Option<&Answers> {
        let of_template = || {
            self.templates
                .iter()
                .find(|(segments, _)| matches(segments, path))
        };
        self.fixed
            .get(path)
            .or_else(|| of_template().map(|(_, answers)| answers))
    }
}

impl Answers {
    fn new(methods: &[String], offered: &'static [&'static str]) -> Answers {
        let head = methods
            .iter()
            .any(|method| method == "GET")
            .then_some("HEAD");
        let methods: Vec<&str> = methods.iter().map(String::as_str).chain(head).collect();
        Answers {
            methods: HeaderValue::from_str(&methods.join(", ")).expect("methods are plain text"),
            offered,
        }
    }
}

fn offered(path: &str) -> &'static [&'static str] {
    match path {
        "/revocations" => &[revocation_stream::MEDIA_TYPE],
        path if ANY_ACCEPT.contains(&path) => &[],
        _operation => JSON,
    }
}

fn matches(template: &[String], path: &str) -> bool {
    let mut segments = path.split('/');
    let fits = |known: &String| {
        segments
            .next()
            .is_some_and(|segment| known.starts_with('{') || known == segment)
    };
    template.iter().all(fits) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_come_from_the_document() {
        let allow = Negotiation::new();
        assert_eq!(allow.methods("/items").unwrap(), "POST, GET, HEAD");
        assert_eq!(
            allow.methods("/items/abc").unwrap(),
            "GET, PUT, PATCH, DELETE, HEAD"
        );
        assert_eq!(allow.methods("/docs").unwrap(), "GET, HEAD");
        assert!(allow.methods("/items/a/b").is_none());
        let offered =
            ["/login", "/revocations", "/auth/verify", "/"].map(|path| allow.offered(path));
        assert_eq!(offered, [JSON, &["text/event-stream"], &[], &[]]);
    }
}
