//! Applications behind a proxy: their origins, and what they require of a user.

mod origin;
mod requirement;

use std::{collections::HashMap, sync::Arc};

use uuid::Uuid;

pub use origin::{ApplicationOrigin, OriginConflict, is_reserved_audience};
pub use requirement::{Requirement, Unmet};

use crate::{
    text::{ParsedText, Rejection},
    web_origin::WebOrigin,
};

/// The maximum number of applications of a server. Every replica keeps all of them in memory, and
/// reads them every second.
pub const MAX_APPLICATIONS: i64 = 1_000;

/// An application: an origin, or all hosts directly below a domain, and its requirement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The ID.
    pub id: Uuid,
    /// The origin.
    pub origin: ApplicationOrigin,
    /// What a user needs to open the application.
    pub requirement: Requirement,
}

/// An application in a setting: its origin, with the requirement as query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApplicationSetting {
    /// The origin.
    pub origin: ApplicationOrigin,
    /// What a user needs to open the application.
    pub requirement: Requirement,
}

impl ApplicationSetting {
    /// Parses `https://app.example.com`, or `https://app.example.com?role=admin`.
    ///
    /// # Errors
    /// The reason, which follows the name of the setting.
    pub fn parse(text: &str) -> Result<ApplicationSetting, Rejection> {
        let (origin, query) = text.split_once('?').unwrap_or((text, ""));
        Ok(ApplicationSetting {
            origin: ApplicationOrigin::parse(origin)?,
            requirement: Requirement::parse_query(query)?,
        })
    }
}

/// All applications. It doesn't change: a change creates another set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ApplicationSet {
    exact: HashMap<WebOrigin, Arc<Application>>,
    /// By the origin with `*` instead of the first label.
    wildcards: HashMap<String, Arc<Application>>,
    /// Computed once, because every check needs it.
    has_requirement: bool,
}

impl ApplicationSet {
    /// Creates the set.
    pub fn new(applications: Vec<Application>) -> ApplicationSet {
        let mut set = ApplicationSet::default();
        for application in applications.into_iter().map(Arc::new) {
            set.has_requirement |= !application.requirement.is_empty();
            match application.origin.exact() {
                Some(origin) => set.exact.insert(origin.clone(), application.clone()),
                None => {
                    let key = application.origin.as_str().to_owned();
                    set.wildcards.insert(key, application)
                }
            };
        }
        set
    }

    /// Returns the application of an origin. An exact origin takes precedence over a wildcard.
    pub fn find(&self, origin: &WebOrigin) -> Option<&Arc<Application>> {
        self.exact.get(origin).or_else(|| {
            if self.wildcards.is_empty() {
                return None;
            }
            let (scheme, authority) = origin.as_str().split_once("://")?;
            let (_, parent) = authority.split_once('.')?;
            self.wildcards.get(&format!("{scheme}://*.{parent}"))
        })
    }

    /// Whether there is no application.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.wildcards.is_empty()
    }

    /// Whether any application requires more than a sign-in.
    pub fn has_requirement(&self) -> bool {
        self.has_requirement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn application(number: u128, text: &str) -> Application {
        let ApplicationSetting {
            origin,
            requirement,
        } = ApplicationSetting::parse(text).unwrap();
        Application {
            id: Uuid::from_u128(number),
            origin,
            requirement,
        }
    }

    fn find(set: &ApplicationSet, origin: &str) -> Option<u128> {
        let origin = WebOrigin::parse(origin).unwrap();
        set.find(&origin)
            .map(|application| application.id.as_u128())
    }

    #[test]
    fn exact_origin_takes_precedence() {
        let set = ApplicationSet::new(vec![
            application(1, "https://app.example.com"),
            application(2, "https://*.example.com"),
            application(3, "https://*.example.com:8443"),
        ]);
        for (origin, expected) in [
            ("https://app.example.com", Some(1)),
            ("https://other.example.com", Some(2)),
            ("https://other.example.com:8443", Some(3)),
            ("https://app.example.com:8443", Some(3)),
            ("https://a.b.example.com", None),
            ("https://example.com", None),
            ("http://app.example.com", None),
            ("http://other.example.com", None),
            ("https://other.example.com:9443", None),
            ("https://other.example.com.", None),
            ("https://otherexample.com", None),
        ] {
            assert_eq!(find(&set, origin), expected, "{origin}");
        }
        assert!(!set.has_requirement() && !set.is_empty());
        assert!(ApplicationSet::default().is_empty());
    }

    #[test]
    fn one_requirement_counts_for_the_set() {
        let set = ApplicationSet::new(vec![
            application(1, "https://a.example.com"),
            application(2, "https://*.example.com?group=finance"),
        ]);
        assert!(set.has_requirement());
    }
}
