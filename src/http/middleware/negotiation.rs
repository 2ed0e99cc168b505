//! Methods and media types of each path, for 405 and 406 responses.

use std::collections::HashMap;

use poem::http::HeaderValue;

use crate::http::{
    api::revocation_stream,
    document, forward_auth,
    openapi::{body, problem},
    pages::{CHANGE_PASSWORD_PATH, DEVELOPER_PAGES, USER_PAGES},
};

/// Files, which the OpenAPI document does not contain. Their only method is `GET`.
const FILES: &[&str] = &[
    "/docs",
    "/docs/{asset}",
    "/assets/{name}",
    "/openapi.json",
    "/robots.txt",
    "/.well-known/security.txt",
    CHANGE_PASSWORD_PATH,
];

/// Operations that ignore `Accept`, because their callers evaluate only the status.
///
/// A proxy forwards the `Accept` header of the original request, for example of an image or a font.
const ANY_ACCEPT: &[&str] = &[
    forward_auth::API_PATH,
    forward_auth::PAGE_PATH,
    "/health/live",
    "/health/ready",
];

/// Media types of the other operations.
const JSON_MEDIA_TYPES: &[&str] = &[body::JSON, problem::MEDIA_TYPE];

/// Methods and media types of all paths.
pub struct Negotiation {
    /// Paths without parameters. A map, because every request is looked up.
    fixed: HashMap<String, PathInfo>,
    /// Paths with parameters, as segments. A segment in braces matches any value.
    templates: Vec<(Vec<String>, PathInfo)>,
}

struct PathInfo {
    /// Value of `Allow`.
    methods: HeaderValue,
    /// Empty if the path ignores `Accept`.
    media_types: &'static [&'static str],
}

impl Negotiation {
    /// Reads the paths and methods from the OpenAPI document.
    pub fn new() -> Negotiation {
        let operations = document::list_methods().into_iter().map(|(path, methods)| {
            let info = PathInfo::new(&methods, media_types(&path));
            (path, info)
        });
        let files = FILES
            .iter()
            .map(|path| ((*path).to_owned(), PathInfo::new(&["GET".to_owned()], &[])));
        let pages = USER_PAGES.iter().chain(DEVELOPER_PAGES).map(|page| {
            let methods: Vec<_> = std::iter::once("GET")
                .chain(page.fields.map(|_| "POST"))
                .map(str::to_owned)
                .collect();
            // The framework's parameters have another syntax than those of the document.
            let path = page.path.replace(":code", "{code}");
            (path, PathInfo::new(&methods, &[]))
        });
        let (templates, fixed): (Vec<_>, Vec<_>) = operations
            .chain(files)
            .chain(pages)
            .partition(|(path, _)| path.contains('{'));
        let segments = |path: String| path.split('/').map(str::to_owned).collect();
        let templates = templates
            .into_iter()
            .map(|(path, info)| (segments(path), info))
            .collect();
        Negotiation {
            fixed: fixed.into_iter().collect(),
            templates,
        }
    }

    /// Returns the value of `Allow` for the path.
    pub fn allowed_methods(&self, path: &str) -> Option<HeaderValue> {
        self.find(path).map(|info| info.methods.clone())
    }

    /// Returns the media types of which the client must accept one. Empty if the path ignores
    /// `Accept`.
    pub fn offered_media_types(&self, path: &str) -> &'static [&'static str] {
        self.find(path).map_or(&[], |info| info.media_types)
    }

    /// Whether the path is a health check. Health checks ignore the query, because load balancers
    /// can append any parameter.
    pub fn is_health_check(&self, path: &str) -> bool {
        path.starts_with("/health/")
    }

    /// Whether the response depends on more than the binary, so that it must wait for the start.
    pub fn requires_started_server(&self, path: &str) -> bool {
        let is_file = FILES.contains(&path)
            || ["/problems", "/docs/", "/assets/"]
                .iter()
                .any(|folder| path.starts_with(folder));
        !is_file && !self.is_health_check(path)
    }

    fn find(&self, path: &str) -> Option<&PathInfo> {
        let find_template = || {
            self.templates
                .iter()
                .find(|(segments, _)| matches(segments, path))
        };
        self.fixed
            .get(path)
            .or_else(|| find_template().map(|(_, info)| info))
    }
}

impl PathInfo {
    fn new(methods: &[String], media_types: &'static [&'static str]) -> PathInfo {
        let head = methods
            .iter()
            .any(|method| method == "GET")
            .then_some("HEAD");
        let methods: Vec<&str> = methods.iter().map(String::as_str).chain(head).collect();
        PathInfo {
            methods: HeaderValue::from_str(&methods.join(", ")).expect("method names are ASCII"),
            media_types,
        }
    }
}

fn media_types(path: &str) -> &'static [&'static str] {
    match path {
        "/revocations" => &[revocation_stream::MEDIA_TYPE],
        path if ANY_ACCEPT.contains(&path) => &[],
        _operation => JSON_MEDIA_TYPES,
    }
}

fn matches(template: &[String], path: &str) -> bool {
    let mut segments = path.split('/');
    let matches_next = |expected: &String| {
        segments
            .next()
            .is_some_and(|segment| expected.starts_with('{') || expected == segment)
    };
    template.iter().all(matches_next) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_and_media_types_are_looked_up_by_path() {
        let negotiation = Negotiation::new();
        assert_eq!(
            negotiation.allowed_methods("/items").unwrap(),
            "POST, GET, HEAD"
        );
        assert_eq!(
            negotiation.allowed_methods("/items/abc").unwrap(),
            "GET, PUT, PATCH, DELETE, HEAD"
        );
        assert_eq!(negotiation.allowed_methods("/docs").unwrap(), "GET, HEAD");
        assert!(negotiation.allowed_methods("/items/a/b").is_none());
        assert!(!negotiation.requires_started_server("/docs/swagger-ui-0.js"));
        assert!(negotiation.requires_started_server("/items"));
        let offered = ["/login", "/revocations", "/auth/verify", "/"]
            .map(|path| negotiation.offered_media_types(path));
        assert_eq!(
            offered,
            [JSON_MEDIA_TYPES, &["text/event-stream"], &[], &[]]
        );
    }
}
