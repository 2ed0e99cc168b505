//! Requirements of a proxy for the caller, in the query. A misspelled requirement must never be
//! ignored, so it returns 400, and the proxy denies the request.

use latchkey_domain::{
    access_token::{Claims, Holder},
    account::Role,
    application::{Requirement, Unmet},
    group::{GroupNames, RequiredGroupNames},
    scope::Scopes,
    text::ParsedText,
};
use poem::{FromRequest, Request, RequestBody};
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use crate::{
    error::Error,
    http::openapi::{body, params::Parameter},
};

/// Names of the supported query parameters, which are arguments of the operation.
const PARAMETER_NAMES: [&str; 4] = ["role", "scope", "group", "cookies"];

/// The requirements of a check.
pub struct Requirements {
    requirement: Requirement,
    /// Whether the response contains the cookies of the application.
    pub strips_cookies: bool,
}

impl Requirements {
    /// Reads the requirements from a query, in which each parameter is at most once.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn read(query: &str) -> Result<Requirements, Error> {
        reject_unknown(query)?;
        let find = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs
                .find(|(other, _)| other == name)
                .map(|(_, value)| value.into_owned())
        };
        Ok(Requirements::new(
            read_parameter("role", find)?,
            read_parameter("scope", find)?,
            read_parameter("group", find)?,
            read_parameter("cookies", find)?,
        ))
    }

    /// Creates the requirements from the parameters.
    pub fn new(
        RequiredRole(role): RequiredRole,
        RequiredScopes(scopes): RequiredScopes,
        RequiredGroups(groups): RequiredGroups,
        StripCookies(strips_cookies): StripCookies,
    ) -> Requirements {
        Requirements {
            requirement: Requirement {
                role,
                scopes,
                groups,
            },
            strips_cookies,
        }
    }

    /// Rejects a caller who doesn't meet a requirement.
    ///
    /// An OAuth client is allowed only if the check requires a scope. Otherwise, the upstream might
    /// treat the client as a user who is signed in.
    ///
    /// # Errors
    /// `forbidden`, `insufficient_scope`.
    pub fn check(&self, claims: &Claims) -> Result<(), Error> {
        if self.requirement.scopes.is_none() && claims.holder() == Holder::Client {
            return Err(Error::Forbidden(
                "An OAuth client is allowed only if the check requires a scope.".into(),
            ));
        }
        require(&self.requirement, claims)
    }
}

/// Rejects a caller who doesn't meet a requirement of a check or of an application.
///
/// # Errors
/// `forbidden`, `insufficient_scope`.
pub fn require(requirement: &Requirement, claims: &Claims) -> Result<(), Error> {
    requirement.check(claims).map_err(|unmet| match unmet {
        Unmet::Role(role) => Error::role_required(role),
        Unmet::Scopes(scopes) => Error::InsufficientScope(scopes.to_string().into()),
        Unmet::Groups => Error::group_required(),
    })
}

fn read_parameter<T: Parameter>(
    name: &'static str,
    find: impl Fn(&str) -> Option<String>,
) -> Result<T, Error> {
    T::read(find(name).as_deref(), name)
}

/// Role that the caller must have; `None` allows every role.
pub struct RequiredRole(Option<Role>);

impl Parameter for RequiredRole {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            enum_items: vec!["user".into(), "admin".into()],
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let role = |text| {
            str::parse(text).map_err(|_| Error::invalid_field(name, "must be `user` or `admin`"))
        };
        Ok(RequiredRole(text.map(role).transpose()?))
    }
}

/// Whether the response contains the cookies of the application, without those of the server.
pub struct StripCookies(pub bool);

impl Parameter for StripCookies {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            enum_items: vec!["strip".into()],
            ..MetaSchema::new("string")
        }
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        match text {
            None => Ok(StripCookies(false)),
            Some("strip") => Ok(StripCookies(true)),
            Some(_other) => Err(Error::invalid_field(name, "must be `strip`")),
        }
    }
}

/// Scopes that the token must have; `None` allows every token of a user.
pub struct RequiredScopes(Option<Scopes>);

impl Parameter for RequiredScopes {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        MetaSchema {
            example: Some("items:read items:write".into()),
            max_length: Some(256),
            pattern: Scopes::RULES.pattern.map(str::to_owned),
            ..MetaSchema::new("string")
        }
    }

    /// Rejects an empty value, because the proxy probably intended to require a scope.
    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let Some(text) = text else {
            return Ok(RequiredScopes(None));
        };
        let scopes = Scopes::parse(text).map_err(|reason| Error::invalid_field(name, reason))?;
        if scopes.is_empty() {
            Err(Error::invalid_field(
                name,
                "must contain at least one scope",
            ))
        } else {
            Ok(RequiredScopes(Some(scopes)))
        }
    }
}

/// Groups, of which the user must be in at least one; `None` allows every caller.
pub struct RequiredGroups(Option<GroupNames>);

impl Parameter for RequiredGroups {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        let rules = RequiredGroupNames::RULES;
        MetaSchema {
            example: Some(rules.example.into()),
            min_length: Some(rules.min),
            max_length: Some(rules.max),
            pattern: rules.pattern.map(str::to_owned),
            ..MetaSchema::new("string")
        }
    }

    /// Rejects an empty value, because the proxy probably intended to require a group.
    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let groups = text.map(RequiredGroupNames::parse).transpose();
        groups
            .map(|groups| RequiredGroups(groups.map(|RequiredGroupNames(names)| names)))
            .map_err(|reason| Error::invalid_field(name, reason))
    }
}

/// Rejects unknown query parameters.
pub struct DenyUnknownQuery;

impl<'a> FromRequest<'a> for DenyUnknownQuery {
    async fn from_request(request: &'a Request, _: &mut RequestBody) -> poem::Result<Self> {
        reject_unknown(request.uri().query().unwrap_or_default())?;
        Ok(DenyUnknownQuery)
    }
}

fn reject_unknown(query: &str) -> Result<(), Error> {
    let unknown = form_urlencoded::parse(query.as_bytes())
        .find(|(name, _)| !PARAMETER_NAMES.contains(&name.as_ref()));
    match unknown {
        None => Ok(()),
        Some((name, _)) => {
            let reason = format!(
                "is unknown; valid parameters: `{}`",
                PARAMETER_NAMES.join("`, `")
            );
            Err(Error::invalid_field(body::shown(&name), reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::http::document;

    #[test]
    fn supported_parameters_are_those_of_the_document() {
        let document: Value = serde_json::from_str(&document::json()).unwrap();
        let parameters = document["paths"]["/auth/verify"]["get"]["parameters"].as_array();
        let in_query = |parameter: &&Value| parameter["in"] == "query";
        let documented: Vec<&Value> = parameters
            .unwrap()
            .iter()
            .filter(in_query)
            .map(|parameter| &parameter["name"])
            .collect();
        assert_eq!(documented, PARAMETER_NAMES);
    }

    #[test]
    fn invalid_requirement_is_rejected() {
        let accepts_scope = |text| RequiredScopes::read(Some(text), "scope").is_ok();
        assert!(
            accepts_scope("admin")
                && accepts_scope("items:read items:write")
                && accepts_scope("revocations:read")
        );
        for invalid in [
            "",
            " ",
            "items",
            "items:read,items:write",
            "items:read items",
            "admin\t",
            "Admin",
        ] {
            assert!(!accepts_scope(invalid), "{invalid}");
        }
        let accepts_role = |text| RequiredRole::read(Some(text), "role").is_ok();
        assert!(accepts_role("admin") && accepts_role("user"));
        for invalid in ["", "Admin", "admin ", "admin,user", "admins"] {
            assert!(!accepts_role(invalid), "{invalid}");
        }
        let accepts_groups = |text| RequiredGroups::read(Some(text), "group").is_ok();
        assert!(accepts_groups("finance") && accepts_groups("finance audit finance"));
        for invalid in ["", " ", "finance ", "a  b", "a,b", "Finance", "a\tb"] {
            assert!(!accepts_groups(invalid), "{invalid}");
        }
        assert!(RequiredGroups::read(None, "group").is_ok());
        assert!(
            RequiredRole::read(None, "role").is_ok() && RequiredScopes::read(None, "scope").is_ok()
        );
    }
}
